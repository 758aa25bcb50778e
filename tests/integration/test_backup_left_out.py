# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump does not hold is said, before and in the record, and one database that cannot be dumped stops no other.

The kind: what pg_dump leaves out, or says on its standard error while it succeeds, was dropped. Members: subscriptions and options of
user mappings (a role that is no superuser), pg_dump's own warnings (circular keys with data_only), unlogged tables of a standby, rows of
an extension's tables that are no configuration, template and closed databases, invalid ones; selections that select nothing.

The other kind: one database's trouble was everybody's. Members: a value too large for pg_dump, an invalid database, CONNECTION LIMIT,
a lock that somebody holds, a corrupt table; named as failed, the others kept, exit status not 0.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import ModuleResult, run_module, start_module
from lab.restored import Restored
from lab.servers import Server


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    made = server_factory(16)
    made.psql("CREATE DATABASE shop; CREATE DATABASE crm;")
    for name in ("shop", "crm"):
        made.psql("CREATE TABLE items AS SELECT generate_series(1, 20) AS id;", name)
    return made


@pytest.fixture
def extra(server: Server) -> Iterator[Callable[[str], None]]:
    """Makes databases that are gone after the test, however they are by then."""
    made: list[str] = []

    def make(name: str) -> None:
        server.psql(f'CREATE DATABASE "{name}";')
        made.append(name)

    yield make
    for name in made:
        server.psql(f"UPDATE pg_database SET datistemplate = false, datconnlimit = -1 WHERE datname = '{name}'")
        server.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE);')


def back_up(server: Server, repository: Path, check: bool = False, **options: Any) -> ModuleResult:
    login = {**server.client_options(), "repository": {"path": str(repository)}}
    return run_module("pg_backup", {**login, "globals": False, "compression": "none", **options}, check=check)


def said(done: ModuleResult) -> str:
    return json.dumps(done.result.get("warnings", []), ensure_ascii=False)


def names(done: ModuleResult) -> list[str]:
    return [entry["name"] for entry in done.result["backup"]["databases"]]


def test_what_a_role_may_not_see_is_said_before(server: Server, tmp_path: Path, extra: Callable[[str], None]) -> None:
    extra("subscriber")
    server.psql(
        "CREATE SUBSCRIPTION news CONNECTION 'host=nowhere dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE);"
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;"
        "CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'me', password 'sesame');"
        "CREATE ROLE keeper LOGIN BYPASSRLS PASSWORD 'keeper' IN ROLE pg_read_all_data;"
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO keeper",
        "subscriber",
    )
    try:
        role = {"login_user": "keeper", "login_password": "keeper", "databases": ["subscriber"]}
        planned = back_up(server, tmp_path, check=True, **role)
        assert "news" in said(planned) and "far" in said(planned), said(planned)
        done = back_up(server, tmp_path, **role)
        assert not done.failed, done.msg
        assert "news" in said(done) and "far" in said(done)
        assert "subscriptions not dumped" in " ".join(done.result["backup"]["warnings"])  # pg_dump's own words
    finally:
        server.psql("DROP SUBSCRIPTION IF EXISTS news; DROP OWNED BY keeper; DROP ROLE keeper;", "subscriber")


def test_what_pg_dump_says_though_it_succeeds(server: Server, tmp_path: Path, extra: Callable[[str], None]) -> None:
    extra("circle")
    server.psql(
        "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);"
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;",
        "circle",
    )
    for format_ in ("custom", "directory"):
        done = back_up(server, tmp_path, databases=["circle"], data_only=True, format=format_)
        assert not done.failed, done.msg
        assert "circular" in " ".join(done.result["backup"]["warnings"])


@pytest.fixture
def extension(server: Server) -> Iterator[str]:
    """An extension of our own with a configuration table, of which its filter leaves the standard rows out (as PostGIS' does)."""
    name = f"holdfast_test_{os.getpid()}"
    found = subprocess.run([server.program("pg_config"), "--sharedir"], check=True, capture_output=True, text=True)
    folder = Path(found.stdout.strip()) / "extension"
    files = {
        f"{name}.control": "default_version = '1.0'\nrelocatable = false\nschema = refs\n",
        f"{name}--1.0.sql": "CREATE TABLE refs.ref (id int, standard boolean DEFAULT false, words text);\n"
        "SELECT pg_catalog.pg_extension_config_dump('refs.ref', 'WHERE NOT standard');\n"
        "INSERT INTO refs.ref SELECT n, true, 'standard' FROM generate_series(1, 10) AS n;\n",
        f"{name}--1.0--1.1.sql": "INSERT INTO refs.ref SELECT n, true, 'newer' FROM generate_series(11, 15) AS n;\n",
    }
    for file, text in files.items():
        (folder / file).write_text(text)
    yield name
    for file in files:
        (folder / file).unlink()


