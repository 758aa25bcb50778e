# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a standby, by what was seen of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.watch import problems

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
