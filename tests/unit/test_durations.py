# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them, and as they read them."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration, parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15min", 900),
        ("36h", 129600),
        ("30d", 2592000),
        ("4w", 2419200),
        ("6m", 15552000),
        ("1y", 31536000),
        ("1d12h", 129600),
        ("2h30min", 9000),
        ("1y6m", 47088000),
        ("1m2w", 3801600),
        ("1y2m3w4d", 38880000),
        ("1h5s", 3605),
        ("0d12h", 43200),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text, "max_age") == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "30", "d", "0d", "0h0s", "-1d", "+1d", "1 d", "3x", "1d-", "1.5h", "1D", "30 days", "P1D", "1d\n", "٣d"]
    # m is a month, but not for whoever writes these
    + ["2h30m", "1m30s", "1m12h", "5m1min"]
    # each unit once, the longest first
    + ["12h1d", "1d1d"],
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(BadOption) as caught:
        parse_duration(text, "max_age")
    assert str(caught.value).startswith(f"max_age: {text!r} is not a duration")
    assert "36h" in str(caught.value) and "min (minutes)" in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (3.44, "3.4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3599.7, "1 h"),
        (7200, "2 h"),
        (7205, "2 h"),
        (7800, "2 h 10 min"),
        (86399.6, "1 d"),
        (93600, "1 d 2 h"),
        (2592000, "30 d"),
    ],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
