# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a recovery begins with, and when there is none. What PostgreSQL does in the same place was tried out with 15, 16 and 18."""

from __future__ import annotations

import datetime
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive, Commit
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.choose import Choice, choose, rival
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

SIZE = SegmentSize()
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
# 1 was left in the middle of segment 50, 2 at the beginning of segment 80.
HISTORIES = {2: "1 0/32001138 x\n", 3: "1 0/32001138 x\n2 0/50000000 y\n"}
Runs = list[tuple[int, int, int]]
WHOLE: Runs = [(1, 5, 60), (2, 50, 79), (3, 80, 99)]
ONE: Runs = [(1, 5, 60)]


def at(number: float) -> datetime.datetime:
    """A minute for each segment."""
    return NOON + datetime.timedelta(minutes=number)


def written(number: float) -> str:
    return at(number).isoformat()


def lsn(number: float) -> str:
    return str(Lsn(int(number * SIZE.bytes)))


def backup(number: int, timeline: int = 1, **more: Any) -> Backup:
    """In the middle of a segment."""
    start = Lsn(number * SIZE.bytes + 0x28)
    return Backup(f"b{number}", timeline, start, Lsn(start + 0x100), at(number), **more)


def commit(number: float, timeline: int = 1, last: bool = False) -> Commit:
    return Commit(timeline, Lsn(int(number * SIZE.bytes)), at(number), last)


def archive(runs: Runs, *commits: Commit, histories: tuple[int, ...] = (2, 3)) -> Archive:
    texts = {timeline: HISTORIES[timeline] for timeline in histories}
    seen = [timeline for timeline, _first, _last in runs]
    return Archive(Coverage(Run(*run) for run in runs), Timelines.from_texts(texts, seen), SIZE, commits)


def plan(option: dict[str, Any], backups: list[Backup], held: Archive, position: Optional[str] = None) -> Choice:
    at_lsn = None if position is None else Lsn.parse(position, "at")
    return choose(Target.from_option(option), backups, held, at_lsn)


def short(choice: Choice) -> tuple[str, str, Runs]:
    return choice.backup.id, choice.target_timeline, [(run.timeline, run.first, run.last) for run in choice.runs]


ON_ONE = [backup(10), backup(20), backup(40)]
ON_ALL = [*ON_ONE, backup(55), backup(60, 2), backup(90, 3)]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({}, ("b40", "1", [(1, 40, 60)])),
        ({"immediate": True}, ("b40", "1", [(1, 40, 40)])),
        ({"lsn": lsn(30)}, ("b20", "1", [(1, 20, 30)])),
        # a record that begins exactly there must be read, so the segment behind the boundary is needed
        ({"lsn": str(Lsn(30 * SIZE.bytes - 1))}, ("b20", "1", [(1, 20, 29)])),
        ({"lsn": str(ON_ONE[1].stop_lsn)}, ("b20", "1", [(1, 20, 20)])),
        ({"lsn": str(Lsn(ON_ONE[1].stop_lsn - 1))}, ("b10", "1", [(1, 10, 20)])),
        ({"lsn": str(Lsn(61 * SIZE.bytes - 1))}, ("b40", "1", [(1, 40, 60)])),
        # up to the first commit behind it, which the recovery needs to know that it is there
        ({"time": written(30)}, ("b20", "1", [(1, 20, 45)])),
        ({"time": written(20.1)}, ("b20", "1", [(1, 20, 25)])),
        ({"time": written(20)}, ("b10", "1", [(1, 10, 25)])),
        ({"time": written(54.9)}, ("b40", "1", [(1, 40, 55)])),
        ({"time": written(55), "inclusive": False}, ("b40", "1", [(1, 40, 55)])),
        ({"timeline": "current"}, ("b40", "1", [(1, 40, 60)])),
        ({"timeline": 1, "lsn": lsn(15)}, ("b10", "1", [(1, 10, 15)])),
    ],
)
def test_one_timeline(option: dict[str, Any], expected: tuple[str, str, Runs]) -> None:
    held = archive(ONE, commit(25), commit(45), commit(55, last=True), histories=())
    choice = plan(option, ON_ONE[::-1], held)
    assert short(choice) == expected
    assert choice.notes == ()


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({}, ("b90", "3", [(3, 90, 99)])),
        ({"timeline": 3}, ("b90", "3", [(3, 90, 99)])),
        ({"timeline": 2}, ("b60", "2", [(2, 60, 79)])),
        # the newest of timeline 1 is b55, later than the fork
        ({"timeline": 1}, ("b55", "1", [(1, 55, 60)])),
        ({"timeline": "current"}, ("b90", "3", [(3, 90, 99)])),
        ({"lsn": lsn(58)}, ("b40", "3", [(1, 40, 49), (2, 50, 58)])),
        ({"lsn": lsn(58), "timeline": 1}, ("b55", "1", [(1, 55, 58)])),
        ({"lsn": lsn(58), "timeline": "current"}, ("b55", "1", [(1, 55, 58)])),
        ({"lsn": lsn(85)}, ("b60", "3", [(2, 60, 79), (3, 80, 85)])),
        ({"time": written(57.5)}, ("b40", "3", [(1, 40, 49), (2, 50, 70)])),
        ({"time": written(57.5), "timeline": 1}, ("b55", "1", [(1, 55, 58)])),
        ({"immediate": True, "timeline": 2}, ("b60", "2", [(2, 60, 60)])),
        # before the fork: the way to the latest timeline leads over it, and so does its segment
        ({"lsn": str(Lsn(50 * SIZE.bytes + 5))}, ("b40", "3", [(1, 40, 49), (2, 50, 50)])),
    ],
)
def test_three_timelines(option: dict[str, Any], expected: tuple[str, str, Runs]) -> None:
    choice = plan(option, ON_ALL, archive(WHOLE, commit(58), commit(70, 2), commit(95, 3)))
    assert short(choice) == expected


