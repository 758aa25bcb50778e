# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a Cluster of CloudNativePG that is recovered, and is not what was asked for, or never gets there while somebody waits.

Members: a moment, with its rows and no others; a restore point, in a run that was killed; what the operator would try for ever (a path that is not
empty, an image of another major version, a target outside of what is archived, names that are taken, no quota), refused before anything is made; a
pod that fails all the same, told of with its reason; the source gone. Against the real operator, under exactly the rights of the table. The rows are
asked of the servers by psycopg2, and compared with what the source said at that moment; that the source is as it was, by its resourceVersion.
"""

from __future__ import annotations

import copy
import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes import receiving
from lab.kubernetes.api import Namespace
from lab.kubernetes.cloudnative_pg import API, Cnpg, archiving
from lab.playbooks import CHECKOUT, ModuleResult, run_module, run_playbook, start_module
from lab.stores import S3Server
from lab.waiting import wait_until

CONTENT = "select count(*), coalesce(md5(string_agg(n::text, ',' order by n)), '') from t"
RESTORED = ("moment", "point", "gone", "fails", "shots", "one", "three")
REFUSED = ("refused", "taken", "large", "none", "lost")


class Source:
    """A Cluster with a backup, and moments in its life: a time, and what the table held then."""

    def __init__(self, namespace: Namespace, directory: Path, store: S3Server, snapshot_class: str) -> None:
        self.namespace, self.store = namespace, store
        self.bucket = receiving.bucket(store, namespace)
        self.objects = archiving("shop", self.bucket, enableSuperuserAccess=True)
        self.objects[1]["spec"]["backup"]["volumeSnapshot"] = {"className": snapshot_class}
        namespace.apply(*self.objects)
        self.server = Cnpg(namespace, "shop")
        self.server.ready()
        secrets = ["shop-s3", *(f"{name}-app" for name in (*RESTORED, *REFUSED))]
        allowed = rights_of("cnpg_restore", clusters=["shop", *RESTORED, *REFUSED], object_stores=[], secrets=secrets)
        self.account = namespace.service_account([rule.manifest() for rule in allowed.rules], directory)
        self.server.sql("create table t (n int)")
        self.moments: list[tuple[str, Any]] = []
        self.positions: list[str] = []
        self.moment()
        self.backup("night")
        for _number in range(3):
            self.moment()
        self.server.sql("select pg_create_restore_point('before the mistake')")
        self.at_point = self.server.sql(CONTENT)[0]
        self.server.sql("delete from t")
        self.switch()

    def moment(self) -> None:
        """Some rows, then a moment, then a transaction behind it."""
        first = random.randrange(1_000_000)
        self.server.sql(f"insert into t select n from generate_series({first}, {first + random.randrange(1, 500)}) n")
        ((now, position),) = self.server.sql("select clock_timestamp(), pg_current_wal_insert_lsn()::text")
        self.positions.append(position)
        self.moments.append((now.astimezone(datetime.timezone.utc).isoformat(), self.server.sql(CONTENT)[0]))
        self.server.sql("create table if not exists after (n int); insert into after values (1)")

    def backup(self, name: str, method: str = "barmanObjectStore") -> None:
        spec = {"cluster": {"name": "shop"}, "method": method, "target": "primary"}
        self.namespace.apply({"apiVersion": API, "kind": "Backup", "metadata": {"name": name}, "spec": spec})

        def completed(item: dict[str, Any]) -> bool:
            phase = (item.get("status") or {}).get("phase")
            assert phase != "failed", item
            return bool(phase == "completed")

        self.namespace.wait(API, "Backup", name, completed, 120)

    def switch(self) -> None:
        """What was written is in the store."""
        ((segment,),) = self.server.sql("select pg_walfile_name(pg_switch_wal())")
        client = self.store.client()

        def there() -> bool:
            listed = client.list_objects_v2(
                Bucket=self.bucket["bucket"], Prefix=f"{self.prefix}/shop/wals/{segment[:16]}/{segment}"
            )
            return bool(listed.get("Contents"))

        wait_until(there, 60)

    def put(self, server_name: str) -> None:
        """Somebody's WAL under that name."""
        key = f"{self.prefix}/{server_name}/wals/0000000100000000/000000010000000000000001"
        self.store.client().put_object(Bucket=self.bucket["bucket"], Key=key, Body=b"x")

    @property
    def prefix(self) -> str:
        return str(self.bucket.get("prefix") or "cnpg")

    @property
    def version(self) -> str:
        """What changes with everything that somebody does to its specification."""
        made = self.namespace.get(API, "Cluster", "shop")["metadata"]
        return f"{made['uid']} {made['generation']} {sorted(made.get('annotations') or {})}"

    def options(self, name: str, **more: Any) -> dict[str, Any]:
        return {
            "kubernetes": {"kubeconfig": str(self.account), "namespace": self.namespace.name},
            "cluster": "shop",
            "name": name,
            "timeout": "4min",
            **more,
        }

    def run(self, name: str, check: bool = False, **more: Any) -> ModuleResult:
        return run_module("cnpg_restore", self.options(name, **more), check=check)

    def restored(self, name: str) -> Any:
        """What the table of a recovered one holds, as the server itself says."""
        return Cnpg(self.namespace, name).sql(CONTENT)[0]


