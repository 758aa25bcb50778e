# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup holds is what the server had at one moment at which somebody could have seen it.

The kind: a snapshot protects rows, not tables. Whoever reads a table later than its snapshot finds it empty after a TRUNCATE, a
rewrite or a swap by renaming, without an error. Members tried, in a database that waits for its turn: TRUNCATE and INSERT, a swap by
renaming, a table dropped and made anew, ALTER TYPE (rewrites), VACUUM FULL and CLUSTER (harmless), a refreshed materialized view, a
dropped column (pg_dump fails), a dropped table, a dropped database. And while pg_dump itself starts: a TRUNCATE that queues between
our locks and those of pg_dump, where each would wait for the other for ever. Before: empty tables, called verified.

Brother: more databases than connections (the backup was refused): fewer moments than databases, and the record says which.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import fault
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server

NOISE = """
CREATE TABLE noise AS
SELECT n, (SELECT string_agg(sha256((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 300) AS m) AS bytes
FROM generate_series(1, 200) AS n;
"""
YESTERDAY = """
CREATE TABLE etl (id int PRIMARY KEY, day text);
INSERT INTO etl SELECT n, 'yesterday' FROM generate_series(1, 100) AS n;
CREATE TABLE other (id int);
INSERT INTO other SELECT generate_series(1, 10);
CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM etl;
"""
SLOW = 200_000


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    made = server_factory(16)
    made.psql("CREATE DATABASE aa;")
    made.psql(NOISE, "aa")
    return made


@pytest.fixture
def zz(server: Server) -> Iterator[Server]:
    server.psql("CREATE DATABASE zz;")
    server.psql(YESTERDAY, "zz")
    yield server
    server.psql("DROP DATABASE IF EXISTS zz WITH (FORCE);")


def arguments(server: Server, repository: Path, **options: Any) -> dict[str, Any]:
    chosen = {"databases": ["aa", "zz"], "globals": False, "compression": "none"}
    login = {**server.client_options(), "repository": {"path": str(repository)}}
    return {**login, **chosen, **options}


def disturbed(
    server: Server, repository: Path, running: list[RunningModule], disturb: Callable[[], Any], **options: Any
) -> ModuleResult:
    """A backup in which something happens in zz while aa is being dumped."""
    with fault.Proxy(server.port, SLOW) as slow:
        module = start_module("pg_backup", arguments(server, repository, login_port=slow.port, **options))
        running.append(module)
        slow.wait_for(200_000)
        disturb()
        slow.bytes_per_second = None
        return module.result(60)


def restored(server: Server, repository: Path, database: str = "zz") -> str:
    login = {**server.client_options(), "repository": {"path": str(repository)}}
    name = f"{database}_back"
    server.psql(f"DROP DATABASE IF EXISTS {name};")
    done = run_module("pg_restore", {**login, "databases": [database], "target_db": name})
    assert not done.failed, done.msg
    return name


@pytest.mark.parametrize(
    ("disturb", "days"),
    [
        (
            "BEGIN; TRUNCATE etl; INSERT INTO etl SELECT n, 'today' FROM generate_series(1, 70) AS n; COMMIT",
            {"today": 70},
        ),
        (
            "BEGIN; CREATE TABLE new (LIKE etl INCLUDING ALL); INSERT INTO new SELECT n, 'today' FROM generate_series(1, 70) AS n;"
            "ALTER TABLE etl RENAME TO old; ALTER TABLE new RENAME TO etl; COMMIT",
            {"today": 70},
        ),
        (
            "BEGIN; DROP TABLE etl CASCADE; CREATE TABLE etl (id int PRIMARY KEY, day text);"
            "INSERT INTO etl SELECT n, 'today' FROM generate_series(1, 70) AS n; COMMIT",
            {"today": 70},
        ),
        ("ALTER TABLE etl ALTER id TYPE bigint", {"yesterday": 100}),
        ("VACUUM FULL etl", {"yesterday": 100}),
        ("REFRESH MATERIALIZED VIEW seen", {"yesterday": 100}),
        ("ALTER TABLE other DROP COLUMN id, ADD COLUMN x int DEFAULT 1", {"yesterday": 100}),
        ("DROP TABLE other", {"yesterday": 100}),
        # Rows alone are what a snapshot is for: no second moment.
        ("DELETE FROM etl WHERE id > 10", {"yesterday": 100}),
    ],
    ids=["truncate", "swap", "recreate", "rewrite", "vacuum-full", "refresh", "drop-column", "drop-table", "delete"],
)
def test_a_table_is_rewritten_while_another_database_is_dumped(
    zz: Server, tmp_path: Path, running: list[RunningModule], disturb: str, days: dict[str, int]
) -> None:
    done = disturbed(zz, tmp_path, running, lambda: zz.psql(disturb + ";", "zz"))
    assert not done.failed, done.msg
    record = done.result["backup"]
    name = restored(zz, tmp_path)
    found = dict(zz.query("SELECT day, count(*) FROM etl GROUP BY 1", name))
    assert found == days
    moments = [moment["databases"] for moment in record["consistency"]["moments"]]
    if disturb.startswith("DELETE"):
        assert moments == [["aa", "zz"]]
    elif "COLUMN" not in disturb:
        assert moments == [["aa"], ["zz"]]
        assert "2 moments" in record["consistency"]["across_databases"]
        assert any("moments" in words for words in record["warnings"])


