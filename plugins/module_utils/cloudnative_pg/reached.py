# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recovery landed, compared with what was asked for: by the history file of the timeline that it began, which PostgreSQL itself wrote, and by
the log. Pure.

The last line of the history file has the timeline that was left, the position, and why (writeTimeLineHistory and getRecoveryStopReason in
src/backend/access/transam/xlogrecovery.c).
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import (
    IMMEDIATE,
    LATEST,
    LSN,
    NAME,
    TIME,
    XID,
    Target,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Switch

_TO_THE_END = "no recovery target specified"
_TIME = re.compile(r"(?:before|after) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*)")
_LSN = re.compile(r"(?:before|after) LSN ([0-9A-F]+/[0-9A-F]+)")
_XID = re.compile(r"(?:before|after) transaction (\d+)")
_NAME = re.compile(r'at restore point "(.*)"', re.S)


@dataclass(frozen=True)
class Reached:
    """The ``timeline`` that the recovered server began, which one it ``left`` for it, at which position, and why, in PostgreSQL's words;
    ``last``: when the last transaction that it has ended, where that is known."""

    timeline: int
    left: int
    lsn: Lsn
    reason: str
    last: Optional[datetime.datetime] = None

    @staticmethod
    def of(
        timeline: int,
        switches: tuple[Switch, ...],
        last: Optional[datetime.datetime] = None,
        planned: Optional[int] = None,
    ) -> Reached:
        """By the history file of a timeline. Of a server that has lived on, and changed its timeline since, the switch is the one that left
        ``planned``, the timeline that the recovery was to follow; else the last one."""
        number = next((one for one, switch in enumerate(switches) if switch.timeline == planned), len(switches) - 1)
        began = switches[number + 1].timeline if number + 1 < len(switches) else timeline
        found = switches[number]
        return Reached(began, found.timeline, found.lsn, found.reason, last)

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        return {
            "timeline": self.timeline,
            "left_timeline": self.left,
            "lsn": str(self.lsn),
            "reason": self.reason,
            "last_transaction": None if self.last is None else format_exact(self.last),
        }


def compare(target: Target, timeline: Optional[int], reached: Reached) -> Proof:
    """``timeline``: the one that it was to follow; None: whatever the backup was on. What is not as it was asked for is ``missing``."""
    proof = Proof()
    where = f"at {reached.lsn} of timeline {reached.left} ({reached.reason or 'for no reason that it wrote down'})"
    if timeline is not None and reached.left != timeline:
        proof.missing.append(
            f"The recovery ended {where}, and it was to follow timeline {timeline}: a history file was not found on the way, and what was written "
            "on the later timelines is not in it."
        )
        return proof
    wrong = _wrong(target, reached)
    if wrong:
        proof.missing.append(f"The recovery ended {where}, and {target.describe()} was asked for: {wrong}.")
        return proof
    proof.proven.append(
        f"The recovery ended {where}, which is what was asked for ({target.describe()}), and went on as timeline {reached.timeline}: PostgreSQL's own history "
        "file says so."
    )
    if reached.last is not None:
        proof.proven.append(f"The last transaction in it ended at {format_exact(reached.last)}.")
    return proof


def _wrong(target: Target, reached: Reached) -> Optional[str]:
    """Why that is not where it was to end; None: it is."""
    if target.kind == LATEST:
        return None if _TO_THE_END in reached.reason else "it did not go on to the end"
    if _TO_THE_END in reached.reason:
        return "it knew of no target"
    if target.kind == TIME and target.time is not None:
        return _wrong_time(target, target.time, reached)
    if target.kind == IMMEDIATE:
        return None if "consistency" in reached.reason else "it did not stop when it was consistent"
    if target.kind == LSN and target.lsn is not None:
        found = _LSN.search(reached.reason)
        there = found is not None and Lsn.parse(found[1], "lsn") >= target.lsn
        return None if there else "it stopped before that position"
    if target.kind == XID and target.xid is not None:
        found = _XID.search(reached.reason)
        return None if found and int(found[1]) == target.xid & 0xFFFFFFFF else "it stopped at another transaction"
    if target.kind == NAME:
        found = _NAME.search(reached.reason)
        return None if found and found[1] == target.name else "it stopped at another place"
    return None


def _wrong_time(target: Target, moment: datetime.datetime, reached: Reached) -> Optional[str]:
    """It stops before the first transaction that ended later: of which the history file has the time."""
    found = _TIME.search(reached.reason)
    if found is None:
        return "it did not stop at a time"
    try:
        stopped = parse_time(re.sub(r" ?(UTC|GMT)$", "Z", found[1].strip()), "time")
    except BadOption:
        return None  # of another zone, with a name of its own: the reason is there, and the log has the moment
    before = stopped > moment or (stopped == moment and not target.inclusive)
    if not before:
        return f"it stopped at a transaction of {format_exact(stopped)}, which is not later"
    if reached.last is not None and (reached.last > moment or (reached.last == moment and not target.inclusive)):
        return f"it has a transaction of {format_exact(reached.last)}, which is later"
    return None
