# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery is where it was to be, and says so from what it looked at; a second one does nothing only while nothing changed.

The kind: ok without a look. Members that were tried: a time, a position and a transaction between the removal of a database's files and its commit;
"latest" without the archive, with a segment damaged, with new segments since; the same recovery after a write, after a read, after a checkpoint; restore
points of one name; a name and a transaction that are nowhere; archive_mode after keep_archiving; slots that are lost; a role or a database that
nobody can log in to (CASES 1.6, 1.13, 1.14, 1.15, 1.27, 2.11, 2.13).
Found before: promoted with an invalid database, the backup's own end instead of the latest moment, "nothing to do" over changed rows, archive_mode off
where the plan said on, a wait without an end with the old server down.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from lab import fault
from lab.answers import ok, refused
from lab.playbooks import run_module, start_module
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server
from lab.waiting import wait_until

SMALL = ("--wal-segsize=1",)


@pytest.mark.parametrize("major", [15, 18])
def test_the_second_before_a_database_was_dropped(server_factory: Callable[..., Server], major: int) -> None:
    server = server_factory(major, settings={**SETTINGS, "track_commit_timestamp": "on"}, initdb=SMALL)
    archived = Archived.of(server)
    server.psql("CREATE DATABASE shop")
    server.psql("CREATE TABLE orders AS SELECT generate_series(1, 100) AS n", db="shop")
    server.query("SELECT pg_sleep(1.2)")  # the moment lies behind the backup's end, which is rounded up to the second
    between = archived.now()
    server.psql("DROP DATABASE shop")
    server.psql("CREATE TABLE later (n int)")
    archived.archive()
    # (It ends with an error where the valid records do.)
    dropped = subprocess.run(
        [server.program("pg_waldump"), "-p", server.data / "pg_wal", "-r", "Database", *segments_of(server)],
        capture_output=True, check=False,
    ).stdout  # fmt: skip
    lsn = next(line.split("lsn: ")[1].split(",")[0] for line in dropped.decode().splitlines() if "DROP" in line)
    for target in ({"time": between}, {"lsn": lsn, "inclusive": True}):
        with Restored(server, "before") as new:
            planned = ok(archived.recover(new, target, check=True))
            done = ok(archived.recover(new, target))
            assert planned["plan"] == done["plan"] and "DROP DATABASE" in str(done["warnings"])
            assert new.query("SELECT count(*) FROM orders", db="shop") == [(100,)]
            assert "'shop'" in str(done["proof"]["proven"])


def segments_of(server: Server) -> tuple[str, str]:
    """The first and the present segment of a server's own WAL."""
    return server.query(
        "SELECT min(name), pg_walfile_name(pg_current_wal_lsn()) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
    )[0]  # type: ignore[return-value]


@pytest.fixture(scope="module")
def archived(server_factory: Callable[..., Server]) -> Archived:
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
    archived = Archived.of(server)
    server.psql("SELECT pg_create_restore_point('mine')")
    server.psql("INSERT INTO kept SELECT generate_series(1, 10)")
    server.psql("SELECT pg_create_restore_point('mine')")
    server.psql("SELECT pg_create_restore_point('once')")
    server.psql("INSERT INTO kept SELECT generate_series(1, 10); SELECT pg_switch_wal(); CHECKPOINT")
    archived.archive()
    return archived


def test_names_and_transactions_are_looked_for_first(archived: Archived) -> None:
    with Restored(archived.server, "named") as new:
        for check in (True, False):
            refused(
                archived.recover(new, {"name": "mine"}, check=check), "2 restore points 'mine'", "lsn", "Nothing was"
            )
            refused(
                archived.recover(new, {"name": "not made"}, check=check), "is not in the WAL", "Nothing was touched"
            )
            refused(archived.recover(new, {"xid": "4000000"}, check=check), "is not in the WAL", "Nothing was touched")
        second = archived.recover(new, {"name": "mine"}).msg.split("; ")[1].split(" ")[0].rstrip(".")
        ok(archived.recover(new, {"lsn": second}))
        assert new.query("SELECT count(*) FROM kept") == [(110,)]


