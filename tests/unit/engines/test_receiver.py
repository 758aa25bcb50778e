# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pg_receivewal goes on: a segment that is whole is gone past, even where the server left it in its middle."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.receiver import goes_on_at
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, SegmentSize

NAME = "000000020000000000000005"


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        (NAME, "0/600000"),
        (f"{NAME}.gz", "0/600000"),
        (f"{NAME}.lz4", "0/600000"),
        (f"{NAME}.partial", "0/500000"),
        (f"{NAME}.gz.partial", "0/500000"),
        (f"{NAME}.zst", None),
        (".server.json", None),
        ("00000002.history", None),
        (f"{NAME}.00000028.backup", None),
    ],
)
def test_where_it_goes_on(name: str, begin: str | None) -> None:
    found = goes_on_at(name, SegmentSize(MEGABYTE))
    assert (found and (found[0].timeline, str(found[1]))) == (begin and (2, begin))
