# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contiguity audit: what is wrong with an archive, in words. Pure.

``inventory.read`` takes in names, those of the whole archive or only what is new; ``audit`` judges all that is known by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import REMEMBERED, Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import classify, history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.removal import Needs
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

ERROR, WARNING, FINE = "error", "warning", "fine"


class Finding(NamedTuple):
    """One thing to know. ``level``: ``error`` (some recovery is not possible), ``warning`` or ``fine``; ``code``: ``gap``,
    ``fork``, ``history``, ``conflict``, ``duplicate``, ``partial``, ``foreign``, ``empty``, ``contiguous``; ``text``: complete, with
    what to do; ``names``: the files that it is about, where they can be counted."""

    level: str
    code: str
    text: str
    names: tuple[str, ...] = ()


def audit(inventory: Inventory, timelines: Timelines, needs: Optional[Needs] = None) -> list[Finding]:
    """All that is to be said of an archive, the worst first.

    ``timelines``: from the content of the history files, which ``inventory.histories`` names. ``needs``: of the kept backups;
    what none of them needs may be missing.
    """
    archive = Archive(inventory.coverage, timelines, inventory.size)
    found = [
        *_gaps(archive, needs),
        *_conflicts(timelines),
        *_histories(inventory),
        *_unborn(archive, inventory),
        *_duplicates(inventory),
        *_partials(inventory, archive),
        *_foreign(inventory),
        *_fine(inventory),
    ]
    return sorted(found, key=lambda finding: (ERROR, WARNING, FINE).index(finding.level))


def gaps(archive: Archive) -> Iterator[Run]:
    """What is missing: between the first and the last segment of each timeline, and where one leads over to another. That an
    archive begins somewhere is no gap."""
    found = [gap for timeline in archive.coverage.timelines for gap in archive.coverage.gaps(timeline)]
    found += [gap for timeline in archive.coverage.timelines for gap in _on_the_way(archive, timeline)]
    return Coverage(found).runs()


def _on_the_way(archive: Archive, timeline: int) -> Iterator[Run]:
    """What is missing between the first segment on the way to a timeline, and its last one."""
    begun = False
    for leg in archive.route(timeline, 0):
        end = archive.coverage.last(timeline) if leg.last is None else leg.last
        wanted = Run(leg.timeline, leg.first, leg.first if end is None else end)
        if not begun:
            # What lies before was removed, or never archived.
            runs = archive.coverage.runs(leg.timeline)
            start = next((run.first for run in runs if run.last >= wanted.first and run.first <= wanted.last), None)
            if start is None:
                continue
            begun = True
            wanted = wanted._replace(first=max(start, wanted.first))
        yield from archive.coverage.missing(wanted)


def _gaps(archive: Archive, needs: Optional[Needs]) -> Iterator[Finding]:
    latest = archive.timelines.latest
    route = archive.route(latest, 0)
    for gap in gaps(archive):
        text = f"Missing on timeline {gap.timeline}: {gap.describe(archive.size)}."
        if needs is not None and not needs.touches(gap):
            yield Finding(FINE, "gap", f"{text} No kept backup needs that.", _names(gap, archive))
        elif any(leg.timeline == gap.timeline and (leg.last is None or gap.first <= leg.last) for leg in route):
            text += (
                " No recovery gets past this: a backup from before it reaches only the moments before it. If the server still has"
                " the files in pg_wal, archive them again; else take a new base backup now, from which on all can be reached."
            )
            yield Finding(ERROR, "gap", text, _names(gap, archive))
        else:
            text += f" The way to the latest timeline, {latest}, does not lead over it: only recoveries to timeline {gap.timeline}"
            yield Finding(WARNING, "gap", f"{text} end there.", _names(gap, archive))


def _names(gap: Run, archive: Archive) -> tuple[str, ...]:
    last = min(gap.last, gap.first + REMEMBERED - 1)
    return tuple(archive.size.name(Segment(gap.timeline, number)) for number in range(gap.first, last + 1))


def _conflicts(timelines: Timelines) -> Iterator[Finding]:
    for elder, younger in timelines.conflicts():
        names = (history_name(elder), history_name(younger))
        text = (
            f"{names[0]} and {names[1]} contradict each other about the past that they share. Two servers archive into one"
            " place, or two were promoted to the same timeline: segments of both may be mixed. Trust no recovery over these"
            " timelines before it is known which server wrote what; give each server an archive of its own."
        )
        yield Finding(ERROR, "conflict", text, names)


