# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive holds along the way to a timeline."""

from __future__ import annotations

import datetime
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive, Commit, Leg, Reach
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
# 1 was left in the middle of segment 5, and 2 exactly at the beginning of segment 6: real files of PostgreSQL 16.
REAL = Timelines.from_texts({2: "1\t0/5001138\tx\n", 3: "1\t0/5001138\tx\n2\t0/6000000\ty\n"})
# 2 and 3 both began in segment 5.
SHORT = Timelines.from_texts({2: "1\t0/5001138\tx\n", 3: "1\t0/5001138\tx\n2\t0/5800000\ty\n"})


def archive(*runs: tuple[int, int, int], timelines: Timelines = REAL, commits: tuple[Commit, ...] = ()) -> Archive:
    return Archive(Coverage(Run(*run) for run in runs), timelines, SegmentSize(), commits)


@pytest.mark.parametrize(
    ("timelines", "target", "start", "legs"),
    [
        (REAL, 1, 0x3000028, [(1, 3, None)]),
        # the segment of the fork is the younger timeline's
        (REAL, 2, 0x3000028, [(1, 3, 4), (2, 5, None)]),
        (REAL, 2, 0x5000028, [(2, 5, None)]),
        (REAL, 2, 0x7000000, [(2, 7, None)]),
        # a fork on a boundary: the elder one has the segment before, the younger one the one behind
        (REAL, 3, 0x3000028, [(1, 3, 4), (2, 5, 5), (3, 6, None)]),
        (REAL, 3, 0x5FFFFFF, [(2, 5, 5), (3, 6, None)]),
        # nothing of 2 is needed
        (SHORT, 3, 0x3000028, [(1, 3, 4), (3, 5, None)]),
        # no history at all
        (REAL, 9, 0x3000028, [(9, 3, None)]),
    ],
)
def test_routes(timelines: Timelines, target: int, start: int, legs: list[tuple[int, int, Optional[int]]]) -> None:
    assert list(archive(timelines=timelines).route(target, start)) == [Leg(*leg) for leg in legs]


@pytest.mark.parametrize(
    ("target", "until", "runs"),
    [
        (1, 8, [(1, 3, 8)]),
        (3, 8, [(1, 3, 4), (2, 5, 5), (3, 6, 8)]),
        (3, 5, [(1, 3, 4), (2, 5, 5)]),
        (3, 4, [(1, 3, 4)]),
        (3, 3, [(1, 3, 3)]),
        (3, 2, []),
        (3, 10**12, [(1, 3, 4), (2, 5, 5), (3, 6, 10**12)]),
    ],
)
def test_what_is_needed(target: int, until: int, runs: list[tuple[int, int, int]]) -> None:
    assert list(archive().needed(target, 0x3000028, until)) == [Run(*run) for run in runs]


@pytest.mark.parametrize(
    ("runs", "target", "last", "gap"),
    [
        ([(1, 1, 8)], 1, (1, 8), None),
        ([(1, 3, 8)], 1, (1, 8), None),
        ([(1, 4, 8)], 1, None, (1, 3, 3)),
        ([], 1, None, (1, 3, 3)),
        ([(1, 1, 2)], 1, None, (1, 3, 3)),
        ([(1, 1, 4), (1, 7, 8)], 1, (1, 4), (1, 5, 6)),
        ([(1, 1, 8), (2, 5, 5), (3, 6, 9)], 3, (3, 9), None),
        # PostgreSQL would take segment 5 of timeline 1 here, and replay the wrong past
        ([(1, 1, 8), (3, 6, 9)], 3, (1, 4), (2, 5, 5)),
        ([(1, 1, 8), (2, 5, 5)], 3, (2, 5), (3, 6, 6)),
        ([(1, 1, 8), (2, 5, 5), (3, 7, 9)], 3, (2, 5), (3, 6, 6)),
        ([(1, 1, 3), (2, 5, 5), (3, 6, 9)], 3, (1, 3), (1, 4, 4)),
        ([(1, 1, 4), (2, 5, 5), (3, 6, 7), (3, 9, 9)], 3, (3, 7), (3, 8, 8)),
    ],
)
def test_how_far_it_goes_on(
    runs: list[tuple[int, int, int]],
    target: int,
    last: Optional[tuple[int, int]],
    gap: Optional[tuple[int, int, int]],
) -> None:
    expected = Reach(None if last is None else Segment(*last), None if gap is None else Run(*gap))
    assert archive(*runs).reach(target, 0x3000028) == expected


def test_what_is_missing() -> None:
    held = archive((1, 1, 3), (2, 5, 5), (3, 7, 8))
    assert held.missing(held.needed(3, 0x3000028, 9)) == (Run(1, 4, 4), Run(3, 6, 6), Run(3, 9, 9))


def test_commits_on_the_way() -> None:
    def commit(timeline: int, lsn: int) -> Commit:
        return Commit(timeline, Lsn(lsn), NOON)

    ours = [commit(1, 0x3000100), commit(1, 0x5000100), commit(2, 0x5001138), commit(3, 0x6000100)]
    others = [commit(1, 0x5001138), commit(1, 0x8000100), commit(2, 0x6000100), commit(1, 0x2000000)]
    held = archive((1, 1, 8), timelines=REAL, commits=(*reversed(ours), *others))
    assert held.commits_on(3, 0x3000000, Segment(3, 6)) == ours
    assert held.commits_on(3, 0x3000000, Segment(2, 5)) == ours[:3]
    assert held.commits_on(3, 0x3000101, Segment(1, 4)) == []


def test_the_latest_timeline_is_any_that_is_known() -> None:
    assert archive((1, 1, 8)).latest == 3
    assert archive((1, 1, 8), (7, 9, 9)).latest == 7


def test_timelines_that_postgresql_would_not_take() -> None:
    """Timeline 2 is known from the file of 3 alone: recoveries lead over it, not to it, but for its own backups."""
    held = archive(timelines=Timelines.from_texts({3: "1 0/5001138 x\n2 0/6000000 y\n"}))
    of_1 = Backup("a", 1, Lsn(0x3000028), Lsn(0x3000100), NOON)
    of_2 = Backup("b", 2, Lsn(0x5800028), Lsn(0x5800100), NOON)
    assert [held.leads_to(target, of_1) for target in (1, 2, 3)] == [True, True, True]
    assert [held.can_follow(target, of_1) for target in (1, 2, 3)] == [True, False, True]
    assert [held.can_follow(target, of_2) for target in (1, 2, 3)] == [False, True, True]
