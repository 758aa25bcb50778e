# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery in place that is killed leaves the old server as it was, or says in its next run what it found, and goes on.

The kind: half done looks whole. Killed at each step after the old server was stopped, by SIGKILL: nothing half old and half new can be started, the next
run says first that the server is down and how it is started, takes the moves back, and does what it was asked (CASES 2.16).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from generators import server_faults
from lab.answers import ok
from lab.playbooks import run_module, start_module
from lab.recoveries import SETTINGS, Archived
from lab.servers import Server
from lab.waiting import wait_until

#: seeds of faults by chance that broke something once
KEPT: tuple[int, ...] = (11,)


@pytest.mark.extended
@pytest.mark.parametrize("step", ["stopped", "recovering", "aside"])
@pytest.mark.extended
def test_killed_after_the_stop(server_factory: Callable[..., Server], step: str) -> None:
    server = server_factory(16, settings=SETTINGS, initdb=("--wal-segsize=1",))
    space = server.server_directory("space")
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'")
    server.psql("CREATE TABLE far TABLESPACE away AS SELECT 'old' AS x")
    archived = Archived.of(server)
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("UPDATE far SET x = 'new'")
    archived.archive()
    target = {"lsn": lsn, "inclusive": False}
    staged = server.directory / "data.holdfast-restore"
    conditions: dict[str, Callable[[], bool]] = {
        "stopped": lambda: (server.directory / "data.holdfast-restore.journal").exists() and server.pid is None,
        "recovering": lambda: (staged / "postmaster.pid").exists() and not (server.data / "postmaster.pid").exists(),
        "aside": lambda: not server.data.exists() or bool(list(server.directory.glob("*.before-*"))),
    }
    running = start_module(
        "pg_recover",
        {
            **archived.options,
            "data_directory": str(server.data),
            "recovery_target": target,
            "force": True,
            "confirm": [str(server.data)],
            "stop_server": True,
        },
    )
    assert wait_until(conditions[step], every=0.002), running.result().msg
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    # A boot in between starts one whole server, or none.
    if (server.data / "PG_VERSION").exists() and server.pid is None:
        server.start()
        assert server.query("SELECT x FROM far") in ([("new",)], [("old",)])
        server.stop()

    journal = server.directory / "data.holdfast-restore.journal"
    if journal.exists():
        others_see_it(archived)
        planned = ok(archived.in_place(target, check=True))
        assert "interrupted" in planned["plan"][0] and "pg_ctl" in planned["plan"][0], planned["plan"]
        failed = archived.in_place({"name": "never made"})
        assert failed.failed and "pg_ctl" in failed.msg and "is down" in failed.msg, failed.msg
    ok(archived.in_place(target))
    assert server.query("SELECT x FROM far") == [("old",)]
    assert not journal.exists() and not list(server.directory.glob("*.holdfast-restore*"))
    assert [Path(path).resolve() for path in (server.data / "pg_tblspc").iterdir()] == [space]


@pytest.mark.extended
@pytest.mark.parametrize("step", ["stopping", "recovering", "starting"])
def test_told_to_stop(server_factory: Callable[..., Server], step: str) -> None:
    """SIGTERM while pg_ctl stops or starts a server, or in between: the old one was called running while it still went down, and a new one
    that was in place was left down, without a word. What the run says is so: the old one runs again, or the new one does."""
    server = server_factory(16, settings=SETTINGS, initdb=("--wal-segsize=1",))
    server.psql("CREATE TABLE t AS SELECT 1 AS x")
    archived = Archived.of(server)
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("INSERT INTO t VALUES (2)")
    archived.archive()
    target = {"lsn": lsn, "inclusive": False}
    consent = {"force": True, "confirm": [str(server.data)], "stop_server": True}
    wanted = {**archived.options, **consent, "data_directory": str(server.data), "recovery_target": target}
    staged = server.directory / "data.holdfast-restore"
    conditions: dict[str, Callable[[], bool]] = {
        "stopping": lambda: "received fast shutdown request" in server.log.read_text(),
        "recovering": lambda: (staged / "postmaster.pid").exists() and server.pid is None,
        "starting": (server.data / "holdfast-start.log").exists,
    }
    running = start_module("pg_recover", wanted)
    assert wait_until(conditions[step], every=0.001), running.result().msg
    os.kill(running.process.pid, signal.SIGTERM)
    done = running.result()
    assert done.failed and "stopped by SIGTERM" in done.msg, done.result
    assert server.pid is not None, done.msg
    if step == "starting":
        assert "is in place, and runs" in done.msg and done.changed, done.msg
        assert server.query("SELECT count(*) FROM t") == [(1,)]
    else:
        assert "The old server is as it was, and runs again" in done.msg and not done.changed, done.msg
        assert server.query("SELECT count(*) FROM t") == [(2,)]
        assert not list(server.directory.glob("data.*"))
    ok(archived.in_place(target))
    assert server.query("SELECT count(*) FROM t") == [(1,)]
    assert not list(server.directory.glob("*.holdfast-restore*"))


