# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any moment: under a load we note what a table holds at times, positions, transactions and restore points, and come back to
them. Exactly the rows of that moment have to be there. What is expected comes from the server itself and from its own
pg_waldump, never from the collection."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lab import fault
from lab.answers import ok, refused
from lab.playbooks import ModuleResult, run_module, start_module
from lab.restored import Restored
from lab.servers import Server
from lab.waiting import pids, wait_until

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

SEED = 20261121
# Twenty moments over three versions; a segment of 1 MB makes many of them.
MOMENTS = {15: 7, 16: 7, 18: 6}
SEGMENTS = {15: (), 16: ("--wal-segsize=1",), 18: ("--wal-segsize=1",)}
COMPRESSION = {15: "gzip", 16: "zstd", 18: "none"}
SETTINGS = {"track_commit_timestamp": "on", "hot_standby": "on", "archive_mode": "on"}

LEDGER = "CREATE TABLE ledger (id bigserial PRIMARY KEY, client int, filling text); CREATE TABLE churn (n int, x text)"
# Transactions of one to five rows, one of ten of which is rolled back, beside others that write much and mean nothing.
LOAD = r"""
\set rows random(1, 5)
\set fate random(1, 10)
BEGIN;
INSERT INTO ledger (client, filling) SELECT :client_id, repeat('x', 100) FROM generate_series(1, :rows);
\if :fate = 1
ROLLBACK;
\else
COMMIT;
\endif
"""
CHURN = "INSERT INTO churn SELECT n, md5(random()::text) FROM generate_series(1, 150) n;\n"
CONTENT = "SELECT count(*), md5(string_agg(id::text, ',' ORDER BY id)) FROM ledger"


@dataclass(frozen=True)
class Moment:
    """What the ledger held at a moment (`before`), and after one more transaction (`after`), which nothing came between."""

    before: tuple[int, str]
    after: tuple[int, str]
    at: datetime
    lsn: str
    name: str
    xid: int
    committed_at: datetime
    commit_lsn: str


@dataclass
class History:
    """A server that was written to for a while, with its repository, and what is known of the time."""

    server: Server
    repository: Path
    moments: list[Moment] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        return {"repository": {"path": str(self.repository)}, "bin_dir": str(self.server.bindir)}


def content(server: Server) -> tuple[int, str]:
    count, digest = server.query(CONTENT)[0]
    return int(count), str(digest)


