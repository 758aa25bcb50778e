# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup objects whose data are volume snapshots, as records that a recovery can begin with. Pure.

Fields: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/backup_types.go
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import COMPLETED, phase_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import METHODS, VOLUME_SNAPSHOT
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.new_cluster import Snapshots
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.snapshot_record import surely_ended
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time

_DATA, _WAL, _TABLESPACE = "PG_DATA", "PG_WAL", "PG_TABLESPACE"


def completed(manifests: Sequence[Manifest], source: str) -> list[Manifest]:
    """Those of a Cluster that are completed and are volume snapshots, oldest first."""
    found = [
        one
        for one in manifests
        if ((one.get("spec") or {}).get("cluster") or {}).get("name") == source
        and is_snapshot(one)
        and phase_of(one) == COMPLETED
    ]
    return sorted(found, key=lambda one: str(one["status"].get("stoppedAt") or ""))


def is_snapshot(manifest: Manifest) -> bool:
    """Whether its data are volume snapshots."""
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    return (status.get("method") or spec.get("method")) == METHODS[VOLUME_SNAPSHOT]


def snapshots(manifest: Manifest) -> Optional[Snapshots]:
    """The VolumeSnapshots of one; None: it names none of the data directory."""
    elements = ((manifest.get("status") or {}).get("snapshotBackupStatus") or {}).get("elements") or ()
    of = {one.get("type"): str(one.get("name")) for one in elements if one.get("type") != _TABLESPACE}
    spaces = {
        str(one.get("tablespaceName")): str(one.get("name")) for one in elements if one.get("type") == _TABLESPACE
    }
    return Snapshots(of[_DATA], of.get(_WAL), spaces) if _DATA in of else None


def record(manifest: Manifest) -> Optional[Record]:
    """As the planning of a recovery sees it; None where it does not say where in the WAL it begins and ends."""
    status: Mapping[str, Any] = manifest.get("status") or {}
    begin, end, segment = status.get("beginLSN"), status.get("endLSN"), str(status.get("beginWal") or "")
    started, stopped = status.get("startedAt"), status.get("stoppedAt")
    if not (begin and end and started and stopped and len(segment) == 24):
        return None
    return Record(
        id=manifest["metadata"]["name"],
        engine="cnpg",
        kind="full",
        engine_version="",
        server={
            "name": manifest["spec"]["cluster"]["name"],
            "system_id": None,
            "version_num": int(status.get("majorVersion") or 0) * 10000,
            "timeline": int(segment[:8], 16),
        },
        started_at=str(started),
        stopped_at=str(stopped),
        start_lsn=str(begin),
        stop_lsn=str(end),
        scope={"cluster": True},
        consistency=consistency_of_a_copy(surely_ended(parse_time(str(stopped), "stoppedAt"))),
        databases=[],
        compression={"method": "none", "level": None},
        encryption={"method": "none", "recipients": []},
        artifacts=[],
        created_by="",
    )
