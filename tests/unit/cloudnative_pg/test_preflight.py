# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is asked of the operator, each with its reason; and which WAL a backup needs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    preflight,
    snapshot_record,
    window,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BARMAN_PLUGIN,
    UNKNOWN_PLUGIN,
    CnpgCluster,
    cluster_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

STORE = {"destinationPath": "s3://backups/shops"}
GOOD: dict[str, Any] = {
    "currentPrimary": "shop-1",
    "phase": "Cluster in healthy state",
    "systemID": "7",
    "timelineID": 1,
    "conditions": [{"type": "ContinuousArchiving", "status": "True"}],
}


def cluster(
    backup: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    name: str = "shop",
    plugins: Any = (),
    **metadata: Any,
) -> CnpgCluster:
    meta = {"name": name, "namespace": "shops", "uid": name, **metadata}
    spec = {"backup": {"barmanObjectStore": STORE} if backup is None else backup, "plugins": list(plugins)}
    return cluster_of({"metadata": meta, "spec": spec, "status": {**GOOD, **(status or {})}})


def record(system_id: str | None = "7", stop_lsn: str = "0/5000138", timeline: int = 1) -> Record:
    server = {"system_id": system_id, "timeline": timeline, "wal_segment_size": 16 << 20}
    times = "2026-11-26T16:00:00Z", "2026-11-26T16:00:02Z"
    return Record(
        "1", "barman_cloud", "full", "", server, *times, "0/4000028", stop_lsn, {}, {}, [], {}, {}, [], ""
    )  # fmt: skip


def test_one_that_can_be_backed_up() -> None:
    preflight.check_cluster(cluster(), wal=True)


def condition(status: str, message: str = "", since: str = "") -> dict[str, Any]:
    one = {"type": "ContinuousArchiving", "status": status, "message": message, "lastTransitionTime": since}
    return {"conditions": [one]}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (cluster(status=condition("False", "no such bucket", "2026-11-26T12:00:00Z")), "since 2026-11-26T12:00:00Z.*no such bucket"),
        (cluster(status=condition("Unknown")), "is Unknown"),
        (cluster(status={"conditions": []}), "does not say whether its WAL is archived"),
        (cluster(backup={}), "archives no WAL"),
        (cluster(status={"currentPrimary": None, "phase": "Setting up primary"}), "has no primary .Setting up primary"),
        (cluster(status={"phase": UNKNOWN_PLUGIN, "phaseReason": "barman-cloud"}), "a plugin of it is not there: barman-cloud"),
        (cluster(annotations={"cnpg.io/hibernation": "on"}), "is hibernated"),
        (cluster(annotations={"cnpg.io/fencedInstances": '["shop-1"]'}), "is fenced"),
        (cluster(annotations={"cnpg.io/fencedInstances": '["*"]'}), "is fenced"),
        (cluster(deletionTimestamp="2026-11-26T16:00:00Z"), "is being deleted"),
    ],
)  # fmt: skip
def test_what_cannot_be(found: CnpgCluster, said: str) -> None:
    """Each says that nothing was asked of the operator."""
    with pytest.raises(ServerError, match=f"{said}.*Nothing was asked"):
        preflight.check_cluster(found, wal=True)


def test_a_standby_that_is_fenced_or_a_snapshot_of_a_stopped_server_is_none_of_it() -> None:
    preflight.check_cluster(cluster(annotations={"cnpg.io/fencedInstances": '["shop-2"]'}), wal=True)
    preflight.check_cluster(cluster(status=condition("False")), wal=False)


@pytest.mark.parametrize(
    ("backup", "options", "needs"),
    [
        ({"barmanObjectStore": STORE}, BackupOptions("barman_object_store"), True),
        ({"volumeSnapshot": {}}, BackupOptions("volume_snapshot"), True),
        ({"volumeSnapshot": {"online": False}}, BackupOptions("volume_snapshot"), False),
        ({"volumeSnapshot": {"online": False}}, BackupOptions("volume_snapshot", online=True), True),
        ({"volumeSnapshot": {}}, BackupOptions("volume_snapshot", online=False), False),
    ],
)
def test_which_needs_wal(backup: dict[str, Any], options: BackupOptions, needs: bool) -> None:
    assert preflight.needs_wal(cluster(backup=backup), options) is needs