def test_a_database_is_dropped_while_another_one_is_dumped(
    zz: Server, tmp_path: Path, running: list[RunningModule]
) -> None:
    """It is no more: nothing failed, and it is said."""
    done = disturbed(zz, tmp_path, running, lambda: zz.psql("DROP DATABASE zz WITH (FORCE);"))
    assert not done.failed, done.msg
    assert [entry["name"] for entry in done.result["backup"]["databases"]] == ["aa"]
    assert any("zz" in words and "dropped" in words for words in done.result["backup"]["warnings"])


@pytest.mark.parametrize("format_", ["custom", "directory"])
def test_somebody_queues_between_our_locks_and_those_of_pg_dump(
    zz: Server, tmp_path: Path, running: list[RunningModule], format_: str
) -> None:
    """TRUNCATE waits for our locks, and pg_dump behind TRUNCATE: before, three sessions waited for ever."""
    late = tmp_path / "bin"
    late.mkdir()
    for program in zz.bindir.iterdir():
        (late / program.name).symlink_to(program)
    (late / "pg_dump").unlink()
    go = tmp_path / "go"
    (late / "pg_dump").write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) ;; *) while [ ! -e {go} ]; do sleep 0.05; done;; esac\n'
        f'exec {zz.bindir}/pg_dump "$@"\n'
    )
    (late / "pg_dump").chmod(0o755)
    repository = tmp_path / "repository"
    repository.mkdir()
    options = {"databases": ["zz"], "bin_dir": str(late), "format": format_}
    module = start_module("pg_backup", arguments(zz, repository, **options))
    running.append(module)
    held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessShareLock' AND relation = 'etl'::regclass"
    until(lambda: zz.query(held, "zz")[0][0] > 0)
    truncating = threading.Thread(
        target=lambda: zz.psql("BEGIN; TRUNCATE etl; INSERT INTO etl VALUES (1, 'today'); COMMIT;", "zz"), daemon=True
    )
    truncating.start()
    until(lambda: zz.query("SELECT count(*) FROM pg_locks WHERE NOT granted", "zz")[0][0] > 0)
    go.touch()
    done = module.result(60)
    assert not done.failed, done.msg
    truncating.join(60)
    assert zz.query("SELECT day FROM etl", restored(zz, repository)) == [("today",)]
    files = [path.name for path in repository.rglob("*") if path.is_file() and "databases" in str(path)]
    keys = [artifact["key"].rpartition("/")[2] for artifact in done.result["backup"]["artifacts"]]
    assert sorted(files) == sorted(name for name in keys if name != "cluster.json")  # nothing of the first try is left


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_more_databases_than_connections(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    small = server_factory(16, settings={"max_connections": "14", "superuser_reserved_connections": "2"})
    names = [f"d{number:02}" for number in range(14)]
    for name in names:
        small.psql(f"CREATE DATABASE {name};")
    options = {"databases": names, "globals": False, "format": "plain"}
    plan = run_module("pg_backup", arguments(small, tmp_path, **options), check=True)
    assert not plan.failed, plan.msg
    assert any("moments" in step for step in plan.result["plan"]), plan.result["plan"]
    done = run_module("pg_backup", arguments(small, tmp_path, **options))
    assert not done.failed, done.msg
    record = done.result["backup"]
    assert [entry["name"] for entry in record["databases"]] == names
    moments = record["consistency"]["moments"]
    assert 1 < len(moments) < len(names)
    assert [name for moment in moments for name in moment["databases"]] == names
    assert all(moment["same"] for moment in moments)
    assert any("moments" in words for words in record["warnings"])