@pytest.mark.parametrize(
    ("option", "warned"),
    [
        ({"lsn": lsn(45)}, False),
        ({"lsn": lsn(52)}, True),
        ({"lsn": lsn(52), "timeline": 3}, False),
        ({"time": written(44)}, False),
        ({"time": written(57)}, True),
        ({"lsn": lsn(85)}, False),
        ({}, False),
    ],
)
def test_a_moment_that_may_lie_on_another_branch(option: dict[str, Any], warned: bool) -> None:
    """Timeline 1 went on after 2 had left it: what happened there at that time is not on the way to the latest."""
    choice = plan(option, ON_ALL, archive(WHOLE, commit(45), commit(70, 2), commit(95, 3)))
    note = "Timeline 1 went on after 0/32001138, where the way to timeline 3 leaves it."
    assert any(text.startswith(note) and text.endswith("set timeline: 1.") for text in choice.notes) is warned


@pytest.mark.parametrize(
    ("option", "commits", "named"),
    [
        # the elder one ended before the younger one's last transaction: a recovery, and its life since
        ({}, [commit(52), commit(58), commit(70, 2), commit(95, 3)], None),
        # the elder one lives on: a copy has archived here
        ({}, [commit(98), commit(70, 2), commit(95, 3)], 1),
        ({}, [commit(58)], 1),
        ({}, [commit(58), commit(78, 2)], None),
        ({}, [commit(58), commit(88, 2)], 1),
        ({}, [commit(45), commit(88, 2)], 2),
        ({"timeline": 3}, [commit(98)], None),
        ({"timeline": 1}, [commit(98)], None),
        ({"time": written(96)}, [commit(98), commit(97, 3)], 1),
        ({"time": written(56)}, [commit(57), commit(70, 2), commit(97, 3)], None),
        ({"lsn": lsn(85)}, [commit(98), commit(95, 3)], 1),
        ({"lsn": lsn(45)}, [commit(98), commit(95, 3)], None),
        ({"immediate": True}, [commit(98), commit(95, 3)], None),
        ({}, [], None),
    ],
)
def test_two_servers_that_went_on(option: dict[str, Any], commits: list[Commit], named: Optional[int]) -> None:
    held = archive(WHOLE, *commits)
    target = Target.from_option(option)
    choice = plan(option, [backup(40)], held)
    found = rival(target, choice, held, None)
    assert (found is None) if named is None else (found is not None and f"timeline: {named}}}, or" in found)


