# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at after data was restored, before anybody may use it: in words, what was proven, what not, what was lost.

Errors of what only advises (sequences, validity, statistics) become words; they never end a restore.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_INVALID = """
SELECT 'index ' || indexrelid::regclass AS what FROM pg_index WHERE NOT indisvalid OR NOT indisready
UNION ALL
SELECT 'constraint ' || quote_ident(conname) || ' of ' || conrelid::regclass FROM pg_constraint
WHERE NOT convalidated AND conrelid <> 0
"""

_UNPOPULATED = """
SELECT quote_ident(schemaname) || '.' || quote_ident(matviewname) AS name FROM pg_matviews WHERE NOT ispopulated ORDER BY 1
"""

# A sequence may stand in the default of a column of any type ('INV-' || nextval(…)): only numbers can be compared with it.
_SEQUENCES = """
SELECT quote_ident(sn.nspname) || '.' || quote_ident(s.relname) AS sequence, tn.nspname AS schema, t.relname AS "table",
       a.attname AS "column", p.seqincrement > 0 AS ascending
FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_sequence p ON p.seqrelid = s.oid AND NOT p.seqcycle
JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
JOIN pg_type y ON y.oid = a.atttypid AND y.typcategory = 'N'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
ORDER BY 1
"""


@dataclass
class Rows:
    """How the tables compare with a record. ``same`` and ``differ`` are of those that could be compared, ``differing`` the names (schema,
    table) of the latter; ``not_compared`` has a reason for each (or one for all)."""

    same: int = 0
    differ: list[str] = field(default_factory=list)
    differing: list[tuple[str, str]] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def prove(self, proof: Proof, database: str) -> None:
        """Say it. Nothing compared is nothing proven."""
        if self.same and not self.differ:
            proof.proven.append(f"{database!r}: {self.same} tables have as many rows as were recorded.")
        proof.unproven += [f"{database!r}: {reason}" for reason in self.not_compared]


def compare_rows(
    counted: list[dict[str, Any]],
    expected: Optional[list[dict[str, Any]]],
    only: Optional[Collection[tuple[str, str]]] = None,
) -> Rows:
    """The tables' numbers of rows beside the recorded ones. Pure.

    ``only`` are the tables (schema, name) that were asked for; None: all that were recorded have to be there.
    """
    if expected is None:
        return Rows(not_compared=["no numbers of rows were recorded, so none were compared."])
    found = {(row["schema"], row["table"]): row["rows"] for row in counted}
    recorded = {(row["schema"], row["table"]): row["rows"] for row in expected}
    result = Rows()
    for schema, table in sorted(recorded if only is None else only):
        name, wanted = f"{schema}.{table}", recorded.get((schema, table))
        if (schema, table) not in recorded:
            result.not_compared.append(f"{name} was not compared: the backup recorded no number of rows for it.")
        elif (schema, table) not in found:
            result.differ.append(f"{name} is missing")
            result.differing.append((schema, table))
        elif wanted is None:
            result.not_compared.append(f"{name} was not compared: its rows could not be counted when it was backed up.")
        elif found[schema, table] is None:
            result.not_compared.append(f"{name} was not compared: the role may not read all of its rows.")
        elif found[schema, table] != wanted:
            result.differ.append(f"{name} has {found[schema, table]} rows instead of {wanted}")
            result.differing.append((schema, table))
        else:
            result.same += 1
    if not (recorded if only is None else only):
        result.not_compared.append("no table of it was recorded, so none was compared.")
    return result


def compare_extensions(connection: Connection, expected: Sequence[dict[str, Any]]) -> list[str]:
    """Extensions that are missing or of another version than recorded, in words."""
    there = {
        row["name"]: row["version"]
        for row in rows(connection, "SELECT extname AS name, extversion AS version FROM pg_extension")
    }
    differences = []
    for extension in expected:
        name, version = extension["name"], extension["version"]
        if name not in there:
            differences.append(f"the extension {name} is missing")
        elif there[name] != version:
            differences.append(f"the extension {name} has version {there[name]}, in the backup it was {version}")
    return differences


@contextlib.contextmanager
def advisory(proof: Proof, database: str, what: str) -> Iterator[None]:
    """What fails in here becomes a word in ``proof``."""
    import psycopg2

    try:
        yield
    except (psycopg2.Error, ServerError) as exc:
        proof.unproven.append(f"{database!r}: {what} could not be looked at: {' '.join(str(exc).split())}")


def invalid(connection: Connection) -> list[str]:
    """Indexes and constraints that PostgreSQL holds for invalid."""
    return [row["what"] for row in rows(connection, _INVALID)]


def unpopulated(connection: Connection) -> list[str]:
    """Materialized views without data: a query of them fails until they are refreshed."""
    return [row["name"] for row in rows(connection, _UNPOPULATED)]


def sequences_behind(connection: Connection, fix: bool, doubts: list[str]) -> list[str]:
    """Sequences whose next value is in their column already, in words; with ``fix`` they are set past it. What cannot be compared is
    told in ``doubts``."""
    import psycopg2

    behind: list[str] = []
    for row in rows(connection, _SEQUENCES):
        if not value(connection, "SELECT has_sequence_privilege(%s, 'SELECT')", [row["sequence"]]):
            continue
        try:
            behind += _behind(connection, row, fix)
        except psycopg2.Error as exc:
            doubts.append(f"the sequence {row['sequence']} was not compared: {' '.join(str(exc).split())}")
    return behind


def _behind(connection: Connection, row: dict[str, Any], fix: bool) -> list[str]:
    from psycopg2 import sql

    edge = sql.SQL("max" if row["ascending"] else "min")
    column, table = sql.Identifier(row["column"]), sql.Identifier(row["schema"], row["table"])
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {}({})::numeric FROM {}").format(edge, column, table))
        highest = cursor.fetchone()[0]  # type: ignore[index]
        cursor.execute(f"SELECT last_value, is_called FROM {row['sequence']}")
        last, called = cursor.fetchone()  # type: ignore[misc]
        if highest is None:
            return []
        late = (
            (highest > last if called else highest >= last)
            if row["ascending"]
            else (highest < last if called else highest <= last)
        )
        if not late:
            return []
        if fix:
            cursor.execute("SELECT setval(%s, %s)", [row["sequence"], highest])
    where = f"{row['schema']}.{row['table']}.{row['column']}"
    return [f"{row['sequence']} is at {last}, and {where} has {highest}" + (" (mended)" if fix else "")]


def analyze(connection: Connection) -> None:
    """Statistics, so that the first queries are planned well."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
