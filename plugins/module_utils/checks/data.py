# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at after a restore, before anybody may use the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_INVALID = """
SELECT 'index ' || indexrelid::regclass AS what FROM pg_index WHERE NOT indisvalid OR NOT indisready
UNION ALL
SELECT 'constraint ' || quote_ident(conname) || ' of ' || conrelid::regclass FROM pg_constraint
WHERE NOT convalidated AND conrelid <> 0
"""

_SEQUENCES = """
SELECT quote_ident(sn.nspname) || '.' || quote_ident(s.relname) AS sequence, tn.nspname AS schema, t.relname AS "table",
       a.attname AS "column", p.seqincrement > 0 AS ascending
FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_sequence p ON p.seqrelid = s.oid AND NOT p.seqcycle
JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
"""


def invalid(connection: Connection) -> list[str]:
    """Indexes and constraints that PostgreSQL holds for invalid."""
    return [row["what"] for row in rows(connection, _INVALID)]


def compare_rows(
    counted: list[dict[str, Any]], expected: list[dict[str, Any]], complete: bool
) -> tuple[list[str], int]:
    """Tables whose number of rows differs from the recorded one, in words, and how many tables agree.

    ``complete``: every recorded table must be there.
    """
    found = {(row["schema"], row["table"]): row["rows"] for row in counted}
    differ, same = [], 0
    for row in expected:
        key = (row["schema"], row["table"])
        if row["rows"] is None or (key not in found and not complete):
            continue
        if key not in found:
            differ.append(f"{key[0]}.{key[1]} is missing")
        elif found[key] != row["rows"]:
            differ.append(f"{key[0]}.{key[1]} has {found[key]} rows instead of {row['rows']}")
        else:
            same += 1
    return differ, same


def sequences_behind(connection: Connection, fix: bool) -> list[str]:
    """Sequences whose next value is in their column already, in words; with ``fix`` they are set past it."""
    from psycopg2 import sql

    behind = []
    for row in rows(connection, _SEQUENCES):
        if not value(connection, "SELECT has_sequence_privilege(%s, 'SELECT')", [row["sequence"]]):
            continue
        edge = sql.SQL("max" if row["ascending"] else "min")
        column, table = sql.Identifier(row["column"]), sql.Identifier(row["schema"], row["table"])
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT {}({})::bigint FROM {}").format(edge, column, table))
            highest = cursor.fetchone()[0]  # type: ignore[index]
            cursor.execute(f"SELECT last_value, is_called FROM {row['sequence']}")
            last, called = cursor.fetchone()  # type: ignore[misc]
            if highest is None:
                continue
            late = (
                (highest > last if called else highest >= last)
                if row["ascending"]
                else (highest < last if called else highest <= last)
            )
            if not late:
                continue
            where = f"{row['schema']}.{row['table']}.{row['column']}"
            behind.append(f"{row['sequence']} is at {last}, and {where} has {highest}" + (" (mended)" if fix else ""))
            if fix:
                cursor.execute("SELECT setval(%s, %s)", [row["sequence"], highest])
    return behind


def analyze(connection: Connection) -> None:
    """Statistics, so that the first queries are planned well."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
