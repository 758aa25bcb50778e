# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive holds along the way to a timeline. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines


class Commit(NamedTuple):
    """A commit that is known to lie in the archive. ``last``: none follows it in the WAL that goes on from there, up to the
    next gap or to the end."""

    timeline: int
    lsn: Lsn
    time: datetime.datetime
    last: bool = False


class Leg(NamedTuple):
    """Segments of one timeline on the way to another; ``last`` None: to its end."""

    timeline: int
    first: int
    last: Optional[int]


class Reach(NamedTuple):
    """How far the WAL goes on without a gap. ``last``: the last segment, None when not even the first one is there. ``gap``:
    what is missing then; None: that was the end."""

    last: Optional[Segment]
    gap: Optional[Run]


@dataclass(frozen=True)
class Archive:
    """A server's WAL archive, as far as it is known."""

    coverage: Coverage
    timelines: Timelines
    size: SegmentSize = field(default_factory=SegmentSize)
    commits: tuple[Commit, ...] = ()

    @property
    def latest(self) -> int:
        """The newest timeline that is known, by its history file or its segments."""
        return max((self.timelines.latest, *self.coverage.timelines))

    def leads_to(self, target: int, backup: Backup) -> bool:
        """Whether a recovery to the target timeline can begin with a backup, as far as forks are concerned."""
        stop = backup.stop_lsn
        return self.timelines.leads_to(target, backup.timeline, backup.start_lsn, stop, backup.stop_timeline)

    def can_follow(self, target: int, backup: Backup) -> bool:
        """The same, and PostgreSQL would take the timeline: it wants a history file, unless the backup itself is of it."""
        return self.leads_to(target, backup) and (target == backup.timeline or self.timelines.has_history(target))

    def route(self, target: int, start: int) -> tuple[Leg, ...]:
        """The segments on the way from a position to the end of the target timeline.

        The segment in which a timeline forks off exists on both. Only the younger one will do: it begins with a copy of the
        other up to the fork. Where it is missing PostgreSQL takes the elder one instead, and without a word replays what
        happened there *after* the fork, up to the end of the wrong timeline (seen with PostgreSQL 15, 16 and 18).
        """
        legs = []
        for stage in self.timelines.ancestry(target):
            first = self.size.containing(stage.timeline, max(stage.begin, start)).number
            last = None if stage.end is None else self.size.containing(stage.timeline, stage.end).number - 1
            if last is None or first <= last:
                legs.append(Leg(stage.timeline, first, last))
        return tuple(legs)

    def needed(self, target: int, start: int, until: int) -> tuple[Run, ...]:
        """The segments from a position up to the one with the number ``until``, on the way to the target timeline."""
        return tuple(
            Run(leg.timeline, leg.first, until if leg.last is None else min(leg.last, until))
            for leg in self.route(target, start)
            if leg.first <= until
        )

    def missing(self, runs: Iterable[Run]) -> tuple[Run, ...]:
        """The parts of runs that the archive does not hold."""
        return tuple(gap for run in runs for gap in self.coverage.missing(run))

    def reach(self, target: int, start: int) -> Reach:
        """How far the way to the target timeline is there without a gap, from a position on. A timeline whose first segment
        is missing is a gap too, even when nothing of it was archived yet."""
        last: Optional[Segment] = None
        for leg in self.route(target, start):
            end = leg.last
            if end is None:
                end = max(leg.first, self.coverage.last(leg.timeline) or 0)
            gap = next(self.coverage.missing(Run(leg.timeline, leg.first, end)), None)
            if gap is not None:
                if gap.first > leg.first:
                    last = Segment(leg.timeline, gap.first - 1)
                return Reach(last, gap)
            last = Segment(leg.timeline, end)
        return Reach(last, None)

    def commits_on(self, target: int, start: int, last: Segment) -> list[Commit]:
        """The known commits on the way to a timeline, from a position up to the end of a segment, in order."""
        end = (last.number + 1) * self.size.bytes
        return sorted(
            (
                commit
                for commit in self.commits
                if start <= commit.lsn < end and self.timelines.owner(target, commit.lsn) == commit.timeline
            ),
            key=lambda commit: commit.lsn,
        )
