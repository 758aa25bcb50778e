# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a recovery to a target can begin with one backup: the way, the segments that it needs, or why not. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import (
    IMMEDIATE,
    LATEST_TIMELINE,
    LSN,
    NAME,
    TIME,
    XID,
    Target,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.window import own_gap

#: what is to be done about a moment after the last transaction that is archived
LATEST_INSTEAD = (
    "If nothing was written since, the latest moment has the same rows: recovery_target: {latest: true}. If something was, it is not "
    "archived yet: close the segment (pg_restore_point, or SELECT pg_switch_wal()), and try again"
)


class Refused(Exception):
    """Why a backup cannot be used. ``choose`` tries the next one."""


class Plan(NamedTuple):
    """``timeline``: the one to follow. ``runs``: the segments needed, all there. ``notes``: what could not be proven."""

    timeline: int
    runs: tuple[Run, ...]
    notes: tuple[str, ...]


def plan(target: Target, backup: Backup, timeline: int, archive: Archive) -> Plan:
    """Raises Refused."""
    if is_before(backup, target) is False:
        raise Refused(f"it ended at {format_time(backup.stop_time)} ({backup.stop_lsn}), not before the target")
    _check_way(backup, timeline, archive)
    position, notes = _position(target, backup, timeline, archive)
    if target.timeline == LATEST_TIMELINE and target.kind in (TIME, LSN, XID, NAME):
        notes += tuple(_branches(backup, timeline, position, archive))
    if position is None:
        return Plan(timeline, _runs_to_the_end(backup, timeline, archive), notes)
    runs = _runs(target, backup, timeline, position, archive)
    gaps = archive.missing(runs)
    if gaps:
        # Before a fork the elder timeline will do as well, where the younger one has nothing in the archive yet.
        elder = archive.timelines.owner(timeline, position)
        runs = _runs(target, backup, elder, position, archive)
        if not archive.can_follow(elder, backup) or archive.missing(runs):
            raise Refused(_missing(gaps[0], archive))
        timeline = elder
    return Plan(timeline, runs, notes)


def _runs_to_the_end(backup: Backup, timeline: int, archive: Archive) -> tuple[Run, ...]:
    gap = own_gap(timeline, backup, archive)
    reach = archive.reach(timeline, backup.archive_from)
    if gap is not None or reach.gap is not None or reach.last is None:
        raise Refused(_missing(gap or reach.gap, archive))
    return archive.needed(timeline, backup.archive_from, reach.last.number)


def _runs(target: Target, backup: Backup, timeline: int, position: Lsn, archive: Archive) -> tuple[Run, ...]:
    """What a recovery reads up to a position, and at least up to the end of the backup."""
    end = archive.size.before(timeline, backup.stop_lsn).number
    if target.kind != IMMEDIATE:
        end = max(end, archive.size.containing(timeline, position).number)
    elif backup.has_wal:
        return ()
    return archive.needed(timeline, backup.archive_from, end)


def is_before(backup: Backup, target: Target) -> Optional[bool]:
    """Whether a backup ended before the target; None: not known."""
    if target.kind == TIME and target.time is not None:
        return backup.stop_time < target.time
    if target.kind == LSN and target.lsn is not None:
        return backup.stop_lsn <= target.lsn
    if target.kind == XID and target.xid is not None and backup.next_xid is not None:
        # Ids of 32 bits go round in a circle: one is later when it is less than half of it ahead.
        return (target.xid - backup.next_xid) % (1 << 32) < 1 << 31
    return None if target.kind in (XID, NAME) else True


