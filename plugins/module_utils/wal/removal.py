# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which WAL the kept backups need, and what may therefore go. Pure.

As pg_archivecleanup, but by timeline: what lies before the oldest kept backup goes. History files always stay: they are
small, and without one a timeline cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    FOREIGN,
    HISTORY,
    NOTE,
    classify,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment

_ENDLESS = 1 << 64


class Removal(NamedTuple):
    """What happens to a file of the archive, and why, in words."""

    name: str
    goes: bool
    why: str


class Floor(NamedTuple):
    """On one timeline, segments from ``number`` on stay, for ``why``."""

    number: int
    why: str


class Needs:
    """The WAL that backups need, each for itself and, unless it is kept ``alone``, for all moments after it.

    Where no backup needs a timeline: one that is newer than all backups may be the living one, whose first backup is being
    taken right now, so all of it stays; an older one goes as far as the oldest need on any timeline, as with
    pg_archivecleanup.
    """

    def __init__(self, backups: Sequence[Backup], archive: Archive) -> None:
        self.size = archive.size
        self._archive = archive
        self._islands: list[tuple[Run, str]] = []
        for backup in backups:
            if backup.alone:
                last = self.size.before(backup.ended_on, backup.stop_lsn).number
                needed = {
                    *archive.needed(backup.ended_on, backup.start_lsn, last),
                    Run(backup.timeline, self._start(backup), last),
                }
                self._islands += [(run, f"the backup {backup.id} itself needs it") for run in needed]
        self._islands.sort()
        self._inside = Coverage(run for run, _why in self._islands)
        self._open = [backup for backup in backups if not backup.alone]
        self._floors: dict[int, Floor] = {}

    def floor(self, timeline: int) -> Floor:
        """From where on the WAL of a timeline stays, besides what a backup itself needs."""
        if timeline not in self._floors:
            self._floors[timeline] = self._find_floor(timeline)
        return self._floors[timeline]

    def _find_floor(self, timeline: int) -> Floor:
        if not self._open:
            return Floor(0, "no backup is kept that any moment after it could be reached from")
        if timeline > max(backup.ended_on for backup in self._open):
            return Floor(0, f"timeline {timeline} is newer than all backups: the next one may need it")
        if timeline > 1 and not self._archive.timelines.switches(timeline):
            return self._oldest(f"it is the oldest of all; where timeline {timeline} came from is not known")
        using = [
            backup
            for backup in self._open
            if timeline in self._within(backup) or self._archive.leads_to(timeline, backup)
        ]
        if not using:
            return self._oldest("it is the oldest of all")
        number, oldest = min((self._start(backup), backup.id) for backup in using)
        return Floor(
            number, f"the backup {oldest} begins there, and it is the oldest that leads to timeline {timeline}"
        )

    def _oldest(self, why: str) -> Floor:
        number, oldest = min((self._start(backup), backup.id) for backup in self._open)
        return Floor(number, f"the backup {oldest} begins there, and {why}")

    def _within(self, backup: Backup) -> set[int]:
        """The timelines on which a backup ran: more than one on a standby whose primary changed."""
        return {backup.timeline, *(leg.timeline for leg in self._archive.route(backup.ended_on, backup.start_lsn))}

    def _start(self, backup: Backup) -> int:
        return self.size.containing(backup.timeline, backup.start_lsn).number

    def runs(self, timelines: Iterable[int]) -> Iterator[Run]:
        """All that stays, on these timelines; the last run of each has no end."""
        for timeline in sorted(set(timelines)):
            yield from (run for run, _why in self._islands if run.timeline == timeline)
            yield Run(timeline, self.floor(timeline).number, _ENDLESS)

    def why(self, timeline: int, number: int) -> Optional[str]:
        """Why a segment stays; None when it may go."""
        floor = self.floor(timeline)
        if number >= floor.number:
            return f"{floor.why}, and all that follows stays" if floor.number else floor.why
        if Segment(timeline, number) not in self._inside:
            return None
        return next(why for run, why in self._islands if run.timeline == timeline and run.first <= number <= run.last)

    def touches(self, run: Run) -> bool:
        """Whether anything of a run is needed."""
        return any(
            part.timeline == run.timeline and part.first <= run.last and run.first <= part.last
            for part in self.runs([run.timeline])
        )


def removals(names: Iterable[str], needs: Needs) -> Iterator[Removal]:
    """A decision for each name, one after another, in any order. What is no WAL is not ours to remove, nor are notes of
    WAL-G; partial segments and notes of backups (.backup) go with their segment."""
    size = needs.size
    for name in names:
        kind, timeline, number, *_rest = classify(name, size)
        if kind == HISTORY:
            yield Removal(name, False, "history files always stay: without it no recovery can follow the timeline")
        elif kind in (FOREIGN, NOTE):
            yield Removal(
                name,
                False,
                "it is no WAL of this server: whoever put it there must say"
                if kind == FOREIGN
                else "it is WAL-G's own",
            )
        else:
            why = needs.why(timeline, number)
            yield Removal(name, why is None, why or _gone(needs, timeline))


def _gone(needs: Needs, timeline: int) -> str:
    floor = needs.floor(timeline)
    return f"it lies before {needs.size.name(Segment(timeline, floor.number))}: {floor.why}"
