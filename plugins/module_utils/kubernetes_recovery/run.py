# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole server of a StatefulSet brought back in its own volume: planned, carried out step by step with each written down before it is begun,
and taken back by itself where one fails. What a killed run left is gone on with by the next."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    KubernetesError,
    Missing,
    NotLoggedIn,
    Unreachable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.follow import OutOfSight
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import SWAP
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.survey import Survey
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.actions import CLAIM, Actions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import Entry, Journal
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.messages import (
    BACK,
    another,
    foreseen,
    next_steps,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place, place_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import Request, Result
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.stepwise import (
    Stepwise,
    Tell,
    landed,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LATEST


class TakenBack(KubernetesError):
    """It failed, and what was there before serves."""

    def result(self) -> dict[str, Any]:
        return {"taken_back": True}


class Recovery(Stepwise):
    """``recovered``, ``rolled_back`` and ``confirmed`` are the module's states. With ``check`` nothing but reading is done. A replica that is made anew
    has the same states, by other steps (``kubernetes_replica``)."""

    table: tuple[str, ...] = steps.STEPS
    back: Mapping[str, str] = BACK
    #: pods that are left when its own is stopped
    below = 0
    returned = "Everything was taken back, and the old data serves again."

    def __init__(
        self, cluster: Cluster, request: Request, serving: Serving, check: bool, tell: Tell, warnings: list[str]
    ) -> None:
        request.check()
        parts = self._parts(cluster, request, tell, warnings)
        super().__init__(cluster, request, *parts, serving, check, tell, warnings)
        self._consent = Consent(check)

    def _parts(
        self, cluster: Cluster, request: Request, tell: Tell, warnings: list[str]
    ) -> tuple[Place, Actions, Journal]:
        place = _find(cluster, request)
        return (
            place,
            Actions(cluster, place, request, tell, warnings),
            Journal(cluster, request.stateful_set),
        )

    def _refuse(self) -> None:
        """Raise HoldfastError for what stands in the way of one that is not begun yet."""
        if not self._request.recover.get("holdfast_repository") and not self._request.pod["variables"]:
            raise BadOption("repository", None, "is missing", "Say where the backups are.")
        self._agree(f"replaces what the server {self._called} has now")
        self._refuse_swap()
        self._actions.would_stop()

    def _foreseen(self, begin: str) -> list[str]:
        return foreseen(self._place, self._request.said(), begin)

    def recovered(self) -> Result:
        """Bring it back. Raises HoldfastError: the message says which data serves now."""
        entry = self._journal.entry
        digest = self._request.digest(self._place.namespace)
        self._refuse_half_removed()
        if entry is None:
            self._refuse()
            self.result.plan = self._foreseen(steps.PROVING)
        elif entry.step == steps.GOING_BACK:
            self.result.plan = [f"go on with the way back of a recovery that failed ({entry.why})"]
        elif entry.digest != digest:
            raise KubernetesError(another(entry, self._called))
        elif entry.step == steps.DONE:
            self._actions.require_volume(entry)
            self._told_done(entry)
            return self.result
        else:
            self.result.plan = [
                f"go on with the recovery of {entry.began} to {entry.target}, which stands at: {entry.step}",
                *self._foreseen(entry.step),
            ]
        self.result.changed = True
        if not self._check:
            with self._alone():
                self._carry_out(digest)
        return self._end()

    def rolled_back(self) -> Result:
        """Let the old data serve again. Raises HoldfastError."""
        entry = self._journal.entry
        if entry is None:
            return self._end()
        self._refuse_half_removed()
        self._actions.require_volume(entry)
        if entry.step == steps.DONE:
            self._agree(f"takes away what was written to the server {self._called} since its recovery of {entry.began}")
        self.result.changed = True
        self.result.plan = [
            f"take the recovery of {entry.began} to {entry.target} back, which stands at: {entry.step}",
            *(self.back[one] for one in steps.way_back(entry.stood_at or entry.step)),
        ]
        if not self._check:
            with self._alone():
                self._go_back("it was asked for")
        return self._end()

    def confirmed(self) -> Result:
        """Remove the old data: what was recovered is good. Raises HoldfastError."""
        entry = self._journal.entry
        if entry is None:
            return self._end()
        if entry.step not in (steps.DONE, steps.CLEARING):
            raise KubernetesError(
                f"The recovery of {entry.began} to {entry.target} is not done: it stands at: {entry.step}. Nothing was removed. Run it again to go on, "
                "or take it back by state: rolled_back."
            )
        self._actions.require_volume(entry)
        if self._actions.is_exclusive():
            raise KubernetesError(
                f"The claim {self._place.claim} is ReadWriteOncePod: no pod of ours can remove anything from it while the server runs. Nothing was removed. "
                f"Scale the StatefulSet {self._place.stateful_set} to {self.below}, run this again, and scale it up again."
            )
        self.result.changed = True
        self.result.plan = [
            f"remove the data from before {entry.began}, which lies in {entry.hidden}",
            self.back[steps.RELEASE],
        ]
        if not self._check:
            with self._alone():
                held = self._take()
                self._actions.clear_jobs()
                self._journal.note(step=steps.CLEARING)
                self._actions.remove(held)
                self._actions.release(held)
                self._journal.write(None)
        return self._end()

    # what is read

    def _refuse_half_removed(self) -> None:
        entry = self._journal.entry
        if entry is not None and entry.step == steps.CLEARING:
            raise KubernetesError(
                f"The data that {self._called} had before {entry.began} is being removed, since state: confirmed, and may be gone by half: it is not brought "
                "back. Nothing was done. Run state: confirmed again, which ends that."
            )

    def _refuse_swap(self) -> None:
        found = self._cluster.get("StatefulSet", self._request.stateful_set) or {}
        if SWAP in (meta(found).get("annotations") or {}):
            raise KubernetesError(
                f"A restore of snapshots in place of {self._called} is neither confirmed nor taken back, and keeps its old volumes by their names. Nothing "
                "was done. End that first: pvc_snapshot with state: confirmed, or state: rolled_back."
            )

    def _agree(self, what: str) -> None:
        asked = self._request
        if not asked.force or self._called not in asked.confirm:
            refusal = BadOption(
                "stateful_set", asked.stateful_set, f"is a server that has data: this {what}",
                f"What it has now is kept until state: confirmed. To agree, set force: true and confirm: [{self._called}].",
            )  # fmt: skip
            self._consent.need(refusal, force=True, confirm=[self._called])

    def _told_done(self, entry: Entry) -> None:
        self.result.recovery = landed(entry)
        self._warnings.append(
            f"The server {self._called} was recovered so at {entry.began}. What was written to it since is not looked at."
        )
        self._end()

    def _end(self) -> Result:
        entry = self._journal.entry
        self.result.step = entry.step if entry else ""
        if entry and entry.step == steps.DONE:
            self.result.kept = entry.hidden
        self.result.consent = self._consent.missing
        self.result.plan += self._consent.steps()
        return self.result

    # what is done

    def _remains(self) -> str:
        entry = self._journal.entry
        if entry is None:
            return ""
        if entry.step == steps.CLEARING:
            return f"The server {self._called} serves what was recovered, and state: confirmed goes on with the removal of what it had before."
        return (
            f"The recovery of {self._called} to {entry.target} stands at: {entry.step}. The same task goes on with it, and state: rolled_back lets "
            "the old data serve again."
            + (
                f" Its data lies on the volume of {self._place.claim}, in its place or in {entry.hidden}."
                if entry.hidden
                else ""
            )
        )

    def _carry_out(self, digest: str) -> None:
        entry = self._journal.entry
        if entry is None:
            began = format_time(utcnow())
            entry = Entry(secrets.token_hex(4), steps.PROVING, digest, self._request.said(), began, self._run)
            self._journal.write(entry)
        else:
            entry = self._take()
        if entry.step == steps.GOING_BACK:
            self._go_back(entry.why)
            raise TakenBack(
                f"A recovery of {self._called} that failed before ({entry.why}) has been taken back now, and the old data serves. Run this again for another "
                "attempt."
            )
        try:
            self._walk(steps.to_do(entry.step, self.table))
        except HoldfastError as exc:
            self._undo(exc)

    def _undo(self, exc: HoldfastError) -> None:
        """Raises KubernetesError, always: what failed, and which data serves now."""
        why = " ".join(str(exc).split())
        if isinstance(exc, (NotLoggedIn, OutOfSight, Unreachable)):
            # Nothing is known to have failed, and the way back would not be seen either.
            raise KubernetesError(f"{why} {self._remains()}") from exc
        try:
            entry = self._journal.read()
        except HoldfastError as again:
            raise KubernetesError(
                f"The recovery of {self._called} failed: {why} Then: {again} {self._remains()}"
            ) from exc
        if entry is None or entry.run != self._run:
            raise exc
        touched = entry.step != steps.PROVING
        try:
            self._go_back(why)
        except HoldfastError as again:
            raise KubernetesError(
                f"The recovery of {self._called} failed: {why} Then the way back failed too: {again} The old data is in the volume of {self._place.claim}, in "
                f"its place or in {entry.hidden}/old. The same task, or state: rolled_back, goes on with the way back."
            ) from exc
        end = self.returned if touched else "Nothing was touched."
        raise TakenBack(f"The recovery of {self._called} failed: {why} {end}") from exc

    def _do(self, step: str) -> None:
        actions = self._actions
        if step == steps.PROVING:
            self._prove()
        elif step == steps.STOPPING:
            self._send_last()
            self._stop()
        elif step == steps.LAYING_OUT:
            if self._entry().user < 0:
                self._look()
            self._tell(actions.lay_out(self._entry()))
        elif step == steps.RECOVERING:
            self._recover()
        elif step == steps.SWAPPING:
            actions.clear_jobs()
            actions.require_stopped()
            actions.swap(self._entry())
            actions.require_stopped()
        elif step == steps.STARTING:
            actions.start()
            self.result.proof.add(self._serving.compare(landed(self._entry())))
        else:
            self.result.recovery = landed(self._entry())
            self.result.proof.proven.append(f"The pod {self._place.pod} is ready with what was recovered.")
            self.result.proof.lost.append(
                "What was changed since, passwords too, is as it was then: where a Secret was rotated meanwhile, its password is not the server's."
            )
            self.result.next_steps = next_steps(
                self._entry(), bool(self._request.recover["holdfast_recover_keep_archiving"])
            )

    def _stop(self) -> None:
        actions = self._actions
        if not self._entry().policy:
            volume, policy = actions.volume()
            # Before it is changed, or nobody would know it after a kill.
            self._journal.note(volume=volume, policy=policy)
        actions.retain(self._entry().volume, self._entry().policy)
        actions.stop()

    def _send_last(self) -> None:
        """What the server wrote last is in the archive, where that can be had. Raises HoldfastError: the recovery needs it, and it is not."""
        try:
            segment = self._serving.send_last(min(self._request.timeout, _LAST_WAL))
        except HoldfastError as exc:
            if self._request.target.kind == LATEST:
                raise
            self._warnings.append(str(exc))
            return
        if segment:
            self.result.proof.proven.append(
                f"What the server had written when it was to be stopped (to the end of {segment}) was in the archive before it was."
            )

    def _prove(self) -> None:
        actions = self._actions
        if actions.is_exclusive():
            self._warnings.append(
                f"The claim {self._place.claim} is ReadWriteOncePod: what stands in the way of the recovery is seen only once the server is down, which is "
                "started again then."
            )
            return
        self._look()
        self._tell(actions.prove(self._entry()))

    def _look(self) -> None:
        """Whose the data is, and what cannot be exchanged. Raises KubernetesError."""
        entry = self._entry()
        found = self._actions.look(entry.id)
        place = self._place
        if found.get("there") != ["yes"] or "inside" not in found:
            raise KubernetesError(
                f"There is no data directory in {place.data} on the volume of {place.claim}, or it cannot be read as its owner. To restore into an empty "
                "volume use the playbook recover in a Job (docs/kubernetes.md)."
            )
        if found.get("wal") or found.get("tablespace"):
            what = f"WAL in {found['wal'][0]}" if found.get("wal") else f"{len(found['tablespace'])} tablespaces"
            raise KubernetesError(
                f"The server has {what}, outside its data directory: a recovery in its own volume exchanges {place.data} alone. Recover it into another "
                "StatefulSet beside (docs/kubernetes.md)."
            )
        self._journal.note(
            user=int(found["user"][0]),
            group=int(found["group"][0]),
            hidden=f"{place.hidden(found.get('beside') == ['yes'])}/{entry.id}",
        )

    def _go_back(self, why: str) -> None:
        """The old data serves again. Raises HoldfastError: it does not."""
        entry = self._take()
        stood_at = entry.stood_at or entry.step
        self._journal.note(step=steps.GOING_BACK, why=why[:500], stood_at=stood_at)
        self._actions.clear_jobs()
        for action in steps.way_back(stood_at):
            self._tell(self.back[action])
            try:
                self._undo_one(action)
            except HoldfastError as exc:
                if steps.must_succeed(action):
                    raise
                self._warnings.append(f"On the way back this was left: {self.back[action]}. {exc}")
            if action == steps.MOVE_BACK:
                # Whoever goes on after this finds nothing to move back, and is not to look for it.
                self._journal.note(stood_at=steps.RECOVERING)
        self._journal.write(None)

    def _undo_one(self, action: str) -> None:
        actions, entry = self._actions, self._entry()
        if action == steps.STOP:
            actions.stop()
        elif action == steps.MOVE_BACK:
            actions.move_back(entry)
        elif action == steps.REMOVE:
            actions.remove(entry)
        elif action == steps.START:
            actions.start()
        else:
            actions.release(entry)


def _find(cluster: Cluster, request: Request) -> Place:
    name = request.stateful_set
    found = cluster.get("StatefulSet", name)
    if found is None:
        raise Missing(f"There is no StatefulSet {name} in the namespace {cluster.namespace}. Nothing was done.")
    maps = Survey(cluster).config_maps(spec_of(spec_of(found).get("template") or {}))
    place = place_of(found, maps, request.container, request.login_user)
    claim = cluster.get(CLAIM, place.claim)
    if claim is None:
        raise Missing(
            f"There is no claim {place.claim}, on which {name} has its data. Nothing was done. Start the server once, so that its claim is made."
        )
    return place


_LAST_WAL = 300.0  # seconds for the last segment to come into the archive
