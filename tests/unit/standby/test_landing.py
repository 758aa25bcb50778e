# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which standbys a commit waits for."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.landing import needed


@pytest.mark.parametrize(
    ("names", "expected"),
    (
        ("", (0, [])),
        ("*", (1, ["*"])),
        ("a, B", (1, ["a", "b"])),
        ("2 (a, b, c)", (2, ["a", "b", "c"])),
        ("FIRST 1 (a)", (1, ["a"])),
        ('any 2 ( "El se", "x""y" ,*)', (2, ["el se", 'x"y', "*"])),
    ),
)
def test_needed(names: str, expected: tuple[int, list[str]]) -> None:
    assert needed(names) == expected
