# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment for all databases, as far as PostgreSQL has one.

A snapshot belongs to one database. Taken at once in all of them and compared by the transactions that they see
(transaction ids are the cluster's), they are proven to be the same moment, or not.
Source: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_TRIES = 5


class Snapshots:
    """An open transaction in each database, with its exported snapshot. Use as a context manager."""

    def __init__(self, address: Address, names: list[str]) -> None:
        self.connections: dict[str, Connection] = {}
        self.exported: dict[str, str] = {}
        self.exact = False
        self.seconds = 0.0
        try:
            for name in names:
                self.connections[name] = address.connect(name)
            for _attempt in range(_TRIES):
                self._take()
                if self.exact:
                    break
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        began, seen = time.monotonic(), set()
        for connection in self.connections.values():
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for name, connection in self.connections.items():
            row = rows(connection, "SELECT pg_export_snapshot() AS id, txid_current_snapshot()::text AS sees")[0]
            self.exported[name] = row["id"]
            seen.add(row["sees"])
        self.seconds = time.monotonic() - began
        self.exact = len(seen) <= 1

    def describe(self) -> dict[str, Any]:
        """For the manifest, honest about what is not consistent."""
        return {
            "within_database": "snapshot",
            "across_databases": "same moment" if self.exact else "snapshots taken shortly after one another",
            "snapshot_window_seconds": round(self.seconds, 3),
            "not_in_snapshot": ["sequences' current values", "globals", "cluster settings"],
        }

    def release(self, name: str) -> None:
        """End one database's transaction: vacuum there need not wait for the rest."""
        self.exported.pop(name, None)
        connection = self.connections.pop(name, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """End all."""
        for name in list(self.connections):
            self.release(name)

    def __enter__(self) -> Snapshots:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_room(connection: Connection, wanted: int) -> None:
    """Raise ServerError when the server has too few free connections for one in each database."""
    free = value(
        connection,
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
    )
    if free is not None and free < wanted:
        raise ServerError(
            f"The server has {free} free connections; a backup of these databases at one moment needs {wanted}. "
            "Raise max_connections, or back up fewer databases at a time (option databases)."
        )
