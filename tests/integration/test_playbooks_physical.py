# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole servers by the playbooks: from nothing to continuous archiving, and back to any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.playbooks import CHECKOUT, PlaybookResult, run_module, run_playbook
from lab.servers import Server

NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def play(name: str, given: dict[str, Any], *options: str) -> PlaybookResult:
    run = run_playbook(CHECKOUT / "playbooks" / f"{name}.yml", given, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    return run


def changes(run: PlaybookResult) -> list[str]:
    # The restart by a command is a task of its own in check mode, which cannot run commands.
    return [task.task.replace("Plan to restart", "Restart") for task in run.changed]


def test_from_nothing_to_any_moment(server_factory: Callable[..., Server]) -> None:
    server = server_factory(15)
    archive = server.server_directory("archive")
    common = {
        **{f"holdfast_{key}": value for key, value in server.login().items()},
        "holdfast_bin_dir": str(server.bindir),
        "holdfast_server_name": "db1",
        "holdfast_repository": {"path": str(archive)},
    }
    setup = {
        **common,
        "holdfast_setup_archiving": True,
        "holdfast_setup_owner": server.owner,
        "holdfast_archive_restart": True,
        "holdfast_archive_restart_command": server.restart_command(),
        "holdfast_retention": {"keep_last": 3},
    }
    planned = play("setup", setup, "--check", "--diff")
    assert server.query("SHOW archive_mode") == [("off",)]
    assert not list(archive.iterdir())
    done = play("setup", setup)
    assert changes(planned) == changes(done)
    assert len(changes(done)) >= 3, "settings, restart, first backup"
    assert server.query("SHOW archive_mode") == [("on",)]
    again = play("setup", setup)
    assert changes(again) == []
    assert done.of("holdfast.postgres.wal_archive")[1]["canary"]["segment"]

    # A point to come back to, and what happens after it.
    server.query("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    play("restore_point", {**common, "holdfast_restore_point_name": "before the release"})
    server.query("INSERT INTO t SELECT generate_series(1001, 2000)")
    time.sleep(1.1)
    moment = server.query(NOW)[0][0]
    time.sleep(1.1)
    server.query("DROP TABLE t")

    audit = play("audit", {**common, "holdfast_audit_remove": True})
    findings = audit.of("holdfast.postgres.wal_audit")[0]["findings"]
    assert [finding["level"] for finding in findings] == ["fine"]
    assert changes(play("audit", common)) == []
    facts = run_module(
        "backup_facts",
        {**server.login(), "repository": {"path": str(archive)}, "server_name": "db1", "archiving": True},
    ).result["ansible_facts"]["holdfast_backups"]
    (window,) = facts["wal"]["windows"]
    assert window["timeline"] == 1
    assert not window["stretches"][0]["missing"]
    assert not facts["archiver"]["failing"]

    # Beside the old server, by the point, without touching it.
    beside = {
        **common,
        "holdfast_data_directory": str(server.directory / "look"),
        "holdfast_owner": server.owner,
        "holdfast_recovery_target": {"name": "before the release"},
        "holdfast_recover_start": False,
    }
    planned = play("recover", beside, "--check", "--diff")
    assert not (server.directory / "look").exists()
    looked = play("recover", beside)
    assert changes(planned) == changes(looked) == ["holdfast.postgres.recover : Recover"]
    assert looked.of("holdfast.postgres.pg_recover")[0]["recovery"]["state"] == "promoted"
    assert planned.of("holdfast.postgres.pg_recover")[0]["plan"] == looked.of("holdfast.postgres.pg_recover")[0]["plan"]

    # In place, by the time.
    recover = {
        **common,
        "holdfast_data_directory": str(server.data),
        "holdfast_recovery_target": {"time": moment},
        "holdfast_recover_stop_server": True,
        "holdfast_recover_force": True,
        "holdfast_recover_confirm": [str(server.data)],
    }
    result = play("recover", recover).of("holdfast.postgres.pg_recover")[0]
    assert server.query("SELECT count(*), max(n) FROM t") == [(2000, 2000)]
    assert server.query("SHOW archive_mode") == [("off",)]
    assert [Path(path).is_dir() for path in result["recovery"]["kept"]] == [True]
    assert changes(play("recover", recover)) == []

    # And archiving begins again, on the new timeline, in the same archive: with its history, as what is
    # proven is that a recovery to what arrives is possible.
    again = play("setup", setup)
    assert any(path.name.startswith("00000002.history") for path in (archive / "db1" / "_wal").iterdir())
    canary = [found["canary"] for found in again.of("holdfast.postgres.wal_archive") if "canary" in found][-1]
    assert canary["segment"].startswith("00000002") and canary["backup"] and canary["unreachable"] is None
    facts = run_module("backup_facts", {"repository": {"path": str(archive)}, "server_name": "db1"}).result
    assert [window["timeline"] for window in facts["ansible_facts"]["holdfast_backups"]["wal"]["windows"]] == [1, 2]
    assert changes(play("setup", setup)) == []
    server.query("INSERT INTO t VALUES (2001)")
    play("restore_point", {**common, "holdfast_restore_point_name": "later"})
    server.query("SELECT pg_switch_wal()")
    later = {
        **beside,
        "holdfast_data_directory": str(server.directory / "later"),
        "holdfast_recovery_target": {"name": "later"},
    }
    assert play("recover", later).of("holdfast.postgres.pg_recover")[0]["recovery"]["timeline"] == 3
