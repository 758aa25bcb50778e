# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a restored server could begin something by itself, or reach another one, is switched off in it; the scratch server is thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import Connect
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_TRIGGERS = "SELECT evtname AS name FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"
# Wrappers that speak libpq take a host; where the others lead, only the network namespace bars.
_FOREIGN = """
SELECT s.srvname AS name, w.fdwname AS wrapper,
       EXISTS (SELECT FROM unnest(coalesce(s.srvoptions, '{}')) o WHERE o LIKE 'host=%') AS has_host,
       EXISTS (SELECT FROM unnest(coalesce(s.srvoptions, '{}')) o WHERE o LIKE 'hostaddr=%') AS has_address
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw ORDER BY 1
"""
_LIBPQ = ("postgres_fdw", "dblink_fdw")
_LOCAL = ("file_fdw",)


def quiet(connect: Connect, databases: Sequence[str], nowhere: str) -> dict[str, list[str]]:
    """Switch off event triggers, and lead foreign servers to ``nowhere``. Returns what was switched off (``event_triggers``,
    ``foreign_servers``), and what was not (``open``): names, each with its database."""
    found: dict[str, list[str]] = {"event_triggers": [], "foreign_servers": [], "open": []}
    for name in databases:
        with connect(name) as connection:
            _triggers(connection, name, found)
            _foreign(connection, name, nowhere, found)
    return found


def _triggers(connection: Connection, database: str, found: dict[str, list[str]]) -> None:
    from psycopg2 import sql

    for row in facts.rows(connection, _TRIGGERS):
        # (No event trigger fires for statements about event triggers.)
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(row["name"])))
        found["event_triggers"].append(f"{row['name']} in {database}")


def _foreign(connection: Connection, database: str, nowhere: str, found: dict[str, list[str]]) -> None:
    from psycopg2 import sql

    for row in facts.rows(connection, _FOREIGN):
        if row["wrapper"] in _LOCAL:
            continue
        if row["wrapper"] not in _LIBPQ:
            found["open"].append(f"{row['name']} ({row['wrapper']}) in {database}")
            continue
        changes: list[sql.Composable] = [
            sql.SQL("{} host {}").format(sql.SQL("SET" if row["has_host"] else "ADD"), sql.Literal(nowhere))
        ]
        changes += [sql.SQL("DROP hostaddr")] if row["has_address"] else []
        with connection.cursor() as cursor:
            statement = sql.SQL("ALTER SERVER {} OPTIONS ({})")
            cursor.execute(statement.format(sql.Identifier(row["name"]), sql.SQL(", ").join(changes)))
        found["foreign_servers"].append(f"{row['name']} in {database}")
