# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database is more than its tables: what hangs on it when another one takes its name, and when a restore is not needed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from lab.answers import ok
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server

FILL = """
CREATE TABLE t (n int PRIMARY KEY, words text);
INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 50) AS n;
CREATE VIEW v AS SELECT count(*) FROM t;
"""
IN_PLACE: dict[str, Any] = {"force": True, "confirm": ["shop"]}


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(16, settings={"max_prepared_transactions": "5"})


@pytest.fixture
def shop(server: Server) -> Iterator[Server]:
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL, "shop")
    yield server
    for (gid,) in server.query("SELECT gid FROM pg_prepared_xacts"):
        server.query(f"ROLLBACK PREPARED '{gid}'", "shop")
    server.wipe()


def back_up(server: Server, repository: Path, **options: Any) -> ModuleResult:
    chosen = {"repository": {"path": str(repository)}, "databases": ["shop"], "globals": False}
    done = run_module("pg_backup", {**server.client_options(), **chosen, **options})
    assert done.changed and not done.failed, done.msg
    return done


def restore(server: Server, repository: Path, check: bool = False, **options: Any) -> ModuleResult:
    chosen = {"repository": {"path": str(repository)}, "databases": ["shop"], "analyze": False}
    return run_module("pg_restore", {**server.client_options(), **chosen, **options}, check=check)


def restored(server: Server, repository: Path, **options: Any) -> ModuleResult:
    done = restore(server, repository, **options)
    assert done.changed and not done.failed, done.msg
    return done


def proof(done: ModuleResult, kind: str) -> str:
    return "\n".join(done.result["proof"][kind])


# Whether it is done already


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET words = 'bad'",
        "DROP VIEW v",
        "DELETE FROM t WHERE n = 1; INSERT INTO t VALUES (1, 'row 1')",
        "TRUNCATE t; INSERT INTO t SELECT n, 'x' FROM generate_series(1, 50) AS n",
        "CREATE OR REPLACE VIEW v AS SELECT 1::bigint AS count",
        "SET track_counts = off; UPDATE t SET words = 'bad'; SELECT pg_stat_reset()",
        "GRANT SELECT ON t TO PUBLIC",
        "SELECT lo_create(0)",
        "ALTER DATABASE shop SET work_mem = '5MB'",
        "SELECT setval('never_called', 100, false)",
        "CREATE SUBSCRIPTION late CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = none)",
    ],
)
def test_a_mark_holds_only_while_nothing_was_written(shop: Server, tmp_path: Path, change: str) -> None:
    """Kind: idempotence by counts (1.6). Members: UPDATE, a dropped and a changed view, equal numbers of other rows, TRUNCATE, writes that
    the statistics do not see, grants, large objects, settings of the database. Found: nothing to do, the bad data stays. Later, of 60
    statements of each kind: a sequence that was set and never called, and a subscription, as its catalog belongs to all databases."""
    shop.psql("CREATE SEQUENCE never_called;", "shop")
    back_up(shop, tmp_path)
    restored(shop, tmp_path, **IN_PLACE)
    with shop.connect("shop") as connection, connection.cursor() as cursor:
        for statement in change.split("; "):
            cursor.execute(statement)
    connection.close()
    again = restored(shop, tmp_path, break_replication=True, **IN_PLACE)
    assert "since" in str(again.result["warnings"])
    assert shop.query("SELECT count(DISTINCT words) FROM t WHERE words LIKE 'row %'", "shop") == [(50,)]


def test_reading_and_upkeep_are_no_changes(shop: Server, tmp_path: Path) -> None:
    back_up(shop, tmp_path)
    restored(shop, tmp_path, **IN_PLACE)
    for statement in ("SELECT * FROM v", "VACUUM FULL t", "VACUUM FULL pg_class", "ANALYZE", "CHECKPOINT"):
        shop.query(statement, "shop")
    with shop.connect("shop") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE passing (n int)")
    connection.close()
    done = restore(shop, tmp_path, **IN_PLACE)
    assert not done.failed and not done.changed, done.msg or done.result


# What has to be agreed to


