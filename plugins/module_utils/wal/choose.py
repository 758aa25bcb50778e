# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a recovery begins with, and the proof that the WAL from there to the target is complete. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.plan import Refused, is_before, plan
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import (
    CURRENT_TIMELINE,
    IMMEDIATE,
    LATEST,
    LATEST_TIMELINE,
    LSN,
    NAME,
    XID,
    Target,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.window import Window, windows

# Of many timelines, so many windows stand in a message: the newest.
_TOLD = 5


@dataclass(frozen=True)
class Choice:
    """The plan of a recovery.

    ``timeline``: the way that it takes; ``target_timeline``: the value of recovery_target_timeline for it. ``runs``: the segments
    that it needs, all of them there. ``why``: why this backup. ``notes``: what could not be proven. ``passed_over``: backups
    by id that were not taken, newest first, and why not.
    """

    backup: Backup
    timeline: int
    target_timeline: str
    runs: tuple[Run, ...]
    why: str
    notes: tuple[str, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()


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
    late = [backup for backup in ordered if is_before(backup, goal) is False]
    # Where the place of the target is not known, the oldest are the safest.
    unknown = [backup for backup in reversed(ordered) if is_before(backup, goal) is None]
    before = [backup for backup in ordered if is_before(backup, goal)]
    passed: list[tuple[str, str]] = []
    for backup in (*late, *before, *unknown):
        try:
            made = plan(goal, backup, _timeline(goal, backup, ordered, archive), archive)
        except Refused as refused:
            passed.append((backup.id, str(refused)))
            continue
        # PostgreSQL takes no number that has no history file.
        setting = str(made.timeline) if archive.timelines.has_history(made.timeline) else CURRENT_TIMELINE
        return Choice(backup, made.timeline, setting, made.runs, _why(goal, backup), made.notes, tuple(passed))
    if late and len(late) == len(ordered):
        passed = passed[-1:]  # of the oldest: the others say the same
    raise WalError(_refusal(target, passed, windows(ordered, archive)))


def rival(target: Target, choice: Choice, archive: Archive, stop: Optional[Lsn]) -> Optional[str]:
    """Why the latest timeline may not be the one that is meant, as a sentence; None: it is, or was named. A clone that was promoted, and
    archived into this place, begins a timeline too, and a recovery to the latest one would throw the living server's life away.
    ``stop``: where the recovery will end, if that is known."""
    if target.timeline != LATEST_TIMELINE or target.kind in (XID, NAME):
        return None
    if target.kind == IMMEDIATE and not choice.passed_over:
        return None  # a backup's own end lies on one timeline alone
    way = archive.timelines.ancestry(choice.timeline)
    for number, stage in enumerate(way):
        fork = stage.end
        if fork is None or fork < choice.backup.stop_lsn or (stop is not None and stop < fork):
            continue
        if target.lsn is not None and target.lsn < fork:
            continue
        later = [commit for commit in archive.commits if commit.timeline == stage.timeline and commit.lsn >= fork]
        newest = max((commit.time for commit in later), default=None)
        mine = max(
            (
                commit.time
                for part in way[number + 1 :]
                for commit in archive.commits
                if commit.timeline == part.timeline and (part.end is None or commit.lsn < part.end)
            ),
            default=None,
        )
        if (
            newest is None
            or (mine is not None and mine >= newest)
            or (target.time is not None and target.time > newest)
        ):
            continue
        ended = (
            "has no transaction near its end" if mine is None else f"has its last transaction at {format_time(mine)}"
        )
        return (
            f"Two servers went on after {fork}: timeline {stage.timeline} to a transaction at {format_time(newest)}, and timeline "
            f"{choice.timeline}, the latest, {ended}. Was a copy promoted, and let to archive here? Nothing was touched. Name the one that is "
            f"meant: recovery_target: {{timeline: {stage.timeline}}}, or {{timeline: {choice.timeline}}}."
        )
    return None


def _timeline(target: Target, backup: Backup, backups: Iterable[Backup], archive: Archive) -> int:
    if target.timeline == CURRENT_TIMELINE:
        return backup.ended_on
    if target.timeline == LATEST_TIMELINE:
        return max(archive.latest, *(other.ended_on for other in backups))
    return int(target.timeline)


def _why(target: Target, backup: Backup) -> str:
    if target.kind == IMMEDIATE:
        return "it is the newest backup whose own WAL is complete"
    if target.kind == LATEST:
        return "it is the newest backup from which the WAL is complete to the end of the archive"
    if is_before(backup, target) is None:
        return "it is the oldest backup from which the WAL is complete to the end of the archive"
    return f"it is the newest backup that ended before {target.describe()}, and the WAL from there is complete"


def _refusal(target: Target, passed: Sequence[tuple[str, str]], found: Sequence[Window]) -> str:
    reasons: dict[str, list[str]] = {}
    for backup, reason in passed:
        reasons.setdefault(reason, []).append(backup)
    told = [
        f"{', '.join(backups[:_TOLD])}{' …' * (len(backups) > _TOLD)}: {reason}" for reason, backups in reasons.items()
    ]
    if not told:
        return f"Nothing can be recovered to {target.describe()}: there is no base backup. Take one now, by pg_backup."
    reachable = " ".join(window.describe() for window in found[-_TOLD:]) or "nothing."
    return (
        f"No backup can be recovered to {target.describe()}. {'; '.join(told[:_TOLD])}{'; …' * (len(told) > _TOLD)}. Nothing was"
        f" touched. What can be reached: {reachable} Choose a target in there."
    )
