# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be reached, by timeline."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive, Commit
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.window import Stretch, Window, windows

SIZE = SegmentSize()
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
# 1 was left in the middle of segment 50.
HISTORIES = {2: "1 0/32001138 x\n"}


def at(minutes: float) -> datetime.datetime:
    return NOON + datetime.timedelta(minutes=minutes)


def backup(number: int, timeline: int = 1, **more: Any) -> Backup:
    """In the middle of a segment, a minute for each."""
    start = Lsn(number * SIZE.bytes + 0x28)
    return Backup(f"b{number}", timeline, start, Lsn(start + 0x100), at(number), **more)


def archive(
    *runs: tuple[int, int, int], commits: tuple[Commit, ...] = (), texts: dict[int, str] | None = None
) -> Archive:
    return Archive(
        Coverage(Run(*run) for run in runs),
        Timelines.from_texts(HISTORIES if texts is None else texts, [1]),
        SIZE,
        commits,
    )


def commit(number: int, timeline: int = 1, **more: Any) -> Commit:
    return Commit(timeline, Lsn(number * SIZE.bytes + 0x800), at(number + 0.5), **more)


def shape(found: tuple[Window, ...]) -> dict[int, list[tuple[tuple[str, ...], Any, Any]]]:
    """By timeline: the backups, last segment and gap of each stretch."""
    return {
        window.timeline: [
            (
                stretch.backups,
                None if stretch.last is None else tuple(stretch.last),
                None if stretch.gap is None else tuple(stretch.gap),
            )
            for stretch in window.stretches
        ]
        for window in found
    }


def test_one_stretch() -> None:
    (window,) = windows([backup(20), backup(10)], archive((1, 5, 30), commits=(commit(29), commit(25)), texts={}))
    assert window == Window(
        1,
        (
            Stretch(
                at(10),
                Lsn(10 * SIZE.bytes + 0x128),
                Segment(1, 30),
                Lsn(31 * SIZE.bytes),
                at(29.5),
                ("b10", "b20"),
                None,
            ),
        ),
        (),
        SIZE,
    )
    assert (window.start, window.end, window.last, window.gaps) == (at(10), at(29.5), Segment(1, 30), ())
    assert window.describe() == (
        "On timeline 1: from 2026-11-21T12:10:00Z (0/A000128, the end of the backup b10) to the end of"
        " 00000001000000000000001E (0/1F000000, the newest known commit at 2026-11-21T12:29:30Z)."
    )


def test_unknown_is_none() -> None:
    (window,) = windows([backup(10)], archive((1, 5, 30), commits=(commit(4), commit(31)), texts={}))
    assert window.end is None
    assert window.to_dict()["end"] is None
    assert windows([], archive((1, 5, 30))) == ()


def test_seconds_are_rounded_into_the_window() -> None:
    """Who copies the ends as a target gets one that can be reached."""
    early = replace(backup(10), stop_time=at(10) + datetime.timedelta(microseconds=1))
    last = commit(29)._replace(time=at(29) + datetime.timedelta(seconds=1.7))
    (window,) = windows([early], archive((1, 5, 30), commits=(last,), texts={}))
    assert (window.to_dict()["start"], window.to_dict()["end"]) == ("2026-11-21T12:10:01Z", "2026-11-21T12:29:01Z")
    assert "from 2026-11-21T12:10:01Z" in window.describe()


def test_gaps_make_stretches() -> None:
    found = windows(
        [backup(number) for number in (10, 15, 20, 40)], archive((1, 5, 17), (1, 19, 30), (1, 33, 50), texts={})
    )
    assert shape(found) == {
        1: [
            (("b10", "b15"), (1, 17), (1, 18, 18)),
            (("b20",), (1, 30), (1, 31, 32)),
            (("b40",), (1, 50), None),
        ]
    }
    assert found[0].gaps == (Run(1, 18, 18), Run(1, 31, 32))
    assert found[0].last == Segment(1, 50)
    assert "; then 000000010000000000000012 missing. On timeline 1: from 2026-11-21T12:20:00Z" in found[0].describe()


