# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task's Job, brought into the state that is asked for. The plan is made by reads and dry runs; what is then done is the plan."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import job, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import AlreadyThere, KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import wait_until_gone

Step = tuple[str, Callable[[], None]]
_GONE = 180.0  # seconds for a Job's pods to end


@dataclass
class JobRun:
    """One task's Job. ``keep``: seconds that it stays after its end; ``again``: run it although it ended well before."""

    cluster: Cluster
    task: str
    request: RunRequest
    keep: int
    again: bool = False
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        names.check_name("name", self.task, names.LONGEST_TASK)
        pod.check(self.request)
        # Where its claims are in use is no part of what was asked for.
        self.mark = job.identity(replace(self.request, node=None), self.task)
        self.name = names.job_name(self.task, self.mark)
        self.there = self.cluster.get("Job", self.name)

    @property
    def status(self) -> str:
        """absent, preparing, suspended, running, Complete or Failed."""
        if self.there is None or self.there["metadata"].get("deletionTimestamp"):
            return "absent"
        over = job.finished(self.there)
        if over:
            return over
        if self.there["spec"].get("suspend"):
            annotations = self.there["metadata"].get("annotations") or {}
            return "preparing" if names.PREPARING in annotations else "suspended"
        return "running"

    def present(self) -> list[Step]:
        """What makes it run, where it did not end well already. Raises HoldfastError."""
        status = self.status
        if status == "suspended":
            self.warnings.append(f"The Job {self.name} is suspended: it waits for state: released.")
            return []
        if status == "running" or (status == "Complete" and not self.again):
            return []
        return [*self._made(status), ("let it go", lambda: self._suspend(False))]

    def suspended(self) -> list[Step]:
        """What makes it wait. Raises HoldfastError."""
        status = self.status
        if status in ("suspended", "Complete"):
            return []
        if status == "running":
            return [(f"suspend the Job {self.name}, which ends its pod", lambda: self._suspend(True))]
        return [*self._made(status), ("leave it suspended", lambda: self._suspend(True))]

    def released(self) -> list[Step]:
        """What lets it go. Raises HoldfastError."""
        status = self.status
        if status in ("absent", "Failed"):
            raise KubernetesError(
                f"There is no Job {self.name} that waits to be released: the task {self.task} was not made with state: suspended, or not with these "
                "options (each of them is part of its name)."
            )
        if status == "suspended":
            return [(f"release the Job {self.name}", lambda: self._suspend(False))]
        return [("let it go", lambda: self._suspend(False))] if status == "preparing" else []

    def absent(self) -> list[Step]:
        """What removes each Job of the task, whatever it was asked for with."""
        return [self._deletion(found) for found in self._of_task()]

    # What follows is how.

    def _of_task(self) -> list[Manifest]:
        return [
            found
            for found in self.cluster.list("Job", f"{names.TASK}={names.label(self.task)}")
            if not found["metadata"].get("deletionTimestamp")
        ]

    def _deletion(self, found: Manifest) -> Step:
        metadata = found["metadata"]
        over = {"Complete": "which ended well", "Failed": "which failed", None: "which is not over"}[
            job.finished(found)
        ]
        return (
            f"delete the Job {metadata['name']}, {over}, with its pods and its Secret",
            lambda: self._delete(metadata["name"], metadata["uid"]),
        )

    def _made(self, status: str) -> list[Step]:
        others = [
            found for found in self._of_task() if found["metadata"]["name"] != self.name and job.finished(found) is None
        ]
        if others:
            raise KubernetesError(
                f"Another run of the task {self.task} is not over: the Job {others[0]['metadata']['name']}, which was asked for with other options. "
                "Nothing was begun. Wait for it, or end it with state: absent."
            )
        steps: list[Step] = []
        if status in ("Complete", "Failed") and self.there is not None:
            steps.append(self._deletion(self.there))
        made = self._manifest()
        if status == "preparing":
            steps.append((f"go on with the Job {self.name}, which somebody began to make", lambda: None))
        else:
            # Where the old one still has the name, the dry run is of another.
            dry = made if not steps else {**made, "metadata": {**made["metadata"], "name": f"{self.task}-dry-run"}}
            self.cluster.create(dry, dry_run=True)
            steps.append(
                (
                    f"make the Job {self.name}, which runs {self.request.playbook} in {self.request.image}",
                    lambda: self._create(made),
                )
            )
        self.cluster.create(pod.secret(self.request, f"{self.task}-dry-run", made["metadata"]["labels"]), dry_run=True)
        steps.append(("make the Secret with its variables, which goes with the Job", self._secret))
        return steps

    def _manifest(self) -> Manifest:
        # A name of its own: the garbage collector may not have deleted yet what a former Job of this name had.
        secret = f"{self.name}-{secrets.token_hex(3)}"
        made = job.job(self.request, self.task, self.mark, secret, self.keep)
        made["metadata"]["annotations"][names.PREPARING] = "true"
        return made

    def _create(self, made: Manifest) -> None:
        try:
            self.there = self.cluster.create(made)
        except AlreadyThere:
            # Somebody asked for the same at the same moment: one Job, and both follow it.
            self.there = self.cluster.get("Job", self.name)

    def _secret(self) -> None:
        if self.there is None:
            raise KubernetesError(f"The Job {self.name} was deleted while it was made. Nothing was run.")
        labels = self.there["metadata"]["labels"]
        # Made, and never applied: that would want the right to read Secrets. What is there has the same variables, as its Job's name says.
        with contextlib.suppress(AlreadyThere):
            self.cluster.create(pod.secret(self.request, job.secret_of(self.there), labels, self.there))

    def _suspend(self, suspended: bool) -> None:
        annotations = {names.PREPARING: None}
        self.there = self.cluster.patch(
            "Job", self.name, {"metadata": {"annotations": annotations}, "spec": {"suspend": suspended}}
        )

    def _delete(self, name: str, uid: str) -> None:
        self.cluster.delete("Job", name, uid=uid, propagation="Foreground")
        wait_until_gone(self.cluster, "Job", name, _GONE, uid=uid)
        if name == self.name:
            self.there = None


