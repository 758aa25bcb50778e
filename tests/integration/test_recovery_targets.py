# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets at the edges: a recovery reaches what was there, or is refused in words while the old server still runs.

The kind: a target that PostgreSQL cannot stop at is found out at the end, with the old server down. Members: "now" on a server to which nobody wrote since
the backup, a moment after the last transaction, in the second of one, at it, in other time zones, only a rollback after it; a position and a time of a
timeline that was left; twice after a promotion.
Before: without any transaction since the backup the recovery began, and ended with "recovery ended before configured recovery target was reached";
where only a rollback followed, a moment that can be reached was refused.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable

import pytest
from lab.answers import ok, refused
from lab.playbooks import run_module
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server
from lab.waiting import wait_until

SMALL = ("--wal-segsize=1",)
INSERT = "INSERT INTO kept VALUES (1)"


def committed(server: Server, statement: str) -> datetime.datetime:
    """Run a transaction by itself, and say when it was committed, to the microsecond."""
    xid = server.psql(f"BEGIN; {statement}; SELECT pg_current_xact_id(); COMMIT").strip().splitlines()[-1]
    moment: datetime.datetime = server.query("SELECT pg_xact_commit_timestamp(%s::xid)", values=[xid])[0][0]
    return moment


@pytest.fixture
def archived(server_factory: Callable[..., Server]) -> Archived:
    settings = {
        **SETTINGS,
        "track_commit_timestamp": "on",
        "timezone": "Asia/Kathmandu",
        "log_timezone": "America/Caracas",
    }
    server = server_factory(15, settings=settings, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT 0 AS n")
    made = Archived.of(server)
    server.query("SELECT pg_sleep(1.1)")  # the moment lies behind the backup's end, which is rounded up to the second
    return made


def test_now_on_a_quiet_server(archived: Archived) -> None:
    server = archived.server
    archived.archive()
    pid = server.pid
    for when in (archived.now(), "2999-01-01 00:00:00+00"):
        for check in (True, False):
            refused(
                archived.in_place({"time": when}, check=check),
                "latest: true",
                "pg_restore_point",
                "Nothing was touched",
            )
    assert server.pid == pid
    with Restored(server, "latest") as new:
        assert ok(archived.recover(new))["changed"]
        assert new.query("SELECT count(*) FROM kept") == [(1,)]
        assert not ok(archived.recover(new))["changed"]


def test_the_last_transaction_and_around_it(archived: Archived) -> None:
    server = archived.server
    first = committed(server, INSERT)
    second = committed(server, INSERT)
    archived.archive()
    step = datetime.timedelta(microseconds=1)
    for when in (second, second + step, first.replace(microsecond=999999) + datetime.timedelta(days=1)):
        refused(archived.in_place({"time": when.isoformat()}), "latest: true")
    zone = datetime.timezone(datetime.timedelta(hours=-9, minutes=-30))
    with Restored(server, "clone") as new:
        for target, rows in (
            ({"time": second.isoformat(), "inclusive": False}, 2),
            ({"time": (second - step).astimezone(zone).isoformat()}, 2),
            ({"time": first.astimezone(datetime.timezone.utc).isoformat()}, 2),
            ({"time": first.astimezone(zone).isoformat(), "inclusive": False}, 1),
        ):
            ok(archived.recover(new, target, force=True, confirm=[str(new.data)], stop_server=True))
            assert new.query("SELECT count(*) FROM kept") == [(rows,)], target
    # A rollback is enough to stop at.
    between = archived.now()
    server.psql("BEGIN; INSERT INTO kept VALUES (9); SELECT pg_current_xact_id(); ROLLBACK")
    archived.archive()
    with Restored(server, "rolled back") as new:
        ok(archived.recover(new, {"time": between}))
        assert new.query("SELECT count(*) FROM kept") == [(3,)]


@pytest.mark.extended
def test_timelines_that_were_left(archived: Archived) -> None:
    """After two recoveries in place: targets on the first, the second and the third timeline, by time, position and name, in and exclusive."""
    server = archived.server
    consent = {"keep_archiving": True}
    committed(server, INSERT)
    fork = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    lost = committed(server, INSERT)
    server.psql("SELECT pg_create_restore_point('on the first')")
    lost_lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    committed(server, INSERT)
    archived.archive()
    ok(archived.in_place({"lsn": fork, "inclusive": False}, **consent))
    assert server.query("SELECT count(*) FROM kept") == [(2,)]
    archived.archive()
    assert not ok(archived.in_place({"lsn": fork, "inclusive": False}, **consent))["changed"]
    server.psql(INSERT)
    archived.archive()
    archived.back_up()
    server.query("SELECT pg_sleep(1.1)")
    second = committed(server, INSERT)
    committed(server, INSERT)
    archived.archive()
    ok(archived.in_place({"time": second.isoformat()}, **consent))
    assert server.query("SELECT count(*) FROM kept") == [(4,)]
    archived.archive()
    assert not ok(archived.in_place({"time": second.isoformat()}, **consent))["changed"]
    server.psql(INSERT)
    archived.archive()
    assert server.query("SELECT timeline_id FROM pg_control_checkpoint()") == [(3,)]
    with Restored(server, "clone") as new:
        given = {"force": True, "confirm": [str(new.data)], "stop_server": True}
        for target, rows in (
            ({}, 5),
            ({"time": lost.isoformat(), "timeline": "1"}, 3),
            ({"time": lost.isoformat(), "timeline": "1", "inclusive": False}, 2),
            ({"lsn": lost_lsn, "timeline": "1"}, 3),
            ({"name": "on the first", "timeline": "1"}, 3),
            ({"lsn": fork, "inclusive": False}, 2),
            ({"timeline": "2"}, 5),
            ({"timeline": "1"}, 4),
        ):
            done = ok(archived.recover(new, target, **given))
            assert new.query("SELECT count(*) FROM kept") == [(rows,)], (target, done["plan"])
        # Not on the way: told before anything is touched.
        refused(
            archived.recover(new, {"name": "on the first"}, **given), "is not in the WAL", "recovery_target.timeline"
        )
        refused(archived.recover(new, {"timeline": "7"}, **given), "00000007.history")
        assert new.query("SELECT count(*) FROM kept") == [(4,)]


def test_settings_that_were_raised_on_the_way(server_factory: Callable[..., Server]) -> None:
    """PostgreSQL pauses for ever where the old server got more connections than the backup's configuration has; that pause was taken for the
    target's [CrunchyData/postgres-operator#3607, aptible's "max_connections is a lower setting"]. And WAL of wal_level = minimal ends a recovery."""
    server = server_factory(16, settings={**SETTINGS, "max_connections": "30"}, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT 1 AS n")
    archived = Archived.of(server)
    server.psql("ALTER SYSTEM SET max_connections = 60; ALTER SYSTEM SET max_locks_per_transaction = 128")
    server.psql("ALTER SYSTEM SET max_prepared_transactions = 7")
    server.restart()
    server.psql(INSERT)
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql(INSERT)
    archived.archive()
    with Restored(server, "paused") as new:
        done = ok(archived.recover(new, {"lsn": lsn, "action": "pause", "inclusive": False}))
        assert new.query("SELECT count(*) FROM kept") == [(2,)]
        assert new.query("SELECT pg_is_in_recovery()") == [(True,)] and "max_connections = 60" in str(done["warnings"])
    with Restored(server, "promoted") as new:
        ok(archived.recover(new, {"lsn": lsn, "inclusive": False}))
        assert new.query("SELECT count(*) FROM kept") == [(2,)]
    # A load with wal_level = minimal, so short that no segment is missing.
    for level, senders, mode in (("minimal", "0", "off"), ("replica", "10", "on")):
        server.psql(f"ALTER SYSTEM SET wal_level = {level}")
        server.psql(f"ALTER SYSTEM SET max_wal_senders = {senders}")
        server.psql(f"ALTER SYSTEM SET archive_mode = {mode}")
        server.restart()
    archived.archive()
    pid = server.pid
    refused(archived.in_place(), "wal_level = minimal", "Nothing was touched")
    assert server.pid == pid


def test_a_copy_that_archived_here(server_factory: Callable[..., Server]) -> None:
    """Somebody's test restore was promoted with its archive_command: the latest timeline is the copy's, and a recovery to the latest moment went
    there, with all that the living server wrote since lost [pgbackrest#2064, pgbackrest#2433]."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT 1 AS n")
    archived = Archived.of(server)
    server.psql(INSERT)
    archived.archive()
    with Restored(server, "stray") as stray:
        ok(archived.recover(stray))
        stray.psql("ALTER SYSTEM RESET archive_mode")
        # As if it had archived already when it was promoted.
        ready = stray.data / "pg_wal" / "archive_status" / "00000002.history.ready"
        ready.touch()
        shutil.chown(ready, server.owner)
        stray.restart()
        stray.psql("SELECT pg_switch_wal()")
        history = archived.repository / "main" / "_wal"
        wait_until(lambda: any(path.name.startswith("00000002.history") for path in history.iterdir()))
        wait_until(lambda: any(path.name.startswith("000000020000") for path in history.iterdir()))
    server.psql(INSERT)
    archived.archive()
    refused(archived.in_place(), "Two servers went on", "timeline: 1", "timeline: 2")
    with Restored(server, "clone") as new:
        refused(archived.recover(new, check=True), "Two servers went on")
        ok(archived.recover(new, {"timeline": "1"}))
        assert new.query("SELECT count(*) FROM kept") == [(3,)]


def test_a_history_that_is_lost(archived: Archived) -> None:
    """Without 00000002.history PostgreSQL recovers to the end of timeline 1, and promotes there [cloudnative-pg#10817]; a copy of the backups in another
    place is chosen by the moments of the backups, not of the copies [spilo#652]."""
    server = archived.server
    server.psql(INSERT)
    archived.archive()
    ok(archived.in_place(keep_archiving=True))
    server.psql(INSERT)
    archived.archive()
    copy = server.server_directory("copy")
    wanted = {"source": archived.options["repository"], "target": {"path": str(copy)}}
    ok(run_module("backup_copy", wanted))
    with Restored(server, "copied") as new:
        done = ok(archived.recover(new, {"immediate": True}, repository={"path": str(copy)}))
        assert new.query("SELECT count(*) FROM kept") == [(1,)], done["plan"]
    history = next(
        path for path in (archived.repository / "main" / "_wal").iterdir() if "00000002.history" in path.name
    )
    history.unlink()
    with Restored(server, "clone") as new:
        refused(archived.recover(new), "00000002.history")
        ok(archived.recover(new, {"timeline": "1"}))
        assert new.query("SELECT count(*) FROM kept") == [(2,)]