def note(server: Server, name: str) -> Moment:
    """Hold the writers for an instant, and write down what there is."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:

        def ask(statement: str) -> tuple[Any, ...]:
            cursor.execute(statement)
            row: tuple[Any, ...] = cursor.fetchone()
            return row

        cursor.execute("BEGIN; LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE")
        before = ask(CONTENT)
        at, lsn = ask("SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text")
        cursor.execute("SELECT pg_create_restore_point(%s)", [name])
        xid = ask("INSERT INTO ledger (client) VALUES (-1) RETURNING pg_current_xact_id()::text")[0]
        after = ask(CONTENT)
        cursor.execute("COMMIT")
        committed_at = ask(f"SELECT pg_xact_commit_timestamp('{xid}'::xid)")[0]
    timeline = str(int(server.query("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0][:8], 16))
    told = server.run("pg_waldump", "-p", str(server.data / "pg_wal"), "-t", timeline, f"--start={lsn}", f"--xid={xid}",
                      "-r", "Transaction", "-n", "1").decode()  # fmt: skip
    commit = re.search(r"lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: COMMIT", told)
    assert commit, told
    return Moment(before, after, at, lsn, name, int(xid), committed_at, commit[1])


@contextmanager
def load(server: Server) -> Iterator[None]:
    """pgbench, until the end of the block."""
    files = {"ledger.sql": LOAD, "churn.sql": CHURN}
    for name, text in files.items():
        (server.directory / name).write_text(text)
    scripts = [word for name in files for word in ("-f", str(server.directory / name))]
    argv = [server.program("pgbench"), "-n", "-c", "3", "-T", "120", "--rate=250", *scripts]
    with subprocess.Popen(argv, env=server.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as bench:
        try:
            yield
            assert bench.poll() is None, bench.stderr and bench.stderr.read().decode()
        finally:
            bench.terminate()


def archived(history: History) -> dict[str, Any]:
    """Everything written so far is in the archive."""
    return ok(run_module("wal_archive", {**history.server.login(), **history.options, "state": "verified"}))


def start_archiving(server: Server, compression: str = "zstd") -> History:
    history = History(server, server.server_directory("repository"))
    wanted = {**server.login(), **history.options, "compression": compression}
    assert not ok(run_module("wal_archive", wanted))["restart_required"]
    return history


def back_up(history: History, **options: Any) -> str:
    made = ok(
        run_module("pg_backup", {**history.server.login(), **history.options, "engine": "pg_basebackup", **options})
    )
    backup_id: str = made["backup"]["id"]
    return backup_id


def live(server: Server, compression: str) -> History:
    """Three backups under load, and a dozen moments before, between, during and after them."""
    history = start_archiving(server, compression)
    server.psql(LEDGER)
    with load(server):
        for number in range(3):
            history.backups.append(back_up(history, include_wal=number != 1))
            for step in range(4):
                time.sleep(0.45)
                history.moments.append(note(server, f"moment {number}.{step}"))
        time.sleep(0.2)
    archived(history)
    return history


def arguments(history: History, to: Server, target: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        **history.options,
        "data_directory": str(to.data),
        "owner": to.data.parent.owner(),
        "recovery_target": target,
        **({"settings": to.settings} if isinstance(to, Restored) else {}),
        **options,
    }


def restore(history: History, to: Server, target: dict[str, Any], check: bool = False, **options: Any) -> ModuleResult:
    return run_module("pg_recover", arguments(history, to, target, **options), check=check)


@pytest.fixture(scope="module")
def histories(server_factory: Callable[..., Server]) -> Callable[[int], History]:
    made: dict[int, History] = {}

    def of(major: int) -> History:
        if major not in made:
            server = server_factory(major, settings=SETTINGS, initdb=SEGMENTS[major])
            made[major] = live(server, COMPRESSION[major])
        return made[major]

    return of


def archive_of(history: History) -> list[str]:
    """What lies in the repository, but for the marks of those who restore."""
    return sorted(path.name for path in history.repository.rglob("*") if path.name != "_readers")


def targets(history: History, seed: int, count: int) -> list[tuple[dict[str, Any], tuple[int, str]]]:
    """Random moments, each as a target of some kind, with what has to be there then."""
    chance = random.Random(seed)
    # The first of them lie before a recovery can reach: a backup's end is rounded up to the second.
    moments = history.moments[3:]
    kinds: list[Callable[[Moment], tuple[dict[str, Any], tuple[int, str]]]] = [
        lambda m: ({"time": m.at.isoformat()}, m.before),
        lambda m: ({"time": m.committed_at.isoformat()}, m.after),
        lambda m: ({"time": m.committed_at.isoformat(), "inclusive": False}, m.before),
        lambda m: ({"lsn": m.lsn}, m.before),
        lambda m: ({"lsn": m.commit_lsn}, m.after),
        lambda m: ({"lsn": m.commit_lsn, "inclusive": False}, m.before),
        lambda m: ({"xid": str(m.xid)}, m.after),
        lambda m: ({"xid": str(m.xid), "inclusive": False}, m.before),
        lambda m: ({"name": m.name}, m.before),
    ]
    chance.shuffle(kinds)
    actions = ["promote", "pause", "shutdown"]
    found = []
    for number in range(count):
        target, rows = kinds[number % len(kinds)](chance.choice(moments))
        found.append(({**target, "action": actions[number % 3]}, rows))
    return found


@pytest.mark.parametrize("major", MOMENTS)
def test_random_moments(histories: Callable[[int], History], major: int) -> None:
    history = histories(major)
    old = history.server
    names = archive_of(history)
    for number, (target, rows) in enumerate(targets(history, SEED + major, MOMENTS[major])):
        with Restored(old, f"moment {number}") as new:
            planned = ok(restore(history, new, target, check=True)) if number % 3 == 0 else None
            assert not new.data.exists()
            done = ok(restore(history, new, target))
            assert planned is None or (planned["changed"], planned["plan"]) == (True, done["plan"])
            landing = done["recovery"]
            if target["action"] == "shutdown":
                assert landing["state"] == "shut down" and new.pid is None
                auto = new.data / "postgresql.auto.conf"
                auto.write_text(auto.read_text().replace("recovery_target_action = 'shutdown'", ""))
                new.start()
            elif target["action"] == "pause":
                assert landing["state"] == "paused" and landing["timeline"] == 1
                assert wait_until(lambda: new.query("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
            else:
                assert landing["state"] == "promoted" and landing["timeline"] == 2
                assert new.query("SELECT pg_is_in_recovery()") == [(False,)]
                new.psql("CREATE TABLE writable ()")
            assert content(new) == rows, target
            assert new.query("SHOW archive_mode") == [("off",)]
            if "time" in target and landing["commit_time"]:
                assert datetime.fromisoformat(landing["commit_time"].replace("Z", "+00:00")) <= moment_of(target)
    # None of them wrote into the old server's archive, and the old server never stopped.
    assert archive_of(history) == names
    assert content(old)[0] >= history.moments[-1].after[0]


# In place, and over several timelines


def remembered(history: History, count: int, prefix: str) -> list[Moment]:
    """Moments, each in a segment of its own, and all of them in the archive."""
    made = []
    for number in range(count):
        history.server.psql("INSERT INTO ledger (filling) SELECT 'quiet' FROM generate_series(1, 10)")
        made.append(note(history.server, f"{prefix} {number}"))
        history.server.psql("INSERT INTO ledger (filling) VALUES ('after it'); SELECT pg_switch_wal()")
    archived(history)
    return made


def quiet(server: Server, **options: Any) -> History:
    """A backup of an idle server, and six moments after it."""
    history = start_archiving(server)
    server.psql(LEDGER)
    history.backups.append(back_up(history, **options))
    time.sleep(1.1)  # a backup's end is rounded up to the second
    history.moments = remembered(history, 6, "quiet")
    return history


def in_place(history: History, target: dict[str, Any], **options: Any) -> ModuleResult:
    data = str(history.server.data)
    given = {"force": True, "confirm": [data], "stop_server": True, **options}
    return restore(history, history.server, target, **given)


def beside(server: Server) -> set[str]:
    """What lies around a data directory."""
    return {path.name for path in server.directory.iterdir() if not path.name.startswith(".s.")}


@pytest.mark.parametrize("major", [15, 18])
def test_in_place(server_factory: Callable[..., Server], major: int) -> None:
    server = server_factory(major, settings=SETTINGS, initdb=("--wal-segsize=1",))
    space = server.server_directory("space")
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'; CREATE TABLE far TABLESPACE away AS SELECT 1 AS n")
    history = quiet(server)
    server.psql("UPDATE far SET n = 2")
    wanted, names = history.moments[2], beside(server)
    target = {"time": wanted.at.isoformat()}

    refused(restore(history, server, target), "is not empty", "force: true", str(server.data))
    refused(in_place(history, target, confirm=["/elsewhere"]), "is not empty", "confirm")
    refused(in_place(history, target, stop_server=False), "A server is running", "stop_server: true")
    planned = ok(in_place(history, target, check=True))
    assert content(server)[0] > wanted.before[0] and beside(server) == names  # all of this touched nothing
    done = ok(in_place(history, target))
    assert [words.split(".before-")[0] for words in done["plan"]] == [
        words.split(".before-")[0] for words in planned["plan"]
    ]
    assert content(server) == wanted.before and server.query("SELECT n FROM far") == [(1,)]
    assert server.query("SHOW archive_mode") == [("off",)]
    # What was there lies beside, whole, with its own tablespace.
    kept = [Path(path) for path in done["recovery"]["kept"]]
    assert {path.name for path in kept} == beside(server) - names
    assert (kept[0] / "PG_VERSION").exists() and any(kept[1].rglob("*"))
    link = next((kept[0] / "pg_tblspc").iterdir())
    assert link.resolve() == kept[1] and next((server.data / "pg_tblspc").iterdir()).resolve() == space
    assert not ok(in_place(history, target))["changed"]


def test_timelines(server_factory: Callable[..., Server]) -> None:
    server = server_factory(16, settings=SETTINGS, initdb=("--wal-segsize=1",))
    history = quiet(server)
    first, second = history.moments[1], history.moments[4]

    # Back to the first; it archives on, on timeline 2.
    done = ok(in_place(history, {"name": first.name}, keep_archiving=True))
    assert done["recovery"]["timeline"] == 2 and content(server) == first.before
    assert server.query("SHOW archive_mode") == [("on",)]
    on_two = remembered(history, 2, "on two")
    assert "00000002.history" in "".join(path.name for path in history.repository.rglob("*"))
    later = back_up(history)

    # The second one is no moment of timeline 2: no restore lands there by mistake, and the old server comes back.
    refused(in_place(history, {"name": second.name}), "is not in the WAL from the backup", "Nothing was touched")
    refused(in_place(history, {"name": second.name, "timeline": "latest"}), "Nothing was touched")
    assert content(server)[0] >= on_two[1].after[0]
    told = ok(in_place(history, {"time": second.at.isoformat()}, check=True))
    assert "set timeline: 1" in str(told["warnings"])
    done = ok(in_place(history, {"time": second.at.isoformat(), "timeline": "1"}, keep_archiving=True))
    assert done["recovery"]["timeline"] == 3 and content(server) == second.before
    on_three = remembered(history, 2, "on three")

    # Every moment of each, from beside.
    for target, rows in (
        ({"lsn": on_three[1].commit_lsn}, on_three[1].after),
        ({"xid": str(on_two[0].xid), "timeline": "2"}, on_two[0].after),
        ({"time": on_two[1].at.isoformat(), "timeline": "0x2"}, on_two[1].before),
        ({"time": second.at.isoformat(), "timeline": "current"}, second.before),
        ({"name": first.name, "timeline": "current"}, first.before),
    ):
        # The newest backup is of timeline 2, so "current" has to be told from where.
        options = {"backup_id": history.backups[0]} if target.get("timeline") == "current" else {}
        with Restored(server, "beside") as new:
            assert ok(restore(history, new, target, **options))["recovery"]["timeline"] == 4
            assert content(new) == rows, target
    # The wrong way.
    with Restored(server, "wrong") as new:
        refused(restore(history, new, {"lsn": on_three[1].lsn}, backup_id=later), later, "not on the way to timeline 3")
        refused(restore(history, new, {"latest": True, "timeline": "7"}), "00000007.history")
        refused(restore(history, new, {"name": on_two[0].name}), "Nothing was touched")
        assert not new.data.exists()

    # Without the history nobody can know what the segments of timeline 3 follow.
    missing = history.repository / "main" / "_wal" / "00000003.history.zst"
    missing.rename(missing.with_name(".away"))
    with Restored(server, "lost") as new:
        refused(restore(history, new, {"latest": True}), "00000003.history")
        refused(restore(history, new, {"lsn": on_three[1].lsn, "timeline": "3"}), "00000003.history")
        assert not new.data.exists()
    missing.with_name(".away").rename(missing)


def test_the_ends(histories: Callable[[int], History]) -> None:
    """The latest moment, a backup's own end, and one backup among others."""
    history = histories(18)
    for target, options, check in (
        ({}, {}, lambda rows: rows[0] >= history.moments[-1].after[0]),
        ({"latest": True}, {"backup_id": history.backups[0]}, lambda rows: rows[0] >= history.moments[-1].after[0]),
        ({"immediate": True}, {"backup_id": history.backups[1]}, lambda rows: rows[0] < history.moments[4].after[0]),
    ):
        with Restored(history.server, "end") as new:
            done = ok(restore(history, new, target, **options))
            assert done["recovery"]["backup"] == options.get("backup_id", history.backups[-1])
            assert check(content(new)), target


