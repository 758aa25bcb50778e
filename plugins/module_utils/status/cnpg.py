# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of the backups of a Cluster of CloudNativePG: in its store, as Backup objects, and what the operator says, beside each other."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import is_of
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    backup_object,
    preflight,
    reading,
    snapshot_record,
    windows,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BACKUP,
    OBJECT_STORE,
    SCHEDULED_BACKUP,
    CnpgCluster,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.store_source import StoreWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE, LISTED_WHOLE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import of_schedules
from ansible_collections.holdfast.postgres.plugins.module_utils.status.cnpg_schedules import misread, of_scheduled
from ansible_collections.holdfast.postgres.plugins.module_utils.status.facts import describe
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered, report_of
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import judge

#: the name of the place where they are, as tiers have one
STORE, SNAPSHOTS = "store", "snapshots"


def facts(
    cluster: Cluster,
    params: Mapping[str, Any],
    every: Optional[int],
    now: datetime.datetime,
    space: str,
) -> dict[str, Any]:
    """As ``backup_facts`` returns them, with ``cnpg`` beside.

    Raises:
        HoldfastError: the Cluster cannot be read.
    """
    cnpg = reading.read(cluster, params["server_name"])
    backups = backup_object.of_cluster(cluster.list(BACKUP), cnpg.name)
    found = Gathered()
    problems: list[str] = []
    store = _store(cluster, cnpg, problems)
    if store is not None:
        _look_into_store(cluster, cnpg, store, params, found, space, problems)
    _look_at_snapshots(cluster, cnpg, backups, found, problems)
    # What another server has left under this name is shown, and is no backup of this one.
    own = [one for one in in_order(found.records.values()) if is_of(one, cnpg.system_id)]
    health = judge(own, every, now, found.damage, [*LISTED_WHOLE, *ELSEWHERE], found.failures())
    told = describe(cnpg.name, found, health, params["details"], params["limit"])
    scheduled = backup_object.of_cluster(cluster.list(SCHEDULED_BACKUP), cnpg.name)
    schedules = [of_scheduled(one, backups, now) for one in scheduled]
    problems += [said for one in scheduled if (said := misread(one))]
    claimed = _said(cluster, cnpg, store)
    if claimed is not None and store is not None and found.wal is not None:
        last = next((one.stopped_at for one in reversed(own) if _is_good(one, found)), None)
        problems += windows.compare(claimed, _first(found), last, now)
    version = reading.operator_version(cluster, cnpg)
    problems += _of_cluster(cnpg, store, version)
    told["problems"] = [*problems, *told["problems"], *(alert.text for alert in of_schedules(schedules))]
    told["schedules"] = [schedule.describe() for schedule in schedules]
    told["cnpg"] = {
        "cluster": cnpg.name,
        "phase": cnpg.phase,
        "phase_reason": cnpg.phase_reason,
        "healthy": cnpg.healthy,
        "conditions": {name: vars(one) for name, one in cnpg.conditions.items()},
        "instances": cnpg.instances,
        "ready_instances": cnpg.ready_instances,
        "primary": cnpg.primary,
        "image": cnpg.image,
        "major_version": cnpg.major_version,
        "system_id": cnpg.system_id,
        "timeline": cnpg.timeline,
        "operator_version": version,
        "methods": list(cnpg.methods),
        "store": None if store is None else str(store),
        "archiving": cnpg.is_true("ContinuousArchiving"),
        "said": None if claimed is None else claimed.describe(),
        "backups": [_backup(one) for one in backups],
    }
    return told


def _store(cluster: Cluster, cnpg: CnpgCluster, problems: list[str]) -> Optional[BarmanStore]:
    try:
        return reading.store(cluster, cnpg)
    except HoldfastError as exc:
        problems.append(str(exc))
        return None