def test_rows_that_an_extension_s_own_filter_leaves_out(
    server: Server, extra: Callable[[str], None], extension: str, tmp_path: Path
) -> None:
    """Kind: what pg_dump leaves out in silence (2.28). Members: rows of a configuration table that its filter takes for the extension's
    own, though somebody changed or added them (PostGIS' spatial_ref_sys); none that CREATE or ALTER EXTENSION brought; and in a restore of
    parts the rows that the filter lets into the dump. Found: not a word."""
    extra("maps")
    server.psql(f"CREATE EXTENSION {extension}; ALTER EXTENSION {extension} UPDATE TO '1.1';", "maps")
    server.psql("INSERT INTO refs.ref VALUES (100, false, 'mine'); VACUUM FREEZE refs.ref;", "maps")
    assert "refs.ref" not in said(back_up(server, tmp_path, databases=["maps"]))
    server.psql(
        "UPDATE refs.ref SET words = 'changed' WHERE id = 3; INSERT INTO refs.ref VALUES (101, true, 'mine');", "maps"
    )
    done = back_up(server, tmp_path, databases=["maps"])
    assert "refs.ref (2 rows)" in said(done) and "filter leaves them out" in said(done), said(done)
    (entry,) = done.result["backup"]["databases"]
    assert [(item["table"], item["rows"]) for item in entry["left_out"]] == [("ref", 2)]
    server.psql("CREATE TABLE refs.own (n int); INSERT INTO refs.own VALUES (1);", "maps")
    back_up(server, tmp_path, databases=["maps"])
    server.psql("DROP TABLE refs.own; DELETE FROM refs.ref WHERE id = 100;", "maps")
    given = {
        **server.login(),
        "bin_dir": str(server.bindir),
        "repository": {"path": str(tmp_path)},
        "databases": ["maps"],
    }
    parts = run_module("pg_restore", {**given, "schemas": ["refs"], "force": True, "confirm": ["maps"]})
    assert parts.changed and not parts.failed, parts.msg
    assert server.query("SELECT count(*) FROM refs.own", "maps") == [(1,)]
    assert "The rows of refs.ref in the dump were not restored" in str(parts.result["proof"]["lost"]), parts.result[
        "proof"
    ]
    whole = run_module("pg_restore", {**given, "force": True, "confirm": ["maps"]})
    assert whole.changed and not whole.failed, whole.msg
    assert server.query("SELECT count(*) FROM refs.ref WHERE id = 100", "maps") == [(1,)]


def test_what_comes_back_by_hand_alone(server: Server, extra: Callable[[str], None], tmp_path: Path) -> None:
    """Kind: what is in the dump, and is not restored as it is: hypertables of TimescaleDB (its catalogue is made by hand here). Found: ok,
    not a word."""
    extra("maps")
    server.psql("CREATE SCHEMA _timescaledb_catalog; CREATE TABLE _timescaledb_catalog.hypertable (id int);", "maps")
    assert "hypertables" not in said(back_up(server, tmp_path, databases=["maps"]))
    server.psql("INSERT INTO _timescaledb_catalog.hypertable VALUES (1), (2);", "maps")
    done = back_up(server, tmp_path, databases=["maps"])
    assert "2 hypertables" in said(done) and "timescaledb_pre_restore()" in said(done), said(done)
    assert "2 hypertables" in str(done.result["backup"]["warnings"])


def test_rows_of_an_extension_that_are_no_configuration(
    server: Server, tmp_path: Path, extra: Callable[[str], None]
) -> None:
    extra("extended")
    server.psql(
        "CREATE TABLE codes (n int); ALTER EXTENSION plpgsql ADD TABLE codes;"
        "INSERT INTO codes SELECT generate_series(1, 7);",
        "extended",
    )
    done = back_up(server, tmp_path, databases=["extended"])
    assert "public.codes (7 rows)" in said(done)
    (entry,) = done.result["backup"]["databases"]
    assert [(table["table"], table["rows"]) for table in entry["left_out"]] == [("codes", 7)]
    server.psql("TRUNCATE codes;", "extended")
    assert "codes" not in said(back_up(server, tmp_path, databases=["extended"]))


def test_databases_that_a_backup_of_all_leaves_out(
    server: Server, tmp_path: Path, extra: Callable[[str], None]
) -> None:
    for name in ("pattern", "closed", "broken"):
        extra(name)
    server.psql(
        "ALTER DATABASE pattern IS_TEMPLATE true; ALTER DATABASE closed ALLOW_CONNECTIONS false;"
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken';"
    )
    for check in (True, False):
        done = back_up(server, tmp_path, check=check)
        assert not done.failed, done.msg
        for word in ("'pattern'", "template", "'closed'", "ALLOW_CONNECTIONS", "'broken'", "invalid"):
            assert word in said(done), said(done)
    assert names(done) == ["crm", "postgres", "shop"]
    # Whoever names one wants to know that it is not there.
    done = back_up(server, tmp_path, databases=["shop", "broken"])
    assert done.failed and "'broken'" in done.msg and names(done) == ["shop"]