def test_a_restore_point_is_written_down(server_factory: Callable[..., Server]) -> None:
    """PostgreSQL has neither a list nor a time of them: a recovery by name took the oldest of two, and of one on another timeline it was said
    that it is nowhere (CASES 2.13)."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    server.psql("CREATE TABLE kept (n int)")
    archived = Archived.of(server)

    def made(name: str, check: bool = False) -> dict[str, Any]:
        wanted = {**server.login(), "name": name, "repository": archived.options["repository"]}
        done = ok(run_module("pg_restore_point", wanted, check=check))
        server.psql("INSERT INTO kept VALUES (1)")
        return done

    first = made("release")["restore_point"]
    assert first["recorded"] and first["timeline"] == 1
    second = made("release")
    assert "already" in str(second["warnings"]) and first["lsn"] in str(second["warnings"])
    assert "already" in str(made("release", check=True)["warnings"])
    once = made("once")["restore_point"]
    archived.back_up()
    archived.archive()
    with Restored(server, "named") as new:
        message = archived.recover(new, {"name": "release"}).msg
        assert all(f"made {when}" in message for when in (first["time"], second["restore_point"]["time"])), message
        # Where it is known, the newest backup before it is the one that is used, and the one after it is not.
        done = ok(archived.recover(new, {"name": "once"}))
        assert new.query("SELECT count(*) FROM kept") == [(3,)] and once["lsn"] >= done["recovery"]["lsn"]
    # On a timeline that was left, it is told where it is.
    done = ok(archived.in_place({"name": "once"}, keep_archiving=True))
    server.psql("INSERT INTO kept VALUES (2)")
    archived.archive()
    archived.back_up()
    server.psql("INSERT INTO kept VALUES (2)")
    later = made("after the fork")["restore_point"]
    archived.archive()
    assert later["timeline"] == 2
    with Restored(server, "other timeline") as new:
        refused(archived.recover(new, {"name": "after the fork", "timeline": "1"}), "on timeline 2", later["time"])
        ok(archived.recover(new, {"name": "after the fork"}))
        assert new.query("SELECT count(*) FROM kept") == [(5,)]


def test_latest_without_the_archive(archived: Archived) -> None:
    """A backup in another directory, or in a store that the WAL does not go to, leads to its own end alone."""
    elsewhere = archived.server.server_directory("elsewhere")
    away = {"repository": {"path": str(elsewhere)}}
    archived.back_up(**away)
    archived.server.psql("INSERT INTO kept VALUES (0)")
    with Restored(archived.server, "elsewhere clone") as new:
        for target in ({}, {"latest": True}):
            refused(archived.recover(new, target, **away), "no WAL archive", "immediate: true")
        done = ok(archived.recover(new, {"immediate": True}, **away))
        assert done["changed"] and new.query("SELECT count(*) FROM kept WHERE n = 0") == [(0,)]


@pytest.mark.extended
def test_a_segment_that_ends_the_recovery_early(archived: Archived) -> None:
    """To PostgreSQL a damaged segment is the end of the archive, and it promotes there without a word. The last segments are nearly empty, and
    packed to less than 200 bytes: half of one is cut off."""
    wal = archived.repository / "main" / "_wal"
    victim = sorted(path for path in wal.glob("0*.zst") if len(path.name) == 28)[-2]
    good = victim.read_bytes()
    fault.truncate(victim, len(good) // 2)
    try:
        with Restored(archived.server, "early") as new:
            done = archived.recover(new, {"latest": True})
            assert done.failed and not new.data.exists(), done.result
    finally:
        victim.write_bytes(good)


@pytest.mark.extended
def test_an_archive_that_does_not_answer(server_factory: Callable[..., Server]) -> None:
    """A restore_command that hangs (a dead mount, a store that holds the request) made a recovery wait without an end, with the old server
    down. The last segment becomes a named pipe that nobody writes to, once the way was proven."""
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT 1 AS n")
    archived = Archived.of(server)
    server.psql("INSERT INTO kept VALUES (2)")
    archived.archive()
    wal = archived.repository / "main" / "_wal"
    victim = sorted(path for path in wal.glob("0*.zst") if len(path.name) == 28)[-1]
    aside = server.directory / "aside"
    consent = {"force": True, "confirm": [str(server.data)], "stop_server": True}
    running = start_module(
        "pg_recover",
        {**archived.options, **consent, "data_directory": str(server.data), "wal_timeout": "1s"},
    )
    staged = server.directory / "data.holdfast-restore"
    assert wait_until(staged.exists, every=0.002), running.result().msg
    victim.rename(aside)
    os.mkfifo(victim, 0o644)
    done = running.result()
    refused(done, "restore_command has not ended for", "wal_timeout: 1", victim.name[:24], "runs")
    assert server.query("SELECT count(*) FROM kept") == [(2,)] and not staged.exists()
    aside.replace(victim)
    assert ok(archived.in_place())["changed"]
    assert server.query("SELECT count(*) FROM kept") == [(2,)]


def test_nothing_to_do_is_proven(server_factory: Callable[..., Server]) -> None:
    server = server_factory(18, settings=SETTINGS, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
    # As if the backup came from a host with another C library.
    server.psql("UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'postgres'")
    archived = Archived.of(server)
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("TRUNCATE kept")
    archived.archive()
    target = {"lsn": lsn, "inclusive": False}
    first = ok(archived.in_place(target))
    assert first["recovery"]["next_steps"][-1].startswith("archive_mode is off")
    assert "'postgres' were sorted by version 0.1" in str(first["proof"]["unproven"])
    server.query("SELECT count(*) FROM kept")
    server.psql("CHECKPOINT")
    again = ok(archived.in_place(target))
    assert not again["changed"] and "nothing was written to it since" in str(again["warnings"])
    # It is to run: killed before that, or stopped by somebody, it was left down by an ok.
    server.stop()
    assert "start the server" in str(ok(archived.in_place(target, check=True))["plan"]) and server.pid is None
    assert ok(archived.in_place(target))["changed"] and server.pid is not None
    server.psql("TRUNCATE kept")
    refused(archived.in_place(target, force=False), "is not empty")
    planned = ok(archived.in_place(target, check=True))
    assert planned["changed"] and "It is done again" in str(planned["warnings"])
    assert ok(archived.in_place(target))["changed"]
    assert server.query("SELECT count(*) FROM kept") == [(100,)]


@pytest.mark.extended
def test_a_clone_of_the_latest_moment_is_brought_up_to_date(server_factory: Callable[..., Server]) -> None:
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    server.psql(
        "CREATE TABLE kept AS SELECT generate_series(1, 100) AS n; SELECT pg_create_physical_replication_slot('s')"
    )
    archived = Archived.of(server)
    archived.archive()
    with Restored(server, "clone") as new:
        given = {"force": True, "confirm": [str(new.data)], "stop_server": True}
        assert ok(archived.recover(new, {"latest": True}))["changed"]
        assert not ok(archived.recover(new, {"latest": True}, **given))["changed"]
        server.psql("INSERT INTO kept SELECT generate_series(1, 10)")
        archived.archive()
        again = ok(archived.recover(new, {"latest": True}, **given))
        assert again["changed"] and new.query("SELECT count(*) FROM kept") == [(110,)]


def test_keep_archiving_keeps_it(server_factory: Callable[..., Server]) -> None:
    """What set archiving up wrote it into postgresql.auto.conf, and the plan promises that it goes on."""
    server = server_factory(15, settings={"hot_standby": "on"}, initdb=SMALL)
    repository = server.server_directory("repository")
    server.psql("ALTER SYSTEM SET archive_mode = on")
    server.restart()
    archived = Archived.of(server)
    assert archived.repository == repository
    server.psql("SELECT pg_create_physical_replication_slot('a_slot', true)")
    server.psql("CREATE TABLE kept (n int)")
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("CREATE TABLE gone (n int)")
    archived.archive()
    done = ok(archived.in_place({"lsn": lsn, "inclusive": False}, keep_archiving=True))
    assert "let it archive on" in done["plan"] and server.query("SHOW archive_mode") == [("on",)]
    assert (
        "a_slot" in str(done["proof"]["lost"])
        and "archives as the old server did" in done["recovery"]["next_steps"][-1]
    )
    archived.back_up()
    archived.archive()


@pytest.mark.extended
@pytest.mark.parametrize("closed", ["role", "database"])
@pytest.mark.extended
def test_nobody_can_log_in(server_factory: Callable[..., Server], closed: str) -> None:
    """A restored server whose postgres may not log in, or whose template1 is closed: another way is found, or it ends at once."""
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    server.psql("CREATE TABLE kept AS SELECT 1 AS n")
    if closed == "role":
        server.psql("CREATE ROLE dba SUPERUSER LOGIN")
        archived = Archived.of(server, back_up=False)
        archived.back_up()
        server.psql("ALTER ROLE postgres NOLOGIN")
    else:
        archived = Archived.of(server, back_up=False)
        archived.back_up()
        server.psql("ALTER DATABASE template1 ALLOW_CONNECTIONS false")
    lsn = "latest"
    with server_admin(server, closed) as admin:
        admin("SELECT pg_create_restore_point('x')")
        admin("SELECT pg_switch_wal()")
        admin("CHECKPOINT")
        segment_arrives(archived)
        with Restored(server, "closed") as new:
            done = archived.recover(new, {lsn: True})
            if closed == "role":
                refused(done, "not permitted to log in", "login_user")
                done = archived.recover(new, {lsn: True}, login_user="dba")
            ok(done)


def server_admin(server: Server, closed: str):  # type: ignore[no-untyped-def]
    """Somebody who still can."""
    from contextlib import contextmanager

    import psycopg2

    @contextmanager
    def opened():  # type: ignore[no-untyped-def]
        if closed == "role":
            # Sessions that are open stay: a fresh one comes over the socket as the other superuser.
            (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
            server._as_server("pg_ctl", "-D", str(server.data), "reload")
        user = "dba" if closed == "role" else "postgres"
        connection = psycopg2.connect(
            host="127.0.0.1", port=server.port, user=user, password=server.password, dbname="postgres"
        )
        connection.autocommit = True
        try:
            yield lambda sql: connection.cursor().execute(sql)
        finally:
            if closed == "role":
                connection.cursor().execute("ALTER ROLE postgres LOGIN")
            connection.close()

    return opened()


def segment_arrives(archived: Archived) -> None:
    """All segments but the present one are in the archive."""
    import time

    status = archived.server.data / "pg_wal" / "archive_status"
    deadline = time.monotonic() + 60
    while any(path.suffix == ".ready" for path in status.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
