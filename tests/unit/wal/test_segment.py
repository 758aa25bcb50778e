# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Segments. The names were got from pg_walfile_name() of real servers: 15 and 16 answer for the end of something, 18 for
the start; numbers from pg_split_walfile_name()."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, Segment, SegmentSize

SIZES = {megabytes: SegmentSize(megabytes * MEGABYTE) for megabytes in (1, 16, 64, 1024)}

# size, position, name by PostgreSQL 15 and 16, by 18
POSITIONS = [
    (1, "0/1", "000000010000000000000000", "000000010000000000000000"),
    (1, "0/FFFFF", "000000010000000000000000", "000000010000000000000000"),
    (1, "0/100000", "000000010000000000000000", "000000010000000000000001"),
    (1, "0/1000000", "00000001000000000000000F", "000000010000000000000010"),
    (1, "0/1000028", "000000010000000000000010", "000000010000000000000010"),
    (1, "0/FFFFFFFF", "000000010000000000000FFF", "000000010000000000000FFF"),
    (1, "1/0", "000000010000000000000FFF", "000000010000000100000000"),
    (1, "16/B374D848", "000000010000001600000B37", "000000010000001600000B37"),
    (1, "FFFFFFFF/FFFFFFFF", "00000001FFFFFFFF00000FFF", "00000001FFFFFFFF00000FFF"),
    (16, "0/1", "000000010000000000000000", "000000010000000000000000"),
    (16, "0/1000000", "000000010000000000000000", "000000010000000000000001"),
    (16, "0/1000028", "000000010000000000000001", "000000010000000000000001"),
    (16, "0/2FFFFFF", "000000010000000000000002", "000000010000000000000002"),
    (16, "0/3000000", "000000010000000000000002", "000000010000000000000003"),
    (16, "0/3000001", "000000010000000000000003", "000000010000000000000003"),
    (16, "0/FFFFFFFF", "0000000100000000000000FF", "0000000100000000000000FF"),
    (16, "1/0", "0000000100000000000000FF", "000000010000000100000000"),
    (16, "1/1", "000000010000000100000000", "000000010000000100000000"),
    (16, "16/B374D848", "0000000100000016000000B3", "0000000100000016000000B3"),
    (16, "FFFFFFFF/0", "00000001FFFFFFFE000000FF", "00000001FFFFFFFF00000000"),
    (64, "0/4000000", "000000010000000000000000", "000000010000000000000001"),
    (64, "0/40000000", "00000001000000000000000F", "000000010000000000000010"),
    (64, "1/0", "00000001000000000000003F", "000000010000000100000000"),
    (64, "16/B374D848", "00000001000000160000002C", "00000001000000160000002C"),
    (1024, "0/40000000", "000000010000000000000000", "000000010000000000000001"),
    (1024, "0/FFFFFFFF", "000000010000000000000003", "000000010000000000000003"),
    (1024, "16/B374D848", "000000010000001600000002", "000000010000001600000002"),
]


@pytest.mark.parametrize(("megabytes", "text", "ends_in", "starts_in"), POSITIONS)
def test_the_segment_of_a_position(megabytes: int, text: str, ends_in: str, starts_in: str) -> None:
    size, lsn = SIZES[megabytes], Lsn.parse(text, "lsn")
    assert size.name(size.before(1, lsn)) == ends_in
    assert size.name(size.containing(1, lsn)) == starts_in
    segment = size.parse(starts_in, "segment")
    assert size.start(segment) <= lsn
    assert segment.number == size.limit - 1 or lsn < size.end(segment)


@pytest.mark.parametrize(
    ("megabytes", "name", "timeline", "number"),
    [
        (1, "0000000A00000016000000B3", 10, 90291),
        (16, "0000000A00000016000000B3", 10, 5811),
        (64, "0000000A0000001600000033", 10, 22 * 64 + 51),
        (1, "0000000100000000000001FF", 1, 511),
        (16, "FFFFFFFFFFFFFFFF000000FF", 2**32 - 1, 2**40 - 1),
    ],
)
def test_names(megabytes: int, name: str, timeline: int, number: int) -> None:
    size = SIZES[megabytes]
    assert size.parse(name, "segment") == Segment(timeline, number)
    assert size.name(Segment(timeline, number)) == name


@pytest.mark.parametrize(
    ("megabytes", "name", "problem"),
    [
        (16, "0000000100000000000001FF", "of 16 MB: its last 8 digits are too large"),
        (64, "000000010000000000000040", "of 64 MB: its last 8 digits are too large"),
        (16, "00000001000000000000000", "24 hexadecimal digits"),
        (16, "0000000100000000000000FF.gz", "24 hexadecimal digits"),
        (16, "0000000a0000000000000001", "in capitals"),
        (16, "000000000000000000000001", "is not the name of a WAL segment"),
        (16, "", "is not the name of a WAL segment"),
    ],
)
def test_what_is_no_name(megabytes: int, name: str, problem: str) -> None:
    with pytest.raises(BadOption, match=problem):
        SIZES[megabytes].parse(name, "segment")


def test_neighbours() -> None:
    size = SIZES[16]
    last_of_half = size.parse("0000000200000000000000FF", "segment")
    assert size.name(last_of_half.next()) == "000000020000000100000000"
    assert last_of_half.next().previous() == last_of_half
    with pytest.raises(ValueError, match="before the first"):
        Segment(1, 0).previous()
    with pytest.raises(ValueError, match="before the first"):
        size.before(1, 0)


def test_segments_sort_as_their_names() -> None:
    segments = [Segment(1, 255), Segment(1, 256), Segment(1, 5000), Segment(2, 3), Segment(16, 0)]
    assert [SIZES[16].name(segment) for segment in segments] == sorted(SIZES[16].name(item) for item in segments)
    assert sorted(reversed(segments)) == segments


@pytest.mark.parametrize("size", [0, -16, MEGABYTE // 2, 3 * MEGABYTE, 16 * MEGABYTE + 1, 2048 * MEGABYTE])
def test_sizes_that_postgresql_has_not(size: int) -> None:
    with pytest.raises(BadOption, match="wal_segment_size"):
        SegmentSize(size)
