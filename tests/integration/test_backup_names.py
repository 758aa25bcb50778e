# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and texts of servers that are not in UTF-8.

The kind: bytes were taken for UTF-8. Members: a comment on a role and a database name of a LATIN1 server (a connection's start is not
converted), every name of a SQL_ASCII server, this host in another locale. Before: UnicodeDecodeError, or "does not exist".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import run_module
from lab.servers import Server


def options(server: Server, repository: Path) -> dict[str, Any]:
    return {**server.client_options(), "repository": {"path": str(repository)}}


def script(server: Server, text: bytes, encoding: str) -> None:
    server.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", stdin=text, env={"PGCLIENTENCODING": encoding})


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_latin1(server_factory: Callable[..., Server], tmp_path: Path, locale: str) -> None:
    server = server_factory(15, initdb=["--encoding=LATIN1", "--locale=C"])
    script(
        server,
        b"CREATE ROLE r; COMMENT ON ROLE r IS 'gr\xf6\xdfe'; CREATE DATABASE \"gr\xf6\xdfe\"; COMMENT ON DATABASE postgres IS '\xe4';",
        "LATIN1",
    )
    server.run(
        "psql", "-X", "-q", "-f", "-", db="postgres", stdin=b"\\c 'gr\xf6\xdfe'\nCREATE TABLE t AS SELECT 1 AS n;"
    )
    done = run_module("pg_backup", options(server, tmp_path), env={"LC_ALL": locale})
    assert not done.failed, done.msg
    assert sorted(entry["name"] for entry in done.result["backup"]["databases"]) == ["größe", "postgres"]
    given = {**options(server, tmp_path), "databases": ["größe"], "target_db": "back"}
    restored = run_module("pg_restore", given, env={"LC_ALL": locale})
    assert not restored.failed, restored.msg
    assert server.query("SELECT n FROM t", "back") == [(1,)]


def test_sql_ascii(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    """A table, a role and a comment of any bytes are backed up; a database's name that is no UTF-8 can be in no record, and is told."""
    server = server_factory(15, initdb=["--encoding=SQL_ASCII", "--locale=C"])
    script(
        server,
        b'CREATE TABLE "t\xff" ("c\xfe" text); INSERT INTO "t\xff" VALUES (\'\xfd\'); CREATE ROLE "r\xfa";'
        b"COMMENT ON ROLE postgres IS '\xf1';",
        "SQL_ASCII",
    )
    done = run_module("pg_backup", options(server, tmp_path))
    assert not done.failed, done.msg
    script(server, b'CREATE DATABASE "gr\xf6"', "SQL_ASCII")
    done = run_module("pg_backup", options(server, tmp_path))
    assert done.failed and "no UTF-8" in done.msg and "rename" in done.msg, done.msg
    assert [entry["name"] for entry in done.result["backup"]["databases"]] == ["postgres"]
    found = run_module("backup_facts", {"repository": {"path": str(tmp_path)}})
    assert found.result["ansible_facts"]["holdfast_backups"]["count"] == 2
