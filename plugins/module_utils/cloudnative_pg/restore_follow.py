# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the operator while it makes a server of a backup: what its pods say, why one fails, and when it serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import recovery_log
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    CLUSTER,
    UNKNOWN_PLUGIN,
    CnpgCluster,
    cluster_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import Trouble, troubles
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

OF_CLUSTER, JOB_ROLE = "cnpg.io/cluster", "cnpg.io/jobRole"
#: seconds that what may pass by itself is given
PATIENCE = 120.0
_AGAIN = 2  # pods that fail for the same reason, where it may pass
_LINES = 2000  # of a log that are read
# The operator stays there until somebody does something.
_STUCK = (
    UNKNOWN_PLUGIN,
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
    "Cluster has incomplete or invalid image catalog",
    "Cluster is unrecoverable and needs manual intervention",
    "Unable to create required cluster objects",
    "Invalid cluster definition",
)
# Of a pod that ended, its log says more.
_LOGGED = ("crash",)


@dataclass
class RestoreFollower:
    """``tell`` gets what is new; ``ended``: what the recovery's log said of where it ended, as far as it was there to be read."""

    cluster: Cluster
    name: str
    tell: Callable[[str], None]
    ended: recovery_log.Ended = field(default_factory=recovery_log.Ended)
    _phase: str = ""
    _read: set[str] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)
    _troubles: dict[str, float] = field(default_factory=dict)
    _said: Optional[recovery_log.Failure] = None

    def until_it_serves(self, seconds: float) -> CnpgCluster:
        """Wait until all instances are there and ready.

        Raises:
            KubernetesError: it never will, with the reason; or it is not in time.
            Missing: the Cluster is gone.
        """
        self.cluster.tell = self.tell
        found = Waiter(seconds, pause=0.5, most=2.0).until({"serves": self._look})
        if found is None:
            said = f" {self._said.message}" if self._said else ""
            raise KubernetesError(
                f"The new Cluster {self.name} does not serve after {format_duration(seconds)}: the operator calls it {self._phase or 'nothing yet'}.{said} "
                f"It may go on; run this again to follow it further (timeout), or look: kubectl describe cluster {self.name}"
            )
        return found.value

    def _look(self) -> Optional[CnpgCluster]:
        manifest = self.cluster.get(CLUSTER, self.name)
        if manifest is None:
            raise Missing(f"The new Cluster {self.name} was deleted while it was followed.")
        now = cluster_of(manifest)
        if now.phase and now.phase != self._phase:
            self.tell(f"{self.name}: {now.phase}{f' ({now.phase_reason})' if now.phase_reason else ''}")
            self._phase = now.phase
        pods = self.cluster.list("Pod", f"{OF_CLUSTER}={self.name}")
        for pod in pods:
            if (pod["metadata"].get("labels") or {}).get(JOB_ROLE):
                self._read_log(pod)
        if now.healthy and now.ready_instances >= now.instances:
            return now
        if now.phase in _STUCK:
            why = f" {self._said.message}" if self._said else ""
            raise self._failed(f"{now.phase}{f': {now.phase_reason}' if now.phase_reason else ''}.{why}")
        self._look_for_troubles(pods)
        return None

    def _read_log(self, pod: Manifest) -> None:
        """Of a pod that ended, once, before the operator removes it."""
        uid, phase = str(pod["metadata"].get("uid")), (pod.get("status") or {}).get("phase")
        if phase not in ("Succeeded", "Failed") or uid in self._read:
            return
        self._read.add(uid)
        name, role = pod["metadata"]["name"], pod["metadata"]["labels"][JOB_ROLE]
        try:
            lines = list(self.cluster.logs(name, container=role, tail=_LINES))
        except (Forbidden, Missing, KubernetesError) as exc:
            self.tell(f"The log of the pod {name} could not be read: {exc}")
            lines = []
        if phase == "Succeeded":
            found = recovery_log.ended(lines)
            self.ended = replace(found, stopped=found.stopped or self.ended.stopped, last=found.last or self.ended.last)
            return
        failure = recovery_log.why(lines)
        self._said = failure or recovery_log.Failure("Its log says nothing of why.", False)
        self._failures[self._said.message] = self._failures.get(self._said.message, 0) + 1
        self.tell(f"The pod {name} failed. {self._said.message}")
        if self._said.certain or self._failures[self._said.message] >= _AGAIN:
            raise self._failed(f"Its pod {name} failed. {self._said.message}")

    def _look_for_troubles(self, pods: Manifests) -> None:
        claims = self.cluster.list("PersistentVolumeClaim", f"{OF_CLUSTER}={self.name}")
        events: Manifests = []
        for one in [*pods, *claims]:
            if (one.get("status") or {}).get("phase") == "Pending":
                events += self.cluster.events(str(one["kind"]), one["metadata"]["name"])
        found = [trouble for trouble in troubles([*pods, *claims], events) if trouble.code not in _LOGGED]
        now = time.monotonic()
        for trouble in found:
            if trouble.code not in self._troubles:
                self.tell(trouble.message)
        self._troubles = {one.code: self._troubles.get(one.code, now) for one in found}
        stays: Optional[Trouble] = next(
            (one for one in found if one.certain or now - self._troubles[one.code] >= PATIENCE), None
        )
        if stays is not None:
            raise self._failed(stays.message)

    def _failed(self, why: str) -> KubernetesError:
        return KubernetesError(
            f"The Cluster {self.name} is not recovered, and will not be by waiting. {why} The source was not touched. Mend that, delete the Cluster "
            f"{self.name} with what it left (kubectl delete cluster {self.name}), and run this again."
        )
