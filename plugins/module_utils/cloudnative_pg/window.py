# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the window of a backup: what the server wrote while it was made is in the store, and so is the moment after it.

The operator calls a backup completed while the segment of its end is still open: on an idle server, when a standby was copied, that segment
never comes, as archive_timeout does nothing without writes (plugin-barman-cloud's issue 652). So a restore point is made, the segment is
switched, and the store is looked at until that very segment is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import CnpgCluster
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import needed_segments
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts, wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_FUNCTIONS = ("pg_create_restore_point(text)", "pg_switch_wal()")
_LOOK = 5.0  # seconds between looks at the Cluster while the store is waited for
_STUCK = 60.0  # seconds that its WAL may not be archived meanwhile


@dataclass(frozen=True)
class Point:
    """The moment after a backup that is known to be in the archive."""

    name: str
    lsn: str
    segment: str
    time: Any


def check_login(connection: Connection, cluster: CnpgCluster) -> None:
    """Whether the window can be closed by it: before the backup is made.

    Raises:
        ServerError: it is a standby, or another server; the role may not.
    """
    identity = facts.identify(connection)
    if identity.in_recovery:
        raise ServerError(
            f"The login leads to a standby, and WAL is switched on the primary: use the Service {cluster.name}-rw. Nothing was asked of the operator."
        )
    if identity.system_id and cluster.system_id and identity.system_id != cluster.system_id:
        raise ServerError(
            f"The login leads to another server (system identifier {identity.system_id}) than {cluster} ({cluster.system_id}). Nothing was asked of "
            "the operator."
        )
    lacking = [
        name
        for name in _FUNCTIONS
        if not facts.value(connection, "SELECT has_function_privilege(%s, 'EXECUTE')", [name])
    ]
    if lacking:
        grants = "; ".join(f"GRANT EXECUTE ON FUNCTION {name} TO {facts.quoted(identity.role)}" for name in lacking)
        raise ServerError(
            f"The role {identity.role} may not call {' and '.join(lacking)}, by which the window of a backup is closed. As a superuser: {grants}. (Or log "
            "in as another one.) Nothing was asked of the operator."
        )


def make_point(connection: Connection, name: str) -> Point:
    """Make a restore point, and switch its segment. Raises ServerError."""
    import psycopg2

    try:
        made = wal_end.restore_point(connection, name)
        wal_end.switch(connection)
    except psycopg2.Error as exc:
        raise ServerError(
            f"The backup is made, and its window could not be closed by a restore point and a new segment: {' '.join(str(exc).split())}. The same run "
            "goes on with it."
        ) from exc
    return Point(name, made.lsn, made.segment, made.time)


def wanted_segments(record: Record, point: Optional[Point], size: SegmentSize) -> list[str]:
    """All segments from the backup's begin to the restore point, of its timeline; where the server has changed to another one meanwhile, the
    backup's own and the point's."""
    needed = needed_segments(record, size)
    if point is None:
        return needed
    last = size.parse(point.segment, "segment")
    first = size.parse(needed[-1], "segment") if needed else last
    if first.timeline != last.timeline:
        return [*needed, point.segment]
    between = [size.name(first._replace(number=number)) for number in range(first.number + 1, last.number + 1)]
    return [*needed, *between]


class Store:
    """The store, waited for. ``read``: the Cluster as it is now; ``timeout``: seconds."""

    def __init__(
        self,
        archive: StoreArchive,
        size: SegmentSize,
        read: Callable[[], CnpgCluster],
        timeout: float,
        progress: Progress,
    ) -> None:
        self._archive, self._size, self._read = archive, size, read
        self._timeout, self._progress = timeout, progress
        self._looked, self._well = time.monotonic(), time.monotonic()

    def wait(self, segments: Sequence[str], hint: str) -> float:
        """Until all of them are there; how many seconds that took. ``hint``: a sentence for who has waited in vain.

        Raises:
            ServerError: they are not there in time, or archiving fails.
            RepositoryError: the store cannot be read.
        """
        missing: list[str] = list(segments)

        def look() -> Optional[bool]:
            missing[:] = self._archive.missing(segments, self._size)
            if not missing:
                return True
            self._progress.tell(None, None)
            self._check_archiving(missing[0])
            return None

        waiter = Waiter(self._timeout, pause=0.2, most=2.0)
        self._progress.step(f"waiting for {segments[-1]} in the store")
        if waiter.until({"there": look}) is None:
            raise ServerError(
                f"The operator says that the backup is completed, and {missing[0]}, which a restore of it needs, was not in {self._archive.description} after "
                f"{format_duration(self._timeout)} (wal_timeout): {self._condition()}. Do not rely on this backup yet. {hint} The same run goes "
                "on with it."
            )
        return waiter.seconds

    def wait_for_history(self, timeline: int, known: Callable[[], bool]) -> None:
        """The history of a timeline later than the first, without which no recovery finds it. Raises ServerError."""
        self._progress.step(f"waiting for {history_name(timeline)} in the store")
        if (
            timeline > 1
            and Waiter(self._timeout, pause=0.2, most=2.0).until({"there": lambda: known() or None}) is None
        ):
            raise ServerError(
                f"{history_name(timeline)} is not in {self._archive.description}: a recovery would end on the timeline before, without a word. Do not rely on "
                "this backup for moments after it."
            )

    def _check_archiving(self, segment: str) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        if self._read().is_true("ContinuousArchiving"):
            self._well = now
        elif now - self._well >= _STUCK:
            raise ServerError(
                f"The backup waits for {segment}, and {self._condition()}. Do not rely on this backup yet; the same run goes on with it once its WAL is "
                "archived again."
            )

    def _condition(self) -> str:
        condition = self._read().conditions.get("ContinuousArchiving")
        if condition is None:
            return "the Cluster says nothing of its archiving (ContinuousArchiving)"
        told = condition.message or condition.reason
        return f"ContinuousArchiving is {condition.status}" + (f" ({told.rstrip('.')})" if told else "")
