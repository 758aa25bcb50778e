# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes, durations, ages and lists as people read them. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time

SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def size(number: float) -> str:
    """412 MiB"""
    power = 0
    while power < len(SIZES) - 1 and round(number) >= 1000:
        number, power = number / 1024, power + 1
    return f"{number:.1f} {SIZES[power]}" if power and number < 9.95 else f"{number:.0f} {SIZES[power]}"


def duration(seconds: float) -> str:
    """1 h 05 min; less than a second is one."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def took(seconds: float) -> str:
    """4.2 s: how long a run took, with a digit more where it is short."""
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def rate(number: float, seconds: float) -> str:
    """44 MiB/s"""
    return f"{size(number / max(seconds, 0.001))}/s"


def age(seconds: float) -> str:
    """4 h ago, in the largest unit that is at least 2; what is to come is "in the future", as a clock is wrong then."""
    if seconds < -1:
        return f"{age(-seconds)[:-4]} in the future"
    for length, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{max(seconds, 0):.0f} s ago"


def moment(when: datetime.datetime, now: datetime.datetime) -> str:
    """21 Nov 02:31 UTC; of another year 21 Nov 2025."""
    there = when.astimezone(datetime.timezone.utc)
    year = "" if there.year == now.astimezone(datetime.timezone.utc).year else f" {there.year}"
    return f"{there.day} {_MONTHS[there.month - 1]}{year} {there:%H:%M} UTC"


def when(text: object, now: datetime.datetime) -> str:
    """``moment`` of a time as records have it; what is none is said to be unknown."""
    there = known_time(text)
    return moment(there, now) if there else "an unknown time"


def ago(text: object, now: datetime.datetime) -> str:
    """``age`` of the same."""
    there = known_time(text)
    return age((now - there).total_seconds()) if there else "an unknown time"


def known_time(text: object) -> Optional[datetime.datetime]:
    """A time as records have it; None: it is none."""
    try:
        return parse_time(str(text), "time") if text else None
    except HoldfastError:
        return None


def count(number: int, noun: str, plural: str = "") -> str:
    """3 backups, 1 backup, no backups"""
    many = plural or f"{noun}s"
    return f"{number or 'no'} {noun if number == 1 else many}"


def listing(names: Sequence[str], most: int = 5) -> str:
    """a, b and c; of many the first, and how many more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns one below the other, the first row as their heads."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
