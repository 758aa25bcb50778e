# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of cron, or a calendar of systemd, as the recurrence rule that AWX's schedules take. Pure.

Sources: RFC 5545, 3.3.10; crontab(5); systemd.time(7); AWX's ``docs/schedules.md``, which wants a DTSTART with a zone and an INTERVAL in
each rule, and refuses SECONDLY and weekdays with a number.
"""

from __future__ import annotations

import calendar
import datetime
import re
import zoneinfo
from collections.abc import Collection
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils import cron

#: of systemd, in its own order
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPELLED = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORT = tuple(name.lower() for name in _WEEKDAYS)
_NAMED = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
_UTC = ("UTC", "Etc/UTC")
_ZONE = re.compile(r"UTC|[A-Za-z_]+/[A-Za-z0-9_+/-]+")


class CannotSay(ValueError):
    """No rule says that; the text is a sentence with the line in it."""


@dataclass(frozen=True)
class _Moments:
    """What is named: ``days`` may be negative, from the month's end on; ``weekdays`` by their places in ``_WEEKDAYS``; ``either``: a day that
    one of the two names is enough (cron's way where both are restricted)."""

    minutes: Collection[int]
    hours: Collection[int]
    days: Collection[int]
    months: Collection[int]
    weekdays: Collection[int]
    either: bool = False
    second: int = 0


def rrule(line: str, timezone: str = "Etc/UTC", start: str = "2026-01-01") -> str:
    """The rule of ``line``. ``timezone``: its name in the tz database; where a calendar of systemd names one, that is it. ``start``: the first
    day, the same each time, as a rule that changes with the day is another schedule.

    Raises:
        CannotSay: no rule says that, or the line never comes due, or it cannot be read.
    """
    line = line.strip()
    fields = line.split()
    try:
        first = datetime.date.fromisoformat(start)
    except ValueError:
        raise CannotSay(f"start is {start!r}, and takes a day such as 2026-01-01.")
    if line.startswith("@") or (len(fields) == 5 and ":" not in line):
        moments = _of_cron(line)
    elif "TZ=" in fields[0] if fields else False:
        raise CannotSay(f"{line!r} names its zone itself. Give the five fields alone, and the zone as timezone.")
    elif len(fields) > 5:
        raise CannotSay(
            f"{line!r} has {len(fields)} fields, and cron's line has five, without seconds and years: 30 2 * * *."
        )
    else:
        moments, named = _of_systemd(line, fields)
        timezone = named or timezone
    known = zoneinfo.available_timezones()  # empty where the controller has no such database
    if not _ZONE.fullmatch(timezone) or (known and timezone not in known):
        raise CannotSay(f"timezone is {timezone!r}, which is no name in the tz database, such as Europe/Berlin.")
    if not _comes(moments):
        raise CannotSay(f"{line!r} names a day that never comes.")
    when = f"{first:%Y%m%d}T0000{moments.second:02}"
    since = f"DTSTART:{when}Z" if timezone in _UTC else f"DTSTART;TZID={timezone}:{when}"
    return " ".join([since, *(f"RRULE:{rule}" for rule in _rules(moments))])


def _rules(moments: _Moments) -> list[str]:
    if moments.either:
        by_month = _Moments(moments.minutes, moments.hours, moments.days, moments.months, range(7))
        by_week = _Moments(moments.minutes, moments.hours, range(1, 32), moments.months, moments.weekdays)
        return [*_rules(by_month), *_rules(by_week)]
    days, weekdays, months = len(moments.days) < 31, len(moments.weekdays) < 7, len(moments.months) < 12
    parts = []
    # Frequencies that people and AWX's form read; all parts besides are limits, so that a day has to fulfil each of them.
    if weekdays and not days and not months:
        parts.append("FREQ=WEEKLY")
    elif days and not weekdays and not months:
        parts.append("FREQ=MONTHLY")
    elif len(moments.hours) == 24 and not (days or weekdays or months):
        parts.append("FREQ=HOURLY")
    else:
        parts.append("FREQ=DAILY")
    parts.append("INTERVAL=1")
    if months:
        parts.append(_by("MONTH", moments.months))
    if days:
        parts.append(_by("MONTHDAY", moments.days))
    if weekdays:
        parts.append("BYDAY=" + ",".join(_WEEKDAYS[day][:2].upper() for day in sorted(moments.weekdays)))
    if parts[0] != "FREQ=HOURLY":
        parts.append(_by("HOUR", moments.hours))
    return [";".join([*parts, _by("MINUTE", moments.minutes)])]


def _by(what: str, numbers: Collection[int]) -> str:
    return f"BY{what}=" + ",".join(str(number) for number in sorted(numbers))


def _comes(moments: _Moments) -> bool:
    """Whether there is such a day, within 28 years: that is each date on each weekday."""
    days = (
        datetime.date(year, month, number + 1)
        for year in range(2000, 2028)
        for month in moments.months
        for number in range(calendar.monthrange(year, month)[1])
    )
    return any(_is_named(day, moments) for day in days)


def _is_named(day: datetime.date, moments: _Moments) -> bool:
    from_the_end = day.day - calendar.monthrange(day.year, day.month)[1] - 1
    by_month = day.day in moments.days or from_the_end in moments.days
    by_week = day.weekday() in moments.weekdays
    return by_month or by_week if moments.either else by_month and by_week


def _of_cron(line: str) -> _Moments:
    if line.lower() == "@reboot":
        raise CannotSay("@reboot is no time of a calendar.")
    try:
        read = cron.Fields.parse(line, cron.CRONTAB)
    except cron.Unreadable as exc:
        why = f"has the {exc}, where {exc.takes} is taken" if exc.what else "is not five fields (30 2 * * *)"
        raise CannotSay(f"{line!r} {why}.")
    weekdays = frozenset((day - 1) % 7 for day in read.weekdays)  # cron's week begins on Sunday
    return _Moments(read.minutes, read.hours, read.days, read.months, weekdays, read.either_day)


def _of_systemd(line: str, fields: list[str]) -> tuple[_Moments, str]:
    """The moments, and the zone that stands in the line, or nothing."""
    rest = (_NAMED.get(fields[0].lower(), fields[0]).split() if fields else []) + fields[1:]
    weekdays: Collection[int] = range(7)
    if rest and rest[0][0].isalpha() and not _ZONE.fullmatch(rest[0]):
        weekdays = _weekdays(line, rest.pop(0))
    date, time, zone = "*-*-*", "00:00:00", ""
    said = False
    if rest and ":" not in rest[0] and re.search(r"[-~]", rest[0]) and not rest[0][0].isalpha():
        date, said = rest.pop(0), True
    if rest and ":" in rest[0]:
        time, said = rest.pop(0), True
    if rest and _ZONE.fullmatch(rest[0]):
        zone = rest.pop(0)
    if rest or not (said or len(weekdays) < 7):
        raise CannotSay(
            f"{line!r} is neither a line of cron (30 2 * * *) nor a calendar of systemd (Mon..Fri *-*-* 02:30)."
        )
    months, days = _date(line, date)
    parts = time.split(":")
    if len(parts) not in (2, 3):
        raise CannotSay(f"{line!r} has the time {time!r}, and takes one such as 02:30.")
    seconds = _numbers(line, "second", parts[2] if len(parts) == 3 else "0", 0, 59)
    if len(seconds) != 1:
        raise CannotSay(f"{line!r} comes several times a minute, and a schedule does not.")
    hours, minutes = _numbers(line, "hour", parts[0], 0, 23), _numbers(line, "minute", parts[1], 0, 59)
    return _Moments(minutes, hours, days, months, weekdays, second=min(seconds)), zone


def _date(line: str, date: str) -> tuple[frozenset[int], frozenset[int]]:
    head, last, day = date.partition("~") if "~" in date else date.rpartition("-")
    year, _sign, month = head.rpartition("-") if "-" in head else ("*", "", head)
    if year != "*":
        raise CannotSay(f"{line!r} names the year {year!r}, and a rule has no years.")
    days = _numbers(line, "day of the month", day, 1, 31)
    if last == "~":
        days = frozenset(-number for number in days)
    return _numbers(line, "month", month, 1, 12), days


def _weekdays(line: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        ends = [name.capitalize()[:3] for name in re.split(r"\.\.|-", part)]
        strange = [name for name in re.split(r"\.\.|-", part) if name.lower() not in (*_SPELLED, *_SHORT)]
        if strange or len(ends) > 2:
            raise CannotSay(f"{line!r} has {part!r}, where a weekday is taken: Sun, Mon,Wed or Mon..Fri.")
        first, last = _WEEKDAYS.index(ends[0]), _WEEKDAYS.index(ends[-1])
        if last < first:
            raise CannotSay(f"{line!r} has {part!r}: systemd's week begins on Monday.")
        found.update(range(first, last + 1))
    return frozenset(found)


def _numbers(line: str, what: str, text: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(?:(\*)|(\d{1,2})(?:\.\.(\d{1,2}))?(?:/(\d{1,2}))?)", part)
        if match is None or match[4] in ("0", "00"):
            raise CannotSay(f"{line!r} has the {what} {part!r}, where {low} to {high} is taken, or *, 8..17, 0/15.")
        if match[1]:
            found.update(range(low, high + 1))
            continue
        first = int(match[2])
        last = int(match[3]) if match[3] else (high if match[4] else first)
        if not low <= first <= last <= high:
            raise CannotSay(f"{line!r} has the {what} {part!r}, where {low} to {high} is taken.")
        found.update(range(first, last + 1, int(match[4] or 1)))
    return frozenset(found)
