# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and schemas out of a dump: with all that they are made of, and with what others say of them as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server

FILL = """
CREATE SCHEMA sales; CREATE SCHEMA types;
CREATE TYPE types.state AS ENUM ('new', 'paid');
CREATE FUNCTION types.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TABLE public.meas (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE public.meas_1 PARTITION OF public.meas FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE public.meas_2 PARTITION OF public.meas FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE INDEX meas_notes ON public.meas (note);
INSERT INTO public.meas SELECT n, date '2026-01-01' + n % 59, 'note' FROM generate_series(1, 2000) AS n;
CREATE TABLE sales.base (n int); CREATE TABLE sales.child (m int) INHERITS (sales.base);
INSERT INTO sales.base VALUES (1); INSERT INTO sales.child VALUES (2, 3);
CREATE TABLE sales.customers (id int PRIMARY KEY, name text);
INSERT INTO sales.customers SELECT n, 'c' || n FROM generate_series(1, 10) AS n;
CREATE TABLE sales.orders (id serial PRIMARY KEY, customer int REFERENCES sales.customers, state types.state DEFAULT 'new',
    nr int GENERATED ALWAYS AS IDENTITY, CHECK (id > 0));
CREATE TRIGGER touched BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION types.touch();
CREATE STATISTICS public.of_orders ON id, nr FROM sales.orders;
ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON sales.orders TO pg_monitor USING (id > 3);
GRANT SELECT (id) ON sales.orders TO pg_monitor; COMMENT ON COLUMN sales.orders.nr IS 'number';
INSERT INTO sales.orders (customer) SELECT n % 10 + 1 FROM generate_series(1, 100) AS n;
CREATE TABLE public.a (n int); CREATE TABLE public."a b" (n int); INSERT INTO a VALUES (1); INSERT INTO "a b" VALUES (1), (2);
CREATE TABLE public.twice (n int); CREATE TABLE sales.twice (n int);
"""


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(16)


@pytest.fixture(scope="module")
def repository(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repository")
    fresh(server)
    options = {"databases": ["shop"], "globals": False, "repository": {"path": str(path)}}
    parts: dict[str, dict[str, Any]] = {
        "main": {},
        "directory": {"format": "directory"},
        "public": {"schemas": ["public"]},
        "table": {"tables": ["sales.customers"]},
        "plain": {"tables": ["sales.customers"], "format": "plain"},
    }
    for name, chosen in parts.items():
        done = run_module("pg_backup", {**server.client_options(), **options, **chosen, "server_name": name})
        assert done.changed and not done.failed, done.msg
    return path


@pytest.fixture
def shop(server: Server, repository: Path) -> Iterator[Server]:
    fresh(server)
    yield server


def fresh(server: Server) -> None:
    server.wipe()
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL, "shop")


def restore(server: Server, repository: Path, check: bool = False, **options: Any) -> ModuleResult:
    chosen = {"repository": {"path": str(repository)}, "databases": ["shop"], "analyze": False}
    return run_module("pg_restore", {**server.client_options(), **chosen, **options}, check=check)


def restored(server: Server, repository: Path, **options: Any) -> ModuleResult:
    done = restore(server, repository, **options)
    assert done.changed and not done.failed, done.msg
    return done


def whole(server: Server, db: str = "shop") -> str:
    """All of a database, as pg_dump says it, without what differs each time."""
    text = server.run("pg_dump", db=db).decode()
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)


def count(server: Server, table: str, db: str = "shop") -> int:
    return int(server.query(f"SELECT count(*) FROM {table}", db)[0][0])


IN_PLACE: dict[str, Any] = {"force": True, "confirm": ["shop"]}


@pytest.mark.parametrize("server_name", ["main", "directory"])
@pytest.mark.parametrize(
    ("table", "tables"),
    [
        ("public.meas", ["meas", "meas_1", "meas_2"]),
        ("public.meas_1", ["meas_1"]),
        ("sales.base", ["sales.base", "sales.child"]),
    ],
)
def test_a_table_is_what_it_is_made_of(
    shop: Server, repository: Path, table: str, tables: list[str], server_name: str
) -> None:
    """Kind: selection knows what depends on a table, not what it is made of (1.2). Members: partitions with keys and indexes, one
    partition alone (which is attached again), inheritance children. Found: partitions dropped, 0 rows, no difference, ok; and of a
    partition alone not a word that its rows were not compared."""
    before = whole(shop)
    for name in tables:
        shop.psql(f"DELETE FROM {name};", "shop")
    done = restored(shop, repository, tables=[table], server_name=server_name, **IN_PLACE)
    assert whole(shop) == before
    alone = table == "public.meas_1"
    assert ("public.meas_1 was not compared" in str(done.result["proof"]["unproven"])) is alone, done.result["proof"]
    assert ("as many rows" in str(done.result["proof"]["proven"])) is not alone, done.result["proof"]