def test_gaps_that_no_backup_comes_to_are_none() -> None:
    assert shape(windows([backup(40)], archive((1, 5, 17), (1, 19, 50), texts={}))) == {1: [(("b40",), (1, 50), None)]}


def test_backups_without_their_own_wal_are_of_no_use() -> None:
    broken = Backup("broken", 1, Lsn(17 * SIZE.bytes), Lsn(19 * SIZE.bytes), at(19))
    unfinished = backup(60)
    found = windows([broken, unfinished, backup(20)], archive((1, 5, 17), (1, 19, 50), texts={}))
    assert shape(found) == {1: [(("b20",), (1, 50), None)]}
    assert found[0].unusable == (("broken", Run(1, 18, 18)), ("b60", Run(1, 60, 60)))


def test_backups_that_bring_their_own_wal() -> None:
    """As pg_basebackup makes them: nothing before their end is needed, but the segment of it is for all that follows."""
    held = archive((1, 12, 50), texts={})
    early = Backup("early", 1, Lsn(8 * SIZE.bytes), Lsn(10 * SIZE.bytes + 5), at(10), has_wal=True)
    late = Backup("late", 1, Lsn(8 * SIZE.bytes), Lsn(13 * SIZE.bytes), at(12), has_wal=True)
    found = windows([early, late], held)
    assert shape(found) == {1: [(("early",), None, (1, 10, 11)), (("late",), (1, 50), None)]}
    assert found[0].stretches[0].end_lsn == early.stop_lsn
    assert found[0].start == at(10)
    assert (
        found[0]
        .describe()
        .startswith(
            "On timeline 1: 2026-11-21T12:10:00Z (0/A000005, the end of the backup early) alone; then 2 segments from"
        )
    )


def test_two_timelines() -> None:
    held = archive((1, 5, 60), (2, 50, 70), commits=(commit(59), commit(69, 2), commit(48)))
    found = windows([backup(10), backup(55), backup(60, 2)], held)
    assert shape(found) == {
        1: [(("b10", "b55"), (1, 60), None)],
        2: [(("b10", "b60"), (2, 70), None)],
    }
    assert [window.end for window in found] == [at(59.5), at(69.5)]


def test_a_timeline_that_has_not_archived_anything() -> None:
    assert shape(windows([backup(10)], archive((1, 5, 60)))) == {
        1: [(("b10",), (1, 60), None)],
        2: [(("b10",), (1, 49), (2, 50, 50))],
    }


def test_a_timeline_whose_history_is_missing() -> None:
    held = archive((1, 5, 49), (2, 50, 70), texts={})
    assert shape(windows([backup(10), backup(60, 2)], held)) == {
        1: [(("b10",), (1, 49), None)],
        2: [(("b60",), (2, 70), None)],
    }


def test_as_users_get_it() -> None:
    (window,) = windows(
        [backup(10), backup(18), backup(20)], archive((1, 5, 17), (1, 19, 30), commits=(commit(29),), texts={})
    )
    assert json.loads(json.dumps(window.to_dict())) == {
        "timeline": 1,
        "start": "2026-11-21T12:10:00Z",
        "end": "2026-11-21T12:29:30Z",
        "last_segment": "00000001000000000000001E",
        "stretches": [
            {
                "start": "2026-11-21T12:10:00Z",
                "start_lsn": "0/A000128",
                "end": None,
                "end_lsn": "0/12000000",
                "last_segment": "000000010000000000000011",
                "backups": ["b10"],
                "missing": {
                    "first": "000000010000000000000012",
                    "last": "000000010000000000000012",
                    "segments": 1,
                },
            },
            {
                "start": "2026-11-21T12:20:00Z",
                "start_lsn": "0/14000128",
                "end": "2026-11-21T12:29:30Z",
                "end_lsn": "0/1F000000",
                "last_segment": "00000001000000000000001E",
                "backups": ["b20"],
                "missing": None,
            },
        ],
        "unusable_backups": [
            {
                "id": "b18",
                "missing": {
                    "first": "000000010000000000000012",
                    "last": "000000010000000000000012",
                    "segments": 1,
                },
            }
        ],
    }
