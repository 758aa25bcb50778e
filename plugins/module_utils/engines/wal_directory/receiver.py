# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL that pg_receivewal streams into the directory, instead of the server's ``archive_command``.

It needs no restart of the server and works from another host, and what it has not finished (``<segment>.partial``) is at most
seconds behind. A replication slot keeps the server from removing what has not come yet; so the receiver has to run.

Source: https://www.postgresql.org/docs/current/app-pgreceivewal.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import (
    FileArchiver,
    ShippedTo,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.set_aside import (
    Place,
    in_the_way,
    newest,
    set_aside,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import find_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SEGMENT, classify, history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import parse_history

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: what pg_receivewal takes for its own
_RECEIVED = re.compile(r"([0-9A-F]{24})(?:\.gz|\.lz4)?(?:\.partial)?")
_LONGEST = 63  # bytes of a slot's name
_SLOT = (
    "SELECT slot_type, active, (pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    " ELSE pg_current_wal_lsn() END, restart_lsn))::bigint AS behind, coalesce(to_jsonb(s) ->> 'wal_status', '') = 'lost' AS lost"
    ", restart_lsn::text FROM pg_replication_slots s WHERE slot_name = %s"
)
_TIMELINE = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END"
#: from which version on pg_receivewal begins where its slot is, when it finds nothing in its directory
_BEGINS_AT_SLOT = 150000


def goes_on_at(name: str, size: SegmentSize) -> Optional[Place]:
    """A file of pg_receivewal's, and where it would go on if this is its newest: behind a segment that is whole, at the beginning of one that
    is not. None: it does not look at it. Pure. Source: FindStreamingStart in pg_receivewal.c"""
    found = _RECEIVED.fullmatch(name)
    if not found:
        return None
    segment = size.parse(found[1], "segment")
    return segment, size.start(segment) if name.endswith(".partial") else size.end(segment)


def slot_name(server_name: str) -> str:
    """The replication slot of a server's receiver."""
    return f"holdfast_{re.sub('[^a-z0-9_]', '_', server_name.lower())}"[:_LONGEST]


