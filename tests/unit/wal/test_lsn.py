# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions, as PostgreSQL 15, 16 and 18 read and write pg_lsn."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn


@pytest.mark.parametrize(
    ("text", "position", "written"),
    [
        ("0/0", 0, "0/0"),
        ("0/3000000", 0x3000000, "0/3000000"),
        ("16/B374D848", 0x16B374D848, "16/B374D848"),
        ("a/b", 0xA0000000B, "A/B"),
        ("00/0A", 10, "0/A"),
        # PostgreSQL 19 writes the second half with 8 digits
        ("1/00000028", 0x100000028, "1/28"),
        ("FFFFFFFF/FFFFFFFF", 2**64 - 1, "FFFFFFFF/FFFFFFFF"),
    ],
)
def test_positions(text: str, position: int, written: str) -> None:
    lsn = Lsn.parse(text, "target.lsn")
    assert (lsn, str(lsn), f"{lsn}", repr(lsn)) == (position, written, written, f"Lsn('{written}')")
    assert Lsn.parse(written, "target.lsn") == lsn


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1/",
        "/1",
        " 1/1",
        "1/1 ",
        "1/1\n",
        "g/0",
        "123456789/0",
        "0/123456789",
        "1/2/3",
        "-1/0",
        "0x1/0",
        "٣/0",
    ],
)
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(BadOption) as caught:
        Lsn.parse(text, "target.lsn")
    assert str(caught.value).startswith(f"target.lsn: {text!r} is not a position")
    assert "16/B374D848" in str(caught.value)


def test_distances_are_bytes() -> None:
    distance = Lsn.parse("1/0", "lsn") - Lsn.parse("0/FFFFFF00", "lsn")
    assert distance == 256 and not isinstance(distance, Lsn)
    assert max(Lsn(5), Lsn(9)) == Lsn(9)


@pytest.mark.parametrize("position", [-1, 2**64])
def test_positions_have_64_bits(position: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        Lsn(position)
