# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery in place that is killed leaves the old server as it was, or says in its next run what it found, and goes on.

The kind: half done looks whole. Killed at each step after the old server was stopped, by SIGKILL: nothing half old and half new can be started, the next
run says first that the server is down and how it is started, takes the moves back, and does what it was asked (CASES 2.16).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.answers import ok
from lab.playbooks import start_module
from lab.recoveries import SETTINGS, Archived
from lab.servers import Server
from lab.waiting import wait_until


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
        planned = ok(archived.in_place(target, check=True))
        assert "interrupted" in planned["plan"][0] and "pg_ctl" in planned["plan"][0], planned["plan"]
        failed = archived.in_place({"name": "never made"})
        assert failed.failed and "pg_ctl" in failed.msg and "is down" in failed.msg, failed.msg
    ok(archived.in_place(target))
    assert server.query("SELECT x FROM far") == [("old",)]
    assert not journal.exists() and not list(server.directory.glob("*.holdfast-restore*"))
    assert [Path(path).resolve() for path in (server.data / "pg_tblspc").iterdir()] == [space]
