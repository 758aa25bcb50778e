# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a standby follows, asked of the standby itself: names in the primary's lists can be another one's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_VIEW = """
SELECT row_to_json(v)::text AS seen FROM (SELECT pg_is_in_recovery() AS in_recovery, r.status, r.sender_host AS host,
       r.sender_port AS port, r.slot_name, coalesce(r.received_tli, c.timeline_id) AS timeline,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS replay,
       pg_last_wal_replay_lsn()::text AS replayed,
       greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text AS reached,
       COLLATIONS AS collations,
       (SELECT json_agg(slot_name ORDER BY slot_name) FROM pg_replication_slots s WHERE NOT active AND NOT temporary
          AND restart_lsn IS NOT NULL AND coalesce(to_jsonb(s)->>'synced', 'false') = 'false') AS idle_slots
  FROM pg_control_checkpoint() c LEFT JOIN pg_stat_wal_receiver r ON true) v
"""
# Another C library, or another version of it, may sort texts otherwise than the indexes that are replayed.
# Source: https://www.postgresql.org/docs/current/sql-altercollation.html#SQL-ALTERCOLLATION-NOTES
_COLLATIONS = (
    "(SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn AND datcollversion IS NOT NULL"
    " AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid))"
)


def _view(major: int) -> str:
    return _VIEW.replace("COLLATIONS", _COLLATIONS if major >= 15 else "NULL")


@dataclass(frozen=True)
class Following:
    """What a running standby says of itself. ``sender``: whom its receiver streams from now, None: from nobody; ``slot``: through
    which slot there; ``paused``: its replay stands; ``replayed`` and ``reached`` (replayed or received): positions, ``timeline``
    that of the latter; ``idle_slots``: slots of its own from which nobody reads, and which keep WAL here;
    ``collations``: databases whose indexes over texts were sorted by another version of their collation than this host's."""

    in_recovery: bool
    sender: Optional[Endpoint]
    slot: Optional[str]
    paused: bool
    timeline: int
    replayed: Optional[Lsn]
    reached: Optional[Lsn]
    idle_slots: tuple[str, ...] = ()
    collations: tuple[str, ...] = ()

    def streams_from(self, endpoints: Sequence[Endpoint]) -> bool:
        """Whether it receives from one of them."""
        return self.sender is not None and any(self.sender.same_as(endpoint) for endpoint in endpoints)


def ask(local: Local, connect: Callable[[], Connection], database: str) -> Optional[Following]:
    """Ask the server of a data directory, if it runs: by ``connect``, else by psql as its owner, as whom most servers let in over their
    socket; None: it does not run, or recovers without letting anybody in.

    Raises:
        ServerError: it lets nobody in.
    """
    if not local.running:
        return None
    try:
        connection = connect()
    except HoldfastError as exc:
        text = _by_psql(local, database, exc)
    else:
        try:
            text = str(facts.value(connection, _view(local.major)))
        finally:
            connection.close()
    return None if text is None else read_view(json.loads(text))


def drop_slot(local: Local, connect: Callable[[], Connection], database: str, name: str) -> None:
    """Drop a slot of the server of a data directory itself, asked as ``ask`` does. Raises ServerError."""
    import psycopg2

    try:
        connection = connect()
    except HoldfastError as exc:
        _run_psql(local, database, f"SELECT pg_drop_replication_slot('{name}')", exc)
        return
    try:
        facts.value(connection, "SELECT pg_drop_replication_slot(%s)::text", [name])
    except psycopg2.Error as exc:
        raise ServerError(
            f"The replication slot {name!r} of the server in {local.directory} could not be dropped: {exc}"
        ) from exc
    finally:
        connection.close()


def read_view(row: dict[str, Any]) -> Following:
    """What the query answered. Pure."""
    streams = row["status"] == "streaming" and row["host"]
    return Following(
        in_recovery=bool(row["in_recovery"]),
        sender=Endpoint(str(row["host"]), int(row["port"] or 5432)) if streams else None,
        slot=row["slot_name"] if streams else None,
        paused=row["replay"] in ("paused", "pause requested"),
        timeline=int(row["timeline"]),
        replayed=Lsn.parse(row["replayed"], "position") if row["replayed"] else None,
        reached=Lsn.parse(row["reached"], "position") if row["reached"] else None,
        idle_slots=tuple(row.get("idle_slots") or ()),
        collations=tuple(row.get("collations") or ()),
    )


def _by_psql(local: Local, database: str, refused: HoldfastError) -> Optional[str]:
    if local.socket() is None or "starting up" in str(refused) or "not accepting connections" in str(refused):
        return None  # before consistency, or hot_standby is off
    return _run_psql(local, database, _view(local.major), refused)


def _run_psql(local: Local, database: str, sql: str, refused: HoldfastError) -> str:
    found = local.socket() or ("", 0)
    argv = [local.instance.program("psql"), "-XAtw", "-h", found[0], "-p", str(found[1]), "-d", database, "-c", sql]
    done = run_as(local.instance.owner, argv, timeout=30)
    if done.returncode:
        raise ServerError(
            f"The server in {local.directory} runs, and cannot be asked whom it follows: {refused} Give login_user and login_password."
        )
    return done.stdout.strip().splitlines()[-1]
