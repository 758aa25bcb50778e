# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Job, followed to its end: its log as progress, its result by what its pod said as it ended. The log is for people alone: it rotates, and
goes with the pod."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import job as jobs
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
    NotLoggedIn,
    Unreachable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import Trouble, said_by, troubles
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import look_for_troubles
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

#: label of a Job's pods
OF_JOB = "batch.kubernetes.io/job-name"
_LINES = 20  # of a log, at a look
#: seconds that what may pass by itself is given before it is an error: a node is added, a registry comes back
PATIENCE = 60.0


class RunFailed(HoldfastError):
    """The run ended, and failed; ``ended`` is what is known of it."""

    def __init__(self, message: str, ended: Ended) -> None:
        super().__init__(message)
        self.ended = ended

    def result(self) -> dict[str, Any]:
        return {"changed": True, "run": self.ended.describe()}


class NotStarted(KubernetesError):
    """The pod does not start, or is not even made; ``trouble`` says why."""

    def __init__(self, message: str, trouble: Trouble) -> None:
        super().__init__(message)
        self.trouble = trouble


class OutOfSight(KubernetesError):
    """The run goes on, and cannot be followed from here any more."""


@dataclass(frozen=True)
class Ended:
    """How a run ended. ``status``: ok, failed or stopped, as the run itself said; ``line``: one line on it; ``key`` and ``sha256``: of its
    record in the repository (None: it has none); ``pod``: where it ran, the last one; ``consent``: options that a run in check mode would need to be
    given, as it would destroy something."""

    job: str
    status: str
    line: str
    pod: Optional[str] = None
    changed: bool = False
    key: Optional[str] = None
    sha256: Optional[str] = None
    consent: Optional[Mapping[str, Any]] = None

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        return dict(vars(self))


@dataclass
class Follower:
    """Follows one Job. ``tell`` gets each line of its log that is new to it."""

    cluster: Cluster
    name: str
    tell: Callable[[str], None]
    _since: str = ""
    _shown: set[str] = field(default_factory=set)
    _troubles: dict[str, float] = field(default_factory=dict)
    #: the last ones that were there
    _pods: list[Manifest] = field(default_factory=list)

    def to_the_end(self, seconds: float) -> Ended:
        """Wait until it is over, at most so long.

        Raises:
            RunFailed: it failed.
            NotStarted: it cannot begin.
            OutOfSight: the API server stays away, the credentials have expired, or a right is missing.
            KubernetesError: it is gone, or is not over in time; it may go on.
        """
        self.cluster.tell = self.tell
        try:
            seen = Waiter(seconds, pause=0.5, most=2.0).until({"ended": self._look})
        except (Forbidden, NotLoggedIn, Unreachable) as exc:
            raise OutOfSight(
                f"The Job {self.name} was begun, and how it ends is not known here: {exc} It needs neither this host nor these credentials, and goes on "
                "in the cluster. Once that is mended run this task again: it finds the Job, and follows it to its end."
            ) from exc
        if seen is None:
            raise KubernetesError(
                f"The Job {self.name} did not end within {seconds:.0f} s, although its own deadline is before that: its pod may be stuck on a node "
                f"that does not answer. Look: kubectl get pods -l {OF_JOB}={self.name} -o wide"
            )
        return seen.value

    def _look(self) -> Optional[Ended]:
        job = self.cluster.get("Job", self.name)
        if job is None:
            raise KubernetesError(
                f"The Job {self.name} was deleted while it was followed. What it had finished stays; the next run does the rest."
            )
        # One that was deleted is gone by the time its Job has failed.
        pods = self._pods = self.pods() or self._pods
        over = jobs.finished(job)
        if pods:
            self._progress(pods[-1])
        if over:
            return ended(job, pods)
        self._refuse_what_cannot_start(job, pods)
        return None

    def pods(self) -> list[Manifest]:
        """The Job's pods, the newest last."""
        found = self.cluster.list("Pod", f"{OF_JOB}={self.name}")
        return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    def _progress(self, pod: Manifest) -> None:
        """What its log says since the last look. Nothing depends on it."""
        if (pod.get("status") or {}).get("phase") not in ("Running", "Succeeded", "Failed"):
            return
        name = pod["metadata"]["name"]
        try:
            lines = list(self.cluster.logs(name, tail=_LINES, since=self._since, timestamps=True))
        except (Missing, KubernetesError):
            return
        for line in lines:
            stamp, _space, text = line.partition(" ")
            if text.strip() and line not in self._shown:
                self.tell(text.strip())
            self._since = stamp or self._since
        self._shown = set(lines) or self._shown

    def _refuse_what_cannot_start(self, job: Manifest, pods: Sequence[Manifest]) -> None:
        """Raises KubernetesError, at once, for what would only be over at the deadline."""
        if (job.get("spec") or {}).get("suspend"):
            raise KubernetesError(
                f"The Job {self.name} was suspended while it was followed. state: released lets it go on."
            )
        if pods and (pods[-1].get("status") or {}).get("phase") != "Pending":
            self._troubles.clear()
            return
        found = look_for_troubles(self.cluster, job)
        now = time.monotonic()
        self._troubles = {one.code: self._troubles.get(one.code, now) for one in found}
        for one in found:
            self.tell(one.message)
        stays = [one for one in found if one.certain or now - self._troubles[one.code] >= PATIENCE]
        if stays:
            raise NotStarted(
                f"The run cannot start. {stays[0].message} The Job {self.name} stays until its deadline, and begins once that is mended: run this "
                "task again to follow it, or end it with state: absent.",
                stays[0],
            )