# Bad days. Each gives one clear error, touches nothing, and leaves the old server running.


@pytest.fixture(scope="module")
def idle(server_factory: Callable[..., Server]) -> History:
    return quiet(server_factory(16, settings=SETTINGS, initdb=("--wal-segsize=1",)))


@pytest.fixture
def harmed(idle: History) -> Iterator[History]:
    """The same with a copy of the repository, for a test to harm."""
    place = idle.server.directory / "harmed"
    shutil.copytree(idle.repository, place)
    for path in (place, *place.rglob("*")):
        shutil.chown(path, idle.server.data.owner())
    before = content(idle.server)
    yield replace(idle, repository=place)
    shutil.rmtree(place)
    assert content(idle.server) == before


def refused_untouched(history: History, target: dict[str, Any], *words: str, **options: Any) -> None:
    """The plan refuses, the run does too, and not a file is made for it."""
    names = beside(history.server)
    with Restored(history.server, "refused") as new:
        for check in (True, False):
            refused(restore(history, new, target, check=check, **options), *words)
    assert beside(history.server) == names


def segments(history: History) -> list[Path]:
    return sorted((history.repository / "main" / "_wal").glob("0*.zst"))


def of(history: History, moment: Moment) -> Path:
    """The segment in which a moment's commit lies."""
    name = history.server.query("SELECT pg_walfile_name(%s::pg_lsn)", values=[moment.commit_lsn])[0][0]
    return history.repository / "main" / "_wal" / f"{name}.zst"


