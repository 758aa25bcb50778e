# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until the pods of many applications have ended: with one list a namespace for all of them, so that it takes as long as the slowest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import App, Target, who_changed
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, selects, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Forbidden, KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import is_true
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

Tell = Callable[[str], None]
#: seconds beyond its grace period in which the kubelet kills a pod and says so; later it does not
_OVERDUE = 30.0
#: seconds until a pod that nobody ends is asked about
_SETTLE = 1.0


def of_app(pod: Manifest, app: App, jobs: frozenset[str] = frozenset()) -> bool:
    """Whether a pod is an application's. ``jobs``: uids of a CronJob's Jobs."""
    owner = next((one for one in meta(pod).get("ownerReferences") or () if one.get("controller")), None)
    if owner is None or meta(pod).get("namespace") != app.target.namespace:
        return False
    if app.is_cron_job:
        return str(owner.get("uid")) in jobs
    if app.target.kind == "StatefulSet":
        return str(owner.get("uid")) == app.uid
    if not selects(spec_of(app.object).get("selector") or {}, meta(pod).get("labels") or {}):
        return False
    # Its ReplicaSet is named after it: <name>-<pod-template-hash>.
    mark = (meta(pod).get("labels") or {}).get("pod-template-hash")
    return owner.get("kind") == "ReplicaSet" and (
        owner.get("name") == f"{app.target.name}-{mark}" or mark is None and _named(str(owner.get("name")), app)
    )


def _named(replica_set: str, app: App) -> bool:
    return re.fullmatch(re.escape(app.target.name) + r"-[a-z0-9]+", replica_set) is not None


def has_ended(pod: Manifest) -> bool:
    """Whether none of its containers runs any more, whatever keeps the object: such a pod holds no session."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def why(pod: Manifest, waited: float, left: float) -> str:
    """Why a pod is still there, for a message; empty: it is on its way. ``waited``: seconds since it was first seen ending; ``left``: until
    the deadline."""
    name = f"The pod {meta(pod).get('namespace')}/{meta(pod)['name']}"
    if not meta(pod).get("deletionTimestamp"):
        if any(one.get("kind") == "Job" for one in meta(pod).get("ownerReferences") or ()):
            return f"{name} is a run that began before its CronJob was suspended, and is still at work."
        return f"{name} is not being ended."
    grace = meta(pod).get("deletionGracePeriodSeconds") or 0
    if waited > grace + _OVERDUE:
        return f"{name} had {grace} s to end, and its node ({spec_of(pod).get('nodeName')}) does not say that it has"
    if grace - waited > left:
        return (
            f"{name} has {grace} s to end by itself (terminationGracePeriodSeconds), which is longer than there is time for: it does not end "
            "when it is told to (SIGTERM), or has much to finish."
        )
    return ""


def refuse_started(app: App) -> None:
    """Raises KubernetesError: somebody started again what we stopped; the message says who."""
    if app.running:
        field = "suspend" if app.is_cron_job else "replicas"
        raise KubernetesError(
            f"The {app.target} was stopped, and is started again ({app.count()}) by {who_changed(app.object, field) or 'somebody'}: what manages it "
            "has to be paused first (on_managed), or does not let itself be recognised."
        )


class Ending:
    """The pods of applications that were stopped, looked at until none is left."""

    def __init__(self, cluster: Cluster, apps: Sequence[App], tell: Tell) -> None:
        self._cluster, self._tell = cluster, tell
        self._apps: dict[Target, App] = {app.target: app for app in apps}
        self._seen: dict[str, float] = {}  # since when a pod is seen ending, by uid
        self._told: set[str] = set()
        self._began = time.monotonic()
        self._timeout = 0.0
        self._left: list[tuple[App, Manifest]] = []
        self.requests = 0

    def pods(self) -> list[tuple[App, Manifest]]:
        """Those that have not ended, each with its application."""
        found = []
        for namespace in sorted({app.target.namespace for app in self._apps.values()}):
            apps = [app for app in self._apps.values() if app.target.namespace == namespace]
            selector = _selector(apps)
            self.requests += 1
            pods = [pod for pod in self._cluster.list("Pod", selector, namespace=namespace) if not has_ended(pod)]
            jobs = self._jobs(namespace, apps) if pods else {}
            for app in apps:
                mine = jobs.get(app.uid, frozenset())
                found += [(app, pod) for pod in pods if of_app(pod, app, mine)]
        return found

    def _jobs(self, namespace: str, apps: Iterable[App]) -> Mapping[str, frozenset[str]]:
        """The uids of the Jobs of each CronJob, by its uid."""
        if not any(app.is_cron_job for app in apps):
            return {}
        self.requests += 1
        found: dict[str, set[str]] = {}
        for job in self._cluster.list("Job", namespace=namespace):
            for owner in meta(job).get("ownerReferences") or ():
                found.setdefault(str(owner.get("uid")), set()).add(str(meta(job)["uid"]))
        return {uid: frozenset(jobs) for uid, jobs in found.items()}

    def wait(self, timeout: float) -> None:
        """Until all have ended.

        Raises:
            KubernetesError: somebody scaled one up again; a pod cannot end; the deadline.
        """
        self._timeout = timeout
        if Waiter(timeout, pause=0.1, most=1.0).until({"ended": self._look}) is None:
            reasons = [
                self._why(pod) or f"The pod {meta(pod)['namespace']}/{meta(pod)['name']} is ending."
                for _app, pod in self._left
            ]
            raise KubernetesError(
                f"After {format_duration(timeout)} {len(self._left)} pods have not ended. {' '.join(dict.fromkeys(reasons[:5]))}"
            )

    def _look(self) -> Optional[bool]:
        self._left = self.pods()
        now = time.monotonic()
        asked: set[Target] = set()
        for app, pod in self._left:
            uid = str(meta(pod)["uid"])
            if meta(pod).get("deletionTimestamp"):
                self._seen.setdefault(uid, now)
            elif not app.is_cron_job and now - self._began > _SETTLE and app.target not in asked:
                asked.add(app.target)
                self._still_stopped(app)
            said = self._why(pod)
            if said and said not in self._told and (meta(pod).get("deletionTimestamp") or app.is_cron_job):
                self._told.add(said)
                self._tell(said)
            if said.endswith("does not say that it has"):
                raise KubernetesError(f"{said}. {self._node(str(spec_of(pod).get('nodeName')))}")
        return True if not self._left else None

    def _why(self, pod: Manifest) -> str:
        now = time.monotonic()
        since = self._seen.get(str(meta(pod)["uid"]), now)
        return why(pod, now - since, self._timeout - (now - self._began))

    def _still_stopped(self, app: App) -> None:
        """Raises KubernetesError: somebody started it again."""
        target = app.target
        self.requests += 1
        found = self._cluster.get(target.kind, target.name, target.namespace)
        if found is not None:
            refuse_started(App({"kind": target.kind, **found}))

    def _node(self, name: str) -> str:
        end = f"Where the node is gone for good: kubectl delete node {name}, or kubectl delete pod --force once it is certain that it is off."
        try:
            node = self._cluster.get("Node", name)
        except Forbidden:
            return f"Look at that node. {end}"
        if node is None or not is_true(node, "Ready"):
            return f"That node is not ready: its programs may still run. {end}"
        return f"That node is ready, so look at its kubelet. {end}"


def _selector(apps: Sequence[App]) -> str:
    """Labels for the list of pods: those of the only application; else all pods of the namespace are looked at."""
    if len(apps) != 1 or apps[0].is_cron_job:
        return ""
    labels: dict[str, Any] = (spec_of(apps[0].object).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
