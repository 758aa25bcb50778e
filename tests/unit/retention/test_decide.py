# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes and what stays: tables of cases, as users of restic, pgBackRest and cron scripts expect them."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


def daily(count: int) -> list[Candidate]:
    """One backup a day at noon: d0 is of now, d1 of yesterday, and so on."""
    return [Candidate(f"d{age}", ago(age), True) for age in range(count)]


def decisions(
    backups: list[Candidate], now: datetime.datetime = NOW, zone: datetime.tzinfo = UTC, **option: Any
) -> dict[str, Decision]:
    policy = Policy.from_option(option)
    if "keep_within" not in option:
        policy = replace(policy, keep_within=None)  # what comes with rules of the calendar has tests of its own
    return {item.id: item for item in decide(backups, policy, now, zone)}


def kept(
    backups: list[Candidate], now: datetime.datetime = NOW, zone: datetime.tzinfo = UTC, **option: Any
) -> list[str]:
    return [item.id for item in decisions(backups, now, zone, **option).values() if item.keep]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({}, [f"d{age}" for age in range(40)]),
        ({"pins": ["d3"], "min_keep": 2}, [f"d{age}" for age in range(40)]),
        ({"keep_last": 0, "keep_daily": 0}, [f"d{age}" for age in range(40)]),
        ({"keep_last": 3}, ["d0", "d1", "d2"]),
        ({"keep_last": 99}, [f"d{age}" for age in range(40)]),
        ({"keep_within": "2d"}, ["d0", "d1", "d2"]),
        ({"keep_daily": 2}, ["d0", "d1"]),
        # the ISO week of this Saturday begins at d5, the one before ends at d6
        ({"keep_weekly": 3}, ["d0", "d6", "d13"]),
        ({"keep_monthly": 2}, ["d0", "d21"]),
        ({"keep_yearly": 5}, ["d0"]),
        ({"keep_last": 1, "keep_monthly": 2}, ["d0", "d21"]),
        # restic and most guides: 3 days, 2 weeks, 2 months; one backup may serve several rules
        ({"keep_daily": 3, "keep_weekly": 2, "keep_monthly": 2}, ["d0", "d1", "d2", "d6", "d21"]),
        # ls -t | tail -n +3 | xargs rm
        ({"count": 2}, ["d0", "d1"]),
        # find -mtime +3 -delete
        ({"max_age": "3d"}, ["d0", "d1", "d2", "d3"]),
        ({"count": 10, "max_age": "1d"}, ["d0", "d1"]),
        ({"count": 1, "max_age": "9d"}, ["d0"]),
        ({"count": 1, "min_keep": 3}, ["d0", "d1", "d2"]),
        ({"count": 1, "pins": ["d30"]}, ["d0", "d30"]),
        ({"count": 1, "pins": ["nobody"]}, ["d0"]),
    ],
)
def test_rules(option: dict[str, Any], expected: list[str]) -> None:
    assert kept(daily(40), **option) == expected


def test_days_without_a_backup_do_not_count() -> None:
    """The example of restic's manual: a backup each Sunday, and --keep-daily 4 keeps the last four Sundays."""
    sundays = [
        Candidate(day.date().isoformat(), day, True)
        for day in (at("2014-09-07T10:00") + datetime.timedelta(weeks=week) for week in range(12))
    ]
    assert kept(sundays, at("2014-11-24T00:00"), keep_daily=4) == [
        "2014-11-23",
        "2014-11-16",
        "2014-11-09",
        "2014-11-02",
    ]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        # the last days of December may be of the first week of the next year, and the first of January of the last
        (["2024-12-30T01:00", "2025-01-05T01:00"], ["2025-01-05T01:00"]),
        (["2027-01-03T01:00", "2026-12-28T01:00"], ["2027-01-03T01:00"]),
        (["2027-01-04T01:00", "2027-01-03T01:00"], ["2027-01-04T01:00", "2027-01-03T01:00"]),
    ],
)
def test_weeks_are_those_of_iso(moments: list[str], expected: list[str]) -> None:
    assert (
        kept([Candidate(text, at(text), True) for text in moments], at("2028-01-01T00:00"), keep_weekly=9) == expected
    )


def test_days_are_those_of_the_zone() -> None:
    backups = [Candidate("late", at("2026-11-20T23:30"), True), Candidate("early", at("2026-11-20T22:30"), True)]
    assert kept(backups, keep_daily=9) == ["late"]
    assert kept(backups, zone=datetime.timezone(datetime.timedelta(hours=1)), keep_daily=9) == ["late", "early"]
    elsewhere = [
        Candidate("same", backups[0].stopped_at.astimezone(datetime.timezone(datetime.timedelta(hours=9))), True)
    ]
    assert kept([*elsewhere, backups[1]], keep_daily=9) == ["same"]


def test_the_newest_of_a_day_stays() -> None:
    backups = [Candidate("morning", NOW.replace(hour=6), True), Candidate("noon", NOW.replace(hour=11), True)]
    assert kept(backups, keep_daily=7) == ["noon"]


