# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a recovery begins with, and the proof that the WAL from there to the target is complete. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
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
