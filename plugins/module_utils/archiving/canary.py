# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving proven by what can be recovered: a segment that was seen to arrive, and the backup that leads to it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving import history
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import leads_to
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts, wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class Canary:
    """A segment that was seen to arrive.

    ``backup``: the id of the backup by which a recovery to it would begin, with all WAL between them there; None: there is none,
    and ``unreachable`` says why.
    """

    segment: str
    restore_point: str
    lsn: str
    #: from the switch of the segment until it was read back from the archive
    seconds: float
    bytes: int
    backup: Optional[str]
    unreachable: Optional[str]


def prove(connection: Connection, archiver: Archiver, timeout: float, scratch: str) -> Canary:
    """Make a restore point, switch the segment, wait until that segment is in the archive and has the restore point, and plan a
    recovery to it.

    Raises:
        HoldfastError: nothing archives, or the archive cannot be read.
        ServerError: it, or the history of its timeline, did not arrive within ``timeout`` seconds; what is known of that is told.
    """
    archiver.check()
    archiver.check_running(connection)
    wal = archiver.wal
    name = f"holdfast_canary_{os.getpid()}_{time.time_ns()}"
    # On an idle server a switch alone would do nothing: the restore point is what there is to archive.
    point = wal_end.restore_point(connection, name)
    wal_end.switch(connection)
    path = os.path.join(scratch, "canary")
    size = SegmentSize(facts.wal_segment_size(connection))
    waiter = Waiter(timeout, pause=0.02, most=1.0)
    if waiter.until({"arrived": lambda: wal.fetch(point.segment, path) or None}) is None:
        raise ServerError(
            f"The segment {point.segment} was not in {wal.description} after {timeout:g} seconds. "
            f"{archiver.explain(connection)}"
        )
    seconds = round(waiter.seconds, 3)
    with open(path, "rb") as stream:
        content = stream.read()
    if len(content) != size.bytes or name.encode() not in content:
        raise ServerError(
            f"The segment {point.segment} in {wal.description} is not what the server wrote: it has {len(content)} bytes of "
            f"{size.bytes}, and the restore point {name} is {'' if name.encode() in content else 'not '}in it. This archive cannot be "
            "trusted: find out what stands between the server and it."
        )
    if waiter.until({"arrived": lambda: history.is_archived(wal, point.timeline, size) or None}) is None:
        raise ServerError(
            f"The history of timeline {point.timeline} is not in {wal.description}: its segments arrive, and no backup of an earlier timeline leads to "
            "them. Set archiving up once more (state: present), which has it archived."
        )
    try:
        lsn = Lsn.parse(point.lsn, "lsn")
        backup = leads_to(archiver.whole, archiver.backups([]), point.timeline, lsn, size, scratch).backup.id
    except WalError as exc:
        return Canary(point.segment, name, point.lsn, seconds, len(content), None, str(exc))
    return Canary(point.segment, name, point.lsn, seconds, len(content), backup, None)
