# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims made anew on other volumes. Each step asks what is there, and makes of it what has to be, from wherever a run before was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import MANAGED_BY
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import wait_for, wait_until_gone
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import source, swap_objects as objects
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap_objects import Journal
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

CLAIM, VOLUME, JOB = "PersistentVolumeClaim", "PersistentVolume", "Job"


class Rebinding:
    """The claims and volumes of a journal. ``timeout``: seconds for each step."""

    def __init__(self, cluster: Cluster, journal: Journal, timeout: float, tell: Callable[[str], None]) -> None:
        self._cluster, self._journal, self._timeout, self._tell = cluster, journal, timeout, tell

    def retain(self) -> None:
        """From here on no claim takes its volume along."""
        for name, one in self._journal.claims.items():
            self._cluster.patch(VOLUME, one.old_volume, objects.retained(name, self._cluster.namespace))
            self._cluster.patch(VOLUME, one.new_volume, objects.retained(one.restored, self._cluster.namespace))

    def free(self, wanted: Mapping[str, Optional[str]]) -> None:
        """Delete each claim that is on another volume than the wanted one, once nobody has it any more. The server's own come last: what goes wrong
        with the others leaves it what it has.

        Raises:
            KubernetesError: one cannot be deleted, or is somebody's.
        """
        self._await_detached()
        self._forget_jobs(list(wanted))
        for name in sorted(wanted, key=lambda name: name in self._journal.claims):
            there = self._to_change(name)
            if there is not None and spec_of(there).get("volumeName") != wanted[name]:
                self._delete(there)

    def bind(self, name: str, volume: str) -> None:
        """Let a claim of the name be there, on the volume. Raises KubernetesError."""
        cluster, there = self._cluster, self._cluster.get(CLAIM, name)
        if there is not None and meta(there).get("deletionTimestamp"):
            # What was asked for once cannot be taken back: it goes, and another one comes.
            wait_until_gone(cluster, CLAIM, name, self._timeout, uid=str(meta(there)["uid"]))
            there = None
        if there is None:
            found = cluster.get(VOLUME, volume)
            if found is None:
                raise Missing(f"The volume {volume} is not there any more.")
            reference = spec_of(found).get("claimRef") or {}
            if reference.get("name") != name or reference.get("uid"):
                cluster.patch(VOLUME, volume, objects.waiting_for(name, cluster.namespace))
            cluster.create(objects.claim_on(name, cluster.namespace, self._journal, volume))
        wait_for(cluster, CLAIM, name, self._timeout, tell=self._tell)

    def is_on(self, name: str, volume: str) -> bool:
        """Whether there is such a claim, on this volume."""
        there = self._cluster.get(CLAIM, name)
        return there is not None and spec_of(there).get("volumeName") == volume

    def release(self, volume: str, policy: str) -> None:
        """Give a volume its policy back: one that no claim has is deleted by that, where it is ``Delete``."""
        if self._cluster.get(VOLUME, volume) is not None:
            self._cluster.patch(VOLUME, volume, objects.released(policy))

    def _await_detached(self) -> None:
        volumes = {name: {"metadata": {"name": name}} for name in self._journal.volumes}
        last: list[str] = []

        def none() -> Optional[bool]:
            last[:] = source.attached(self._cluster, volumes)
            return None if last else True

        if Waiter(self._timeout, pause=0.2, most=2.0).until({"detached": none}) is None:
            raise KubernetesError(
                f"After {format_duration(self._timeout)} the volume {', '.join(last)} is still attached. Is that node gone?"
            )

    def _forget_jobs(self, claims: Sequence[str]) -> None:
        """Delete our Jobs that have done their work on the claims: their pods keep a claim as long as they are there."""
        for name in sorted({name for pod in source.ended_users(self._cluster, claims) if (name := job_of(pod))}):
            self._cluster.delete(JOB, name, propagation="Foreground")
            wait_until_gone(self._cluster, JOB, name, self._timeout)

    def _to_change(self, name: str) -> Optional[Manifest]:
        there = self._cluster.get(CLAIM, name)
        if there is None or spec_of(there).get("volumeName") in self._journal.volumes:
            return there
        if meta(there).get("deletionTimestamp"):
            return there
        raise KubernetesError(
            f"The claim {name} is on the volume {spec_of(there).get('volumeName') or 'none yet'}, which is neither the old nor the new one: somebody "
            "scaled the StatefulSet up meanwhile, and its controller made an empty one. Delete that claim, once nothing on it is needed."
        )

    def _delete(self, claim: Manifest) -> None:
        """A claim alone: that its volume stays is looked at in this very moment."""
        name, uid = meta(claim)["name"], str(meta(claim)["uid"])
        volume = self._cluster.get(VOLUME, str(spec_of(claim).get("volumeName")))
        if volume is None or policy_of(volume) != "Retain":
            raise KubernetesError(
                f"The claim {name} is not deleted, as its volume {spec_of(claim).get('volumeName')} would go with it: somebody has changed its reclaim "
                "policy from Retain."
            )
        self._cluster.delete(CLAIM, name, uid=uid)
        wait_until_gone(self._cluster, CLAIM, name, self._timeout, uid=uid)


def refuse_forgotten(cluster: Cluster, stateful_set: Manifest) -> None:
    """For one without a journal. Raises KubernetesError: a volume of its claims is kept for a restore in place, and so it had one, before it was
    deleted and applied anew (``helm upgrade --force``)."""
    name = meta(stateful_set)["name"]
    for one in spec_of(stateful_set).get("volumeClaimTemplates") or ():
        claim_name = f"{meta(one)['name']}-{name}-0"
        with contextlib.suppress(Forbidden):  # one that no snapshot is of
            claim = cluster.get(CLAIM, claim_name) or {}
            volume = cluster.get(VOLUME, str(spec_of(claim).get("volumeName") or "-")) or {}
            if objects.KEPT_FOR in (meta(volume).get("annotations") or {}):
                raise KubernetesError(
                    f"The volume {meta(volume)['name']} of {claim_name} is kept for a restore in place, and the annotation {objects.JOURNAL} of the "
                    f"StatefulSet {cluster.namespace}/{name}, which said the other volumes, is not there: was it deleted and applied anew? Nothing was "
                    f"done, and all the volumes are there still (Retain); their annotation {objects.KEPT_FOR} says which claim each had (kubectl get pv -o "
                    f"yaml). Give each claim the volume that it is to have, and remove that annotation from it."
                )


def refuse_let_go(cluster: Cluster, journal: Journal) -> None:
    """Raises KubernetesError: there is nothing to take back any more."""
    gone = []
    for one in journal.claims.values():
        volume = cluster.get(VOLUME, one.old_volume)
        if volume is None or meta(volume).get("deletionTimestamp"):
            gone.append(one.old_volume)
    if gone:
        raise KubernetesError(
            f"The old volume {', '.join(gone)} is not there any more: state: confirmed let it go, and did not come to its end, or somebody deleted it. Nothing "
            "was done. Where what was restored serves, state: confirmed again ends it."
        )


def job_of(pod: Manifest) -> Optional[str]:
    """The Job of ours that a pod is of; None: it is somebody else's."""
    ours = MANAGED_BY.items() <= (meta(pod).get("labels") or {}).items()
    owners = meta(pod).get("ownerReferences") or ()
    return next((str(one["name"]) for one in owners if ours and one.get("kind") == JOB), None)


def policy_of(volume: Manifest) -> str:
    """What becomes of it when its claim is deleted."""
    return str(spec_of(volume).get("persistentVolumeReclaimPolicy") or "Delete")
