# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clone says of itself (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import name_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.objects import CLONE
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.request import CLAIMS
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.source import Plan
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import Entry
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place

_KINDS = "statefulset,service,networkpolicy,secret,configmap,serviceaccount,persistentvolumeclaim"


def foreseen(plan: Plan, place: Place, data: str, target: str) -> Mapping[str, Sequence[str]]:
    """The lines of a plan by step."""
    called = f"{place.namespace}/{place.stateful_set}"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(plan.labels.items()))
    on = " as it lies on its claims" if data == CLAIMS else " in its own volume"
    return {
        steps.MAKING: [
            *(
                f"make the {name_of(one)}{', with no pod yet' if one['kind'] == 'StatefulSet' else ''}"
                for one in plan.objects
            ),
            f"its pod has the labels {labels}, by which no Service and no disruption budget that is there selects it",
            *plan.left_out,
        ],
        steps.LAYING_OUT: [f"lay the backup that leads to {target} out in the claim {place.claim}, by a Job"],
        steps.RECOVERING: [
            f"recover it in private with {place.image}{on}, look at every database of it, and switch off what could reach the server that it comes from"
        ],
        steps.STARTING: [f"scale the StatefulSet {called} to 1, and wait until it is ready"],
    }


def go_on(place: Place) -> str:
    """The ways on from a clone that is not done."""
    return f"The same task goes on with it. To give it up: {removal(place)}."


def untouched(plan: Plan, entry: Entry) -> str:
    said = f"Nothing was changed in {plan.wanted.former}/{plan.wanted.old}"
    if entry.step == steps.STARTING:
        stop = f"kubectl -n {plan.place.namespace} scale statefulset {plan.place.stateful_set} --replicas=0"
        return f"{said}. Where the clone's pod runs, this stops it: {stop}."
    return f"{said}, and the clone serves nobody."


def removal(place: Place) -> str:
    """What removes a clone, with its data."""
    return f"kubectl -n {place.namespace} delete {_KINDS} -l {CLONE}={place.stateful_set}"


def another(entry: Entry, called: str) -> str:
    """Why nothing is done while another clone has that name."""
    namespace, _slash, name = called.partition("/")
    what = "is there" if entry.step == steps.DONE else f"was begun, and stands at: {entry.step}"
    return (
        f"Another clone {called}, to {entry.target}, of {entry.began} {what}. Nothing was done. Ask for that one again, choose another name, or remove it with "
        f"its data first: kubectl -n {namespace} delete {_KINDS} -l {CLONE}={name}"
    )


def next_steps(place: Place, isolated: Sequence[str]) -> list[str]:
    """What is to be known of a clone that serves."""
    off = [f"Switched off in it: {'; '.join(isolated)}."] if isolated else []
    return [
        *off,
        "It is in no backup, and archives nothing. Where it is to stay, set both up under a server_name of its own, never under that of the server that it "
        "comes from, whose system identifier it has.",
        "Its roles have the passwords of that moment.",
        f"To remove it, with its data: {removal(place)}.",
    ]
