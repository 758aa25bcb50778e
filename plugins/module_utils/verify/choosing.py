# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are verified, in which order, and when enough was read. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import CLOCKS_DIFFER


@dataclass(frozen=True)
class Candidate:
    """A backup in a tier. ``size``: bytes that reading it takes (None: unknown). ``proven_at``: when it was last good at the level that is wanted
    (None: never, or it was found bad since). ``failed_at``: when it was found bad, where that is what was found last."""

    tier: str
    id: str
    size: Optional[int]
    proven_at: Optional[datetime.datetime]
    failed_at: Optional[datetime.datetime] = None


def due(candidates: Iterable[Candidate], max_age: Optional[float], now: datetime.datetime) -> list[Candidate]:
    """Those whose proof is older than ``max_age`` seconds (None: all). One from the future is none: a clock was wrong."""

    def fresh(candidate: Candidate) -> bool:
        if candidate.proven_at is None or max_age is None:
            return False
        return -CLOCKS_DIFFER <= (now - candidate.proven_at).total_seconds() < max_age

    return [candidate for candidate in candidates if not fresh(candidate)]


def in_turn(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The oldest proof first, what was never proven before all; of several tiers one after the other, the one first that has the oldest proof. Of
    those that were never proven the newest backup is first (ids are in their order): it is what a restore takes. One that was found bad is looked at
    again in its turn, and keeps none of the others from theirs."""
    tiers: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        tiers.setdefault(candidate.tier, []).append(candidate)
    never = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)

    def age(candidate: Candidate) -> datetime.datetime:
        return candidate.proven_at or candidate.failed_at or never

    queues = []
    for found in tiers.values():
        newest_first = sorted(found, key=lambda candidate: candidate.id, reverse=True)
        queues.append(sorted(newest_first, key=age))
    queues.sort(key=lambda queue: age(queue[0]))
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[number] for number in range(longest) for queue in queues if number < len(queue)]


@dataclass
class Budget:
    """What a run may take: ``seconds`` and ``bytes`` (None: as much as there is). The first backup is always read, or a small budget would read
    none for ever."""

    seconds: Optional[float]
    bytes: Optional[int]
    #: what was read so far
    begun: int = 0
    read: int = 0

    def allows(self, size: Optional[int], spent: float) -> bool:
        """Whether one more backup may begin, ``spent`` seconds after the first: one that would not end in time, at the rate so far, does not."""
        if not self.begun:
            return True
        if self.bytes is not None and self.read + (size or 0) > self.bytes:
            return False
        if self.seconds is None:
            return True
        expected = spent * (size or 0) / self.read if self.read else 0.0
        return spent + expected <= self.seconds

    def took(self, size: int) -> None:
        """One was read."""
        self.begun += 1
        self.read += size


def split(order: Sequence[Candidate], limit: Optional[int]) -> tuple[list[Candidate], list[Candidate]]:
    """What a plan begins with that has ``limit`` bytes (None: no limit), and what is left for the next run. How long it takes nobody knows before."""
    budget, begun, left = Budget(None, limit), list[Candidate](), list[Candidate]()
    for candidate in order:
        if not left and budget.allows(candidate.size, 0.0):
            budget.took(candidate.size or 0)
            begun.append(candidate)
        else:
            left.append(candidate)
    return begun, left
