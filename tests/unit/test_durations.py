# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations and times as people write them."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration, parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("36h", 129600), ("30d", 2592000), ("4w", 2419200), ("6m", 15552000), ("1y", 31536000), ("1d12h", 129600)]
    + [("90s", 90), ("15min", 900)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text, "max_age") == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1 d", "3x", "1d-", "1.5h"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(BadOption, match="max_age"):
        parse_duration(text, "max_age")


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.44, "3.4 s"), (125, "2 min 5 s"), (7800, "2 h 10 min"), (93600, "1 d 2 h")]
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    "text", ["2026-11-21T02:45:12+01:00", "2026-11-21T01:45:12Z", "2026-11-20T20:15:12-05:30", "2026-11-21T02:45:12+01"]
)
def test_times_with_an_offset(text: str) -> None:
    assert format_time(parse_time(text, "target_time")) == "2026-11-21T01:45:12Z"


def test_a_time_without_an_offset_is_refused_with_the_way_out() -> None:
    with pytest.raises(BadOption, match="target_time.*no offset.*2026-11-21T01:45:12Z"):
        parse_time("2026-11-21T01:45:12", "target_time")


def test_what_is_no_time() -> None:
    with pytest.raises(BadOption, match="target_time"):
        parse_time("yesterday", "target_time")
