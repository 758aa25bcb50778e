# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which segments are there, as runs without a gap: a million segments are a few numbers. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

_ENDLESS = 1 << 64  # above every number


class Run(NamedTuple):
    """Segments in a row on one timeline: their numbers, both inclusive."""

    timeline: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def describe(self, size: SegmentSize) -> str:
        """``000000010000000000000003`` or ``3 segments from 000000010000000000000003 to 000000010000000000000005``"""
        first = size.name(Segment(self.timeline, self.first))
        if self.length == 1:
            return first
        return f"{self.length:,} segments from {first} to {size.name(Segment(self.timeline, self.last))}"


class Coverage:
    """The segments that an archive holds. In the order of their names each costs next to nothing to add; any order works."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        # Pairs of first and last number by timeline, ascending, with at least one number missing between two of them.
        self._pairs: dict[int, list[list[int]]] = {}
        for run in sorted(runs):
            pairs = self._pairs.setdefault(run.timeline, [])
            if pairs and run.first <= pairs[-1][1] + 1:
                pairs[-1][1] = max(pairs[-1][1], run.last)
            else:
                pairs.append([run.first, run.last])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coverage) and self._pairs == other._pairs

    def __repr__(self) -> str:
        return f"Coverage({list(self.runs())!r})"

    def add(self, timeline: int, number: int) -> bool:
        """Whether it is new."""
        pairs = self._pairs.setdefault(timeline, [])
        index = bisect_right(pairs, [number, _ENDLESS]) - 1 if not pairs or number <= pairs[-1][1] else len(pairs) - 1
        if index >= 0 and number <= pairs[index][1]:
            return False
        behind = index >= 0 and pairs[index][1] == number - 1
        before = index + 1 < len(pairs) and pairs[index + 1][0] == number + 1
        if behind and before:
            pairs[index][1] = pairs.pop(index + 1)[1]
        elif behind:
            pairs[index][1] = number
        elif before:
            pairs[index + 1][0] = number
        else:
            pairs.insert(index + 1, [number, number])
        return True

    @property
    def timelines(self) -> tuple[int, ...]:
        """Those that have segments, ascending."""
        return tuple(sorted(self._pairs))

    def runs(self, timeline: Optional[int] = None) -> Iterator[Run]:
        """In the order of names, of one timeline or of all."""
        for number in self.timelines if timeline is None else (timeline,):
            for first, last in self._pairs.get(number, ()):
                yield Run(number, first, last)

    def first(self, timeline: int) -> Optional[int]:
        """The number of its first segment; None when it has none."""
        pairs = self._pairs.get(timeline)
        return pairs[0][0] if pairs else None

    def last(self, timeline: int) -> Optional[int]:
        """The number of its last segment; None when it has none."""
        pairs = self._pairs.get(timeline)
        return pairs[-1][1] if pairs else None

    def __contains__(self, segment: Segment) -> bool:
        pairs = self._pairs.get(segment.timeline, [])
        index = bisect_right(pairs, [segment.number, _ENDLESS]) - 1
        return index >= 0 and segment.number <= pairs[index][1]

    def missing(self, wanted: Run) -> Iterator[Run]:
        """The parts of a run that are not there."""
        pairs = self._pairs.get(wanted.timeline, [])
        begin = wanted.first
        for first, last in pairs[max(bisect_right(pairs, [begin, _ENDLESS]) - 1, 0) :]:
            if first > wanted.last:
                break
            if first > begin:
                yield Run(wanted.timeline, begin, first - 1)
            begin = max(begin, last + 1)
        if begin <= wanted.last:
            yield Run(wanted.timeline, begin, wanted.last)

    def gaps(self, timeline: int) -> Iterator[Run]:
        """What is missing between its first and its last segment."""
        first, last = self.first(timeline), self.last(timeline)
        if first is not None and last is not None:
            yield from self.missing(Run(timeline, first, last))
