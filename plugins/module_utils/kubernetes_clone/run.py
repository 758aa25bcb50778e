# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone of a StatefulSet's server: its objects are made without a pod, its data is laid out and recovered in private as in any recovery, and then it
serves. The server that it comes from is only read."""

from __future__ import annotations

import secrets
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.capture import item as items, order
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    KubernetesError,
    NotLoggedIn,
    Unreachable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.follow import OutOfSight
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, name_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone import messages
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.apart import look
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.objects import CLAIM, CLONE
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.request import (
    BACKUP,
    CLAIMS,
    CloneRequest,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.source import Plan, is_ours, plan_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.actions import Actions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import (
    CLONE as ANNOTATION,
    Entry,
    Journal,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import Result
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.stepwise import (
    Stepwise,
    Tell,
    landed,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow


class Clone(Stepwise):
    """``source``: the cluster, in the namespace of the server; ``target``: in the clone's. With ``check`` nothing but reading is done."""

    def __init__(
        self,
        source: Cluster,
        target: Cluster,
        request: CloneRequest,
        serving: Serving,
        check: bool,
        tell: Tell,
        warnings: list[str],
    ) -> None:
        self._asked, self._source = request, source
        self._table = steps.OF_CLONE_ON_CLAIMS if request.data == CLAIMS else steps.OF_CLONE
        self._plan: Plan = plan_of(source, target, request, check)
        place = self._plan.place
        journal = Journal(target, request.name, ANNOTATION, may_lack=True)
        actions = Actions(target, place, request.recovery, tell, warnings)
        super().__init__(target, request.recovery, place, actions, journal, serving, check, tell, warnings)
        self._warnings += [*self._plan.missing, *self._plan.doubts]

    @property
    def claims(self) -> dict[str, str]:
        """The clone's claims, by those of the server."""
        return dict(self._plan.claims)

    def present(self) -> Result:
        """Have it. Raises HoldfastError: what was made stays, and the same run goes on."""
        entry = self._journal.entry
        digest = self._asked.digest(self._source.namespace, self._place.namespace)
        if entry is not None and entry.step == steps.DONE:
            if entry.digest != digest:
                raise KubernetesError(messages.another(entry, self._called))
            return self._already(entry)
        self._refuse_names()
        self.result.changed = True
        self.result.plan = self._steps(entry)
        if entry is None:
            self._try()
        else:
            self._refuse_another(entry, digest)
        if not self._check:
            with self._alone():
                self._carry_out(digest)
        return self._end()

    # what is read

    def _refuse_names(self) -> None:
        """Raise KubernetesError where a name is somebody else's, before anything is made."""
        ours: list[str] = []
        taken: list[str] = []
        for one in self._plan.objects:
            there = self._there(one)
            if there is not None:
                (ours if is_ours(there, self._plan.wanted) else taken).append(name_of(one))
        if taken:
            raise KubernetesError(
                f"These are there already, and are not of this clone: {', '.join(taken)}. Nothing was made. Choose another name, or give objects others by "
                "names."
            )
        kept = [name for name in ours if name.startswith(CLAIM)]
        if kept and self._journal.entry is None:
            raise KubernetesError(
                f"A clone {self._called} was there, whose StatefulSet is gone, and its data is still on {', '.join(kept)}: it would be removed. Nothing was "
                f"made. To have it serve again, use data: claims; to remove it: {messages.removal(self._place)}."
            )

    def _there(self, wanted: Manifest) -> Optional[Manifest]:
        return self._cluster.get(wanted["kind"], str(meta(wanted)["name"]))

    def _refuse_another(self, entry: Entry, digest: str) -> None:
        if entry.digest == digest:
            return
        # Where its data is to come from may be corrected as long as there is none.
        early = entry.step in (steps.MAKING, steps.LAYING_OUT)
        if not early or entry.digest.partition("-")[0] != digest.partition("-")[0]:
            raise KubernetesError(messages.another(entry, self._called))

    def _steps(self, entry: Optional[Entry]) -> list[str]:
        begin = steps.MAKING if entry is None else entry.step
        told = messages.foreseen(self._plan, self._place, self._asked.data, self._request.said())
        left = [one for step in steps.to_do(begin, self._table) for one in told.get(step, ())]
        if entry is None:
            return left
        return [f"go on with the clone that was begun at {entry.began}, which stands at: {entry.step}", *left]

    def _try(self) -> None:
        """Have the API server try each object. Raises KubernetesError: one cannot be made."""
        tried = [items.judge(self._cluster, one, items.Terms(hold=True)) for one in self._plan.objects]
        troubles = [str(one.trouble) for one in tried if one.trouble]
        if troubles:
            raise KubernetesError(f"The clone cannot be made: {' '.join(troubles)} Nothing was made.")
        self._warnings += [one.doubt for one in tried if one.doubt]

    def _already(self, entry: Entry) -> Result:
        lacks = [name_of(one) for one in self._plan.objects if self._there(one) is None]
        if lacks:
            self._warnings.append(f"Of the clone {self._called} somebody has removed since: {', '.join(lacks)}.")
        self.result.recovery = landed(entry)
        return self._end()

    def _end(self) -> Result:
        entry = self._journal.entry
        self.result.step = entry.step if entry else ""
        return self.result

    def _remains(self) -> str:
        entry = self._journal.entry
        if entry is None:
            return ""
        return f"The clone {self._called} stands at: {entry.step}. {messages.go_on(self._place)}"

    # what is done

    def _carry_out(self, digest: str) -> None:
        entry = self._journal.entry
        if entry is None:
            self._begin(digest)
        else:
            self._take()
            if entry.digest != digest:
                self._actions.clear_jobs()
                self._journal.note(digest=digest, target=self._request.said())
        entry = self._entry()
        try:
            self._walk(steps.to_do(entry.step, self._table))
        except (NotLoggedIn, OutOfSight, Unreachable) as exc:
            raise KubernetesError(f"{exc} {self._remains()}") from exc
        except HoldfastError as exc:
            self._failed(exc)

    def _failed(self, exc: HoldfastError) -> None:
        """Raises KubernetesError, always."""
        why = " ".join(str(exc).split())
        try:
            entry = self._journal.read()
            if (
                entry is not None
                and entry.run == self._run
                and (entry.step, self._asked.data) == (steps.RECOVERING, BACKUP)
            ):
                # What recovered by half is laid out anew.
                self._actions.clear_jobs()
                self._journal.note(step=steps.LAYING_OUT)
        except HoldfastError as again:
            raise KubernetesError(f"The clone {self._called} failed: {why} Then: {again} {self._remains()}") from exc
        if entry is None or entry.run != self._run:
            raise exc
        raise KubernetesError(
            f"The clone {self._called} failed: {why} {messages.untouched(self._plan, entry)} {messages.go_on(self._place)}"
        ) from exc

    def _begin(self, digest: str) -> None:
        """The StatefulSet, without a pod: from then on all that has its names is ours, and what is done stands on it."""
        place, user = self._place, self._plan.user
        hidden = "" if self._asked.data == CLAIMS else place.hidden(True)
        run = secrets.token_hex(4)
        entry = Entry(
            run, steps.MAKING, digest, self._request.said(), format_time(utcnow()), self._run,
            hidden=f"{hidden}/{run}" if hidden else "", user=user, group=self._plan.group,
        )  # fmt: skip
        first = next(one for one in self._plan.objects if one["kind"] == "StatefulSet")
        made = order.held(first)
        made["metadata"]["annotations"][ANNOTATION] = entry.text()
        self._cluster.create(made)
        self._journal.read()

    def _do(self, step: str) -> None:
        actions = self._actions
        if step == steps.MAKING:
            self._make()
        elif step == steps.LAYING_OUT:
            self._tell(actions.lay_out(self._entry()))
        elif step == steps.RECOVERING:
            actions.require_stopped()
            self._recover()
        elif step == steps.SWAPPING:
            actions.clear_jobs()
            actions.require_stopped()
            actions.swap(self._entry())
        elif step == steps.CLEARING:
            actions.remove(self._entry())
        elif step == steps.STARTING:
            actions.clear_jobs()
            actions.start()
            try:
                self._look_at_it()
            except ServerError as exc:
                # What archives where the server does, or has its clients, is not left so.
                self._cluster.patch("StatefulSet", self._asked.name, {"spec": {"replicas": 0}})
                raise KubernetesError(f"{exc} The clone was scaled to 0 again.") from exc
        else:
            self._finish()

    def _make(self) -> None:
        for one in self._plan.objects:
            there = self._there(one)
            if there is None:
                items.carry_out(self._cluster, items.judge(self._cluster, one, items.Terms(hold=True)))
                self._tell(f"made the {name_of(one)}")
            elif not is_ours(there, self._plan.wanted):
                raise KubernetesError(f"The {name_of(one)} was made by somebody else meanwhile.")
        if self._asked.data == CLAIMS:
            for name in self._plan.claims.values():
                found = self._cluster.get(CLAIM, name)
                if found is None:
                    raise KubernetesError(f"The claim {name} was deleted meanwhile.")
                body = {"metadata": {"labels": {CLONE: self._asked.name}}}
                self._cluster.patch(CLAIM, name, body)

    def _look_at_it(self) -> None:
        """Before it counts as done: what is done is not looked at again. Raises ServerError."""
        proof = self.result.proof
        proof.add(self._serving.compare(landed(self._entry()), beside=True))
        proof.add(look(self._cluster, self._asked.name))
        proof.require("The clone is not apart from other servers.")

    def _finish(self) -> None:
        place, proof = self._place, self.result.proof
        self.result.recovery = landed(self._entry())
        proof.proven.append(f"The pod {place.pod} is ready with what was recovered.")
        proof.unproven += self._plan.doubts
        self.result.next_steps = messages.next_steps(place, self.result.isolated)