def test_before_the_fork_nobody_is_a_rival() -> None:
    held = archive(WHOLE, commit(98), commit(95, 3))
    target = Target.from_option({"time": written(45)})
    choice = plan({"time": written(45)}, [backup(40)], held)
    assert rival(target, choice, held, Lsn(45 * SIZE.bytes)) is None and rival(target, choice, held, None) is not None


def test_why() -> None:
    choice = plan({"lsn": lsn(15)}, ON_ALL, archive(WHOLE))
    assert (
        choice.why
        == f"it is the newest backup that ended before the position {lsn(15)}, and the WAL from there is complete"
    )
    assert [backup_id for backup_id, _why in choice.passed_over] == ["b90", "b60", "b55", "b40", "b20"]
    assert (
        choice.passed_over[-1][1] == f"it ended at 2026-11-21T12:20:00Z ({ON_ONE[1].stop_lsn}), not before the target"
    )


@pytest.mark.parametrize(
    ("option", "runs", "expected"),
    [
        # the newest backup stands on a gap: the one before it will do
        ({"immediate": True}, [(1, 5, 39), (1, 41, 60)], ("b20", "1", [(1, 20, 20)])),
        ({"lsn": lsn(38)}, [(1, 5, 39), (1, 41, 60)], ("b20", "1", [(1, 20, 38)])),
        # what is missing lies behind the target, or before the backup
        ({"lsn": lsn(30)}, [(1, 20, 30)], ("b20", "1", [(1, 20, 30)])),
        ({"time": written(24)}, [(1, 20, 25)], ("b20", "1", [(1, 20, 25)])),
        ({}, [(1, 5, 30), (1, 40, 60)], ("b40", "1", [(1, 40, 60)])),
    ],
)
def test_gaps_that_do_not_matter(option: dict[str, Any], runs: Runs, expected: tuple[str, str, Runs]) -> None:
    assert short(plan(option, ON_ONE, archive(runs, commit(25), histories=()))) == expected


@pytest.mark.parametrize(
    ("option", "runs", "problem"),
    [
        ({}, [(1, 5, 50), (1, 52, 60)], "the archive has not 000000010000000000000033"),
        ({"lsn": lsn(55)}, [(1, 5, 50), (1, 52, 60)], "the archive has not 000000010000000000000033"),
        # a recovery to a time stops at the first commit behind it: is there one before the gap? Nobody knows
        (
            {"time": written(46)},
            [(1, 5, 50), (1, 52, 60)],
            "33, and before that no commit after the target is known, the newest is of",
        ),
        ({"time": written(46)}, [(1, 52, 60)], "and before that no commit after the target is known$"),
        ({"lsn": lsn(61)}, ONE, "timeline 1 ends with 00000001000000000000003C there"),
        ({"lsn": lsn(5)}, ONE, "b10: it ended at 2026-11-21T12:10:00Z .*, not before the target"),
        ({"time": written(1)}, ONE, "b10: it ended at 2026-11-21T12:10:00Z .*, not before the target"),
        ({"time": written(56)}, ONE, "the last archived commit is of 2026-11-21T12:55:00Z"),
        # the commit itself is the last: after it the recovery would go on, and fail
        ({"time": written(55)}, ONE, "the last archived commit is of 2026-11-21T12:55:00Z"),
        (
            {"timeline": 7},
            ONE,
            "b40, b20, b10: there is no 00000007.history in the archive, so nothing leads to timeline 7",
        ),
        ({}, [], "the archive has not 000000010000000000000028"),
    ],
)
def test_refusals_name_what_can_be_reached(option: dict[str, Any], runs: Runs, problem: str) -> None:
    held = archive(runs, commit(45), commit(55, last=True), histories=())
    with pytest.raises(WalError, match=problem.rstrip("$")) as caught:
        plan(option, ON_ONE, held)
    text = str(caught.value)
    assert text.startswith(f"No backup can be recovered to {Target.from_option(option).describe()}. ")
    reachable = "from 2026-11-21T12:" if runs and runs[0][1] < 40 else "nothing."
    assert f"Nothing was touched. What can be reached: On timeline 1: {reachable}" in text
    assert not problem.endswith("$") or problem.rstrip("$") + "." in text


