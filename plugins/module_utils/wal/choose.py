# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a recovery begins with, and the proof that the WAL from there to the target is complete. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import (
    CURRENT_TIMELINE,
    IMMEDIATE,
    LATEST,
    LATEST_TIMELINE,
    LSN,
    NAME,
    TIME,
    XID,
    Target,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.window import Window, own_gap, windows

# Of many timelines, so many windows stand in a message: the newest.
_TOLD = 5


@dataclass(frozen=True)
class Choice:
    """The plan of a recovery.

    ``timeline``: the way that it takes; ``target_timeline``: the value of recovery_target_timeline for it. ``runs``: the segments
    that it needs, all of them there. ``why``: why this backup. ``notes``: what could not be proven. ``passed_over``: newer
    backups by id, and why not they.
    """

    backup: Backup
    timeline: int
    target_timeline: str
    runs: tuple[Run, ...]
    why: str
    notes: tuple[str, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()


class _Refused(Exception):
    """Why a backup cannot be used; it never leaves this file."""


def choose(target: Target, backups: Iterable[Backup], archive: Archive, at: Optional[Lsn] = None) -> Choice:
    """The newest backup that ended before the target, and whose WAL is complete up to there.

    ``at``: where the transaction or restore point is, for a target of that kind, if that is known. If it is not, nor
    ``next_xid`` of the backups, the oldest backup is taken from which the WAL is complete to its end: slow, but if the
    target can be reached at all, it is from there.

    Raises:
        WalError: there is none; it names what can be reached.
    """
    ordered = sorted(backups, key=lambda backup: (backup.ended_on, backup.stop_lsn, backup.id), reverse=True)
    goal = target
    if at is not None and target.kind in (XID, NAME):
        goal = replace(target, kind=LSN, lsn=at, inclusive=True)
    sought = ordered
    if not any(_is_before(backup, goal) for backup in ordered):
        # Only where the place of the target is not known: from the oldest on.
        sought = ordered[::-1]
    passed: list[tuple[str, str]] = []
    for backup in sought:
        try:
            timeline, runs, notes = _plan(goal, backup, _timeline(goal, backup, ordered, archive), archive)
        except _Refused as refused:
            passed.append((backup.id, str(refused)))
            continue
        # PostgreSQL takes no number that has no history file.
        setting = str(timeline) if archive.timelines.has_history(timeline) else CURRENT_TIMELINE
        return Choice(backup, timeline, setting, runs, _why(goal, backup), notes, tuple(passed))
    raise WalError(_refusal(target, passed, windows(ordered, archive)))


def _timeline(target: Target, backup: Backup, backups: Iterable[Backup], archive: Archive) -> int:
    if target.timeline == CURRENT_TIMELINE:
        return backup.ended_on
    if target.timeline == LATEST_TIMELINE:
        return max(archive.latest, *(other.ended_on for other in backups))
    return int(target.timeline)


def _plan(
    target: Target, backup: Backup, timeline: int, archive: Archive
) -> tuple[int, tuple[Run, ...], tuple[str, ...]]:
    """The timeline to follow, the segments needed, and notes. Raises _Refused."""
    if _is_before(backup, target) is False:
        raise _Refused(f"it ended at {format_time(backup.stop_time)} ({backup.stop_lsn}), not before the target")
    _check_way(backup, timeline, archive)
    position, notes = _position(target, backup, timeline, archive)
    if position is None:
        _check_own_wal(backup, timeline, archive)
        reach = archive.reach(timeline, backup.archive_from)
        if reach.last is None or reach.gap is not None:
            raise _Refused(_missing(reach.gap, archive))
        return timeline, archive.needed(timeline, backup.archive_from, reach.last.number), notes
    # Before a fork the elder timeline will do as well, where the younger one has nothing in the archive yet.
    ways = [timeline, archive.timelines.owner(timeline, position)]
    runs = [_runs(target, backup, way, position, archive) for way in ways]
    gaps = [archive.missing(needed) for needed in runs]
    if not gaps[0]:
        return timeline, runs[0], notes
    if not gaps[1]:
        return ways[1], runs[1], notes
    raise _Refused(_missing(gaps[0][0], archive))


def _runs(target: Target, backup: Backup, timeline: int, position: Lsn, archive: Archive) -> tuple[Run, ...]:
    """What a recovery reads up to a position, and at least up to the end of the backup."""
    end = archive.size.before(timeline, backup.stop_lsn).number
    if target.kind != IMMEDIATE:
        end = max(end, archive.size.containing(timeline, position).number)
    elif backup.has_wal:
        return ()
    return archive.needed(timeline, backup.archive_from, end)


def _is_before(backup: Backup, target: Target) -> Optional[bool]:
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
    """Raises _Refused: no recovery to the timeline can begin with the backup."""
    timelines = archive.timelines
    if timeline not in (1, backup.timeline) and not timelines.has_history(timeline):
        raise _Refused(f"there is no {history_name(timeline)} in the archive, so nothing leads to timeline {timeline}")
    elder = next((elder for elder, younger in timelines.conflicts() if younger == timeline), None)
    if elder is not None:
        names = f"{history_name(elder)} and {history_name(timeline)}"
        raise _Refused(f"{names} contradict each other: WAL of two servers may be mixed")
    if not archive.leads_to(timeline, backup):
        fork = timelines.forked_at(timeline, backup.ended_on)
        left = f", which was left at {fork}" if fork is not None else ""
        raise _Refused(
            f"it ended at {backup.stop_lsn} on timeline {backup.ended_on}{left}: not on the way to timeline {timeline}"
        )


def _check_own_wal(backup: Backup, timeline: int, archive: Archive) -> None:
    gap = own_gap(timeline, backup, archive)
    if gap is not None:
        raise _Refused(_missing(gap, archive))


def _position(target: Target, backup: Backup, timeline: int, archive: Archive) -> tuple[Optional[Lsn], tuple[str, ...]]:
    """Up to where WAL is needed, None: to the end; and what is not proven. Raises _Refused."""
    if target.kind == IMMEDIATE:
        return Lsn(backup.stop_lsn - 1), ()
    if target.kind == LSN:
        return target.lsn, ()
    if target.kind == TIME and target.time is not None:
        return _position_of_time(target, target.time, backup, timeline, archive)
    if target.kind in (XID, NAME):
        where = f"Where {target.words()} lies in the WAL is not known"
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
        raise _Refused(f"{_missing(reach.gap, archive)}, and before that {known}")
    if any(commit.last for commit in commits):
        raise _Refused(
            f"the last archived commit is of {_exact(newest)}, and a recovery needs one after the target to stop at"
        )
    return None, (f"Whether the archive reaches to the target is not proven: {known} in it.",)


def _exact(moment: Optional[datetime.datetime]) -> str:
    """With microseconds: commits and targets may lie closer than a second."""
    return "" if moment is None else f"{moment.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat()}Z"


def _missing(gap: Optional[Run], archive: Archive) -> str:
    if gap is None:
        return "no WAL of it is in the archive"
    words = f"the archive has not {gap.words(archive.size)}"
    last = archive.coverage.last(gap.timeline)
    if last is not None and last < gap.first:
        return f"{words}: timeline {gap.timeline} ends with {archive.size.name(Segment(gap.timeline, last))} there"
    switches = archive.timelines.switches(gap.timeline)
    if switches and archive.size.containing(gap.timeline, switches[-1].lsn).number == gap.first:
        elder = switches[-1].timeline
        words += f", with which timeline {gap.timeline} begins (timeline: {elder} still leads to moments of timeline {elder})"
    return words


def _why(target: Target, backup: Backup) -> str:
    if target.kind == IMMEDIATE:
        return "it is the newest backup whose own WAL is complete"
    if target.kind == LATEST:
        return "it is the newest backup from which the WAL is complete to the end of the archive"
    if _is_before(backup, target) is None:
        return "it is the oldest backup from which the WAL is complete to the end of the archive"
    return f"it is the newest backup that ended before {target.words()}, and the WAL from there is complete"


def _refusal(target: Target, passed: Sequence[tuple[str, str]], found: Sequence[Window]) -> str:
    told = "; ".join(f"{backup}: {reason}" for backup, reason in passed[:_TOLD])
    more = f"; and {len(passed) - _TOLD} more" if len(passed) > _TOLD else ""
    reachable = " ".join(window.words() for window in found[-_TOLD:]) or "nothing: no base backup leads anywhere."
    return (
        f"No backup can be recovered to {target.words()} ({told or 'there is no base backup'}{more}). Nothing was touched. "
        f"What can be reached: {reachable} Choose a target in there."
    )
