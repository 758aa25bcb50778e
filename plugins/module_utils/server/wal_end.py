# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of what a server has written, and the segment that has it: the one to wait for in an archive.

``pg_walfile_name`` of a position exactly between two segments is the one that ended there up to PostgreSQL 16, and from 17 on the next one, which an
idle server never fills. So the server is asked for position and timeline, and the segment is that of the last byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class WalEnd:
    """``lsn``: the position, as PostgreSQL writes it; ``segment``: the name of the one with the byte before it; ``time``: the server's clock."""

    lsn: str
    timeline: int
    segment: str
    time: datetime


def restore_point(connection: Connection, name: str) -> WalEnd:
    """Make one, whose record ends there. Its segment stays open. Raises psycopg2.Error."""
    return _end(connection, "pg_create_restore_point(%s)", [name])


def switch(connection: Connection) -> WalEnd:
    """End the open segment, unless nothing is in it: then it is the end of the one before. Raises psycopg2.Error."""
    return _end(connection, "pg_switch_wal()", [])


def _end(connection: Connection, call: str, arguments: list[str]) -> WalEnd:
    row = facts.rows(
        connection,
        f"SELECT lsn::text AS lsn, left(pg_walfile_name(lsn), 8) AS timeline, clock_timestamp() AS time FROM {call} AS lsn",
        arguments,
    )[0]
    timeline, size = int(row["timeline"], 16), SegmentSize(facts.wal_segment_size(connection))
    segment = size.name(size.before(timeline, Lsn.parse(row["lsn"], "lsn")))
    return WalEnd(row["lsn"], timeline, segment, row["time"])