def ended(job: Manifest, pods: Sequence[Manifest]) -> Ended:
    """What is known of a Job that is over. Raises RunFailed: it failed; KubernetesError: whether it did is not known."""
    name = job["metadata"]["name"]
    pod = pods[-1] if pods else None
    said = message_of(pod)
    about = Ended(
        name,
        str(said.get("status", "failed")),
        str(said.get("line", "")),
        pod["metadata"]["name"] if pod else None,
        bool(said.get("changed")),
        said.get("key"),
        said.get("sha256"),
        said.get("consent") if isinstance(said.get("consent"), Mapping) else None,
    )
    if jobs.finished(job) == "Complete":
        if about.status == "ok":
            return about
        raise KubernetesError(
            f"The Job {name} ended well for Kubernetes, and its pod "
            + ("is gone" if pod is None else "left no result")
            + ", so that what it did is not known. Is its image one of this collection (with its callback run_record)? Look at the repository "
            "before you rely on it."
        )
    raise RunFailed(f"The run of the Job {name} failed: {_why(job, pod, about)}", about)


def message_of(pod: Optional[Manifest]) -> Mapping[str, Any]:
    """What the run said as it ended; empty where it said nothing of ours."""
    return said_by(_terminated(pod))


def _terminated(pod: Optional[Manifest]) -> Mapping[str, Any]:
    for status in ((pod or {}).get("status") or {}).get("containerStatuses") or ():
        found: Mapping[str, Any] = (status.get("state") or {}).get("terminated") or {}
        return found
    return {}


def _why(job: Manifest, pod: Optional[Manifest], about: Ended) -> str:
    failed: Mapping[str, Any] = next(
        (one for one in (job.get("status") or {}).get("conditions") or () if one.get("type") == "Failed"), {}
    )
    if failed.get("reason") == "DeadlineExceeded":
        return "it was not over at its deadline, and was ended there. Give it more time (deadline), or find what it waited for in its log."
    # What the kubelet did to it counts more than what the run could still say.
    hurt = [one for one in troubles([pod] if pod else []) if one.code != "crash"]
    if hurt:
        return hurt[0].message
    if about.line:
        return about.line
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return (
            "its pod was deleted before it was known how it ended, by somebody or with its node. Told to end, a run clears up and lets its lock go, and "
            "what it had finished stays: run this task again, which makes the Job anew."
        )
    terminated = _terminated(pod)
    told = " ".join(str(terminated.get("message") or "").split())[-600:]
    if terminated:
        return f"its container ended with exit code {terminated.get('exitCode')}" + (
            f" and said: {told}" if told else " and said nothing."
        )
    return str(failed.get("message") or "nobody says why.")