def test_a_segment_missing_in_the_middle(harmed: History) -> None:
    gone = of(harmed, harmed.moments[2])
    gone.unlink()
    name = gone.name[:24]
    for target in (
        {"time": harmed.moments[4].at.isoformat()},
        {"lsn": harmed.moments[4].lsn},
        {"latest": True},
        {"time": harmed.moments[2].committed_at.isoformat()},  # inside the gap
        {"lsn": harmed.moments[2].lsn},
    ):
        refused_untouched(harmed, target, name, "Nothing was touched", "What can be reached")
    with Restored(harmed.server, "before it") as new:
        ok(restore(harmed, new, {"lsn": harmed.moments[1].lsn}))
        assert content(new) == harmed.moments[1].before


def test_segments_missing_at_the_end(harmed: History) -> None:
    last = of(harmed, harmed.moments[3])
    for path in segments(harmed):
        if path.name > last.name:
            path.unlink()
    refused_untouched(
        harmed, {"time": harmed.moments[5].at.isoformat()}, "the last archived commit is of", last.name[:24]
    )
    refused_untouched(harmed, {"lsn": harmed.moments[5].lsn}, "the archive has not", last.name[:24])
    for target in ({"name": harmed.moments[5].name}, {"xid": str(harmed.moments[5].xid)}):
        with Restored(harmed.server, "not found") as new:
            refused(restore(harmed, new, target), "is not in the WAL from the backup", "Nothing was touched")
            assert not new.data.exists() and "not found.holdfast-restore" not in beside(harmed.server)
    with Restored(harmed.server, "the last") as new:
        ok(restore(harmed, new, {"latest": True}))
        assert content(new)[0] == harmed.moments[3].after[0] + 1