def by_hand(cluster: Cluster, schedule: str) -> tuple[str, list[Step]]:
    """The Job of a run by hand of a CronJob: its name, and what makes it. One that somebody began, and that is not over, is that one.

    Raises:
        KubernetesError: there is no such CronJob.
    """
    found = cluster.get("CronJob", schedule)
    if found is None:
        there = [one["metadata"]["name"] for one in cluster.list("CronJob")]
        raise KubernetesError(
            f"There is no CronJob {schedule} in the namespace {cluster.namespace}. There is {', '.join(there) or 'none at all'}."
        )
    manual = "cronjob.kubernetes.io/instantiate"
    for one in cluster.list("Job", f"{names.SCHEDULE}={names.label(schedule)}"):
        if job.finished(one) is None and (one["metadata"].get("annotations") or {}).get(manual) == "manual":
            return one["metadata"]["name"], []
    # As many digits as Kubernetes appends itself, so that the longest name of a CronJob has a run by hand.
    made = job.by_hand(found, str(int(time.time())))
    cluster.create(made, dry_run=True)
    return made["metadata"]["name"], [
        (f"run the schedule {schedule} now, as the Job {made['metadata']['name']}", lambda: _create(cluster, made))
    ]


def _create(cluster: Cluster, made: Manifest) -> None:
    cluster.create(made)


def node_of_claims(cluster: Cluster, claims: Sequence[str]) -> Optional[str]:
    """The node on which a claim that only one node may mount is in use; None: none is.

    Raises:
        KubernetesError: a claim is not there, is in use and of one pod alone, or two are in use on different nodes.
    """
    bound: dict[str, Manifest] = {}
    for claim in claims:
        found = cluster.get("PersistentVolumeClaim", claim)
        if found is None:
            raise KubernetesError(
                f"There is no claim {claim} in the namespace {cluster.namespace}. Nothing was begun. Make it, or look at the names in claims."
            )
        bound[claim] = found
    if not bound:
        return None
    nodes: dict[str, str] = {}
    for one in cluster.list("Pod"):
        node = one["spec"].get("nodeName")
        if not node or (one.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for volume in one["spec"].get("volumes") or ():
            claim = str((volume.get("persistentVolumeClaim") or {}).get("claimName"))
            modes = (bound[claim]["spec"].get("accessModes") or []) if claim in bound else []
            if "ReadWriteOncePod" in modes and (one["metadata"].get("labels") or {}).get(names.TASK) is None:
                raise KubernetesError(
                    f"The claim {claim} is ReadWriteOncePod, and the pod {one['metadata']['name']} has it: no other pod can mount it. Nothing was begun. "
                    "Back up over the network instead (leave it out of claims), or stop that pod first."
                )
            if claim in bound and not {"ReadWriteMany", "ReadOnlyMany"} & set(modes):
                nodes[claim] = node
    if len(set(nodes.values())) > 1:
        where = ", ".join(f"{claim} on {node}" for claim, node in sorted(nodes.items()))
        raise KubernetesError(
            f"The claims are in use on different nodes, and each can be mounted on its own alone: {where}. Nothing was begun."
        )
    return next(iter(nodes.values()), None)


def carry_out(steps: Sequence[Step], plan_only: bool) -> list[str]:
    """Do what a plan says, unless it is only to be told. Raises HoldfastError."""
    if not plan_only:
        for _told, do in steps:
            do()
    return [told for told, _do in steps]
