# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups stay, and why. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.rules import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time


@dataclass(frozen=True)
class Candidate:
    """A backup, as far as retention cares. ``new``: this very run makes it. ``group``: only backups of one group can stand in
    for each other; another group's are never displaced. ``size``: bytes (None: unknown), compared among one ``kind``. ``doubt``: why
    it counts as not verified, where that is more than that it was not."""

    id: str
    stopped_at: datetime.datetime
    verified: bool
    pinned: bool = False
    parent: Optional[str] = None
    new: bool = False
    group: str = ""
    kind: str = ""
    size: Optional[int] = None
    doubt: Optional[str] = None


@dataclass(frozen=True)
class Decision:
    """What happens to a backup, and why, in words."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


def decide(
    backups: Sequence[Candidate],
    policy: Policy,
    now: datetime.datetime,
    zone: datetime.tzinfo = datetime.timezone.utc,
) -> list[Decision]:
    """A decision for each backup, newest first. Days, weeks (ISO), months and years are those of ``zone``. The policy holds
    for each group by itself.

    Only proven backups, those verified together with all that they need, count for a rule and for ``min_keep``: one
    that may be broken never displaces one that is good. An unproven one stays while the rules would want it were it
    proven, while nothing proven that stays is newer, and while fewer than ``min_keep`` are proven.

    A backup later than ``now`` was taken while the clock was wrong, or ``now`` is. It stays and counts for nothing: it
    neither displaces the others, nor makes them look old. When the clock is ahead now, ages are wrong in a way that
    nothing here can see: ``min_keep`` holds.
    """
    ordered = sorted(backups, key=lambda backup: (backup.stopped_at, backup.new, backup.id), reverse=True)
    proven = _proven(ordered)
    keeps: dict[str, list[str]] = {backup.id: [] for backup in ordered}
    goes: dict[str, tuple[str, ...]] = {}
    groups: dict[str, list[Candidate]] = {}
    for backup in ordered:
        groups.setdefault(backup.group, []).append(backup)
    for group in groups.values():
        _judge_group(group, proven, policy, now, zone, keeps, goes)
    _keep_what_is_needed(ordered, keeps)
    return [
        Decision(backup.id, bool(keeps[backup.id]), tuple(keeps[backup.id]) or goes[backup.id]) for backup in ordered
    ]


def _judge_group(
    ordered: Sequence[Candidate],
    proven: set[str],
    policy: Policy,
    now: datetime.datetime,
    zone: datetime.tzinfo,
    keeps: dict[str, list[str]],
    goes: dict[str, tuple[str, ...]],
) -> None:
    """Fill ``keeps`` and ``goes``, reasons by id, for one group, newest first."""
    counted = [backup for backup in ordered if backup.stopped_at <= now or backup.new]
    good = [backup for backup in counted if backup.id in proven]

    # The unproven are judged beside the proven, then the proven by themselves.
    for group in ([] if len(good) == len(counted) else counted, good):
        verdicts = judge([backup.stopped_at for backup in group], policy, now, zone)
        for backup, (wanted, reasons) in zip(group, verdicts):
            keeps[backup.id] = list(reasons) if wanted else []
            goes[backup.id] = reasons if backup.id in proven else (_doubt(backup), *reasons)

    for backup in ordered:
        if backup.stopped_at > now and not backup.new:
            keeps[backup.id].append(
                f"from the future ({format_time(backup.stopped_at)}): a clock is or was wrong, so no rule counts it"
            )
        if backup.pinned or backup.id in policy.pins:
            keeps[backup.id].append("pinned")
        # When the clock was set back, it looks old; a run that deleted its own work would be absurd.
        if backup.new and not keeps[backup.id]:
            keeps[backup.id].append("made by this run")
    shrunk = shrunk_from(good)
    if shrunk is not None:
        new, before = shrunk
        keeps[before.id].append(
            f"{new.id}, made by this run, has {new.size} bytes and this one {before.size}: so much less never displaces it at once"
        )
    for position, backup in enumerate(good[: policy.min_keep], 1):
        if not keeps[backup.id]:
            keeps[backup.id].append(f"min_keep {policy.min_keep}: number {position} of the verified, from the newest")

    newest = next((backup.stopped_at for backup in good if keeps[backup.id]), None)
    for backup in counted:
        if backup.id in proven or keeps[backup.id]:
            continue
        if len(good) < policy.min_keep:
            keeps[backup.id].append(f"{_doubt(backup)}, but fewer than min_keep {policy.min_keep} are")
        elif newest is None or backup.stopped_at >= newest:
            keeps[backup.id].append(f"{_doubt(backup)}, but nothing newer is")


def shrunk_from(good: Sequence[Candidate]) -> Optional[tuple[Candidate, Candidate]]:
    """The backup that this run made, and the one of its kind before it, if it is less than half as large: rows or tables may be
    gone. ``good`` are those of one group, newest first."""
    new = next((backup for backup in good if backup.new), None)
    if new is None or new.size is None:
        return None
    before = next((backup for backup in good if not backup.new and backup.kind == new.kind), None)
    if before is None or before.size is None or before.size <= 2 * new.size:
        return None
    return new, before


def _doubt(backup: Candidate) -> str:
    if backup.doubt:
        return backup.doubt
    return "what it needs is missing or not verified" if backup.verified else "not verified"


def _proven(backups: Sequence[Candidate]) -> set[str]:
    """The ids of those that are verified with all that they need, up to a full backup."""
    known = {backup.id: backup for backup in backups}
    proven: dict[Optional[str], bool] = {None: True}
    for backup in backups:
        path: list[Candidate] = []
        step: Optional[str] = backup.id
        while step is not None and step not in proven:
            proven[step] = False  # what is missing, or in a circle, never comes to a full backup
            if step in known:
                path.append(known[step])
                step = known[step].parent
        for link in reversed(path):
            proven[link.id] = link.verified and proven[link.parent]
    return {backup.id for backup in backups if proven[backup.id]}


def _keep_what_is_needed(ordered: Sequence[Candidate], keeps: dict[str, list[str]]) -> None:
    """What a kept backup needs stays, and says for which one: the newest, as there may be thousands."""
    known = {backup.id: backup for backup in ordered}
    seen: set[str] = set()
    for backup in ordered:
        child = backup
        while keeps[child.id] and child.parent in known and child.parent not in seen:
            keeps[child.parent].append(f"needed by {child.id}")
            seen.add(child.parent)
            child = known[child.parent]
