# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery into a new Cluster, planned upon a store that is a directory, with an API server that answers from a table: which backup, and what
is refused before anything is made. (PostgreSQL's programs are not there: what is known is the names.) On a real operator:
kubernetes/test_cnpg_restore.py."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import restore_plan
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import BARMAN_PLUGIN
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_plan import Plan, Planner
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_request import request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

from .test_new_cluster import backup, params

NOTE = r"""backup_label='START WAL LOCATION: 0/{n}000028 (file 00000001000000000000000{n})\nBACKUP FROM: primary\nSTART TIMELINE: 1\n'
begin_time=2026-11-2{n} 03:00:00+00:00
begin_wal=00000001000000000000000{n}
begin_xlog=0/{n}000028
cluster_size=23000
compression=None
end_time=2026-11-2{n} 03:00:05+00:00
end_wal=00000001000000000000000{n}
end_xlog=0/{n}000138
error=None
pgdata=/pgdata
snapshots_info=None
status=DONE
systemid=742
tablespaces=None
timeline=1
version=150014
xlog_segment_size=16777216
"""
STORE = {"destinationPath": "s3://b/shops", "serverName": "shop"}
SPEC: dict[str, Any] = {
    "instances": 1,
    "imageName": "postgresql:15.14",
    "storage": {"size": "1Gi"},
    "backup": {"barmanObjectStore": STORE},
    "bootstrap": {"initdb": {"database": "shop", "owner": "clerk"}},
}


class Api:
    """An API server: ``there`` by kind and name; what is made by a dry run is noted. ``refuses``: a kind, and what is said."""

    namespace = "shops"

    def __init__(self, there: dict[tuple[str, str], dict[str, Any]], refuses: tuple[str, str] = ("", "")) -> None:
        self.there, self.refuses = there, refuses
        self.made: list[dict[str, Any]] = []

    def get(self, kind: str, name: str, namespace: Any = None) -> Any:
        return self.there.get((kind.rpartition("/")[2], name))

    def list(self, kind: str, selector: str = "", fields: str = "", namespace: Any = None) -> list[dict[str, Any]]:
        return [one for (of, _name), one in self.there.items() if of == kind.rpartition("/")[2]]

    def create(self, manifest: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        assert dry_run
        if manifest["kind"] == self.refuses[0]:
            raise KubernetesError(self.refuses[1])
        self.made.append(manifest)
        return manifest


def source(name: str = "shop", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shops", "uid": name}
    api = "postgresql.cnpg.io/v1"
    return {"apiVersion": api, "kind": "Cluster", "metadata": metadata, "spec": {**copy.deepcopy(SPEC), **spec}}


def put(root: Path, server_name: str = "shop", backups: tuple[int, ...] = (2, 4), segments: int = 6) -> None:
    for number in backups:
        base = root / server_name / "base" / f"2026112{number}T030000"
        base.mkdir(parents=True)
        (base / "backup.info").write_text(NOTE.format(n=number))
        (base / "data.tar").write_bytes(b"x" * 24_000)
    wals = root / server_name / "wals" / "0000000100000000"
    wals.mkdir(parents=True)
    for number in range(1, segments + 1):
        (wals / f"00000001000000000000000{number}.gz").write_bytes(b"x")


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(version: int, bin_dir: Any) -> str:
        raise ToolError("none")

    monkeypatch.setattr(restore_plan, "server_programs", none)


def plan(
    root: Path,
    there: dict[tuple[str, str], dict[str, Any]] | None = None,
    refuses: tuple[str, str] = ("", ""),
    **given: Any,
) -> Plan:
    objects = {("Cluster", "shop"): source()} if there is None else there
    api: Any = Api(objects, refuses)
    request = request_of(params(**given))
    repository = FileRepository(str(root))
    (root / "scratch").mkdir(exist_ok=True)
    made = Planner(api, request, str(root / "scratch"), lambda store: repository, lambda message: None).plan()
    assert [one["kind"] for one in api.made] == ["PersistentVolumeClaim", "Cluster"]
    return made


def recovery(made: Plan) -> dict[str, Any]:
    found: dict[str, Any] = made.manifest["spec"]["bootstrap"]["recovery"]
    return found


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (None, "20261124T030000"),
        ({"immediate": True}, "20261124T030000"),
        ({"lsn": "0/3000000"}, "20261122T030000"),
        ({"lsn": "0/5000000"}, "20261124T030000"),
    ],
)
def test_which_backup(tmp_path: Path, target: dict[str, Any] | None, chosen: str) -> None:
    """Named to the operator, whatever the kind of target."""
    put(tmp_path)
    made = plan(tmp_path, recovery_target=target)
    assert recovery(made)["recoveryTarget"]["backupID"] == chosen and made.backup["id"] == chosen
    assert made.archive_as == "new" and made.manifest["spec"]["backup"]["barmanObjectStore"]["serverName"] == "new"
    assert recovery(made)["database"] == "shop" and recovery(made)["source"] == "shop"
    assert made.backup["system_id"] == "742"


def test_an_image_that_the_source_has_by_default(tmp_path: Path) -> None:
    put(tmp_path)
    there = source()
    del there["spec"]["imageName"]
    there["status"] = {"image": "ghcr.io/cnpg/postgresql:15.3"}
    made = plan(tmp_path, {("Cluster", "shop"): there})
    assert made.manifest["spec"]["imageName"] == "ghcr.io/cnpg/postgresql:15.3"


@pytest.mark.parametrize("taken", ["wals", "base", "cluster"])
def test_a_path_that_is_taken(tmp_path: Path, taken: str) -> None:
    """By WAL, by backups alone, by a Cluster that has archived nothing yet: another name, or where one was asked for, a refusal."""
    put(tmp_path)
    there = {("Cluster", "shop"): source()}
    if taken == "wals":
        put(tmp_path, "new", (), 1)
    if taken == "base":
        put(tmp_path, "new", (2,), 0)
    if taken == "cluster":
        there["Cluster", "other"] = source("other", backup={"barmanObjectStore": {**STORE, "serverName": "new"}})
    made = plan(tmp_path, there)
    assert made.archive_as is not None and made.archive_as.startswith("new-20")
    assert any("archives as new-20" in one for one in made.warnings)
    with pytest.raises(HoldfastError, match=r"Expected empty archive\)\. Leave it out, or use new-20"):
        plan(tmp_path, there, archive_as="new")


def test_somebody_elses_store_that_is_broken(tmp_path: Path) -> None:
    """An ObjectStore that is gone is no reason to recover nothing else in that namespace."""
    put(tmp_path)
    plugin = {"name": BARMAN_PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": "gone"}}
    assert plan(tmp_path, {("Cluster", "shop"): source(), ("Cluster", "o"): source("o", backup={}, plugins=[plugin])})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"archive_as": "shop"}, "where the source's own backups lie"),
        ({"recovery_target": {"lsn": "0/1000000"}}, "not before the target"),
        ({"recovery_target": {"lsn": "0/9000000"}}, "archive has not"),
        ({"recovery_target": {"timeline": "3"}}, "00000003.history"),
        ({"recovery_target": {"name": "point"}}, "name the position"),
        ({"backup_id": "20200101T000000"}, "no physical backup"),
        ({"spec": {"imageName": "postgresql:16"}}, "is PostgreSQL 16, and the backup is of PostgreSQL 15"),
        ({"database": "app"}, "new, empty one"),
        ({"backup": "none"}, "There is no Backup none"),
        ({"cluster": "none"}, "give its manifest by the option manifest"),
        ({"method": "volume_snapshot"}, "no completed Backup"),
    ],
)
def test_what_is_refused(tmp_path: Path, given: dict[str, Any], why: str) -> None:
    put(tmp_path)
    with pytest.raises(HoldfastError, match=why):
        plan(tmp_path, **given)