def test_the_method() -> None:
    """As it is configured; the plugin before what is gone soon."""
    plugin = [{"name": BARMAN_PLUGIN, "isWALArchiver": True}]
    assert preflight.method_of(cluster(), None) == "barman_object_store"
    assert preflight.method_of(cluster(plugins=plugin), None) == "plugin"
    assert preflight.method_of(cluster(backup={"volumeSnapshot": {"className": "x"}}), None) == "volume_snapshot"
    with pytest.raises(BadOption, match="spec.plugins has no"):
        preflight.method_of(cluster(), "plugin")
    with pytest.raises(BadOption, match="configured for none"):
        preflight.method_of(cluster(backup={}), None)


@pytest.mark.parametrize(
    "options", [BackupOptions("plugin", online=True), BackupOptions("barman_object_store", immediate_checkpoint=True)]
)
def test_options_of_another_method(options: BackupOptions) -> None:
    with pytest.raises(BadOption, match="volume snapshots alone"):
        preflight.check_options(options)


def test_two_that_archive_into_one_place() -> None:
    """By the server's name, whatever the Clusters are called; another one's store that nobody knows says nothing."""
    mine = cluster()
    assert mine.store is not None
    named = cluster(backup={"barmanObjectStore": {**STORE, "serverName": "shop"}}, name="other")
    beside = cluster(name="beside")
    preflight.check_shared(
        mine, mine.store, [(beside, beside.store), (cluster(backup={}, name="none"), None), (mine, mine.store)]
    )
    with pytest.raises(ServerError, match="shops/other archive into one place"):
        preflight.check_shared(mine, mine.store, [(beside, beside.store), (named, named.store)])


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ([], False),
        ([record()], False),
        ([record("8"), record("7")], False),
        ([record("7"), record("8")], True),
        ([record(None)], False),
    ],
)
def test_an_archive_of_another_server(records: list[Record], wrong: bool) -> None:
    """The newest that says so counts: a Cluster that was made anew has a past."""
    if not wrong:
        preflight.check_owner(cluster(), "shop in s3://backups", records)
        return
    with pytest.raises(ServerError, match="another server .system identifier 8"):
        preflight.check_owner(cluster(), "shop in s3://backups", records)


def test_what_is_gone_soon() -> None:
    (said,) = preflight.lints(cluster(), "1.30.0")
    assert "gone in CloudNativePG 1.31; the operator is 1.30.0" in said
    assert not preflight.lints(cluster(backup={}, plugins=[{"name": BARMAN_PLUGIN}]), None)


@pytest.mark.parametrize(
    ("stop", "point", "wanted"),
    [
        ("0/5000138", None, ["04", "05"]),
        ("0/5000000", None, ["04"]),
        ("0/5000138", "000000010000000000000005", ["04", "05"]),
        ("0/5000138", "000000010000000000000008", ["04", "05", "06", "07", "08"]),
    ],
)
def test_all_wal_from_the_begin_to_the_point(stop: str, point: str | None, wanted: list[str]) -> None:
    found = window.wanted_segments(
        record(stop_lsn=stop), window.Point("p", "0/0", point, None) if point else None, SegmentSize()
    )
    assert [name[-2:] for name in found] == wanted


def test_a_failover_between_backup_and_point() -> None:
    """Of the two timelines the backup's own segments and the point's: what lies between is the archive's business."""
    point = window.Point("p", "0/0", "000000020000000000000007", None)
    assert window.wanted_segments(record(), point, SegmentSize())[-2:] == ["000000010000000000000005", point.segment]


