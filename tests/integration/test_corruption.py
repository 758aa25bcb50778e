# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a server that was recovered is whole by its files, and corrupt inside.

Members: a table, an index by itself, an index that lacks rows; in one database of several; no time; an extension that is there already, in a schema of its own.
Nothing is left behind: no extension, no schema, no lock, and nobody's event trigger has run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.corruption import nothing_is_corrupt
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from lab.servers import Server

LEFT = (
    "SELECT (SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'), (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'holdfast%'),"
    " (SELECT count(*) FROM fired)"
)
# An order that is turned round under an index, as another version of a C library does it.
TURNED = """
CREATE FUNCTION place(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 - $2';
CREATE OPERATOR CLASS placed FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 place(int, int);
CREATE INDEX turned ON t (n placed);
CREATE OR REPLACE FUNCTION place(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $2 - $1';
"""
# A value that is computed otherwise than when the index was made.
LACKS = """
CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT 2 * $1';
CREATE INDEX lacks ON t (double(n));
CREATE OR REPLACE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT 3 * $1';
"""
FROZEN = "UPDATE pg_class SET relfrozenxid = (SELECT (txid_current() % 4294967296)::text::xid) WHERE relname = 't'"


class Site:
    def __init__(self, server: Server) -> None:
        self.server = server
        for name in ("shop", "other"):
            server.psql(f"CREATE DATABASE {name}")
        server.psql(
            "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n; CREATE INDEX ON t (n); CREATE TABLE fired (n int);"
            "CREATE FUNCTION fires() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.fired VALUES (1); END';"
            "CREATE EVENT TRIGGER fires ON ddl_command_start EXECUTE FUNCTION fires()",
            db="shop",
        )
        server.psql("DELETE FROM fired", db="shop")

    @contextmanager
    def connect(self, database: str) -> Iterator[Any]:
        with closing(self.server.connect(database)) as connection:
            yield connection

    def look(self, level: str = "quick", seconds: float = 60) -> Proof:
        return nothing_is_corrupt(self.connect, "postgres", level, seconds)

    def left(self) -> Any:
        return self.server.query(LEFT, db="shop")[0]


@pytest.fixture
def site(wiped: Callable[[Server | int], Server]) -> Site:
    return Site(wiped(15))


def test_nothing_is_corrupt_and_nothing_is_left(site: Site) -> None:
    found = site.look("parent")
    assert not found.missing and not found.unproven and "tables and" in found.proven[0], found
    assert site.left() == (0, 0, 0)
    site.server.psql("CREATE SCHEMA own; CREATE EXTENSION amcheck SCHEMA own VERSION '1.2'", db="shop")
    assert not site.look().unproven
    assert site.server.query("SELECT extversion FROM pg_extension WHERE extname = 'amcheck'", db="shop") == [("1.2",)]


@pytest.mark.parametrize(
    ("done", "level", "told"),
    [
        (TURNED, "quick", "turned"),
        (LACKS, "quick", ""),
        (LACKS, "heapallindexed", "lacks"),
        (FROZEN, "quick", "t is corrupt: block 0"),
    ],
    ids=["an order", "rows, not asked for", "rows", "a table"],
)
def test_what_is_corrupt_is_told(site: Site, done: str, level: str, told: str) -> None:
    site.server.psql(done, db="shop")
    site.server.psql("DELETE FROM fired", db="shop")
    found = site.look(level)
    if not told:
        assert not found.missing and found.proven
        return
    assert not found.proven and len(found.missing) == 1, found
    assert "the database 'shop'" in found.missing[0] and told in found.missing[0]
    assert site.left() == (0, 0, 0)


def test_what_there_was_no_time_for_is_not_proven(site: Site) -> None:
    found = site.look(seconds=0)
    assert not found.proven and len(found.unproven) == len(
        site.server.query("SELECT 1 FROM pg_database WHERE datallowconn")
    )
    assert all("no time left after 0 of" in one for one in found.unproven), found