def test_targets_that_cannot_be(idle: History) -> None:
    newest, first = idle.moments[-1].committed_at, idle.moments[0].at
    refused_untouched(idle, {"time": (newest + timedelta(days=1)).isoformat()}, "the last archived commit is of")
    early = (first - timedelta(days=1)).isoformat()
    refused_untouched(idle, {"time": early}, "not before the target", idle.backups[0], "What can be reached")
    refused_untouched(idle, {"lsn": "0/300000"}, "not before the target")
    refused_untouched(idle, {"lsn": "FF/0"}, "the archive has not")
    refused_untouched(idle, {"time": "2026-11-21 03:00:00"}, "recovery_target.time", "offset")
    refused_untouched(idle, {"time": "yesterday"}, "recovery_target.time", "is not a time")
    refused_untouched(idle, {"time": newest.isoformat(), "xid": "800"}, "several targets")
    refused_untouched(idle, {"xid": "2"}, "recovery_target.xid")
    refused_untouched(idle, {"name": "quiet 0", "inclusive": False}, "inclusive")
    refused_untouched(idle, {"latest": True, "action": "pause"}, "recovery_target.action")
    refused_untouched(idle, {}, "20000101T000000Z-abcdef", backup_id="20000101T000000Z-abcdef")
    refused_untouched(idle, {}, "nowhere", tablespace_locations={"nowhere": "/tmp/x"})
    refused_untouched(idle, {}, "databases", databases=["postgres"])
    refused_untouched(idle, {}, "keep_archiving", "two servers", keep_archiving=True)
    with Restored(idle.server, "no such") as new:
        refused(restore(idle, new, {"xid": "4000000"}), "Nothing was touched")
        refused(restore(idle, new, {"name": "never made"}), "Nothing was touched")


