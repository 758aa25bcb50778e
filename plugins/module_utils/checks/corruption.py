# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and indexes of a server that is to serve, looked through by its own amcheck, as pg_amcheck does it, and with nothing left behind: where the extension
is not there, it is made in a transaction that is rolled back.

Source: https://www.postgresql.org/docs/current/amcheck.html
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import Connect
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: how thoroughly, and by which of its functions an index is looked at
LEVELS = {
    "quick": "bt_index_check(%s, false)",
    "heapallindexed": "bt_index_check(%s, true)",
    "parent": "bt_index_parent_check(%s, true)",
}
_NAMED = 3  # of many findings, so many are told
_SHORT = 200  # characters of one
_HEAP = 140000  # the version from which on tables can be looked at too
_SCHEMA = "holdfast_amcheck"
_DATABASES = "SELECT datname AS name FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1"
_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')"
_INSTALLED = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'amcheck'"
# As pg_amcheck chooses them: what is of another access method, or was never finished, is not for it.
_RELATIONS = """
SELECT c.oid::bigint AS oid, c.oid::regclass::text AS name, c.relkind = 'i' AS index
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
WHERE c.relpersistence <> 't'
AND (c.relkind IN ('r', 'm', 't') AND a.amname = 'heap' OR c.relkind = 'i' AND a.amname = 'btree' AND i.indisready AND i.indisvalid)
ORDER BY c.relkind = 'i', c.oid
"""


def nothing_is_corrupt(connect: Connect, database: str, level: str, seconds: float) -> Proof:
    """Look through every database. ``connect`` and ``database`` as ``checks.server.server_is_whole`` has them, by a superuser; ``level``: one of LEVELS;
    ``seconds``: for all of it together. What was not looked at is ``unproven``, and what is corrupt ``missing``."""
    import psycopg2

    proof, deadline = Proof(), time.monotonic() + seconds
    looked = [0, 0]
    with connect(database) as connection:
        databases = [str(row["name"]) for row in facts.rows(connection, _DATABASES)]
    for name in databases:
        try:
            with connect(name) as connection:
                told = _database(connection, level, deadline, proof, looked)
        except psycopg2.Error as exc:
            told = _plain(exc)
        if told:
            proof.unproven.append(
                f"That nothing is corrupt in the database {name!r} was not looked at to the end: {told}"
            )
    if any(looked) and not proof.missing:
        proof.proven.append(f"No corruption is in {looked[0]} tables and {looked[1]} indexes (amcheck, {level}).")
    return proof


def _database(connection: Connection, level: str, deadline: float, proof: Proof, looked: list[int]) -> Optional[str]:
    """Returns why it was not looked through, or not to the end, as a sentence; None: it was. Raises psycopg2.Error."""
    if not facts.value(connection, _AVAILABLE):
        return "the extension amcheck is not in the server's image (PostgreSQL's contrib)."
    database = str(facts.value(connection, "SELECT current_database()"))
    doubts: list[str] = []
    connection.autocommit = False
    try:
        # No trigger of somebody's runs for what is taken back anyway.
        _run(connection, "SET TRANSACTION READ WRITE")
        _run(connection, "SET LOCAL session_replication_role = replica")
        schema = facts.value(connection, _INSTALLED)
        if schema is None:
            schema = _SCHEMA
            _run(connection, f"CREATE SCHEMA {schema}")
            _run(connection, f"CREATE EXTENSION amcheck SCHEMA {schema}")
        else:
            _run(connection, "ALTER EXTENSION amcheck UPDATE")  # one of before pg_upgrade knows less
        relations = facts.rows(connection, _RELATIONS)
        if connection.server_version < _HEAP:
            relations = [row for row in relations if row["index"]]
            doubts.append("its tables cannot be looked at before PostgreSQL 14.")
        for number, row in enumerate(relations):
            left = deadline - time.monotonic()
            if left <= 0:
                doubts.append(
                    f"there was no time left after {number} of {len(relations)} tables and indexes (check_time)."
                )
                break
            found, undone = _relation(connection, str(schema), row["oid"], row["index"], level, left)
            if found:
                proof.missing.append(f"In the database {database!r} {row['name']} is corrupt: {'; '.join(found)}.")
            elif undone:
                doubts.append(f"{row['name']}: {undone}.")
            else:
                looked[row["index"]] += 1
    finally:
        connection.rollback()
    return (
        " ".join([*doubts[:_NAMED], *([f"And {len(doubts) - _NAMED} more."] if len(doubts) > _NAMED else [])]) or None
    )


def _relation(
    connection: Connection, schema: str, oid: int, index: bool, level: str, seconds: float
) -> tuple[list[str], Optional[str]]:
    """What is corrupt in it, and why it was not looked at. Its locks are let go of again: of many relations they would be too many."""
    import psycopg2

    _run(connection, "SAVEPOINT one")
    try:
        _run(connection, f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
        if index:
            _run(connection, f"SELECT {schema}.{LEVELS[level]}", [oid])
            return [], None
        rows = facts.rows(
            connection, f"SELECT blkno, offnum, msg FROM {schema}.verify_heapam(%s) LIMIT {_NAMED}", [oid]
        )
        return [f"block {row['blkno']}, row {row['offnum']}: {row['msg']}" for row in rows], None
    except (psycopg2.errors.DataCorrupted, psycopg2.errors.IndexCorrupted) as exc:
        return [_plain(exc)], None
    except psycopg2.errors.QueryCanceled:
        return [], "it was not done in time (check_time)"
    except psycopg2.Error as exc:
        if connection.closed:
            raise
        return [], _plain(exc)
    finally:
        if not connection.closed:
            _run(connection, "ROLLBACK TO SAVEPOINT one")


def _run(connection: Connection, sql: str, values: Sequence[object] = ()) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def _plain(exc: Exception) -> str:
    return " ".join(str(exc).split())[:_SHORT]
