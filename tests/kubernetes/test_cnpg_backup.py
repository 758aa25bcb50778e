# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cnpg_backup on the real operator: a Cluster of one instance that archives into S3, its backups seen in the store by other means, and one of
them recovered by the operator itself. Everything under a ServiceAccount with exactly the rights of the table."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import backup_object
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes import receiving
from lab.kubernetes.api import Namespace
from lab.kubernetes.cloudnative_pg import API, BARMAN, Cnpg, archiving, cluster as cnpg_cluster, has_archived
from lab.playbooks import ModuleResult, run_module, run_playbook
from lab.stores import S3Server
from lab.waiting import wait_until

Object = dict[str, Any]
PASSWORD = "not of the application"


@dataclass
class Shop:
    namespace: Namespace
    cnpg: Cnpg
    store: S3Server
    bucket: Object
    kubeconfig: Path
    #: of a role that may close a window, and nothing else
    login: Object

    def run(self, check: bool = False, login: bool = True, **options: Any) -> ModuleResult:
        given = {
            "kubernetes": {"kubeconfig": str(self.kubeconfig), "namespace": self.namespace.name},
            "cluster": self.cnpg.name,
            "deadline": "2min",
            "wal_timeout": "60s",
            **(self.login if login else {}),
            **options,
        }
        return run_module("cnpg_backup", given, check=check, diff=True)

    def facts(self, **options: Any) -> Object:
        rights = rights_of("cnpg_status", clusters=["shop"], object_stores=[], secrets=["shop-s3"])
        kubeconfig = self.namespace.service_account([rule.manifest() for rule in rights.rules], self.kubeconfig.parent)
        access = {"kubeconfig": str(kubeconfig), "namespace": self.namespace.name}
        given = {"engine": "cnpg", "server_name": self.cnpg.name, "kubernetes": access, **options}
        found: Object = ok(run_module("backup_facts", given))["ansible_facts"]["holdfast_backups"]
        return found

    def objects(self) -> list[str]:
        """What lies in the store, by its own client."""
        listed = self.store.client().list_objects_v2(Bucket=self.bucket["bucket"], Prefix="cnpg/shop/")
        return [item["Key"] for item in listed.get("Contents") or ()]

    def segments(self) -> set[str]:
        names = (key.rpartition("/")[2].partition(".")[0] for key in self.objects() if "/wals/" in key)
        return {name for name in names if len(name) == 24}

    def backups(self) -> list[Object]:
        return list(self.namespace.list(API, "Backup"))