def _histories(inventory: Inventory) -> Iterator[Finding]:
    timelines = inventory.coverage.timelines
    for timeline in timelines:
        if timeline == 1 or timeline in inventory.histories:
            continue
        name = history_name(timeline)
        if timeline == timelines[0]:
            text = (
                f"{name} is not in the archive. Backups of timeline {timeline} itself can be recovered all the same, with the timeline"
                ' "current"; nothing older leads to it.'
            )
            yield Finding(WARNING, "history", text, (name,))
        else:
            text = (
                f"{name} is not in the archive, but segments of timeline {timeline} are: nothing says where it forked off, so no"
                " recovery can follow it from an older timeline. A server that is or was on it has the file in pg_wal: put it back."
            )
            yield Finding(ERROR, "history", text, (name,))


def _unborn(archive: Archive, inventory: Inventory) -> Iterator[Finding]:
    """The latest timeline has a history file, but its first segment is not there yet."""
    latest = archive.timelines.latest
    switches = archive.timelines.switches(latest)
    if not switches or latest not in inventory.histories or archive.coverage.first(latest) is not None:
        return
    name = archive.size.name(archive.size.containing(latest, switches[-1].lsn))
    text = (
        f"Timeline {latest} has begun, but no segment of it is archived yet: {name} must be the first. Until it is there,"
        f" recover with timeline: {switches[-1].timeline}; PostgreSQL would take the elder timeline's segments for it."
    )
    yield Finding(WARNING, "fork", text, (name,))


def _duplicates(inventory: Inventory) -> Iterator[Finding]:
    for segment, names in sorted(inventory.duplicates.items()):
        sums = {classify(name, inventory.size).checksum for name in names}
        listed = ", ".join(names)
        if len(sums) > 1:
            text = (
                f"{segment} is there with different content, as its checksums say: {listed}. pgBackRest refuses to restore it."
                " Two servers archive into one place, or one was archived twice from different copies: find out which one is right."
            )
            yield Finding(ERROR, "duplicate", text, tuple(names))
        else:
            text = f"{segment} is there under several names: {listed}. Which one a restore takes depends on its command: keep one."
            yield Finding(WARNING, "duplicate", text, tuple(names))


def _partials(inventory: Inventory, archive: Archive) -> Iterator[Finding]:
    """A partial segment where a timeline forks off, or that is there completely too, is as it should be."""
    forks = {
        archive.size.containing(switch.timeline, switch.lsn)
        for timeline in archive.timelines.known
        for switch in archive.timelines.switches(timeline)
    }
    for name, segment in sorted(inventory.partials.items()):
        if segment in inventory.coverage or segment in forks:
            continue
        newest = max(inventory.coverage.timelines, default=0)
        if segment.timeline == newest and segment.number == (inventory.coverage.last(newest) or 0) + 1:
            text = f"{name} is what pg_receivewal has of the newest segment, or the last that it got from a server that died."
            yield Finding(FINE, "partial", text, (name,))
            continue
        text = (
            f"{name} is the beginning of a segment that is not there completely, and no known timeline forks off in it. It holds"
            " the last moments of a timeline; PostgreSQL does not read it under this name."
        )
        yield Finding(WARNING, "partial", text, (name,))


def _foreign(inventory: Inventory) -> Iterator[Finding]:
    if inventory.foreign:
        names = tuple(sorted(inventory.foreign))
        more = " or more" if len(names) == REMEMBERED else ""
        text = (
            f"{len(names)}{more} files are no WAL of {inventory.size.bytes >> 20} MB segments: {', '.join(names[:5])}"
            f"{' …' if len(names) > 5 else ''}. They are left alone: files of another cluster or an unfinished upload, they are in"
            " nobody's way, but nothing should write here except the archiver."
        )
        yield Finding(WARNING, "foreign", text, names)


def _fine(inventory: Inventory) -> Iterator[Finding]:
    coverage = inventory.coverage
    if not coverage.timelines:
        yield Finding(
            WARNING, "empty", "The archive holds no WAL segment: no moment after a backup's end can be reached."
        )
    for timeline in coverage.timelines:
        runs = list(coverage.runs(timeline))
        if len(runs) == 1:
            yield Finding(
                FINE, "contiguous", f"Timeline {timeline}: {runs[0].describe(inventory.size)}, without a gap."
            )