def test_the_plan_comes_before_consent(shop: Server, tmp_path: Path) -> None:
    """Kind: a plan that nobody sees before they have agreed to it. Members: nothing agreed to; force alone; another database confirmed;
    somebody connected. What carries it out is exactly what the plan waits for, and nothing was touched."""
    back_up(shop, tmp_path)
    shop.psql("INSERT INTO t VALUES (777);", "shop")
    for agreed in ({}, {"force": True}, {"force": True, "confirm": ["other"]}):
        planned = restore(shop, tmp_path, check=True, **agreed)
        assert planned.changed and not planned.failed, planned.msg
        plan, consent = planned.result["plan"], planned.result["consent"]
        assert "beside 'shop'" in plan[0] and "what was written into it since 20" in plan[-2]
        assert "confirm: [shop]" in plan[-1] and {**agreed, **consent} == IN_PLACE
    with contextlib.closing(shop.connect("shop")):
        planned = restore(shop, tmp_path, check=True, **IN_PLACE)
        assert planned.result["consent"] == {"terminate_sessions": True}
        assert "end who is connected to 'shop'" in str(planned.result["plan"])
        assert shop.query("SELECT count(*) FROM t WHERE n = 777", "shop") == [(1,)]
        done = restored(shop, tmp_path, **IN_PLACE, **planned.result["consent"])
    assert done.result["plan"] == planned.result["plan"][:-1]
    assert shop.query("SELECT count(*) FROM t WHERE n = 777", "shop") == [(0,)]


# What hangs on it


def test_logical_slots_and_subscriptions_need_consent(shop: Server, tmp_path: Path) -> None:
    """Kind: what hangs on a database's oid (1.28). Members: logical slots (active or not), subscriptions, publications that the backup
    lacks, prepared transactions. Found: the slot gone without a word, the old database's subscription still receiving."""
    back_up(shop, tmp_path)
    shop.query("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')", "shop")
    shop.psql("CREATE PUBLICATION later FOR ALL TABLES;", "shop")
    dsn = "host=127.0.0.1 port=9 dbname=x"
    shop.psql(
        f"CREATE SUBSCRIPTION fed CONNECTION '{dsn}' PUBLICATION p WITH (connect = false, slot_name = 'far');", "shop"
    )
    refused = restore(shop, tmp_path, **IN_PLACE)
    assert refused.failed and "'cdc'" in refused.msg and "'fed'" in refused.msg and "break_replication" in refused.msg
    for agreed in ({}, {"break_replication": True}):
        planned = restore(shop, tmp_path, check=True, **agreed, **IN_PLACE)
        assert not planned.failed and "'cdc'" in str(planned.result["plan"]) and "'fed'" in str(planned.result["plan"])
        assert planned.result.get("consent", agreed) == {"break_replication": True}
    done = restored(shop, tmp_path, break_replication=True, terminate_sessions=True, **IN_PLACE)
    for word in ("'cdc'", "copy the tables afresh", "'fed'", "'far'", "'later'"):
        assert word in proof(done, "lost"), proof(done, "lost")
    slots = shop.query("SELECT slot_name, database, plugin FROM pg_replication_slots")
    assert slots == [("cdc", "shop", "pgoutput")]
    assert shop.databases() == ["postgres", "shop"]  # nothing holds the old one


def test_prepared_transactions_are_told_before_anything(shop: Server, tmp_path: Path) -> None:
    back_up(shop, tmp_path)
    shop.psql("BEGIN; INSERT INTO t VALUES (1000); PREPARE TRANSACTION 'half';", "shop")
    refused = restore(shop, tmp_path, check=True, **IN_PLACE)
    assert refused.failed and "'half'" in refused.msg and "ROLLBACK PREPARED" in refused.msg


