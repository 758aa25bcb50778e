# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that change which volumes a StatefulSet has: a snapshot restored in its place, taken back, confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.restore import Restore
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap import Swap, SwapRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap_objects import SWAPPED, SWAPPING, Journal

Answer = dict[str, Any]


def swap_of(params: Mapping[str, Any], cluster: Cluster, warnings: list[str]) -> Swap:
    """By the module's options. Raises BadOption."""
    if not params["stateful_set"]:
        raise BadOption("stateful_set", None, "is not given", "Name the StatefulSet whose claims get other volumes.")
    request = SwapRequest(
        params["stateful_set"],
        params["on_managed"],
        params["argocd_namespace"],
        params["force"],
        params["confirm"],
        float(parse_duration(params["timeout"], "timeout")),
    )
    return Swap(cluster, request, warnings.append, warnings)


def restore(run: Restore, swap: Swap, namespace: str, check: bool, warnings: list[str]) -> Answer:
    """A snapshot into claims of its own, and these in the place of the StatefulSet's. Raises HoldfastError."""
    if run.namespace != namespace:
        raise BadOption(
            "kubernetes.namespace", namespace, f"is not the one of the snapshots, {run.namespace}, where their claims are made",
            f"Name {run.namespace}.",
        )  # fmt: skip
    plan: list[str] = []
    journal = swap.journal()
    if journal is not None and journal.state == SWAPPED:
        if journal.backup_id == run.record.id:
            return _answer(plan, swap, run, journal)
        raise KubernetesError(
            f"The volumes from before {journal.backup_id} was restored there, at {journal.at}, are still kept. Take that back (state: rolled_back), or let "
            "them go (state: confirmed), and run this again. Nothing was touched."
        )
    if journal is not None and journal.state == SWAPPING and journal.backup_id == run.record.id:
        plan.append(f"go on with {swap.begun(journal)}")
        warnings.append(f"It goes on with {swap.begun(journal)}.")
        if not check:
            run.proof.unproven.append(swap.carry_out(journal))
        return {**_answer(plan, swap, run, journal), "resumed": True}
    if journal is not None:
        plan.append(f"take back what is left of {swap.begun(journal)}")
        warnings.append(f"{plan[-1][0].upper()}{plan[-1][1:]}.")
        if check:
            return _answer([*plan, "then plan the restore anew"], swap, run, None)
        swap.take_back(journal)
    made = run.plan()
    plan += made
    journal, steps = swap.plan(run.record.id, run.names, looking=check, made=not made)
    plan += steps
    if not check:
        if made:
            run.carry_out()
            journal, steps = swap.plan(run.record.id, run.names, looking=False, made=True)
        run.proof.unproven.append(swap.carry_out(journal))
        run.proof.proven.append("The StatefulSet's pods serve from the restored volumes, as their probes say.")
        run.proof.unproven = [one for one in run.proof.unproven if not one.startswith("That PostgreSQL starts")]
        warnings.append(
            "archive_mode is off in it, unless settings say otherwise: what is written from now on is in no archive. Set archiving up again, and take a backup."
        )
    return _answer(plan, swap, run, journal)


def take_back(swap: Swap, check: bool, warnings: list[str]) -> Answer:
    """The old volumes under their names again. Raises HoldfastError."""
    journal, plan = swap.journal(), []
    if journal is None:
        swap.require_nothing_kept()
    else:
        swap.require_old(journal)
        if journal.state != SWAPPED:
            warnings.append(f"It takes back what is left of {swap.begun(journal)}.")
        plan = [
            f"give the volume {one.old_volume} the name {name} again, and {one.new_volume} the name {one.restored}"
            for name, one in journal.claims.items()
        ]
        if not check:
            swap.take_back(journal)
    return {"changed": bool(plan), "plan": plan, "pruned": []}


def confirm(swap: Swap, params: Mapping[str, Any], check: bool) -> Answer:
    """Let the old volumes go. Raises HoldfastError."""
    journal, plan = swap.journal(), []
    if journal is None:
        swap.require_nothing_kept()
    else:
        if journal.state != SWAPPED:
            raise KubernetesError(
                f"There is {swap.begun(journal)}: nothing can be confirmed. Run that again, or state: rolled_back."
            )
        if swap.where not in params["confirm"]:
            refusal = BadOption(
                "confirm", params["confirm"], "does not name the StatefulSet whose old volumes are to go",
                f"They are the only copy of what was written after the snapshot: confirm: [{swap.where}].",
            )  # fmt: skip
            swap.consent.looking = check
            swap.consent.need(refusal, confirm=[swap.where])
        for name, one in journal.claims.items():
            goes = "is deleted" if one.old_policy == "Delete" else f"stays, as its policy is {one.old_policy}"
            plan.append(f"let the volume {one.old_volume}, which {name} had, go: it {goes}")
        plan += swap.consent.steps()
        if not check:
            swap.confirm(journal)
    answer: Answer = {"changed": bool(plan), "plan": plan, "pruned": []}
    return {**answer, "consent": swap.consent.missing} if swap.consent.missing else answer


def _answer(plan: list[str], swap: Swap, run: Restore, journal: Optional[Journal]) -> Answer:
    kept = {name: one.old_volume for name, one in journal.claims.items()} if journal else {}
    answer: Answer = {
        "changed": bool(plan),
        "plan": plan,
        "pruned": [],
        "backup": run.record.to_dict(),
        "claims": dict(run.names),
        "kept": kept,
        "resumed": False,
        "pod": run.pod,
        "proof": run.proof.describe(),
    }
    return {**answer, "consent": swap.consent.missing} if swap.consent.missing else answer
