# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incremental backups of a standby on which little happens (CASES 2.37).

A copy of a standby begins at its last restartpoint, and that comes when its primary makes a checkpoint. The kinds: there was none since the
backup that this one would be made upon, and the incremental failed night after night; the summaries are not there yet, and it waited, for what
nobody knew.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import RunningModule, run_module, start_module
from lab.restored import Restored
from lab.servers import Server
from lab.waiting import wait_until

SETTINGS = {"summarize_wal": "on", "full_page_writes": "on", "checkpoint_timeout": "1h"}


@pytest.fixture(scope="module")
def idle(server_factory: Callable[..., Server]) -> Iterator[tuple[Server, Restored]]:
    """A primary that does nothing by itself, and its standby."""
    with ExitStack() as stack:
        primary = server_factory(18, settings=SETTINGS)
        stack.callback(primary.remove)
        standby = stack.enter_context(Restored(primary, "idle"))
        copied = ("-R", "-X", "stream", "-c", "fast", "-d", primary.dsn())
        primary._as_server("pg_basebackup", "-D", str(standby.data), *copied)
        with (standby.data / "postgresql.auto.conf").open("a") as configuration:
            configuration.write(f"port = {standby.port}\n")
        standby.start()
        yield primary, standby


def arguments(standby: Server, repository: Path, **options: Any) -> dict[str, Any]:
    given = {"repository": {"path": str(repository)}, "engine": "pg_basebackup", "kind": "incremental"}
    return {**standby.client_options(), **given, **options}


def checkpoint(primary: Server, standby: Server) -> None:
    """The standby has replayed, and summarized, one of its primary."""
    primary.psql("CHECKPOINT")
    (reached,) = primary.query("SELECT redo_lsn::text FROM pg_control_checkpoint()")[0]
    there = "SELECT pg_last_wal_replay_lsn() > %s::pg_lsn AND summarized_lsn >= %s::pg_lsn FROM pg_get_wal_summarizer_state()"
    wait_until(lambda: standby.query(there, values=[reached, reached])[0][0])


def test_a_full_one_where_nothing_happened_since(idle: tuple[Server, Restored], tmp_path: Path) -> None:
    """Members: at once after a full one; after a checkpoint of the primary; after an incremental one."""
    primary, standby = idle
    checkpoint(primary, standby)
    first = ok(run_module("pg_backup", arguments(standby, tmp_path)))["backup"]
    planned = ok(run_module("pg_backup", arguments(standby, tmp_path), check=True))
    assert "in full" in str(planned["plan"]) and "restartpoint" in str(planned), planned
    again = ok(run_module("pg_backup", arguments(standby, tmp_path)))["backup"]
    assert (again["kind"], again["parent"]) == ("full", None) and first["id"] in str(again["warnings"])
    assert "its primary has made no checkpoint" in str(again["warnings"])
    primary.psql("CREATE TABLE happened ()")
    checkpoint(primary, standby)
    standby.psql("CHECKPOINT")  # what a busy one makes by itself
    third = ok(run_module("pg_backup", arguments(standby, tmp_path)))["backup"]
    assert (third["kind"], third["parent"]) == ("incremental", again["id"])
    assert ok(run_module("pg_backup", arguments(standby, tmp_path)))["backup"]["kind"] == "full"


@pytest.mark.extended
def test_what_it_waits_for_is_told(idle: tuple[Server, Restored], tmp_path: Path, running: list[RunningModule]) -> None:
    """It waited for 200 s in silence. Now it says so after the 10 s in which the server does, and in a warning of the backup."""
    primary, standby = idle
    checkpoint(primary, standby)
    first = ok(run_module("pg_backup", arguments(standby, tmp_path)))["backup"]
    progress = tmp_path / "progress"
    progress.touch()
    (summarizer,) = standby.query("SELECT summarizer_pid FROM pg_get_wal_summarizer_state()")[0]
    os.kill(summarizer, signal.SIGSTOP)  # as slow as that of an idle server, which sleeps
    try:
        primary.psql("CREATE TABLE IF NOT EXISTS waited (); CHECKPOINT")
        (reached,) = primary.query("SELECT pg_current_wal_lsn()::text")[0]
        wait_until(lambda: standby.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", values=[reached])[0][0])
        standby.psql("CHECKPOINT")
        running.append(start_module("pg_backup", arguments(standby, tmp_path, progress_file=str(progress))))
        wait_until(lambda: "waiting for the server to summarize its WAL" in progress.read_text())
        assert "CHECKPOINT on the primary ends that sooner" in progress.read_text()
    finally:
        os.kill(summarizer, signal.SIGCONT)
    made = ok(running[0].result(120))["backup"]
    assert (made["kind"], made["parent"]) == ("incremental", first["id"])
    assert "summarized its WAL late" in str(made["warnings"])
