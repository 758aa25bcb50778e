# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are verified, in which order, and when enough was read: tables."""

from __future__ import annotations

import datetime
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.choosing import (
    Budget,
    Candidate,
    due,
    in_turn,
    split,
)

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.timezone.utc)
DAY = 86400


def one(name: str, days: Optional[float] = None, tier: str = "disk", size: Optional[int] = 10) -> Candidate:
    return Candidate(tier, name, size, None if days is None else NOW - datetime.timedelta(days=days))


@pytest.mark.parametrize(
    ("days", "max_age", "is_due"),
    [
        (None, 7 * DAY, True), (8, 7 * DAY, True), (7, 7 * DAY, True), (6.99, 7 * DAY, False), (0, 7 * DAY, False),
        (0, None, True), (None, None, True),
        (-0.0001, 7 * DAY, False),  # a clock that is a moment ahead
        (-30, 7 * DAY, True),  # from the future: it would hold for ever
    ],
)  # fmt: skip
def test_due(days: Optional[float], max_age: Optional[float], is_due: bool) -> None:
    assert bool(due([one("b", days)], max_age, NOW)) is is_due


def test_the_oldest_proof_first_and_each_tier_in_turn() -> None:
    found = [
        one("b1", 3), one("b2", 9), one("b3"), one("b4"),
        one("c1", 20, "nfs"), one("c2", 1, "nfs"),
        one("d1", 2, "s3"),
    ]  # fmt: skip
    order = [candidate.id for candidate in in_turn(found)]
    # What was never proven goes before all, the newest backup of it first.
    assert order == ["b4", "c1", "d1", "b3", "c2", "b2", "b1"]
    assert in_turn([]) == []
    bad = Candidate("disk", "b5", 10, None, NOW - datetime.timedelta(hours=1))
    assert in_turn([bad, one("b1", 3), one("b2")]) == [one("b2"), one("b1", 3), bad]


@pytest.mark.parametrize(
    ("seconds", "limit", "sizes", "spent", "begun"),
    [
        (None, None, [5, 5, 5], 0.0, 3),
        (None, 10, [5, 5, 5], 0.0, 2),
        (None, 9, [5, 5, 5], 0.0, 1),
        (None, 1, [5, 5, 5], 0.0, 1),  # one is always read, or none ever is
        (None, 10, [5, None, 5], 0.0, 3),
        (10.0, None, [5, 5, 5], 6.0, 1),  # the second one would take as long as the first
        (12.0, None, [5, 5, 5], 6.0, 2),
        (5.0, None, [5, 1, 1], 6.0, 1),
        (5.0, None, [0, 0, 0], 3.0, 2),
    ],
)  # fmt: skip
def test_a_budget(
    seconds: Optional[float], limit: Optional[int], sizes: list[Optional[int]], spent: float, begun: int
) -> None:
    budget = Budget(seconds, limit)
    for number, size in enumerate(sizes):
        if not budget.allows(size, spent * number):
            break
        budget.took(size or 0)
    assert budget.begun == begun


def test_a_plan_says_what_is_left() -> None:
    found = [one("b1", 3), one("b2", 2, size=100), one("b3", 1)]
    planned, left = split(found, 20)
    assert [item.id for item in planned] == ["b1"] and [item.id for item in left] == ["b2", "b3"]
    assert split(found, None) == (found, [])