def test_a_table_into_a_new_database_brings_what_it_needs(shop: Server, repository: Path) -> None:
    """Kind: a part without what it stands on (2.6). Members: schema, enum, trigger function, sequence, partitions."""
    done = restored(shop, repository, target_db="one", tables=["sales.orders"])
    assert count(shop, "sales.orders", "one") == 100
    assert shop.query("SELECT count(*) FROM pg_trigger WHERE tgname = 'touched'", "one") == [(1,)]
    assert "orders_customer_fkey" in str(done.result["warnings"])  # it leads to a table that was not chosen
    restored(shop, repository, target_db="two", tables=["meas"])
    assert count(shop, "meas", "two") == 2000 and count(shop, "meas_2", "two") > 0
    restored(shop, repository, target_db="three", schemas=["sales"])
    assert count(shop, "sales.orders", "three") == 100


@pytest.mark.parametrize(
    ("server_name", "table", "rows"),
    [("public", "meas", 2000), ("table", "sales.customers", 10), ("plain", "sales.customers", 10)],
)
def test_backups_of_parts_come_back(shop: Server, repository: Path, server_name: str, table: str, rows: int) -> None:
    """Kind: own backups of parts (2.6): one of the schema public, which each database has; one of a table, whose schema it lacks."""
    # A part is never taken for the database that was asked for: it is asked for by its id.
    refused = restore(shop, repository, server_name=server_name, target_db="parts")
    assert refused.failed and "has only the" in refused.msg and "backup_id" in refused.msg
    (made,) = (path.name for path in (repository / server_name).iterdir() if (path / "manifest.json").exists())
    restored(shop, repository, server_name=server_name, target_db="parts", backup_id=made)
    assert count(shop, table, "parts") == rows


def test_extensions_whose_schema_is_left_out(wiped: Callable[[int], Server], tmp_path: Path) -> None:
    """Kind: what an extension stands in (2.28). Members: its schema excluded from the backup; its schema chosen; a table with a column of
    its type into a new database."""
    shop = wiped(15)
    if not shop.query("SELECT 1 FROM pg_available_extensions WHERE name = 'hstore'"):
        pytest.skip("hstore is not installed here")
    shop.psql("CREATE DATABASE shop;")
    shop.psql(
        "CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE TABLE h (v ext.hstore); INSERT INTO h VALUES ('a=>1');",
        "shop",
    )
    options = {"databases": ["shop"], "globals": False, "repository": {"path": str(tmp_path)}}
    for name, chosen in (("main", {}), ("without", {"exclude_schemas": ["ext"]})):
        done = run_module("pg_backup", {**shop.client_options(), **options, **chosen, "server_name": name})
        assert not done.failed, done.msg
    done = restored(shop, tmp_path, server_name="without", target_db="one")
    assert count(shop, "h", "one") == 1 and "'ext'" in str(done.result["warnings"])
    restored(shop, tmp_path, target_db="two", tables=["h"])
    restored(shop, tmp_path, target_db="three", schemas=["ext"])
    assert shop.query("SELECT extname FROM pg_extension WHERE extname = 'hstore'", "three") == [("hstore",)]
    shop.wipe()


def test_what_others_say_of_a_table_stays(shop: Server, repository: Path) -> None:
    """Kind: a part is restored, its relations are not (1.29). Members: a publication with columns and filter, default privileges of the
    role and of the schema, statistics, foreign keys both valid and by now contradicted, policies, column grants, comments."""
    shop.psql(
        "CREATE PUBLICATION pub FOR TABLE sales.orders (id, state) WHERE (id > 3), public.a;"
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT ALL ON TABLES TO pg_monitor;"
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO pg_monitor;",
        "shop",
    )
    before = whole(shop)
    shop.psql("UPDATE sales.orders SET state = 'paid';", "shop")
    planned = restore(shop, repository, check=True, tables=["sales.orders"], **IN_PLACE)
    assert "'pub'" in str(planned.result["plan"]), planned.msg or planned.result["plan"]
    looked = restore(shop, repository, check=True, tables=["sales.orders"]).result
    assert looked["plan"][:-1] == planned.result["plan"] and looked["consent"] == IN_PLACE
    restored(shop, repository, tables=["sales.orders"], **IN_PLACE)
    assert whole(shop) == before


