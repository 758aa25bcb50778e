# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines. The history files marked real were written by PostgreSQL 16, after recoveries in the lab."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import (
    Stage,
    Switch,
    Timelines,
    parse_history,
)

# Real: a recovery to an LSN in the middle of segment 5, then one to the end of timeline 2, which was switched at 0/6000000.
SECOND = "1\t0/5001138\tafter LSN 0/50010D0\n\n"
THIRD = "1\t0/5001138\tafter LSN 0/50010D0\n\n\n2\t0/6000000\tno recovery target specified\n"


def at(text: str) -> Lsn:
    return Lsn.parse(text, "lsn")


@pytest.mark.parametrize(
    ("text", "timeline", "expected"),
    [
        (SECOND, 2, [(1, "0/5001138", "after LSN 0/50010D0")]),
        (THIRD, 3, [(1, "0/5001138", "after LSN 0/50010D0"), (2, "0/6000000", "no recovery target specified")]),
        ("1\t0/0A000000\tno recovery target specified\n", 2, [(1, "0/A000000", "no recovery target specified")]),
        ("# a comment\n\n   \n  1 16/B374D848\n", 7, [(1, "16/B374D848", "")]),
        ('1\t0/3\tat restore point "a\tb"\r\n', 2, [(1, "0/3", 'at restore point "a\tb"')]),
        # promoted twice without anything between
        ("1\t0/5000000\tx\n2\t0/5000000\ty\n", 3, [(1, "0/5000000", "x"), (2, "0/5000000", "y")]),
        # 3 was given to somebody else
        ("1\t0/5000000\tx\n2\t0/6000000\ty\n", 4, [(1, "0/5000000", "x"), (2, "0/6000000", "y")]),
    ],
)
def test_history_files(text: str, timeline: int, expected: list[tuple[int, str, str]]) -> None:
    assert list(parse_history(text, timeline)) == [Switch(number, at(lsn), reason) for number, lsn, reason in expected]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no line in it"),
        ("# nothing\n\n", "there is no line in it"),
        ("\0\0\0\0", "is not a timeline, a position and a reason"),
        ("one\t0/5\tx\n", "line 1 .* is not a timeline"),
        ("1\n", "line 1 .* is not a timeline"),
        ("1\t000000010000000000000005\tbefore 9.3\n", "has no position like"),
        ("1\t0/5\tx\n\n5 0x\n", "line 3 .* has no position like"),
        ("3\t0/5\tx\n", "line 1: timelines must rise, and stay below 3"),
        ("0\t0/5\tx\n", "line 1: timelines must rise"),
        ("2\t0/5\tx\n1\t0/6\ty\n", "line 2: timelines must rise"),
        ("1\t0/6\tx\n2\t0/5\ty\n", "line 2: the position 0/5 lies before the one above it"),
    ],
)
def test_damaged_history_files(text: str, problem: str) -> None:
    with pytest.raises(WalError, match=problem) as caught:
        parse_history(text, 3)
    assert str(caught.value).startswith("00000003.history in the WAL archive is damaged")
    assert "put it back" in str(caught.value)


def tree(*seen: int) -> Timelines:
    """1 ─┬─ 2 (at 500) ─┬─ 3 (at 600) ── 5 (at 700)
    │              └─ 4 (at 800)
    └─ 6 (at 300)"""
    return Timelines.from_texts(
        {
            2: "1 0/500 a\n",
            3: "1 0/500 a\n2 0/600 b\n",
            4: "1 0/500 a\n2 0/800 c\n",
            5: "1 0/500 a\n2 0/600 b\n3 0/700 d\n",
            6: "1 0/300 e\n",
        },
        seen,
    )


def test_the_way_to_a_timeline() -> None:
    assert tree().ancestry(1) == (Stage(1, Lsn(0), None),)
    assert tree().ancestry(5) == (
        Stage(1, Lsn(0), Lsn(0x500)),
        Stage(2, Lsn(0x500), Lsn(0x600)),
        Stage(3, Lsn(0x600), Lsn(0x700)),
        Stage(5, Lsn(0x700), None),
    )
    assert tree().forked_at(5, 2) == Lsn(0x600)
    assert tree().forked_at(4, 2) == Lsn(0x800)
    assert tree().forked_at(4, 4) is None and tree().forked_at(4, 3) is None


