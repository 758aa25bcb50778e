# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CronJob's calendar, as its controller reads it: when it is due next, and how often it was. Pure.

Sources: kubernetes.io, "CronJob" (five fields, descriptors, no TZ= within them), and the parser that the controller uses
(github.com/robfig/cron, v3: Sunday is 0 and never 7; a day matches by either field where both are restricted).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {
    3: {name: number + 1 for number, name in enumerate(_MONTHS)},
    4: {name: number for number, name in enumerate(_DAYS)},
}
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
_AS_FAR_AS = 5 * 366  # days, as the controller looks


@dataclass(frozen=True)
class Calendar:
    """The moments that five fields of cron name in a time zone; ``zone`` None: not known on this host."""

    fields: tuple[frozenset[int], ...]
    either_day: bool
    zone: Optional[datetime.tzinfo]

    @staticmethod
    def parse(text: str, time_zone: str = "Etc/UTC") -> Calendar:
        """Raises BadOption: the API server would refuse it."""
        fields = _DESCRIPTORS.get(text.strip(), text).split()
        if len(fields) != 5:
            raise BadOption(
                "schedule",
                text,
                "is no calendar of cron",
                "Write five fields, such as 30 2 * * *, and the zone in time_zone.",
            )
        sets = tuple(_field(number, field, text) for number, field in enumerate(fields))
        days_given = [not field.startswith(("*", "?")) for field in (fields[2], fields[4])]
        return Calendar(sets, all(days_given), _zone(time_zone))

    def after(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """The moments after ``moment``, in UTC. Nothing where the zone is not known."""
        if self.zone is None:
            return
        minutes, hours, days, months, weekdays = self.fields
        first = moment.astimezone(self.zone).date()
        for number in range(_AS_FAR_AS):
            day = first + datetime.timedelta(days=number)
            by_month, by_week = day.day in days, day.isoweekday() % 7 in weekdays
            if day.month not in months or not (by_month or by_week if self.either_day else by_month and by_week):
                continue
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    local = datetime.datetime.combine(day, datetime.time(hour, minute), self.zone)
                    when = local.astimezone(datetime.timezone.utc)
                    # An hour that the clocks leave out is none.
                    if when > moment and when.astimezone(self.zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                        yield when

    def next(self, moment: datetime.datetime) -> Optional[datetime.datetime]:
        """The first one after ``moment``; None: there is none within five years, or nobody knows."""
        return next(self.after(moment), None)


def _zone(name: str) -> Optional[datetime.tzinfo]:
    # "Local" and an empty one are what the API server refuses (kubernetes.io, "CronJob").
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]*", name) or name.lower() == "local":
        raise BadOption(
            "time_zone",
            name,
            "is no name of a time zone",
            "Write it as the tz database does, such as Europe/Berlin or Etc/UTC.",
        )
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.timezone.utc if name in ("UTC", "Etc/UTC") else None


def _field(number: int, text: str, calendar: str) -> frozenset[int]:
    what, low, high = _FIELDS[number]
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        ends = match and _ends(number, match["first"], match["last"], match["step"], low, high)
        if match is None or not ends or not low <= ends[0] <= ends[1] <= high or match["step"] == "0":
            way = f"It takes {low} to {high}" + (", Sunday is 0" if number == 4 else "") + ", lists, ranges and steps."
            raise BadOption("schedule", calendar, f"has the {what} {part!r}", way)
        found.update(range(ends[0], ends[1] + 1, int(match["step"] or 1)))
    return frozenset(found)


def _ends(
    number: int, first: str, last: Optional[str], step: Optional[str], low: int, high: int
) -> Optional[tuple[int, int]]:
    if first in "*?":
        return None if last else (low, high)
    ends = []
    for text in (first, last or first):
        value = _NAMED.get(number, {}).get(text.lower())
        if value is None and not text.isdigit():
            return None
        ends.append(int(text) if value is None else value)
    # 5/15 means from 5 on.
    return ends[0], high if step and last is None else ends[1]
