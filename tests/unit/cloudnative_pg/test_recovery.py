# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery is told, and where it landed, as pure tables: targets of every kind in the operator's words, PostgreSQL's own words for where it
ended, and why a pod failed, out of logs as the operator 1.30 and PostgreSQL 15 wrote them."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import recovery_log
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.reached import Reached, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.recovery_target import recovery_target
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import parse_history

UTC = datetime.timezone.utc


@pytest.mark.parametrize(
    ("option", "timeline", "told"),
    [
        ({}, "2", {"backupID": "b", "targetTLI": "2"}),
        ({"latest": True}, "current", {"backupID": "b"}),
        (
            {"time": "2026-11-21T03:59:00.5+01:00"},
            "latest",
            {"backupID": "b", "targetTLI": "latest", "targetTime": "2026-11-21T02:59:00.500000Z"},
        ),
        ({"lsn": "0/5000028"}, "1", {"backupID": "b", "targetTLI": "1", "targetLSN": "0/5000028"}),
        # The operator takes 32 bits, and pg_current_xact_id() gives 64.
        ({"xid": str((3 << 32) + 741)}, "1", {"backupID": "b", "targetTLI": "1", "targetXID": "741"}),
        ({"name": "before the mistake"}, "1", {"backupID": "b", "targetTLI": "1", "targetName": "before the mistake"}),
        ({"immediate": True}, "1", {"backupID": "b", "targetTLI": "1", "targetImmediate": True}),
        (
            {"xid": "741", "inclusive": False},
            "1",
            {"backupID": "b", "targetTLI": "1", "targetXID": "741", "exclusive": True},
        ),
    ],
)
def test_targets(option: dict[str, Any], timeline: str, told: dict[str, Any]) -> None:
    """With the base backup always named: without it the operator wants it for some kinds, and chooses otherwise than was proven for the rest."""
    assert recovery_target(Target.from_option(option), timeline, "b") == told
    without = {key: value for key, value in told.items() if key != "backupID"}
    assert recovery_target(Target.from_option(option), timeline, None) == without


def test_a_name_that_the_operator_does_not_take() -> None:
    with pytest.raises(BadOption, match="control character"):
        recovery_target(Target("name", name="a\tb"), "1", "b")


def landed(line: str, last: str = "") -> Reached:
    moment = datetime.datetime.fromisoformat(last).replace(tzinfo=UTC) if last else None
    return Reached.of(3, parse_history(f"1\t0/3000000\tno recovery target specified\n\n2\t{line}\n", 3), moment)


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ({}, "0/5000148\tno recovery target specified"),
        ({"time": "2026-11-21T03:00:00Z"}, "0/5000148\tbefore 2026-11-21 03:00:01.25+00"),
        ({"time": "2026-11-21T03:00:00Z", "inclusive": False}, "0/5000148\tbefore 2026-11-21 03:00:00+00"),
        ({"time": "2026-11-21T03:00:00Z"}, "0/5000148\tbefore 2026-11-21 04:00:01+01"),
        ({"lsn": "0/5000028"}, "0/5000148\tafter LSN 0/5000100"),
        ({"lsn": "0/5000028", "inclusive": False}, "0/5000028\tbefore LSN 0/5000028"),
        ({"xid": "741"}, "0/5000148\tafter transaction 741"),
        ({"xid": str((1 << 32) + 741)}, "0/5000148\tafter transaction 741"),
        ({"name": 'the "point"'}, '0/5000148\tat restore point "the "point""'),
        ({"immediate": True}, "0/5000148\treached consistency"),
    ],
)
def test_landed_where_it_was_to(option: dict[str, Any], line: str) -> None:
    proof = compare(Target.from_option(option), 2, landed(line))
    assert not proof.missing and "history file says so" in proof.proven[0]


@pytest.mark.parametrize(
    ("option", "line", "last", "why"),
    [
        ({"time": "2026-11-21T03:00:00Z"}, "0/5000148\tno recovery target specified", "", "knew of no target"),
        ({"time": "2026-11-21T03:00:00Z"}, "0/5000148\tbefore 2026-11-21 02:59:59+00", "", "is not later"),
        # Inclusive, and it stopped before the very moment.
        ({"time": "2026-11-21T03:00:00Z"}, "0/5000148\tbefore 2026-11-21 03:00:00+00", "", "is not later"),
        (
            {"time": "2026-11-21T03:00:00Z"},
            "0/5000148\tbefore 2026-11-21 03:00:02+00",
            "2026-11-21 03:00:01",
            "has a transaction of",
        ),
        ({}, "0/5000148\tbefore 2026-11-21 03:00:02+00", "", "did not go on to the end"),
        ({"lsn": "0/6000000"}, "0/5000148\tafter LSN 0/5000100", "", "before that position"),
        ({"xid": "742"}, "0/5000148\tafter transaction 741", "", "another transaction"),
        ({"name": "one"}, '0/5000148\tat restore point "other"', "", "another place"),
        ({"immediate": True}, "0/5000148\tafter transaction 741", "", "consistent"),
    ],
)
def test_landed_elsewhere(option: dict[str, Any], line: str, last: str, why: str) -> None:
    """A green recovery that is not the one that was asked for is an error."""
    proof = compare(Target.from_option(option), 2, landed(line, last))
    assert not proof.proven and why in proof.missing[0]


