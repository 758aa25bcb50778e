# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a backup is recent, and makes another one needless. Pure: one definition, for runs and facts."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import is_whole, links
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import CLOCKS_DIFFER, position, stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn


def age(record: Record, now: datetime.datetime) -> float:
    """Seconds since a backup ended; negative: it is from the future."""
    return (now - stopped(record)).total_seconds()


def is_recent(record: Record, limit: float, now: datetime.datetime) -> bool:
    """Whether a backup is not older than ``limit`` seconds, and not from the future."""
    return -CLOCKS_DIFFER <= age(record, now) <= limit


def from_the_future(record: Record, now: datetime.datetime) -> Optional[str]:
    """A sentence about a backup that has not been yet; None: it has."""
    if age(record, now) >= -CLOCKS_DIFFER:
        return None
    return f"The backup {record.id} is from the future ({record.stopped_at}): is, or was, a clock wrong?"


def is_good(record: Record, known: Mapping[str, Record], damaged: Collection[str] = ()) -> bool:
    """Whether a backup can be restored, as far as one knows without reading it: it, and all that it needs, is there, was
    verified, and is not among the ``damaged``."""
    return is_whole(record, known) and not any(link.id in damaged for link in links(record, known.get))


def is_of(record: Record, system_id: Optional[str]) -> bool:
    """Whether a backup is of the server with this system identifier. Where one of the two is not known (the role may not read
    it), the name of the server in the repository is all there is to go by."""
    theirs = record.server.get("system_id")
    return theirs is None or system_id is None or str(theirs) == system_id


@dataclass(frozen=True)
class Present:
    """Where a server is now. None: the role may not read it. ``position`` None also on a standby, which may lag behind a backup that
    its primary's made."""

    system_id: Optional[str] = None
    timeline: Optional[int] = None
    position: Optional[Lsn] = None


def is_past_of(record: Record, present: Present) -> Optional[str]:
    """Why a backup is none of what the server has behind it: of another server, of a timeline that it has left, or of a position
    that it has not reached (it was set back). None: nothing speaks against it."""
    if not is_of(record, present.system_id):
        return f"it is of another server (system identifier {record.server.get('system_id')}, and this one has {present.system_id})"
    where = position(record)
    if where is None or present.timeline is None:
        return None
    if where[0] != present.timeline:
        return f"it is of timeline {where[0]}, and the server is on {present.timeline}"
    if present.position is not None and where[1] > present.position:
        return f"it ended at {Lsn(where[1])}, and the server is at {present.position}: it was set back since"
    return None


def describe_age(record: Record, now: datetime.datetime) -> str:
    """``3 h 10 min old``."""
    return f"{format_duration(max(0.0, age(record, now)))} old"