def test_a_foreign_dump_loses_nothing_of_the_database_itself(shop: Server, tmp_path: Path) -> None:
    """Kind: a dump knows nothing of the database itself (section 4). Members: owner, REVOKE CONNECT, connection limit, settings of the
    database and of a role in it, comment, for an archive and for a script."""
    archive = tmp_path / "shop.dump"
    archive.write_bytes(shop.run("pg_dump", "-Fc", db="shop"))
    shop.psql(
        "CREATE ROLE app; ALTER DATABASE shop OWNER TO app; REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT CREATE ON DATABASE shop"
        " TO pg_monitor; ALTER DATABASE shop CONNECTION LIMIT 17; ALTER DATABASE shop SET work_mem = '5MB';"
        " ALTER ROLE app IN DATABASE shop SET work_mem = '6MB'; COMMENT ON DATABASE shop IS 'the one';"
    )
    asked = (
        "SELECT pg_get_userbyid(datdba)::text, datacl::text, datconnlimit, shobj_description(oid, 'pg_database'),"
        " (SELECT array_agg(setconfig::text ORDER BY 1) FROM pg_db_role_setting WHERE setdatabase = d.oid)"
        " FROM pg_database d WHERE datname = 'shop'"
    )
    before = shop.query(asked)
    done = run_module(
        "pg_restore",
        {
            **shop.client_options(),
            "source": str(archive),
            "databases": ["shop"],
            "state_dir": str(tmp_path / "s"),
            **IN_PLACE,
        },
    )
    assert done.changed and not done.failed, done.msg
    assert shop.query(asked) == before


def test_what_asks_for_the_name_gets_the_right_one(shop: Server, tmp_path: Path) -> None:
    """Kind: everything is restored under a false name (1.35). Members: a materialized view on current_database(), one by a view upon it,
    one by a function; a CHECK on it, which rejects all rows under another name."""
    shop.psql(
        "CREATE FUNCTION here() RETURNS text LANGUAGE sql AS 'SELECT current_database()';"
        "CREATE MATERIALIZED VIEW m1 AS SELECT current_database() AS name; CREATE VIEW v1 AS SELECT current_catalog AS name;"
        "CREATE MATERIALIZED VIEW m2 AS SELECT name FROM v1; CREATE MATERIALIZED VIEW m3 AS SELECT public.here() AS name;"
        "CREATE MATERIALIZED VIEW m4 AS SELECT * FROM m1;",
        "shop",
    )
    back_up(shop, tmp_path)
    names = "SELECT (SELECT name FROM m1), (SELECT name FROM m2), (SELECT name FROM m3), (SELECT name FROM m4)"
    restored(shop, tmp_path, target_db="other")
    assert shop.query(names, "other") == [("other",) * 4]
    restored(shop, tmp_path, **IN_PLACE)
    assert shop.query(names, "shop") == [("shop",) * 4]
    again = restore(shop, tmp_path, **IN_PLACE)
    assert not again.failed and not again.changed, again.result


def test_a_check_on_the_name_moves_the_old_one_aside_first(shop: Server, tmp_path: Path) -> None:
    shop.psql("CREATE TABLE mine (of text CHECK (of = current_database())); INSERT INTO mine VALUES ('shop');", "shop")
    back_up(shop, tmp_path)
    shop.psql("DELETE FROM mine;", "shop")
    assert "aside" in restore(shop, tmp_path, check=True, **IN_PLACE).result["plan"][0]
    restored(shop, tmp_path, **IN_PLACE)
    assert shop.query("SELECT * FROM mine", "shop") == [("shop",)] and shop.databases() == ["postgres", "shop"]
    failing = restore(shop, tmp_path, target_db="other")
    assert failing.failed and shop.databases() == ["postgres", "shop"]


def test_what_a_killed_restore_had_moved_aside_comes_back(shop: Server, tmp_path: Path) -> None:
    """Kind: half done looks whole: the state that a kill -9 leaves while a database is restored under its own name."""
    back_up(shop, tmp_path)
    shop.psql("ALTER DATABASE shop RENAME TO shop_before_abcdef; CREATE DATABASE shop; CREATE DATABASE copied;")
    mark = "holdfast.postgres restores this database; until it is done, it is not complete"
    ((oid,),) = shop.query("SELECT oid::int FROM pg_database WHERE datname = 'shop'")
    for name in ("shop", "copied"):  # a comment that was copied says nothing
        shop.psql(f"COMMENT ON DATABASE {name} IS '{mark} ({oid}); its predecessor is now called shop_before_abcdef';")
    planned = restore(shop, tmp_path, check=True, target_db="other")
    assert "give its name back" in planned.result["plan"][0] and "'copied'" not in str(planned.result["plan"])
    restored(shop, tmp_path, target_db="other")
    assert shop.databases() == ["copied", "other", "postgres", "shop"]
    assert shop.query("SELECT count(*) FROM t", "shop") == [(50,)]


