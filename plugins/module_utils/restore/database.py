# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of the server that is restored into: what is there, who is in it, naming and dropping."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import Here, by_process, myself
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import databases, rows, value
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import held, wanted_at_all
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# A database that is being made carries this comment (a setting of ours would need a superuser from PostgreSQL 15 on), and its maker
# holds an advisory lock on its oid: with the one and without the other it is what a restore that was killed left, unless its maker's process
# lives, or, where that is not known, somebody is in it. The oid stands in the comment, so that a copy of it on another database says nothing.
_MARK = "holdfast.postgres restores this database; until it is done, it is not complete"
_LOCK = 0x686F6C64
_LEFT = """
SELECT d.datname AS name, shobj_description(d.oid, 'pg_database') AS comment FROM pg_database d
WHERE shobj_description(d.oid, 'pg_database') LIKE %s || ' (' || d.oid || ')%%'
AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = d.oid)
ORDER BY 1
"""
_BACK = 15  # seconds in which a server comes back whose process crashed
_BY = "; made by "
_AWAY = "; its predecessor is now called "

_OBJECTS = """
SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
     + (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
     + (SELECT count(*) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('d', 'e', 'r') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
     + (SELECT count(*) FROM pg_largeobject_metadata) + (SELECT count(*) FROM pg_foreign_server)
     + (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_event_trigger)
     + (SELECT count(*) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class TargetServer:
    """The server that is restored into."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection = address.connect()

    def leave(self, names: list[str]) -> None:
        """Get out of databases that are to be renamed: the maintenance goes on from template1."""
        if value(self.connection, "SELECT current_database()") in names:
            self.connection.close()
            self.connection = self.address.connect("template1")

    def run(self, statement: Any, doing: str) -> None:
        """Run a statement (a text, or composed by psycopg2.sql). Raises ServerError: cannot ``doing``."""
        import psycopg2

        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)
        except psycopg2.Error as exc:
            raise ServerError(f"Cannot {doing}: {' '.join(str(exc).split())}") from exc

    def execute(self, text: str, *names: str) -> None:
        """Run a statement whose ``{}`` are identifiers. Raises ServerError."""
        from psycopg2 import sql

        self.run(sql.SQL(text).format(*(sql.Identifier(name) for name in names)), text.format(*map(repr, names)))

    def oid(self, name: str) -> Optional[int]:
        """A database's oid; None when there is none of that name."""
        found: Optional[int] = value(self.connection, "SELECT oid::bigint FROM pg_database WHERE datname = %s", [name])
        return found

    def name_of(self, oid: int) -> Optional[str]:
        """A database's present name; None when it is gone."""
        found: Optional[str] = value(self.connection, "SELECT datname FROM pg_database WHERE oid = %s", [oid])
        return found

    def revive(self) -> None:
        """Connect again, where the server ended our session: it may be back in a moment, after one of its processes crashed. Raises
        ServerError, psycopg2.Error: it is not."""
        import psycopg2

        def there() -> Optional[bool]:
            try:
                if self.connection.closed:
                    self.connection = self.address.connect("template1")
                value(self.connection, "SELECT 1")
            except (psycopg2.Error, ServerError):
                return None
            return True

        Waiter(0 if wanted_at_all() else _BACK, 0.2).until({"back": there})
        value(self.connection, "SELECT 1")

    def properties(self, name: str) -> Optional[dict[str, Any]]:
        """Its row of ``server.facts.databases``; None when there is none of that name."""
        return next((row for row in databases(self.connection) if row["name"] == name), None)

    def is_invalid(self, name: str) -> bool:
        """Whether it is what a DROP DATABASE left that was interrupted: nobody can connect, and only DROP DATABASE works on it."""
        return bool(value(self.connection, "SELECT datconnlimit = -2 FROM pg_database WHERE datname = %s", [name]))

    def is_open(self, name: str) -> bool:
        """Whether one can connect to it at all."""
        text = "SELECT datallowconn AND datconnlimit <> -2 FROM pg_database WHERE datname = %s"
        return bool(value(self.connection, text, [name]))

    def leftovers(self, warnings: list[str]) -> list[tuple[str, Optional[str]]]:
        """Databases that a restore which was killed was making; and where such a one had its predecessor's name, the predecessor's
        present one. One whose maker lives, or may, goes to the ``warnings``: it may have lost the session that held its lock, while its
        programs still load."""
        found = []
        for row in rows(self.connection, _LEFT, [_MARK, _LOCK]):
            mark, _away, predecessor = row["comment"].partition(_AWAY)
            gone = by_process(mark.partition(_BY)[2].encode(), Here.look())
            sessions = [] if gone else self.sessions(row["name"])
            if gone or (gone is None and not sessions):
                found.append((row["name"], predecessor or None))
                continue
            why = "; ".join(sessions[:5]) or "its process is there"
            warnings.append(
                f"The database {row['name']!r} is not complete, and nobody holds its lock, but the restore that makes it may be at work ({why}): "
                "it stays. Where none is, end these sessions; the next restore removes it."
            )
        return found

    def mark(self, name: str, predecessor: Optional[str] = None) -> None:
        """Say of a database that it is being made by us."""
        from psycopg2 import sql

        oid = self.oid(name)
        rows(self.connection, "SELECT pg_advisory_lock(%s, %s::bit(32)::int)::text", [_LOCK, oid])
        who = json.dumps({name: myself("")[name] for name in ("boot_id", "pid_namespace", "pid", "process_started")})
        comment = f"{_MARK} ({oid}){_BY}{who}" + (f"{_AWAY}{predecessor}" if predecessor else "")
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
        self.run(statement, f"mark {name!r} as being restored")

    def own_comment(self, name: str) -> Optional[str]:
        """A comment that is not our mark: a script may have brought its own."""
        text = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        found: Optional[str] = value(self.connection, text, [name])
        return None if found is None or found.startswith(_MARK) else found

    def is_empty(self, name: str) -> bool:
        """Whether a database holds no objects of users. One that nobody can look into is not taken for empty."""
        if not self.is_open(name):
            return False
        with contextlib.closing(self.address.connect(name)) as connection:
            return not value(connection, _OBJECTS)

    def sessions(self, name: str, seconds: float = 2) -> list[str]:
        """Who is connected to a database, in words. Those who are just leaving (we, often) get a moment."""
        deadline = time.monotonic() + seconds
        while True:
            found = self._sessions(name)
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def _sessions(self, name: str) -> list[str]:
        found = rows(
            self.connection,
            "SELECT pid, usename, application_name, coalesce(client_addr::text, 'local') AS address, state"
            " FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            " AND backend_type IN ('client backend', 'walsender')",
            [name],
        )
        return [
            f"{row['usename']} from {row['address']} ({row['application_name'] or 'no name'}, {row['state']}, "
            f"process {row['pid']})"
            for row in found
        ]

    def end_sessions(self, name: str) -> None:
        """Keep new ones out and end those that are there."""
        self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
        rows(
            self.connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )

    def drop(self, name: str) -> None:
        """Drop a database of ours, templates and sessions notwithstanding."""
        if self.oid(name) is None:
            return
        if not self.is_invalid(name):
            self.execute("ALTER DATABASE {} WITH IS_TEMPLATE false", name)
            self.end_sessions(name)
        self.execute("DROP DATABASE {}", name)

    def step_aside(self, name: str, old: str, terminate: bool) -> None:
        """``name`` becomes ``old``. Raises ServerError: somebody is connected; then nothing has changed."""
        self._rename([(name, old)], None, name, terminate)

    def swap(self, new: str, name: str, old: str, terminate: bool, comment: Optional[str]) -> None:
        """In one transaction ``name`` becomes ``old``, and ``new`` becomes ``name``, with its comment instead of our mark.

        Raises:
            ServerError: somebody is connected; then nothing has changed.
        """
        if self.sessions(new):  # our own have been closed, and nobody else knows the name: what is left, a pooler keeps
            self.end_sessions(new)
            self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", new)
        present = self.oid(name) is not None
        self._rename([*([(name, old)] if present else []), (new, name)], (name, comment), name, terminate and present)

    def unmark(self, name: str, comment: Optional[str]) -> None:
        """Say of a database, made under its own name, that it is done."""
        from psycopg2 import sql

        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
        self.run(statement, f"comment on {name!r}")

    def _rename(
        self, pairs: list[tuple[str, str]], comment: Optional[tuple[str, Optional[str]]], name: str, terminate: bool
    ) -> None:
        import psycopg2
        from psycopg2 import sql

        closed = not self.is_open(name)
        done = False
        try:
            if terminate:
                self.end_sessions(name)
            self.sessions(name)
            with self.connection.cursor() as cursor:
                cursor.execute("BEGIN")
                for before, after in pairs:
                    cursor.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after))
                    )
                if comment:
                    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
                    cursor.execute(statement.format(sql.Identifier(comment[0]), sql.Literal(comment[1])))
                with held():  # a stop waits, and it is known that it is done
                    cursor.execute("COMMIT")
                    done = True
        except BaseException as exc:
            if done:
                raise
            with contextlib.suppress(psycopg2.Error), self.connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
            if terminate and not closed:
                with contextlib.suppress(psycopg2.Error, ServerError):
                    self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)
            if not isinstance(exc, psycopg2.Error):
                raise
            raise ServerError(
                f"The restored database could not take the name {name!r}: {' '.join(str(exc).split())}. {name!r} is as it "
                f"was. {sessions_hint(self.sessions(name))}"
            ) from exc


def sessions_hint(sessions: list[str]) -> str:
    """Who stands in the way, and the way out."""
    if not sessions:
        return ""
    return (
        f"Connected are: {'; '.join(sessions[:10])}. Let them end, or set terminate_sessions: true "
        "(holdfast_restore_terminate_sessions)."
    )


def check_disk(connection: Connection, needed: int) -> None:
    """Refuse what cannot fit, where the server's data directory can be seen from here. Raises ServerError."""
    import psycopg2

    try:
        directory = value(connection, "SELECT current_setting('data_directory')")
    except psycopg2.Error:
        return
    host = connection.info.host  # as libpq found it, by a service file perhaps
    local = not host or host.startswith("/") or host in ("127.0.0.1", "::1", "localhost")
    if not local or not directory or not os.path.isdir(directory):
        return
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise ServerError(
            f"The databases took {needed} bytes when they were backed up, and the disk of {directory} has {free} left. "
            "Free some space first; nothing was touched."
        )


def side_names(name: str) -> tuple[str, str]:
    """Names for the new database while it is made, and for the old one when it steps aside (63 bytes at most)."""
    mark = secrets.token_hex(3)
    short = name if len(name.encode()) <= 40 else hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{short}_restoring_{mark}", f"{short}_before_{mark}"
