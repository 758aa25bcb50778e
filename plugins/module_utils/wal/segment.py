# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Segments of the WAL: which one holds a position, and what it is called. Pure.

A name is 24 hexadecimal digits: timeline, the high half of the first position, and the segment's number within that half.
So names sort by timeline, then by position. Compared with PostgreSQL 15, 16 and 18 at 1, 16, 64 and 1024 MB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

MEGABYTE = 1 << 20
_NAME = re.compile("[0-9A-F]{24}")


class Segment(NamedTuple):
    """One segment: ``number`` counts from the beginning of the WAL, in segments. They sort as their names do."""

    timeline: int
    number: int

    def next(self) -> Segment:
        """The one after it on the same timeline."""
        return Segment(self.timeline, self.number + 1)

    def previous(self) -> Segment:
        """The one before it on the same timeline. Raises ValueError before the first one."""
        if not self.number:
            raise ValueError("there is no segment before the first one")
        return Segment(self.timeline, self.number - 1)


@dataclass(frozen=True)
class SegmentSize:
    """The size of a cluster's segments, which initdb chose: ``setting`` of ``wal_segment_size`` in pg_settings."""

    bytes: int = 16 * MEGABYTE

    def __post_init__(self) -> None:
        """Raises BadOption: PostgreSQL has no such size."""
        if not MEGABYTE <= self.bytes <= 1024 * MEGABYTE or self.bytes & (self.bytes - 1):
            problem = "is not a size of WAL segments, which is a power of two from 1 MB to 1 GB, in bytes"
            raise BadOption("wal_segment_size", self.bytes, problem, "Take what SHOW wal_segment_size says.")

    @property
    def per_half(self) -> int:
        """How many segments share the first 16 digits of their names: those of 4 GiB."""
        return (1 << 32) // self.bytes

    @property
    def limit(self) -> int:
        """The number that no segment reaches: where the 64 bits of a position end."""
        return (1 << 64) // self.bytes

    def name(self, segment: Segment) -> str:
        """``000000010000000000000003``"""
        high, low = divmod(segment.number, self.per_half)
        return f"{segment.timeline:08X}{high:08X}{low:08X}"

    def parse(self, name: str, option: str) -> Segment:
        """The segment of a plain name (for names as they lie in an archive: names.classify).

        Raises:
            BadOption: it is no name of a segment, or of one of another size.
        """
        if not _NAME.fullmatch(name) or name.startswith("00000000"):
            way_out = "It is 24 hexadecimal digits, in capitals, like 000000010000000000000003."
            raise BadOption(option, name, "is not the name of a WAL segment", way_out)
        high, low = int(name[8:16], 16), int(name[16:], 16)
        if low >= self.per_half:
            problem = (
                f"is not the name of a WAL segment of {self.bytes // MEGABYTE} MB: its last 8 digits are too large"
            )
            raise BadOption(option, name, problem, "Its server has smaller segments: see SHOW wal_segment_size there.")
        return Segment(int(name[:8], 16), high * self.per_half + low)

    def containing(self, timeline: int, lsn: int) -> Segment:
        """The segment that holds the byte at a position: for the start of something. pg_walfile_name from PostgreSQL 17 on."""
        return Segment(timeline, lsn // self.bytes)

    def before(self, timeline: int, lsn: int) -> Segment:
        """The segment that holds the last byte before a position: for the end of something, so that one exactly on a
        boundary does not ask for a segment that need not exist. pg_walfile_name up to PostgreSQL 16.

        Raises ValueError at the beginning of the WAL.
        """
        if not lsn:
            raise ValueError("there is no segment before the first one")
        return Segment(timeline, (lsn - 1) // self.bytes)

    def start(self, segment: Segment) -> Lsn:
        """The position of its first byte."""
        return Lsn(segment.number * self.bytes)

    def end(self, segment: Segment) -> Lsn:
        """The position behind its last byte. Raises ValueError for the very last segment that 64 bits allow."""
        return Lsn((segment.number + 1) * self.bytes)
