# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a calendar that is translated comes due at other times, or never. Members: cron's either-day rule, Sunday as 0 and 7, six fields, a
zone in the line, years, seconds, the month's end; systemd's weeks and ranges. What a rule means is asked of dateutil, as AWX does; what a
line means, of our own reading of cron, and of systemd itself where it is here."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.postgres.plugins.filter.rrule import FilterModule
from ansible_collections.holdfast.postgres.plugins.module_utils import cron
from ansible_collections.holdfast.postgres.plugins.plugin_utils.rrule import CannotSay, rrule

RULES = [
    ("30 2 * * *", "FREQ=DAILY;INTERVAL=1;BYHOUR=2;BYMINUTE=30"),
    ("*/15 * * * *", "FREQ=HOURLY;INTERVAL=1;BYMINUTE=0,15,30,45"),
    ("0 3 * * 0", "FREQ=WEEKLY;INTERVAL=1;BYDAY=SU;BYHOUR=3;BYMINUTE=0"),
    ("0 3 * * 7", "FREQ=WEEKLY;INTERVAL=1;BYDAY=SU;BYHOUR=3;BYMINUTE=0"),
    ("0 3 * * mon-fri", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYHOUR=3;BYMINUTE=0"),
    ("0 3 1,15 * *", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=1,15;BYHOUR=3;BYMINUTE=0"),
    ("0 3 * 1,7 *", "FREQ=DAILY;INTERVAL=1;BYMONTH=1,7;BYHOUR=3;BYMINUTE=0"),
    ("@weekly", "FREQ=WEEKLY;INTERVAL=1;BYDAY=SU;BYHOUR=0;BYMINUTE=0"),
    (
        "0 3 1 * mon",
        "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=1;BYHOUR=3;BYMINUTE=0 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;BYHOUR=3;BYMINUTE=0",
    ),
    ("daily", "FREQ=DAILY;INTERVAL=1;BYHOUR=0;BYMINUTE=0"),
    ("weekly", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;BYHOUR=0;BYMINUTE=0"),
    ("*-*-* 02:30", "FREQ=DAILY;INTERVAL=1;BYHOUR=2;BYMINUTE=30"),
    ("02:30", "FREQ=DAILY;INTERVAL=1;BYHOUR=2;BYMINUTE=30"),
    ("Sun", "FREQ=WEEKLY;INTERVAL=1;BYDAY=SU;BYHOUR=0;BYMINUTE=0"),
    ("Mon..Fri *-*-* 02:30", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYHOUR=2;BYMINUTE=30"),
    ("Mon *-*-1..7 04:00", "FREQ=DAILY;INTERVAL=1;BYMONTHDAY=1,2,3,4,5,6,7;BYDAY=MO;BYHOUR=4;BYMINUTE=0"),
    ("*-*~01 23:00", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=-1;BYHOUR=23;BYMINUTE=0"),
    ("*:0/15", "FREQ=HOURLY;INTERVAL=1;BYMINUTE=0,15,30,45"),
    ("quarterly", "FREQ=DAILY;INTERVAL=1;BYMONTH=1,4,7,10;BYMONTHDAY=1;BYHOUR=0;BYMINUTE=0"),
]


@pytest.mark.parametrize(("line", "rule"), RULES)
def test_a_line_as_a_rule(line: str, rule: str) -> None:
    assert rrule(line) == f"DTSTART:20260101T000000Z RRULE:{rule}"


@pytest.mark.parametrize(
    ("line", "zone", "since"),
    [
        ("30 2 * * *", "Europe/Berlin", "DTSTART;TZID=Europe/Berlin:20260101T000000"),
        ("30 2 * * *", "UTC", "DTSTART:20260101T000000Z"),
        ("02:30 Asia/Tokyo", "Europe/Berlin", "DTSTART;TZID=Asia/Tokyo:20260101T000000"),
        ("02:30 UTC", "Europe/Berlin", "DTSTART:20260101T000000Z"),
        ("*-*-* 02:30:15", "Etc/UTC", "DTSTART:20260101T000015Z"),
    ],
)
def test_its_zone(line: str, zone: str, since: str) -> None:
    assert rrule(line, zone).partition(" ")[0] == since


@pytest.mark.parametrize(
    ("line", "zone", "why"),
    [
        ("0 30 2 * * *", "UTC", "has 6 fields"),
        ("30 2 * * * 2026", "UTC", "has 6 fields"),
        ("0 30 2 * * ? 2026", "UTC", "has 7 fields"),
        ("CRON_TZ=Europe/Berlin 30 2 * * *", "UTC", "the zone as timezone"),
        ("TZ=UTC 30 2 * * *", "UTC", "the zone as timezone"),
        ("30 25 * * *", "UTC", "hour '25'"),
        ("30 2 31 2 *", "UTC", "never comes"),
        ("*-02-30 02:00", "UTC", "never comes"),
        ("Mon *-02-30 02:00", "UTC", "never comes"),
        ("@reboot", "UTC", "no time of a calendar"),
        ("30 2 L * *", "UTC", "day of the month 'L'"),
        ("30 2 * * 5#2", "UTC", "5#2"),
        ("30 2 * *", "UTC", "neither"),
        ("2026-12-01 02:00", "UTC", "names the year '2026'"),
        ("*-*-* 02:00:0/30", "UTC", "several times a minute"),
        ("Fri..Mon *-*-* 02:00", "UTC", "week begins on Monday"),
        ("Caturday 02:00", "UTC", "where a weekday is taken"),
        ("*-*-* */2:30", "UTC", "hour '*/2'"),
        ("*-*-* 24:30", "UTC", "hour '24'"),
        ("every night", "UTC", "where a weekday is taken"),
        ("", "UTC", "neither"),
        ("30 2 * * *", "Berlin", "no name in the tz database"),
        ("30 2 * * *", "Europe/Bärlin", "no name in the tz database"),
        ("30 2 * * *", "Mars/Olympus", "no name in the tz database"),
        ("30 2 * * *", "Europe/Berlin:2026 RRULE", "no name in the tz database"),
    ],
)
def test_what_no_rule_says(line: str, zone: str, why: str) -> None:
    with pytest.raises(CannotSay, match=re.escape(why)):
        rrule(line, zone)


def test_a_start_that_is_no_day() -> None:
    with pytest.raises(AnsibleFilterError, match="start is 'soon'"):
        FilterModule().filters()["rrule"]("@daily", start="soon")


def occurrences(rule: str, days: int) -> list[datetime.datetime]:
    """As AWX reads a rule, by dateutil, without the zone."""
    from dateutil.rrule import rrulestr  # type: ignore[import-untyped,unused-ignore]

    start = datetime.datetime(2026, 1, 1)
    naive = re.sub(r"DTSTART[^ ]*", "DTSTART:20260101T000000", rule).replace(" ", "\n")
    found = rrulestr(naive, forceset=True)
    return list(found.between(start, start + datetime.timedelta(days=days), inc=True))


@pytest.mark.parametrize(
    "line",
    [
        *(line for line, _rule in RULES if line[0] in "*@0123456789" and len(line.split()) in (1, 5) and ":" not in line),
        "59 23 31 * *", "0 0 29 2 *", "5/20 1-4 * * *", "0 */6 1-7 1,12 6", "1,2,3 4 5 6 *", "0 4 13 * fri",
    ],
)  # fmt: skip
def test_the_rule_comes_due_when_cron_does(line: str) -> None:
    fields = cron.Fields.parse(line, cron.CRONTAB)
    first, days = datetime.date(2026, 1, 1), 400
    wanted = [
        datetime.datetime.combine(day, time)
        for day in (first + datetime.timedelta(days=number) for number in range(days))
        for time in fields.on(day)
    ]
    last = datetime.datetime(2026, 1, 1) + datetime.timedelta(days=days)
    assert [when for when in occurrences(rrule(line), days) if when < last] == wanted


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(
    "line",
    ["Mon..Fri *-*-* 02:30", "Mon *-*-1..7 04:00", "*-*~03 23:00", "*:0/15", "quarterly", "Sat,Sun 0/6:05", "*-1/3-2 8..10:00"],
)  # fmt: skip
def test_the_rule_comes_due_when_systemd_does(line: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "calendar", "--base-time=2025-12-31 23:59:59", "--iterations=20", line],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ).stdout
    wanted = [datetime.datetime.fromisoformat(text) for text in re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", said)]
    assert len(wanted) == 20
    assert occurrences(rrule(line), 2500)[:20] == wanted