@pytest.mark.parametrize(
    "selection",
    [
        {"exclude_schemas": ["*"]},
        {"tables": ["nothing_of_that_name"]},
        {"schemas": ["no_such_schema"]},
        {"exclude_tables": ["items"], "tables": ["items"]},
    ],
    ids=str,
)
def test_a_selection_of_nothing(server: Server, tmp_path: Path, selection: dict[str, Any]) -> None:
    """It was a backup of no entry, verified."""
    for databases in (["shop"], []):
        done = back_up(server, tmp_path, databases=databases, **selection)
        assert done.failed and "selected" in done.msg and "No backup was made" in done.msg, done.msg
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_selection_that_only_some_databases_have(server: Server, tmp_path: Path) -> None:
    done = back_up(server, tmp_path, tables=["items"])
    assert not done.failed, done.msg
    assert names(done) == ["crm", "shop"]
    assert "'postgres'" in said(done)
    done = back_up(server, tmp_path, tables=["items"], databases=["shop", "postgres"])
    assert done.failed and "'postgres'" in done.msg and names(done) == ["shop"]


def test_one_database_that_cannot_be_dumped_stops_no_other(
    server: Server, tmp_path: Path, extra: Callable[[str], None]
) -> None:
    """Here a view of something that fails; a value of 600 MB, or a broken file, is the same to us."""
    extra("bad")
    server.psql("CREATE TABLE gone (id int); INSERT INTO gone VALUES (1); CREATE TABLE kept (id int);", "bad")
    (path,) = server.query("SELECT pg_relation_filepath('gone')", "bad")[0]
    server.psql("CHECKPOINT")
    (server.data / path).write_bytes(b"\xff" * 8192)
    server.restart()
    options = {"retention": {"keep_last": 1}, "globals": True, "row_counts": False}
    whole = back_up(server, tmp_path, databases=["crm", "shop"], **options)
    for format_ in ("custom", "directory"):
        done = back_up(server, tmp_path, format=format_, **options)
        assert done.failed and done.changed
        assert "'bad'" in done.msg and "1 of 4" in done.msg and "invalid page" in done.msg, done.msg
        assert done.result["tool"]["argv"][0].endswith("pg_dump")
        record = done.result["backup"]
        assert names(done) == ["crm", "postgres", "shop"]
        assert record["scope"]["databases"] == ["crm", "postgres", "shop"]
        assert record["verified_at"]
        keys = {artifact["key"] for artifact in record["artifacts"]}
        folder = tmp_path / "main" / record["id"]
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert there == keys | {"manifest.json", "RESTORE.txt"}
    # It is no backup of all, and neither makes one needless nor displaces one.
    assert (tmp_path / "main" / whole.result["backup"]["id"] / "manifest.json").exists()
    again = back_up(server, tmp_path, max_age="1h", **options)
    assert again.failed and "'bad'" in again.msg


def test_a_lock_that_somebody_holds(server: Server, tmp_path: Path) -> None:
    """pg_dump waited for ever, without a word."""
    with closing(server.connect("crm")) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        progress = tmp_path / "progress"
        login = {**server.client_options(), "repository": {"path": str(tmp_path)}}
        options = {"databases": ["crm", "shop"], "globals": False, "lock_wait_timeout": "2s"}
        module = start_module("pg_backup", {**login, **options, "progress_file": str(progress)})
        seen = ""
        end = time.monotonic() + 60
        while "waiting for a lock" not in seen and time.monotonic() < end:
            seen = progress.read_text() if progress.exists() else ""
            time.sleep(0.05)
        held_by = f"process {holder.info.backend_pid}"
        assert "'crm'" in seen and "LOCK TABLE items" in seen and "postgres" in seen
        done = module.result(60)
    assert done.failed
    for word in ("'crm'", "lock_wait_timeout", "LOCK TABLE items", held_by):
        assert word in done.msg, done.msg
    assert names(done) == ["shop"]


def test_a_connection_limit(server: Server, tmp_path: Path, extra: Callable[[str], None]) -> None:
    extra("limited")
    server.psql("CREATE ROLE few LOGIN BYPASSRLS PASSWORD 'few' IN ROLE pg_read_all_data;")
    server.psql("ALTER DATABASE limited CONNECTION LIMIT 0;")
    try:
        done = back_up(server, tmp_path, login_user="few", login_password="few", databases=["limited", "shop"])
        assert done.failed and "'limited'" in done.msg and "CONNECTION LIMIT" in done.msg
        assert names(done) == ["shop"]
    finally:
        server.psql("DROP ROLE few;")


def test_unlogged_tables_of_a_standby(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    primary = server_factory(16)
    primary.psql("CREATE UNLOGGED TABLE cache AS SELECT generate_series(1, 9) AS id;")
    with Restored(primary, "standby") as standby:
        copy = ("-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", "-d", primary.dsn())
        primary._as_server("pg_basebackup", *copy)
        with (standby.data / "postgresql.auto.conf").open("a") as configuration:
            configuration.write(f"port = {standby.port}\n")
        standby.start()
        done = back_up(standby, tmp_path, databases=["postgres"])
        assert not done.failed, done.msg
        assert "public.cache" in said(done) and "unlogged" in said(done)
    assert "cache" not in said(back_up(primary, tmp_path, databases=["postgres"], server_name="primary"))
