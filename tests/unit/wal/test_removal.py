# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which WAL goes, which stays, and why."""

from __future__ import annotations

import datetime
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.removal import Needs, removals
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

SIZE = SegmentSize()
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
# 1 was left in segment 50 for 2, and in segment 30 for 3 (an older moment was restored).
HISTORIES = {2: "1 0/32001138 x\n", 3: "1 0/1E001138 y\n"}


def backup(start: int, timeline: int = 1, *, alone: bool = False, stop: Optional[int] = None) -> Backup:
    """From the middle of a segment to a bit behind, or to the end of another one."""
    begin = Lsn(start * SIZE.bytes + 0x28)
    end = Lsn(begin + 0x100) if stop is None else Lsn((stop + 1) * SIZE.bytes)
    return Backup(f"b{timeline}-{start}", timeline, begin, end, NOON, alone=alone)


def needs(*backups: Backup, texts: Optional[dict[int, str]] = None, seen: tuple[int, ...] = (1,)) -> Needs:
    timelines = Timelines.from_texts(HISTORIES if texts is None else texts, seen)
    return Needs(backups, Archive(Coverage(), timelines, SIZE))


def stays(wanted: Needs, timeline: int, numbers: range) -> list[int]:
    names = [SIZE.name(Segment(timeline, number)) for number in numbers]
    return [number for number, made in zip(numbers, removals(names, wanted)) if not made.goes]


@pytest.mark.parametrize(
    ("backups", "timeline", "first"),
    [
        ([backup(40)], 1, 40),
        ([backup(40), backup(20)], 1, 20),
        # newer than all backups: alive, perhaps
        ([backup(40), backup(20)], 2, 0),
        ([backup(40), backup(20)], 3, 0),
        # 2 is reached from both, 3 from one of them
        ([backup(40), backup(20), backup(35, 3)], 2, 20),
        ([backup(40), backup(20), backup(35, 3)], 3, 20),
        ([backup(40), backup(35, 3)], 3, 35),
        ([backup(40), backup(35, 3)], 2, 40),
        # nothing needs 1 any more: as pg_archivecleanup would
        ([backup(60, 2)], 1, 60),
        ([backup(60, 2)], 2, 60),
        ([backup(60, 2)], 3, 0),
        ([backup(60, 2), backup(35, 3)], 1, 35),
        ([backup(60, 2), backup(35, 3)], 2, 60),
        ([backup(60, 2), backup(35, 3)], 3, 35),
        ([], 1, 0),
        ([backup(60, alone=True)], 1, 0),
    ],
)
def test_from_where_on_wal_stays(backups: list[Backup], timeline: int, first: int) -> None:
    assert needs(*backups).floor(timeline).number == first
    assert stays(needs(*backups), timeline, range(100)) == list(range(first, 100))


def test_a_timeline_of_unknown_origin_stays_for_all_backups() -> None:
    wanted = needs(backup(20), backup(60, 2), texts={}, seen=(1, 2))
    assert wanted.floor(2).number == 20
    assert "where timeline 2 came from is not known" in wanted.floor(2).why


def test_backups_that_are_kept_alone_keep_their_own_wal() -> None:
    yearly, monthly = backup(10, alone=True, stop=12), backup(30, alone=True)
    wanted = needs(yearly, monthly, backup(80))
    assert stays(wanted, 1, range(100)) == [10, 11, 12, 30, *range(80, 100)]
    assert list(wanted.runs([1])) == [Run(1, 10, 12), Run(1, 30, 30), Run(1, 80, 1 << 64)]
    assert [wanted.touches(Run(1, *run)) for run in ((0, 9), (0, 10), (13, 29), (31, 79), (70, 90))] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert wanted.why(1, 11) == "the backup b1-10 itself needs it"


@pytest.mark.parametrize(("alone", "end"), [(False, 60), (True, 55)])
def test_a_backup_over_two_changes_of_timelines(alone: bool, end: int) -> None:
    """On a standby, whose primary was replaced twice meanwhile: 1 to 2 in segment 50, 2 to 4 in segment 52."""
    texts = {2: "1 0/32001138 x\n", 4: "1 0/32001138 x\n2 0/34001138 y\n"}
    standby = Backup("s", 1, Lsn(49 * SIZE.bytes), Lsn(55 * SIZE.bytes), NOON, stop_timeline=4, alone=alone)
    wanted = needs(standby, backup(80), backup(80, 2), backup(80, 4), texts=texts)
    kept = {timeline: stays(wanted, timeline, range(40, 60)) for timeline in (1, 2, 4)}
    assert {49} <= set(kept[1]) and {50, 51} <= set(kept[2]) and {52, 53, 54} <= set(kept[4])
    assert all(number >= 49 for numbers in kept.values() for number in numbers)
    assert kept[4][-1] == end - 1


@pytest.mark.parametrize(
    ("name", "goes", "why"),
    [
        ("000000010000000000000027", True, "it lies before 000000010000000000000028: the backup b1-40 begins there"),
        ("wal/0000000100000000/000000010000000000000027.zst", True, "it lies before"),
        ("000000010000000000000028", False, "the backup b1-40 begins there"),
        ("000000010000000000000029.gz", False, "and all that follows stays"),
        ("000000010000000000000027.partial", True, "it lies before"),
        ("000000010000000000000027.00000028.backup", True, "it lies before"),
        ("000000010000000000000028.00000028.backup", False, "b1-40"),
        ("00000002.history", False, "history files always stay"),
        ("000000030000000000000001", False, "timeline 3 is newer than all backups"),
        ("000000010000000000000020_delta.lz4", False, "WAL-G's own"),
        ("000000010000000000000001.tmp", False, "it is no WAL of this server"),
        ("README", False, "it is no WAL of this server"),
        ("0000000100000000000001FF", False, "it is no WAL of this server"),
    ],
)
def test_each_kind_of_file(name: str, goes: bool, why: str) -> None:
    (made,) = removals([name], needs(backup(40)))
    assert (made.name, made.goes) == (name, goes)
    assert why in made.why


def test_names_are_decided_one_by_one() -> None:
    endless = (SIZE.name(Segment(1, number)) for number in range(10**12))
    assert next(removals(endless, needs(backup(40)))).goes


@pytest.mark.parametrize("target", [1, 2, 3])
def test_what_a_kept_backup_needs_never_goes(target: int) -> None:
    """Whatever is kept with it: all on the way from it to any timeline that it leads to."""
    every = [
        backup(start, timeline)
        for timeline, starts in ((1, (10, 29, 45, 70)), (2, (51, 60)), (3, (31, 90)))
        for start in starts
    ]
    archive = Archive(Coverage(), Timelines.from_texts(HISTORIES, [1]), SIZE)
    for kept in ([one, other] for one in every for other in every):
        wanted = Needs(kept, archive)
        for one in kept:
            if archive.leads_to(target, one):
                for run in archive.needed(target, one.start_lsn, 120):
                    assert stays(wanted, run.timeline, range(run.first, run.last + 1)) == list(
                        range(run.first, run.last + 1)
                    )
