# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far apart the runs of a line of cron are. Pure. Source of the rules: crontab(5)."""

from __future__ import annotations

import datetime
from typing import Optional

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LOOKED_AT = 35  # days, or more where there are no two runs in them
_MOST = 800  # days: a line that runs on a 29 February is none of a backup


def longest_gap(line: str, since: datetime.datetime) -> Optional[int]:
    """The seconds between two runs that are furthest apart, from then on; None: the five fields cannot be read, or there are no two runs."""
    try:
        minutes, hours, days, months, weekdays = (
            _field(text, *limits)
            for text, limits in zip(
                line.lower().split(),
                [(0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 7, _DAYS)],
            )
        )
        by_date, by_weekday = (text.startswith("*") for text in line.split()[2:5:2])
    except (ValueError, IndexError):
        return None
    weekdays = {day % 7 for day in weekdays}
    gap: Optional[int] = None
    last: Optional[datetime.datetime] = None
    first = since.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for number in range(_MOST):
        day = first + datetime.timedelta(days=number)
        if number >= _LOOKED_AT and gap is not None:
            break
        on_date, on_weekday = day.day in days, (day.weekday() + 1) % 7 in weekdays
        # A day that is restricted in both ways runs where either fits.
        fits = on_date and on_weekday if by_date or by_weekday else on_date or on_weekday
        if day.month not in months or not fits:
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                run = day.replace(hour=hour, minute=minute)
                if last is not None:
                    gap = max(gap or 0, int((run - last).total_seconds()))
                last = run
    return gap


def _field(text: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _slash, step = part.partition("/")
        begin, _dash, end = span.partition("-")
        if begin == "*":
            first, last = low, high
        else:
            first = _number(begin, low, names)
            last = _number(end, low, names) if end else (high if step else first)
        if not low <= first <= last <= high:
            raise ValueError(text)
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    return names.index(text) + low if text in names else int(text)
