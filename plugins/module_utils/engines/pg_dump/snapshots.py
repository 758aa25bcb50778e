# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment for all databases, as far as PostgreSQL has one.

A snapshot belongs to one database. Taken at once in all of them and compared by the transactions that they see
(transaction ids are the cluster's), they are proven to be the same moment, or not. Where the server has too few connections for
all at once, and where tables were rewritten before they were read, there are several moments, and the record says which.
Source: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_TRIES = 5
TOGETHER = "taken together"
NO_ROOM = "the server had too few free connections for more databases at once"


@dataclass
class Moment:
    """Snapshots that were taken at once. ``exact``: all see the very same transactions. ``seconds``: how long it took."""

    at: str
    databases: list[str]
    exact: bool
    seconds: float
    why: str


class Snapshots:
    """An open transaction in each of some databases, with its exported snapshot. Use as a context manager."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.connections: dict[str, Connection] = {}
        self.exported: dict[str, str] = {}
        self.moments: list[Moment] = []

    def take(self, names: Sequence[str], why: str = TOGETHER) -> dict[str, ServerError]:
        """Take a snapshot in each of these databases. Returns those that cannot be connected to, with the reason."""
        failed: dict[str, ServerError] = {}
        for name in names:
            try:
                self.connections[name] = self._address.connect(name)
            except ServerError as exc:
                failed[name] = exc
        taken = [name for name in names if name in self.connections]
        for _attempt in range(_TRIES):
            if self._take(taken, why).exact:
                break
            self.moments.pop()
        else:
            self._take(taken, why)
        return failed

    def again(self, name: str, why: str) -> None:
        """A new snapshot of one database, later than the others': the old one can no longer be read. Raises ServerError."""
        self.release(name)
        for moment in self.moments:
            moment.databases = [other for other in moment.databases if other != name]
        failed = self.take([name], why)
        if failed:
            raise failed[name]

    def _take(self, names: Sequence[str], why: str) -> Moment:
        began, seen = time.monotonic(), set()
        at = format_time(utcnow())
        for name in names:
            with self.connections[name].cursor() as cursor:
                cursor.execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for name in names:
            found = rows(
                self.connections[name], "SELECT pg_export_snapshot() AS id, txid_current_snapshot()::text AS sees"
            )
            self.exported[name] = found[0]["id"]
            seen.add(found[0]["sees"])
        self.moments.append(Moment(at, list(names), len(seen) <= 1, time.monotonic() - began, why))
        return self.moments[-1]

    def describe(self) -> dict[str, Any]:
        """For the manifest, honest about what is not consistent."""
        moments = [moment for moment in self.moments if moment.databases]
        exact = all(moment.exact for moment in moments)
        one = "same moment" if exact else "snapshots taken shortly after one another"
        across = f"{len(moments)} moments" if len(moments) > 1 else one
        return {
            "within_database": "snapshot",
            "across_databases": across,
            "snapshot_window_seconds": round(max((moment.seconds for moment in moments), default=0.0), 3),
            "moments": [
                {"at": moment.at, "databases": moment.databases, "same": moment.exact, "why": moment.why}
                for moment in moments
            ],
            "not_in_snapshot": ["sequences' current values", "globals", "cluster settings"],
        }

    def release(self, name: str) -> None:
        """End one database's transaction: vacuum there need not wait for the rest."""
        self.exported.pop(name, None)
        connection = self.connections.pop(name, None)
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be gone already
                connection.close()

    def forget(self, name: str) -> None:
        """A database that is not in the backup after all."""
        self.release(name)
        for moment in self.moments:
            moment.databases = [other for other in moment.databases if other != name]

    def close(self) -> None:
        """End all."""
        for name in list(self.connections):
            self.release(name)

    def __enter__(self) -> Snapshots:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def room(connection: Connection, others: int) -> int:
    """How many databases can have a snapshot at once beside ``others``, the connections that a dump needs.

    Raises:
        ServerError: not even one.
    """
    free: Optional[int] = value(
        connection,
        "SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true), '0')::int - count(*),"
        " nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1)"
        " - count(*) FILTER (WHERE usename = current_user))"
        " FROM pg_stat_activity WHERE backend_type = 'client backend'",
    )
    if free is not None and free < others + 1:
        raise ServerError(
            f"The server has {free} free connections, and a backup needs {others + 1} at least. Raise max_connections (or the "
            "role's CONNECTION LIMIT), use fewer jobs, or take the backup when less goes on. No backup was made."
        )
    return 1_000_000 if free is None else free - others
