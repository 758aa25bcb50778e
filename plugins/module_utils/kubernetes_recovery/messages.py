# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery in a StatefulSet's own volume says of itself (pure)."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import Entry
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place

#: each action of the way back
BACK = {
    steps.STOP: "scale the StatefulSet to 0",
    steps.MOVE_BACK: "move the old data back into its place",
    steps.REMOVE: "remove what was laid out",
    steps.START: "scale the StatefulSet up again, and wait until it is ready",
    steps.RELEASE: "give the volume the policy again that it had",
}


def foreseen(place: Place, target: str, begin: str = steps.PROVING) -> list[str]:
    """The steps that are left, for a plan. ``target``: in words."""
    called = f"{place.namespace}/{place.stateful_set}"
    told = {
        steps.PROVING: f"look at the volume of {place.claim}, and prove by a Job beside the running server that the backup, its WAL and the room "
        f"lead to {target}",
        steps.STOPPING: f"set the volume to Retain, and scale the StatefulSet {called} to 0; all that was written after {target} is not in the server "
        "any more",
        steps.LAYING_OUT: "lay the backup out beside the old data, in a hidden directory of the same volume",
        steps.RECOVERING: f"recover it in private with {place.image}, and look at every database of it",
        steps.SWAPPING: f"let it take the place of what is in {place.data}, which is kept in the hidden directory",
        steps.STARTING: f"scale the StatefulSet {called} up again, and wait until it is ready",
    }
    return [told[one] for one in steps.to_do(begin) if one in told]


def another(entry: Entry, called: str) -> str:
    """Why nothing is done while another recovery is there."""
    if entry.step == steps.DONE:
        return (
            f"The server {called} was recovered to {entry.target} at {entry.began}, and what it had before is kept in {entry.hidden}. Nothing was done. "
            "Before another recovery remove that by state: confirmed, or bring it back by state: rolled_back."
        )
    return (
        f"Another recovery of {called}, to {entry.target}, was begun at {entry.began} and stands at: {entry.step}. Nothing was done. Ask for that one "
        "again to go on, or take it back by state: rolled_back."
    )


def next_steps(entry: Entry, archives: bool) -> list[str]:
    """What is to be done after a recovery. ``archives``: by its own archive_command."""
    said = (
        []
        if archives
        else [
            "archive_mode is off in it. A Deployment that received its WAL (the playbook archive) goes on by itself within minutes, and sets aside what it has "
            "of the life that was left. Another receiver is set up again for that, with holdfast_archive_set_aside: true.",
        ]
    )
    return [
        *said,
        "Take a base backup now: the ones before lead to its new timeline only over the old one.",
        f"What it had before is kept in {entry.hidden}: state: confirmed removes it, state: rolled_back brings it back.",
    ]
