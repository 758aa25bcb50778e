# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore_command as PostgreSQL runs it."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.obstacles import filled_in


@pytest.mark.parametrize(
    ("command", "expected"),
    (
        ("cp /a/%f %p", "cp /a/00000002.history /t/h"),
        ("fetch %f '%p' %r", "fetch 00000002.history '/t/h' " + "0" * 24),
        ("date +%%F; cp %f %p", "date +%F; cp 00000002.history /t/h"),
        ("a %x", "a %x"),
    ),
)
def test_filled_in(command: str, expected: str) -> None:
    assert filled_in(command, "00000002.history", "/t/h") == expected