def test_now_on_a_quiet_server_says_what_to_do() -> None:
    """CASES, section 4: the moment is after the last commit that is archived, as nobody writes; it was refused, and no more was said."""
    with pytest.raises(WalError) as caught:
        plan({"time": written(58)}, ON_ONE, archive(ONE, commit(45), commit(57, last=True), histories=()))
    assert "needs one after the target to stop at" in str(caught.value)
    assert "the latest moment has the same rows" in str(caught.value) and "pg_switch_wal" in str(caught.value)


def test_no_backup_at_all() -> None:
    with pytest.raises(WalError, match="to the latest moment: there is no base backup. Take one now"):
        plan({}, [], archive(WHOLE))


def test_without_known_commits_the_plan_says_what_is_not_proven() -> None:
    choice = plan({"time": written(30)}, ON_ONE, archive(ONE, commit(28), histories=()))
    assert short(choice) == ("b20", "1", [(1, 20, 60)])
    assert choice.notes == (
        "Whether the archive reaches to the target is not proven: no commit after the target is known, the newest is of"
        " 2026-11-21T12:28:00Z.",
    )


def test_a_segment_of_the_younger_timeline_is_missing() -> None:
    """PostgreSQL 16, asked for timeline 2, took segment 50 and all that follows from timeline 1 without a word."""
    runs = [(1, 5, 60), (2, 51, 79)]
    with pytest.raises(WalError, match="the archive has not 000000020000000000000032, with which timeline 2 begins"):
        plan({}, [backup(40)], archive(runs, histories=(2,)))
    with pytest.raises(WalError, match="timeline: 1 still leads to moments of timeline 1"):
        plan({"lsn": lsn(55)}, [backup(40)], archive(runs, histories=(2,)))
    # before the fork it is the same, whichever way
    before = {"lsn": str(Lsn(50 * SIZE.bytes + 5))}
    assert short(plan(before, [backup(40)], archive(runs, histories=(2,)))) == ("b40", "1", [(1, 40, 50)])
    assert short(plan({"timeline": 1}, [backup(40)], archive(runs, histories=(2,)))) == ("b40", "1", [(1, 40, 60)])


def test_a_history_file_is_missing() -> None:
    """PostgreSQL takes "current" then, and refuses the number."""
    runs = [(1, 5, 49), (2, 50, 79)]
    held = archive(runs, histories=())
    assert short(plan({}, [backup(40), backup(60, 2)], held)) == ("b60", "current", [(2, 60, 79)])
    with pytest.raises(WalError, match="there is no 00000002.history in the archive"):
        plan({}, [backup(40)], held)
    assert short(plan({"timeline": "current"}, [backup(40)], held)) == ("b40", "1", [(1, 40, 49)])
    # 2 is only on the way
    way = archive(WHOLE, histories=(3,))
    assert short(plan({}, [backup(40)], way)) == ("b40", "3", [(1, 40, 49), (2, 50, 79), (3, 80, 99)])
    with pytest.raises(WalError, match="there is no 00000002.history in the archive"):
        plan({"timeline": 2}, [backup(40)], way)


def test_history_files_that_contradict_each_other() -> None:
    texts = {2: "1 0/33000000 x\n", 3: HISTORIES[3]}
    held = Archive(archive(WHOLE).coverage, Timelines.from_texts(texts), SIZE)
    with pytest.raises(WalError, match="00000002.history and 00000003.history contradict each other"):
        plan({}, ON_ALL, held)


