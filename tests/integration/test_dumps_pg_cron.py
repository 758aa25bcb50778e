# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of pg_cron can have no other name: it is built under its own, after the one that is there has moved aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import run_module
from lab.servers import Server, installation

CRON = Path("/usr/share/postgresql/15/extension/pg_cron.control")


@pytest.mark.skipif(
    not CRON.exists() or installation(15) is None, reason="pg_cron for PostgreSQL 15 is not installed here"
)
def test_pg_cron_s_database_comes_back(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    """Kind: what only works under one name (2.22, of 1.35's kind). Members: in place, failing in place, and where it is gone."""
    server = server_factory(15, settings={"shared_preload_libraries": "pg_cron", "cron.database_name": "shop"})
    server.psql("CREATE DATABASE shop;")
    server.psql("CREATE EXTENSION pg_cron; CREATE TABLE t AS SELECT 1 AS n;", "shop")
    server.query("SELECT cron.schedule('0 3 * * *', 'SELECT 1')", "shop")
    options: dict[str, Any] = {**server.client_options(), "repository": {"path": str(tmp_path)}}
    options["databases"] = ["shop"]
    done = run_module("pg_backup", options)
    assert not done.failed, done.msg
    in_place = {**options, "force": True, "confirm": ["shop"], "terminate_sessions": True}
    server.psql("DELETE FROM t;", "shop")
    planned = run_module("pg_restore", in_place, check=True)
    assert not planned.failed and "cron.database_name" in str(planned.result["plan"]), planned.msg
    done = run_module("pg_restore", in_place)
    assert done.changed and not done.failed, done.msg
    assert server.query("SELECT n FROM t", "shop") == [(1,)] and server.databases() == ["postgres", "shop"]
    assert server.query("SELECT schedule FROM cron.job", "shop") == [("0 3 * * *",)]
    server.psql("DROP DATABASE shop WITH (FORCE);")
    done = run_module("pg_restore", options)
    assert done.changed and not done.failed, done.msg
    assert server.query("SELECT n FROM t", "shop") == [(1,)]