@pytest.fixture(scope="module")
def shop(
    cluster: Any, cnpg_here: None, cnpg_archiving: None, store: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    namespace = cluster.api.create_namespace()
    bucket = receiving.bucket(store, namespace)
    directory = tmp_path_factory.mktemp("cnpg")
    more = {"volumeSnapshot": {"className": cluster.snapshot_class}} if cluster.snapshot_class else {}
    secret, made = archiving("shop", bucket)
    made["spec"]["backup"].update(more)
    made["spec"]["enableSuperuserAccess"] = True
    namespace.apply(secret, made)
    cnpg = Cnpg(namespace, "shop")
    try:
        cnpg.ready()
        namespace.wait(API, "Cluster", "shop", has_archived, 60)
        role = f"create role closer login password '{PASSWORD}'"
        for function in ("pg_create_restore_point(text)", "pg_switch_wal()"):
            role += f"; grant execute on function {function} to closer"
        cnpg.sql(f"{role}; create table t (n int)")
        login = {**cnpg.login, "login_user": "closer", "login_password": PASSWORD}
        rights = rights_of("cnpg_backup", clusters=["shop"], object_stores=[], secrets=["shop-s3"])
        kubeconfig = namespace.service_account(
            [rule.manifest() for rule in rights.rules],
            directory,
            cluster_rules=[rule.manifest() for rule in rights.cluster],
        )
        yield Shop(namespace, cnpg, store, bucket, kubeconfig, login)
    finally:
        cnpg.delete()
        namespace.remove()


def ok(run: ModuleResult) -> Object:
    assert not run.failed and run.result, (run.msg, run.stdout, run.stderr)
    return run.result


def refused(run: ModuleResult, *said: str) -> None:
    assert run.failed, run.result
    for one in said:
        assert one in run.msg, run.msg


def test_an_idle_server_has_a_backup_when_its_last_segment_is_in_the_store(shop: Shop) -> None:
    """The plan of check mode is that of the run; the restore point's segment is in the store, looked at by another client; enough is enough; one that
    somebody else asked for counts as well."""
    shop.cnpg.sql("insert into t select generate_series(1, 100)")
    before = shop.backups()
    tried = ok(shop.run(check=True))
    assert tried["changed"] and len(shop.backups()) == len(before)
    made = ok(shop.run())
    assert made["plan"] == tried["plan"] and made["changed"]
    record, point = made["backup"], made["restore_point"]
    assert record["engine"] == "barman_cloud" and f"cnpg/shop/base/{record['id']}/backup.info" in shop.objects()
    assert point["segment"] in shop.segments() and record["server"]["in_recovery"] is False
    assert "a restore point" in str(made["plan"]) and point["name"] in str(made["proof"]["proven"])
    (found,) = [one for one in shop.backups() if one["metadata"]["name"] == made["backup_object"]]
    assert found["metadata"]["annotations"][backup_object.CLOSED] == point["segment"]
    assert found["status"]["backupId"] == record["id"]
    again = ok(shop.run(max_age="1h"))
    assert not again["changed"] and again["plan"] == [] and again["backup"]["id"] == record["id"]
    assert "gone in CloudNativePG 1.31; the operator is 1.30" in str(made.get("warnings"))


def test_a_backup_of_a_run_that_was_killed_is_gone_on_with(shop: Shop) -> None:
    """As a run leaves it that dies when the operator has begun, or when it has ended: no second Backup is made."""
    options = BackupOptions("barman_object_store")
    left = backup_object.manifest("left", shop.namespace.name, "shop", options)
    shop.namespace.apply(left)
    count = len(shop.backups())
    tried = ok(shop.run(check=True))
    made = ok(shop.run())
    assert made["backup_object"] == tried["backup_object"] == "left" and len(shop.backups()) == count
    assert "go on with the Backup left" in made["plan"][0] and made["restore_point"]["segment"] in shop.segments()
    assert ok(shop.run(check=True))["plan"][0].startswith("make a Backup")
    shop.namespace.patch(API, "Backup", "left", {"metadata": {"annotations": {backup_object.CLOSED: None}}})
    assert "was not seen in the store" in ok(shop.run(check=True))["plan"][0]
    shop.namespace.delete(API, "Backup", "left")


def test_what_would_be_believed_and_is_none_is_refused(shop: Shop) -> None:
    """Each with its reason, in check mode as in a run; and nothing was asked of the operator."""
    count = len(shop.backups())
    refused(shop.run(method="plugin"), "spec.plugins has no", "barman_object_store")
    refused(shop.run(online=False), "volume snapshots alone")
    refused(shop.run(cluster="nobody"), "nobody")
    app = {key: value for key, value in Cnpg(shop.namespace, "shop").login.items() if key == "login_host"}
    secret = shop.namespace.get("v1", "Secret", "shop-app")["data"]
    user, password = (base64.b64decode(secret[key]).decode() for key in ("username", "password"))
    plain = {**app, "login_user": user, "login_password": password, "login_db": "app"}
    refused(shop.run(**plain), "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text)", "pg_switch_wal")
    refused(shop.run(repository={"type": "s3", "bucket": "another"}), "is not where the Cluster archives")
    _secret, twin = archiving("twin", shop.bucket, server_name="shop")
    twin["metadata"]["annotations"] = {"cnpg.io/reconciliationLoop": "disabled"}
    shop.namespace.apply(twin)
    try:
        for check in (True, False):
            refused(shop.run(check=check), f"{shop.namespace.name}/twin archive into one place")
    finally:
        shop.namespace.delete(API, "Cluster", "twin")
    assert len(shop.backups()) == count


def test_facts_of_the_store_and_of_the_operator_beside_each_other(shop: Shop) -> None:
    """What is in the store, with its window, the Cluster's conditions, its Backups and schedules; a segment that is gone is a problem."""
    if not shop.backups():
        ok(shop.run())
    spec = {"schedule": "0 0 2 * * *", "cluster": {"name": "shop"}, "suspend": True, "method": "barmanObjectStore"}
    shop.namespace.apply({"apiVersion": API, "kind": "ScheduledBackup", "metadata": {"name": "nightly"}, "spec": spec})
    facts = shop.facts(expected_every="25h")
    assert facts["newest"] and facts["last_success"] and facts["overdue"] is False, facts["problems"]
    assert facts["wal"]["windows"][0]["stretches"], facts["wal"]
    told = facts["cnpg"]
    assert (
        told["healthy"]
        and told["archiving"]
        and told["primary"] == "shop-1"
        and told["operator_version"].startswith("1.30")
    )
    assert told["said"]["by"] == "the Cluster shop" and told["backups"][-1]["phase"] == "completed"
    (schedule,) = facts["schedules"]
    assert schedule["name"] == "nightly" and schedule["idle"] == "it is suspended"
    assert [one for one in facts["problems"] if "never runs" in one] and [
        one for one in facts["problems"] if "1.31" in one
    ]
    assert len(facts["problems"]) == 2, facts["problems"]
    newest = facts["backups"][-1]
    number = int(newest["start_lsn"].split("/")[1], 16) >> 24
    (doomed,) = [key for key in shop.objects() if "/wals/" in key and key.endswith(f"{number:08X}.gz")]
    client = shop.store.client()
    body = client.get_object(Bucket=shop.bucket["bucket"], Key=doomed)["Body"].read()
    client.delete_object(Bucket=shop.bucket["bucket"], Key=doomed)
    try:
        gone = shop.facts()
        assert "without which it cannot be restored" in str(gone["problems"]), gone["problems"]
        assert "says that the last good backup is" in str(gone["problems"]), gone["problems"]
    finally:
        client.put_object(Bucket=shop.bucket["bucket"], Key=doomed, Body=body)
    shop.namespace.delete(API, "ScheduledBackup", "nightly")


@pytest.mark.extended
def test_without_a_login_the_primary_closes_its_segment_itself(shop: Shop) -> None:
    made = ok(shop.run(login=False))
    assert "restore_point" not in made and "no login was given" in str(made["proof"]["unproven"])
    assert made["backup"]["server"]["in_recovery"] is False and "of the primary" in made["plan"][0]


@pytest.mark.extended
def test_recovered_to_the_restore_point_by_the_operator(shop: Shop) -> None:
    """A new Cluster out of the store, by hand: exactly the rows up to the point that closed the window, and none after it."""
    shop.cnpg.sql("create table kept (n int); insert into kept select generate_series(1, 1000)")
    made = ok(shop.run())
    shop.cnpg.sql("insert into kept values (-1); select pg_switch_wal()")
    secret, _cluster = archiving("shop", shop.bucket)
    source = _cluster["spec"]["backup"]["barmanObjectStore"]
    target = {"targetName": made["restore_point"]["name"], "backupID": made["backup"]["id"]}
    again = cnpg_cluster(
        "again",
        imageName=BARMAN,
        enableSuperuserAccess=True,
        bootstrap={"recovery": {"source": "shop", "recoveryTarget": target}},
        externalClusters=[{"name": "shop", "barmanObjectStore": {**source, "serverName": "shop"}}],
    )
    shop.namespace.apply(again)
    restored = Cnpg(shop.namespace, "again")
    try:
        restored.ready(240)
        assert restored.sql("select count(*), sum(n) from kept") == [(1000, 500500)]
    finally:
        restored.delete()


@pytest.mark.extended
@pytest.mark.parametrize("online", [True, False])
def test_volume_snapshots(shop: Shop, online: bool) -> None:
    """Of a server that goes on, with its WAL seen in the store; of one that is stopped for it, which needs none."""
    made = ok(
        shop.run(login=online, method="volume_snapshot", online=online, immediate_checkpoint=True if online else None)
    )
    shop.cnpg.ready(120)
    record = made["backup"]
    assert record["engine"] == "volume_snapshot" and record["consistency"]["self_contained"] is not online
    (one,) = record["consistency"]["snapshots"]
    found = shop.namespace.get("snapshot.storage.k8s.io/v1", "VolumeSnapshot", one["name"])
    assert found["status"]["readyToUse"] and one["type"] == "PG_DATA"
    assert ("restore_point" in made) is online
    again = ok(shop.run(method="volume_snapshot", online=online, max_age="1h"))
    assert not again["changed"] and again["backup"]["id"] == record["id"]
    shop.namespace.delete("snapshot.storage.k8s.io/v1", "VolumeSnapshot", one["name"])
    wait_until(lambda: shop.namespace.find("snapshot.storage.k8s.io/v1", "VolumeSnapshot", one["name"]) is None, 30)
    assert ok(shop.run(method="volume_snapshot", online=online, max_age="1h", check=True))["changed"]


@pytest.mark.extended
def test_credentials_that_were_changed(shop: Shop) -> None:
    """The Secret is wrong from now on: refused with the store's own words, though the pods still archive with what they read before, and the Cluster says
    that all is well; with the right one again, the next run makes a backup."""
    right, count = shop.namespace.get("v1", "Secret", "shop-s3")["data"], len(shop.backups())
    shop.namespace.patch("v1", "Secret", "shop-s3", {"stringData": {"key": "wrong"}})
    try:
        refused(shop.run(check=True), "s3://")
        refused(shop.run(), "s3://")
        assert len(shop.backups()) == count
    finally:
        shop.namespace.patch("v1", "Secret", "shop-s3", {"data": {"key": right["key"]}})
    shop.namespace.wait(API, "Cluster", "shop", has_archived, 120)
    assert ok(shop.run())["restore_point"]["segment"] in shop.segments()


@pytest.mark.extended
def test_a_segment_that_is_gone_from_the_store(shop: Shop) -> None:
    """A segment that the backup needs is taken out of the store behind the operator's back: not enough for max_age, and told."""
    made = ok(shop.run())
    first = sorted(key for key in shop.objects() if "/wals/" in key and key.endswith(".gz"))
    needed = made["backup"]["start_lsn"]
    number = int(needed.split("/")[1], 16) >> 24
    (doomed,) = [key for key in first if key.endswith(f"{number:08X}.gz")]
    body = shop.store.client().get_object(Bucket=shop.bucket["bucket"], Key=doomed)["Body"].read()
    shop.store.client().delete_object(Bucket=shop.bucket["bucket"], Key=doomed)
    try:
        tried = ok(shop.run(check=True, max_age="1h"))
        assert tried["changed"] and "cannot be restored" in str(tried["warnings"])
    finally:
        shop.store.client().put_object(Bucket=shop.bucket["bucket"], Key=doomed, Body=body)
    assert not ok(shop.run(check=True, max_age="1h"))["changed"]


@pytest.mark.extended
def test_by_the_playbook(shop: Shop) -> None:
    """The play that backs up everything else, told by one word; its last line says what there is."""
    given = {
        "holdfast_engine": "cnpg",
        "holdfast_kubernetes": {"kubeconfig": str(shop.kubeconfig), "namespace": shop.namespace.name},
        **{f"holdfast_{name}": value for name, value in shop.login.items()},
        "holdfast_backup_deadline": "2min",
    }
    book = receiving.PLAYBOOKS / "backup.yml"
    tried = run_playbook(book, given, "--check", inventory="shop,")
    assert tried.returncode == 0 and "It would: make a Backup by barman_object_store" in tried.stdout, tried.stdout
    made = run_playbook(book, given, inventory="shop,")
    assert made.returncode == 0, made.stdout
    (result,) = made.of("holdfast.postgres.cnpg_backup")
    assert result["changed"] and result["restore_point"]["segment"] in shop.segments()
    again = run_playbook(book, {**given, "holdfast_backup_max_age": "1h"}, inventory="shop,")
    assert again.returncode == 0 and f"Nothing to do: the full backup {result['backup']['id']}" in again.stdout, (
        again.stdout
    )


def test_a_schedule_by_the_role(shop: Shop) -> None:
    """Five fields become six, and it is said; a second run changes nothing; what the operator cannot do is refused; gone again. Nothing but the rights
    of the table is used."""
    rights = rights_of("cnpg_schedule", clusters=["shop"], schedules=["nightly"])
    kubeconfig = shop.namespace.service_account([rule.manifest() for rule in rights.rules], shop.kubeconfig.parent)
    given = {
        "kubernetes": {"kubeconfig": str(kubeconfig), "namespace": shop.namespace.name},
        "name": "nightly",
        "cluster": "shop",
        "state": "suspended",
    }
    tried = ok(run_module("cnpg_schedule", given, check=True, diff=True))
    made = ok(run_module("cnpg_schedule", given, diff=True))
    assert made["plan"] == tried["plan"] and "0 30 2 * * *" in str(made["warnings"])
    found = shop.namespace.get(API, "ScheduledBackup", "nightly")["spec"]
    assert (found["schedule"], found["method"], found["suspend"]) == ("0 30 2 * * *", "barmanObjectStore", True)
    assert not ok(run_module("cnpg_schedule", given))["changed"]
    refused(run_module("cnpg_schedule", {**given, "time_zone": "Europe/Berlin"}), "has no time zone")
    refused(run_module("cnpg_schedule", {**given, "method": "plugin"}), "spec.plugins has no")
    asked = {
        "holdfast_kubernetes": given["kubernetes"],
        "holdfast_schedule_manager": "cnpg",
        "holdfast_schedules": [{"name": "nightly", "cron": "30 2 * * *", "suspended": True}],
    }
    book = receiving.PLAYBOOKS / "schedule.yml"
    same = run_playbook(book, asked, inventory="shop,")
    assert same.returncode == 0 and "changed=0" in same.stdout, same.stdout
    wrong = run_playbook(book, {**asked, "holdfast_schedule_playbook": "holdfast.postgres.verify"}, inventory="shop,")
    assert wrong.returncode and "is nothing that CloudNativePG" in wrong.stdout, wrong.stdout
    gone = ok(run_module("cnpg_schedule", {**given, "state": "absent"}))
    assert gone["plan"] == ["delete the ScheduledBackup nightly"]
    assert not ok(run_module("cnpg_schedule", {**given, "state": "absent"}))["changed"]
