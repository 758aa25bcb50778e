# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a database between its snapshot and the moment at which pg_dump holds its tables.

A snapshot protects rows, not tables: TRUNCATE, a rewrite, and a swap by renaming leave a reader that comes later with an empty table,
without an error (https://www.postgresql.org/docs/current/mvcc-caveats.html). So the session of the snapshot locks the tables
(ACCESS SHARE, as pg_dump does) before it starts, and looks under the locks whether they still are what the snapshot says.

While we hold locks, somebody's TRUNCATE may queue behind us, and pg_dump behind that: it would wait for ever. Then our locks are given
up, and when the dump has ended it is looked once more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import quoted, rows, value

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_LOOK = 0.5  # seconds between two looks at who waits for whom
_BATCH = 500  # tables in one statement
# SQLSTATEs. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_NO_MEMORY = ("53200", "53000")
_CANCELED = "57014"

_TABLES = """
SELECT n.nspname AS schema, c.relname AS "table" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') ORDER BY c.oid
"""
# to_regclass and pg_relation_filenode tell of now, pg_class of the snapshot.
_CHANGED = r"""
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN
        to_regclass(format('%I.%I', n.nspname, c.relname))::oid IS DISTINCT FROM c.oid
        OR (c.relkind IN ('r', 'm') AND pg_relation_filenode(c.oid)::oid IS DISTINCT FROM c.relfilenode::oid)
      ELSE false END
ORDER BY 1
"""
_DEFINITIONS = "\nUNION ALL ".join(
    f"SELECT hashtext('{catalog}' || {identity} || '.' || c.xmin::text)::bigint AS h FROM {catalog} c"
    for catalog, identity in (
        ("pg_attribute", "c.attrelid::text || '.' || c.attnum::text"),
        *(
            (name, "c.oid::text")
            for name in ("pg_class", "pg_type", "pg_proc", "pg_constraint", "pg_namespace", "pg_rewrite")
        ),
        ("pg_trigger", "c.oid::text"),
    )
)


class TablesChanged(Exception):
    """The snapshot can no longer be read as it was: these tables are others now."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names

    def __str__(self) -> str:
        shown = ", ".join(self.names[:5]) + (f" and {len(self.names) - 5} more" if len(self.names) > 5 else "")
        return f"{shown} rewritten, replaced or dropped after the snapshot"


class Locks:
    """The locks of one database. ``session`` has its snapshot, ``observer`` is another connection to the server. ``say`` hears what is
    waited for (None: no more). ``limit``: seconds that may be waited (0: no limit)."""

    def __init__(
        self, session: Connection, observer: Connection, name: str, limit: int, say: Callable[[Optional[str]], None]
    ) -> None:
        self._session, self._observer, self._name = session, observer, name
        self._limit, self._say = limit, say
        self._pid: int = session.info.backend_pid
        self._held = False
        #: why the dump was ended from here
        self.refused: Optional[str] = None

    def take(self) -> None:
        """Lock every table, and compare.

        Raises:
            TablesChanged: something else is there than the snapshot says.
            ServerError: somebody held a lock for longer than ``limit``.
        """
        import psycopg2

        tables = rows(self._session, _TABLES)
        self._execute("SAVEPOINT tables")
        self._held = self._room(len(tables))
        try:
            for start in range(0, len(tables) if self._held else 0, _BATCH):
                self._lock(tables[start : start + _BATCH])
        except psycopg2.Error as exc:
            self._execute("ROLLBACK TO SAVEPOINT tables")
            if exc.pgcode == _CANCELED:
                raise ServerError(self._too_long()) from exc
            if exc.pgcode not in _NO_MEMORY:
                raise TablesChanged([" ".join(str(exc).splitlines()[0].split())]) from exc
            self._held = False
        self.check()

    def _room(self, tables: int) -> bool:
        """Whether the server's table of locks has room for twice these tables: ours, and pg_dump's."""
        most = value(
            self._observer,
            "SELECT current_setting('max_locks_per_transaction')::bigint"
            " * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)",
        )
        return tables * 3 < int(most)

    def _lock(self, tables: list[dict[str, Any]]) -> None:
        names = ", ".join(f"ONLY {quoted(table['schema'], table['table'])}" for table in tables)
        statement = f"LOCK TABLE {names} IN ACCESS SHARE MODE"
        locking = Background(lambda: self._execute(statement))
        began, said = time.monotonic(), False
        try:
            while not locking.done():
                locking.wait(_LOOK)
                if locking.done():
                    break
                waiting = self._waiting([self._pid])
                if waiting:
                    said = True
                    self._say(f"waiting for a lock in the database {self._name!r}: {waiting}")
                    if self._limit and time.monotonic() - began > self._limit:
                        self.refused = waiting
                        self._session.cancel()
        except BaseException:
            self._session.cancel()
            locking.wait(5)
            raise
        locking.result()
        if said:
            self._say(None)

    def check(self) -> None:
        """Look whether tables are what the snapshot says. Raises TablesChanged."""
        self._execute("SAVEPOINT look")
        # The first lock of a relation makes this session hear of what others have changed.
        self._execute("SELECT FROM pg_am LIMIT 1")
        self._execute("ROLLBACK TO SAVEPOINT look")
        changed = [row["name"] for row in rows(self._session, _CHANGED)]
        if changed:
            raise TablesChanged(changed)

    @property
    def held(self) -> bool:
        """Whether every table has been locked since it was looked at."""
        return self._held

    def release(self) -> None:
        """Give the locks up; the snapshot stays."""
        self._held = False
        self._execute("ROLLBACK TO SAVEPOINT tables")

    @contextlib.contextmanager
    def watched(self, application: str) -> Iterator[None]:
        """Meanwhile sessions of that application_name, which dump, wait neither behind us nor too long for others."""
        over = Event()
        watching = Background(lambda: self._watch(application, over))
        try:
            yield
        finally:
            over.set()
            watching.wait()

    def _watch(self, application: str, over: Event) -> None:
        import psycopg2

        began: Optional[float] = None
        # Whatever goes wrong here, the dump itself shows what it is.
        with contextlib.suppress(psycopg2.Error):
            while not over.wait(_LOOK):
                found = rows(
                    self._observer,
                    "SELECT pid, pg_blocking_pids(pid) AS by FROM pg_stat_activity"
                    " WHERE application_name = %s AND wait_event_type = 'Lock'",
                    [application],
                )
                if not found:
                    if began is not None:
                        self._say(None)
                    began = None
                    continue
                began = began or time.monotonic()
                if self._behind_us(found):
                    self.release()
                    continue
                waiting = self._waiting([row["pid"] for row in found])
                if waiting:
                    self._say(f"waiting for a lock in the database {self._name!r}: {waiting}")
                if self._limit and time.monotonic() - began > self._limit:
                    self.refused = waiting or "somebody who is gone by now"
                    for row in found:
                        value(self._observer, "SELECT pg_terminate_backend(%s)", [row["pid"]])

    def _behind_us(self, waiting: list[dict[str, Any]]) -> bool:
        blockers = {pid for row in waiting for pid in row["by"]}
        return any(
            self._pid in (value(self._observer, "SELECT pg_blocking_pids(%s)", [pid]) or []) for pid in blockers if pid
        )

    def _waiting(self, pids: list[int]) -> str:
        """Who keeps these sessions waiting, in words; empty: nobody."""
        found = rows(
            self._observer,
            "SELECT DISTINCT b.pid, a.usename AS user, a.state, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80) AS query"
            " FROM unnest(%s) w(pid) CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) b(pid)"
            " LEFT JOIN pg_stat_activity a ON a.pid = b.pid",
            [pids],
        )
        return "; ".join(
            f"held by process {row['pid']}"
            + (f" of {row['user']}" if row["user"] else "")
            + (f" ({row['state']}: {row['query']})" if row["query"] else "")
            for row in found
        )

    def _too_long(self) -> str:
        return (
            f"A table of the database {self._name!r} could not be locked within {self._limit} seconds (lock_wait_timeout): "
            f"{self.refused}. End that, or wait longer."
        )

    def why_refused(self) -> Optional[str]:
        """Why the dump was ended from here, as a message; None: it was not."""
        return self._too_long() if self.refused else None

    def _execute(self, statement: Any) -> None:
        with self._session.cursor() as cursor:
            cursor.execute(statement)


def definitions(connection: Connection) -> Any:
    """A number that is another one when a definition in the database has changed, as the connection's transaction sees it."""
    return value(connection, f"SELECT sum(h)::text FROM ({_DEFINITIONS}) AS all_of_them")
