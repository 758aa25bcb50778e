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
       greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text AS reached
  FROM pg_control_checkpoint() c LEFT JOIN pg_stat_wal_receiver r ON true) v
"""


@dataclass(frozen=True)
class Following:
    """What a running standby says of itself. ``sender``: whom its receiver streams from now, None: from nobody; ``slot``: through
    which slot there; ``paused``: its replay stands; ``replayed`` and ``reached`` (replayed or received): positions, ``timeline``
    that of the latter."""

    in_recovery: bool
    sender: Optional[Endpoint]
    slot: Optional[str]
    paused: bool
    timeline: int
    replayed: Optional[Lsn]
    reached: Optional[Lsn]

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
            text = str(facts.value(connection, _VIEW))
        finally:
            connection.close()
    return None if text is None else read_view(json.loads(text))


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
    )


def _by_psql(local: Local, database: str, refused: HoldfastError) -> Optional[str]:
    found = local.socket()
    if found is None or "starting up" in str(refused) or "not accepting connections" in str(refused):
        return None  # before consistency, or hot_standby is off
    argv = [local.instance.program("psql"), "-XAtw", "-h", found[0], "-p", str(found[1]), "-d", database, "-c", _VIEW]
    done = run_as(local.instance.owner, argv, timeout=30)
    if done.returncode:
        raise ServerError(
            f"The server in {local.directory} runs, and cannot be asked whom it follows: {refused} Give login_user and login_password."
        )
    return done.stdout.strip().splitlines()[-1]