class WalReceiver(FileArchiver):
    """``command`` runs for as long as WAL is to be received, as ``user``: it is a service's."""

    name = "pg_receivewal"
    connects = True
    by_command = False

    def __init__(
        self,
        root: str,
        server_name: str,
        host: Host,
        compression: Compression,
        accept_new_server: bool,
        stores: Optional[ShippedTo] = None,
        sets_aside: bool = False,
    ) -> None:
        super().__init__(root, server_name, host, compression, accept_new_server, stores)
        self._sets_aside = sets_aside
        self._aside: list[str] = []  # what is in the way, by name
        self.slot = slot_name(server_name)
        self.user = host.owner
        self._program = find_tools(host.version_num, host.bin_dir).path("pg_receivewal")

    def configure(self, check: bool) -> list[Step]:
        if self._compression.method == "zstd":
            raise BadOption("compression", "zstd", "is not known to pg_receivewal", "Use none, gzip or lz4.")
        if self._compression.method == "lz4" and self._host.version_num < 150000:
            raise BadOption("compression", "lz4", "is known to pg_receivewal from 15 on", "Use none or gzip.")
        return self._make_directory(check)

    def refuse(self, connection: Connection) -> None:
        slot = self._slot(connection)
        if slot and slot["slot_type"] != "physical":
            raise ServerError(
                f"The replication slot {self.slot} is a {slot['slot_type']} one. Drop it, or use another server_name."
            )
        if not self._sets_aside:
            self._check_slot(connection, slot)
            self._check_history(connection)
        elif slot is None or not slot["active"]:
            self._aside = self._to_set_aside(connection, slot)
            self._check_slot(connection, slot, self._aside)

    def _check_slot(self, connection: Connection, slot: Optional[dict[str, Any]], aside: Collection[str] = ()) -> None:
        """Raises ServerError: WAL that was not received is gone from the server, so that the receiver would never go on. ``aside``: files that will not
        be in its way."""
        if slot is not None and slot["lost"]:
            raise ServerError(
                f"The replication slot {self.slot} is invalidated: the server removed WAL that was not received (max_slot_wal_keep_size), and "
                "nothing brings that back. Stop the receiver, drop the slot (SELECT pg_drop_replication_slot"
                f"('{self.slot}')), set it up anew, and take a new base backup at once: no backup from before leads past the gap."
            )
        if slot is not None and slot["active"]:
            return
        size = SegmentSize(self._host.wal_segment_size)
        places = self._places(aside)
        if slot is not None or not places:
            return
        last, begin = newest(places.values())
        wanted = size.name(size.containing(last.timeline, begin))
        now = facts.value(
            connection, "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END"
        )
        if now is None or wanted[8:] >= str(now)[8:] or self._sends(connection, wanted):
            return
        # All of them: behind the newest lies what a promotion left, most often.
        paths = [os.path.join(self._directory, name) for name in sorted(places)]
        raise ServerError(
            f"There is no replication slot {self.slot} any more, and the server has removed {wanted}, where pg_receivewal would go on: it would "
            f"fail for ever. Pack all that it looks at, so that it begins anew (zstd --rm {' '.join(paths)}), set it up again, "
            "and take a new base backup at once: no backup from before leads past the gap. Nothing was changed."
        )

    def _check_history(self, connection: Connection) -> None:
        """pg_receivewal goes on where the directory ends. Raises ServerError: that is a life of the server that was left, by a recovery or a
        failover, and the server refuses to send it: nothing would be received ever again."""
        size, places = SegmentSize(self._host.wal_segment_size), self._places()
        past, left = self._past(connection, places)
        if not past:
            return
        last, _begin = newest(places.values())
        fork = left.get(last.timeline)
        where = f"which this server left at {fork}" if fork is not None else "which is not in this server's history"
        raise ServerError(
            f"pg_receivewal would go on where {self._directory} ends, after {size.name(last)}, {where}: the server refuses that, and nothing is "
            f"received. Move what lies past it out of the way ({', '.join(past[:5])}{', …' if len(past) > 5 else ''}); to be able to "
            "recover to that life later, pack whole segments instead, for pg_receivewal does not look at these (zstd --rm FILE). set_aside: true does "
            "both. Nothing was changed."
        )

    def _past(self, connection: Connection, places: Mapping[str, Place]) -> tuple[list[str], dict[int, Lsn]]:
        """What is in the way, and where the server left its timelines before. Raises WalError: its history is damaged."""
        timeline = facts.value(connection, _TIMELINE) if places else None
        if timeline is None or newest(places.values())[0].timeline == timeline:
            return [], {}
        left = self._left(connection, timeline)
        return in_the_way(places, timeline, left), left

    @staticmethod
    def _left(connection: Connection, timeline: int) -> dict[int, Lsn]:
        """The timelines before the server's, and where each was left. Raises WalError: its history is damaged."""
        text = facts.value(
            connection, "SELECT pg_read_file(%s, 0, 1000000, true)", [f"pg_wal/{history_name(timeline)}"]
        )
        return {one.timeline: one.lsn for one in parse_history(text, timeline)} if text else {}

    def _to_set_aside(self, connection: Connection, slot: Optional[dict[str, Any]]) -> list[str]:
        """What is in the way; and where the server has removed what would follow the rest, the rest too: pg_receivewal begins at its slot then.

        Raises:
            ServerError: between the rest and the slot there is WAL that nobody has.
            RepositoryError: a store that may have it is away.
        """
        size, places = SegmentSize(self._host.wal_segment_size), self._places()
        past, _left = self._past(connection, places)
        rest = {name: place for name, place in places.items() if name not in past}
        if not rest or slot is None or slot["restart_lsn"] is None or self._host.version_num < _BEGINS_AT_SLOT:
            return past
        last, begin = newest(rest.values())
        wanted, slots = begin // size.bytes, Lsn.parse(slot["restart_lsn"], "restart_lsn") // size.bytes
        if wanted >= slots or self._sends(connection, size.name(last._replace(number=wanted))):
            return past
        timeline = facts.value(connection, _TIMELINE)
        if timeline is None:
            return past
        lives = {timeline, *self._left(connection, timeline)}
        found = (classify(name, size) for name in self.whole.names())
        there = {file.number for file in found if file.kind == SEGMENT and file.timeline in lives}
        missing = [size.name(last._replace(number=one)) for one in range(wanted, slots) if one not in there]
        if missing:
            raise ServerError(
                f"pg_receivewal would go on at {missing[0]}, which the server has removed, and nobody has it: the replication slot {self.slot} was made "
                f"anew, or is another one. Pack all that it looks at in {self._directory} (zstd --rm), so that it begins at the slot, and take a new "
                "base backup at once: no backup from before leads past the gap. Nothing was changed."
            )
        return sorted(places)

    def _sends(self, connection: Connection, wanted: str) -> bool:
        """Whether the server still has a segment, on any timeline; unknown is yes."""
        kept = facts.attempt(connection, "SELECT name FROM pg_ls_waldir()", [], "pg_wal")
        return kept is None or any(row["name"][8:] == wanted[8:] for row in kept)

    def _places(self, without: Collection[str] = ()) -> dict[str, Place]:
        """Where pg_receivewal would go on behind each file that it looks at."""
        size = SegmentSize(self._host.wal_segment_size)
        found = {name: goes_on_at(name, size) for name in self._received() if name not in without}
        return {name: place for name, place in found.items() if place is not None}

    def _received(self) -> list[str]:
        try:
            return os.listdir(self._directory)
        except OSError:
            return []

    def settings(self, connection: Connection, command: str, timeout: str) -> dict[str, Optional[str]]:
        """Only what would not do; nothing is restarted for more."""
        found: dict[str, Optional[str]] = {}
        if facts.setting(connection, "wal_level") == "minimal":
            found["wal_level"] = "replica"
        for name in ("max_wal_senders", "max_replication_slots"):
            if facts.setting(connection, name) == "0":
                found[name] = "10"
        return found

    def join(self, connection: Connection, check: bool, later: bool) -> list[Step]:
        steps = []
        if self._aside:
            if not check:
                set_aside(self._directory, self._aside, self.user)
            steps = [
                Step(
                    f"set aside what a life that this server left has in pg_receivewal's way ({', '.join(self._aside)}): whole segments are packed, and what "
                    "is not whole is hidden"
                )
            ]
        if self._slot(connection):
            return steps
        if not check and not later:
            facts.value(connection, "SELECT slot_name FROM pg_create_physical_replication_slot(%s, true)", [self.slot])
        return [
            *steps,
            Step(f"create the replication slot {self.slot}{', once the server was restarted' if later else ''}"),
        ]

    def leave(self, connection: Connection, check: bool) -> list[Step]:
        slot, steps = self._slot(connection), []
        if slot is not None:
            if slot["active"]:
                raise ServerError(f"pg_receivewal still runs on the slot {self.slot}. Stop its service first.")
            if not check:
                facts.value(connection, "SELECT pg_drop_replication_slot(%s)::text", [self.slot])
            steps = [Step(f"drop the replication slot {self.slot}")]
        return steps + super().leave(connection, check)

    def check_running(self, connection: Connection) -> None:
        slot = self._slot(connection)
        if slot is None:
            self._check_slot(connection, None)
            raise ServerError(
                f"Nothing is received: there is no slot {self.slot}. Set it up (state: present), and take a new base backup: what was written since "
                "it was dropped may be gone."
            )
        self._check_slot(connection, slot)
        if not slot["active"]:
            self._check_history(connection)
            raise ServerError(
                f"Nothing is received: {self._half_made()}the slot {self.slot} is {slot['behind']} bytes behind, and nobody reads from it. Start the "
                f"receiver, and look at its words if it ends: {' '.join(self.command)}"
            )

    def _half_made(self) -> str:
        """What a full disk has left, behind which pg_receivewal never goes on, as the beginning of a sentence."""
        for name in self._received():
            path = os.path.join(self._directory, name)
            if (
                name.endswith(".partial")
                and len(name) == 32
                and os.path.getsize(path) not in (0, self._host.wal_segment_size)
            ):
                return (
                    f"{path} has {os.path.getsize(path)} bytes, as the disk was full when it was made, and pg_receivewal refuses to go on behind "
                    "it; make room, and empty it (truncate -s 0), which wal_ship does by itself; "
                )
        return ""

    def explain(self, connection: Connection) -> str:
        slot: dict[str, Any] = self._slot(connection) or {}
        state = "runs" if slot.get("active") else "does not run"
        return f"pg_receivewal {state}, and its slot {self.slot} is {slot.get('behind')} bytes behind."

    def describe(self) -> dict[str, Any]:
        return {
            "receiver": {
                "command": self.command,
                "user": self.user,
                "slot": self.slot,
                "system_id": self._host.system_id,
            }
        }

    def _slot(self, connection: Connection) -> Optional[dict[str, Any]]:
        found = facts.rows(connection, _SLOT, [self.slot])
        return found[0] if found else None

    @property
    def command(self) -> list[str]:
        """Its words. Over the socket, unless the server is asked for over TCP."""
        host = self._host
        where = {
            "host": host.host or host.socket_directory,
            "port": str(host.port),
            "user": host.user,
            "application_name": self.slot,
            **({"passfile": host.passfile} if host.passfile else {}),
        }
        conninfo = " ".join(f"{name}='{_quoted(value)}'" for name, value in where.items())
        packed = {"gzip": f"gzip:{self._compression.level}", "lz4": "lz4", "none": "none"}[self._compression.method]
        if host.version_num < 150000:
            packed = str(self._compression.level if self._compression.method == "gzip" else 0)
        return [
            self._program,
            f"--dbname={conninfo}",
            f"--directory={self._directory}",
            f"--slot={self.slot}",
            f"--compress={packed}",
            "--synchronous",  # else it flushes to the disk when a segment is full
            "--no-password",
        ]


def _quoted(value: str) -> str:
    """A value of a connection string. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE"""
    return value.replace("\\", "\\\\").replace("'", "\\'")