# Roles, locales, encodings


@pytest.mark.parametrize("which", [15, 18])
def test_a_role_that_is_no_superuser(wiped: Callable[[int], Server], tmp_path: Path, which: int) -> None:
    """Kind: work as a superuser only (2.4). Members: a new database, in place, what a killed restore left, on 15 and 18."""
    server = wiped(which)
    server.psql("CREATE ROLE app LOGIN CREATEDB PASSWORD 'app'; CREATE DATABASE shop OWNER app;")
    server.psql(f"SET ROLE app; {FILL}", "shop")
    back_up(server, tmp_path)
    me = {"login_user": "app", "login_password": "app"}
    restored(server, tmp_path, target_db="other", **me)
    server.psql("DELETE FROM t;", "shop")
    done = restored(server, tmp_path, **me, **IN_PLACE)
    assert "2 tables" in proof(done, "proven") or "1 tables" in proof(done, "proven")
    assert server.query("SELECT count(*) FROM t", "shop") == [(50,)]
    server.wipe()


def test_a_locale_that_the_host_lacks(shop: Server, tmp_path: Path) -> None:
    """Kind: properties that this host cannot have, and no way out (2.5). Members: a locale that is not installed, encoding, an empty
    database prepared by hand, template."""
    lacking = tmp_path
    back_up(shop, lacking, compression="none")
    (manifest,) = lacking.glob("main/*/manifest.json")
    record = json.loads(manifest.read_text())
    (artifact,) = (item for item in record["artifacts"] if item["role"] == "cluster")
    file = manifest.parent / artifact["key"]
    cluster = json.loads(file.read_text())
    for row in cluster["databases"]:
        row.update(collate="xx_XX.utf8", ctype="xx_XX.utf8")
    content = json.dumps(cluster).encode()
    file.write_bytes(content)
    artifact.update(size=len(content), raw_size=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest.write_text(json.dumps(record))
    refused = restore(shop, lacking, check=True, target_db="other")
    assert refused.failed and "xx_XX.utf8" in refused.msg and "holdfast_restore_locale" in refused.msg, refused.msg
    done = restored(shop, lacking, target_db="other", locale="C")
    assert "locale C" in done.result["plan"][0]
    shop.psql("CREATE DATABASE prepared TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'SQL_ASCII';")
    done = restored(shop, lacking, target_db="prepared")
    assert "of the empty database" in done.result["plan"][0]
    found = shop.query("SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'prepared'")
    assert found == [("C", "SQL_ASCII")]
    shop.psql("CREATE DATABASE mould TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';")
    shop.psql("CREATE SCHEMA moulded;", "mould")
    restored(shop, lacking, target_db="cast", template="mould", locale="C")
    assert shop.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'moulded'", "cast") == [(1,)]


def test_what_is_not_empty_any_more_or_only_looks_empty_is_kept(shop: Server, tmp_path: Path) -> None:
    """Kinds: a look that is acted upon later; emptiness by the count of tables. Members: a database that is empty when the restore begins,
    and filled while it runs; one that has nothing but a type. Found: both were dropped, and nobody had agreed."""
    shop.psql("CREATE MATERIALIZED VIEW slow AS SELECT pg_sleep(1)::text", "shop")
    back_up(shop, tmp_path)
    shop.psql("CREATE DATABASE prepared; CREATE DATABASE typed;")
    shop.psql("CREATE TYPE mood AS ENUM ('well')", "typed")
    refused = restore(shop, tmp_path, target_db="typed")
    assert refused.failed and "not empty" in refused.msg

    def fill() -> None:
        deadline = time.monotonic() + 60
        while not any("_restoring_" in name for name in shop.databases()) and time.monotonic() < deadline:
            time.sleep(0.05)
        shop.psql("CREATE TABLE new_work (n int)", "prepared")

    filling = threading.Thread(target=fill)
    filling.start()
    done = restored(shop, tmp_path, target_db="prepared")
    filling.join()
    old = done.result["restored"][0]["old_database"]
    assert f"nobody agreed to its loss, it stays as {old!r}" in str(done.result["warnings"])
    assert shop.query("SELECT count(*) FROM new_work", old) == [(0,)]
    assert shop.query("SELECT count(*) FROM t", "prepared") == [(50,)]


def test_a_mark_is_of_one_backup_and_of_what_was_let_fail(shop: Server, tmp_path: Path) -> None:
    """Kind: idempotence by a name. Members: an id that was used again for another backup; a restore that was allowed to fail in part, and
    one that is not. Found: both "nothing to do"."""
    back_up(shop, tmp_path, backup_id="nightly")
    restored(shop, tmp_path, target_db="copy", allow_errors=["no such thing"])
    assert restored(shop, tmp_path, target_db="copy", force=True, confirm=["copy"])
    assert not ok(restore(shop, tmp_path, target_db="copy", force=True, confirm=["copy"]))["changed"]
    login = {**shop.client_options(), "repository": {"path": str(tmp_path)}, "backup_id": "nightly"}
    assert run_module("pg_backup", {**login, "state": "absent"}).changed
    shop.psql("DELETE FROM t WHERE n > 9", "shop")
    back_up(shop, tmp_path, backup_id="nightly")
    restored(shop, tmp_path, target_db="copy", force=True, confirm=["copy"])
    assert shop.query("SELECT count(*) FROM t", "copy") == [(9,)]


def test_an_invalid_database_is_replaced(shop: Server, tmp_path: Path) -> None:
    """Kind: what an interrupted DROP DATABASE left (2.9): nobody can connect to it, and renaming it helps nobody."""
    back_up(shop, tmp_path)
    shop.psql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'shop';")
    refused = restore(shop, tmp_path)
    assert refused.failed and "'shop'" in refused.msg and "force" in refused.msg
    planned = restore(shop, tmp_path, check=True, **IN_PLACE)
    assert "interrupted" in planned.result["plan"][0]
    restored(shop, tmp_path, **IN_PLACE)
    assert shop.query("SELECT count(*) FROM t", "shop") == [(50,)] and shop.databases() == ["postgres", "shop"]


def test_a_closed_database_is_replaced_and_stays_closed(shop: Server, tmp_path: Path) -> None:
    back_up(shop, tmp_path)
    archive = tmp_path / "shop.dump"
    archive.write_bytes(shop.run("pg_dump", "-Fc", db="shop"))
    shop.psql("ALTER DATABASE shop ALLOW_CONNECTIONS false;")
    options = {**shop.client_options(), "source": str(archive), "databases": ["shop"], "state_dir": str(tmp_path / "s")}
    done = run_module("pg_restore", {**options, **IN_PLACE})
    assert done.changed and not done.failed, done.msg
    assert shop.query("SELECT datallowconn FROM pg_database WHERE datname = 'shop'") == [(False,)]


def test_names_outside_ascii_with_any_locale_of_ours(shop: Server, tmp_path: Path) -> None:
    """Kind: the locale of whoever runs the module (section 4): LC_ALL=C, POSIX, a Latin-1 one, and no locale at all."""
    shop.psql('CREATE DATABASE "größe"; COMMENT ON DATABASE "größe" IS \'Maße\';')
    shop.psql("CREATE TABLE ä (n int);", "größe")
    for number, env in enumerate(({"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})):
        path = tmp_path / str(number)
        path.mkdir()
        options = {**shop.client_options(), "repository": {"path": str(path)}, "databases": ["größe"]}
        done = run_module("pg_backup", options, env=env)
        assert not done.failed, done.msg or done.stderr
        done = run_module("pg_restore", {**options, "force": True, "confirm": ["größe"]}, env=env)
        assert not done.failed, done.msg or done.stderr


# What only advises, what fails first


def test_advice_ends_no_restore(shop: Server, tmp_path: Path) -> None:
    """Kind: an advisory check ends a restore (2.2). Members: a sequence in a text default, one beyond bigint, an index whose function
    fails while ANALYZE gathers statistics, a materialized view without data (2.24: listed)."""
    shop.psql(
        "CREATE SEQUENCE s; CREATE TABLE invoices (id text PRIMARY KEY DEFAULT 'INV-' || nextval('s'));"
        "ALTER SEQUENCE s OWNED BY invoices.id; INSERT INTO invoices DEFAULT VALUES;"
        "CREATE TABLE big (n numeric); CREATE SEQUENCE b OWNED BY big.n; INSERT INTO big VALUES (1e30);"
        "CREATE MATERIALIZED VIEW empty AS SELECT 1 WITH NO DATA;",
        "shop",
    )
    back_up(shop, tmp_path)
    done = restored(shop, tmp_path, target_db="other", fix_sequences=True, analyze=True)
    (report,) = done.result["restored"]
    assert report["unpopulated"] == ["public.empty"] and "public.empty" in str(done.result["warnings"])
    assert "public.b" in proof(done, "unproven")


def test_event_triggers_of_the_dump_stop_nothing(shop: Server, tmp_path: Path) -> None:
    """Kind: our own sessions fire event triggers (2.24): one that blocks DDL comes before the views are filled."""
    shop.psql(
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS n;"
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''frozen''; END';"
        "CREATE EVENT TRIGGER frozen ON ddl_command_start EXECUTE FUNCTION no();",
        "shop",
    )
    back_up(shop, tmp_path)
    for jobs in (1, 2):
        restored(shop, tmp_path, target_db=f"other{jobs}", jobs=jobs)
        assert shop.query("SELECT n FROM m", f"other{jobs}") == [(1,)]


def test_the_server_stops_in_the_middle(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    """Kind: what fails afterwards hides what failed first (3.7)."""
    own = server_factory(16)
    own.psql("CREATE DATABASE shop;")
    own.psql("CREATE FUNCTION die() RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(0) IS NOT NULL';", "shop")
    own.psql("CREATE TABLE t (n int CHECK (die())); INSERT INTO t VALUES (1);", "shop")
    back_up(own, tmp_path)
    archive = tmp_path / "shop.dump"
    archive.write_bytes(own.run("pg_dump", "-Fp", db="shop").replace(b"pg_sleep(0)", b"pg_sleep(60)"))
    from lab.playbooks import start_module

    options = {
        **own.client_options(),
        "source": str(archive),
        "databases": ["shop"],
        "target_db": "other",
        "state_dir": str(tmp_path / "s"),
    }
    running = start_module("pg_restore", options)
    while not own.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        pass
    own.stop("immediate")
    done = running.result()
    assert done.failed and "'other' could not be restored" in done.msg, done.msg or done.stderr
    assert not re.search(r"psycopg2|Traceback|InterfaceError", done.msg)
    assert "terminating connection" in done.msg or "closed the connection" in done.msg, done.msg
    assert "Still there" in done.msg


def test_templates_that_are_not_in_a_backup_are_named(shop: Server, tmp_path: Path) -> None:
    """Kind: left out without a word (section 4): templates, databases that take no connections."""
    shop.psql("CREATE DATABASE mould IS_TEMPLATE true; CREATE DATABASE closed ALLOW_CONNECTIONS false;")
    back_up(shop, tmp_path, databases=[])
    shop.psql("DROP DATABASE shop;")
    done = restore(shop, tmp_path, databases=[], globals=False, force=True, confirm=["postgres"])
    assert not done.failed, done.msg
    assert "'mould'" in proof(done, "lost") and "'closed'" in proof(done, "lost")


def test_nothing_compared_is_nothing_proven(shop: Server, tmp_path: Path) -> None:
    back_up(shop, tmp_path, row_counts=False)
    done = restored(shop, tmp_path, target_db="other")
    assert "none were compared" in proof(done, "unproven") and "as many rows" not in proof(done, "proven")
    assert done.result["restored"][0]["tables_checked"] is None
    with pytest.raises(psycopg2.Error):
        shop.query("SELECT * FROM nowhere", "other")
