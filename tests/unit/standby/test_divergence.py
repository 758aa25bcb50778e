# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server can follow another one, by where both are."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

# Timeline 3 left 2 at 0/5000000, which had left 1 at 0/3000000; 4 left 1 at 0/2000000.
HISTORY = Timelines.from_texts({3: "1\t0/3000000\tno target\n2\t0/5000000\tno target\n"})
PRIMARY = Position(3, Lsn(0x6000000), False)


@pytest.mark.parametrize(
    ("timeline", "lsn", "recovering", "follows", "rewindable", "words"),
    (
        (3, 0x6000000, True, True, False, "primary's timeline 3"),
        (3, 0x6000001, True, False, False, "the primary only at 0/6000000"),
        (3, 0x5500000, False, False, False, "nothing tells where they parted"),
        (2, 0x5000000, True, True, False, "no earlier, at 0/5000000"),
        (2, 0x5000000, False, True, False, "no earlier, at 0/5000000"),
        (2, 0x5000100, True, False, True, "256 bytes of WAL are only here"),
        (1, 0x2FFFFFF, False, True, False, "no earlier, at 0/3000000"),
        (1, 0x4000000, False, False, True, "16777216 bytes of WAL are only here"),
        (4, 0x2000000, False, False, True, "timeline 4 is none of those"),
    ),
)
def test_compare(timeline: int, lsn: int, recovering: bool, follows: bool, rewindable: bool, words: str) -> None:
    verdict = compare(Position(timeline, Lsn(lsn), recovering), PRIMARY, HISTORY)
    assert (verdict.follows, verdict.rewindable) == (follows, rewindable) and words in verdict.why


def test_a_primary_that_was_left_behind() -> None:
    """The one that was promoted is to follow the old one: the fork is known to itself alone, and pg_rewind finds it."""
    verdict = compare(Position(2, Lsn(0x3000000), False), Position(1, Lsn(0x4000000), False), Timelines({}, [1]))
    assert not verdict.follows and verdict.rewindable
