# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands beside reaches nothing, and what was left in a configuration steers nothing.

The kind: a restored server acts on the world of the one that it comes from. Members that were tried: a tablespace made after the
backup (its location used by the live server; used by nobody; in place; made and dropped), archive_cleanup_command and
recovery_end_command and the other programs in postgresql.conf, conf.d and postgresql.auto.conf, left-over targets of the same and of another
kind, recovery_min_apply_delay, promote_trigger_file, an enabled subscription, pg_cron, foreign servers, external_pid_file and
log_directory of the live server, synchronous_standby_names, listen_addresses, a port that is taken, patroni.dynamic.json.
Found before: writes into the live server's tablespace, an emptied WAL archive, a recovery to a moment that nobody asked for, rows of a
live subscriber lost (CASES 1.10, 1.11, 1.12, 2.13).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.answers import ok, refused
from lab.playbooks import start_module
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server
from lab.waiting import wait_until

SMALL = ("--wal-segsize=1",)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def archived(server_factory: Callable[..., Server]) -> Archived:
    """A server with everything in its configuration that could steer or reach out, a backup, and a tablespace made after it."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    pid_file, logs = server.directory / "live.pid", server.server_directory("live logs")
    more = server.data / "conf.d"
    more.mkdir()
    left = {
        "archive_cleanup_command": f"touch {server.directory}/cleaned",
        "recovery_end_command": f"touch {server.directory}/ended",
        "recovery_target_time": "2001-01-01 00:00:00+00",
        "recovery_min_apply_delay": "1h",
        "promote_trigger_file": str(server.directory / "trigger"),
        "log_directory": str(logs),
        "external_pid_file": str(pid_file),
        "synchronous_standby_names": "",
        "shared_preload_libraries": "pg_cron",
        "listen_addresses": "*",
        "wal_retrieve_retry_interval": "100ms",
    }
    (server.directory / "trigger").touch()
    (more / "left.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in left.items()))
    with (server.data / "postgresql.conf").open("a") as stream:
        stream.write("include_dir 'conf.d'\n")
    for path in (more, *more.iterdir()):
        shutil.chown(path, server.owner)
    server.restart()
    server.psql("CREATE EXTENSION pg_cron; CREATE TABLE kept (n int); CREATE TABLE made_by_jobs (at timestamptz)")
    server.psql("SELECT cron.schedule('* * * * *', 'INSERT INTO made_by_jobs SELECT now()')")
    server.psql("CREATE EXTENSION postgres_fdw; CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw")
    archived = Archived.of(server, back_up=False)
    # It is in the backup, and no reload makes the live server wait.
    server.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    archived.back_up()
    server.psql("ALTER SYSTEM RESET synchronous_standby_names")
    server.psql("INSERT INTO kept SELECT generate_series(1, 100); CHECKPOINT")
    archived.archive()
    return archived


@pytest.mark.parametrize("action", ["promote", "pause"])
def test_what_was_left_in_the_configuration_steers_nothing(archived: Archived, action: str) -> None:
    server = archived.server
    lsn, rows = server.query("SELECT pg_current_wal_insert_lsn()::text, count(*) FROM kept")[0]
    server.psql("INSERT INTO kept SELECT generate_series(1, 10)")
    archived.archive()
    archive, live_logs = files(archived.repository), files(server.directory / "live logs")
    pid_file = (server.directory / "live.pid").read_text()
    with Restored(server, f"beside {action}") as new:
        planned = ok(archived.recover(new, {"lsn": lsn, "action": action}, check=True))
        done = ok(archived.recover(new, {"lsn": lsn, "action": action}))
        assert planned["plan"] == done["plan"] and "pg_cron" in str(done["plan"])
        assert new.query("SELECT count(*) FROM kept")[0][0] == rows
        shown = dict(new.query(
            "SELECT name, setting FROM pg_settings WHERE name IN ('archive_mode', 'listen_addresses', 'log_directory',"
            " 'external_pid_file', 'synchronous_standby_names', 'shared_preload_libraries')"
        ))  # fmt: skip
        assert shown == {
            "archive_mode": "off", "listen_addresses": "localhost", "log_directory": "log", "external_pid_file": "",
            "synchronous_standby_names": "", "shared_preload_libraries": "",
        }  # fmt: skip
        if action == "promote":
            new.psql("INSERT INTO kept VALUES (0)")  # it waits for no standby
        told = {row["what"]: row for row in done["recovery"]["isolated"]}
        assert {"archive_mode", "listen_addresses", "shared_preload_libraries", "synchronous_standby_names"} <= set(
            told
        )
        assert told["shared_preload_libraries"]["switch_on"] == "ALTER SYSTEM SET shared_preload_libraries = 'pg_cron'"
        assert "recovery_target_time" in str(done["warnings"]) and "'elsewhere'" in str(done["warnings"])
        assert not (server.directory / "cleaned").exists() and not (server.directory / "ended").exists()
        assert (server.directory / "live.pid").read_text() == pid_file
        assert files(server.directory / "live logs") == live_logs
        assert set(archive) <= set(files(archived.repository))
        # How it is switched on again works.
        if action == "promote":
            new.psql(
                "\n".join(
                    row["switch_on"] + ";"
                    for row in told.values()
                    if row["value"] is not None and row["what"] not in ("external_pid_file", "log_directory")
                )
            )
            new.restart()
            assert new.query("SHOW shared_preload_libraries") == [("pg_cron",)] and new.query("SHOW archive_mode") == [
                ("on",)
            ]


def test_settings_that_are_asked_for_count(archived: Archived) -> None:
    """What the user names is what the user gets, and a port that is taken is refused before the recovery."""
    with Restored(archived.server, "asked") as new:
        names = {path.name for path in archived.server.directory.iterdir()}
        taken = {"port": str(archived.server.port)}
        refused(archived.recover(new, {"immediate": True}, settings=taken), "is taken by another server", "port: 5433")
        assert {path.name for path in archived.server.directory.iterdir()} == names
        wanted = {**new.settings, "listen_addresses": "127.0.0.1,::1", "log_directory": "other"}
        done = ok(archived.recover(new, {"immediate": True}, settings=wanted))
        assert new.query("SHOW listen_addresses") == [("127.0.0.1,::1",)]
        assert "listen_addresses" not in {row["what"] for row in done["recovery"]["isolated"]}


@pytest.mark.extended
def test_a_subscriber_that_stands_beside(server_factory: Callable[..., Server], archived: Archived) -> None:
    publisher, subscriber = archived.server, server_factory(16, settings=SETTINGS, initdb=SMALL)
    publisher.psql("CREATE TABLE news (n int); CREATE PUBLICATION all_news FOR TABLE news")
    subscriber.psql("CREATE TABLE news (n int)")
    dsn = f"host=127.0.0.1 port={publisher.port} user=postgres password={publisher.password} dbname=postgres"
    subscriber.psql(f"CREATE SUBSCRIPTION \"My Sub\" CONNECTION '{dsn}' PUBLICATION all_news WITH (slot_name = my_sub)")
    copied = Archived.of(subscriber)
    copied.archive()
    (subscriber.data / "patroni.dynamic.json").unlink(missing_ok=True)
    for action in ("promote", "pause"):
        with Restored(subscriber, f"clone {action}") as new:
            done = ok(copied.recover(new, {"immediate": True, "action": action}))
            publisher.psql("INSERT INTO news SELECT generate_series(1, 5)")
            expected = publisher.query("SELECT count(*) FROM news")
            assert wait_until(lambda expected=expected: subscriber.query("SELECT count(*) FROM news") == expected)
            assert new.query("SELECT count(*) FROM news")[0][0] == 0
            if action == "promote":
                assert new.query("SELECT subenabled FROM pg_subscription") == [(False,)]
                told = next(row for row in done["recovery"]["isolated"] if "My Sub" in row["what"])
                assert 'ALTER SUBSCRIPTION "My Sub" ENABLE' in told["switch_on"]
                assert 'ALTER SUBSCRIPTION "My Sub" ENABLE' in str(done["recovery"]["next_steps"])
            else:
                assert new.query("SHOW max_logical_replication_workers") == [("0",)]
    subscriber.psql('DROP SUBSCRIPTION "My Sub"')
    publisher.psql("DROP TABLE news CASCADE")


@pytest.mark.extended
def test_subscriptions_that_cannot_be_altered(server_factory: Callable[..., Server]) -> None:
    """In a database that takes no connections, or under an event trigger that forbids it: a raw error of the driver ended the recovery."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    made = "CREATE SUBSCRIPTION s CONNECTION 'port=1' PUBLICATION p WITH (connect = false, slot_name = 's')"
    for name in ("closed", "guarded"):
        server.psql(f"CREATE DATABASE {name}")
        server.psql(made.replace(" s ", f" {name} ") + f"; ALTER SUBSCRIPTION {name} ENABLE", db=name)
    server.psql(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'nobody alters anything here'; END$$;"
        "CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION no()",
        db="guarded",
    )
    server.psql("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    archived = Archived.of(server)
    with Restored(server, "clone") as new:
        done = ok(archived.recover(new, {"immediate": True}))
        assert new.query("SELECT subname, subenabled FROM pg_subscription ORDER BY 1") == [
            ("closed", False),
            ("guarded", False),
        ]
        assert sum("subscription" in row["what"] for row in done["recovery"]["isolated"]) == 2


@pytest.mark.extended
@pytest.mark.parametrize("major", [15, 18])
def test_a_tablespace_made_after_the_backup(server_factory: Callable[..., Server], major: int) -> None:
    """Replayed WAL makes it where it was: never in a directory of somebody else, and in place only once the old one is aside."""
    server = server_factory(major, settings=SETTINGS, initdb=SMALL)
    space = server.server_directory("sp ace")
    archived = Archived.of(server)
    before = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("CREATE TABLE between (n int)")
    server.psql(f"CREATE TABLESPACE late LOCATION '{space}'")
    server.psql("CREATE TABLE far TABLESPACE late AS SELECT 'old' AS x")
    then = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("UPDATE far SET x = 'new'; CHECKPOINT")
    archived.archive()

    live = files(space)
    for check in (True, False):
        with Restored(server, "beside") as new:
            refused(
                archived.recover(new, {"lsn": then}, check=check),
                "CREATE TABLESPACE",
                str(space),
                "Nothing was touched",
            )
            refused(
                archived.recover(new, {"lsn": then}, check=check, tablespace_locations={str(space): "/tmp/x"}),
                "was made after the backup",
            )
            assert not new.data.exists()
    assert files(space) == live and server.query("SELECT x FROM far") == [("new",)]
    with Restored(server, "before it") as new:
        ok(archived.recover(new, {"lsn": before}))
        assert new.query("SELECT count(*) FROM pg_tablespace WHERE spcname = 'late'") == [(0,)]
    assert files(space) == live

    # In place the old one's files go aside first, and come back when it fails.
    broken = {"port": "not a number"}
    refused(archived.in_place({"lsn": then}, settings=broken), "port")
    assert server.query("SELECT x FROM far") == [("new",)]
    done = ok(archived.in_place({"lsn": then}))
    assert any(str(space) in step and "made after the backup" in step for step in done["plan"])
    assert server.query("SELECT x FROM far") == [("old",)]
    kept = [Path(path) for path in done["recovery"]["kept"]]
    assert any(path.name.startswith("sp ace.before-") and any(path.rglob("*")) for path in kept)
    aside = next(path for path in kept if path.name.startswith("data.before-"))
    assert next((aside / "pg_tblspc").iterdir()).resolve().name.startswith("sp ace.before-")

    # Where nobody uses the directory, replaying may make it.
    server.stop("immediate")
    space.rename(space.with_name("gone"))
    with Restored(server, "beside", besides=[space]) as new:
        ok(archived.recover(new, {"lsn": then}))
        assert new.query("SELECT x FROM far") == [("old",)]


@pytest.mark.extended
@pytest.mark.parametrize("include_wal", [True, False])
def test_a_tablespace_made_while_the_backup_was_taken(server_factory: Callable[..., Server], include_wal: bool) -> None:
    """The same for one made between a backup's start and its stop: its WAL may come with the backup itself, and is read before anything is
    stopped; in place, the old one's files go aside. One of them is made before the copy begins, and after its redo point: the backup has its files
    too. Before, it was replayed into the live server's directory, refused after the stop, or nothing could be restored at all."""
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    early, space = server.server_directory("early"), server.server_directory("sp ace")
    archived = Archived.of(server, back_up=False)
    server.psql("CREATE TABLE big AS SELECT repeat(md5(n::text), 20) AS x FROM generate_series(1, 20000) n")
    wanted = {**server.login(), **archived.options, "engine": "pg_basebackup", "compression": "none"}
    running = start_module(
        "pg_backup", {**wanted, "include_wal": include_wal, "max_rate": 8 * 1024 * 1024, "checkpoint": "spread"}
    )
    phase = "SELECT phase FROM pg_stat_progress_basebackup"
    # It writes, so the position from which is replayed is behind it.
    writes = (
        "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND wait_event = 'CheckpointWriteDelay'"
    )
    waiting = [("waiting for checkpoint to finish",)]
    assert wait_until(lambda: server.query(phase) == waiting and server.query(writes) == [(1,)], every=0.01)
    server.psql(f"CREATE TABLESPACE early LOCATION '{early}'")
    server.psql("CREATE TABLE in_early TABLESPACE early AS SELECT 'old' AS x; CHECKPOINT")
    assert wait_until(lambda: server.query(phase) == [("streaming database files",)], every=0.01)
    server.psql(f"CREATE TABLESPACE late LOCATION '{space}'")
    server.psql("CREATE TABLE far TABLESPACE late AS SELECT 'old' AS x")
    ok(running.result())
    then = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("UPDATE far SET x = 'new'; UPDATE in_early SET x = 'new'; CHECKPOINT")
    archived.archive()
    seen = "SELECT f.x, e.x FROM far f, in_early e"

    live, pid = {**files(space), **files(early)}, server.pid
    with Restored(server, "beside") as new:
        refused(archived.recover(new, {"lsn": then}), str(early))
        away = {"early": str(server.directory / "elsewhere")}
        refused(
            archived.recover(new, {"lsn": then}, tablespace_locations=away), "while the backup was taken", str(early)
        )
        assert not new.data.exists() and not list(server.directory.glob("*.holdfast-restore*"))
    assert {**files(space), **files(early)} == live and server.query(seen) == [("new", "new")] and server.pid == pid
    done = ok(archived.in_place({"lsn": then}))
    assert server.query(seen) == [("old", "old")]
    kept = [Path(path) for path in done["recovery"]["kept"]]
    assert sum(path.name.startswith(("sp ace.before-", "early.before-")) and any(path.rglob("*")) for path in kept) == 2
    assert sorted(path.resolve() for path in (server.data / "pg_tblspc").iterdir()) == [early, space]
    # Where nobody uses the directories, replaying may make them.
    server.stop("immediate")
    for path in (space, early):
        path.rename(path.with_name(f"{path.name} gone"))
    with Restored(server, "beside", besides=[space, early]) as new:
        ok(archived.recover(new, {"lsn": then}))
        assert new.query(seen) == [("old", "old")]


@contextlib.contextmanager
def frozen(server: Server) -> Iterator[None]:
    """None of a server's processes does anything: whatever changes meanwhile, others have done."""
    pid = server.pid
    assert pid is not None
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    family = [pid, *map(int, children)]
    for number in family:
        os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in reversed(family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)


@pytest.mark.extended
@pytest.mark.parametrize("action", ["promote", "pause"])
def test_nothing_of_the_live_server_is_touched(server_factory: Callable[..., Server], action: str) -> None:
    """A clone beside the running server, on its host and under its name, by defaults: checksums of everything of the live one, which stands still
    meanwhile: data, tablespaces, sockets, logs, pid files, archive, a publisher's slot (CASES 1.10, 1.11, 1.54)."""
    publisher = server_factory(15, settings=SETTINGS, initdb=SMALL)
    publisher.psql(
        "CREATE TABLE news (n int); CREATE PUBLICATION p FOR TABLE news; SELECT pg_create_logical_replication_slot('s', 'pgoutput')"
    )
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    sockets, logs = server.server_directory("sockets"), server.server_directory("logs")
    with (server.data / "postgresql.conf").open("a") as stream:
        stream.write(
            f"unix_socket_directories = '{sockets}'\nlog_directory = '{logs}'\nlogging_collector = on\n"
            f"external_pid_file = '{logs}/pid'\nhba_file = '{server.data}/pg_hba.conf'\ndata_directory = '{server.data}'\n"
            f"shared_preload_libraries = 'pg_cron'\nprimary_conninfo = 'port={publisher.port}'\n"
            "listen_addresses = '*'\ncluster_name = 'main'\n"
        )
    server.restart()
    for name in ("one", "two"):
        server.psql(f"CREATE TABLESPACE {name} LOCATION '{server.server_directory(name)}'")
        server.psql(f"CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 100) AS n")
    server.psql("CREATE EXTENSION pg_cron; CREATE TABLE jobs (n int)")
    server.psql("SELECT cron.schedule('* * * * *', 'INSERT INTO jobs VALUES (1)'); CREATE TABLE news (n int)")
    dsn = f"host=127.0.0.1 port={publisher.port} user=postgres password={publisher.password} dbname=postgres"
    server.psql(f"CREATE SUBSCRIPTION sub CONNECTION '{dsn}' PUBLICATION p WITH (create_slot = false, slot_name = s)")
    archived = Archived.of(server)
    archived.archive()
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("INSERT INTO in_one SELECT generate_series(1, 10)")
    archived.archive()
    mapped = {name: str(server.directory / f"clone {name}") for name in ("one", "two")}
    slot = "SELECT confirmed_flush_lsn, active_pid FROM pg_replication_slots WHERE slot_name = 's'"
    with Restored(server, "clone", besides=[Path(path) for path in mapped.values()]) as new, frozen(server):
        before, held = files(server.directory), publisher.query(slot)
        refused(archived.recover(new, {"lsn": lsn, "action": action}), str(server.directory / "one"))
        ok(archived.recover(new, {"lsn": lsn, "action": action}, tablespace_locations=mapped))
        publisher.psql("INSERT INTO news VALUES (1)")
        if action == "promote":
            new.psql(
                "INSERT INTO in_one SELECT generate_series(1, 1000); UPDATE in_two SET n = 0; CHECKPOINT; SELECT pg_switch_wal()"
            )
            new.restart()
            assert new.query("SELECT count(*) FROM in_one") == [(1100,)]
        after = files(server.directory)
        changed = sorted(name for name in before if after.get(name) != before[name])
        added = {name.split("/")[0] for name in set(after) - set(before)}
        assert not changed, changed
        assert added <= {"clone", "clone one", "clone two", "clone.log", "sockets"}, added
        assert {name for name in set(after) - set(before) if name.startswith("sockets/")} <= {
            f"sockets/.s.PGSQL.{new.port}.lock"
        }
        assert publisher.query(slot) == held
    assert server.query("SELECT count(*) FROM in_one") == [(110,)] and server.query(
        "SELECT subenabled FROM pg_subscription"
    ) == [(True,)]
    server.psql("DROP SUBSCRIPTION sub")
