# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any moment: under a load we note what a table holds at times, positions, transactions and restore points, and come back to
them. Exactly the rows of that moment have to be there. What is expected comes from the server itself and from its own
pg_waldump, never from the collection."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import ModuleResult, run_module
from lab.restored import Restored
from lab.servers import Server

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
CHURN = "INSERT INTO churn SELECT n, md5(random()::text) FROM generate_series(1, 400) n;\n"
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
    told = server.run("pg_waldump", "-p", str(server.data / "pg_wal"), f"--start={lsn}", f"--xid={xid}", "-r",
                      "Transaction", "-n", "1").decode()  # fmt: skip
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


def ok(done: ModuleResult) -> dict[str, Any]:
    assert not done.failed and done.result, done.msg or done.stderr
    return done.result


def archived(history: History) -> dict[str, Any]:
    """Everything written so far is in the archive."""
    return ok(run_module("wal_archive", {**history.server.login(), **history.options, "state": "verified"}))


def start_archiving(server: Server, compression: str = "zstd") -> History:
    history = History(server, server.server_directory("repository"))
    wanted = {**server.login(), **history.options, "compression": compression}
    assert not ok(run_module("wal_archive", wanted))["restart_required"]
    return history


def back_up(history: History, **options: Any) -> str:
    made = ok(run_module("pg_backup", {**history.server.login(), **history.options, "engine": "pg_basebackup", **options}))
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


def restore(history: History, to: Server, target: dict[str, Any], check: bool = False, **options: Any) -> ModuleResult:
    given = {
        **history.options,
        "data_directory": str(to.data),
        "owner": to.data.parent.owner(),
        "recovery_target": target,
        **({"settings": to.settings} if isinstance(to, Restored) else {}),
        **options,
    }
    return run_module("pg_restore", given, check=check)


@pytest.fixture(scope="module")
def histories(server_factory: Callable[..., Server]) -> Callable[[int], History]:
    made: dict[int, History] = {}

    def of(major: int) -> History:
        if major not in made:
            server = server_factory(major, settings=SETTINGS, initdb=SEGMENTS[major])
            made[major] = live(server, COMPRESSION[major])
        return made[major]

    return of


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
    names = sorted(path.name for path in history.repository.rglob("*"))
    for number, (target, rows) in enumerate(targets(history, SEED + major, MOMENTS[major])):
        with Restored(old, f"moment {number}") as new:
            planned = ok(restore(history, new, target, check=True))
            assert planned["changed"] and not new.data.exists()
            done = ok(restore(history, new, target))
            assert done["plan"] == planned["plan"]
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
    assert sorted(path.name for path in history.repository.rglob("*")) == names
    assert content(old)[0] >= history.moments[-1].after[0]


def moment_of(target: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(target["time"])


def wait_until(condition: Callable[[], bool], timeout: float = 20) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
