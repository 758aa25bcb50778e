# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server's past is its primary's past too, so that it can follow it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines


@dataclass(frozen=True)
class Position:
    """How far a server has come. ``recovering``: as a standby; otherwise it wrote its WAL itself."""

    timeline: int
    lsn: Lsn
    recovering: bool


@dataclass(frozen=True)
class Verdict:
    """``why`` in words; ``rewindable``: the histories meet, so that pg_rewind can find where."""

    follows: bool
    why: str
    rewindable: bool = False


def compare(local: Position, primary: Position, history: Timelines) -> Verdict:
    """Whether ``local`` can follow ``primary``, whose timeline ``history`` knows. The primary was asked after the local one, so
    that a primary that is behind is one that lacks WAL.

    A server that left the primary's way after a fork holds WAL that the primary never had: it cannot follow. One that stopped
    before the fork, or exactly there, just goes on.
    """
    if local.timeline == primary.timeline:
        if not local.recovering:
            return Verdict(
                False,
                f"it was a primary on timeline {local.timeline} itself, which the other one is on too: nothing tells where they parted",
            )
        if local.lsn > primary.lsn:
            return Verdict(False, f"it is at {local.lsn}, and the primary only at {primary.lsn} of the same timeline")
        return Verdict(True, f"it is on the primary's timeline {local.timeline}, at {local.lsn}")
    fork = history.forked_at(primary.timeline, local.timeline)
    if fork is None:
        return Verdict(
            False, f"its timeline {local.timeline} is none of those that led to the primary's, {primary.timeline}", True
        )
    if local.lsn > fork:
        return Verdict(
            False,
            f"it went on to {local.lsn} on timeline {local.timeline}, which the primary left at {fork}: {local.lsn - fork} bytes "
            "of WAL are only here",
            True,
        )
    return Verdict(
        True, f"it is at {local.lsn} of timeline {local.timeline}, which the primary left no earlier, at {fork}"
    )
