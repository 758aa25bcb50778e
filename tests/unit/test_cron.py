# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a backup that is late by its schedule, and nobody was told how often one is expected."""

from __future__ import annotations

import datetime
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cron import longest_gap, problem

HOUR, DAY = 3600, 86400
NOW = datetime.datetime(2026, 11, 26, 12, 0, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("line", "gap"),
    [
        ("30 2 * * *", DAY),
        ("7 * * * *", HOUR),
        ("*/15 * * * *", HOUR // 4),
        ("0 2,14 * * *", DAY // 2),
        ("0 8-18/2 * * *", 14 * HOUR),
        ("30 1 * * 0", 7 * DAY),
        ("30 1 * * 7", 7 * DAY),
        ("30 1 * * sun", 7 * DAY),
        ("0 3 * * mon-fri", 3 * DAY),
        ("0 3 1 * *", 31 * DAY),
        ("0 3 1 * 0", 7 * DAY),  # on the first of a month, and on Sundays
        ("0 3 1 jan *", 365 * DAY),
        ("0 3 30 2 *", None),
        ("@daily", DAY),
        ("0 3 L * *", None),
        ("61 3 * * *", None),
        ("0 3 * *", None),
        ("0 3 * * */0", None),
    ],
)
def test_the_longest_gap(line: str, gap: Optional[int]) -> None:
    assert longest_gap(line, NOW) == gap


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("30 2 * * *", ""),
        ("@daily", ""),
        ("0 3 * * 7", ""),
        ("0 3 29 2 *", ""),
        ("@reboot", "five fields"),
        ("30 2 * *", "five fields"),
        ("30 2 * * * root", "five fields"),
        ("60 2 * * *", "minute '60'"),
        ("30 25 * * *", "hour '25'"),
        ("0 3 * * 8", "day of the week '8'"),
        ("*/0 2 * * *", "minute '*/0'"),
        ("0 18-8 * * *", "hour '18-8'"),
        ("0 3 30 2 *", "never comes"),
        ("0 3 31 4,6 *", "never comes"),
        ("0 3 31 4 1", ""),  # on each Monday of April
        ("0 3 29 2 */7", ""),  # a Sunday in 2032
        ("0\t3\t*\t*\tmon-fri", ""),
        ("0 3 jan * *", "day of the month 'jan'"),
        ("0 3 * sun *", "month 'sun'"),
        ("0 3 * jan,foo *", "month 'foo'"),
        ("0,99 3 * * *", "minute '99'"),
        ("0 3,, * * *", "hour ''"),
        ("@Daily", "five fields"),
        ("CRON_TZ=Europe/Berlin 0 3 * * *", "five fields"),
    ],
)
def test_what_would_never_run_is_told_before_it_is_written(line: str, says: str) -> None:
    """Kind: a schedule that is there and does nothing. cron passes over a line that it cannot read, and says so in its log alone."""
    said = problem(line)
    assert says in said and bool(says) == bool(said)
