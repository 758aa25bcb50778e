# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a backup is recent, and makes another one needless. Pure: one definition, for runs, facts and metrics."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import is_whole
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import CLOCKS_DIFFER, stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration


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
    if not is_whole(record, known):
        return False
    link: Optional[Record] = record
    while link is not None:
        if link.id in damaged:
            return False
        link = known[link.parent] if link.parent else None
    return True


def is_of(record: Record, system_id: Optional[str]) -> bool:
    """Whether a backup is of the server with this system identifier. Where one of the two is not known (the role may not read
    it), the name of the server in the repository is all there is to go by."""
    theirs = record.server.get("system_id")
    return theirs is None or system_id is None or str(theirs) == system_id


def describe_age(record: Record, now: datetime.datetime) -> str:
    """``3 h 10 min old``."""
    return f"{format_duration(max(0.0, age(record, now)))} old"
