# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The primary, as its standbys see it: over an ordinary connection, and over one that replicates."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# Whose size a role may see that has nothing but REPLICATION. Source: src/backend/utils/adt/dbsize.c (calculate_tablespace_size)
_SIZE = (
    "CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') OR has_tablespace_privilege(oid, 'CREATE')"
    " OR oid = (SELECT dattablespace FROM pg_database WHERE datname = current_database())"
    " THEN pg_tablespace_size(oid)::bigint END"
)
# Those that lie in the data directory (allow_in_place_tablespaces) have a relative location, and come along with it.
_TABLESPACES = (
    "SELECT oid::bigint AS oid, spcname AS name, pg_tablespace_location(oid) AS location,"
    f" {_SIZE} AS size FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '/%' ORDER BY oid"
)
# pg_global is some hundred kilobytes.
_SIZES = f"SELECT {_SIZE} AS size FROM pg_tablespace WHERE spcname <> 'pg_global'"
# What pg_rewind calls. Source: https://www.postgresql.org/docs/current/app-pgrewind.html ("Notes")
_REWINDS = (
    "SELECT bool_and(has_function_privilege(f, 'EXECUTE')) FROM unnest(ARRAY['pg_ls_dir(text, boolean, boolean)',"
    " 'pg_stat_file(text, boolean)', 'pg_read_binary_file(text)',"
    " 'pg_read_binary_file(text, bigint, bigint, boolean)']) f"
)

_STREAMING = 20.0  # seconds for a megabyte of WAL
# What a server says of WAL that it has no more, or never had. Source: src/backend/replication/walsender.c
_NOT_HAD = (
    "has already been removed",
    "is not in this server's history",
    "forked from timeline",
    "is ahead of the WAL flush position",
)


