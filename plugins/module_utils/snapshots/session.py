# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup mode, held by one session of ours: it ends with the session, so that no hook that comes and goes can have it.

Source: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import archiver_state, archiver_words
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

with contextlib.suppress(ImportError):  # module.execute() says so
    import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_LOST = (
    "The session that held the backup mode was lost before the snapshots were made ({why}), so that they are worthless, and deleted; "
    "backups that were there before are as they were. Run it again."
)


@dataclass(frozen=True)
class Ended:
    """What PostgreSQL gave at the end of a backup: ``label`` and ``map`` go into the restored data directory before its first start."""

    start_lsn: str
    stop_lsn: str
    timeline: int
    label: str
    map: str
    #: of the segment with the end of the backup, without which it cannot be restored
    last_segment: str


class BackupMode:
    """Use as a context manager; what ends it without ``stop`` ends the session, and the server is as before."""

    def __init__(self, connection: Connection, label: str) -> None:
        self._connection, self._label = connection, label
        self._new = connection.server_version >= 150000
        self._start = ""
        self._ended = False

    def __enter__(self) -> BackupMode:
        call = "pg_backup_start(%s, true)" if self._new else "pg_start_backup(%s, true, false)"
        try:
            self._start = str(facts.value(self._connection, f"SELECT {call}::text", [self._label]))
        except psycopg2.Error as exc:
            raise ServerError(
                f"The backup mode could not be begun: {_said(exc)}. The role needs EXECUTE on "
                f"{'pg_backup_start and pg_backup_stop' if self._new else 'pg_start_backup and pg_stop_backup'}."
            ) from exc
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._ended and not self._connection.closed:
            self._connection.close()

    def check(self) -> None:
        """Raise ServerError when the session was lost."""
        try:
            facts.value(self._connection, "SELECT 1")
        except psycopg2.Error as exc:
            raise ServerError(_LOST.format(why=_said(exc))) from exc

    def stop(self) -> Ended:
        """End it. The WAL is waited for by who called.

        Raises:
            ServerError: the session was lost, or the server was promoted meanwhile.
        """
        call = "pg_backup_stop(false)" if self._new else "pg_stop_backup(false, false)"
        try:
            (row,) = facts.rows(
                self._connection,
                f"SELECT lsn::text AS lsn, labelfile, spcmapfile, left(pg_walfile_name(lsn), 8) AS timeline FROM {call}",
            )
        except psycopg2.Error as exc:
            raise ServerError(_LOST.format(why=_said(exc))) from exc
        self._ended = True
        timeline, size = int(row["timeline"], 16), SegmentSize(facts.wal_segment_size(self._connection))
        segment = size.name(size.before(timeline, Lsn.parse(row["lsn"], "lsn")))
        return Ended(self._start, row["lsn"], timeline, row["labelfile"], row["spcmapfile"] or "", segment)


def wait_for_archiver(connection: Connection, segment: str, timeout: float, tell: Callable[[], None]) -> None:
    """Until the server says that it has archived a segment; where it went is not looked at.

    Raises:
        ServerError: it has not within ``timeout`` seconds.
    """
    began, pause = time.monotonic(), 0.05
    while True:
        last: Optional[str] = archiver_state(connection)["last_archived"]
        if last and last[:24] >= segment:
            return
        if time.monotonic() - began >= timeout:
            raise ServerError(
                f"{segment}, which the snapshots need, was not archived after {timeout:.0f} seconds (wal_timeout). They are deleted. "
                f"{archiver_words(connection)}"
            )
        tell()
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def checkpoint(connection: Connection) -> str:
    """Write a checkpoint, so that what starts from the snapshot has little to replay. Returns the position after it. Raises ServerError."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")
        return str(facts.value(connection, "SELECT pg_current_wal_lsn()::text"))
    except psycopg2.Error as exc:
        raise ServerError(
            f"The checkpoint was refused: {_said(exc)}. The role needs pg_checkpoint (PostgreSQL 15 and newer) or has to be a superuser; or use "
            "consistency: none, whose snapshot takes longer to start."
        ) from exc


def _said(exc: Exception) -> str:
    return " ".join(str(exc).split()).rstrip(".") or "the connection was lost"