def _look_into_store(
    cluster: Cluster,
    cnpg: CnpgCluster,
    store: BarmanStore,
    params: Mapping[str, Any],
    found: Gathered,
    space: str,
    problems: list[str],
) -> None:
    try:
        repository = reading.open_as(params["repository"], cluster, store, space)
        archive = StoreArchive(repository, store.server_name)
        repository.check(write=False)
        records = archive.records(problems)
        for record in records:
            found.records[record.id], found.where[record.id] = record, [STORE]
            found.stored += record.scope.get("stored") or 0
        try:
            preflight.check_owner(cnpg, archive.description, records)
        except ServerError as exc:
            problems.append(str(exc))
        found.looks[STORE] = lambda record: _lacks(archive, record)
        found.wal = report_of(STORE, StoreWal(archive), found, space, several=False)
        if found.wal is not None:
            found.wal = {**found.wal, "problems": [], "archives": [dict(found.wal)]}
    except HoldfastError as exc:
        problems.append(f"What lies in {store} is not known: {exc}")


def _lacks(archive: StoreArchive, record: Record) -> Optional[str]:
    missing = archive.missing_of(record)
    return f"{missing[0]}, without which it cannot be restored, is not in the store" if missing else None


def _look_at_snapshots(
    cluster: Cluster, cnpg: CnpgCluster, backups: Manifests, found: Gathered, problems: list[str]
) -> None:
    """Backups of volume snapshots that are completed, and are there."""
    found.elsewhere = lambda record: None  # looked at here
    for backup in backups:
        status = backup.get("status") or {}
        if status.get("method") != "volumeSnapshot" or backup_object.phase_of(backup) != backup_object.COMPLETED:
            continue
        if not snapshot_record.is_of(backup, cnpg):
            problems.append(
                f"The Backup {backup['metadata']['name']} by volume snapshots is older than {cnpg}: it is of a former one of this name, and not counted."
            )
            continue
        try:
            there = {name: cluster.get("VolumeSnapshot", name) for name in snapshot_record.names_of(backup)}
            record = snapshot_record.record_of(backup, cnpg, there)
        except HoldfastError as exc:
            problems.append(str(exc))
            continue
        found.records[record.id], found.where[record.id] = record, [SNAPSHOTS]


def _said(cluster: Cluster, cnpg: CnpgCluster, store: Optional[BarmanStore]) -> Optional[windows.SaidWindow]:
    if store is None or store.object_store is None:
        return windows.of_cluster(cnpg.manifest)
    try:
        found = cluster.get(OBJECT_STORE, store.object_store, cnpg.namespace or None)
    except HoldfastError:
        return None
    return windows.of_object_store(found, store.server_name) if found else None


def _is_good(record: Record, found: Gathered) -> bool:
    return STORE in found.where[record.id] and found.damage(record) is None


def _first(found: Gathered) -> Optional[str]:
    """The earliest moment that the store makes reachable."""
    stretches = [stretch for window in (found.wal or {}).get("windows") or () for stretch in window["stretches"]]
    return min((str(stretch["start"]) for stretch in stretches), default=None)


def _of_cluster(cnpg: CnpgCluster, store: Optional[BarmanStore], version: Optional[str]) -> list[str]:
    told = preflight.lints(cnpg, version)
    if not cnpg.healthy:
        why = f": {cnpg.phase_reason}" if cnpg.phase_reason else ""
        told.append(f"{cnpg} is not healthy ({cnpg.phase or 'no phase'}{why}).")
    archiving = cnpg.conditions.get("ContinuousArchiving")
    if archiving is not None and not archiving.holds:
        told.append(
            f"Its WAL is not archived (ContinuousArchiving is {archiving.status} since {archiving.since}): {archiving.message or archiving.reason}."
        )
    elif archiving is None and store is not None:
        told.append("Whether its WAL is archived is not said: it has no condition ContinuousArchiving.")
    elif store is None and cnpg.archiver is None:
        told.append("It archives no WAL: it can be brought back to the moments of its snapshots alone.")
    return told


def _backup(one: Manifest) -> dict[str, Any]:
    """A Backup object, for people."""
    status = one.get("status") or {}
    return {
        "name": one["metadata"]["name"],
        "phase": backup_object.phase_of(one),
        "method": (one.get("spec") or {}).get("method"),
        "created": one["metadata"].get("creationTimestamp"),
        "stopped": status.get("stoppedAt") or status.get("reconciliationTerminatedAt"),
        "backup_id": status.get("backupId"),
        "error": backup_object.why_failed(one),
        "closed": (one["metadata"].get("annotations") or {}).get(backup_object.CLOSED),
    }
