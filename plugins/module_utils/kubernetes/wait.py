# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait for an object of the cluster: by predicates, with a deadline always, and with the reason told as soon as there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests, name_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import (
    Predicate,
    Progress,
    progress_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import Trouble, troubles
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

Tell = Callable[[str], None]

#: troubles of a pod that ended
_OF_ITS_PODS = ("crash", "oom", "evicted", "preempted", "deadline")


class WaitFailed(KubernetesError):
    """What was waited for failed, cannot come, or did not come in time. ``object``: as it was last seen; ``troubles``: what keeps it;
    ``late``: the deadline was met."""

    def __init__(self, message: str, seen: Optional[Manifest], found: list[Trouble], late: bool = False) -> None:
        super().__init__(message)
        self.object, self.troubles, self.late = seen, found, late


def wait_for(
    cluster: Cluster,
    kind: str,
    name: str,
    timeout: float,
    predicate: Optional[Predicate] = None,
    namespace: Optional[str] = None,
    patience: float = 60.0,
    tell: Tell = lambda message: None,
) -> Manifest:
    """Wait until an object is done: by the predicate of its kind (``predicates.py``), or another one.

    ``timeout``: seconds. ``patience``: seconds that a trouble which may pass is given, such as a node that has yet to be added.
    ``tell``: hears each trouble when it is first seen.

    Raises:
        WaitFailed: it failed; it never can be; the deadline. The message says why.
        Missing: it is not there, or was deleted meanwhile.
    """
    watch = _Watch(cluster, kind, name, namespace, predicate, patience, tell)
    waiter = Waiter(timeout, pause=0.2, most=2.0)
    found = waiter.until({"done": watch.look})
    if found is not None:
        return found.value
    seen = name_of(watch.seen) if watch.seen else f"{kind} {name}"
    raise WaitFailed(
        f"{seen} was waited for {format_duration(timeout)}, and {watch.progress.message or 'is not done'}. {watch.reasons()}".rstrip(),
        watch.seen,
        list(watch.since),
        late=True,
    )


def wait_until_gone(
    cluster: Cluster, kind: str, name: str, timeout: float, namespace: Optional[str] = None, uid: str = ""
) -> None:
    """Wait until an object is deleted. ``uid``: until this very one is; another of its name may be there by then.

    Raises:
        WaitFailed: the deadline; the message names the finalizers that keep it.
    """
    last: list[Manifest] = []

    def look() -> Optional[bool]:
        found = cluster.get(kind, name, namespace)
        if found is None or (uid and found["metadata"].get("uid") != uid):
            return True
        last[:] = [found]
        return None

    if Waiter(timeout, pause=0.2, most=2.0).until({"gone": look}) is None:
        metadata = last[0]["metadata"]
        why = ", ".join(metadata.get("finalizers") or ()) or "nobody says why"
        asked = "" if metadata.get("deletionTimestamp") else " Nobody has asked for its deletion."
        raise WaitFailed(
            f"{name_of(last[0])} is still there after {format_duration(timeout)} (it is kept by: {why}).{asked}",
            last[0],
            [],
            late=True,
        )


def look_for_troubles(cluster: Cluster, seen: Manifest) -> list[Trouble]:
    """What is wrong now with an object, the pods that it makes, and the claims that they use. What may not be read is left out."""
    objects: Manifests = [seen]
    namespace = seen["metadata"].get("namespace")
    try:
        objects += _pods_of(cluster, seen)
        pods = [one for one in objects if one.get("kind") == "Pod"]
        names = {
            volume["persistentVolumeClaim"]["claimName"]
            for pod in pods
            if (pod.get("status") or {}).get("phase") == "Pending"
            for volume in (pod.get("spec") or {}).get("volumes") or ()
            if volume.get("persistentVolumeClaim")
        }
        claims = [cluster.get("PersistentVolumeClaim", name, namespace) for name in sorted(names)]
        objects += [{"kind": "PersistentVolumeClaim", **claim} for claim in claims if claim is not None]
    except Forbidden:
        pass
    events: Manifests = []
    for one in objects:
        events += cluster.events(str(one["kind"]), one["metadata"]["name"], namespace)
    return troubles(objects, events)


def _pods_of(cluster: Cluster, seen: Manifest) -> Manifests:
    kind, metadata = seen.get("kind"), seen["metadata"]
    if kind == "Job":
        selector = f"batch.kubernetes.io/job-name={metadata['name']}"
    elif kind in ("StatefulSet", "Deployment"):
        labels = ((seen.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    else:
        return []
    pods = cluster.list("Pod", selector, namespace=metadata.get("namespace"))
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")] if selector else []


class _Watch:
    """One object, looked at again and again."""

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        name: str,
        namespace: Optional[str],
        predicate: Optional[Predicate],
        patience: float,
        tell: Tell,
    ) -> None:
        self._cluster, self._kind, self._name, self._namespace = cluster, kind, name, namespace
        self._predicate, self._patience, self._tell = predicate, patience, tell
        self.seen: Optional[Manifest] = None
        self.progress = Progress("waiting")
        #: troubles, with when each was first seen
        self.since: dict[Trouble, float] = {}

    def look(self) -> Optional[Manifest]:
        """The object when it is done, None while it is not."""
        found = self._cluster.get(self._kind, self._name, self._namespace)
        if found is None:
            was = " any more: it was deleted while it was waited for" if self.seen else ""
            raise Missing(f"{self._kind} {self._name} is not there{was}.")
        self.seen = {"kind": self._kind.rpartition("/")[2], **found}
        self.progress = progress_of(self.seen, self._predicate)
        if self.progress.done:
            return self.seen
        self._look_for_troubles()
        if self.progress.failed:
            raise WaitFailed(
                f"{name_of(self.seen)} failed: {self.progress.message}. {self.reasons()}".rstrip(),
                self.seen,
                list(self.since),
            )
        now = time.monotonic()
        # A Job makes another pod, or says itself that it has failed.
        left = _OF_ITS_PODS if self._kind == "Job" else ()
        stays = [
            trouble
            for trouble, first in self.since.items()
            if trouble.code not in left and (self._is_certain(trouble) or now - first >= self._patience)
        ]
        if stays:
            lasting = "" if stays[0].certain else f" That has lasted for {format_duration(now - self.since[stays[0]])}."
            raise WaitFailed(f"{name_of(self.seen)} does not get on. {stays[0].message}{lasting}", self.seen, stays)
        return None

    def _is_certain(self, trouble: Trouble) -> bool:
        """A Deployment's container that ended is begun anew, and may find by then what it lacked."""
        return trouble.certain and not (self._kind == "Deployment" and trouble.code == "crash")

    def reasons(self) -> str:
        return " ".join(trouble.message for trouble in self.since)

    def _look_for_troubles(self) -> None:
        now = time.monotonic()
        found = look_for_troubles(self._cluster, self.seen or {})
        for trouble in found:
            if trouble.code not in {known.code for known in self.since}:
                self._tell(trouble.message)
        # The same trouble in other words (a counter, a back-off) is no new one.
        first = {known.code: when for known, when in self.since.items()}
        self.since = {trouble: first.get(trouble.code, now) for trouble in found}
