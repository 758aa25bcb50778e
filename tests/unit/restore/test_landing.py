# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs after a restore, and no failure explains that the user allowed."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.database import compare_rows
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.landing import not_explained

RECORDED = [{"schema": "s", "table": name, "rows": 2} for name in ("a", "b")]


@pytest.mark.parametrize(
    ("there", "explained", "adding", "left"),
    [
        ({"a": 2, "b": 2}, "", False, []),
        ({"a": 2}, "", False, ["s.b is missing"]),
        ({"a": 2}, "b", False, []),
        ({"a": 2}, "a", False, ["s.b is missing"]),
        ({"a": 1, "b": 1}, "b", False, ["s.a has 1 rows instead of 2"]),
        ({"a": 4, "b": 4}, "", True, []),
        ({"a": 4}, "", True, ["s.a has 4 rows instead of 2", "s.b is missing"]),
        ({"a": 4}, "b", True, []),
    ],
)
def test_what_no_failure_explains(there: dict[str, int], explained: str, adding: bool, left: list[str]) -> None:
    found = compare_rows([{"schema": "s", "table": name, "rows": rows} for name, rows in there.items()], RECORDED)
    assert not_explained(found, lambda name: name == ("s", explained), adding) == left