def test_what_goes_with_the_old_table_is_named(shop: Server, repository: Path) -> None:
    shop.psql(
        "CREATE INDEX later ON sales.orders (customer); GRANT DELETE ON sales.orders TO pg_monitor;"
        "DELETE FROM sales.orders WHERE customer = 3; DELETE FROM sales.customers WHERE id = 3;",
        "shop",
    )
    done = restored(shop, repository, tables=["sales.orders"], **IN_PLACE)
    lost = "\n".join(done.result["proof"]["lost"])
    assert "index later" in lost and "grant of DELETE" in lost
    # Rows of today contradict the foreign key: it stands, for new rows, and is reported.
    assert "orders_customer_fkey" in str(done.result["restored"][0]["invalid"])


def test_something_that_depends_on_it_refuses(shop: Server, repository: Path) -> None:
    shop.psql("CREATE VIEW over AS SELECT * FROM public.a; DELETE FROM a;", "shop")
    before = whole(shop)
    refused = restore(shop, repository, tables=["a"], **IN_PLACE)
    assert refused.failed and "over" in refused.msg and "as it was" in refused.msg
    assert whole(shop) == before


@pytest.mark.parametrize(
    "state",
    [
        "DISABLE TRIGGER touched",
        "ENABLE ALWAYS TRIGGER touched",
        "ENABLE REPLICA TRIGGER touched",
        "DISABLE TRIGGER ALL",
    ],
)
def test_triggers_are_as_they_were(shop: Server, repository: Path, state: str) -> None:
    """Kind: what pg_restore does silently is believed (1.30): with its --disable-triggers all are enabled afterwards."""
    shop.psql(f"DELETE FROM sales.orders; ALTER TABLE sales.orders {state};", "shop")
    states = "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'sales.orders'::regclass ORDER BY 1"
    before = shop.query(states, "shop")
    restored(shop, repository, tables=["sales.orders"], data_only=True, disable_triggers=True, **IN_PLACE)
    assert shop.query(states, "shop") == before and count(shop, "sales.orders") == 100


def test_data_alone_goes_in_whole_or_not_at_all(shop: Server, repository: Path) -> None:
    """Kind: "as it was", and it is not (section 4): data_only failed half-way, and what came before stayed."""
    shop.psql(
        "DELETE FROM public.a; DELETE FROM sales.base; INSERT INTO sales.orders (id, customer) VALUES (500, 1);", "shop"
    )
    before = whole(shop)
    failed = restore(shop, repository, data_only=True, **IN_PLACE)  # the keys of sales.customers are there already
    assert failed.failed and "as it was" in failed.msg, failed.msg
    assert whole(shop) == before


def test_names_mean_one_table(shop: Server, repository: Path) -> None:
    """Kind: a name taken for several, or for a part of another's. Members: one name in two schemas; a name that begins another one."""
    refused = restore(shop, repository, check=True, tables=["twice"], **IN_PLACE)
    assert refused.failed and "public.twice" in refused.msg and "sales.twice" in refused.msg
    refused = restore(shop, repository, target_db="new", tables=["twice"])
    assert refused.failed and "sales.twice" in refused.msg and "new" not in shop.databases()
    done = restored(shop, repository, target_db="one", tables=["a"])
    assert count(shop, "a", "one") == 1 and shop.query("SELECT to_regclass('\"a b\"')", "one") == [(None,)]
    assert done.result["restored"][0]["row_differences"] == []  # of no table that nobody asked for
    assert done.result["restored"][0]["tables_checked"] == 1


def test_a_subscription_into_the_table_needs_consent(shop: Server, repository: Path) -> None:
    shop.psql(
        "CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 port=9' PUBLICATION p WITH (connect = false, slot_name = NONE);",
        "shop",
    )
    shop.psql(
        "INSERT INTO pg_subscription_rel SELECT oid, 'public.a'::regclass, 'r', NULL FROM pg_subscription;", "shop"
    )
    assert restore(shop, repository, check=True, tables=["a"], **IN_PLACE).result["consent"] == {
        "break_replication": True
    }
    refused = restore(shop, repository, tables=["a"], **IN_PLACE)
    assert refused.failed and "'fed'" in refused.msg and "break_replication" in refused.msg
    done = restored(shop, repository, tables=["a"], break_replication=True, **IN_PLACE)
    assert "'fed'" in "\n".join(done.result["proof"]["lost"])
    shop.psql("DROP SUBSCRIPTION fed;", "shop")
