# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit says of an archive."""

from __future__ import annotations

import datetime
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.findings import Finding, audit, gaps
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import REMEMBERED, Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.removal import Needs
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

SIZE = SegmentSize()
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
SHA1 = ["c6da8d5a5d2ab5ce2b7d29d5eb4c3b8a3a6dcf5d", "0f1d2e3c4b5a69788796a5b4c3d2e1f001234567"]
# 1 was left in segment 5, 2 at the beginning of segment 9.
HISTORIES = {2: "1 0/5001138 x\n", 3: "1 0/5001138 x\n2 0/9000000 y\n"}


def name(number: int, timeline: int = 1) -> str:
    return SIZE.name(Segment(timeline, number))


def read(*runs: tuple[int, int, int], more: tuple[str, ...] = ()) -> Inventory:
    inventory = Inventory(SIZE)
    inventory.read(name(number, timeline) for timeline, first, last in runs for number in range(first, last + 1))
    inventory.read(more)
    return inventory


def histories(*timelines: int) -> tuple[str, ...]:
    return tuple(f"{timeline:08X}.history" for timeline in timelines)


def judge(inventory: Inventory, needs: Optional[Needs] = None) -> list[Finding]:
    texts = {timeline: HISTORIES[timeline] for timeline in inventory.histories if timeline in HISTORIES}
    return audit(inventory, Timelines.from_texts(texts, inventory.coverage.timelines), needs)


def codes(found: list[Finding]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(finding.level, finding.code, finding.names) for finding in found if finding.level != "fine"]


def test_nothing_is_wrong() -> None:
    found = judge(read((1, 1, 8), (2, 5, 8), (3, 9, 300), more=histories(2, 3)))
    assert [(finding.level, finding.code) for finding in found] == [("fine", "contiguous")] * 3
    assert found[0].text == f"Timeline 1: 8 segments from {name(1)} to {name(8)}, without a gap."


def test_an_empty_archive() -> None:
    assert codes(judge(read())) == [("warning", "empty", ())]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(1, 1, 3), (1, 6, 8)], [(1, 4, 5)]),
        ([(1, 40, 50)], []),  # an archive begins somewhere
        ([(1, 1, 4), (2, 5, 8), (3, 9, 9)], []),
        ([(1, 1, 4), (2, 5, 8)], []),
        ([(1, 1, 8), (2, 5, 8), (3, 9, 9)], []),
        ([(1, 1, 3), (2, 5, 8), (3, 9, 9)], [(1, 4, 4)]),
        ([(1, 1, 3), (1, 7, 8), (2, 5, 8), (3, 9, 9)], [(1, 4, 6)]),
        ([(1, 1, 4), (2, 6, 8), (3, 9, 9)], [(2, 5, 5)]),
        ([(1, 1, 4), (2, 5, 6), (3, 9, 9)], [(2, 7, 8)]),
        ([(1, 1, 4), (2, 5, 6), (3, 11, 12)], [(2, 7, 8), (3, 9, 10)]),
        # a whole timeline
        ([(1, 1, 4), (3, 9, 9)], [(2, 5, 8)]),
        # all up to a moment was removed
        ([(2, 7, 8), (3, 9, 9)], []),
        ([(3, 11, 12)], []),
        ([(1, 6, 8), (3, 11, 12)], []),
        # the living timeline has nothing yet: not a gap, but see test_a_timeline_without_segments
        ([(1, 1, 4), (2, 5, 8)], []),
    ],
)
def test_gaps(runs: list[tuple[int, int, int]], expected: list[tuple[int, int, int]]) -> None:
    coverage = Coverage(Run(*run) for run in runs)
    assert list(gaps(Archive(coverage, Timelines.from_texts(HISTORIES), SIZE))) == [Run(*gap) for gap in expected]


def test_a_gap_on_the_way_to_the_latest_timeline_is_an_error() -> None:
    found = judge(read((1, 1, 2), (1, 4, 8), (2, 5, 8), (3, 9, 9), more=histories(2, 3)))
    assert codes(found) == [("error", "gap", (name(3),))]
    assert found[0].text.startswith(f"Missing on timeline 1: {name(3)}. No recovery gets past this")
    assert "take a new base backup now" in found[0].text


def test_a_gap_on_another_branch_is_a_warning() -> None:
    found = judge(read((1, 1, 6), (1, 8, 8), (2, 5, 8), (3, 9, 9), more=histories(2, 3)))
    assert codes(found) == [("warning", "gap", (name(7),))]
    assert "only recoveries to timeline 1 end there" in found[0].text


