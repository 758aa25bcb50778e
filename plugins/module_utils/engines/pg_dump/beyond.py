# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump does not hold, though nobody asked for that: what pg_dump leaves out without a word, and what the role may not see.

Source: https://www.postgresql.org/docs/current/app-pgdump.html and, for rows of extensions,
https://www.postgresql.org/docs/current/extend-extensions.html#EXTEND-EXTENSIONS-CONFIG-TABLES
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import as_text
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import Identity, quoted, rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_SHOWN = 5
INVALID = -2  # datconnlimit of a database whose DROP was interrupted

_UNLOGGED = """
SELECT n.nspname AS schema, c.relname AS "table" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND n.nspname !~ '^pg_' ORDER BY 1, 2
"""
_OF_EXTENSIONS = """
SELECT n.nspname AS schema, c.relname AS "table", e.extname AS extension
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  AND d.refclassid = 'pg_extension'::regclass
JOIN pg_extension e ON e.oid = d.refobjid
WHERE c.relkind = 'r' AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')) AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1, 2
"""

# An extension's configuration tables whose rows are dumped in part, by its own condition.
_FILTERED = """
SELECT e.oid AS extension_oid, e.extname AS extension, n.nspname AS schema, c.relname AS "table", f.condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS f (relation, condition)
JOIN pg_class c ON c.oid = f.relation AND c.relkind = 'r' JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE f.condition <> '' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') ORDER BY 3, 4
"""
# Rows that the condition leaves out, but for those of the transactions that made or updated the extension: CREATE EXTENSION brings these.
_CHANGED = """
SELECT count(*) FROM ONLY {table} WHERE ctid NOT IN (SELECT ctid FROM ONLY {table} {condition})
AND xmin::text NOT IN (
    SELECT xmin::text FROM pg_extension WHERE oid = {oid}
    UNION ALL SELECT xmin::text FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND refobjid = {oid} AND deptype = 'e'
)
"""

_HYPERTABLES = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_timescaledb_catalog' AND c.relname = 'hypertable' AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(c.oid, 'SELECT')
"""


def left_out(connection: Connection, in_recovery: bool) -> list[dict[str, Any]]:
    """Tables of a database whose rows are in no dump of it: each with ``schema``, ``table``, ``rows`` (None: they cannot be counted
    here) and ``why``. Only those that have rows, or may have."""
    found: list[dict[str, Any]] = []
    if in_recovery:
        found += [
            {**table, "rows": None, "why": "unlogged, and a standby has no rows of it"}
            for table in rows(connection, _UNLOGGED)
        ]
    for table in rows(connection, _OF_EXTENSIONS):
        counted = value(connection, f"SELECT count(*) FROM ONLY {quoted(table['schema'], table['table'])}")
        if counted:
            why = f"it belongs to the extension {table['extension']}, which does not mark it as configuration"
            found.append({"schema": table["schema"], "table": table["table"], "rows": counted, "why": why})
    for table in rows(connection, _FILTERED):
        name = quoted(table["schema"], table["table"])
        changed = _CHANGED.format(table=name, condition=table["condition"], oid=table["extension_oid"])
        counted = value(connection, changed)
        if counted:
            why = (
                f"it belongs to the extension {table['extension']}, whose own filter leaves them out, though somebody wrote them since the "
                "extension was made"
            )
            found.append({"schema": table["schema"], "table": table["table"], "rows": counted, "why": why})
    return [{**table, "schema": as_text(table["schema"]), "table": as_text(table["table"])} for table in found]


def say_left_out(database: str, tables: Sequence[dict[str, Any]]) -> list[str]:
    """Warnings about ``left_out``, one for each reason."""
    by_reason: dict[str, list[str]] = {}
    for table in tables:
        count = "" if table["rows"] is None else f" ({table['rows']} rows)"
        by_reason.setdefault(table["why"], []).append(f"{table['schema']}.{table['table']}{count}")
    return [
        f"The rows of {shown(names)} in the database {database!r} are not in this backup: {why}."
        for why, names in by_reason.items()
    ]


def unseen(connection: Connection, identity: Identity, database: str) -> list[str]:
    """What a dump of a database by this role will lack, since the role may not see it."""
    if identity.superuser:
        return []
    said = []
    subscriptions = rows(
        connection,
        "SELECT subname AS name FROM pg_subscription"
        " WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1",
    )
    if subscriptions:
        said.append(
            f"The subscriptions {shown([row['name'] for row in subscriptions])} of the database {database!r} are not in this backup: "
            f"only a superuser's has them, and {identity.role!r} is none."
        )
    mappings = rows(
        connection,
        "SELECT DISTINCT srvname AS name FROM pg_user_mappings WHERE umoptions IS NULL"
        " AND usename IS DISTINCT FROM current_user ORDER BY 1",
    )
    if mappings:
        said.append(
            f"The options (user and password) of user mappings of {shown([row['name'] for row in mappings])} in the database "
            f"{database!r} may not be in this backup: {identity.role!r} may not see those of others."
        )
    return said


def by_hand(connection: Connection) -> list[str]:
    """What a dump holds, and a restore brings back only with steps of its own. Source: TimescaleDB's documentation of logical backups."""
    if not rows(connection, _HYPERTABLES):
        return []
    count = value(connection, "SELECT count(*) FROM _timescaledb_catalog.hypertable")
    if not count:
        return []
    return [
        f"{count} hypertables of TimescaleDB are in the dump (what pg_dump says of circular keys does no harm), "
        "and come back only between timescaledb_pre_restore() and timescaledb_post_restore(), in a database with the same version of the "
        "extension: by hand, not by pg_restore of this collection. A copy of the whole server (engine: pg_basebackup, pgbackrest, …) needs none "
        "of that."
    ]


def not_backed_up(found: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Databases that a backup of all leaves out, in words: the user's templates, closed ones, and those that are invalid."""
    said = []
    for database in found:
        name = database["name"]
        if database["connection_limit"] == INVALID:
            said.append(
                f"The database {name!r} is not in this backup: it is invalid, since a DROP DATABASE was interrupted. Nobody can "
                "connect to it, and all that is left to do is to drop it."
            )
        elif names or name in ("template0", "template1"):
            continue
        elif database["is_template"]:
            said.append(f"The template {name!r} is not in this backup. Name it in databases to have it there.")
        elif not database["allow_connections"]:
            said.append(f"The database {name!r} is not in this backup: it allows no connections (ALLOW_CONNECTIONS).")
    return said


def shown(names: Sequence[str]) -> str:
    """A few of them, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
