# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive's names say that it holds, kept between audits. Pure.

A listing is read once, name by name, and only runs of segments stay in memory. The next audit need not list what lies
within a run: ``unseen`` says where to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    FOREIGN,
    HISTORY,
    PARTIAL,
    SEGMENT,
    classify,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

FORMAT = 1
# Of what should not be there, so many names are remembered: enough to act on, and memory stays flat.
REMEMBERED = 100


class Range(NamedTuple):
    """Names that an audit has to look at: ``after <= name``, and ``name < until`` unless that is empty. Names without folders."""

    after: str
    until: str


class Inventory:
    """What was seen in an archive so far.

    ``coverage``: the segments. ``histories``: by timeline, its history file, as it is called there. ``partials``, ``foreign``:
    names of partial segments, and of what is no WAL. ``duplicates``: by the name of a segment, all the names that it has when it
    has more than one, as seen next to each other in a listing. Of the last three at most REMEMBERED are kept, and what is
    put right is forgotten only by an audit that begins anew; so is what was deleted.
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

    def keep_only(self, wanted: Iterable[Run]) -> None:
        """Forget segments that lie in none of these runs: they were removed."""
        kept = list(wanted)
        self.coverage = Coverage(
            Run(run.timeline, max(run.first, part.first), min(run.last, part.last))
            for run in self.coverage.runs()
            for part in kept
            if part.timeline == run.timeline and part.first <= run.last and run.first <= part.last
        )

    def to_json(self) -> dict[str, Any]:
        """The state between audits. Runs are pairs of names, so that people can read it."""
        return {
            "format": FORMAT,
            "segment_size": self.size.bytes,
            "runs": [
                [self.size.name(Segment(run.timeline, number)) for number in (run.first, run.last)]
                for run in self.coverage.runs()
            ],
            "histories": [self.histories[timeline] for timeline in sorted(self.histories)],
            "partials": sorted(self.partials),
            "duplicates": self.duplicates,
            "foreign": sorted(self.foreign),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Inventory:
        """Raises WalError: it is damaged, or of a newer format. Then audit anew: nothing is lost but time."""
        try:
            if state["format"] != FORMAT:
                raise ValueError(f"its format is {state['format']!r}, and this version reads {FORMAT}")
            inventory = cls(SegmentSize(state["segment_size"]))
            inventory.coverage = Coverage(_run(inventory.size, *pair) for pair in state["runs"])
            inventory.histories = {classify(name, inventory.size).timeline: name for name in state["histories"]}
            inventory.partials = {name: classify(name, inventory.size).segment for name in state["partials"]}
            inventory.duplicates = {name: list(names) for name, names in state["duplicates"].items()}
            inventory.foreign = set(state["foreign"])
        except (KeyError, ValueError, TypeError, AttributeError, BadOption) as exc:
            raise WalError(
                f"The state of the last audit of the WAL archive cannot be used ({exc.__class__.__name__}: {exc}). The archive "
                "itself is not touched by this. Delete the state and audit again: the next one then looks at every name."
            ) from exc
        return inventory


def _run(size: SegmentSize, first: str, last: str) -> Run:
    begin, end = size.parse(first, "runs"), size.parse(last, "runs")
    if begin.timeline != end.timeline or begin.number > end.number:
        raise ValueError(f"{first} to {last} is no run")
    return Run(begin.timeline, begin.number, end.number)


def unseen(inventory: Inventory) -> Iterator[Range]:
    """What the next audit has to list: all but the insides of runs, so gaps that may have been filled, timelines that may
    have gone on, and what is new, which comes last. A listing that gives more does no harm."""
    after = ""
    for run in inventory.coverage.runs():
        yield Range(after, inventory.size.name(Segment(run.timeline, run.first)))
        after = inventory.size.name(Segment(run.timeline, run.last))
    yield Range(after, "")


def start_after(inventory: Inventory) -> str:
    """The name from which a listing for new segments may begin, itself included: the last segment of the newest timeline. Empty
    when there is none: list all. Gaps and older timelines lie before it: see ``unseen``."""
    *_others, newest = unseen(inventory)
    return newest.after
