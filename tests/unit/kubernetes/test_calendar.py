# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CronJob's calendar, as its controller reads it."""

from __future__ import annotations

import datetime
from itertools import islice

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.calendar import Calendar


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("text", "zone", "since", "due"),
    [
        ("30 2 * * *", "Etc/UTC", "2026-11-26T02:30:00", "2026-11-27T02:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-11-26T00:00:00", "2026-11-26T01:30:00"),
        ("*/15 * * * *", "Etc/UTC", "2026-11-26T23:46:00", "2026-11-27T00:00:00"),
        ("5/20 1 * * *", "Etc/UTC", "2026-11-26T01:06:00", "2026-11-26T01:25:00"),
        ("0 3 * * sun", "Etc/UTC", "2026-11-26T00:00:00", "2026-11-29T03:00:00"),
        ("0 3 1 jan,jul *", "Etc/UTC", "2026-11-26T00:00:00", "2027-01-01T03:00:00"),
        # Both days restricted: either of them.
        ("0 3 28 * 5", "Etc/UTC", "2026-11-26T00:00:00", "2026-11-27T03:00:00"),
        ("0 3 29 2 *", "Etc/UTC", "2026-11-26T00:00:00", "2028-02-29T03:00:00"),
        ("@daily", "Etc/UTC", "2026-11-26T05:00:00", "2026-11-27T00:00:00"),
        # 02:30 is left out by the clocks on this night.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00", "2026-03-30T00:30:00"),
    ],
)
def test_when_it_is_due(text: str, zone: str, since: str, due: str) -> None:
    assert Calendar.parse(text, zone).next(at(since)) == at(due)


def test_never_and_not_known() -> None:
    assert Calendar.parse("0 0 30 2 *").next(at("2026-11-26T00:00:00")) is None
    assert Calendar.parse("0 0 * * *", "Mars/Phobos").next(at("2026-11-26T00:00:00")) is None


def test_how_often_it_was_due() -> None:
    moments = Calendar.parse("*/5 * * * *").after(at("2026-11-26T00:00:00"))
    assert sum(moment <= at("2026-11-26T10:00:00") for moment in islice(moments, 200)) == 120


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "0 0 * * 7", "5-1 * * * *", "*/0 * * * *", "TZ=UTC 0 0 * * *",
     "0 0 * * * *", "@every 1h", "a * * * *"],
)  # fmt: skip
def test_what_the_api_server_refuses(text: str) -> None:
    """Sunday is 0 there, and never 7; seconds, and a zone within the schedule, are refused."""
    with pytest.raises(BadOption):
        Calendar.parse(text)