class Upstream:
    """A running server that others follow. ``address`` is for questions, ``replication`` for what standbys do.

    Raises:
        ServerError: it does not answer, or does not let ``replication`` replicate.
    """

    def __init__(self, address: Address, replication: Address) -> None:
        self.connection = address.connect()
        #: which one it is, of those that the options may lead to: all that is asked, made and copied is of this one
        self.at = _endpoint(self.connection)
        here = (self.at.host, self.at.port, self.at.address)
        self.address, self._replication = address.at(*here), replication.at(*here)
        self.identity = facts.identify(self.connection)
        self._check_sending()
        self.system_id = str(self._replicating("IDENTIFY_SYSTEM")[0])

    def __str__(self) -> str:
        return f"the {'standby' if self.identity.in_recovery else 'primary'} {self.address}"

    def _check_sending(self) -> None:
        """Raises ServerError: its WAL is not enough for a standby, or it has room for none."""
        if self.setting("wal_level") == "minimal":
            raise ServerError(
                f"{self} has wal_level = minimal, by which no standby can follow. Set it to replica, and max_wal_senders to 10, there; that wants "
                "a restart."
            )
        if self.setting("max_wal_senders") == "0":
            raise ServerError(f"{self} has max_wal_senders = 0. Set it to 10 there; that wants a restart.")

    def _replicating(self, command: str) -> tuple[Any, ...]:
        import psycopg2
        from psycopg2.extras import PhysicalReplicationConnection

        try:
            connection = psycopg2.connect(
                self._replication.conninfo(self._replication.db), connection_factory=PhysicalReplicationConnection
            )
            with contextlib.closing(connection), connection.cursor() as cursor:
                cursor.execute(command)
                return tuple(cursor.fetchone() or ())
        except psycopg2.Error as exc:
            if "max_wal_senders" in str(exc):
                raise ServerError(
                    f"{self._replication} has no room for another standby or copy: all of its max_wal_senders "
                    f"({facts.setting(self.connection, 'max_wal_senders')}) are taken. Raise it there (it wants a restart), or end one: "
                    "SELECT * FROM pg_stat_replication."
                ) from exc
            raise ServerError(
                f"The primary does not let {self._replication} replicate from this host: {' '.join(str(exc).split())}. Give the role "
                "REPLICATION, and allow it in the primary's pg_hba.conf (host replication ROLE ADDRESS scram-sha-256)."
            ) from exc

    def setting(self, name: str) -> Optional[str]:
        """One of its settings; None: it has none of that name, or the role may not see it."""
        return facts.setting(self.connection, name)

    def position(self) -> Position:
        """Where it is now. Raises ServerError."""
        system = self._replicating("IDENTIFY_SYSTEM")
        return Position(int(system[1]), Lsn.parse(str(system[2]), "lsn"), self.identity.in_recovery)

    def history(self, timeline: int) -> Timelines:
        """The timelines that led to one of its own. Raises HoldfastError."""
        if timeline == 1:
            return Timelines({}, [1])
        content = self._replicating(f"TIMELINE_HISTORY {timeline}")[1]
        text = content if isinstance(content, str) else bytes(content).decode("utf-8", "replace")
        return Timelines.from_texts({timeline: text})

    def segment_size(self) -> SegmentSize:
        """Of its WAL."""
        return SegmentSize(facts.wal_segment_size(self.connection))

    def wal(self, timeline: int, start: Lsn, length: int) -> Optional[bytes]:
        """Its WAL from a position on, as it streams it to standbys; None: it has it no more, or never had that much of that timeline.

        Raises:
            ServerError: it does not answer.
        """
        import psycopg2
        from psycopg2 import extensions
        from psycopg2.extras import PhysicalReplicationConnection

        found = b""
        waits = extensions.get_wait_callback()
        extensions.set_wait_callback(None)  # replication has its own way to wait, and takes no other
        try:
            connection = psycopg2.connect(
                self._replication.conninfo(self._replication.db), connection_factory=PhysicalReplicationConnection
            )
            with contextlib.closing(connection), connection.cursor() as cursor:
                # A server sends from the position itself; its timeline may have ended since.
                cursor.start_replication(start_lsn=int(start), timeline=timeline, decode=False)
                until = time.monotonic() + _STREAMING
                while len(found) < length and time.monotonic() < until:
                    message = cursor.read_message()
                    if message is None:
                        select.select([connection], [], [], 0.5)
                        continue
                    found += bytes(message.payload)
        except psycopg2.errors.UndefinedFile:
            return None
        except psycopg2.Error as exc:
            text = str(exc)
            if any(part in text for part in _NOT_HAD):
                return None
            raise ServerError(f"{self} does not send its WAL: {' '.join(text.split())}") from exc
        finally:
            extensions.set_wait_callback(waits)
        return found[:length] if len(found) >= length else None

    def started(self) -> tuple[int, int]:
        """Its port, and the second when it was started: what tells one server from another on a host."""
        return _started(self.connection)

    def size(self) -> Optional[int]:
        """Bytes of its data, without what all databases share; None: the role may not see that of each tablespace."""
        sizes = [row["size"] for row in facts.rows(self.connection, _SIZES)]
        return None if None in sizes else sum(sizes)

    def tablespaces(self) -> list[dict[str, Any]]:
        """``oid``, ``name``, ``location`` and ``size`` (bytes, None: not to be seen) of each that lies outside the data directory. Raises
        ServerError: one inside it would not be copied."""
        facts.refuse_in_place(self.connection, self.identity.version_num)
        return facts.rows(self.connection, _TABLESPACES)

    def configured_outside(self) -> Optional[bool]:
        """Whether its configuration lies outside its data directory, as Debian's does, and no copy has it; None: it may not
        be seen."""
        path, data = (facts.setting(self.connection, name) for name in ("config_file", "data_directory"))
        return None if not path or not data else os.path.commonpath([path, data]) != data

    def lets_rewind(self) -> bool:
        """Whether the role may read what pg_rewind reads, and the server writes what it needs."""
        allowed = self.identity.superuser or facts.value(self.connection, _REWINDS)
        return bool(allowed) and facts.setting(self.connection, "full_page_writes") == "on"

    def checkpoint(self) -> None:
        """After a promotion pg_rewind sees the new timeline only after a checkpoint. Whoever may not ask for one waits for it."""
        import psycopg2

        with contextlib.suppress(psycopg2.Error), self.connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")

    def keeps(self, lsn: Lsn) -> Optional[bool]:
        """Whether it still has its WAL from there on; None: the role may not see that (pg_monitor may)."""
        doubts: list[str] = []
        found = facts.attempt(
            self.connection, "SELECT min(substr(name, 9)) AS oldest FROM pg_ls_waldir() WHERE length(name) = 24", doubts, "WAL"
        )  # fmt: skip
        if not found or not found[0]["oldest"]:
            return None
        size = SegmentSize(facts.wal_segment_size(self.connection))
        return bool(size.start(size.parse("00000001" + found[0]["oldest"], "segment")) <= lsn)

    def drops_slots(self) -> bool:
        """Whether Patroni runs it, by the settings that it gives a server when it starts it; that drops slots which it does not know.
        Source: https://patroni.readthedocs.io/en/latest/patroni_configuration.html#important-rules"""
        told = (
            "cluster_name",
            "listen_addresses",
            "port",
            "max_connections",
            "max_wal_senders",
            "wal_log_hints",
            "hot_standby",
        )
        sql = "SELECT count(*) FROM pg_settings WHERE source = 'command line' AND name = ANY(%s)"
        return bool(facts.value(self.connection, sql, [list(told)]) == len(told))

    def last_archived(self) -> Optional[str]:
        """The segment that it archived last; None: none by an archive_command, or what was last is no segment."""
        name = facts.value(self.connection, "SELECT last_archived_wal FROM pg_stat_archiver")
        return str(name) if name and re.fullmatch("[0-9A-F]{24}", str(name)) else None

    def restarting(self, names: list[str]) -> list[str]:
        """Those of the settings that take effect only at a start."""
        return [
            row["name"]
            for row in facts.rows(
                self.connection,
                "SELECT name FROM pg_settings WHERE context = 'postmaster' AND name = ANY(%s) ORDER BY name",
                [names],
            )
        ]

    # Slots, and who streams

    def slot(self, name: str) -> Optional[dict[str, Any]]:
        """The slot: ``kind``, ``active``, ``wal_status``, ``safe_wal_size``, ``held_bytes``; None when it has none of that name."""
        return next((slot for slot in facts.slots(self.connection) if slot["name"] == name), None)

    def create_slot(self, name: str) -> None:
        """Make a slot that keeps WAL from now on. Raises ServerError."""
        self._do("SELECT pg_create_physical_replication_slot(%s, true)::text", name, "created")

    def drop_slot(self, name: str) -> None:
        """Drop it, and end what still reads from it, such as a copy that was given up. Raises ServerError."""
        import psycopg2

        sql = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active"
        with contextlib.suppress(psycopg2.Error):  # another role's is not ours to end
            Waiter(5).until({"free": lambda: None if facts.value(self.connection, sql, [name]) else True})
        self._do("SELECT pg_drop_replication_slot(%s)::text", name, "dropped")

    def _do(self, sql: str, name: str, what: str) -> None:
        import psycopg2

        try:
            facts.value(self.connection, sql, [name])
        except psycopg2.Error as exc:
            raise ServerError(
                f"The replication slot {name!r} could not be {what} on {self}: {str(exc).splitlines()[0]}. The role needs "
                "REPLICATION, and max_replication_slots has to leave room."
            ) from exc

    def let_go(self, name: str, timeout: float = 5) -> bool:
        """Whether nobody reads from a slot any more: of a reader that went a moment ago the server may not know yet."""
        sql = "SELECT true FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
        return Waiter(timeout).until({"free": lambda: facts.value(self.connection, sql, [name])}) is not None

    def slot_reader(self, name: str) -> Optional[int]:
        """The process that sends to who reads from a slot; None: nobody does."""
        found: Optional[int] = facts.value(
            self.connection, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name]
        )
        return found

    def replicas(self, name: str) -> list[dict[str, Any]]:
        """Those who follow by that application_name, who can be several: ``pid``, ``address``."""
        return facts.rows(
            self.connection,
            "SELECT pid, client_addr::text AS address FROM pg_stat_replication WHERE application_name = %s ORDER BY pid",
            [name],
        )

    def is_at(self, endpoint: Endpoint) -> bool:
        """Whether it is this server that answers there; no, if it cannot be asked there."""
        import psycopg2
        from psycopg2.extensions import make_dsn, parse_dsn

        parts = parse_dsn(self.address.conninfo(self.address.db))
        parts.pop("hostaddr", None)
        try:
            connection = psycopg2.connect(make_dsn(**{**parts, "host": endpoint.host, "port": str(endpoint.port)}))
        except psycopg2.Error:
            return False
        with contextlib.closing(connection):
            return _started(connection) == self.started()

    def kinds(self, names: list[str]) -> dict[str, tuple[str, Optional[str]]]:
        """Type and unit of settings, by their names in small letters, as far as it knows them."""
        found = facts.rows(
            self.connection,
            "SELECT lower(name) AS name, vartype, unit FROM pg_settings WHERE lower(name) = ANY(%s)",
            [[name.lower() for name in names]],
        )
        return {row["name"]: (row["vartype"], row["unit"]) for row in found}


def _endpoint(connection: Connection) -> Endpoint:
    """Where a connection leads: a name may stand for several servers, and the next connection lead to another one."""
    info = connection.info
    host, port = str(info.host), int(info.port)
    if host.startswith("/"):
        return Endpoint(host, port)
    with contextlib.closing(socket.socket(fileno=os.dup(connection.fileno()))) as peer:
        return Endpoint(host, port, str(peer.getpeername()[0]))


def _started(connection: Connection) -> tuple[int, int]:
    row = facts.rows(
        connection,
        "SELECT current_setting('port')::int AS port, extract(epoch FROM pg_postmaster_start_time())::bigint AS at",
    )[0]
    return row["port"], row["at"]
