# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replica whose data is broken, or lost, made anew from the primary: copied beside what it has, exchanged while the pod is stopped, and seen to follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.managers import managed_by
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.survey import Survey
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.actions import CLAIM, Actions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import Journal, parse
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.messages import BACK
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place, place_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import (
    Request,
    Result,
    request_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.run import Recovery
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.stepwise import Tell, landed
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.actions import ReplicaActions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.primary import Asked, Primary

#: with the pod's number behind it: what is under way there
_NOTE = f"{PREFIX}replica-"


@dataclass(frozen=True)
class ReplicaRequest(Request):
    """``ordinal``: of the pod; ``user``: as whom its data is written, where neither the data nor the pod says it."""

    ordinal: int = -1
    user: Optional[int] = None

    def said(self) -> str:
        return "what the primary has"


def replica_request_of(params: Mapping[str, Any]) -> ReplicaRequest:
    """Raises BadOption."""
    pod = {
        **params["pod"], "variables": {}, "variables_from": [], "secrets": {}, "claims": {}, "nfs": [], "read_only": [], "resources": {},
    }  # fmt: skip
    user = pod.pop("run_as_user")
    flat = {
        **params, "pod": pod, "recovery_target": {}, "backup_id": "latest", "keep_archiving": False, "settings": {}, "accept_unsigned": False,
        "repository": None, "server_name": "", "argocd_namespace": "argocd", "amcheck": "none", "check_time": "1s",
    }  # fmt: skip
    if params["ordinal"] < 0:
        raise BadOption("ordinal", params["ordinal"], "is no number of a pod", "Write 1 for the pod that ends with -1.")
    return ReplicaRequest(**{**vars(request_of(flat)), "ordinal": params["ordinal"], "user": user})


class Replica(Recovery):
    """``recovered``, ``rolled_back`` and ``confirmed``, as of any recovery."""

    table = steps.OF_REPLICA
    back = {
        **BACK,
        steps.STOP: "stop the pod, and those of higher numbers",
        steps.START: "start them again",
    }
    returned = "Everything was taken back, and the old data is in its place again."

    def __init__(
        self, cluster: Cluster, request: ReplicaRequest, primary: Primary, serving: Serving, check: bool, tell: Tell, warnings: list[str]
    ) -> None:  # fmt: skip
        self._replica, self._primary = request, primary
        self._known: Optional[Asked] = None
        super().__init__(cluster, request, serving, check, tell, warnings)

    @property
    def _called(self) -> str:
        return f"{self._place.namespace}/{self._place.pod}"

    @property
    def _of_replica(self) -> ReplicaActions:
        if not isinstance(self._actions, ReplicaActions):
            raise AssertionError("its actions are of another run")
        return self._actions

    def _parts(
        self, cluster: Cluster, request: Request, tell: Tell, warnings: list[str]
    ) -> tuple[Place, Actions, Journal]:
        place = _find(cluster, self._replica)
        actions = ReplicaActions(cluster, place, request, tell, warnings)
        actions.ordinal = self.below = self._replica.ordinal
        actions.annotation = f"{_NOTE}{self._replica.ordinal}"
        journal = Journal(cluster, request.stateful_set, actions.annotation)
        return place, actions, journal

    def _refuse(self) -> None:
        self._asked()
        self._agree(f"replaces what the replica {self._called} has now")
        self._refuse_swap()
        self._refuse_other()
        self._actions.would_stop()

    def rolled_back(self) -> Result:
        entry = self._journal.entry
        if entry is not None and entry.step == steps.DONE:
            self._refuse_new_primary()
        return super().rolled_back()

    def _refuse_new_primary(self) -> None:
        """Raise KubernetesError where a failover has made it the primary since. Where there is none to ask, the old data may be all there is."""
        try:
            self._refuse_primary(self._primary.ask())
        except (BadOption, ServerError) as exc:
            self._warnings.append(f"That {self._place.pod} is not the primary by now is not known: {exc}")

    def _refuse_other(self) -> None:
        """Raise KubernetesError where another replica is being made anew: to start this pod again would start that one, half exchanged."""
        found = self._cluster.get("StatefulSet", self._request.stateful_set) or {}
        for name, text in sorted((meta(found).get("annotations") or {}).items()):
            number = name[len(_NOTE) :]
            if name.startswith(_NOTE) and number.isdigit() and int(number) != self._replica.ordinal:
                other = parse(text, name)
                if other is not None and other.step not in (steps.DONE, steps.CLEARING):
                    raise KubernetesError(
                        f"{self._place.stateful_set}-{number} is being made anew since {other.began}, and stands at: {other.step}. Nothing was done. End that "
                        "first: the same task with its ordinal goes on, or takes it back by state: rolled_back."
                    )

    def _go_back(self, why: str) -> None:
        entry = self._entry()
        slot, stood_at = self._slot, entry.stood_at or entry.step
        super()._go_back(why)
        if slot and stood_at not in (steps.PROVING, steps.STOPPING):
            self._warnings.append(
                f"The primary keeps its WAL for the slot {slot} until {self._place.pod} follows by it again. Where it never will, drop it there "
                f"(SELECT pg_drop_replication_slot('{slot}')), or the primary's disk becomes full."
            )

    def _foreseen(self, begin: str) -> list[str]:
        place = self._place
        told = {
            steps.PROVING: f"ask the primary which pod it is, and look at the volume of {place.claim}",
            steps.STOPPING: f"set the volume to Retain, and scale the StatefulSet to the pods below {place.pod}; those from it on are stopped",
            steps.LAYING_OUT: "copy the primary by pg_basebackup of the server's own image beside the old data, in a hidden directory of the same volume",
            steps.SWAPPING: f"let it take the place of what is in {place.data}, which is kept in the hidden directory",
            steps.STARTING: f"scale the StatefulSet up again, and wait until the primary streams to {place.pod}",
        }
        return [told[one] for one in steps.to_do(begin, self.table) if one in told]

    def _do(self, step: str) -> None:
        actions = self._of_replica
        if step == steps.PROVING:
            self._asked()
            if actions.is_exclusive():
                self._warnings.append(
                    f"The claim {self._place.claim} is ReadWriteOncePod: what stands in the way is seen only once the pod is stopped, which is "
                    "started again then."
                )
            else:
                self._look()
        elif step == steps.STOPPING:
            self._stop()
        elif step == steps.LAYING_OUT:
            if self._entry().user < 0:
                self._look()
            slot = self._slot
            if slot:
                self.result.proof.proven.append(self._primary.reserve(slot))
            actions.copy(self._entry(), self._asked(), slot, self._fallback())
        elif step == steps.SWAPPING:
            self._asked(again=True)
            actions.clear_jobs()
            actions.require_stopped()
            actions.swap(self._entry())
            actions.require_stopped()
        elif step == steps.STARTING:
            actions.start()
            self._see_it_follow()
        else:
            self.result.recovery = landed(self._entry())
            self.result.next_steps = [
                f"What it had before is kept in {self._entry().hidden}: state: confirmed removes it, state: rolled_back brings it back."
            ]

    def _asked(self, again: bool = False) -> Asked:
        """What the primary says. Raises ServerError, KubernetesError: it is this very pod, or none of the StatefulSet's, or cannot be copied so."""
        if self._known is not None and not again:
            return self._known
        found, before = self._primary.ask(), self._known
        if self._pod_of(found.address) is None:
            raise KubernetesError(
                f"The primary answers from {found.address}, which is no pod of the StatefulSet {self._place.stateful_set}. Nothing was done. Does login_host "
                "lead to this server's primary, and to no pooler?"
            )
        self._refuse_primary(found)
        if found.tablespaces:
            raise KubernetesError(
                f"The primary has tablespaces ({', '.join(found.tablespaces)}), which lie outside the data directory: a replica of it is not made so."
            )
        if before is not None and before.system_id != found.system_id:
            raise KubernetesError("Another server is the primary since this began.")
        self._known = found
        return found

    def _refuse_primary(self, primary: Asked) -> None:
        """Raise KubernetesError where it is this very pod, or one that is stopped with it."""
        name = self._pod_of(primary.address) or ""
        if name and int(name.rpartition("-")[2]) >= self._replica.ordinal:
            what = "is the primary" if name == self._place.pod else f"cannot be stopped without the primary ({name})"
            raise KubernetesError(
                f"{self._place.pod} {what}, by its own word. Nothing of it was touched. A whole server is brought back by k8s_recover, or make a pod of a "
                "lower number the primary first."
            )

    def _pod_of(self, address: str) -> Optional[str]:
        prefix = f"{self._place.stateful_set}-"
        for pod in self._cluster.list("Pod"):
            status = pod.get("status") or {}
            addresses = {status.get("podIP"), *(one.get("ip") for one in status.get("podIPs") or ())}
            name = str(meta(pod)["name"])
            if address in addresses and name.startswith(prefix) and name[len(prefix) :].isdigit():
                return name
        return None

    def _look(self) -> None:
        """Whose the data is, whom it follows, and whether there is room for both. Raises KubernetesError."""
        entry, place, primary = self._entry(), self._place, self._asked()
        found = self._actions.look(entry.id)
        if found.get("wal"):
            raise KubernetesError(f"{place.pod} has its WAL in {found['wal'][0]}, outside its data directory.")
        free = int((found.get("free") or ["-1"])[0])
        if 0 <= free < primary.size * 1.1:
            raise KubernetesError(
                f"The volume of {place.claim} has {free >> 20} MiB left, and the primary's databases are {primary.size >> 20} MiB: what is copied lies beside "
                "the old data until it is confirmed. Nothing was touched. Make the claim larger."
            )
        if found.get("inside") and not found.get("standby"):
            self._warnings.append(
                f"What {place.pod} has now is no standby (it has no standby.signal): it may have been a primary, with rows that no other has. It is kept."
            )
        user, group = self._whose(found)
        beside = found.get("beside", ["yes"]) == ["yes"]
        told = {
            "slot": (found.get("slot") or [""])[0],
            "primary": self._pod_of(primary.address),
            "system_id": primary.system_id,
        }
        self._journal.note(user=user, group=group, hidden=f"{place.hidden(beside)}/{entry.id}", landed=json.dumps(told))
        if not found.get("conninfo"):
            self.result.proof.unproven.append(
                f"How it followed was not known any more ({place.data} does not say): it follows as the superuser, by no slot."
            )

    def _whose(self, found: Mapping[str, list[str]]) -> tuple[int, int]:
        place = self._place
        user = (
            int(found["user"][0])
            if found.get("inside")
            else place.user
            if place.user is not None
            else self._replica.user
        )
        if user is None and found.get("user"):
            user = int(found["user"][0]) or None
        if user is None:
            raise BadOption(
                "pod.run_as_user", None, f"is not given, and neither the data nor {place.stateful_set} says as whom PostgreSQL runs",
                "Give the number of PostgreSQL's user in its image: 999 in Debian's, 70 in Alpine's.",
            )  # fmt: skip
        group = int(found["group"][0]) if found.get("inside") else None
        return user, next(one for one in (group, place.group, place.fs_group, user) if one is not None)

    @property
    def _slot(self) -> str:
        return str(json.loads(self._entry().landed or "{}").get("slot") or "")

    def _fallback(self) -> str:
        """How the primary is reached where the old data does not say it: the governing Service knows its pod by name."""
        found = self._cluster.get("StatefulSet", self._place.stateful_set) or {}
        name = self._pod_of(self._asked().address)
        host = (
            f"{name}.{spec_of(found).get('serviceName')}"
            if spec_of(found).get("serviceName")
            else self._asked().address
        )
        password = self._of_replica.password() or {}
        user = password.get("user") or self._place.superusers[0]
        return f"host={host} port={self._asked().port} user={user} application_name={self._place.pod}"

    def _see_it_follow(self) -> None:
        pod = self._cluster.get("Pod", self._place.pod) or {}
        address = str((pod.get("status") or {}).get("podIP") or "")
        behind = self._primary.follows(address, self._request.timeout)
        if behind is None:
            raise KubernetesError(
                f"The pod {self._place.pod} is ready, and the primary does not stream to it ({address})."
            )
        self.result.proof.proven.append(
            f"The primary streams to {self._place.pod}, which is {behind if behind >= 0 else 'an unknown number of'} bytes behind."
        )

    def _undo_one(self, action: str) -> None:
        if action == steps.START:
            self._of_replica.scale_up()  # what it had may never be ready
        else:
            super()._undo_one(action)


def _find(cluster: Cluster, request: ReplicaRequest) -> Place:
    """Raises Missing, BadOption, KubernetesError."""
    name, number = request.stateful_set, request.ordinal
    found = cluster.get("StatefulSet", name)
    if found is None:
        raise Missing(f"There is no StatefulSet {name} in the namespace {cluster.namespace}. Nothing was done.")
    template = spec_of(spec_of(found).get("template") or {})
    maps = Survey(cluster).config_maps(template)
    place = place_of(found, maps, request.container, request.login_user, number)
    manager = managed_by(found, discover.environment(dict(place.container), maps), place.image)
    if manager:
        raise KubernetesError(
            f"The StatefulSet {name} is kept by {manager}, who makes replicas himself. Nothing was done. Patroni: patronictl reinit {name} {place.pod}; "
            "repmgr: repmgr standby clone; an operator: delete the pod with its claim, or as its documentation says."
        )
    count = int(spec_of(found).get("replicas", 1))
    waits = [one for one in meta(found).get("annotations") or {} if one.startswith(_NOTE)]  # its count too
    if count < 2 and not waits:
        raise BadOption(
            "stateful_set", name, f"has {count} pod{'s' if count != 1 else ''}, and so no replica",
            "A whole server of one pod is brought back by k8s_recover.",
        )  # fmt: skip
    if cluster.get(CLAIM, place.claim) is None:
        raise Missing(
            f"There is no claim {place.claim}, on which {place.pod} has its data. Nothing was done. Where it was deleted, delete the pod too: both are made "
            "again."
        )
    return place
