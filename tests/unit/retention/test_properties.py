# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for any backups and any policy: each with its own seed, so that a failure can be had again."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
SEEDS = range(100)
#: a new rule is among them at once, and fails below until its plainest reading is there
COUNTS = [item.name for item in fields(Policy) if item.name.startswith("keep_") and item.name != "keep_within"]


def some_backups(dice: random.Random) -> list[Candidate]:
    """A tenth from the future, a few pinned, unverified, of the same second, with a parent that may be missing."""
    span = dice.choice([3, 60, 900]) * 1440
    return [
        Candidate(
            f"b{number}",
            NOW - datetime.timedelta(minutes=dice.randrange(-span // 10, span)),
            dice.random() < 0.8,
            dice.random() < 0.05,
            f"b{dice.randrange(40)}" if dice.random() < 0.2 else None,
        )
        for number in range(dice.randrange(1, 40))
    ]


def some_policy(dice: random.Random) -> Policy:
    option: dict[str, Any] = {"min_keep": dice.randrange(4), "pins": [f"b{dice.randrange(60)}"]}
    if dice.random() < 0.5:
        option.update((name, dice.randrange(5)) for name in dice.sample(COUNTS, 2))
        option.update({"keep_within": "9d"} if dice.random() < 0.3 else {})
    else:
        option.update(dice.choice([{"count": 3}, {"max_age": "20d"}, {"count": 5, "max_age": "40d"}]))
    return Policy.from_option(option)


def stays(backups: list[Candidate], policy: Policy) -> set[str]:
    return {item.id for item in decide(backups, policy, NOW) if item.keep}


@pytest.fixture(params=SEEDS)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[random.Random, list[Candidate], Policy]]:
    dice = random.Random(request.param)
    yield dice, some_backups(dice), some_policy(dice)


Case = tuple[random.Random, list[Candidate], Policy]


def test_what_is_never_deleted(case: Case) -> None:
    _dice, backups, policy = case
    made = {item.id: item for item in decide(backups, policy, NOW)}
    by_id = {backup.id: backup for backup in backups}
    assert made.keys() == by_id.keys()
    assert all(item.reasons for item in made.values())
    for backup in backups:
        if backup.pinned or backup.id in policy.pins or backup.stopped_at > NOW:
            assert made[backup.id].keep
        if made[backup.id].keep and backup.parent in by_id:
            assert made[backup.parent].keep
    verified = [backup for backup in backups if backup.verified and backup.stopped_at <= NOW]
    assert sum(made[backup.id].keep for backup in verified) >= min(policy.min_keep, len(verified))


def test_the_order_of_the_list_changes_nothing(case: Case) -> None:
    dice, backups, policy = case
    assert decide(dice.sample(backups, len(backups)), policy, NOW) == decide(backups, policy, NOW)


def test_a_second_run_deletes_nothing(case: Case) -> None:
    _dice, backups, policy = case
    left = stays(backups, policy)
    assert stays([backup for backup in backups if backup.id in left], policy) == left


def test_what_is_not_trusted_displaces_nothing(case: Case) -> None:
    """One more that is not verified, or lies in the future: all that stayed and was proven stays."""
    dice, backups, policy = case
    proven = [replace(backup, parent=None) for backup in backups if backup.verified]
    before = stays(proven, policy)
    when = NOW - datetime.timedelta(minutes=dice.randrange(900 * 1440))
    assert before <= stays([*proven, Candidate("more", when, False)], policy)
    later = NOW + datetime.timedelta(minutes=dice.randrange(1, 900 * 1440))
    assert before | {"more"} == stays([*proven, Candidate("more", later, True)], policy)


def test_proven_backups_without_chains_stay_by_the_letter_of_the_rules(case: Case) -> None:
    """Against the plainest reading of each rule, on whole lists instead of one pass."""
    _dice, backups, policy = case
    ordered = sorted(
        (replace(backup, parent=None) for backup in backups if backup.verified and backup.stopped_at <= NOW),
        key=lambda backup: (backup.stopped_at, backup.id),
        reverse=True,
    )
    ids = [backup.id for backup in ordered]

    def younger(seconds: int) -> set[str]:
        return {backup.id for backup in ordered if NOW - backup.stopped_at <= datetime.timedelta(seconds=seconds)}

    wanted: set[str] = set()
    if policy.limits:
        wanted = set(ids if policy.count is None else ids[: policy.count])
        wanted &= set(ids) if policy.max_age is None else younger(policy.max_age)
    elif policy.buckets:
        wanted = set(ids[: policy.keep_last or 0]) | (younger(policy.keep_within) if policy.keep_within else set())
        for number, pattern, spacing in (
            (policy.keep_daily, "%Y-%m-%d", datetime.timedelta(hours=20)),
            (policy.keep_weekly, "%G-W%V", datetime.timedelta(days=6, hours=12)),
            (policy.keep_monthly, "%Y-%m", datetime.timedelta(days=27)),
            (policy.keep_yearly, "%Y", datetime.timedelta(days=360)),
        ):
            newest: dict[str, str] = {}
            for backup in reversed(ordered):
                newest[backup.stopped_at.strftime(pattern)] = backup.id
            chosen = sorted(newest, reverse=True)[: number or 0]
            wanted |= {newest[period] for period in chosen}
            wanted |= {
                older.id
                for newer, older in zip(ordered, ordered[1:])
                if older.stopped_at.strftime(pattern) in chosen and newer.stopped_at - older.stopped_at >= spacing
            }
    else:
        wanted = set(ids)
    wanted |= set(ids[: policy.min_keep])
    wanted |= {backup.id for backup in ordered if backup.pinned or backup.id in policy.pins}
    assert stays(ordered, policy) == wanted
