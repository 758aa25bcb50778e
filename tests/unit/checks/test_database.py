# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: nothing compared, nothing said. Found: a backup of parts of which no recorded table came was compared with nothing, in silence."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.database import compare_rows


def table(rows: Optional[int]) -> dict[str, Any]:
    return {"schema": "s", "table": "t", "rows": rows}


@pytest.mark.parametrize(
    "counted, expected, only, outcome",
    [
        ([table(2)], [table(2)], None, (1, 0, 0)),
        ([table(1)], [table(2)], None, (0, 1, 0)),
        ([], [table(2)], None, (0, 1, 0)),
        ([table(None)], [table(2)], None, (0, 0, 1)),
        ([table(2)], [table(None)], None, (0, 0, 1)),
        ([table(2)], None, None, (0, 0, 1)),
        ([table(2)], [], None, (0, 0, 1)),
        ([table(2)], [table(2)], [], (0, 0, 1)),
        ([table(2)], [], [("s", "t")], (0, 0, 1)),
    ],
)
def test_nothing_compared_is_nothing_proven(
    counted: list[dict[str, Any]],
    expected: Optional[list[dict[str, Any]]],
    only: Optional[list[tuple[str, str]]],
    outcome: tuple[int, int, int],
) -> None:
    found = compare_rows(counted, expected, only)
    assert (found.same, len(found.differ), len(found.not_compared)) == outcome