SNAPSHOT = {
    "spec": {"source": {"persistentVolumeClaimName": "shop-1"}, "volumeSnapshotClassName": "lab"},
    "status": {
        "readyToUse": True,
        "boundVolumeSnapshotContentName": "c",
        "creationTime": "2026-11-26T16:00:01Z",
        "restoreSize": "1Gi",
    },
}
BACKUP = {
    "metadata": {"name": "b", "creationTimestamp": "2026-11-26T16:00:00Z"},
    "status": {
        "phase": "completed", "online": True, "beginLSN": "0/4000028", "endLSN": "0/4000138", "beginWal": "000000010000000000000004",
        "startedAt": "2026-11-26T16:00:00Z", "stoppedAt": "2026-11-26T16:00:02Z", "majorVersion": 16, "instanceID": {"podName": "shop-2"},
        "snapshotBackupStatus": {"elements": [{"name": "s", "type": "PG_DATA"}, {"name": "w", "type": "PG_WAL"}]},
    },
}  # fmt: skip


def test_a_record_of_snapshots() -> None:
    found = snapshot_record.record_of(BACKUP, cluster(), {"s": SNAPSHOT, "w": SNAPSHOT})
    assert (found.id, found.engine, found.start_lsn, found.server["in_recovery"]) == (
        "b",
        "volume_snapshot",
        "0/4000028",
        True,
    )
    assert [one["type"] for one in found.consistency["snapshots"]] == ["PG_DATA", "PG_WAL"]
    # It may have ended just before 16:00:03: nobody is told that it can be recovered to a moment in which it was still being made.
    assert found.consistency["reached_at"] == "2026-11-26T16:00:03Z"
    assert found.consistency["self_contained"] is False and snapshot_record.names_of(BACKUP) == ["s", "w"]


def test_a_record_of_a_stopped_server_needs_no_wal() -> None:
    """What the operator writes of its positions then is of pg_controldata."""
    status = {**BACKUP["status"], "online": False}
    found = snapshot_record.record_of({**BACKUP, "status": status}, cluster(), {"s": SNAPSHOT, "w": SNAPSHOT})
    assert found.consistency["self_contained"] is True and found.stop_lsn is None


@pytest.mark.parametrize(
    ("status", "spec", "of_cluster", "online"),
    [
        (None, None, None, True),
        (None, False, None, False),
        (None, None, False, False),
        (None, True, False, True),
        (False, None, True, False),
        (True, None, False, True),
        (True, False, True, False),
        (False, True, False, True),
    ],
)
def test_whether_the_server_went_on(
    status: bool | None, spec: bool | None, of_cluster: bool | None, online: bool
) -> None:
    """As the Backup asked for: its status repeats the Cluster's default, whatever was asked for. A hot copy that is taken for a cold one would be started
    without its backup_label; a cold one for a hot one be asked for WAL that it does not need."""
    given = {**BACKUP, "status": {**BACKUP["status"], "online": status}, "spec": {"online": spec}}
    found = cluster(backup={"volumeSnapshot": {"online": of_cluster}})
    assert snapshot_record.is_online(given, found) is online
    whole = snapshot_record.record_of(given, found, {"s": SNAPSHOT, "w": SNAPSHOT})
    assert whole.consistency["self_contained"] is not online


@pytest.mark.parametrize(
    ("began", "is_of"), [("2026-11-26T15:00:00Z", True), ("2026-11-26T17:00:00Z", False), (None, True)]
)
def test_a_backup_of_a_former_cluster_of_that_name(began: str | None, is_of: bool) -> None:
    """It outlives its Cluster, and says by the name alone whose it is."""
    found = cluster()
    found.manifest["metadata"]["creationTimestamp"] = began
    assert snapshot_record.is_of(BACKUP, found) is is_of


@pytest.mark.parametrize(
    ("snapshots", "said"),
    [
        ({"s": SNAPSHOT, "w": None}, "w .PG_WAL. is not there"),
        ({"s": {**SNAPSHOT, "status": {"readyToUse": False}}, "w": SNAPSHOT}, "s .PG_DATA. is not ready"),
    ],
)
def test_what_is_completed_and_no_backup(snapshots: dict[str, Any], said: str) -> None:
    with pytest.raises(ServerError, match=said):
        snapshot_record.record_of(BACKUP, cluster(), snapshots)


def test_a_status_that_names_no_snapshot() -> None:
    with pytest.raises(ServerError, match="names no VolumeSnapshot"):
        snapshot_record.record_of({**BACKUP, "status": {"phase": "completed"}}, cluster(), {})
