# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes and what stays: a table of cases, and properties that hold for any backups."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)


def daily(count: int, **options: Any) -> list[Candidate]:
    """One backup a day at noon: d0 is of now, d1 of yesterday, and so on."""
    return [Candidate(f"d{age}", NOW - datetime.timedelta(days=age), True, **options) for age in range(count)]


def kept(backups: list[Candidate], now: datetime.datetime = NOW, **option: Any) -> list[str]:
    return [decision.id for decision in decide(backups, Policy.from_option(option), now) if decision.keep]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({}, [f"d{age}" for age in range(40)]),
        ({"keep_last": 3}, ["d0", "d1", "d2"]),
        ({"keep_within": "2d"}, ["d0", "d1", "d2"]),
        ({"keep_daily": 2}, ["d0", "d1"]),
        # 2026-11-21 is a Saturday: its ISO week begins at d5, the one before ends at d6
        ({"keep_weekly": 3}, ["d0", "d6", "d13"]),
        ({"keep_monthly": 2}, ["d0", "d21"]),
        ({"keep_yearly": 5}, ["d0"]),
        ({"keep_last": 1, "keep_monthly": 2}, ["d0", "d21"]),
        ({"count": 2}, ["d0", "d1"]),
        ({"max_age": "3d"}, ["d0", "d1", "d2", "d3"]),
        ({"count": 10, "max_age": "1d"}, ["d0", "d1"]),
        ({"count": 1, "max_age": "9d"}, ["d0"]),
        ({"count": 1, "min_keep": 3}, ["d0", "d1", "d2"]),
        ({"count": 1, "pins": ["d30"]}, ["d0", "d30"]),
    ],
)
def test_rules(option: dict[str, Any], expected: list[str]) -> None:
    assert kept(daily(40), **option) == expected


def test_the_newest_of_a_day_stays() -> None:
    morning = Candidate("morning", NOW.replace(hour=6), True)
    evening = Candidate("evening", NOW.replace(hour=11), True)
    assert kept([morning, evening], keep_daily=7) == ["evening"]


def test_an_unverified_backup_satisfies_no_rule() -> None:
    doubtful = Candidate("doubtful", NOW - datetime.timedelta(hours=1), False)
    assert kept([*daily(3)[1:], doubtful], keep_last=1) == ["doubtful", "d1"]
    assert kept([doubtful, *daily(3)], keep_last=1) == ["d0"]


def test_all_that_is_old_never_goes_entirely() -> None:
    old = [Candidate(backup.id, backup.stopped_at - datetime.timedelta(days=900), True) for backup in daily(5)]
    assert kept(old, max_age="30d") == ["d0"]
    assert kept(old, keep_within="30d", min_keep=2) == ["d0", "d1"]


def test_what_a_kept_backup_needs_stays() -> None:
    full = Candidate("full", NOW - datetime.timedelta(days=3), True)
    middle = Candidate("middle", NOW - datetime.timedelta(days=2), True, parent="full")
    last = Candidate("last", NOW, True, parent="middle")
    decisions = {item.id: item for item in decide([full, middle, last], Policy.from_option({"keep_last": 1}), NOW)}
    assert all(item.keep for item in decisions.values())
    assert decisions["full"].reasons == ("needed by middle",)


def test_pinned_stays() -> None:
    assert kept([*daily(3), Candidate("release", NOW - datetime.timedelta(days=99), True, True)], count=1) == [
        "d0",
        "release",
    ]


def test_a_clock_set_back_lets_nothing_expire() -> None:
    assert kept(daily(5), now=NOW - datetime.timedelta(days=400), max_age="1d") == [f"d{age}" for age in range(5)]


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"keep_last": 1, "count": 2}, "retention"),
        ({"keep_last": -1}, "retention.keep_last"),
        ({"count": 0}, "retention.count"),
        ({"keep_within": "soon"}, "retention.keep_within"),
        ({"max_age": "3"}, "retention.max_age"),
    ],
)
def test_bad_policies_name_the_option(option: dict[str, Any], named: str) -> None:
    with pytest.raises(BadOption) as caught:
        Policy.from_option(option)
    assert caught.value.option == named


def test_properties_of_any_backups() -> None:
    dice = random.Random(20261121)
    for _round in range(300):
        backups = [
            Candidate(
                f"b{number}",
                NOW - datetime.timedelta(minutes=dice.randrange(900 * 1440)),
                dice.random() < 0.9,
                dice.random() < 0.05,
                f"b{dice.randrange(number)}" if number and dice.random() < 0.3 else None,
            )
            for number in range(dice.randrange(1, 30))
        ]
        least = dice.randrange(4)
        option: dict[str, Any] = {"min_keep": least, dice.choice(["keep_last", "keep_weekly", "count"]): 2}
        decisions = {item.id: item for item in decide(backups, Policy.from_option(option), NOW)}
        by_id = {backup.id: backup for backup in backups}
        assert decisions.keys() == by_id.keys()
        stays = [by_id[item.id] for item in decisions.values() if item.keep]
        verified = [backup for backup in backups if backup.verified]
        assert len([backup for backup in stays if backup.verified]) >= min(least, len(verified))
        assert all(decisions[backup.parent].keep for backup in stays if backup.parent)
        assert all(decisions[backup.id].keep for backup in backups if backup.pinned)
        assert all(item.reasons for item in decisions.values())
