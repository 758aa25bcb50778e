# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done for a standby, by what was found: a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import (
    BACKUP,
    COPY,
    FOLLOW,
    REWIND,
    Found,
    decide,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Verdict
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

FOLLOWS = Verdict(True, "it is on the way")
PARTED = Verdict(False, "it went on alone", rewindable=True)
LOST = Verdict(False, "nothing is known")
SAME = Found("7", "7", verdict=FOLLOWS, position=Lsn(0x3000028), kept=True)
DIVERGED = replace(SAME, verdict=PARTED, tells_changes=True, lets_rewind=True)


@pytest.mark.parametrize(
    "found, rewind, method, why",
    [
        (Found("7"), True, COPY, None),
        (Found("7", "8"), True, COPY, "another server (system identifier 8)"),
        (Found("7", "7", streams=True), True, FOLLOW, None),
        (SAME, True, FOLLOW, None),
        (replace(SAME, kept=None), True, FOLLOW, None),  # it may not be seen
        (replace(SAME, kept=False, archive=True), True, FOLLOW, None),
        (replace(SAME, kept=False), True, COPY, "no longer has the WAL from 0/3000028 on"),
        (DIVERGED, True, REWIND, "it went on alone"),
        (DIVERGED, False, COPY, "it went on alone"),
        (replace(DIVERGED, tells_changes=False), True, COPY, "neither wal_log_hints nor data checksums"),
        (replace(DIVERGED, lets_rewind=False), True, COPY, "full_page_writes is off"),
        (replace(DIVERGED, unknown_tablespaces=("far",)), True, COPY, "tablespaces that are not here (far)"),
        (Found("7", "7", half_rewound=True), True, COPY, "a rewind of it was interrupted"),
        (replace(DIVERGED, verdict=LOST), True, COPY, "no fork to go back to"),
    ],
)
def test_decide(found: Found, rewind: bool, method: str, why: str | None) -> None:
    decision = decide(found, COPY, rewind)
    assert decision.method == method
    assert decision.why is None if why is None else why in (decision.why or "")


def test_a_backup_is_taken_where_there_is_one() -> None:
    assert decide(Found("7"), BACKUP, True).method == BACKUP
