# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules over the backups themselves: how new, how large, how long, whose."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import from_the_future
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import key
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import (
    BAD,
    GOOD,
    Limits,
    Seen,
    Standing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.units import age, duration, listing, size

#: so many of the last backups of one kind are compared
RECENT = 14
#: the deviation of a normal distribution, by its median absolute deviation
_MAD = 1.4826


def newest_backup(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest good backup is too old."""
    last = standing.health.last_good
    if last is None:
        return Seen(BAD, "there is no good one", "Run the playbook backup, and look at what it says.")
    most = standing.every or limits["max_age"]
    old = (standing.now - stopped(last)).total_seconds()
    text = f"{age(old)}, at most {format_duration(most)}"
    return Seen(BAD, text, "Look at the last runs of backup.") if old > most else Seen(GOOD, text)


def size_changed(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest backup is much smaller or larger than those before."""

    def stored(record: Record) -> Optional[float]:
        own: Optional[float] = record.scope.get("stored") if not record.artifacts else record.size
        return own or None

    return _compared(standing, limits, stored, 1024 * 1024, lambda value: f"has {size(value)}")


def duration_changed(standing: Standing, limits: Limits) -> Optional[Seen]:
    """It took much longer, or less time."""

    def took(record: Record) -> Optional[float]:
        begun = parse_time(record.started_at, "started_at")
        return max((stopped(record) - begun).total_seconds(), 0.0)

    return _compared(standing, limits, took, 60, lambda value: f"took {duration(value)}")


def clocks(standing: Standing, limits: Limits) -> Optional[Seen]:
    """A backup is from the future."""
    told = [text for record in standing.order if (text := from_the_future(record, standing.now))]
    return Seen(BAD, told[-1].rstrip("."), "Let both hosts ask the same time servers.") if told else None


def one_server(standing: Standing, limits: Limits) -> Optional[Seen]:
    """Backups of several servers lie under one name, made in turn: two servers write there."""
    last = [str(record.server["system_id"]) for record in standing.order if record.server.get("system_id")]
    turns = sum(1 for one, other in zip(last, last[1:]) if one != other)
    if turns < 2:
        return None
    return Seen(
        BAD,
        f"backups of {len(set(last))} servers (system identifiers) come in turn under this name",
        "Give each server a server_name of its own.",
    )


def _compared(
    standing: Standing,
    limits: Limits,
    measure: Callable[[Record], Optional[float]],
    least: float,
    shown: Callable[[float], str],
) -> Optional[Seen]:
    """The newest backup of each scope and kind against those before it."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in standing.order:
        groups.setdefault((key(record), record.kind), []).append(record)
    newest = standing.order[-1:]
    told, seen = [], 0
    for group in groups.values():
        values = [value for record in group[-RECENT:] if (value := measure(record)) is not None]
        if (
            len(values) <= limits["backups"]
            or group[-1] not in newest
            and (standing.now - stopped(group[-1])).days > 30
        ):
            continue
        seen += 1
        off = _off(values, limits["by"])
        if off is not None and max(off) >= least:
            told.append(f"{group[-1].id} {shown(off[0])}, and those before {shown(off[1])}")
    if not seen:
        return None
    if told:
        return Seen(
            BAD,
            listing(told, 3),
            "Look at what changed on the server: rows that are gone, a table that grew, another disk.",
        )
    return Seen(GOOD, "as those before")


def _off(values: Sequence[float], by: float) -> Optional[tuple[float, float]]:
    """The last value and the median of those before, where it is off by more than a share of that, and by more than they differ by chance."""
    *before, last = values
    middle = statistics.median(before)
    spread = statistics.median([abs(value - middle) for value in before]) * _MAD
    distance = abs(last - middle)
    return (last, middle) if distance > by * middle and distance > 3 * spread else None
