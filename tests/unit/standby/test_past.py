# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far two histories are one."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.past import common_past
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

NONE: dict[int, str] = {}


@pytest.mark.parametrize(
    ("mine", "local", "theirs", "upstream", "expected"),
    (
        (NONE, (1, 0x50), NONE, (1, 0x90), (1, 0x50, 0)),
        (NONE, (1, 0x50), {2: "1 0/30 x"}, (2, 0x90), (1, 0x30, 0)),
        ({2: "1 0/30 x"}, (2, 0x50), NONE, (1, 0x90), (1, 0x30, 0)),
        ({2: "1 0/30 x"}, (2, 0x50), {2: "1 0/30 x"}, (2, 0x90), (2, 0x50, 0x30)),
        ({2: "1 0/30 x"}, (2, 0x50), {2: "1 0/40 x"}, (2, 0x90), (1, 0x30, 0)),
        ({2: "1 0/30 x"}, (2, 0x50), {3: "1 0/30 x\n2 0/40 y"}, (3, 0x90), (2, 0x40, 0x30)),
        (NONE, (7, 0x50), NONE, (1, 0x90), None),
    ),
)
def test_common_past(
    mine: dict[int, str],
    local: tuple[int, int],
    theirs: dict[int, str],
    upstream: tuple[int, int],
    expected: tuple[int, int, int] | None,
) -> None:
    positions = [Position(timeline, Lsn(lsn), True) for timeline, lsn in (local, upstream)]
    histories = [Timelines.from_texts(texts) for texts in (mine, theirs)]
    assert common_past(histories[0], positions[0], histories[1], positions[1]) == expected