def test_of_equal_times_the_same_one_always_stays() -> None:
    twins = [Candidate("a", NOW, True), Candidate("b", NOW, True)]
    assert kept(twins, keep_last=1) == kept(twins[::-1], keep_last=1) == ["b"]
    assert kept([Candidate("a", NOW, True, new=True), twins[1]], keep_last=1) == ["a"]


@pytest.mark.parametrize(
    ("option", "backup", "reasons"),
    [
        ({}, "d0", ("no retention rule is set",)),
        ({"keep_last": 3}, "d1", ("number 2 from the newest (keep_last 3)",)),
        ({"keep_last": 3}, "d3", ("not among the newest 3 (keep_last)",)),
        ({"keep_within": "36h"}, "d1", ("within keep_within 1 d 12 h",)),
        ({"keep_weekly": 4}, "d6", ("the newest of 2026-W46 (keep_weekly 2 of 4)",)),
        ({"keep_weekly": 4}, "d7", ("not the newest of 2026-W46 (keep_weekly)",)),
        ({"keep_monthly": 1}, "d21", ("older than the newest 1 that have one (keep_monthly)",)),
        (
            {"keep_daily": 1, "keep_yearly": 1},
            "d0",
            ("the newest of 2026-11-21 (keep_daily 1 of 1)", "the newest of 2026 (keep_yearly 1 of 1)"),
        ),
        (
            {"keep_last": 1, "keep_within": "1d"},
            "d5",
            ("not among the newest 1 (keep_last)", "older than keep_within 1 d"),
        ),
        # of the guides' rule, what is exceeded
        ({"count": 2, "max_age": "30d"}, "d5", ("not among the newest 2 (count)",)),
        ({"count": 20, "max_age": "3d"}, "d5", ("older than max_age 3 d",)),
        ({"count": 20, "max_age": "3d"}, "d1", ("number 2 from the newest (count 20)", "within max_age 3 d")),
        ({"count": 1, "pins": ["d9"]}, "d9", ("pinned",)),
        ({"count": 1, "min_keep": 2}, "d1", ("min_keep 2: number 2 of the verified, from the newest",)),
    ],
)
def test_reasons(option: dict[str, Any], backup: str, reasons: tuple[str, ...]) -> None:
    assert decisions(daily(40), **option)[backup].reasons == reasons


def test_all_that_is_old_never_goes_entirely() -> None:
    old = [Candidate(f"o{age}", ago(900 + age), True) for age in range(5)]
    assert kept(old, max_age="30d") == ["o0"]
    assert kept(old, keep_within="30d", min_keep=2) == ["o0", "o1"]
    assert kept(old, max_age="30d", min_keep=0) == []


def test_pinned_stays() -> None:
    assert kept([*daily(3), Candidate("release", ago(99), True, pinned=True)], count=1) == ["d0", "release"]


# Not verified


def test_an_unverified_backup_satisfies_no_rule() -> None:
    doubtful = Candidate("doubtful", ago(0.1), False)
    assert kept([*daily(3)[1:], doubtful], keep_last=1) == ["doubtful", "d1"]
    assert kept([doubtful, *daily(3)], keep_last=1) == ["d0"]
    assert decisions([doubtful, *daily(3)], keep_last=1)["doubtful"].reasons == (
        "not verified",
        "not among the newest 1 (keep_last)",
    )


def test_an_unverified_backup_stays_where_a_rule_would_want_it() -> None:
    """The only backup of its day may be good: it stays as long as it would if it were proven."""
    backups = [backup if backup.id != "d2" else Candidate("d2", ago(2), False) for backup in daily(9)]
    assert kept(backups, keep_daily=4) == ["d0", "d1", "d2", "d3", "d4"]
    assert kept(backups, max_age="3d") == ["d0", "d1", "d2", "d3"]
    assert kept(backups, keep_daily=2) == ["d0", "d1"]


def test_nothing_unverified_goes_while_too_little_is_verified() -> None:
    backups = [Candidate(f"u{age}", ago(100 + age), False) for age in range(4)]
    assert kept(backups, keep_last=1) == ["u0", "u1", "u2", "u3"]
    verified = Candidate("good", ago(50), True)
    assert kept([*backups, verified], max_age="9d", min_keep=2) == ["good", "u0", "u1", "u2", "u3"]
    assert kept([*backups, verified], max_age="9d", min_keep=1) == ["good"]
    assert kept([*backups[1:], Candidate("good", ago(101), True)], max_age="9d") == ["u1", "good"]


# Chains, as those of pgBackRest: a full backup and what depends on it


def chain(*links: tuple[str, float, Optional[str]]) -> list[Candidate]:
    return [Candidate(name, ago(days), True, parent=parent) for name, days, parent in links]


def test_what_a_kept_backup_needs_stays() -> None:
    backups = chain(("full", 3, None), ("diff", 2, "full"), ("incr", 1, "diff"), ("other", 2.5, "full"))
    made = decisions(backups, keep_last=1)
    assert [item.id for item in made.values() if item.keep] == ["incr", "diff", "full"]
    assert made["diff"].reasons == ("needed by incr",)
    assert made["full"].reasons == ("needed by diff",)