def test_a_gap_that_no_backup_needs_is_fine() -> None:
    inventory = read((1, 1, 2), (1, 4, 20), (1, 22, 30))
    archive = Archive(inventory.coverage, Timelines({}, [1]), SIZE)
    backup = Backup("a", 1, Lsn(0x5000028), Lsn(0x5000100), NOON)
    found = judge(inventory, Needs([backup], archive))
    assert codes(found) == [("error", "gap", (name(21),))]
    assert any("No kept backup needs that" in finding.text and finding.names == (name(3),) for finding in found)


def test_names_of_a_large_gap_are_not_all_listed() -> None:
    found = judge(read((1, 1, 2), (1, 1_000_000, 1_000_001)))
    assert len(found[0].names) == REMEMBERED
    assert "999,997 segments" in found[0].text


def test_the_worst_comes_first() -> None:
    found = judge(read((1, 1, 2), (1, 4, 8), more=("README",)))
    assert [finding.level for finding in found] == ["error", "warning"]


@pytest.mark.parametrize(
    ("runs", "files", "expected"),
    [
        # archiving was set up after the promotion: its own backups are good
        ([(2, 5, 9)], (), [("warning", "history", histories(2))]),
        ([(1, 1, 4), (2, 5, 9)], (), [("error", "history", histories(2))]),
        ([(1, 1, 4), (2, 5, 8), (3, 9, 9)], histories(3), [("error", "history", histories(2))]),
        ([(2, 5, 8), (3, 9, 9)], histories(3), [("warning", "history", histories(2))]),
    ],
)
def test_missing_history_files(
    runs: list[tuple[int, int, int]], files: tuple[str, ...], expected: list[tuple[str, str, tuple[str, ...]]]
) -> None:
    assert codes(judge(read(*runs, more=files))) == expected


def test_history_files_that_contradict_each_other() -> None:
    inventory = read((1, 1, 4), (2, 5, 8), (3, 9, 9), more=histories(2, 3))
    texts = {2: "1 0/6000000 x\n", 3: HISTORIES[3]}
    found = audit(inventory, Timelines.from_texts(texts))
    assert ("error", "conflict", histories(2, 3)) in codes(found)


def test_a_timeline_without_segments() -> None:
    found = judge(read((1, 1, 4), (2, 5, 8), more=histories(2, 3)))
    assert codes(found) == [("warning", "fork", (name(9, 3),))]
    assert "recover with timeline: 2" in found[0].text


@pytest.mark.parametrize(
    ("names", "level"),
    [
        ([name(1), f"{name(1)}.gz"], "warning"),
        ([f"{name(1)}-{SHA1[0]}", f"{name(1)}-{SHA1[0]}.gz"], "warning"),
        ([f"{name(1)}-{SHA1[0]}.gz", f"{name(1)}-{SHA1[1]}.gz"], "error"),
    ],
)
def test_duplicates(names: list[str], level: str) -> None:
    found = judge(read(more=tuple(names)))
    assert codes(found) == [(level, "duplicate", tuple(sorted(names)))]
    assert all(entry in found[0].text for entry in names)


@pytest.mark.parametrize(
    ("partial", "runs", "files", "wrong"),
    [
        (f"{name(5)}.partial", [(1, 1, 4), (2, 5, 8)], histories(2), False),  # a promotion leaves it behind
        (f"{name(5)}.partial.gz", [(1, 1, 8)], (), False),  # there completely too
        (f"{name(5)}.partial", [(1, 1, 4)], (), False),  # what pg_receivewal is receiving
        (f"{name(5)}.gz.partial", [(1, 1, 4)], (), False),
        (f"{name(7)}.partial", [(1, 1, 4)], (), True),
        (f"{name(3)}.partial", [(1, 1, 2), (1, 4, 4), (2, 5, 8)], histories(2), True),
    ],
)
def test_partial_segments(partial: str, runs: list[tuple[int, int, int]], files: tuple[str, ...], wrong: bool) -> None:
    found = codes(judge(read(*runs, more=(*files, partial))))
    assert (("warning", "partial", (partial,)) in found) is wrong


def test_foreign_files() -> None:
    listing = tuple(f"file{number:03}" for number in range(REMEMBERED + 5))
    found = judge(read((1, 1, 4), more=listing))
    assert codes(found) == [("warning", "foreign", listing[:REMEMBERED])]
    assert found[0].text.startswith("100 or more files are no WAL of 16 MB segments: file000, file001")
