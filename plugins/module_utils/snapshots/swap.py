# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restored claims take the place of a StatefulSet's own, whose volumes are kept until that is confirmed; and the way back.

Each step asks what is there and makes it what it has to be, so that a run that was killed is gone on with, or taken back, by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import App, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Selection,
    Settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.start_applications import Start
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.stop_applications import Stop
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import wait_for, wait_until_gone
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import source, swap_objects as objects
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap_objects import (
    SWAPPED,
    SWAPPING,
    TAKING_BACK,
    Journal,
    Swapped,
    journal_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

CLAIM, VOLUME, SET = "PersistentVolumeClaim", "PersistentVolume", "StatefulSet"


@dataclass(frozen=True)
class SwapRequest:
    """``stateful_set``: whose claims; ``on_managed``: as of ``k8s_apps``; ``timeout``: seconds for each: its pods to end, and to serve."""

    stateful_set: str
    on_managed: str
    argocd_namespace: str
    force: bool
    confirm: Sequence[str]
    timeout: float


class Swap:
    """The claims of one StatefulSet. ``tell`` hears what is waited for, ``warnings`` what should be known."""

    def __init__(
        self, cluster: Cluster, request: SwapRequest, tell: Callable[[str], None], warnings: list[str]
    ) -> None:
        self._cluster, self._request, self._tell, self._warnings = cluster, request, tell, warnings
        self.consent = Consent()

    def journal(self) -> Optional[Journal]:
        """What a run before wrote down; None: nothing. Raises Missing, KubernetesError."""
        return journal_of(self._set())

    def begun(self, journal: Journal) -> str:
        """What became of a run that was killed, as a part of a sentence."""
        what = "taking it back" if journal.state == TAKING_BACK else "restoring it"
        return f"the run of {journal.at} that was killed while {what} (backup {journal.backup_id})"

    # Forward

    def plan(self, backup_id: str, names: Mapping[str, str], looking: bool, made: bool) -> tuple[Journal, list[str]]:
        """What would be done, with nothing changed. ``names``: the restored claims, by those of the StatefulSet; ``made``: they are there.

        Raises:
            HoldfastError: it cannot be done, or must not.
        """
        self.consent = Consent(looking)
        top, request = self._set(), self._request
        self._refuse_set(top, names)
        self._apps(Stop, dry_run=True)
        claims = {name: self._swapped(top, name, restored, made) for name, restored in names.items()}
        journal = Journal(SWAPPING, backup_id, format_time(utcnow()), claims if made else {})
        if made:
            self._refuse_elsewhere(top, journal)
        if not request.force or request.stateful_set not in request.confirm:
            refusal = BadOption(
                "stateful_set", request.stateful_set, "would have other volumes under its claims",
                f"Its present ones are kept. Set force: true and confirm: [{request.stateful_set}].",
            )  # fmt: skip
            self.consent.need(refusal, force=True, confirm=[request.stateful_set])
        where = f"{self._cluster.namespace}/{request.stateful_set}"
        steps = [f"keep the volumes of {', '.join(names)} whatever becomes of their claims (Retain)"]
        if count := App({"kind": SET, **top}).running:
            steps.append(f"scale the StatefulSet {where} from {count} to 0, and wait until its pods have ended")
        steps += [f"give the volume of {restored} the name {name}" for name, restored in names.items()]
        if count:
            steps.append(f"scale it to {count}, and wait until it serves; else give the old volumes their names back")
        return journal, steps + self.consent.steps()

    def carry_out(self, journal: Journal) -> str:
        """Do it, or go on with it. What fails is taken back. Returns where the old volumes are, as a sentence.

        Raises:
            KubernetesError: what failed, and what became of the old volumes.
        """
        name = self._request.stateful_set
        left = (
            f"The StatefulSet {name} may be at 0, and its claims between two volumes, all of which are kept: the same run again goes on, and "
            "state: taken_back brings the old ones back."
        )
        with remains(left):
            try:
                self._write(replace(journal, state=SWAPPING))
                self._arrange(journal, journal.there)
                self._write(replace(journal, state=SWAPPED))
            except HoldfastError as exc:
                raise KubernetesError(f"{exc} {self._back_after(journal)}") from exc
        old = ", ".join(f"{one.old_volume} (of {claim})" for claim, one in journal.claims.items())
        return (
            f"The old volumes are kept: {old}. state: taken_back puts them back, state: confirmed lets them go as their class has it (the "
            "reclaim policy that they had)."
        )

    # Back

    def take_back(self, journal: Journal) -> None:
        """Give the old volumes their names back, and the restored ones theirs.

        Raises:
            KubernetesError: it could not be done; what was not is done by the next run.
        """
        left = f"The StatefulSet {self._request.stateful_set} may be at 0: state: taken_back again goes on."
        with remains(left):
            self._write(replace(journal, state=TAKING_BACK))
            self._arrange(journal, journal.back)
            self._policies(journal)
            self._write(None)

    def _back_after(self, journal: Journal) -> str:
        """After a failure: what became of it, in sentences."""
        try:
            self.take_back(journal)
        except HoldfastError as exc:
            kept = ", ".join(sorted(journal.volumes))
            return (
                f"The old volumes could not be put back: {exc} Nothing of them is lost: {kept} are kept (Retain). When that is mended, state: "
                "taken_back goes on."
            )
        restored = ", ".join(one.restored for one in journal.claims.values())
        return f"The old volumes have their names back, as before, and what was restored is in {restored} again."

    # Confirmed

    def confirm(self, journal: Journal) -> list[str]:
        """Let the old volumes go. Returns those that were deleted by that. Raises KubernetesError."""
        for name, one in journal.claims.items():
            there = self._cluster.get(CLAIM, name)
            if there is None or spec_of(there).get("volumeName") != one.new_volume:
                raise KubernetesError(
                    f"The claim {name} is not on the volume {one.new_volume} that it was restored to: nothing was let go of."
                )
        self._policies(journal)
        self._write(None)
        return [one.old_volume for one in journal.claims.values() if one.old_policy == "Delete"]

    # What follows is how.

    def _set(self) -> Manifest:
        found = self._cluster.get(SET, self._request.stateful_set)
        if found is None:
            raise Missing(
                f"There is no StatefulSet {self._request.stateful_set} in namespace {self._cluster.namespace}."
            )
        return found

    def _write(self, journal: Optional[Journal]) -> None:
        note = {"annotations": {objects.JOURNAL: None if journal is None else journal.text()}}
        self._cluster.patch(SET, self._request.stateful_set, {"metadata": note})

    def _apps(self, run: type, dry_run: bool = False) -> None:
        """Scale it to 0, or back, by the very rules of k8s_apps."""
        request, cluster = self._request, self._cluster
        target = Target(SET, cluster.namespace, request.stateful_set)
        settings = Settings(request.on_managed, request.argocd_namespace, True, request.timeout, dry_run)
        change = run(cluster, Selection((target,)), settings, None, self._tell).run()
        if not dry_run:
            self._warnings += change.left

    def _refuse_set(self, top: Manifest, names: Mapping[str, str]) -> None:
        """Raise what forbids to change the claims of this StatefulSet."""
        name, app = self._request.stateful_set, App({"kind": SET, **top})
        count = max(app.running, app.stopped or 0)
        if count > 1:
            raise BadOption(
                "stateful_set", name, f"has {count} pods, and the snapshot is of one of them: the others would follow a server that is not theirs any more",
                "Scale it to 1 first, and make the replicas anew afterwards.",
            )  # fmt: skip
        retention = spec_of(top).get("persistentVolumeClaimRetentionPolicy") or {}
        if retention.get("whenScaled") == "Delete":
            raise BadOption(
                "stateful_set", name, "has persistentVolumeClaimRetentionPolicy.whenScaled: Delete: scaled to 0, its claims would be deleted",
                "Set it to Retain first.",
            )  # fmt: skip
        mine = f"-{name}-"
        strange = [claim for claim in names if mine not in claim]
        templates = {meta(one)["name"] for one in spec_of(top).get("volumeClaimTemplates") or ()}
        strange += [claim for claim in names if mine in claim and claim.rpartition(mine)[0] not in templates]
        if strange:
            raise BadOption(
                "stateful_set", name, f"has no claims {', '.join(strange)}, of which the snapshots are",
                "Name the StatefulSet whose claims were snapshotted.",
            )  # fmt: skip
        uid = meta(top).get("uid")
        own = {
            meta(pod)["name"]
            for pod in self._cluster.list("Pod")
            if any(owner.get("uid") == uid for owner in meta(pod).get("ownerReferences") or ())
        }
        others = [pod for pod in source.users(self._cluster, [*names, *names.values()]) if pod not in own]
        if others:
            raise KubernetesError(
                f"{', '.join(others)} uses the claims too, which so cannot be given other volumes. Nothing was touched. End it first."
            )

    def _swapped(self, top: Manifest, name: str, restored: str, made: bool) -> Swapped:
        old, old_volume = self._bound(name)
        if not made:
            return Swapped(restored, "", "", {}, "", "", {})
        new, new_volume = self._bound(restored)
        return Swapped(
            restored,
            meta(old_volume)["name"],
            _policy(old_volume),
            objects.kept(old),
            meta(new_volume)["name"],
            _policy(new_volume),
            objects.kept(new, ours=True),
        )

    def _bound(self, name: str) -> tuple[Manifest, Manifest]:
        """A claim and its volume."""
        claim = self._cluster.get(CLAIM, name)
        if claim is None:
            raise Missing(f"There is no claim {name} in namespace {self._cluster.namespace}. Nothing was touched.")
        volume = self._cluster.get(VOLUME, str(spec_of(claim).get("volumeName") or "-"))
        if (claim.get("status") or {}).get("phase") != "Bound" or volume is None:
            raise KubernetesError(
                f"The claim {name} has no volume (it is {(claim.get('status') or {}).get('phase') or 'not yet seen'}), so that nothing can be given "
                "another name. Nothing was touched. One whose class waits for its first consumer gets it from the first pod that uses it."
            )
        return claim, volume

    def _refuse_elsewhere(self, top: Manifest, journal: Journal) -> None:
        """Raise KubernetesError where no node could have the new volumes and the rest of what the pod needs."""
        template = spec_of(spec_of(top).get("template") or {})
        others = []
        for one in spec_of(top).get("volumeClaimTemplates") or ():
            name = f"{meta(one)['name']}-{self._request.stateful_set}-0"
            claim = self._cluster.get(CLAIM, name) if name not in journal.claims else None
            found = self._cluster.get(VOLUME, str(spec_of(claim).get("volumeName") or "-")) if claim else None
            others += [found] if found else []
        news = [self._cluster.get(VOLUME, one.new_volume) or {} for one in journal.claims.values()]
        for number, new in enumerate(news):
            why = objects.elsewhere(new, [*others, *news[:number]], template)
            if why:
                raise KubernetesError(
                    f"The StatefulSet's pod could run nowhere: {why}. Nothing was touched. Restore into a class of that zone (storage_class)."
                )

    def _arrange(self, journal: Journal, wanted: Mapping[str, Optional[str]]) -> None:
        """Scale to 0, let each claim have the volume that is wanted, and scale up again."""
        for name, one in journal.claims.items():
            # Before anything else: from here on no claim takes its volume along.
            self._cluster.patch(VOLUME, one.old_volume, objects.retained(name, self._cluster.namespace))
            self._cluster.patch(VOLUME, one.new_volume, objects.retained(one.restored, self._cluster.namespace))
        self._apps(Stop)
        self._await_detached(journal)
        present = {name: self._claim_to_change(name, journal) for name in wanted}
        for name, there in present.items():
            if there is not None and spec_of(there).get("volumeName") != wanted[name]:
                self._delete(there, journal)
        for name, volume in wanted.items():
            if volume is not None:
                self._bind(name, volume, journal)
        self._apps(Start)

    def _await_detached(self, journal: Journal) -> None:
        volumes = {name: {"metadata": {"name": name}} for name in journal.volumes}
        last: list[str] = []

        def none() -> Optional[bool]:
            last[:] = source.attached(self._cluster, volumes)
            return None if last else True

        if Waiter(self._request.timeout, pause=0.2, most=2.0).until({"detached": none}) is None:
            raise KubernetesError(
                f"After {format_duration(self._request.timeout)} the volume {', '.join(last)} is still attached. Is that node gone?"
            )

    def _claim_to_change(self, name: str, journal: Journal) -> Optional[Manifest]:
        there = self._cluster.get(CLAIM, name)
        if there is None or spec_of(there).get("volumeName") in journal.volumes:
            return there
        if meta(there).get("deletionTimestamp"):
            return there
        raise KubernetesError(
            f"The claim {name} is on the volume {spec_of(there).get('volumeName') or 'none yet'}, which is neither the old nor the new one: somebody "
            "scaled the StatefulSet up meanwhile, and its controller made an empty one. Delete that claim, once nothing on it is needed."
        )

    def _delete(self, claim: Manifest, journal: Journal) -> None:
        """A claim alone: that its volume stays is looked at in this very moment."""
        name, uid = meta(claim)["name"], str(meta(claim)["uid"])
        volume = self._cluster.get(VOLUME, str(spec_of(claim).get("volumeName")))
        if volume is None or _policy(volume) != "Retain":
            raise KubernetesError(
                f"The claim {name} is not deleted, as its volume {spec_of(claim).get('volumeName')} would go with it: somebody has changed its reclaim "
                "policy from Retain."
            )
        self._cluster.delete(CLAIM, name, uid=uid)
        wait_until_gone(self._cluster, CLAIM, name, self._request.timeout, uid=uid)

    def _bind(self, name: str, volume: str, journal: Journal) -> None:
        cluster, there = self._cluster, self._cluster.get(CLAIM, name)
        if there is None:
            found = cluster.get(VOLUME, volume)
            if found is None:
                raise Missing(f"The volume {volume} is not there any more.")
            reference = spec_of(found).get("claimRef") or {}
            if reference.get("name") != name or reference.get("uid"):
                cluster.patch(VOLUME, volume, objects.waiting_for(name, cluster.namespace))
            cluster.create(objects.claim_on(name, cluster.namespace, journal, volume))
        wait_for(cluster, CLAIM, name, self._request.timeout, tell=self._tell)

    def _policies(self, journal: Journal) -> None:
        for one in journal.claims.values():
            for volume, policy in ((one.old_volume, one.old_policy), (one.new_volume, one.new_policy)):
                if self._cluster.get(VOLUME, volume) is not None:
                    self._cluster.patch(VOLUME, volume, objects.released(policy))


def _policy(volume: Manifest) -> str:
    return str(spec_of(volume).get("persistentVolumeReclaimPolicy") or "Delete")
