# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that fails: whoever ran it, the module's result has what was run, its exit code and the end of what it said.

Found: only chains of programs told that; pgBackRest, barman-cloud, pg_basebackup, pg_ctl and others left a message alone.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.program import Barman
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.copy import copy
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest import program as pgbackrest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g import program as wal_g
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    ServerError,
    ToolError,
    arguments_without_secrets,
    how_it_ended,
    without_secrets,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.module import failure
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, pump, run
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as

ME = getpass.getuser()
FAILS = "echo 'all went wrong, password=hidden'; exit 7"
DIES = "kill -s KILL $$"
HANGS = "echo 'still at it'; exec sleep 60"


def pg_basebackup(path: str) -> None:
    copy([path], f"{path}.copy", [], lambda name, of: None)


def a_pgbackrest(path: str) -> pgbackrest.Program:
    return pgbackrest.Program(path, ME, ["--config=/x"], "main", {}, 0.2)


def a_server(path: str) -> Instance:
    return Instance(os.path.dirname(path), os.path.dirname(path), ME)


#: who runs it: the program's name, and how it is run
RUNNERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "a chain": ("pg_dump", lambda path: run([Command([path])])),
    "a chain between files": ("zstd", lambda path: pump([Command([path])], 0, 1)),
    "pg_basebackup": ("pg_basebackup", pg_basebackup),
    "pgBackRest, asked": ("pgbackrest", lambda path: a_pgbackrest(path).ask("info")),
    "pgBackRest, followed": ("pgbackrest", lambda path: a_pgbackrest(path).follow("backup", on_line=lambda line: None)),
    "pgBackRest's version": ("pgbackrest", lambda path: pgbackrest.version(path, ME)),
    "WAL-G": ("wal-g", lambda path: wal_g.Program(path, "/x", ME, {}).run("backup-list")),
    "WAL-G's version": ("wal-g", lambda path: wal_g.version(path, ME)),
    "barman-cloud": ("barman-cloud-backup", lambda path: Barman(os.path.dirname(path), ME, {}, False).run("backup")),
    "pg_controldata": ("pg_controldata", lambda path: a_server(path).control()),
    "pg_ctl": ("pg_ctl", lambda path: a_server(path).start("/x.log")),
}


def told(name: str, directory: Path, body: str, act: Callable[[str], object]) -> dict[str, object]:
    """What a module's result would say."""
    path = directory / name
    path.write_text(f"#!/bin/sh\nexec 2>&1 >&2\n{body}\n" if name == "pg_ctl" else f"#!/bin/sh\nexec >&2\n{body}\n")
    path.chmod(0o755)
    with pytest.raises((ToolError, ServerError)) as raised:
        act(str(path))
    found = failure(raised.value, "pg_backup")
    assert "hidden" not in str(found["tool"]), found
    tool: dict[str, object] = found["tool"]
    assert any(name in str(argument) for argument in raised.value.result().get("tool", tool)["argv"])
    return tool


@pytest.mark.parametrize("runner", sorted(RUNNERS))
@pytest.mark.parametrize("body, rc, output", [(FAILS, 7, "all went wrong, password=***"), (DIES, -9, "")])
def test_every_program_that_fails(runner: str, body: str, rc: int, output: str, tmp_path: Path) -> None:
    tool = told(RUNNERS[runner][0], tmp_path, body, RUNNERS[runner][1])
    assert tool["rc"] == rc
    assert output in str(tool["output"])


@pytest.mark.parametrize(
    "name, act",
    [
        ("pgbackrest", RUNNERS["pgBackRest, asked"][1]),
        ("barman-cloud-backup", lambda path: Barman(os.path.dirname(path), ME, {}, False).run("backup", timeout=0.2)),
        ("pg_waldump", lambda path: run_as(ME, [path], timeout=0.2)),
    ],
)
def test_one_that_takes_too_long(name: str, act: Callable[[str], object], tmp_path: Path) -> None:
    tool = told(name, tmp_path, HANGS, act)
    assert tool["rc"] is None
    assert "still at it" in str(tool["output"])


@pytest.mark.parametrize("runner", sorted(set(RUNNERS) - {"pg_controldata", "pg_ctl"}))
def test_one_that_cannot_be_started(runner: str, tmp_path: Path) -> None:
    name, act = RUNNERS[runner]
    path = tmp_path / name
    path.write_text("#!/not/there\n")
    path.chmod(0o755)
    with pytest.raises(ToolError) as raised:
        act(str(path))
    tool = failure(raised.value, "pg_backup")["tool"]
    if "pgBackRest" not in runner:  # env starts it, where variables are taken away, and says so itself
        assert (tool["rc"], tool["output"]) == (None, None)


@pytest.mark.parametrize(
    "argv, shown",
    [
        (
            ["psql", "--dbname=host=x password=a sslpassword='b c'"],
            ["psql", "--dbname=host=x password=*** sslpassword=***"],
        ),
        (["x", "--token", "a", "--verbose"], ["x", "--token", "***", "--verbose"]),
        (["x", "--secret-key=a", "--repo1-s3-key-secret=b"], ["x", "--secret-key=***", "--repo1-s3-key-secret=***"]),
        (["x", "--repo1-cipher-pass=a", "--repo1-s3-key=b"], ["x", "--repo1-cipher-pass=***", "--repo1-s3-key=***"]),
        (["x", "postgresql://me:a@host/db"], ["x", "postgresql://me:***@host/db"]),
        (["gpg", "--passphrase-fd", "5", "--list-keys", "me"], ["gpg", "--passphrase-fd", "5", "--list-keys", "me"]),
        (["pg_dump", "--no-password", "shop"], ["pg_dump", "--no-password", "shop"]),
    ],
)
def test_arguments_show_no_secret(argv: list[str], shown: list[str]) -> None:
    assert arguments_without_secrets(argv) == shown


def test_what_a_program_says_shows_no_secret() -> None:
    error = ToolError(
        "It failed.", ["x"], 1, "AWS_SECRET_ACCESS_KEY=abc\n" + "y" * 100_000 + "\nat s3://u:abc@host, token: abc"
    )
    assert "abc" not in (error.output or "")
    assert len(error.output or "") <= 4096
    assert without_secrets("WALG_PGP_KEY_PASSPHRASE=abc x") == "WALG_PGP_KEY_PASSPHRASE=*** x"


@pytest.mark.parametrize(
    "rc, words", [(3, "failed with exit code 3"), (-9, "was killed by SIGKILL"), (-40, "was killed by signal 40")]
)
def test_how_it_ended(rc: int, words: Optional[str]) -> None:
    assert how_it_ended(rc) == words