def test_a_backup_over_a_change_of_timelines() -> None:
    standby = Backup("s", 1, Lsn(49 * SIZE.bytes), Lsn(52 * SIZE.bytes), at(52), stop_timeline=2)
    held = archive(WHOLE)
    assert short(plan({"timeline": 2}, [standby], held)) == ("s", "2", [(1, 49, 49), (2, 50, 79)])
    assert short(plan({"immediate": True}, [standby], held)) == ("s", "3", [(1, 49, 49), (2, 50, 51)])
    assert short(plan({"timeline": "current"}, [standby], held)) == ("s", "2", [(1, 49, 49), (2, 50, 79)])
    with pytest.raises(WalError, match="it ended at 0/34000000 on timeline 2: not on the way to timeline 1"):
        plan({"timeline": 1}, [standby], held)


def test_backups_that_bring_their_own_wal() -> None:
    own = Backup("own", 1, Lsn(8 * SIZE.bytes), Lsn(10 * SIZE.bytes + 5), at(10), has_wal=True)
    assert short(plan({"immediate": True}, [own], archive([], histories=()))) == ("own", "1", [])
    assert short(plan({"lsn": lsn(20)}, [own], archive(ONE, histories=()))) == ("own", "1", [(1, 10, 20)])
    with pytest.raises(WalError, match="the archive has not 00000001000000000000000A"):
        plan({}, [own], archive([(1, 11, 60)], histories=()))


@pytest.mark.parametrize(
    ("next_xids", "option", "position", "expected"),
    [
        ([None, None, None], {"xid": 700}, None, ("b10", [(1, 10, 60)])),
        ([None, None, None], {"name": "before upgrade"}, None, ("b10", [(1, 10, 60)])),
        ([None, None, None], {"name": "before upgrade"}, lsn(30), ("b20", [(1, 20, 30)])),
        ([None, None, None], {"xid": 700, "inclusive": False}, lsn(30), ("b20", [(1, 20, 30)])),
        ([500, 600, 800], {"xid": 700}, None, ("b20", [(1, 20, 60)])),
        ([500, 700, 800], {"xid": 700}, None, ("b20", [(1, 20, 60)])),
        ([500, 701, 800], {"xid": 700}, None, ("b10", [(1, 10, 60)])),
        ([500, None, 800], {"xid": 700}, None, ("b10", [(1, 10, 60)])),
        ([None, None, 800], {"xid": 700}, None, ("b10", [(1, 10, 60)])),
        # ids begin again after 2^32; xid8 goes on
        ([2**32 - 100, 10, 500], {"xid": 50}, None, ("b20", [(1, 20, 60)])),
        ([2**32 - 100, 10, 500], {"xid": 2**32 + 50}, None, ("b20", [(1, 20, 60)])),
        ([2**32 - 100, 2**32 + 10, 2**32 + 500], {"xid": 50}, None, ("b20", [(1, 20, 60)])),
    ],
)
def test_transactions_and_restore_points(
    next_xids: list[Optional[int]], option: dict[str, Any], position: Optional[str], expected: tuple[str, Runs]
) -> None:
    backups = [backup(number, next_xid=xid) for number, xid in zip((10, 20, 40), next_xids)]
    choice = plan(option, backups, archive(ONE, histories=()), position)
    assert (choice.backup.id, short(choice)[2]) == expected
    assert bool(choice.notes) is (position is None)


def test_a_transaction_of_unknown_place_behind_a_gap() -> None:
    """The oldest from which the WAL is complete to the end, as it may be anywhere up to there."""
    choice = plan({"xid": 700}, ON_ONE, archive([(1, 5, 30), (1, 32, 60)], histories=()))
    assert short(choice) == ("b40", "1", [(1, 40, 60)])
    with pytest.raises(WalError, match="the archive has not 00000001000000000000002D"):
        plan({"xid": 700}, ON_ONE, archive([(1, 5, 44), (1, 46, 60)], histories=()))


def test_a_transaction_that_every_backup_already_has() -> None:
    with pytest.raises(
        WalError, match="No backup can be recovered to transaction 400. b10: it ended at .* not before the target"
    ):
        plan({"xid": 400}, [backup(10, next_xid=500), backup(20, next_xid=600)], archive(ONE, histories=()))