def test_directories_of_others(idle: History, server_factory: Callable[..., Server]) -> None:
    for major, words in ((16, ["another server", "accept_new_server"]), (15, ["PostgreSQL 15", "an empty directory"])):
        other = server_factory(major)
        other.psql("CREATE TABLE mine ()")
        given = {"force": True, "confirm": [str(other.data)], "stop_server": True}
        planned = restore(idle, other, {}, check=True, **given)
        if major == 16:  # what has to be agreed to, a plan only tells
            assert ok(planned)["consent"] == {"accept_new_server": True}
        else:
            refused(planned, *words)
        refused(restore(idle, other, {}, **given), *words)
        other.psql("INSERT INTO mine DEFAULT VALUES")  # it runs
    held = idle.server.server_directory("held")
    (held / "a file").touch()
    given = {"force": True, "confirm": [str(held)], "data_directory": str(held)}
    refused(restore(idle, idle.server, {}, **given), "holds files, and no server")
    assert [path.name for path in held.iterdir()] == ["a file"]
    shutil.rmtree(held)


def test_a_tablespace_with_files_in_it(server_factory: Callable[..., Server]) -> None:
    server = server_factory(16, settings=SETTINGS)
    space, other = server.server_directory("space"), server.server_directory("other")
    (other / "precious").touch()
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'")
    history = quiet(server)
    before = sorted(space.rglob("*"))
    refused_untouched(history, {}, "tablespace_locations", str(space), "has files in it")
    refused_untouched(history, {}, str(other), "has files in it", tablespace_locations={"away": str(other)})
    assert sorted(space.rglob("*")) == before and (other / "precious").exists()


def artifact(history: History, name: str) -> Path:
    return next((history.repository / "main" / history.backups[0]).rglob(name))


def test_damaged_backups(harmed: History) -> None:
    base = artifact(harmed, "base.tar*")
    fault.flip_byte(base)
    names = beside(harmed.server)
    with Restored(harmed.server, "damaged") as new:
        refused(restore(harmed, new, {}), "is not what was written", "backup_id")
    refused(in_place(harmed, {}), "is not what was written")
    assert beside(harmed.server) == names and harmed.server.query("SELECT 1") == [(1,)]
    fault.truncate(base, 1000)
    refused_untouched(harmed, {}, base.name, "bytes instead of", "backup_id")
    base.unlink()
    refused_untouched(harmed, {}, base.name, "is missing", "backup_id")


def test_a_damaged_segment(harmed: History) -> None:
    fault.truncate(of(harmed, harmed.moments[1]), 500)
    names = beside(harmed.server)
    with Restored(harmed.server, "damaged") as new:
        refused(restore(harmed, new, {"lsn": harmed.moments[4].lsn}), "It is damaged")
    assert beside(harmed.server) == names


def test_an_encrypted_backup_without_the_right_key(server_factory: Callable[..., Server]) -> None:
    server = server_factory(16, settings=SETTINGS)
    secret = {"method": "aes256", "passphrase": "the right one"}
    history = quiet(server, encryption=secret)
    refused_untouched(history, {}, "encryption", "is missing", history.backups[0])
    refused_untouched(history, {}, "passphrase or key right?", encryption={"passphrase": "a wrong one"})
    with Restored(server, "with the key") as new:
        ok(restore(history, new, {"lsn": history.moments[2].lsn}, encryption={"passphrase": "the right one"}))
        assert content(new) == history.moments[2].before


def test_killed_half_way_and_run_again(idle: History) -> None:
    server = idle.server
    target = {"lsn": idle.moments[3].lsn}
    with Restored(server, "again") as new:
        staged = new.data.with_name(new.data.name + ".holdfast-restore")
        for condition in ((staged / "base").exists, (staged / "postmaster.pid").exists):
            running = start_module("pg_recover", arguments(idle, new, target))
            assert wait_until(condition), running.result().msg
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.wait()
            assert not new.data.exists() and staged.exists()
        planned = ok(restore(idle, new, target, check=True))
        assert "interrupted" in planned["plan"][0] and str(staged) in planned["plan"][0]
        assert ok(restore(idle, new, target))["changed"]
        assert content(new) == idle.moments[3].before
        assert not staged.exists() and len(pids(str(staged))) == 0
    assert content(server)[0] > 0


def test_two_at_once(idle: History) -> None:
    target = {"lsn": idle.moments[3].lsn}
    with Restored(idle.server, "both") as new:
        first = start_module("pg_recover", arguments(idle, new, target))
        assert wait_until(new.data.with_name("both.holdfast-restore").exists)
        first.process.send_signal(signal.SIGSTOP)
        refused(restore(idle, new, target), "Another restore", str(new.data))
        first.process.send_signal(signal.SIGCONT)
        assert ok(first.result())["changed"] and content(new) == idle.moments[3].before
    assert "both" not in str(beside(idle.server) - {"both.log"})


