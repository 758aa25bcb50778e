# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups stay, and why. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

_PERIODS = (
    ("keep_daily", "%Y-%m-%d"),
    ("keep_weekly", "%G-W%V"),
    ("keep_monthly", "%Y-%m"),
    ("keep_yearly", "%Y"),
)


@dataclass(frozen=True)
class Candidate:
    """A backup, as far as retention cares. ``new``: this very run makes it."""

    id: str
    stopped_at: datetime.datetime
    verified: bool
    pinned: bool = False
    parent: Optional[str] = None
    new: bool = False


@dataclass(frozen=True)
class Decision:
    """What happens to a backup, and why, in words."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


def decide(backups: Sequence[Candidate], policy: Policy, now: datetime.datetime) -> list[Decision]:
    """A decision for each backup, newest first.

    Only verified backups satisfy a rule: one that may be broken must not displace one that is good. An unverified
    one goes when a verified one that is newer stays, as nothing then depends on it.

    The age of a backup is counted to ``now``. When the clock was set back, backups lie in the future: they are
    young, and stay. When it jumped ahead, ages are wrong in a way that nothing here can see: ``min_keep`` holds.
    """
    ordered = sorted(backups, key=lambda backup: (backup.stopped_at, backup.id), reverse=True)
    reasons: dict[str, list[str]] = {backup.id: [] for backup in ordered}
    verified = [backup for backup in ordered if backup.verified]
    if not policy.buckets and not policy.limits:
        for backup in ordered:
            reasons[backup.id].append("no retention rule is set")
    elif policy.buckets:
        _buckets(verified, policy, now, reasons)
    else:
        _limits(verified, policy, now, reasons)
    for backup in ordered:
        if backup.pinned or backup.id in policy.pins:
            reasons[backup.id].append("pinned")
        # When the clock was set back, it is not the newest by its time; a run that deleted its own work would be absurd.
        if backup.new and not reasons[backup.id]:
            reasons[backup.id].append("made by this run")
    for position, backup in enumerate(verified[: policy.min_keep]):
        if not reasons[backup.id]:
            reasons[backup.id].append(f"min_keep {policy.min_keep}: verified backup {position + 1} from the newest")
    newest_kept = next((backup for backup in verified if reasons[backup.id]), None)
    for backup in ordered:
        newest = newest_kept is None or backup.stopped_at >= newest_kept.stopped_at
        if newest and not backup.verified and not reasons[backup.id]:
            reasons[backup.id].append("not verified, but nothing newer is")
    _chains(ordered, reasons)
    return [
        Decision(backup.id, bool(reasons[backup.id]), tuple(reasons[backup.id]) or _why_not(backup, policy))
        for backup in ordered
    ]


def _buckets(verified: list[Candidate], policy: Policy, now: datetime.datetime, reasons: dict[str, list[str]]) -> None:
    for position, backup in enumerate(verified):
        if policy.keep_last is not None and position < policy.keep_last:
            reasons[backup.id].append(f"keep_last: {position + 1} of {policy.keep_last}")
        age = (now - backup.stopped_at).total_seconds()
        if policy.keep_within is not None and age <= policy.keep_within:
            reasons[backup.id].append(f"keep_within {format_duration(policy.keep_within)}")
    for rule, pattern in _PERIODS:
        wanted = getattr(policy, rule)
        seen: set[str] = set()
        for backup in verified:
            period = backup.stopped_at.astimezone(datetime.timezone.utc).strftime(pattern)
            if wanted is None or len(seen) >= wanted or period in seen:
                continue
            seen.add(period)
            reasons[backup.id].append(f"{rule}: the newest of {period}, {len(seen)} of {wanted}")


def _limits(verified: list[Candidate], policy: Policy, now: datetime.datetime, reasons: dict[str, list[str]]) -> None:
    for position, backup in enumerate(verified):
        age = (now - backup.stopped_at).total_seconds()
        if policy.count is not None and position >= policy.count:
            continue
        if policy.max_age is not None and age > policy.max_age:
            continue
        reasons[backup.id].append(f"within count and max_age: {position + 1}, {format_duration(max(age, 0))} old")


def _chains(ordered: list[Candidate], reasons: dict[str, list[str]]) -> None:
    parents = {backup.id: backup.parent for backup in ordered}
    for backup in ordered:
        child = backup.id
        if not reasons[child]:
            continue
        parent = parents[child]
        while parent in parents and parent is not None:
            reason = f"needed by {child}"
            if reason in reasons[parent]:
                break
            reasons[parent].append(reason)
            child, parent = parent, parents[parent]


def _why_not(backup: Candidate, policy: Policy) -> tuple[str, ...]:
    if not backup.verified:
        return ("not verified, and a newer verified backup stays",)
    return ("no keep_* rule wants it" if policy.buckets else "beyond count or max_age",)
