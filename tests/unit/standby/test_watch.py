# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a standby, by what was seen of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.watch import age_of, lagging, problems, told

WELL: dict[str, Any] = {
    "in_recovery": True,
    "connects": True,
    "receiver": {"status": "streaming"},
    "replay": "not paused",
    "slot": {"name": "s", "wal_status": "reserved"},
    "lag_bytes": 10,
    "lag_seconds": 2.5,
}


@pytest.mark.parametrize(
    ("change", "words"),
    (
        ({}, None),
        ({"slot": None}, None),
        ({"connects": False, "receiver": None}, None),
        ({"receiver": None}, "no WAL receiver"),
        ({"receiver": {"status": "waiting"}}, "not streaming, but waiting"),
        ({"receiver": {"status": None}}, None),
        ({"replay": "pause requested"}, "replay is paused"),
        ({"replay": "paused", "smaller": ["max_connections"]}, "less than the primary of max_connections"),
        ({"slot": {"name": "s", "wal_status": "missing"}}, "'s' is not on the primary"),
        ({"slot": {"name": "s", "wal_status": "lost"}}, "wal_status lost"),
        ({"lag_bytes": 11}, "lags by 11 bytes, and 10 are allowed"),
        ({"lag_seconds": 3.1}, "lags by 3 seconds, and 3 are allowed"),
        ({"lag_seconds": None}, "unknown number of seconds"),
        ({"in_recovery": False}, "no standby"),
    ),
)
def test_problems(change: dict[str, Any], words: str | None) -> None:
    found = problems({**WELL, **change}, 10, 3.0)
    assert found == [] if words is None else len(found) == 1 and words in found[0]


def test_without_limits_lag_is_none() -> None:
    assert problems({**WELL, "lag_bytes": 10**12, "lag_seconds": None}, None, None) == []


@pytest.mark.parametrize(("accept", "found"), ((False, 2), (True, 0)))
def test_an_unknown_lag_is_more_than_any_limit(accept: bool, found: int) -> None:
    assert len(lagging({"lag_bytes": None, "lag_seconds": None}, 10**12, 10**9, accept)) == found


@pytest.mark.parametrize(
    ("receiver", "expected"),
    (
        (None, None),
        ({"status": "streaming", "silent_seconds": 1.0, "latest_end_lsn": "0/3"}, "0/3"),
        ({"status": "streaming", "silent_seconds": 500.0, "latest_end_lsn": "0/3"}, None),
        ({"status": "waiting", "silent_seconds": 1.0, "latest_end_lsn": "0/3"}, None),
        ({"status": None, "silent_seconds": None, "latest_end_lsn": None}, None),  # the role may not see it
    ),
)
def test_what_the_primary_told(receiver: dict[str, Any] | None, expected: str | None) -> None:
    assert told(receiver) == expected


@pytest.mark.parametrize(("age", "expected"), ((None, None), (3.0, 3.0), (-0.5, 0.0), (-30.0, None)))
def test_clocks_that_differ(age: float | None, expected: float | None) -> None:
    """The standby's clock is behind: the last transaction lies in the future. Before: -30 seconds of lag, less than any limit."""
    assert age_of(age) == expected
