# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is older than the distribution's, with its own programs: PostgreSQL 14 (tests/tools/install_postgresql_14.sh).

Kind: what came with a newer version (a view, a column, an option of a program, a default) is asked of an older one. Members: a dump, with its
counts and its settings, restored where it came from and into 15; other people's dumps of 14, custom and plain, into 15, where PUBLIC may no
longer make anything in the schema public; a whole server with its WAL.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import run_module
from lab.servers import Server

pytestmark = pytest.mark.extended

ROWS = """
CREATE ROLE clerk;
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, words text NOT NULL);
INSERT INTO orders (words) SELECT md5(i::text) FROM generate_series(1, 500) i;
CREATE MATERIALIZED VIEW newest AS SELECT max(id) AS id FROM orders;
ALTER TABLE orders OWNER TO clerk;
SELECT lo_from_bytea(0, 'a large object');
"""


@pytest.fixture(scope="module")
def pg14(server_factory: Callable[..., Server]) -> Server:
    server = server_factory(14)
    server.psql("CREATE DATABASE shop")
    server.psql(ROWS, "shop")
    server.psql("ALTER DATABASE shop SET work_mem = '7MB'")
    return server


@pytest.fixture(scope="module")
def newer(server_factory: Callable[..., Server]) -> Server:
    server = server_factory(15)
    server.psql("CREATE ROLE clerk")
    return server


def ok(module: str, options: dict[str, Any], **how: Any) -> dict[str, Any]:
    done = run_module(module, options, **how)
    assert not done.failed, done.msg
    return done.result


def look(server: Server, database: str) -> list[Any]:
    return [
        server.query("SELECT count(*), min(words), max(words) FROM orders", database),
        server.query("SELECT id FROM newest", database),
        server.query("SELECT count(*) FROM pg_largeobject", database),
    ]


def test_a_dump_comes_back_and_goes_up_a_version(pg14: Server, newer: Server, tmp_path: Path) -> None:
    repository = {"path": str(tmp_path)}
    options = {**pg14.client_options(), "repository": repository, "databases": ["shop"]}
    planned = ok("pg_backup", options, check=True)
    made = ok("pg_backup", options)
    assert planned["changed"] and made["backup"]["server"]["version"].startswith("14.")
    assert not ok("pg_backup", {**options, "max_age": "1h"})["changed"]
    for server, target in ((pg14, "again"), (newer, "up")):
        given = {**server.client_options(), "repository": repository, "databases": ["shop"], "target_db": target}
        done = ok("pg_restore", given)
        assert look(server, target) == look(pg14, "shop") and not done["proof"].get("missing"), done["proof"]
        assert server.query("SHOW work_mem", target) == [("7MB",)]


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_dump_by_its_own_pg_dump(pg14: Server, newer: Server, tmp_path: Path, form: str) -> None:
    source = tmp_path / "shop.dump"
    source.write_bytes(pg14.run("pg_dump", f"--format={form}", db="shop"))
    target = f"theirs_{form}"
    given = {**newer.client_options(), "state_dir": str(tmp_path / "state"), "source": str(source), "target_db": target}
    done = run_module("pg_restore", {**given, "databases": ["shop"]})
    assert not done.failed, done.msg
    assert look(newer, target) == look(pg14, "shop")
    assert "CREATE ON SCHEMA public" in str(done.result.get("warnings")), done.result.get("warnings")


def test_the_whole_server(pg14: Server, tmp_path: Path) -> None:
    options = {**pg14.client_options(), "repository": {"path": str(tmp_path)}, "engine": "pg_basebackup"}
    made = ok("pg_backup", {**options, "include_wal": True})
    assert made["backup"]["kind"] == "full" and made["backup"]["verified_at"]