def others_see_it(archived: Archived) -> None:
    """Whoever else comes to that server says what was found: before, they said no more than that it does not answer."""
    server = archived.server
    primary = {"primary_host": "127.0.0.1", "primary_port": server.port, "primary_user": "postgres"}
    standby = {"data_directory": str(server.data), "primary_password": server.password, **primary}
    assert run_module("pg_standby", standby, check=True).failed
    if not (server.data / "PG_VERSION").exists():
        return
    server.start()
    for module, options in (
        ("wal_archive", archived.options),
        ("pg_backup", {**archived.options, "engine": "pg_basebackup"}),
        ("pg_backup", archived.options),
        ("pg_restore_point", {"name": "now"}),
    ):
        done = run_module(module, {**server.login(), **options}, check=True)
        assert "was interrupted" in str(ok(done).get("warnings")), module
    server.stop()


@pytest.mark.extended
@pytest.mark.parametrize("step", ["stopped", "recovering", "swapped"])
def test_somebody_else_starts_a_server_meanwhile(server_factory: Callable[..., Server], step: str) -> None:
    """A boot, a service manager or a person: what was written to the old server in between was lost, and it ran on in a directory with another
    name; the new one, started by somebody else, was stopped and taken back."""
    server = server_factory(16, settings=SETTINGS, initdb=("--wal-segsize=1",))
    server.psql("CREATE TABLE t AS SELECT 1 AS x")
    archived = Archived.of(server)
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("INSERT INTO t VALUES (2)")
    archived.archive()
    staged = server.directory / "data.holdfast-restore"
    conditions: dict[str, Callable[[], bool]] = {
        "stopped": lambda: (server.directory / "data.holdfast-restore.journal").exists() and server.pid is None,
        "recovering": lambda: (staged / "postmaster.pid").exists() and server.pid is None,
        "swapped": lambda: bool(list(server.directory.glob("data.before-*"))) and (server.data / "PG_VERSION").exists(),
    }
    target = {"lsn": lsn, "inclusive": False}
    running = start_module(
        "pg_recover",
        {
            **archived.options,
            "data_directory": str(server.data),
            "recovery_target": target,
            "force": True,
            "confirm": [str(server.data)],
            "stop_server": True,
        },
    )
    wait_until(conditions[step], every=0.002)
    with contextlib.suppress(
        *([RuntimeError] if step == "swapped" else [])
    ):  # the module starts it too, and may be quicker
        server.start()
    if step != "swapped":
        server.psql("INSERT INTO t VALUES (3)")
    done = running.result()
    if step == "swapped":
        assert not done.failed, done.msg
        assert server.query("SELECT count(*) FROM t") == [(1,)]
    else:
        # Started in the very moment of the stop it looks to pg_ctl as if it had never stopped.
        said = ("Somebody has started the old server", "did not stop")
        assert done.failed and any(words in done.msg for words in said), done.msg
        assert server.query("SELECT count(*) FROM t") == [(3,)]
        assert not list(server.directory.glob("data.*"))
    ok(archived.in_place(target))
    assert server.query("SELECT count(*) FROM t") == [(1,)]
    mine = [line for line in postmasters() if str(server.directory) in line]
    assert len(mine) == 1, mine


@pytest.mark.extended
def test_server_faults_by_chance() -> None:
    """Some of ``generators.server_faults``; `make faults` runs it for longer. Seeds that broke something once come first."""
    with server_faults.World() as world:
        for seed in (*KEPT, *(random.randrange(10**6) for _number in range(4))):
            print(server_faults.run(seed, world))


def postmasters() -> list[str]:
    """The command lines of every postmaster of this host."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "/postgres -D" in line:
                    found.append(line)
    return found
