# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ScheduledBackups: made of what is asked for (pure), and brought into that state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import backup_object, preflight, reading
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import API, SCHEDULED_BACKUP
from ansible_collections.holdfast.postgres.plugins.module_utils.cron import CRON_JOB, Fields, Unreadable
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.own_objects import (
    Change,
    apply,
    is_ours,
    refuse_to_delete_others,
    refuse_to_take_over,
)

_LONGEST = 200  # of a name: the time is appended to it
_UTC = ("", "UTC", "Etc/UTC")


@dataclass(frozen=True)
class ScheduledRequest:
    """``schedule``: five fields of cron, or the operator's six; ``owner``: who the Backups go with (none, self or cluster)."""

    name: str
    cluster: str
    schedule: str
    method: Optional[str] = None
    target: Optional[str] = None
    online: Optional[bool] = None
    suspended: bool = False
    owner: str = "none"
    time_zone: str = ""


def calendar(text: str, time_zone: str = "") -> str:
    """The six fields that the operator takes. Of five it would take the first for seconds, so that what was to run each night runs each hour.

    Raises:
        BadOption: it is no calendar, or of a time zone, which the operator knows none of but its own.
    """
    if time_zone not in _UTC:
        raise BadOption(
            "time_zone", time_zone, "cannot be had: a ScheduledBackup has no time zone, and the operator's is UTC",
            "Write the calendar in UTC, or use holdfast_schedule_manager: kubernetes.",
        )  # fmt: skip
    fields = CRON_JOB.descriptors.get(text.strip(), text).split()
    seconds = fields[0] if len(fields) == 6 else "0"
    try:
        Fields.parse(" ".join(fields[-5:] if len(fields) == 6 else fields), CRON_JOB)
    except Unreadable as exc:
        way_out = (
            f"It takes {exc.takes}, lists, ranges and steps." if exc.what else "Write five fields, such as 30 2 * * *."
        )
        problem = f"has the {exc}" if exc.what else "is no calendar of cron"
        raise BadOption("schedule", text, problem, way_out) from exc
    if not re.fullmatch(r"[0-5]?\d", seconds):
        raise BadOption(
            "schedule", text, "does not begin with one second of a minute", "Write 0 in front, not * or a list."
        )
    return " ".join([seconds, *fields[-5:]])


def manifest(request: ScheduledRequest, namespace: str, method: str) -> Manifest:
    """A ScheduledBackup. What the Backups are like is said as in a Backup."""
    options = BackupOptions(method, request.target, request.online)
    return {
        "apiVersion": API,
        "kind": "ScheduledBackup",
        "metadata": {
            "name": request.name,
            "namespace": namespace,
            "labels": {**names.MANAGED_BY, "cnpg.io/cluster": request.cluster},
            "annotations": {names.SERVER_NAME: request.cluster},
        },
        "spec": {
            **backup_object.spec_of(request.cluster, options),
            "schedule": calendar(request.schedule, request.time_zone),
            "backupOwnerReference": request.owner,
            "suspend": request.suspended,
        },
    }


def present(
    cluster: Cluster, request: ScheduledRequest, dry_run: bool, force: bool, beside: Sequence[str], warnings: list[str]
) -> Change:
    """Make it so. Raises HoldfastError: the Cluster cannot be backed up so; the name is somebody else's."""
    names.check_name("name", request.name, _LONGEST)
    wanted = calendar(request.schedule, request.time_zone)
    cnpg = reading.read(cluster, request.cluster)
    method = preflight.method_of(cnpg, request.method)
    preflight.check_options(BackupOptions(method, request.target, request.online))
    there = cluster.get(SCHEDULED_BACKUP, request.name)
    if there is not None:
        refuse_to_take_over("ScheduledBackup", there, request.cluster, "backs up")
    change = Change()
    apply(cluster, manifest(request, cluster.namespace, method), dry_run, force, change)
    if wanted != request.schedule.strip():
        warnings.append(
            f"The calendar {request.schedule!r} is written {wanted!r}: the operator's has seconds in front, and is in UTC."
        )
    change.others = [
        one["metadata"]["name"]
        for one in backup_object.of_cluster(cluster.list(SCHEDULED_BACKUP), cnpg.name)
        if one["metadata"]["name"] not in (request.name, *beside)
    ]
    return change


def absent(cluster: Cluster, name: str, dry_run: bool) -> Change:
    """Remove one of ours; its Backups stay, unless they are its own (``owner: self``). Raises KubernetesError: it is not ours."""
    change, there = Change(), cluster.get(SCHEDULED_BACKUP, name)
    if there is None or there["metadata"].get("deletionTimestamp"):
        return change
    if not is_ours(there):
        refuse_to_delete_others(cluster, "ScheduledBackup", there)
    cluster.delete(SCHEDULED_BACKUP, name, uid=there["metadata"]["uid"], dry_run=dry_run)
    change.plan.append(f"delete the ScheduledBackup {name}")
    return change
