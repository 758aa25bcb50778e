# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of segments."""

from __future__ import annotations

import random

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize


def of(*numbers: int, timeline: int = 1) -> Coverage:
    coverage = Coverage()
    for number in numbers:
        coverage.add(timeline, number)
    return coverage


@pytest.mark.parametrize(
    ("numbers", "runs", "gaps"),
    [
        ([], [], []),
        ([7], [(7, 7)], []),
        ([1, 2, 3], [(1, 3)], []),
        ([3, 2, 1], [(1, 3)], []),
        ([1, 2, 4, 5, 9], [(1, 2), (4, 5), (9, 9)], [(3, 3), (6, 8)]),
        ([9, 5, 4, 2, 1], [(1, 2), (4, 5), (9, 9)], [(3, 3), (6, 8)]),
        ([1, 3, 2], [(1, 3)], []),
        ([1, 3, 5, 4, 2, 3, 3], [(1, 5)], []),
        ([5, 1, 0], [(0, 1), (5, 5)], [(2, 4)]),
    ],
)
def test_runs(numbers: list[int], runs: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> None:
    coverage = of(*numbers)
    assert list(coverage.runs()) == [Run(1, *run) for run in runs]
    assert list(coverage.gaps(1)) == [Run(1, *gap) for gap in gaps]
    assert coverage == Coverage(Run(1, *run) for run in reversed(runs))


def test_whether_a_segment_is_new() -> None:
    coverage = of(1, 2, 3, 9)
    assert [coverage.add(1, number) for number in (2, 9, 4, 4, 8)] == [False, False, True, False, True]
    assert coverage.add(2, 2)
    assert coverage.timelines == (1, 2)


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ((1, 12), [(1, 1), (5, 6), (10, 12)]),
        ((2, 9), [(5, 6)]),
        ((3, 4), []),
        ((4, 7), [(5, 6)]),
        ((5, 5), [(5, 5)]),
        ((5, 7), [(5, 6)]),
        ((11, 11), [(11, 11)]),
        ((0, 1), [(0, 1)]),
        ((0, 2), [(0, 1)]),
    ],
)
def test_what_is_missing(wanted: tuple[int, int], missing: list[tuple[int, int]]) -> None:
    coverage = of(2, 3, 4, 7, 8, 9)
    assert list(coverage.missing(Run(1, *wanted))) == [Run(1, *gap) for gap in missing]
    assert list(coverage.missing(Run(2, *wanted))) == [Run(2, *wanted)]


def test_the_ends_of_a_timeline() -> None:
    coverage = of(3, 4, 8)
    assert (coverage.first(1), coverage.last(1)) == (3, 8)
    assert (coverage.first(2), coverage.last(2), list(coverage.gaps(2))) == (None, None, [])
    assert [Segment(1, number) in coverage for number in (2, 3, 4, 5, 8, 9)] == [False, True, True, False, True, False]


def test_overlapping_runs_become_one() -> None:
    given = [Run(1, 4, 6), Run(1, 1, 3), Run(1, 5, 5), Run(2, 7, 7), Run(1, 9, 9)]
    assert list(Coverage(given).runs()) == [Run(1, 1, 6), Run(1, 9, 9), Run(2, 7, 7)]


@pytest.mark.parametrize("seed", range(50))
def test_against_a_set(seed: int) -> None:
    dice = random.Random(seed)
    coverage, numbers = Coverage(), set()
    for _step in range(300):
        number = dice.randrange(120)
        assert coverage.add(1, number) is (number not in numbers)
        numbers.add(number)
        first = dice.randrange(125)
        wanted = Run(1, first, first + dice.randrange(40))
        missing = {number for gap in coverage.missing(wanted) for number in range(gap.first, gap.last + 1)}
        assert missing == set(range(wanted.first, wanted.last + 1)) - numbers
    runs = list(coverage.runs())
    assert {number for run in runs for number in range(run.first, run.last + 1)} == numbers
    assert all(one.last + 1 < other.first for one, other in zip(runs, runs[1:]))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run(1, 3, 3), "000000010000000000000003"),
        (Run(2, 255, 256), "2 segments from 0000000200000000000000FF to 000000020000000100000000"),
        (Run(1, 1, 2000), "2,000 segments from 000000010000000000000001 to 0000000100000007000000D0"),
    ],
)
def test_words(run: Run, words: str) -> None:
    assert run.describe(SegmentSize()) == words
