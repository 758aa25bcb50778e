# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: retention by a calendar alone. Members: two backups of a day with a DROP TABLE between them; rules of the week, month and year
by themselves; a change of summer time in spring and autumn, for daily, weekly and monthly backups; a new backup that is much smaller
than the one before, with each kind of rule."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import CALENDAR, FLOOR, Policy

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 21, 22, tzinfo=UTC)


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def stays(backups: list[Candidate], now: datetime.datetime = NOW, **option: Any) -> set[str]:
    return {item.id for item in decide(backups, Policy.from_option(option), now) if item.keep}


@pytest.mark.parametrize("rule", CALENDAR)
def test_what_is_younger_than_two_days_stays_beside_a_calendar(rule: str) -> None:
    morning, evening = Candidate("morning", at("2026-11-21T08:00"), True), Candidate("evening", NOW, True, new=True)
    old = Candidate("old", at("2026-11-19T08:00"), True)
    older = Candidate("older", at("2026-11-19T07:00"), True)
    assert {"morning", "evening"} <= stays([morning, evening, old, older], **{rule: 30})
    assert "older" not in stays([morning, evening, old, older], **{rule: 30})
    assert stays([morning, evening], **{rule: 30}, keep_within="1h") == {"evening"}


@pytest.mark.parametrize("option", [{"keep_last": 1}, {"count": 1}, {"keep_within": "1h"}, {"max_age": "1h"}, {}])
def test_what_is_asked_for_by_number_or_age_has_no_floor(option: dict[str, Any]) -> None:
    assert Policy.from_option(option).keep_within != FLOOR


def berlin(day: datetime.date, hour: int) -> datetime.datetime:
    """An hour of the clock on the wall there in 2026, in UTC, without the tables of zones that a target may lack."""
    summer = datetime.date(2026, 3, 29) <= day < datetime.date(2026, 10, 25)
    return datetime.datetime(day.year, day.month, day.day, hour, 30, tzinfo=UTC) - datetime.timedelta(hours=1 + summer)


@pytest.mark.parametrize("hour", [0, 1, 2, 23])
@pytest.mark.parametrize("last", [datetime.date(2026, 4, 2), datetime.date(2026, 10, 30)], ids=["spring", "autumn"])
def test_no_night_goes_at_a_change_of_summer_time(hour: int, last: datetime.date) -> None:
    nights = [last - datetime.timedelta(days=age) for age in range(12)]
    backups = [Candidate(str(night), berlin(night, hour), True) for night in nights]
    now = backups[0].stopped_at
    assert stays(backups, now, keep_daily=7) >= {str(night) for night in nights[:7]}
    assert stays(backups, now, keep_daily=7, keep_last=1) >= {str(night) for night in nights[:7]}


@pytest.mark.parametrize("hour", [0, 1, 2])
def test_no_week_and_no_month_goes_either(hour: int) -> None:
    mondays = [datetime.date(2026, 4, 20) - datetime.timedelta(weeks=age) for age in range(9)]
    backups = [Candidate(str(day), berlin(day, hour), True) for day in mondays]
    assert stays(backups, backups[0].stopped_at, keep_weekly=6) >= {str(day) for day in mondays[:6]}
    firsts = [datetime.date(2026, month, 1) for month in (6, 5, 4, 3, 2, 1)]
    backups = [Candidate(str(day), berlin(day, hour), True) for day in firsts]
    assert stays(backups, backups[0].stopped_at, keep_monthly=5) >= {str(day) for day in firsts[:5]}


def test_many_a_day_are_still_one_a_day() -> None:
    hours = [NOW - datetime.timedelta(hours=age) for age in range(24 * 10)]
    backups = [Candidate(str(age), moment, True) for age, moment in enumerate(hours)]
    kept = stays(backups, keep_daily=7, keep_within="1s")
    assert len(kept) == 7


RULES: list[dict[str, Any]] = [
    {"keep_last": 1},
    {"count": 1},
    {"keep_daily": 1, "keep_within": "1s"},
    {"max_age": "1s"},
]


@pytest.mark.parametrize("option", RULES, ids=str)
def test_one_that_is_much_smaller_displaces_nothing_at_once(option: dict[str, Any]) -> None:
    good = Candidate("good", at("2026-11-21T08:00"), True, kind="logical", size=1000)
    for size, left in ((499, {"good", "new"}), (500, {"new"}), (None, {"new"})):
        new = Candidate("new", NOW, True, kind="logical", size=size, new=True)
        assert stays([good, new], **option) == left
    # An incremental one is small by its nature; one that was not made by this run is no news.
    link = Candidate("new", NOW, True, kind="incremental", size=1, new=True)
    assert stays([good, link], **option) == {"new"}
    later = Candidate("new", NOW, True, kind="logical", size=1)
    assert stays([good, later], **{"keep_last": 1}) == {"new"}
    # Another scope is no measure, nor is one that was not verified.
    other = Candidate("new", NOW, True, kind="logical", size=1, new=True, group="other")
    assert stays([good, other], keep_last=1) == {"good", "new"}
    doubtful = Candidate("doubtful", at("2026-11-21T09:00"), False, kind="logical", size=1)
    small = Candidate("new", NOW, True, kind="logical", size=1, new=True)
    assert "good" in stays([good, doubtful, small], **option)
