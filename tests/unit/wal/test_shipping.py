# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shipped, in which order, and what may leave the directory then."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.shipping import (
    Finished,
    Lag,
    finished,
    gaps,
    lag,
    leaving,
)

SIZE = SegmentSize()


def name(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{0:08X}{number:08X}"


def of(*names: str) -> list[Finished]:
    return finished(names, SIZE)


@pytest.mark.parametrize(
    ("there", "plain"),
    [
        (name(3), name(3)),
        (f"{name(3)}.gz", name(3)),
        (f"{name(3)}.zst", name(3)),
        ("00000002.history", "00000002.history"),
        ("00000002.history.lz4", "00000002.history"),
        (f"{name(3)}.00000028.backup", f"{name(3)}.00000028.backup"),
        (f"{name(3)}.partial.zst", f"{name(3)}.partial"),
        (f"{name(3)}.partial", None),  # pg_receivewal's, unfinished
        (f"{name(3)}.gz.partial", None),
        (f"{name(3)}.lz4.partial", None),
        (f"{name(3)}.zst.gpg", None),  # somebody's own
        (f"{name(3)}.bz2", None),
        (f"{name(3)}.tmp", None),
        ("00000002.history.tmp", None),
        (".server.json", None),
        ("README", None),
        (f"{name(3)}-{'a' * 40}.gz", None),  # pgBackRest's
    ],
)
def test_what_is_finished(there: str, plain: str | None) -> None:
    assert [item.plain for item in of(there)] == ([plain] if plain else [])


def test_the_order() -> None:
    """By timeline, its history first, so that nobody sees a timeline's segments without where it came from."""
    names = [name(5), name(4, 2), f"{name(4)}.gz", "00000002.history", name(3), f"{name(4)}.00000028.backup"]
    order = [item.name for item in of(*names)]
    assert order == [name(3), f"{name(4)}.00000028.backup", f"{name(4)}.gz", name(5), "00000002.history", name(4, 2)]


@pytest.mark.parametrize(
    ("names", "lacking", "keep", "gone"),
    [
        ([name(n) for n in range(3, 8)], [], 2, [3, 4, 5]),
        ([name(n) for n in range(3, 8)], [], 0, [3, 4, 5, 6]),  # one stays: pg_receivewal goes on behind it
        ([name(n) for n in range(3, 8)], [name(5)], 1, [3, 4]),  # nothing leaves behind a gap in some store
        ([name(n) for n in range(3, 5)], [], 5, []),
        ([], [], 1, []),
    ],
)
def test_what_leaves(names: list[str], lacking: list[str], keep: int, gone: list[int]) -> None:
    files = of(*names)
    assert [item.name for item in leaving(files, set(names) - set(lacking), keep)] == [name(number) for number in gone]


def test_what_stays_after_a_switch_of_timelines() -> None:
    """pg_receivewal takes the highest position for the newest, names sort by timeline first: what either means stays. So do histories."""
    names = [name(8), name(9), name(10), "00000002.history", name(6, 2), name(7, 2)]
    gone = [item.name for item in leaving(of(*names), set(names), 1)]
    assert gone == [name(8), name(9), name(6, 2)]


def test_notes_of_backups_leave_with_their_segments() -> None:
    names = [name(3), f"{name(3)}.00000028.backup", name(4), f"{name(4)}.00000028.backup"]
    assert {item.name for item in leaving(of(*names), set(names), 1)} == set(names[:2])


def test_gaps() -> None:
    """Only those right before what is here: an old one, behind a base backup, is no news."""
    there = Coverage([Run(1, 3, 5), Run(1, 8, 9)])
    assert gaps(of(name(10), name(11)), there) == []
    assert gaps(of(name(12), name(15)), there) == [Run(1, 10, 11), Run(1, 13, 14)]
    assert gaps(of(name(12, 2)), there) == []


def test_lag() -> None:
    files = of(name(3), name(4), "00000002.history")
    times = {name(3): 100.0, name(4): 160.0, "00000002.history": 1.0}
    assert lag(files, set(), times, 200.0) == Lag(2, 100.0)
    assert lag(files, {name(3)}, times, 200.0) == Lag(1, 40.0)
    assert lag(files, {name(3), name(4)}, times, 200.0) == Lag(0, 0.0)