def test_a_full_goes_with_all_that_needs_it() -> None:
    backups = chain(("f1", 20, None), ("i1", 19, "f1"), ("f2", 10, None), ("i2", 9, "f2"), ("f3", 1, None))
    assert kept(backups, max_age="15d") == ["f3", "i2", "f2"]


@pytest.mark.parametrize(
    "broken",
    [
        chain(("orphan", 0, "gone")),
        chain(("egg", 0, "hen"), ("hen", 0.1, "egg")),
        [Candidate("child", ago(0), True, parent="full"), Candidate("full", ago(0.1), False)],
    ],
    ids=["missing", "a circle", "not verified"],
)
def test_a_broken_chain_displaces_nothing_and_is_not_deleted_when_newest(broken: list[Candidate]) -> None:
    made = decisions([*broken, *chain(("good", 5, None), ("old", 6, None))], keep_last=1)
    assert {item.id for item in made.values() if item.keep} == {"good", *(backup.id for backup in broken)}


def test_a_broken_chain_says_so_when_it_goes() -> None:
    made = decisions([*daily(3), *chain(("orphan", 9, "gone"))], keep_last=1)
    assert not made["orphan"].keep
    assert made["orphan"].reasons[0] == "what it needs is missing or not verified"


# Clocks


@pytest.mark.parametrize("option", [{"max_age": "1d"}, {"keep_within": "1d"}, {"count": 1}, {"keep_daily": 1}])
def test_a_clock_set_back_lets_nothing_expire(option: dict[str, Any]) -> None:
    assert kept(daily(5), now=ago(400), **option) == [f"d{age}" for age in range(5)]


def test_after_a_clock_set_back_new_backups_count_among_themselves() -> None:
    backups = [*daily(3), *(Candidate(f"n{age}", ago(400 + age), True) for age in range(4))]
    assert kept(backups, now=ago(400), keep_last=2) == ["d0", "d1", "d2", "n0", "n1"]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"keep_last": 1}, ["future", "d0"]),
        ({"count": 2}, ["future", "d0", "d1"]),
        ({"keep_yearly": 1}, ["future", "d0"]),
        ({"max_age": "2d"}, ["future", "d0", "d1", "d2"]),
        ({"keep_within": "2d", "min_keep": 4}, ["future", "d0", "d1", "d2", "d3"]),
    ],
)
def test_a_backup_from_the_future_costs_no_other_its_place(option: dict[str, Any], expected: list[str]) -> None:
    future = Candidate("future", NOW.replace(year=2040), True)
    made = decisions([future, *daily(9)], **option)
    assert [item.id for item in made.values() if item.keep] == expected
    assert made["future"].reasons == (
        "from the future (2040-11-21T12:00:00Z): a clock is or was wrong, so no rule counts it",
    )


def test_a_run_never_deletes_what_it_made() -> None:
    own = Candidate("own", ago(3), True, new=True)
    made = decisions([own, *daily(5)], keep_last=1)
    assert [item.id for item in made.values() if item.keep] == ["d0", "own"]
    assert made["own"].reasons == ("made by this run",)
    assert kept([Candidate("own", ago(900), True, new=True)], max_age="1d", min_keep=0) == ["own"]


def test_durations_beyond_the_calendar() -> None:
    assert kept(daily(3), keep_within="999999999999y") == ["d0", "d1", "d2"]


@pytest.mark.parametrize("shape", ["one full", "one long chain", "no chain"])
def test_very_many_backups(shape: str) -> None:
    """Quadratic work would take minutes; the limit leaves room for slow machines."""
    count = 100_000
    parents = {"one full": str(count - 1), "no chain": None}
    backups = [
        Candidate(str(age), ago(age / 24), age % 10 != 1, parent=parents.get(shape, str(age + 1)))
        for age in range(count - 1)
    ]
    backups.append(Candidate(str(count - 1), ago(count / 24), True))
    began = time.process_time()
    made = decisions(backups, keep_last=count, keep_daily=7, keep_monthly=12)
    assert time.process_time() - began < 10
    assert len(made) == count
    assert max(len(item.reasons) for item in made.values()) <= 4


def test_groups_never_displace_each_other() -> None:
    """A backup of one database takes no other one's place, however old; min_keep holds for each."""
    shop = [Candidate(f"shop{age}", ago(100 + age), True, group="shop") for age in range(3)]
    other = [Candidate(f"other{age}", ago(age), True, group="other") for age in range(3)]
    assert kept([*shop, *other], keep_last=1) == ["other0", "shop0"]
    assert kept([*shop, *other], max_age="10d") == ["other0", "other1", "other2", "shop0"]
    assert kept([*shop, *other], count=2) == ["other0", "other1", "shop0", "shop1"]
    assert kept([*shop, *other], keep_yearly=1) == ["other0", "shop0"]
