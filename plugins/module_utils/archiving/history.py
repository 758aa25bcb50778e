# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The histories of timelines, which lead a recovery past a fork: archived by PostgreSQL only while archiving is on when the fork comes.

A server that was recovered with archiving off, as is right for one that stands beside another, has its history in pg_wal alone. Set up
again, its WAL is archived and cannot be reached: no backup before the fork knows the way.
Source: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import HISTORY, classify, history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def current_timeline(connection: Connection) -> int:
    """The timeline that a primary writes."""
    return int(str(facts.value(connection, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"))[:8], 16)


def is_archived(wal: WalArchive, timeline: int, size: SegmentSize) -> bool:
    """Whether the history of a timeline is in the archive; the first one has none. Raises HoldfastError: it cannot be read."""
    if timeline == 1:
        return True
    # Histories are listed always, and stand before the segments of their timeline.
    return any(
        file.kind == HISTORY and file.timeline == timeline
        for file in (classify(name, size) for name in wal.names("F" * 24))
    )


def archive(connection: Connection, wal: WalArchive, host: Host, check: bool) -> list[Step]:
    """Have the server archive the history of its timeline, unless ``check``, where the archive lacks it. Returns what is done.

    It is marked as ready, which is how PostgreSQL tells its own archiver.

    Raises:
        HoldfastError: the archive cannot be read.
    """
    timeline = current_timeline(connection)
    name = history_name(timeline)
    folder = os.path.join(host.data_directory, "pg_wal")
    if is_archived(wal, timeline, SegmentSize(facts.wal_segment_size(connection))):
        return []
    if not os.path.exists(os.path.join(folder, name)):
        return []  # it was removed from pg_wal, or cannot be seen: what is proven afterwards says so
    status = os.path.join(os.path.realpath(folder), "archive_status")
    if not check and not os.path.exists(os.path.join(status, f"{name}.ready")):
        files.put(os.path.join(status, f"{name}.ready"), "", host.owner)
    return [Step(f"archive the history of timeline {timeline}, without which no backup before it leads here")]
