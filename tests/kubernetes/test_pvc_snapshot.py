# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pvc_snapshot on a real CSI driver: what is right is made and kept track of, what would start and be corrupt is refused, and what fails
leaves nothing that looks like a backup. Each run has exactly the rights that rights.py has for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok, refused, warned
from lab.kubernetes.postgres import MOUNT, Postgres
from lab.kubernetes.snapshots import API, ARCHIVING, Load, Shop, compare, on_claims, restore, restorer, start
from lab.playbooks import run_module, start_module
from lab.waiting import wait_until

Object = dict[str, Any]
Fault = Callable[[str, str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def shop(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    cluster.lab_or_skip("a driver whose snapshots are of one moment")
    namespace, directory = cluster.api.create_namespace(), tmp_path_factory.mktemp("shop")
    try:
        plain = Postgres(namespace, "plain")
        wide = Postgres(namespace, "wide", on_claims("space", "archive"), settings=ARCHIVING)
        rights = rights_of(
            "snapshot", server=["plain", "wide", "none"], claims=["data-plain-0", "data-wide-0", "space-wide-0"]
        )
        kubeconfig = namespace.service_account(
            [rule.manifest() for rule in rights.rules],
            directory,
            cluster_rules=[rule.manifest() for rule in rights.cluster],
        )
        plain.ready()
        wide.ready()
        namespace.execute("wide-0", "mkdir", "-m", "0700", "/space/ts")
        wide.sql("create tablespace space location '/space/ts'")
        wide.sql("create table far (i int) tablespace space")
        yield Shop(namespace, plain, wide, kubeconfig, directory, {"wide": ["archive-wide-0"]})
    finally:
        namespace.remove()


@pytest.fixture(autouse=True)
def tidy(shop: Shop) -> Iterator[None]:
    """No test sees the snapshots of another one."""
    yield
    for one in shop.snapshots():
        shop.namespace.delete(API, "VolumeSnapshot", one["metadata"]["name"])
    wait_until(lambda: not shop.snapshots(), 60)


@pytest.fixture
def fault(shop: Shop, cluster: Any) -> Fault:
    return lambda call, what: cluster.lab_or_skip("faults").fault(call, what, shop.namespace.name)


def test_a_snapshot_is_a_backup_beside_the_others(shop: Shop, tmp_path: Path) -> None:
    """Planned, made, enough the second time, seen by backup_facts, and gone with its snapshots."""
    planned = ok(shop.run(tmp_path, shop.plain, check_mode=True, backup_id="first", annotations={"why": "test"}))
    assert planned["changed"] and not list(tmp_path.iterdir()) and not shop.snapshots()
    made = ok(shop.run(tmp_path, shop.plain, backup_id="first", annotations={"why": "test"}))
    assert made["plan"] == planned["plan"] and made["diff"] == planned["diff"]
    record = made["backup"]
    (one,) = record["consistency"]["snapshots"]
    assert (record["engine"], record["kind"], record["consistency"]["mode"]) == (
        "volume_snapshot",
        "full",
        "checkpoint",
    )
    (found,) = shop.snapshots()
    assert found["status"]["readyToUse"] and found["metadata"]["name"] == one["name"]
    assert found["metadata"]["labels"]["holdfast.postgres/complete"] == "true"
    assert any("ready to use" in said for said in made["proof"]["proven"])
    assert any("goes with it" in said for said in made["proof"]["unproven"])
    again = ok(shop.run(tmp_path, shop.plain, max_age="1h"))
    assert not again["changed"] and again["backup"]["id"] == "first"
    assert not ok(shop.run(tmp_path, shop.plain, backup_id="first", annotations={"why": "test"}))["changed"]
    pinned = ok(shop.run(tmp_path, shop.plain, backup_id="first", pinned=True))
    assert pinned["changed"] and pinned["backup"]["pinned"]
    known: Object = {"repository": {"path": str(tmp_path)}, "server_name": "shop"}
    unseen = backup_facts(shop, tmp_path, kubernetes=False)
    assert unseen["last_success"] is None and "was not looked at" in str(unseen["problems"])
    refused(run_module("pg_backup", {**known, "state": "absent", "backup_id": "first"}), "pvc_snapshot")
    refused(shop.run(tmp_path, state="absent", backup_id="first"), "pinned")
    ok(shop.run(tmp_path, shop.plain, backup_id="first", pinned=False))
    gone = ok(shop.run(tmp_path, state="absent", backup_id="first", check_mode=True))
    assert gone["plan"] == ok(shop.run(tmp_path, state="absent", backup_id="first"))["plan"]
    assert not shop.snapshots() and not ok(shop.run(tmp_path, state="absent", backup_id="first"))["changed"]


def backup_facts(shop: Shop, repository: Path, kubernetes: bool = True) -> Object:
    options: Object = {"repository": {"path": str(repository)}, "server_name": "shop"}
    if kubernetes:
        mine = shop.namespace.service_account([rule.manifest() for rule in rights_of("status").rules], shop.directory)
        options["kubernetes"] = {"kubeconfig": str(mine), "namespace": shop.namespace.name}
    found: Object = ok(run_module("backup_facts", options))["ansible_facts"]["holdfast_backups"]
    return found


def test_a_snapshot_that_somebody_deleted_is_no_backup(shop: Shop, tmp_path: Path) -> None:
    """It displaces nothing, is not enough, and backup_facts says so; it does not say that one is good that it cannot look at."""
    first = ok(shop.run(tmp_path, shop.plain, consistency="none"))["backup"]
    second = ok(shop.run(tmp_path, shop.plain, consistency="none"))["backup"]
    assert backup_facts(shop, tmp_path)["last_success"] == second["stopped_at"]
    assert backup_facts(shop, tmp_path, kubernetes=False)["last_success"] is None
    shop.namespace.delete(API, "VolumeSnapshot", second["consistency"]["snapshots"][0]["name"])
    wait_until(lambda: len(shop.snapshots()) == 1, 30)
    facts = backup_facts(shop, tmp_path)
    assert facts["last_success"] == first["stopped_at"] and "is gone" in str(facts["problems"])
    kept = shop.run(tmp_path, state="pruned", retention={"keep_last": 1}, check_mode=True)
    assert ok(kept)["pruned"] == [] or ok(kept)["pruned"][0]["id"] == second["id"]
    assert "is gone" in warned(kept)
    third = shop.run(tmp_path, shop.plain, consistency="none", max_age="1h", check_mode=True)
    assert not ok(third)["changed"] and ok(third)["backup"]["id"] == first["id"] and "is gone" in warned(third)


def test_what_would_start_and_be_corrupt_is_refused(shop: Shop, tmp_path: Path) -> None:
    """Each wrong pair of layout and consistency, with the reason, and nothing made."""
    wide, plain = shop.wide, shop.plain
    for mode in ("checkpoint", "none"):
        refused(shop.run(tmp_path, wide, consistency=mode), "each snapshot is of a moment of its own", "backup_mode")
        refused(shop.run(tmp_path, plain, consistency=mode, atomic=False), "copies files")
    refused(shop.run(tmp_path, plain, consistency="backup_mode"), "archives none", "checkpoint")
    refused(shop.run(tmp_path, plain, atomic=False), "archives none")
    refused(shop.run(tmp_path, stateful_set="plain", consistency="stopped"), "a pod does")
    refused(shop.run(tmp_path, stateful_set="plain", consistency="checkpoint"), "login_host")
    refused(shop.run(tmp_path, claims=["data-wide-0"], consistency="none"), "leaves out", "space-wide-0")
    # The tablespace is not among what is to be snapshotted: only the server itself can say so.
    wrong = shop.run(tmp_path, wide, exclude_claims=["archive-wide-0", "space-wide-0"], consistency="checkpoint")
    refused(wrong, "tablespace /space/ts")
    refused(shop.run(tmp_path, wide, stateful_set="plain", exclude_claims=[]), "is not the server on data-plain-0")
    refused(shop.run(tmp_path, plain, snapshot_class="gone"), "snapshot_class", "is not there")
    refused(shop.run(tmp_path), "Say which server is meant")
    refused(shop.run(tmp_path, stateful_set="none"), "There is no StatefulSet none")
    refused(shop.run(tmp_path, plain, exclude_claims=["x"]), "is none of the server's claims")
    refused(shop.run(tmp_path, plain, timeout="soon"), "timeout")
    assert not shop.snapshots() and not list(tmp_path.glob("shop/2*"))


def test_a_snapshot_that_never_becomes_ready_leaves_nothing(shop: Shop, tmp_path: Path, fault: Fault) -> None:
    """The driver fails, or has made it and never says that it is ready: told with what it said last, in time, and nothing is left; an error that
    passes is waited for."""
    with fault("CreateSnapshot", "fail no space is left in the pool"):
        refused_late = shop.run(tmp_path, shop.plain, timeout="6s")
    assert refused_late.failed and "no space is left in the pool" in refused_late.msg, refused_late.msg
    with fault("CreateSnapshot", "notready"):
        never = shop.run(tmp_path, shop.plain, timeout="6s")
    assert never.failed and "was waited for" in never.msg and "being copied" in never.msg, never.msg
    wait_until(lambda: not shop.snapshots(), 30)
    assert not list(tmp_path.glob("shop/2*"))


def test_what_a_run_that_died_left_is_recognised(shop: Shop, tmp_path: Path) -> None:
    """Snapshots with our labels that no backup has: told in the plan, and deleted by the next run; those of another repository, and of
    other people, stay."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    made = ok(shop.run(tmp_path / "a", shop.plain, backup_id="whole"))["backup"]
    other = ok(shop.run(tmp_path / "b", shop.plain, backup_id="whole"))["backup"]
    for path in sorted((tmp_path / "a" / "shop" / "whole").iterdir()):
        path.unlink()
    (tmp_path / "a" / "shop" / "whole").rmdir()
    assert not backup_facts(shop, tmp_path / "a")["backups"]
    options: Object = {"state": "pruned", "retention": {"keep_last": 3}}
    planned = ok(shop.run(tmp_path / "a", **options, check_mode=True))
    assert planned["plan"] == ["remove what the interrupted run whole left"] and len(shop.snapshots()) == 2
    assert ok(shop.run(tmp_path / "a", **options))["plan"] == planned["plan"]
    (left,) = shop.snapshots()
    assert left["metadata"]["name"] == other["consistency"]["snapshots"][0]["name"]
    assert left["metadata"]["name"] != made["consistency"]["snapshots"][0]["name"]
    assert not ok(shop.run(tmp_path / "a", **options))["changed"]


def test_one_claim_restored_under_load(shop: Shop, tmp_path: Path) -> None:
    """After a checkpoint, while transactions come: planned, restored, the second time nothing to do, started, and compared row by row."""
    with Load(shop.plain) as load:
        before = len(load.done)
        made = ok(shop.run(tmp_path, shop.plain))["backup"]
        least = before
    mine = restorer(shop, "data-again")
    options: Object = {"backup_id": "latest", "new_claims": {"data-plain-0": "data-again"}}
    refused(restore(shop, mine, tmp_path, **options, size="1Mi"), "size", "Pending for ever")
    refused(restore(shop, mine, tmp_path, **options, storage_class="none"), "storage_class", "is not there")
    refused(restore(shop, mine, tmp_path, backup_id="latest", new_claims={"x": "y"}), "has no snapshot in this backup")
    refused(
        restore(shop, mine, tmp_path, backup_id="latest", new_claims={"data-plain-0": "data-plain-0"}), "own claims"
    )
    planned = ok(restore(shop, mine, tmp_path, check=True, **options))
    assert planned["changed"] and shop.namespace.find("v1", "PersistentVolumeClaim", "data-again") is None
    done = ok(restore(shop, mine, tmp_path, **options))
    assert done["plan"] == planned["plan"] and done["claims"] == {"data-plain-0": "data-again"}
    assert any("system identifier" in said for said in done["proof"]["proven"])
    assert made["server"]["system_id"] in str(done["proof"]["proven"])
    assert not ok(restore(shop, mine, tmp_path, **options))["changed"]
    ask = start(shop, "again", {MOUNT: "data-again"})
    compare(ask, load, least)
    assert ask("show archive_mode") == "off"
    assert not shop.namespace.list("batch/v1", "Job")


def test_several_claims_in_backup_mode_restored_under_load(shop: Shop, tmp_path: Path) -> None:
    """Each snapshot is of a moment of its own: backup_label and tablespace_map, laid in, and the WAL make one of them; without a way to the WAL
    it is refused. What lies in the repository is encrypted and signed, and nothing without its passphrase."""
    secret: Object = {"encryption": {"method": "aes256", "passphrase": "it's a secret"}}
    with Load(shop.wide) as load:
        shop.wide.sql("insert into far select generate_series(1, 5000)")
        before = len(load.done)
        made = ok(shop.run(tmp_path, shop.wide, **secret))
    record = made["backup"]
    assert record["consistency"]["mode"] == "backup_mode" and record["start_lsn"] and record["stop_lsn"]
    assert {one["key"] for one in record["artifacts"]} == {
        "snapshots.json.gpg", "backup_label.gpg", "tablespace_map.gpg"
    }  # fmt: skip
    assert any("can be read" in said for said in made["proof"]["unproven"])
    assert shop.wide.sql(
        "select count(*) from pg_stat_activity where query ilike '%pg_backup%' and pid <> pg_backend_pid()"
    ) == [(0,)]
    mine = restorer(shop, "data-new", "space-new")
    options: Object = {
        "backup_id": record["id"],
        "new_claims": {"data-wide-0": "data-new", "space-wide-0": "space-new"},
    }
    refused(restore(shop, mine, tmp_path, **options), "passphrase")
    options.update(secret)
    refused(restore(shop, mine, tmp_path, **options), "restore_command")
    settings = {"restore_command": "cp /archive/%f %p"}
    done = ok(restore(shop, mine, tmp_path, **options, settings=settings))
    assert "with backup_label laid in" in str(done["plan"])
    ask = start(shop, "new", {MOUNT: "data-new", "/space": "space-new"}, archive="archive-wide-0")
    wait_until(lambda: ask("select pg_is_in_recovery()") == "f", 60)
    compare(ask, load, before)
    assert ask("select count(*) from far") == "5000"


def test_a_session_of_backup_mode_that_is_lost(shop: Shop, tmp_path: Path, fault: Fault) -> None:
    """The server ends it while the driver takes its time: refused, and nothing is left that looks like a backup."""
    with fault("CreateSnapshot", "sleep 5"), ThreadPoolExecutor(1) as pool:
        run = pool.submit(shop.run, tmp_path, shop.wide)
        mine = "from pg_stat_activity where application_name ilike '%holdfast%' and pid <> pg_backend_pid()"
        wait_until(shop.snapshots, 30)
        wait_until(lambda: shop.wide.sql(f"select count(pg_terminate_backend(pid)) {mine}")[0][0], 30)
        lost = run.result()
    assert lost.failed and "worthless" in lost.msg and "deleted" in lost.msg, lost.msg
    wait_until(lambda: not shop.snapshots(), 30)
    assert not list(tmp_path.glob("shop/2*"))


def test_what_a_class_retains_goes_with_its_backup(shop: Shop, cluster: Any, tmp_path: Path) -> None:
    """deletionPolicy Retain: retention deletes the content, and what it is in the storage, too."""
    name = f"{shop.namespace.name}-retain"
    driver = cluster.api.kind(API, "VolumeSnapshotClass").get(name=cluster.snapshot_class).driver
    classes = cluster.api.kind(API, "VolumeSnapshotClass")
    metadata = {"name": name}
    kind = {"apiVersion": API, "kind": "VolumeSnapshotClass"}
    classes.create(body={**kind, "metadata": metadata, "driver": driver, "deletionPolicy": "Retain"})
    try:
        options: Object = {"snapshot_class": name, "consistency": "none", "retention": {"keep_last": 1}}
        first = ok(shop.run(tmp_path, shop.plain, **options))["backup"]
        content = first["consistency"]["snapshots"][0]["content"]
        assert first["consistency"]["snapshots"][0]["deletion_policy"] == "Retain"
        second = ok(shop.run(tmp_path, shop.plain, **options))
        assert [one["id"] for one in second["pruned"]] == [first["id"]]
        contents = [one.metadata.name for one in cluster.api.kind(API, "VolumeSnapshotContent").get().items]
        assert content not in contents
        ok(shop.run(tmp_path, state="absent", backup_id=second["backup"]["id"]))
        assert not shop.snapshots()
    finally:
        classes.delete(name=name)


def test_a_server_that_is_stopped(shop: Shop, tmp_path: Path) -> None:
    """Found by its claims' names, with no pod: that is the default then; restored without being made ready, which is said."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    shop.namespace.apply({**kind, "metadata": {"name": "data-still-0"}, "spec": claim})
    rights = rights_of("snapshot", server=[], claims=["data-still-0"])
    mine = shop.namespace.service_account(
        [rule.manifest() for rule in rights.rules],
        shop.directory,
        cluster_rules=[rule.manifest() for rule in rights.cluster],
    )
    options: Object = {"kubernetes": {"kubeconfig": str(mine), "namespace": shop.namespace.name}}

    def bound(it: Object) -> bool:
        return bool((it.get("status") or {}).get("phase") == "Bound")

    shop.namespace.wait("v1", "PersistentVolumeClaim", "data-still-0", bound, 60)
    made = ok(shop.run(tmp_path, claims=["data-still-0"], **options))
    assert made["backup"]["consistency"]["mode"] == "stopped"
    done = ok(restore(shop, restorer(shop, "data-still-0-restored"), tmp_path, backup_id="latest"))
    assert "was not known" in str(done["proof"]["unproven"])


@pytest.mark.extended
def test_an_error_that_heals_within_the_run(shop: Shop, tmp_path: Path, fault: Fault) -> None:
    """The driver fails first, and has space a moment later: it tries again, and is waited for; in backup mode, whose session is held meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        with fault("CreateSnapshot", "fail no space is left in the pool"):
            run = pool.submit(shop.run, tmp_path, shop.wide)
            wait_until(lambda: any((one.get("status") or {}).get("error") for one in shop.snapshots()), 60)
        made = run.result()
    assert ok(made)["backup"]["consistency"]["mode"] == "backup_mode"
    assert all(one["status"]["readyToUse"] for one in shop.snapshots())


@pytest.mark.extended
def test_a_claim_that_waits_for_its_first_consumer(shop: Shop, cluster: Any, tmp_path: Path) -> None:
    """The class binds when a pod comes: the Job that makes the data directory ready is the first one, and nobody waits for the claim before."""
    name = f"{shop.namespace.name}-waits"
    classes = cluster.api.kind("storage.k8s.io/v1", "StorageClass")
    like = classes.get(name=cluster.storage_class).to_dict()
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    classes.create(body={**kind, "provisioner": like["provisioner"], "volumeBindingMode": "WaitForFirstConsumer"})
    try:
        ok(shop.run(tmp_path, shop.plain))
        options: Object = {"backup_id": "latest", "new_claims": {"data-plain-0": "data-waits"}, "storage_class": name}
        ok(restore(shop, restorer(shop, "data-waits"), tmp_path, **options))
        made = shop.namespace.get("v1", "PersistentVolumeClaim", "data-waits")
        assert made["status"]["phase"] == "Bound" and made["spec"]["storageClassName"] == name
        ask = start(shop, "waits", {MOUNT: "data-waits"})
        assert ask("select 1") == "1"
    finally:
        classes.delete(name=name)


@pytest.mark.extended
def test_a_restore_that_was_killed_is_gone_on_with(shop: Shop, tmp_path: Path, fault: Fault) -> None:
    """Once before the claim has its volume, and once while the Job works: the next run makes what is missing, and nothing twice."""
    ok(shop.run(tmp_path, shop.plain))
    mine = restorer(shop, "data-killed")
    given: Object = {
        "kubernetes": {"kubeconfig": str(mine), "namespace": shop.namespace.name}, "repository": {"path": str(tmp_path)}, "server_name": "shop",
        "state": "restored", "timeout": "90s", "backup_id": "latest", "new_claims": {"data-plain-0": "data-killed"},
    }  # fmt: skip
    with fault("CreateVolume", "sleep 3"):
        killed = start_module("pvc_snapshot", given)
        wait_until(lambda: shop.namespace.find("v1", "PersistentVolumeClaim", "data-killed"), 30)
        killed.kill()
        killed = start_module("pvc_snapshot", given)
        wait_until(lambda: shop.namespace.list("batch/v1", "Job"), 30)
        killed.kill()
    ok(run_module("pvc_snapshot", given))
    assert not ok(run_module("pvc_snapshot", given))["changed"] and not shop.namespace.list("batch/v1", "Job")
    assert start(shop, "killed", {MOUNT: "data-killed"})("select 1") == "1"


@pytest.mark.extended
def test_a_retention_of_thirty(shop: Shop, tmp_path: Path) -> None:
    """Thirty are made, and a policy lets go what it lets go of dumps, with the snapshots; a pinned one stays."""
    for number in range(30):
        ok(shop.run(tmp_path, shop.plain, consistency="none", backup_id=f"n{number:02}", pinned=number == 3))
    assert len(shop.snapshots()) == 30
    planned = ok(shop.run(tmp_path, state="pruned", retention={"keep_last": 5}, check_mode=True))
    done = ok(shop.run(tmp_path, state="pruned", retention={"keep_last": 5}))
    assert done["plan"] == planned["plan"] and len(done["pruned"]) == 24
    wait_until(lambda: len(shop.snapshots()) == 6, 60)
    left = {one["metadata"]["annotations"]["holdfast.postgres/backup-id"] for one in shop.snapshots()}
    assert left == {"n03", *(f"n{number}" for number in range(25, 30))}
