# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a directory are shipped into stores, in which order, and which may leave it then. Pure.

The directory is filled by pg_receivewal or an ``archive_command``. Only what is finished goes: pg_receivewal writes ``<segment>.partial``
(``<segment>.gz.partial``), and renames it when it is whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    BACKUP,
    HISTORY,
    PARTIAL,
    SEGMENT,
    WalName,
    classify,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

#: suffixes of what can be unpacked, to see whether it is whole
UNPACKED = ("", ".gz", ".lz4", ".zst")


class Finished(NamedTuple):
    """A file that is shipped. ``plain`` is its name without suffixes, as PostgreSQL asks for it."""

    name: str
    plain: str
    file: WalName

    @property
    def is_segment(self) -> bool:
        return self.file.kind == SEGMENT


def plain_name(name: str, file: WalName) -> str:
    """A name without what compressors and engines added."""
    return name[: len(name) - len(file.suffixes)] if file.suffixes else name


def finished(names: Iterable[str], size: SegmentSize) -> list[Finished]:
    """What there is to ship, in its order: by timeline, its history first, then by position. What is not finished is left out, and what is
    no WAL of PostgreSQL's, or is packed or encrypted by others."""
    found = []
    for name in names:
        file = classify(name, size)
        if file.kind not in (SEGMENT, HISTORY, BACKUP, PARTIAL) or file.suffixes not in UNPACKED or file.checksum:
            continue
        # The last one of a timeline that ended is archived under this name too; packed, it is no receiver's.
        if file.kind == PARTIAL and name.endswith(".partial"):
            continue
        found.append(Finished(name, plain_name(name, file), file))
    return sorted(found, key=lambda item: (item.file.timeline, item.file.kind != HISTORY, item.file.number, item.name))


def leaving(files: Sequence[Finished], everywhere: Collection[str], keep: int) -> list[Finished]:
    """What may leave the directory: all that every store has (``everywhere``, names), up to the first segment of its timeline that one lacks,
    but for the newest ``keep`` segments (at least one: pg_receivewal goes on behind it). Histories stay: they are small, and pg_receivewal would
    fetch them anew."""
    newest = _newest([item for item in files if item.is_segment], max(1, keep))
    gone: list[Finished] = []
    blocked: set[int] = set()
    for item in files:
        if item.file.kind == HISTORY:
            continue
        if item.name not in everywhere:
            blocked.add(item.file.timeline)
        if item.file.timeline not in blocked and item.file.segment not in newest:
            gone.append(item)
    return gone


def _newest(segments: Sequence[Finished], keep: int) -> set[Segment]:
    """By position first, as pg_receivewal has it, and by timeline first, as their names sort."""
    by_position = sorted(segments, key=lambda item: (item.file.number, item.file.timeline))[-keep:]
    by_name = sorted(segments, key=lambda item: item.file.segment)[-keep:]
    return {item.file.segment for item in (*by_position, *by_name)}


def gaps(files: Iterable[Finished], there: Coverage) -> list[Run]:
    """Segments right before one of the directory's that are neither there nor in a store (``there``), though older ones of their timeline are:
    nobody can ship them any more."""
    both, first = Coverage(there.runs()), set[tuple[int, int]]()
    for item in files:
        if item.is_segment:
            both.add(item.file.timeline, item.file.number)
            first.add((item.file.timeline, item.file.number))
    found = [gap for timeline in both.timelines for gap in both.gaps(timeline)]
    return [gap for gap in found if (gap.timeline, gap.last + 1) in first]


class Lag(NamedTuple):
    """How far behind a store is: ``waiting`` segments that it lacks, the oldest finished ``seconds`` ago (0: none waits)."""

    waiting: int
    seconds: float


def lag(files: Iterable[Finished], has: Collection[str], modified: Mapping[str, float], now: float) -> Lag:
    """``has``: names in the directory that the store has; ``modified``: seconds since the epoch, by name."""
    waiting = [item.name for item in files if item.is_segment and item.name not in has]
    oldest = min((modified[name] for name in waiting if name in modified), default=now)
    return Lag(len(waiting), round(max(0.0, now - oldest), 1))