def test_another_timeline() -> None:
    """The operator before 1.30 dropped history files now and then, and stopped at the end of the base backup's timeline, without a word."""
    proof = compare(Target(), 5, landed("0/5000148\tno recovery target specified"))
    assert "was to follow timeline 5" in proof.missing[0]
    assert not compare(Target(), None, landed("0/5000148\tno recovery target specified")).missing


def test_a_server_that_has_lived_on() -> None:
    """It was promoted twice since its recovery, and the question is where that one ended."""
    history = "1\t0/3000000\tbefore LSN 0/3000000\n2\t0/4000000\tno recovery target specified\n3\t0/5000000\tno recovery target specified\n"
    found = Reached.of(4, parse_history(history, 4), None, 1)
    assert (found.timeline, found.left, str(found.lsn)) == (2, 1, "0/3000000")
    assert not compare(Target.from_option({"lsn": "0/3000000", "inclusive": False}), 1, found).missing


def record(severity: str, message: str, **more: str) -> str:
    return json.dumps(
        {"level": "info", "msg": "record", "record": {"error_severity": severity, "message": message, **more}}
    )


def manager(level: str, message: str, **more: str) -> str:
    return json.dumps({"level": level, "msg": message, **more})


def test_where_it_ended() -> None:
    found = recovery_log.ended(
        [
            manager("info", "Target backup found"),
            record("LOG", "starting point-in-time recovery to 2026-11-21 03:00:00+00"),
            record("LOG", "recovery stopping before commit of transaction 742, time 2026-11-21 03:00:01.25+00"),
            record("LOG", "last completed transaction was at log time 2026-11-21 02:59:59.5 UTC"),
            record("LOG", "selected new timeline ID: 2"),
        ]
    )
    assert found.stopped == "before commit of transaction 742, time 2026-11-21 03:00:01.25+00"
    assert found.last == datetime.datetime(2026, 11, 21, 2, 59, 59, 500000, UTC) and found.timeline == 2
    assert recovery_log.ended(["no json", ""]) == recovery_log.Ended()


@pytest.mark.parametrize(
    ("lines", "certain", "means"),
    [
        (
            [
                manager(
                    "info",
                    "2026-11-21 03:00:00,123 [17] ERROR: WAL archive check failed for server shop: Expected empty archive",
                ),
                manager(
                    "error", "while checking the archive", error="unexpected failure invoking barman-cloud-wal-archive"
                ),
            ],
            True,
            "archive_as",
        ),
        (
            [
                record("FATAL", "recovery ended before configured recovery target was reached"),
                manager("error", "restore error"),
            ],
            True,
            "latest: true",
        ),
        ([record("FATAL", "WAL ends before end of online backup", detail="x")], True, "older backup"),
        ([manager("error", "Error while restoring a backup", error="no target backup found")], True, "retention"),
        ([record("FATAL", "requested timeline 7 is not a child of this server's history")], True, "another timeline"),
        ([manager("error", "x", error="write /var/lib/postgresql/data: No space left on device")], True, "storage"),
        (
            [
                manager(
                    "info",
                    "2026-11-21 03:00:00,1 [9] ERROR: Barman cloud restore exception: An error occurred (403) AccessDenied",
                )
            ],
            False,
            "credentials",
        ),
        ([record("PANIC", "something new"), manager("error", "restore error")], False, "something new"),
        ([manager("error", "only this", error="odd")], False, "only this: odd"),
    ],
)
def test_why_it_failed(lines: list[str], certain: bool, means: str) -> None:
    """The reason that counts is the one nearest to the matter, and what does not pass by waiting is told from what may."""
    found = recovery_log.why([manager("info", "Starting barman-cloud-restore"), *lines])
    assert found is not None and found.certain is certain and means in found.message


def test_a_log_that_says_nothing() -> None:
    assert recovery_log.why([]) is None and recovery_log.why([manager("info", "Restore completed")]) is None


def test_no_secret_of_a_log_is_repeated() -> None:
    found = recovery_log.why([manager("error", "x", error="cannot use secret_key=hunter2 there")])
    assert found is not None and "hunter2" not in found.message
