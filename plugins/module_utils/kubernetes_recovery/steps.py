# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a recovery in a StatefulSet's own volume, and what takes each of them back, and those of a clone (pure).

The name of a step is written down before it is begun, so that whoever comes after a kill knows what may have been done by half. Every step
does nothing where it was done already, and so does every one of the way back.
"""

from __future__ import annotations

PROVING, STOPPING, LAYING_OUT, RECOVERING = "proving", "stopping", "laying out", "recovering"
SWAPPING, STARTING, DONE = "swapping", "starting", "done"
GOING_BACK = "going back"
MAKING, CLEARING = "making", "clearing"  # a clone's; of a recovery that was confirmed: its old data is being removed

#: in order; what was begun is gone on with, from its own beginning
STEPS = (PROVING, STOPPING, LAYING_OUT, RECOVERING, SWAPPING, STARTING, DONE)

#: of a clone: its objects are made, and its data is laid out and recovered in its own volume; or is on its claims already, and recovers there
OF_CLONE = (MAKING, LAYING_OUT, RECOVERING, SWAPPING, CLEARING, STARTING, DONE)
OF_CLONE_ON_CLAIMS = (MAKING, RECOVERING, STARTING, DONE)
#: of a replica that is made anew: what it copies needs no recovery before it follows
OF_REPLICA = (PROVING, STOPPING, LAYING_OUT, SWAPPING, STARTING, DONE)
KNOWN = frozenset((*STEPS, *OF_CLONE, GOING_BACK))

#: of the way back: the server is stopped, the old data is moved back, what was made is removed, the server is started, the volume gets its policy back
STOP, MOVE_BACK, REMOVE, START, RELEASE = "stop", "move back", "remove", "start", "release"

_BEFORE_STOP: tuple[str, ...] = ()
_BEFORE_SWAP = (REMOVE, START, RELEASE)
_ALL = (STOP, MOVE_BACK, REMOVE, START, RELEASE)


def to_do(step: str, table: tuple[str, ...] = STEPS) -> tuple[str, ...]:
    """What is left when a run stands at ``step``, itself the first. Raises KeyError: no such step."""
    if step not in table:
        raise KeyError(step)
    return table[table.index(step) :]


def way_back(step: str) -> tuple[str, ...]:
    """What gives the old server its place again when a recovery stands at ``step``, in order. Raises KeyError."""
    if step == PROVING:
        return _BEFORE_STOP
    if step in (STOPPING, LAYING_OUT, RECOVERING):
        return _BEFORE_SWAP
    if step in (SWAPPING, STARTING, DONE, GOING_BACK):
        return _ALL
    raise KeyError(step)


def must_succeed(action: str) -> bool:
    """Whether the way back has failed when this failed. What remains in the hidden directory, or of a policy, costs space alone."""
    return action in (STOP, MOVE_BACK, START)
