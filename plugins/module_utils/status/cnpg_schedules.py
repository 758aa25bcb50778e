# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ScheduledBackups of CloudNativePG: when the operator makes the next one, how the last one ended, and whether runs were missed. Pure.

Six fields, with seconds in front: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/scheduledbackup_types.go
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import backup_object
from ansible_collections.holdfast.postgres.plugins.module_utils.cron import CRON_JOB, Fields, Unreadable
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time

#: seconds after its moment at which a run that did not begin is missed
_LATE = 300
#: on a Backup, by which ScheduledBackup it was made
_PARENT = "cnpg.io/scheduled-backup"


def of_scheduled(scheduled: Manifest, backups: Manifests, now: datetime.datetime) -> Schedule:
    """One, by its status and by the Backups that it made."""
    name, spec, status = scheduled["metadata"]["name"], scheduled.get("spec") or {}, scheduled.get("status") or {}
    text = str(spec.get("schedule") or "")
    by = f"ScheduledBackup {name} ({text}, UTC)"
    mine = [one for one in backups if (one["metadata"].get("labels") or {}).get(_PARENT) == name]
    failed = _failed(mine) or (f"the operator says: {status['error']}" if status.get("error") else None)
    if spec.get("suspend"):
        return Schedule(name, by, None, failed, "it is suspended", in_cluster=True)
    given = status.get("nextScheduleTime")
    due = parse_time(str(given), "nextScheduleTime") if given else None
    missed = None
    if due is not None and due + datetime.timedelta(seconds=_LATE) < now:
        missed = f"a run was missed at {format_time(due)}, and the operator has not looked at it since: does it run?"
    return Schedule(name, by, due, failed, None, every(text, now), missed, in_cluster=True)


def every(text: str, now: datetime.datetime) -> Optional[int]:
    """Seconds between two of its runs at most; None: its calendar is none that is known here."""
    fields = text.split()
    # Of five the operator's parser takes the first for seconds, and the day of the week for left out (github.com/robfig/cron, v1).
    five = fields[1:] if len(fields) == 6 else [*fields[1:], "*"] if len(fields) == 5 else fields
    try:
        return Fields.parse(" ".join(five), CRON_JOB).longest_gap(now)
    except Unreadable:
        return None


def misread(scheduled: Manifest) -> Optional[str]:
    """A sentence on a calendar of five fields, which means another one there; None: it has six, or is a word."""
    text = str((scheduled.get("spec") or {}).get("schedule") or "")
    fields = text.split()
    if len(fields) != 5:
        return None
    return (
        f"The ScheduledBackup {scheduled['metadata']['name']} has five fields ({text}), and the operator takes the first for seconds: it runs at second "
        f"{fields[0]} of minute {fields[1]}, in the hours {fields[2]}. Write 0 in front."
    )


def _failed(mine: Sequence[Manifest]) -> Optional[str]:
    over = [one for one in mine if not backup_object.is_running(one)]
    why = backup_object.why_failed(over[-1]) if over else None
    return f"the Backup {over[-1]['metadata']['name']}: {why}" if why else None
