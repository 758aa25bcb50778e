# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Five fields of cron: on which days and at which minutes they are due, and how far apart. Pure.

Sources: crontab(5); kubernetes.io, "CronJob", and the parser that its controller uses (github.com/robfig/cron, v3). They differ in what a
``Dialect`` says, and in nothing else.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {
    3: {name: number + 1 for number, name in enumerate(_MONTHS)},
    4: {name: number for number, name in enumerate(_DAYS)},
}
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
#: of a line that would never run
NEVER = "names a day that never comes"
_LOOKED_AT = 35  # days, or more where there are no two runs in them
_MOST = 800  # days: a line that runs on a 29 February is none of a backup


class Unreadable(ValueError):
    """These are no five fields. ``part`` is what cannot be read, ``what`` it is of; empty where their number is wrong."""

    def __init__(self, what: str = "", part: str = "", takes: str = "") -> None:
        super().__init__(f"{what} {part!r}" if what else "not five fields")
        self.what, self.part, self.takes = what, part, takes


@dataclass(frozen=True)
class Dialect:
    """Whose rules: ``last_weekday``: 6, or 7 where Sunday is 0 and 7; ``any_signs``: what stands for all; ``descriptors``: such as @daily."""

    last_weekday: int
    any_signs: str
    descriptors: Mapping[str, str] = field(default_factory=dict)


_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
CRONTAB = Dialect(7, "*", _DESCRIPTORS)
CRON_JOB = Dialect(6, "*?", _DESCRIPTORS)


@dataclass(frozen=True)
class Fields:
    """The numbers that each field names. ``either_day``: both days are restricted, and it is due where either fits."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @staticmethod
    def parse(text: str, dialect: Dialect) -> Fields:
        """Raises Unreadable."""
        fields = dialect.descriptors.get(text.strip(), text).split()
        if len(fields) != 5:
            raise Unreadable
        minutes, hours, days, months, weekdays = (_field(number, one, dialect) for number, one in enumerate(fields))
        restricted = [not one.startswith(tuple(dialect.any_signs)) for one in (fields[2], fields[4])]
        return Fields(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), all(restricted))

    def on(self, day: datetime.date) -> list[datetime.time]:
        """When it is due on a day, in order; nothing where it is not."""
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if day.month not in self.months or not (by_month or by_week if self.either_day else by_month and by_week):
            return []
        return [datetime.time(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]

    def ever(self) -> bool:
        """Whether there is a day at all: there is none such as 30 February."""
        # In 28 years each date falls on each day of the week.
        days = (datetime.date(2024, 1, 1) + datetime.timedelta(days=number) for number in range(28 * 366))
        return any(self.on(day) for day in days)

    def longest_gap(self, since: datetime.datetime) -> Optional[int]:
        """The seconds between two runs that are furthest apart, from then on; None: there are no two."""
        gap: Optional[int] = None
        last: Optional[datetime.datetime] = None
        for number in range(_MOST):
            if number >= _LOOKED_AT and gap is not None:
                break
            day = since.date() + datetime.timedelta(days=number)
            for when in self.on(day):
                run = datetime.datetime.combine(day, when)
                if last is not None:
                    gap = max(gap or 0, int((run - last).total_seconds()))
                last = run
        return gap


def longest_gap(line: str, since: datetime.datetime) -> Optional[int]:
    """``Fields.longest_gap`` of a line of cron; None as well where it cannot be read."""
    try:
        return Fields.parse(line, CRONTAB).longest_gap(since)
    except Unreadable:
        return None


def problem(line: str) -> str:
    """Why cron would never run such a line; empty where it would. It passes over what it cannot read, and tells its log alone."""
    try:
        fields = Fields.parse(line, CRONTAB)
    except Unreadable as exc:
        return f"has the {exc}, where {exc.takes} is taken" if exc.what else "is not five fields (30 2 * * *)"
    return "" if fields.ever() else NEVER


def _field(number: int, text: str, dialect: Dialect) -> frozenset[int]:
    what, low, high = (
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of the month", 1, 31),
        ("month", 1, 12),
        ("day of the week", 0, dialect.last_weekday),
    )[number]
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        ends = match and _ends(match, _NAMED.get(number, {}), low, high, dialect)
        if match is None or not ends or not low <= ends[0] <= ends[1] <= high or match["step"] == "0":
            takes = f"{low} to {high}" + (", Sunday is 0" if number == 4 and dialect.last_weekday == 6 else "")
            raise Unreadable(what, part, takes)
        found.update(range(ends[0], ends[1] + 1, int(match["step"] or 1)))
    return frozenset(found)


def _ends(
    match: re.Match[str], named: Mapping[str, int], low: int, high: int, dialect: Dialect
) -> Optional[tuple[int, int]]:
    first, last = match["first"], match["last"]
    if first in ("*", "?"):
        return None if last or first not in dialect.any_signs else (low, high)
    ends = []
    for text in (first, last or first):
        value = named.get(text.lower())
        if value is None and not (text.isascii() and text.isdigit()):
            return None
        ends.append(int(text) if value is None else value)
    # 5/15 means from 5 on.
    return ends[0], high if match["step"] and last is None else ends[1]
