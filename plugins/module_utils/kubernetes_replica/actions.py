# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done in the cluster for one replica of several pods, beside what is done for any recovery (``kubernetes_recovery/actions.py``)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import who_changed
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Conflict, KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import progress_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    WaitFailed,
    wait_for,
    wait_until_gone,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.actions import JOB, Actions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import Entry
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.manifests import script_job
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica import scripts
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.primary import Asked
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

#: how many pods there were, while those from the replica on are stopped
COUNT = f"{PREFIX}replica-count"
_AGAIN = 10  # attempts while others change it


class ReplicaActions(Actions):
    """On the pod ``ordinal``, which goes with those of higher ones."""

    look_script = scripts.LOOK
    anew = True
    ordinal = 0

    def stop(self) -> list[str]:
        """Scale it down to the pods below this one, and wait until the others have ended. The count is written down by the same request."""

        def scaled(found: Manifest) -> Optional[tuple[Optional[str], int]]:
            count = int(spec_of(found).get("replicas", 1))
            keep = self.ordinal - int((spec_of(found).get("ordinals") or {}).get("start") or 0)
            return ((meta(found).get("annotations") or {}).get(COUNT, str(count)), keep) if count > keep else None

        found = self._scale(scaled)
        start = int((spec_of(found).get("ordinals") or {}).get("start") or 0)
        count, notes = int(spec_of(found).get("replicas", 1)), meta(found).get("annotations") or {}
        for number in range(self.ordinal, start + max(count, int(notes.get(COUNT, 0)))):
            wait_until_gone(self.cluster, "Pod", f"{self.place.stateful_set}-{number}", self._request.timeout)
        return []

    def require_stopped(self) -> None:
        """Raises KubernetesError: somebody has started the pod again meanwhile, on the data that is to be exchanged."""
        found = self._stateful_set()
        start = int((spec_of(found).get("ordinals") or {}).get("start") or 0)
        if int(spec_of(found).get("replicas", 1)) > self.ordinal - start or self._server_pod() is not None:
            who = who_changed(found, "replicas") or "somebody"
            raise KubernetesError(
                f"The pod {self.place.pod} was stopped, and has been started again meanwhile by {who}: what manages the StatefulSet has to be paused first."
            )

    def scale_up(self) -> None:
        """Give it the count that it had."""

        def scaled(found: Manifest) -> Optional[tuple[Optional[str], int]]:
            count = (meta(found).get("annotations") or {}).get(COUNT)
            return None if count is None else (None, max(int(count), int(spec_of(found).get("replicas", 1))))

        self._scale(scaled)

    def _scale(self, wanted: Callable[[Manifest], Optional[tuple[Optional[str], int]]]) -> Manifest:
        """``wanted``: what is noted of the count, and the count, for it as it is; None: it stays. Returns it as it was before. Its status is written by its
        controller all the time. Raises KubernetesError."""
        for _attempt in range(_AGAIN):
            found = self._stateful_set()
            change = wanted(found)
            if change is None:
                return found
            version = meta(found)["resourceVersion"]
            body = {
                "metadata": {"resourceVersion": version, "annotations": {COUNT: change[0]}},
                "spec": {"replicas": change[1]},
            }
            try:
                self.cluster.patch("StatefulSet", self.place.stateful_set, body)
                return found
            except Conflict:
                continue
        raise Conflict(f"The StatefulSet {self.place.stateful_set} is being changed by somebody all the time.")

    def start(self) -> list[str]:
        self.scale_up()
        there = Waiter(self._request.timeout, pause=0.2, most=1.0).until(
            {"there": lambda: self.cluster.get("Pod", self.place.pod)}
        )
        if there is None:
            raise KubernetesError(
                f"The pod {self.place.pod} was not made again: those of lower numbers have to be ready first."
            )
        wait_for(self.cluster, "Pod", self.place.pod, self._request.timeout, tell=self._tell)
        return []

    def copy(self, entry: Entry, primary: Asked, slot: str, fallback: str) -> None:
        """Have the server's own image copy the primary into the hidden directory. ``fallback``: how the primary is reached where the old data does not say
        it. Raises KubernetesError: what pg_basebackup said."""
        name = self._job_name("copy", entry.id)
        there = self.cluster.get(JOB, name)
        if there is not None and progress_of(there).failed:
            self._delete(name, str(meta(there)["uid"]))
            there = None
        if there is None:
            self.make(entry)
            self.cluster.create(self._copying(name, entry, primary, slot, fallback))
        try:
            wait_for(self.cluster, JOB, name, float(self._request.deadline), tell=self._tell)
        except WaitFailed as exc:
            raise KubernetesError(self._said(name, "script") or str(exc)) from exc
        if self._said(name, "script") != "copied=yes":
            raise KubernetesError(f"The Job {name} ended well, and did not say that it had copied anything.")

    def _copying(self, name: str, entry: Entry, primary: Asked, slot: str, fallback: str) -> Manifest:
        place = self.place
        told = {
            "PGDATA": place.data,
            "MOUNT": place.mount,
            "NEW": posixpath.join(entry.hidden, "new", place.name),
            "MAJOR": str(primary.major),
            "SYSTEM_ID": primary.system_id,
            "SLOT": slot,
            "FALLBACK": fallback,
        }
        made = script_job(
            name, place, scripts.COPY, told, place.image, entry.user, entry.group, self._request.deadline, None,
            tuple(self._request.pod["image_pull_secrets"]), place.container.get("imagePullPolicy"),
        )  # fmt: skip
        container: dict[str, Any] = made["spec"]["template"]["spec"]["containers"][0]
        password = self.password()
        if password is not None:
            reference = {"name": password["secret"], "key": password["key"], "optional": True}
            container["env"].append({"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": reference}})
        return made

    def password(self) -> Any:
        """The Secret and key of the superuser's password, and its role; None: the container names none."""
        return discover.references(dict(self.place.template), dict(self.place.container)).password
