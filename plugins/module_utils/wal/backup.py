# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base backup, as far as WAL is concerned. Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn


@dataclass(frozen=True)
class Backup:
    """Where a base backup begins and ends in the WAL.

    ``stop_time``: when it ended, in UTC; rounded up where the record has whole seconds, as a recovery cannot stop before.
    ``stop_timeline``: where that is another than the one it began on: a standby whose primary changed meanwhile.
    ``next_xid``: the transaction id that was next when it ended; None: not known.
    ``alone``: only the backup itself is wanted, not the moments after it (a yearly one, say): of the WAL it needs no more than
    what lies between its start and its end. ``has_wal``: that lies within the backup itself (pg_basebackup, unless told not to).
    """

    id: str
    timeline: int
    start_lsn: Lsn
    stop_lsn: Lsn
    stop_time: datetime.datetime
    stop_timeline: Optional[int] = None
    next_xid: Optional[int] = None
    alone: bool = False
    has_wal: bool = False

    @property
    def ended_on(self) -> int:
        """The timeline on which it ended."""
        return self.timeline if self.stop_timeline is None else self.stop_timeline

    @property
    def archive_from(self) -> Lsn:
        """From where on a recovery reads the archive. The segment of the backup's end is needed from there even when the backup
        has it: what it has stops in the middle."""
        return Lsn(self.stop_lsn - 1) if self.has_wal else self.start_lsn
