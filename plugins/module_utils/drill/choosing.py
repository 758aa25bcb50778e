# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup is drilled, out of which tier, to which moment. Pure."""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import PASS, Drill, in_order as in_time
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import (
    LATEST_BACKUP,
    OLDEST_UNPROVEN,
    RANDOM,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time


def choose(
    records: Sequence[Record], select: str, proven: Mapping[str, Drill], chance: random.Random, where: str
) -> tuple[Record, str]:
    """The backup, and why it is this one. ``proven``: the last drill of each that proved it.

    Raises:
        CatalogError: there is none, or none of that id.
    """
    order = in_order(records)
    if not order:
        raise CatalogError(f"There is no backup in {where} that could be drilled.")
    if select == LATEST_BACKUP:
        return order[-1], "it is the newest"
    if select == RANDOM:
        return chance.choice(order), f"it was drawn by chance out of {len(order)}"
    if select == OLDEST_UNPROVEN:
        unproven = [record for record in order if record.id not in proven]
        if unproven:
            return unproven[0], f"it is the oldest of {len(unproven)} that no drill has proven"
        oldest = min(order, key=lambda record: proven[record.id].number)
        return (
            oldest,
            f"all {len(order)} were proven by drills, and its drill is the longest ago ({proven[oldest.id].at})",
        )
    found = [record for record in order if record.id == select]
    if not found:
        newest = ", ".join(record.id for record in order[-5:])
        raise CatalogError(
            f"There is no backup {select!r} in {where} that could be drilled. The newest are {newest}. The module holdfast.postgres.backup_facts "
            "lists all."
        )
    return found[0], "it was named"


def next_tier(names: Sequence[str], last: Mapping[str, Optional[Drill]]) -> str:
    """Each tier in its turn: the one whose last drill, however that ended, is the longest ago; one that was never drilled comes first."""
    return min(names, key=lambda name: (_at(last.get(name)), names.index(name)))


def _at(drill: Optional[Drill]) -> str:
    return "" if drill is None else drill.at


def newest(chains: Mapping[str, Sequence[Drill]], now: datetime.datetime, max_age: int) -> Optional[tuple[str, Drill]]:
    """The last drill of all, with the name of its tier, if it passed, and that is no longer ago than ``max_age`` seconds; None: another one is due.
    One from the future counts for nothing, and one that failed since makes an earlier pass worth nothing."""
    drills = in_time(chains)
    if not drills or drills[-1][1].verdict != PASS:
        return None
    age = (now - parse_time(drills[-1][1].at, "at")).total_seconds()
    return drills[-1] if 0 <= age <= max_age else None


def moment(start: datetime.datetime, end: datetime.datetime, chance: random.Random) -> datetime.datetime:
    """A moment by chance between two, to the microsecond."""
    span = max(int((end - start).total_seconds() * 1_000_000), 0)
    return start + datetime.timedelta(microseconds=chance.randint(0, span))