def test_a_gap_behind_the_backup(tmp_path: Path) -> None:
    put(tmp_path, backups=(2,))
    (tmp_path / "shop/wals/0000000100000000/000000010000000000000004.gz").unlink()
    with pytest.raises(HoldfastError, match="000000010000000000000004"):
        plan(tmp_path)
    assert recovery(plan(tmp_path, recovery_target={"immediate": True}))["recoveryTarget"]["targetImmediate"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Service", "new-rw"), ("Service", "new-r"), ("PersistentVolumeClaim", "new-1"), ("Secret", "new-app")],
)
def test_names_that_are_taken(tmp_path: Path, kind: str, name: str) -> None:
    put(tmp_path)
    with pytest.raises(HoldfastError, match=f"there is the {kind} {name}"):
        plan(tmp_path, {("Cluster", "shop"): source(), (kind, name): {"metadata": {"name": name}}})


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "Cluster"])
def test_what_the_api_server_does_not_take(tmp_path: Path, kind: str) -> None:
    put(tmp_path)
    with pytest.raises(HoldfastError, match="exceeded quota"):
        plan(tmp_path, refuses=(kind, "exceeded quota: requests.storage"))


def test_a_source_that_is_gone(tmp_path: Path) -> None:
    """By what it was; without a store of its own it archives nowhere, which is said."""
    put(tmp_path)
    made = plan(tmp_path, {}, cluster="", manifest=source())
    assert recovery(made)["source"] == "shop" and made.archive_as == "new"
    made = plan(tmp_path, {}, cluster="", manifest=source(), spec={"backup": None})
    assert made.archive_as is None and made.store is None and any("archives no WAL" in one for one in made.warnings)


