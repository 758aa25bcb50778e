# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether WAL summaries reach back to a backup (CASES 2.37)."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.summaries import gap

ONE = [(1, 0, 100), (1, 100, 200), (1, 200, 300)]


@pytest.mark.parametrize(
    ("summaries", "start", "summarized", "found"),
    [
        (ONE, 50, 300, None),
        (ONE[::-1], 100, 300, None),
        ([], 300, 300, None),  # nothing has happened since
        ([], 300, 250, None),  # it has not come so far yet
        ([], 250, 300, 250),
        (ONE[1:], 50, 300, 50),
        ([ONE[0], ONE[2]], 50, 300, 100),
        ([(1, 0, 100), (2, 100, 200)], 50, 200, 100),
        (ONE, 50, 400, 300),
    ],
)
def test_gap(summaries: list[tuple[int, int, int]], start: int, summarized: int, found: int | None) -> None:
    assert gap(summaries, 1, start, summarized) == found
