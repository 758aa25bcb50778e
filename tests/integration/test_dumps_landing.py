# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restored database that is not what was backed up never gets its name, and nothing that was there goes for it.

The kind: a look at the landing finds that something is missing, and the run ends well. Its members: more rows recorded than came, a
table recorded that did not come; for a new database, and for one that is replaced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import run_module
from lab.servers import Server


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(16)


@pytest.fixture
def shop(server: Server) -> Iterator[Server]:
    server.psql("CREATE DATABASE shop;")
    server.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2);", "shop")
    yield server
    server.wipe()


def more_rows(tables: list[dict[str, Any]]) -> None:
    tables[0]["rows"] = 3


def another_table(tables: list[dict[str, Any]]) -> None:
    tables.append({**tables[0], "table": "gone"})


@pytest.mark.parametrize(
    ("change", "words"), [(more_rows, "public.t has 2 rows instead of 3"), (another_table, "public.gone is missing")]
)
def test_what_is_missing_ends_the_restore(
    shop: Server, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], words: str
) -> None:
    given = {**shop.client_options(), "repository": {"path": str(tmp_path)}, "databases": ["shop"]}
    done = run_module("pg_backup", {**given, "globals": False, "compression": "none"})
    assert not done.failed, done.msg
    (path,) = tmp_path.glob("**/manifest.json")
    manifest = json.loads(path.read_text())
    (artifact,) = [entry for entry in manifest["artifacts"] if entry["role"] == "cluster"]
    outside = path.parent / artifact["key"]
    content = json.loads(outside.read_text())
    change(content["contents"]["shop"]["tables"])
    changed = json.dumps(content).encode()
    outside.write_bytes(changed)
    artifact.update(size=len(changed), raw_size=len(changed), sha256=hashlib.sha256(changed).hexdigest())
    manifest["size"] = manifest["raw_size"] = None
    path.write_text(json.dumps(manifest))
    shop.psql("INSERT INTO t VALUES (9);", "shop")
    for more in ({"target_db": "other"}, {"force": True, "confirm": ["shop"]}):
        done = run_module("pg_restore", {**given, **more})
        assert done.failed and words in str(done.msg), done.msg
        assert shop.query(
            "SELECT count(*) FROM pg_database WHERE datname NOT IN ('shop', 'postgres') AND NOT datistemplate"
        ) == [(0,)]
        assert shop.query("SELECT n FROM t ORDER BY 1", "shop") == [(1,), (2,), (9,)]