def _check_way(backup: Backup, timeline: int, archive: Archive) -> None:
    """Raises Refused: no recovery to the timeline can begin with the backup."""
    timelines = archive.timelines
    if timeline != backup.timeline and not timelines.has_history(timeline):
        raise Refused(f"there is no {history_name(timeline)} in the archive, so nothing leads to timeline {timeline}")
    elder = next((elder for elder, younger in timelines.conflicts() if younger == timeline), None)
    if elder is not None:
        names = f"{history_name(elder)} and {history_name(timeline)}"
        raise Refused(f"{names} contradict each other: WAL of two servers may be mixed")
    if not archive.leads_to(timeline, backup):
        fork = timelines.forked_at(timeline, backup.ended_on)
        left = f", which was left at {fork}" if fork is not None else ""
        raise Refused(
            f"it ended at {backup.stop_lsn} on timeline {backup.ended_on}{left}: not on the way to timeline {timeline}"
        )


def _position(target: Target, backup: Backup, timeline: int, archive: Archive) -> tuple[Optional[Lsn], tuple[str, ...]]:
    """Up to where WAL is needed, None: to the end; and what is not proven. Raises Refused."""
    if target.kind == IMMEDIATE:
        return Lsn(backup.stop_lsn - 1), ()
    if target.kind == LSN:
        return target.lsn, ()
    if target.kind == TIME and target.time is not None:
        return _position_of_time(target, target.time, backup, timeline, archive)
    if target.kind in (XID, NAME):
        where = f"Where {target.describe()} lies in the WAL is not known"
        slow = f"{where}: the recovery reads all from the backup {backup.id} on until it is found, or fails at the end."
        return None, (slow,)
    return None, ()


def _position_of_time(
    target: Target, moment: datetime.datetime, backup: Backup, timeline: int, archive: Archive
) -> tuple[Optional[Lsn], tuple[str, ...]]:
    """A recovery to a time ends at the first commit after it, so there must be one, or else it fails at the end."""
    reach = archive.reach(timeline, backup.archive_from)
    commits = [] if reach.last is None else archive.commits_on(timeline, backup.stop_lsn, reach.last)
    for commit in commits:
        if commit.time > moment or (commit.time == moment and not target.inclusive):
            return commit.lsn, ()
    newest = max((commit.time for commit in commits), default=None)
    known = "no commit after the target is known" + ("" if newest is None else f", the newest is of {_exact(newest)}")
    if reach.last is None or reach.gap is not None:
        raise Refused(f"{_missing(reach.gap, archive)}, and before that {known}")
    if any(commit.last for commit in commits):
        raise Refused(
            f"the last archived commit is of {_exact(newest)}, and a recovery needs one after the target to stop at. {LATEST_INSTEAD}"
        )
    return None, (f"Whether the archive reaches to the target is not proven: {known}.",)


def _branches(backup: Backup, timeline: int, position: Optional[Lsn], archive: Archive) -> Iterator[str]:
    """Elder timelines that went on after the way left them: the moment that is meant may lie there."""
    for stage in archive.timelines.ancestry(timeline):
        fork = stage.end
        if fork is None or fork < backup.stop_lsn or (position is not None and position < fork):
            continue
        last = archive.coverage.last(stage.timeline)
        if last is not None and last >= archive.size.containing(stage.timeline, fork).number:
            yield (
                f"Timeline {stage.timeline} went on after {fork}, where the way to timeline {timeline} leaves it. For a moment of"
                f" its later life, set timeline: {stage.timeline}."
            )


def _exact(moment: Optional[datetime.datetime]) -> str:
    """With microseconds: commits and targets may lie closer than a second."""
    return "" if moment is None else f"{moment.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat()}Z"


def _missing(gap: Optional[Run], archive: Archive) -> str:
    if gap is None:
        return "no WAL of it is in the archive"
    message = f"the archive has not {gap.describe(archive.size)}"
    last = archive.coverage.last(gap.timeline)
    if last is not None and last < gap.first:
        return f"{message}: timeline {gap.timeline} ends with {archive.size.name(Segment(gap.timeline, last))} there"
    switches = archive.timelines.switches(gap.timeline)
    if switches and archive.size.containing(gap.timeline, switches[-1].lsn).number == gap.first:
        elder = switches[-1].timeline
        message += f", with which timeline {gap.timeline} begins (timeline: {elder} still leads to moments of timeline {elder})"
    return message
