# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What archives reads a configuration that one server owns, and that `wal_archive` alone changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.servers import Server

pytestmark = pytest.mark.skipif(shutil.which("pgbackrest") is None, reason="pgbackrest is not installed")
AES = {"method": "aes256", "passphrase": "a secret of the lab"}


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "spool" not in path.parts and "log" not in path.parts
    }


@pytest.fixture(scope="module")
def archived(server_factory: Callable[..., Server]) -> tuple[Server, dict[str, Any], Path]:
    """A server that archives, encrypted, by pgBackRest into a directory."""
    server = server_factory(15)
    config = server.server_directory("config")
    config.chmod(0o755)
    given = {
        **server.client_options(),
        "server_name": "db1",
        "engine": "pgbackrest",
        "repository": {"path": str(server.server_directory("repository"))},
        "config_dir": str(config),
        "encryption": AES,
    }
    ok(run_module("wal_archive", given))
    server.restart()
    ok(run_module("wal_archive", {**given, "state": "verified"}))
    return server, given, config


def test_a_backup_without_the_encryption_is_refused_and_changes_nothing(
    archived: tuple[Server, dict[str, Any], Path],
) -> None:
    """Kind: two writers of one configuration. Taken away, another method's, another passphrase: WAL would go out in the clear, or by a
    key that nobody wrote down. `wal_archive` refuses it too, unless told to replace."""
    _server, given, config = archived
    before = files(config)
    for encryption in (None, {"method": "none"}, {**AES, "passphrase": "another one"}):
        for module in ("pg_backup", "wal_archive"):
            for check in (True, False):
                done = run_module(module, {**given, "encryption": encryption}, check=check)
                assert done.failed and "encryption" in done.msg and "replace: true" in done.msg, done.msg
    assert files(config) == before
    assert "another one" not in done.msg


def test_what_a_backup_asks_for_is_its_own_affair(archived: tuple[Server, dict[str, Any], Path]) -> None:
    """Kind: the same, by options that both modules have. A backup's jobs and compression hold for that backup, and archiving's stay: each
    module's second run changes nothing."""
    _server, given, config = archived
    before = files(config)
    asked = {**given, "jobs": 2, "compression": "gzip"}
    made = ok(run_module("pg_backup", asked))
    assert files(config) == before
    assert "stays" in str(made["warnings"])
    assert not ok(run_module("pg_backup", {**asked, "max_age": "1h"}))["changed"]
    assert not ok(run_module("wal_archive", given))["changed"]
    repository = Path(given["repository"]["path"])
    packed = {
        path.suffix
        for path in repository.rglob(f"backup/db1/{made['backup']['id']}/pg_data/base/**/*")
        if path.is_file()
    }
    assert packed == {".gz"}, "the backup is compressed as it asked to be"


def test_a_second_cluster_never_takes_the_first_ones(
    archived: tuple[Server, dict[str, Any], Path], server_factory: Callable[..., Server]
) -> None:
    """Kind: refused, and yet done. Another cluster of the host with the same names, in the same repository and in one of its own, by
    either module: refused before anything is written, and the first one archives on."""
    _server, given, config = archived
    other = server_factory(15)
    before = files(config)
    for repository in (given["repository"], {"path": str(other.server_directory("repository"))}):
        for module in ("wal_archive", "pg_backup"):
            done = run_module(module, {**given, **other.login(), "repository": repository})
            assert done.failed and "server_name of its own" in done.msg, done.msg
            # A plan says what would have to be agreed to, or, where the engine itself refuses, the same as the run.
            planned = run_module(module, {**given, **other.login(), "repository": repository}, check=True)
            waits = (planned.result.get("consent") or {}).get("accept_new_server")
            assert waits is True or (planned.failed and "server_name of its own" in planned.msg), planned.result
    assert files(config) == before
    assert other.query("SHOW archive_mode") == [("off",)]
    ok(run_module("wal_archive", {**given, "state": "verified"}))
