# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the names of an archive say: layouts of engines, what should not be there, state between audits, a million names."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import (
    REMEMBERED,
    Inventory,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize

SIZE = SegmentSize()
SHA1 = ["c6da8d5a5d2ab5ce2b7d29d5eb4c3b8a3a6dcf5d", "0f1d2e3c4b5a69788796a5b4c3d2e1f001234567"]


def name(number: int, timeline: int = 1) -> str:
    return SIZE.name(Segment(timeline, number))


def names(first: int, last: int, timeline: int = 1) -> list[str]:
    return [name(number, timeline) for number in range(first, last + 1)]


def read(*listings: list[str]) -> Inventory:
    inventory = Inventory(SIZE)
    for listing in listings:
        assert inventory.read(iter(listing)) == len(listing)
    return inventory


def runs(inventory: Inventory) -> list[tuple[int, int, int]]:
    return [(run.timeline, run.first, run.last) for run in inventory.coverage.runs()]


@pytest.mark.parametrize(
    "listing",
    [
        names(250, 260),
        [f"{entry}.gz" for entry in names(250, 260)],
        [f"base/wal/{entry[:16]}/{entry}-{SHA1[0]}.zst" for entry in names(250, 260)],
        [f"wal_005/{entry}.lz4" for entry in names(250, 260)],
        # listed twice, and backwards
        names(250, 258) + names(256, 260),
        names(250, 260)[::-1],
        # folders in no order
        [*names(256, 260), *names(250, 255)],
    ],
    ids=["plain", "gz", "pgbackrest", "wal-g", "overlap", "backwards", "folders"],
)
def test_layouts(listing: list[str]) -> None:
    inventory = read(listing)
    assert runs(inventory) == [(1, 250, 260)]
    assert (inventory.duplicates, inventory.foreign, inventory.partials) == ({}, set(), {})


def test_everything_that_an_archive_may_hold() -> None:
    inventory = read(
        [
            "0000000100000000/",
            *names(1, 2),
            f"{name(2)}.00000028.backup",
            f"{name(3)}.gz",
            f"{name(3)}.zst",
            name(5),
            f"{name(6)}.partial",
            "00000002.history.gz",
            *names(6, 8, timeline=2),
            f"{name(0, timeline=2)}_delta.lz4",
            "README",
        ]
    )
    assert runs(inventory) == [(1, 1, 3), (1, 5, 5), (2, 6, 8)]
    assert inventory.histories == {2: "00000002.history.gz"}
    assert inventory.partials == {f"{name(6)}.partial": Segment(1, 6)}
    assert inventory.duplicates == {name(3): [f"{name(3)}.gz", f"{name(3)}.zst"]}
    assert inventory.foreign == {"0000000100000000/", "README"}


@pytest.mark.parametrize(
    ("listings", "duplicates"),
    [
        ([[name(1), name(1)]], {}),
        ([[name(1), name(2)], [name(1), name(2)]], {}),
        ([[name(1), f"{name(1)}.gz"]], {name(1): [name(1), f"{name(1)}.gz"]}),
        ([[f"{name(1)}-{sha1}.gz" for sha1 in SHA1]], {name(1): sorted(f"{name(1)}-{sha1}.gz" for sha1 in SHA1)}),
        # what belongs to a segment stands between its names
        ([[name(1), f"{name(1)}.00000028.backup", f"{name(1)}.gz"]], {name(1): [name(1), f"{name(1)}.gz"]}),
        # the second one came after the first audit, which the next one's listing begins with
        ([[name(1)], [name(1), f"{name(1)}.gz", name(2)]], {name(1): [name(1), f"{name(1)}.gz"]}),
        ([[name(1), f"{name(1)}.gz"], [name(1), f"{name(1)}.gz"]], {name(1): [name(1), f"{name(1)}.gz"]}),
        ([[f"a/{name(1)}", f"b/{name(1)}"]], {name(1): [f"a/{name(1)}", f"b/{name(1)}"]}),
        # the same segment of two timelines is none
        ([[name(1), name(1, 2)]], {}),
    ],
)
def test_duplicates(listings: list[list[str]], duplicates: dict[str, list[str]]) -> None:
    assert read(*listings).duplicates == duplicates


def million(size: SegmentSize) -> Iterator[str]:
    """As pgBackRest keeps them: two gaps, a duplicate, two timelines, and things that should not be there."""
    for timeline, first, last in ((1, 1, 599_999), (2, 599_999, 1_000_001)):
        for number in range(first, last + 1):
            entry = size.name(Segment(timeline, number))
            if number not in (1000, 700_000):
                yield f"archive/main/15-1/{entry[:16]}/{entry}-{SHA1[0]}.zst"
            if number == 500_000:
                yield f"archive/main/15-1/{entry[:16]}/{entry}-{SHA1[1]}.zst"
            if number % 100_000 == 0:
                yield f"archive/main/15-1/{entry[:16]}/{entry}.00000028.backup"
                yield f"archive/main/15-1/{entry[:16]}/{entry}.pgbackrest.tmp"
    yield "archive/main/15-1/00000002.history"


def test_a_million_names_take_no_memory() -> None:
    """Traced for the last tenth only: tracing is slow, and memory that grows does so there too."""
    inventory = Inventory(SIZE)
    listing = million(SIZE)
    count = inventory.read(itertools.islice(listing, 900_000))
    tracemalloc.start()
    try:
        count += inventory.read(listing)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 1_000_022
    assert runs(inventory) == [(1, 1, 999), (1, 1001, 599_999), (2, 599_999, 699_999), (2, 700_001, 1_000_001)]
    assert list(inventory.duplicates) == [name(500_000)]
    assert inventory.histories == {2: "archive/main/15-1/00000002.history"}
    assert len(inventory.foreign) == 10
    assert peak < 64 * 1024


def test_what_should_not_be_there_takes_no_memory_either() -> None:
    inventory = Inventory(SIZE)
    tracemalloc.start()
    try:
        for number in range(1, 10_000):
            entry = name(number)
            inventory.read([entry, f"{entry}.gz", f"{entry}.partial", f"{entry}.tmp"])
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {len(inventory.duplicates), len(inventory.partials), len(inventory.foreign)} == {REMEMBERED}
    assert runs(inventory) == [(1, 1, 9_999)]
    assert peak < 256 * 1024
