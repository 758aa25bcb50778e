# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore_command as PostgreSQL runs it."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.obstacles import filled_in, system_id_in


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


@pytest.mark.parametrize(
    ("segment", "expected"),
    (
        (
            struct.pack("=HHIQI4xQII", 0xD116, 2, 1, 1 << 24, 0, 7682263456789012345, 1 << 24, 8192),
            "7682263456789012345",
        ),
        (struct.pack("=HHIQI4xQII", 0xD116, 0, 1, 1 << 24, 0, 7, 0, 0), None),  # a short header
        (b"too short", None),
    ),
)
def test_who_wrote_a_segment(segment: bytes, expected: str | None) -> None:
    assert system_id_in(segment) == expected
