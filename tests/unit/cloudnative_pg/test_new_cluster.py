# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Cluster that is made of a backup, as a pure table: what of the source stays, where it begins, and where it archives, in-tree and by the plugin."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import new_cluster, snapshot_backups
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import store_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import BARMAN_PLUGIN, cluster_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.new_cluster import (
    Application,
    Beginning,
    Snapshots,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_request import request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

IN_TREE = {
    "destinationPath": "s3://backups/shops",
    "s3Credentials": {"accessKeyId": {"name": "s3", "key": "id"}},
    "serverName": "shop",
}
SOURCE: dict[str, Any] = {
    "instances": 3,
    "imageName": "postgresql:15",
    "storage": {"size": "1Gi"},
    "postgresql": {"parameters": {"work_mem": "8MB", "jit": "off"}},
    "backup": {"barmanObjectStore": IN_TREE, "retentionPolicy": "30d"},
    "bootstrap": {"initdb": {"database": "shop", "owner": "clerk", "secret": {"name": "clerk"}}},
    "externalClusters": [{"name": "elsewhere"}],
    "replica": {"enabled": False},
    "nodeMaintenanceWindow": {"inProgress": True},
    "managed": {
        "roles": [{"name": "r"}],
        "services": {"additional": [{"serviceTemplate": {"metadata": {"name": "shop-lb"}}}]},
    },
}
CLERK = Application("shop", "clerk", "clerk")


def make(
    spec: dict[str, Any], beginning: Beginning, archive_as: str | None = "new", changes: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    made = new_cluster.manifest("new", "shops", spec, beginning, archive_as, CLERK, changes or {}, notes)
    return made["spec"], notes


def test_in_tree() -> None:
    begins = Beginning("shop", store_of(IN_TREE, "shop"), {"backupID": "b", "targetTLI": "1"})
    spec, notes = make(SOURCE, begins, "new-1", {"instances": 1, "postgresql": {"parameters": {"jit": None}}})
    assert spec["bootstrap"] == {
        "recovery": {
            "source": "shop",
            "recoveryTarget": {"backupID": "b", "targetTLI": "1"},
            "database": "shop",
            "owner": "clerk",
            "secret": {"name": "clerk"},
        }
    }
    assert spec["externalClusters"] == [{"name": "shop", "barmanObjectStore": IN_TREE}]
    assert spec["backup"] == {"barmanObjectStore": {**IN_TREE, "serverName": "new-1"}, "retentionPolicy": "30d"}
    assert spec["instances"] == 1 and spec["postgresql"] == {"parameters": {"work_mem": "8MB"}}
    assert "replica" not in spec and "nodeMaintenanceWindow" not in spec
    assert spec["managed"] == {"roles": [{"name": "r"}], "services": {}} and "shop-lb" in notes[0]
    # The source's own is as it was.
    assert (
        SOURCE["backup"]["barmanObjectStore"]["serverName"] == "shop" and "additional" in SOURCE["managed"]["services"]
    )


def test_by_the_plugin() -> None:
    plugin = {"name": BARMAN_PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": "store"}}
    other = {"name": "other", "parameters": {"serverName": "stays"}}
    source = {"instances": 1, "storage": {"size": "1Gi"}, "plugins": [plugin, other]}
    begins = Beginning("shop", store_of({"destinationPath": "s3://b"}, "shop", "shop-2025", "store"), {"backupID": "b"})
    spec, _notes = make(source, begins, "new-1")
    assert spec["externalClusters"] == [
        {
            "name": "shop",
            "plugin": {"name": BARMAN_PLUGIN, "parameters": {"barmanObjectName": "store", "serverName": "shop-2025"}},
        }
    ]
    assert spec["plugins"] == [
        {**plugin, "parameters": {"barmanObjectName": "store", "serverName": "new-1"}},
        other,
    ]


def test_of_snapshots() -> None:
    """Without an archive there is no source; with one it is there, and no backupID."""
    shots = Snapshots("data", "wal", {"fast": "tbs"})
    spec, _notes = make({"storage": {"size": "1Gi"}}, Beginning("shop", None, {}, shots), None)

    def named(name: str) -> dict[str, str]:
        return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}

    recovery = spec["bootstrap"]["recovery"]
    assert recovery["volumeSnapshots"] == {
        "storage": named("data"),
        "walStorage": named("wal"),
        "tablespaceStorage": {"fast": named("tbs")},
    }
    assert "source" not in recovery and "recoveryTarget" not in recovery and "externalClusters" not in spec


@pytest.mark.parametrize("part", new_cluster.OURS)
def test_what_the_module_writes_is_no_change(part: str) -> None:
    with pytest.raises(BadOption, match="written by the module"):
        make(SOURCE, Beginning("shop", None, {}), None, {part: {}})


@pytest.mark.parametrize(
    ("bootstrap", "found"),
    [
        ({"initdb": {"database": "shop", "owner": "clerk"}}, Application("shop", "clerk")),
        (
            {"recovery": {"database": "shop", "owner": "clerk", "secret": {"name": "s"}}},
            Application("shop", "clerk", "s"),
        ),
        ({"pg_basebackup": {"source": "x"}}, Application()),
        ({}, Application()),
    ],
)
def test_whose_database(bootstrap: dict[str, Any], found: Application) -> None:
    """A source that was restored itself says it in another place."""
    assert new_cluster.application({"bootstrap": bootstrap}) == found


def test_another_database_than_the_sources() -> None:
    assert new_cluster.compared(CLERK, None, "clerk", "own") == Application("shop", "clerk", "own")
    assert new_cluster.compared(Application(), None, None, None) == Application()
    with pytest.raises(BadOption, match="new, empty one"):
        new_cluster.compared(CLERK, "app", None, None)
    with pytest.raises(BadOption, match="owner"):
        new_cluster.compared(Application(), "shop", None, None)


def test_names() -> None:
    assert new_cluster.new_name("new", datetime.datetime(2026, 11, 21, 3, 4)) == "new-202611210304"
    spec = {
        "storage": {"size": "1Gi"},
        "walStorage": {"size": "2Gi"},
        "tablespaces": [{"name": "so_fast", "storage": {"size": "3Gi"}}],
    }
    assert [(suffix, one["size"]) for suffix, one in new_cluster.claims(spec)] == [
        ("", "1Gi"),
        ("-wal", "2Gi"),
        ("-tbs-so-fast", "3Gi"),
    ]


def backup(name: str = "b", of: str = "shop", **status: Any) -> dict[str, Any]:
    known = {
        "phase": "completed",
        "method": "volumeSnapshot",
        "majorVersion": 15,
        "beginWal": "000000020000000000000004",
        "beginLSN": "0/4000028",
        "endLSN": "0/4000100",
        "startedAt": "2026-11-21T03:00:00Z",
        "stoppedAt": "2026-11-21T03:00:05Z",
        "snapshotBackupStatus": {"elements": [{"name": "s", "type": "PG_DATA"}, {"name": "w", "type": "PG_WAL"}]},
    }
    return {"metadata": {"name": name}, "spec": {"cluster": {"name": of}}, "status": {**known, **status}}


def test_backups_that_are_snapshots() -> None:
    objects = [
        backup("later", stoppedAt="2026-11-22T03:00:05Z"),
        backup("b"),
        backup("failed", phase="failed"),
        backup("others", of="else"),
        backup("store", method="barmanObjectStore"),
    ]
    assert [one["metadata"]["name"] for one in snapshot_backups.completed(objects, "shop")] == ["b", "later"]
    found = snapshot_backups.record(backup())
    assert found is not None and (found.server["timeline"], found.start_lsn, found.stop_lsn) == (
        2,
        "0/4000028",
        "0/4000100",
    )
    # Whole seconds: it may have ended within the last one.
    assert found.consistency["reached_at"] == "2026-11-21T03:00:06Z"
    assert snapshot_backups.snapshots(backup()) == Snapshots("s", "w")
    assert snapshot_backups.snapshots(backup(snapshotBackupStatus={})) is None
    assert snapshot_backups.record(backup(beginLSN="")) is None


def params(**given: Any) -> dict[str, Any]:
    known = {
        "recovery_target": None, "name": "new", "manifest": {}, "cluster": "shop", "method": "object_store", "backup": "", "backup_id": "latest",
        "archive_as": "", "database": "", "owner": "", "secret": "", "spec": {}, "repository": None, "first_backup": True, "timeout": "6h", "bin_dir": None,
    }  # fmt: skip
    return {**known, **given}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "shop"}, "source is never touched"),
        ({"name": "Shop"}, "no name of an object"),
        ({"name": "s" * 51}, "50 are allowed"),
        ({"cluster": ""}, "Name the Cluster"),
        ({"manifest": {"kind": "Deployment"}}, "no Cluster of CloudNativePG"),
        ({"backup": "b", "backup_id": "20261121T030000"}, "Give one of them"),
        ({"method": "volume_snapshot", "backup_id": "20261121T030000"}, "in the store"),
        ({"recovery_target": {"time": "2026-11-21 03:00"}}, "no offset"),
    ],
)
def test_requests_that_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(BadOption, match=why):
        request_of(params(**given))


def test_one_recovery_is_told_from_another() -> None:
    """How long it is waited for, and how the store is reached from here, make no other one."""
    one = request_of(params())
    assert one.digest("n") == request_of(
        params(timeout="1h", repository={"endpoint_url": "x"}, first_backup=False)
    ).digest("n")
    others = [params(backup_id="b"), params(recovery_target={"immediate": True}), params(spec={"instances": 1})]
    assert len({one.digest("n"), *(request_of(other).digest("n") for other in others)}) == 4


def test_the_manifest_can_be_read_as_a_cluster() -> None:
    begins = Beginning("shop", store_of(IN_TREE, "shop"), {})
    made = new_cluster.manifest("new", "shops", SOURCE, begins, "new-1", CLERK, {}, [])
    read = cluster_of(made)
    assert read.store is not None and str(read.store) == "s3://backups/shops/new-1" and read.major_version == 15