@pytest.fixture(scope="module")
def shop(
    cluster: Any, cnpg_archiving: None, store: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Source]:
    namespace = cluster.api.create_namespace()
    try:
        yield Source(namespace, tmp_path_factory.mktemp("cnpg"), store, cluster.snapshot_class)
    finally:
        for one in namespace.list(API, "Cluster"):
            namespace.delete(API, "Cluster", one["metadata"]["name"])
        wait_until(lambda: not namespace.list("v1", "Pod", "cnpg.io/cluster"), 90, 0.3)
        namespace.remove()


def test_to_a_moment(shop: Source) -> None:
    """Exactly its rows; on a new timeline; archiving under its own name, with a backup there; the second run changes nothing, and the source nothing saw."""
    before = shop.version
    when, held = shop.moments[2]
    target = {"time": when}
    plan = shop.run("moment", check=True, recovery_target=target)
    assert plan.changed and plan.result["manifest"]["spec"]["bootstrap"]["recovery"]["recoveryTarget"]["targetTime"], (
        plan.msg
    )
    assert not shop.namespace.find(API, "Cluster", "moment")
    done = shop.run("moment", recovery_target=target)
    assert done.changed and not done.failed, done.msg
    assert shop.restored("moment") == held
    assert done.result["backup"]["id"] == plan.result["backup"]["id"]
    assert done.result["reached"]["timeline"] == 2 and done.result["reached"]["left_timeline"] == 1
    assert done.result["reached"]["reason"].startswith("before ")
    assert done.result["cluster"]["archive_as"] == "moment" and done.result["first_backup"]["id"]
    proven = " ".join(done.result["proof"]["proven"])
    for word in ("history file says so", "ContinuousArchiving is True", "is in the store", "answers its clients"):
        assert word in proven, proven
    again = shop.run("moment", recovery_target=target)
    assert not again.failed and not again.changed and again.result["plan"] == [], again.msg
    assert again.result["reached"]["lsn"] == done.result["reached"]["lsn"]
    other = shop.run("moment", recovery_target={"immediate": True})
    assert other.failed and "of another recovery" in other.msg
    assert shop.version == before


@pytest.mark.extended
@pytest.mark.parametrize(("name", "number", "kind"), [("one", 1, "time"), ("three", 3, "lsn")])
def test_other_moments(shop: Source, name: str, number: int, kind: str) -> None:
    when, held = shop.moments[number]
    target = {"time": when} if kind == "time" else {"lsn": shop.positions[number], "inclusive": False}
    done = shop.run(name, recovery_target=target, first_backup=False)
    assert not done.failed, done.msg
    assert shop.restored(name) == held


@pytest.mark.extended
def test_what_would_fail_for_ever_is_refused(shop: Source) -> None:
    """Nothing is made; each message says the way out."""
    tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).isoformat()
    refusals: list[tuple[dict[str, Any], str, str]] = [
        ({"archive_as": "shop"}, "source's own backups lie", "Expected empty archive"),
        ({"spec": {"imageName": "localhost/postgres-barman:16"}}, "is PostgreSQL 16", "PostgreSQL 15"),
        ({"recovery_target": {"time": "2020-01-01T00:00:00Z"}}, "can be reached", "Nothing was touched"),
        ({"recovery_target": {"time": tomorrow}}, "latest: true", "Nothing was touched"),
        ({"recovery_target": {"lsn": "FF/0"}}, "can be reached", "Nothing was touched"),
        ({"recovery_target": {"name": "no such point"}}, "not in the WAL", "Nothing was touched"),
        ({"recovery_target": {"timeline": "7"}}, "00000007.history", "Nothing was touched"),
        ({"backup_id": "20200101T000000"}, "no physical backup", "newest are"),
        ({"backup": "never"}, "no Backup never", ""),
        ({"database": "else"}, "new, empty one", "Leave it out"),
        ({"cluster": "none"}, "manifest", "Git"),
        ({"spec": {"bootstrap": {}}}, "written by the module", ""),
        ({"spec": {"instances": -1}}, "instances", ""),
    ]
    for given, what, way_out in refusals:
        refused = shop.run("refused", check=True, **given)
        assert refused.failed and what in refused.msg and way_out in refused.msg, f"{given}: {refused.msg}"
    assert not shop.namespace.find(API, "Cluster", "refused")


