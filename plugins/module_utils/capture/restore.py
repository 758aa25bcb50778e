# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured objects, made again in a namespace: all of them judged first, then made in their order, then looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.capture import item as items, mapping, order
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.compare import differences
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.item import (
    LEFT,
    MAKE,
    REPLACE,
    SAME,
    START,
    WAITS,
    Difference,
    Item,
    Terms,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import strip
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifests, kind_of, name_of
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains


@dataclass(frozen=True)
class RestoreRequest:
    """``names``: new ones by ``Kind/name``; ``exclude``: kinds, or ``Kind/name``, that are left out."""

    names: Mapping[str, str]
    exclude: Sequence[str]
    include_secrets: bool
    hold: bool
    replace: Sequence[str]
    keep: bool
    create_namespace: bool


class Restore:
    """One restore: ``plan`` looks and refuses, ``carry_out`` makes. A run that died is gone on with by the next."""

    def __init__(
        self,
        cluster: Cluster,
        former: str,
        objects: Manifests,
        request: RestoreRequest,
        consent: Consent,
        warnings: list[str],
    ) -> None:
        self._cluster, self._former, self._request = cluster, former, request
        self._consent, self._warnings = consent, warnings
        self._captured = self._chosen(objects)
        self._makes_namespace = False
        self.items: list[Item] = []
        self.unchanged: list[str] = []
        self.difference, self.proof = Difference(), Proof()

    @property
    def namespace(self) -> str:
        return self._cluster.namespace

    def plan(self) -> list[str]:
        """The steps; empty: it is so already. Each has been tried by the API server's dry run.

        Raises:
            BadOption: an option names what is not captured.
            KubernetesError: something forbids it. Nothing was changed.
        """
        self._check_names()
        self._makes_namespace = (
            self._request.create_namespace and self._cluster.get("Namespace", self.namespace) is None
        )
        self._check_beside()
        found = mapping.mapped(self._captured, self._former, self.namespace, self._request.names)
        self.unchanged = found.unchanged
        request = self._request
        terms = Terms(request.hold, self._renamed(request.replace), request.keep, self._makes_namespace)
        self.items = [items.judge(self._cluster, one, terms) for one in order.in_order(found.objects)]
        self._refuse()
        for one in self.items:
            items.note(one, self.difference)
            self._warnings.extend(filter(None, [items.who_keeps(one), one.doubt]))
        steps = [f"make the namespace {self.namespace}"] if self._makes_namespace else []
        steps += [one.step for one in self.items if one.step is not None]
        self._tell()
        return steps

    def carry_out(self) -> None:
        """Make it. Raises KubernetesError: what was made stays, and the next run goes on with it."""
        done: list[str] = []
        with remains(lambda: _so_far(done)) as left:
            left.changed = False
            try:
                if self._makes_namespace:
                    self._cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
                    left.changed = True
                for one in self.items:
                    if items.carry_out(self._cluster, one) is not None:
                        done.append(one.name)
                        left.changed = True
            except KubernetesError as exc:
                raise KubernetesError(f"{exc} {_so_far(done)}") from exc
            self._look()

    # What follows is how.

    def _chosen(self, objects: Manifests) -> Manifests:
        leaves = set(self._request.exclude) | (set() if self._request.include_secrets else {"Secret"})
        return [one for one in objects if one["kind"] not in leaves and key(one) not in leaves]

    def _check_names(self) -> None:
        known = {key(one) for one in self._captured}
        for option, named in (("names", self._request.names), ("replace", self._request.replace)):
            new = set(self._renamed(sorted(known))) if option == "replace" else set()
            strange = sorted(set(named) - known - new)
            if strange:
                raise BadOption(
                    option, strange, "is not among what was captured", f"It has: {', '.join(sorted(known))}."
                )
        if not known:
            raise BadOption("exclude", list(self._request.exclude), "leaves nothing", "Leave out less.")

    def _renamed(self, named: Sequence[str]) -> list[str]:
        """``Kind/name`` as it is called here."""
        names = mapping.all_names(self._captured, self._request.names)
        return [f"{one.partition('/')[0]}/{names[one]}" if one in names else one for one in named]

    def _check_beside(self) -> None:
        """Raise BadOption where two servers would have the same labels, so that the Services of either led to both."""
        if self.namespace != self._former:
            return
        for one in self._captured:
            renamed = one["kind"] in ("StatefulSet", "Deployment") and key(one) in self._request.names
            if renamed and self._cluster.get(one["kind"], str(meta(one)["name"])) is not None:
                raise BadOption(
                    "names", self._request.names[key(one)], f"would have the labels of {key(one)}, which is there, so that the Services of either led to both",
                    "Restore it into another namespace (kubernetes.namespace).",
                )  # fmt: skip

    def _refuse(self) -> None:
        troubled = [one for one in self.items if one.trouble]
        if troubled:
            said = " ".join(str(one.trouble) for one in troubled)
            raise KubernetesError(
                f"{len(troubled)} of {len(self.items)} captured objects cannot be made what they were in the namespace {self.namespace}; nothing was changed. "
                f"{said} What is not to be restored is left out by exclude (Kind, or Kind/name); what is there and differs stays by different: keep."
            )
        differing = [one for one in self.items if one.trouble is not None]
        if not differing:
            return
        told = "; ".join(f"{one.name} ({', '.join(one.fields)})" for one in differing)
        secret = any(one.wanted["kind"] == "Secret" for one in differing)
        self._consent.need(
            KubernetesError(
                f"In the namespace {self.namespace} these are there and are not what was captured: {told}. Nothing was changed."
                + (" A Secret that was changed since may have the password that the data has by now." if secret else "")
                + " Name those that are to be as they were in replace, or let all of them stay by different: keep."
            ),
            replace=[one.name for one in differing],
        )

    def _tell(self) -> None:
        """What is not as it was, for the proof."""
        self.proof.unproven += self.unchanged
        for one in self.items:
            self.proof.unproven += [one.doubt] if one.doubt else []
            if one.what in (LEFT, WAITS):
                self.proof.unproven.append(f"The {name_of(one.wanted)} {one.why}.")
        self.proof.unproven.append("That the server runs, and its data: captured objects have none.")

    def _look(self) -> None:
        """Read back what was made, and what was there. Raises KubernetesError."""
        wrong, right = [], 0
        for one in self.items:
            if one.what not in (MAKE, REPLACE, START, SAME):
                continue
            there = self._cluster.get(kind_of(one.wanted), str(meta(one.wanted)["name"]), self.namespace)
            if there is None:
                wrong.append(f"the {name_of(one.wanted)} is gone again")
                continue
            there = {"apiVersion": one.wanted["apiVersion"], "kind": one.wanted["kind"], **there}
            found = _lacking(there, one)
            if found:
                wrong.append(f"the {name_of(one.wanted)} is not what was made ({', '.join(found)})")
            right += not found
        if wrong:
            raise KubernetesError(
                f"What was made did not stay so: {'; '.join(wrong)}. Somebody changes it meanwhile (an operator, GitOps, a webhook). The rest is made; run it "
                "again when that has ended."
            )
        self.proof.proven.append(
            f"{right} objects in the namespace {self.namespace} were read back, and are what was captured."
        )

    def result(self) -> dict[str, Any]:
        """For the module's result."""
        return {"objects": [one.result() for one in self.items], "proof": self.proof.describe()}


def _lacking(there: dict[str, Any], made: Item) -> list[str]:
    if made.what == START:
        return ["spec"] if order.is_held(there) else []
    wanted = made.wanted
    if made.what == MAKE:
        # Who scales it in the same second had a reason.
        wanted = order.with_count_of(strip(wanted), strip(there))
    elif made.what == SAME:
        wanted = order.with_count_of(wanted, strip(there))
    return differences(there, wanted)


def _so_far(done: Sequence[str]) -> str:
    made = f"Made so far: {', '.join(done)}." if done else "Nothing was made."
    return f"{made} The next run goes on with the rest."
