# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Backup of volume snapshots as a record: from its status, as the operator keeps no other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import CnpgCluster
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

_DEFAULT = SegmentSize().bytes


def record_of(backup: Manifest, cluster: CnpgCluster, snapshots: Mapping[str, Optional[Manifest]]) -> Record:
    """``snapshots``: the VolumeSnapshots that its status names; None: that one is not there.

    Raises:
        ServerError: it is completed, and cannot be restored from: a snapshot is gone, or not ready; or its status says too little.
    """
    name, status = backup["metadata"]["name"], backup.get("status") or {}
    elements = (status.get("snapshotBackupStatus") or {}).get("elements") or []
    wrong = _wrong(elements, snapshots)
    if wrong:
        raise ServerError(
            f"The operator says that the Backup {name} is completed, and it cannot be restored: {wrong}. Do not rely on it."
        )
    online = is_online(backup, cluster)
    begun, ended = (
        parse_time(str(status.get(one) or status.get(other) or backup["metadata"]["creationTimestamp"]), one)
        for one, other in (("startedAt", "reconciliationStartedAt"), ("stoppedAt", "reconciliationTerminatedAt"))
    )
    timeline = _timeline(status) or cluster.timeline
    return Record(
        id=name,
        engine="volume_snapshot",
        kind="full",
        engine_version="",
        server={
            "name": cluster.name,
            "system_id": cluster.system_id,
            "version": str(status.get("majorVersion") or cluster.major_version or ""),
            "timeline": timeline,
            "in_recovery": (status.get("instanceID") or {}).get("podName") != cluster.primary,
            "wal_segment_size": _segment_size(cluster),
        },
        started_at=format_time(begun),
        stopped_at=format_time(ended),
        start_lsn=status.get("beginLSN") or None if online else None,
        stop_lsn=status.get("endLSN") or None if online else None,
        scope={"cluster": True, "size": None, "stored": None},
        consistency={
            **consistency_of_a_copy(surely_ended(ended), not online),
            "mode": "backup_mode" if online else "stopped",
            "snapshots": [_described(one, snapshots[one["name"]] or {}) for one in elements],
        },
        databases=[],
        compression={"method": "none", "level": None},
        encryption={"method": "none", "recipients": []},
        artifacts=[],
        created_by="",
    )


def surely_ended(stopped_at: datetime) -> datetime:
    """A moment at which a Backup that stopped then was over: times of Kubernetes have what is below a second dropped."""
    return stopped_at + timedelta(seconds=1)


def is_online(backup: Manifest, cluster: CnpgCluster) -> bool:
    """Whether the server went on while its snapshots were made: as the Backup asked for. Its status repeats what the Cluster says, also where the Backup
    asked for the other (pkg/reconciler/backup/volumesnapshot/reconciler.go of 1.30): who believed that would start a hot copy as a cold one."""
    snapshot = ((cluster.manifest.get("spec") or {}).get("backup") or {}).get("volumeSnapshot") or {}
    said = (
        (backup.get("spec") or {}).get("online"),
        (backup.get("status") or {}).get("online"),
        snapshot.get("online"),
    )
    return bool(next((one for one in said if one is not None), True))


def is_of(backup: Manifest, cluster: CnpgCluster) -> bool:
    """Whether a Backup is of this very Cluster, and not of a former one of its name, whose Backups outlive it. Their status has no system identifier."""
    made, began = (one["metadata"].get("creationTimestamp") for one in (backup, cluster.manifest))
    return not made or not began or parse_time(str(made), "made") >= parse_time(str(began), "began")


def names_of(backup: Manifest) -> list[str]:
    """Of the VolumeSnapshots that its status names."""
    elements = ((backup.get("status") or {}).get("snapshotBackupStatus") or {}).get("elements") or ()
    return [str(one["name"]) for one in elements]


def _wrong(elements: Sequence[Mapping[str, Any]], snapshots: Mapping[str, Optional[Manifest]]) -> Optional[str]:
    if not elements:
        return "its status names no VolumeSnapshot"
    for one in elements:
        found = snapshots.get(one["name"])
        if found is None:
            return f"the VolumeSnapshot {one['name']} ({one.get('type')}) is not there"
        if not (found.get("status") or {}).get("readyToUse"):
            return f"the VolumeSnapshot {one['name']} ({one.get('type')}) is not ready to use"
    if not any(one.get("type") == "PG_DATA" for one in elements):
        return "none of its VolumeSnapshots is of PGDATA"
    return None


def _described(element: Mapping[str, Any], snapshot: Manifest) -> dict[str, Any]:
    status, spec = snapshot.get("status") or {}, snapshot.get("spec") or {}
    return {
        "name": element["name"],
        "type": element.get("type"),
        "claim": (spec.get("source") or {}).get("persistentVolumeClaimName"),
        "class": spec.get("volumeSnapshotClassName"),
        "content": status.get("boundVolumeSnapshotContentName"),
        "created_at": status.get("creationTime"),
        "size": status.get("restoreSize"),
    }


def _timeline(status: Mapping[str, Any]) -> Optional[int]:
    wal = str(status.get("beginWal") or "")
    return int(wal[:8], 16) if len(wal) == 24 else None


def _segment_size(cluster: CnpgCluster) -> int:
    """In bytes; ``walSegmentSize`` of initdb is in MB."""
    bootstrap = (cluster.manifest.get("spec") or {}).get("bootstrap") or {}
    given = (bootstrap.get("initdb") or {}).get("walSegmentSize")
    return int(given) << 20 if given else _DEFAULT
