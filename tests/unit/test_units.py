# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils import units

UTC = datetime.timezone.utc


@pytest.mark.parametrize(
    "number, said",
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (412 << 20, "412 MiB"), (1023 << 20, "1.0 GiB"), (1.4 * (1 << 30), "1.4 GiB"),
     (9.96 * (1 << 30), "10 GiB"), (3 << 60, "3072 PiB")],
)  # fmt: skip
def test_sizes(number: float, said: str) -> None:
    assert units.size(number) == said


@pytest.mark.parametrize(
    "seconds, long, short",
    [(0, "1 s", "0.0 s"), (4.24, "4 s", "4.2 s"), (125, "2 min 05 s", "2 min 05 s"), (59.7, "1 min 00 s", "1 min 00 s"), (3900, "1 h 05 min", "1 h 05 min")],
)  # fmt: skip
def test_durations(seconds: float, long: str, short: str) -> None:
    assert units.duration(seconds) == long
    assert units.took(seconds) == short


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0, "0 s ago"), (40, "40 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7199, "120 min ago"), (14400, "4 h ago"), (172799, "48 h ago"),
        (200000, "2 days ago"), (-0.5, "0 s ago"), (-300, "5 min in the future"),
    ],
)  # fmt: skip
def test_ages(seconds: float, said: str) -> None:
    assert units.age(seconds) == said


def test_moments_have_their_year_where_it_is_another() -> None:
    now = datetime.datetime(2026, 1, 2, tzinfo=UTC)
    assert units.moment(datetime.datetime(2026, 1, 1, 2, 31, tzinfo=UTC), now) == "1 Jan 02:31 UTC"
    east = datetime.timezone(datetime.timedelta(hours=2))
    assert units.moment(datetime.datetime(2026, 1, 1, 1, 0, tzinfo=east), now) == "31 Dec 2025 23:00 UTC"


def test_lists_and_numbers() -> None:
    assert [units.count(number, "backup") for number in (0, 1, 2)] == ["no backups", "1 backup", "2 backups"]
    assert units.count(2, "copy", "copies") == "2 copies"
    assert units.listing([]) == "" and units.listing(["a"]) == "a" and units.listing(["a", "b", "c"]) == "a, b and c"
    assert units.listing(list("abcdefg")) == "a, b, c, d and 3 more"
    assert units.rate(100 << 20, 2) == "50 MiB/s"
    assert units.table([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc  d"] and units.table([]) == []
