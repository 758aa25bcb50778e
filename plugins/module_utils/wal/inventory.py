# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive's names say that it holds. Pure.

A listing is read once, name by name, and only runs of segments stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    FOREIGN,
    HISTORY,
    PARTIAL,
    SEGMENT,
    classify,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

# Of what should not be there, so many names are remembered: enough to act on, and memory stays flat.
REMEMBERED = 100


class Inventory:
    """What was seen in an archive so far.

    ``coverage``: the segments. ``histories``: by timeline, its history file, as it is called there. ``partials``, ``foreign``:
    names of partial segments, and of what is no WAL. ``duplicates``: by the name of a segment, all the names that it has when it
    has more than one, as seen next to each other in a listing. Of the last three at most REMEMBERED are kept.
    """

    def __init__(self, size: SegmentSize) -> None:
        self.size = size
        self.coverage = Coverage()
        self.histories: dict[int, str] = {}
        self.partials: dict[str, Segment] = {}
        self.duplicates: dict[str, list[str]] = {}
        self.foreign: set[str] = set()

    def read(self, names: Iterable[str]) -> int:
        """Take in a listing, and return how many names it had. Sorted by name is fastest, and needed to see duplicates; folders
        before the names, other orders and names that were seen before do no harm."""
        size, add = self.size, self.coverage.add
        count, current, held = 0, (0, 0), [""]
        for name in names:
            count += 1
            kind, timeline, number, _checksum, _suffixes, _offset = classify(name, size)
            if kind == SEGMENT:
                if current != (timeline, number):
                    current, held = (timeline, number), [name]
                    add(timeline, number)
                elif name not in held:
                    held.append(name)
                    self._duplicate(Segment(timeline, number), held)
            elif kind == HISTORY:
                self.histories[timeline] = name
            elif kind == PARTIAL and len(self.partials) < REMEMBERED:
                self.partials[name] = Segment(timeline, number)
            elif kind == FOREIGN and len(self.foreign) < REMEMBERED:
                self.foreign.add(name)
        return count

    def _duplicate(self, segment: Segment, names: list[str]) -> None:
        name = self.size.name(segment)
        if name in self.duplicates or len(self.duplicates) < REMEMBERED:
            self.duplicates[name] = sorted({*self.duplicates.get(name, ()), *names})[:REMEMBERED]
