# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery windows: what moments an archive and its backups can be brought back to. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive, Reach
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize


@dataclass(frozen=True)
class Stretch:
    """Moments without a gap: from the end of the oldest of ``backups`` (ids, oldest first), which is ``start`` and
    ``start_lsn``, to the end of ``last``, the last segment, which is ``end_lsn``. ``last`` None: no WAL follows a backup that has
    its own, so only its end can be reached. ``end``: the newest commit that is known to lie in the stretch; None: none is.
    ``gap``: what is missing then; None: the archive ends there."""

    start: datetime.datetime
    start_lsn: Lsn
    last: Optional[Segment]
    end_lsn: Lsn
    end: Optional[datetime.datetime]
    backups: tuple[str, ...]
    gap: Optional[Run]


@dataclass(frozen=True)
class Window:
    """What can be reached on the way to a timeline: stretches, oldest first. ``unusable``: backups on the way whose own WAL is
    not complete, and what of it is missing."""

    timeline: int
    stretches: tuple[Stretch, ...]
    unusable: tuple[tuple[str, Run], ...]
    size: SegmentSize

    @property
    def start(self) -> Optional[datetime.datetime]:
        """The oldest moment that can be reached; None when there is none."""
        return self.stretches[0].start if self.stretches else None

    @property
    def end(self) -> Optional[datetime.datetime]:
        """The newest commit that is known to be reachable; None when none is known."""
        return self.stretches[-1].end if self.stretches else None

    @property
    def last(self) -> Optional[Segment]:
        """The last segment that can be reached."""
        return self.stretches[-1].last if self.stretches else None

    @property
    def gaps(self) -> tuple[Run, ...]:
        """What is missing behind each stretch, oldest first."""
        return tuple(stretch.gap for stretch in self.stretches if stretch.gap is not None)

    def to_dict(self) -> dict[str, Any]:
        """As users get it: times in ISO 8601, positions and segments as PostgreSQL writes them."""
        return {
            "timeline": self.timeline,
            "start": _start(self.start),
            "end": _moment(self.end),
            "last_segment": None if self.last is None else self.size.name(self.last),
            "stretches": [
                {
                    "start": _start(stretch.start),
                    "start_lsn": str(stretch.start_lsn),
                    "end": _moment(stretch.end),
                    "end_lsn": str(stretch.end_lsn),
                    "last_segment": None if stretch.last is None else self.size.name(stretch.last),
                    "backups": list(stretch.backups),
                    "missing": None if stretch.gap is None else _gap(stretch.gap, self.size),
                }
                for stretch in self.stretches
            ],
            "unusable_backups": [{"id": backup, "missing": _gap(gap, self.size)} for backup, gap in self.unusable],
        }

    def describe(self) -> str:
        """For messages, one sentence a stretch."""
        if not self.stretches:
            return f"On timeline {self.timeline}: nothing."
        return " ".join(self._describe(stretch) for stretch in self.stretches)

    def _describe(self, stretch: Stretch) -> str:
        begin = f"{_start(stretch.start)} ({stretch.start_lsn}, the end of the backup {stretch.backups[0]})"
        then = "" if stretch.gap is None else f"; then {stretch.gap.describe(self.size)} missing"
        if stretch.last is None:
            return f"On timeline {self.timeline}: {begin} alone{then}."
        commit = "" if stretch.end is None else f", the newest known commit at {_moment(stretch.end)}"
        end = f"{self.size.name(stretch.last)} ({stretch.end_lsn}{commit})"
        return f"On timeline {self.timeline}: from {begin} to the end of {end}{then}."


def windows(backups: Iterable[Backup], archive: Archive) -> tuple[Window, ...]:
    """A window for each timeline that a backup leads to, oldest timeline first."""
    ordered = sorted(backups, key=lambda backup: (backup.stop_lsn, backup.id))
    timelines = {*archive.timelines.known, *archive.coverage.timelines, *(backup.ended_on for backup in ordered)}
    found = []
    for timeline in sorted(timelines):
        leading = [backup for backup in ordered if archive.can_follow(timeline, backup)]
        if leading:
            found.append(window(timeline, leading, archive))
    return tuple(found)


def window(timeline: int, leading: Sequence[Backup], archive: Archive) -> Window:
    """The window of one timeline, from the backups that lead to it, in the order of their ends."""
    found: dict[Union[Segment, str], tuple[Reach, list[Backup]]] = {}
    unusable: list[tuple[str, Run]] = []
    for backup in leading:
        gap = own_gap(timeline, backup, archive)
        if gap is None:
            reach = archive.reach(timeline, backup.archive_from)
            found.setdefault(reach.last or backup.id, (reach, []))[1].append(backup)
        else:
            unusable.append((backup.id, gap))
    stretches = (_stretch(timeline, members, reach, archive) for reach, members in found.values())
    return Window(timeline, tuple(stretches), tuple(unusable), archive.size)


def own_gap(timeline: int, backup: Backup, archive: Archive) -> Optional[Run]:
    """The first segments missing of those without which a backup is of no use at all: from its start to its end."""
    if backup.has_wal:
        return None
    last = archive.size.before(backup.ended_on, backup.stop_lsn).number
    return next(iter(archive.missing(archive.needed(timeline, backup.start_lsn, last))), None)


def _stretch(timeline: int, members: Sequence[Backup], reach: Reach, archive: Archive) -> Stretch:
    oldest = members[0]
    commits = [] if reach.last is None else archive.commits_on(timeline, oldest.stop_lsn, reach.last)
    return Stretch(
        oldest.stop_time,
        oldest.stop_lsn,
        reach.last,
        oldest.stop_lsn if reach.last is None else archive.size.end(reach.last),
        max((commit.time for commit in commits), default=None),
        tuple(backup.id for backup in members),
        reach.gap,
    )


def _moment(moment: Optional[datetime.datetime]) -> Optional[str]:
    return None if moment is None else format_time(moment)


def _start(moment: Optional[datetime.datetime]) -> Optional[str]:
    """Whole seconds, rounded up: a target that is copied from here must not lie before the moment."""
    if moment is not None and moment.microsecond:
        moment += datetime.timedelta(seconds=1)
    return _moment(moment)


def _gap(gap: Run, size: SegmentSize) -> dict[str, Any]:
    first, last = (size.name(Segment(gap.timeline, number)) for number in (gap.first, gap.last))
    return {"first": first, "last": last, "segments": gap.length}