def test_a_server_so_damaged_that_nobody_knows_it(server_factory: Callable[..., Server]) -> None:
    server = server_factory(18, settings=SETTINGS)
    history = quiet(server)
    target = {"lsn": history.moments[5].lsn}
    server.stop("immediate")
    (server.data / "global" / "pg_control").write_bytes(b"")
    refused(in_place(history, target), "cannot be told", "accept_new_server")
    done = ok(in_place(history, target, accept_new_server=True))
    assert content(server) == history.moments[5].before
    assert (Path(done["recovery"]["kept"][0]) / "global" / "pg_control").stat().st_size == 0


def test_a_server_that_recovers_and_does_not_start(idle: History) -> None:
    """The old one comes back, and runs."""
    server, before, names = idle.server, content(idle.server), beside(idle.server)
    pid = server.pid
    target = {"lsn": idle.moments[2].lsn}
    wrong = {"shared_preload_libraries": "not_installed_here"}
    refused(in_place(idle, target, settings=wrong), "could not access file", "runs again", "package")
    assert content(server) == before and beside(server) == names and server.pid != pid
    with fault.refusing_port() as taken:
        refused(in_place(idle, target, settings={"port": str(taken)}), "could not be started", "runs again")
    assert content(server) == before
    # What recovered lies beside, to look at.
    assert beside(server) - names == {"data.holdfast-restore"}
    shutil.rmtree(server.data.with_name("data.holdfast-restore"))


def test_places_that_cannot_be_swapped(idle: History) -> None:
    if fault.can_mount():
        place = idle.server.directory / "mounted"
        with fault.small_filesystem(place, "500m"):
            shutil.chown(place, idle.server.data.owner())
            given = {"data_directory": str(place)}
            for check in (True, False):
                refused(restore(idle, idle.server, {}, check=check, **given), "mount point", "directory below it")
        place.rmdir()
    if os.geteuid() == 0:
        place = idle.server.directory / "of root"
        place.mkdir()
        given = {"data_directory": str(place), "owner": None}
        for check in (True, False):
            refused(restore(idle, idle.server, {}, check=check, **given), "owner", "root")
        place.rmdir()


@pytest.mark.parametrize("how", ["in place", "beside"])
def test_a_configuration_elsewhere(server_factory: Callable[..., Server], how: str) -> None:
    """As Debian has it: postgresql.conf, pg_hba.conf and conf.d, empty, in a directory of their own."""
    server = server_factory(15, settings=SETTINGS, start=False)
    etc = server.server_directory("et c")
    conf = etc / "postgresql.conf"
    text = (server.data / "postgresql.conf").read_text()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (server.data / name).rename(etc / name)
    (etc / "conf.d").mkdir()
    (etc / "conf.d" / "more.conf").write_text("work_mem = '7MB'\n")
    (etc / "empty.d").mkdir()
    conf.write_text(
        f"{text}\ndata_directory = '{server.data}'\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\n"
        "include_dir 'conf.d'\ninclude_dir = 'empty.d'\n"
    )
    for path in (etc, *etc.rglob("*")):
        shutil.chown(path, server.data.owner())
    server._as_server(
        "pg_ctl", "-D", str(server.data), "-l", str(server.log), "-w", "-o", f'-c "config_file={conf}"', "start"
    )
    try:
        history = quiet(server)
        wanted = history.moments[2]
        target = {"time": wanted.at.isoformat()}
        if how == "in place":
            before = {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
            ok(in_place(history, target))
            assert content(server) == wanted.before
            assert server.query("SHOW config_file") == [(str(conf),)] and server.query("SHOW work_mem") == [("7MB",)]
            assert {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()} == before
            return
        server.stop()
        etc.rename(server.directory / "lost")  # the host that had it is gone
        with Restored(server, "be side") as new:
            ok(restore(history, new, target))
            assert content(new) == wanted.before
            assert new.query("SHOW config_file") == [(str(new.data / "postgresql.conf"),)]
            assert new.query("SHOW hba_file") == [(str(new.data / "pg_hba.conf"),)]
            assert new.query("SHOW data_directory") == [(str(new.data),)]
            assert new.query("SHOW work_mem") == [("7MB",)]
    finally:
        if server.pid:
            server.stop("immediate")


def moment_of(target: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(target["time"])
