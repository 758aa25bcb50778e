# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last of what a server wrote is in the store, before it is stopped: its open segment is ended, and looked for in the store itself.

Stopping a server archives the segments that are full, and not the open one (CloudNativePG#10341: users lost its rows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts, wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: times that a segment is ended, as somebody wrote again meanwhile
MOST = 4
# Of a server on which nobody writes it stays what it is: no transaction has got an id since, and none that had one has ended.
_TRANSACTIONS = "SELECT pg_current_snapshot()::text"
_SESSIONS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
AND application_name NOT LIKE 'cnpg%%' AND usename IS DISTINCT FROM 'streaming_replica'
"""


@dataclass(frozen=True)
class Safe:
    """The restore point ``name`` at ``lsn``, whose ``segment`` is in the store. ``quiet``: nothing has been written since, up to the moment that was
    looked; ``sessions``: of others, that were there then (None: the role may not see)."""

    name: str
    lsn: str
    segment: str
    quiet: bool
    sessions: Optional[int]


def save_last(
    connection: Connection,
    archive: StoreArchive,
    size: SegmentSize,
    name: str,
    timeout: float,
    tell: Callable[[str], None],
) -> Safe:
    """End the open segment by a restore point, and wait until the store has it; again, as long as somebody writes meanwhile.

    Raises:
        ServerError: it does not come there.
    """
    import psycopg2

    for attempt in range(1, MOST + 1):
        point = name if attempt == 1 else f"{name}-{attempt}"
        try:
            before = facts.value(connection, _TRANSACTIONS)
            made = wal_end.restore_point(connection, point)
            wal_end.switch(connection)
        except psycopg2.Error as exc:
            raise ServerError(f"The server's open segment could not be ended: {' '.join(str(exc).split())}.") from exc
        tell(f"waiting for {made.segment} in {archive.description}")

        def there(wanted: str = made.segment) -> Optional[bool]:
            return None if archive.missing([wanted], size) else True

        if Waiter(timeout, pause=0.2, most=2.0).until({"there": there}) is None:
            raise ServerError(
                f"The server's last segment, {made.segment}, did not come into {archive.description} within {format_duration(timeout)} (wal_timeout): what was "
                "written last would be on the volume alone. Look at the condition ContinuousArchiving of the Cluster."
            )
        quiet = facts.value(connection, _TRANSACTIONS) == before
        if quiet or attempt == MOST:
            return Safe(point, made.lsn, made.segment, quiet, _sessions(connection))
    raise AssertionError("unreachable")


def _sessions(connection: Connection) -> Optional[int]:
    found = facts.value(connection, _SESSIONS)
    return None if found is None else int(found)
