# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times: with an offset, or refused; the same ones with every Python."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time, utcnow


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T01:45:12Z",
        "2026-11-21t01:45:12z",
        "2026-11-21T02:45:12+01:00",
        "2026-11-21T02:45:12+0100",
        "2026-11-21T02:45:12+01",
        "2026-11-20T20:15:12-05:30",
        " 2026-11-21 01:45:12 Z ",
        # as PostgreSQL writes them
        "2026-11-21 02:45:12+01",
        "2026-11-21 01:45:12.34567+00",
        "2026-11-21T01:45:12.123456789Z",
        "2026-11-21T01:45:12,5Z",
    ],
)
def test_times_with_an_offset(text: str) -> None:
    moment = parse_time(text, "target_time")
    assert moment.utcoffset() == datetime.timedelta(0)
    assert format_time(moment) == "2026-11-21T01:45:12Z"


def test_fractions_are_read_to_the_microsecond_and_written_without() -> None:
    moment = parse_time("2026-11-21T01:45:59.9999999Z", "target_time")
    assert moment.microsecond == 999999
    assert format_time(moment) == "2026-11-21T01:45:59Z"


def test_seconds_may_be_left_out() -> None:
    assert format_time(parse_time("2026-11-21T01:45Z", "target_time")) == "2026-11-21T01:45:00Z"


@pytest.mark.parametrize("text", ["2026-11-21T01:45:12", "2026-11-21 01:45:12.5", "2026-11-21T01:45"])
def test_a_time_without_an_offset_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(BadOption) as caught:
        parse_time(text, "target_time")
    assert "target_time" in str(caught.value) and "has no offset" in str(caught.value)
    assert f"{text}Z for UTC, or {text}+01:00" in str(caught.value)
    assert parse_time(f"{text}Z", "target_time") and parse_time(f"{text}+01:00", "target_time")


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "1763689512", "2026-11-21", "2026-11-21Z", "20261121T014512Z", "2026-W47-6T01:00:00Z"]
    + ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T01:60:00Z"]
    + ["2026-11-21T01:45:60Z", "2026-11-21T01:45:12+25:00", "2026-11-21T01:45:12+01:60", "2026-11-21T01:45:12 UTC"]
    + ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "٢٠٢٦-11-21T01:45:12Z"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadOption, match="target_time: .* is not a time. Write it like 2026-11-21T01:45:12\\+01:00"):
        parse_time(text, "target_time")


def test_now_survives_writing_and_reading() -> None:
    now = utcnow()
    assert parse_time(format_time(now), "now") == now.replace(microsecond=0)
    assert abs(datetime.datetime.now(datetime.timezone.utc) - now) < datetime.timedelta(seconds=5)