@pytest.mark.extended
def test_names_and_quota(shop: Source) -> None:
    shop.namespace.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken-rw"}, "spec": {"ports": [{"port": 5432}]}}
    )
    refused = shop.run("taken", check=True)
    assert refused.failed and "there is the Service taken-rw" in refused.msg
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"requests.storage": "1Gi"}},
    }
    shop.namespace.apply(quota)
    try:
        refused = shop.run("large", check=True)
        assert refused.failed and "quota" in refused.msg and "large-1" in refused.msg, refused.msg
    finally:
        shop.namespace.delete("v1", "ResourceQuota", "q")


@pytest.mark.extended
def test_to_a_restore_point_in_a_run_that_was_killed(shop: Source) -> None:
    """The next run goes on with it, though a path of its name is taken: it archives under another one."""
    shop.put("point")
    options = shop.options("point", recovery_target={"name": "before the mistake"})
    run = start_module("cnpg_restore", options)
    try:
        wait_until(lambda: shop.namespace.find(API, "Cluster", "point") is not None, 60, 0.1)
    finally:
        run.kill()
    done = run_module("cnpg_restore", options)
    assert not done.failed, done.msg
    assert shop.restored("point") == shop.at_point
    assert done.result["cluster"]["archive_as"].startswith("point-2")
    assert 'at restore point "before the mistake"' in done.result["reached"]["reason"]


@pytest.mark.extended
def test_of_volume_snapshots_to_a_moment_after_them(shop: Source) -> None:
    """A hot one, and the WAL of the store behind it; before it nothing leads there."""
    shop.backup("shot", "volumeSnapshot")
    # The status has whole seconds: a moment within the one in which it ended would not be known to be behind it.
    ended = shop.namespace.get(API, "Backup", "shot")["status"]["stoppedAt"]
    wait_until(lambda: shop.server.sql(f"select now() > timestamptz '{ended}' + interval '1 second'")[0][0], 10, 0.2)
    shop.moment()
    shop.switch()
    when, held = shop.moments[-1]
    early = shop.run("shots", check=True, method="volume_snapshot", recovery_target={"time": shop.moments[1][0]})
    assert early.failed and "not before the target" in early.msg, early.msg
    done = shop.run("shots", method="volume_snapshot", recovery_target={"time": when}, first_backup=False)
    assert not done.failed, done.msg
    assert shop.restored("shots") == held
    assert done.result["backup"]["id"] == "shot" and len(done.result["backup"]["snapshots"]) == 1
    assert "backupID" not in done.result["manifest"]["spec"]["bootstrap"]["recovery"]["recoveryTarget"]


@pytest.mark.extended
def test_a_source_that_is_gone(shop: Source) -> None:
    """By its manifest alone, to the latest moment, by the playbook: nothing but the store knows of it."""
    manifest = {**copy.deepcopy(shop.objects[1]), "metadata": {"name": "lost"}}
    manifest["spec"]["backup"]["barmanObjectStore"]["serverName"] = "shop"
    held = shop.server.sql(CONTENT)[0]
    shop.switch()
    variables = {
        "holdfast_kubernetes_restore_kind": "cnpg",
        "holdfast_kubernetes": {"kubeconfig": str(shop.account), "namespace": shop.namespace.name},
        "holdfast_kubernetes_restore_manifest": manifest,
        "holdfast_kubernetes_restore_new_cluster": "gone",
        "holdfast_kubernetes_restore_first_backup": False,
        "holdfast_kubernetes_restore_timeout": "4min",
    }
    done = run_playbook(CHECKOUT / "playbooks" / "kubernetes_restore.yml", variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shop.restored("gone") == held
    (result,) = done.of("holdfast.postgres.cnpg_restore")
    assert result["first_backup"] is None and "no recovery target" in result["reached"]["reason"]


@pytest.mark.extended
def test_a_pod_that_fails_for_ever(shop: Source) -> None:
    """Somebody else begins to archive under the new name a moment after it was looked at. The operator would try it seven times, for minutes."""
    run = start_module("cnpg_restore", shop.options("fails", recovery_target={"immediate": True}))
    try:
        wait_until(lambda: shop.namespace.find(API, "Cluster", "fails") is not None, 60, 0.1)
        shop.put("fails")
        done = run.result(120)
    finally:
        run.kill()
    assert done.failed and "Expected empty archive" in done.msg and "archive_as" in done.msg, done.msg
    assert "The source was not touched" in done.msg and "kubectl delete cluster fails" in done.msg