@pytest.mark.parametrize(
    ("target", "lsn", "owner"),
    [
        (5, 0x0, 1),
        (5, 0x4FF, 1),
        # the byte at the switch is the new timeline's
        (5, 0x500, 2),
        (5, 0x5FF, 2),
        (5, 0x600, 3),
        (5, 0x700, 5),
        (5, 0xFFFFFF, 5),
        (4, 0x7FF, 2),
        (6, 0x2FF, 1),
        (6, 0x300, 6),
        (1, 0xFFFFFF, 1),
        (9, 0x300, 9),
    ],
)
def test_whose_a_position_is(target: int, lsn: int, owner: int) -> None:
    assert tree().owner(target, lsn) == owner


@pytest.mark.parametrize(
    ("target", "timeline", "start", "stop", "stop_timeline", "leads"),
    [
        (1, 1, 0x400, 0x480, None, True),
        (5, 1, 0x400, 0x480, None, True),
        (5, 1, 0x400, 0x500, None, True),  # it ended exactly at the fork
        (5, 1, 0x400, 0x501, None, False),
        (6, 1, 0x400, 0x480, None, False),  # 6 had forked off before it began
        (6, 1, 0x280, 0x480, None, False),  # and while it ran
        (1, 1, 0x500, 0x580, None, True),  # the old timeline went on
        (2, 1, 0x500, 0x580, None, False),
        (2, 2, 0x500, 0x580, None, True),
        (5, 2, 0x500, 0x600, None, True),
        (5, 2, 0x580, 0x601, None, False),
        (4, 2, 0x580, 0x601, None, True),
        (4, 3, 0x600, 0x680, None, False),
        (3, 5, 0x700, 0x780, None, False),
        (9, 9, 0x700, 0x780, None, True),
        # from a standby, whose primary was replaced while it ran
        (5, 1, 0x400, 0x580, 2, True),
        (6, 1, 0x400, 0x580, 2, False),
        (1, 1, 0x400, 0x580, 2, False),
        (5, 1, 0x400, 0x480, 2, False),
    ],
)
def test_whether_a_recovery_can_begin_with_a_backup(
    target: int, timeline: int, start: int, stop: int, stop_timeline: Optional[int], leads: bool
) -> None:
    assert tree().leads_to(target, timeline, start, stop, stop_timeline) is leads


def test_the_latest_timeline() -> None:
    assert Timelines({}).latest == 1
    assert tree().latest == 6
    assert tree(9).latest == 9 and tree(9).known[-1] == 9


def test_a_missing_file_is_made_up_from_those_of_descendants() -> None:
    timelines = Timelines.from_texts({5: "1 0/500 a\n2 0/600 b\n3 0/700 d\n"}, [4])
    assert timelines.ancestry(3) == tree().ancestry(3)
    assert timelines.ancestry(2) == tree().ancestry(2)
    assert timelines.known == (1, 2, 3, 4, 5)
    assert [timelines.has_history(timeline) for timeline in timelines.known] == [True, False, False, False, True]
    # nothing tells of 4: as PostgreSQL, which then takes it to have no ancestors
    assert timelines.ancestry(4) == (Stage(4, Lsn(0), None),)


def test_files_that_contradict_each_other() -> None:
    assert tree().conflicts() == ()
    texts = {2: "1 0/500 a\n", 3: "1 0/500 other words\n2 0/600 b\n"}
    assert Timelines.from_texts(texts).conflicts() == ()
    # two servers were both promoted to 2
    assert Timelines.from_texts({**texts, 3: "1 0/480 a\n2 0/600 b\n"}).conflicts() == ((2, 3),)
    assert Timelines.from_texts({3: "1 0/500 a\n", 4: "1 0/500 a\n2 0/600 b\n3 0/700 c\n"}).conflicts() == ((3, 4),)


def test_real_files_agree() -> None:
    timelines = Timelines.from_texts({2: SECOND, 3: THIRD})
    assert timelines.conflicts() == ()
    assert [stage.timeline for stage in timelines.ancestry(3)] == [1, 2, 3]