def test_a_backup_object_of_an_older_store(tmp_path: Path) -> None:
    """It says itself where it lies; what else a store is configured with is the Cluster's."""
    put(tmp_path, "old")
    where = {"destinationPath": "s3://b/old", "serverName": "old", "s3Credentials": {"inheritFromIAMRole": True}}
    status = {
        "phase": "completed",
        "method": "barmanObjectStore",
        "backupId": "20261122T030000",
        "beginWal": "x",
        **where,
    }
    one = {"metadata": {"name": "night"}, "spec": {"cluster": {"name": "shop"}}, "status": status}
    now = source(backup={"barmanObjectStore": {**STORE, "wal": {"maxParallel": 8}}})
    there = {("Cluster", "shop"): now, ("Backup", "night"): one}
    made = plan(tmp_path, there, backup="night")
    assert made.backup == {**made.backup, "id": "20261122T030000", "object": "night"}
    (external,) = made.manifest["spec"]["externalClusters"]
    assert external["barmanObjectStore"] == {**where, "wal": {"maxParallel": 8}}
    for wrong, why in (
        ({"phase": "failed"}, "is failed"),
        ({"phase": ""}, "not begun"),
        # The newest one is not what was asked for.
        ({"backupId": ""}, "does not say which one"),
    ):
        with pytest.raises(HoldfastError, match=why):
            plan(tmp_path, {**there, ("Backup", "night"): {**one, "status": {**status, **wrong}}}, backup="night")


def snapshot(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "status": {"readyToUse": True, "restoreSize": "1Gi", **status}}


def test_of_volume_snapshots(tmp_path: Path) -> None:
    put(tmp_path, backups=())
    one = backup(
        beginWal="000000010000000000000004", snapshotBackupStatus={"elements": [{"name": "s", "type": "PG_DATA"}]}
    )
    there = {("Cluster", "shop"): source(), ("Backup", "b"): one, ("VolumeSnapshot", "s"): snapshot()}
    made = plan(tmp_path, there, method="volume_snapshot", recovery_target={"lsn": "0/5000000"})
    assert recovery(made)["volumeSnapshots"]["storage"]["name"] == "s" and recovery(made)["source"] == "shop"
    assert "backupID" not in recovery(made)["recoveryTarget"] and made.backup["snapshots"] == ["s"]
    assert recovery(plan(tmp_path, there, backup="b"))["volumeSnapshots"]
    for wrong, why in (
        (snapshot(restoreSize="2Gi"), "is smaller than the snapshot s"),
        (snapshot(readyToUse=False), "cannot be used yet"),
    ):
        with pytest.raises(HoldfastError, match=why):
            plan(tmp_path, {**there, ("VolumeSnapshot", "s"): wrong}, method="volume_snapshot")


def test_snapshots_without_an_archive(tmp_path: Path) -> None:
    """To their own moment alone; of several volumes of a running server not at all."""
    there = {
        ("Cluster", "shop"): source(backup={"volumeSnapshot": {}}, walStorage={"size": "1Gi"}),
        ("VolumeSnapshot", "s"): snapshot(),
        ("VolumeSnapshot", "w"): snapshot(),
    }
    hot, cold = backup(), backup(online=False)
    with pytest.raises(HoldfastError, match="nothing|might be damaged"):
        plan(tmp_path, {**there, ("Backup", "b"): hot}, method="volume_snapshot")
    with pytest.raises(HoldfastError, match="immediate: true"):
        plan(
            tmp_path,
            {**there, ("Backup", "b"): cold},
            method="volume_snapshot",
            recovery_target={"time": "2026-11-25T00:00:00Z"},
        )
