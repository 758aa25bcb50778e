# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restored claims take the place of a StatefulSet's own, whose volumes are kept until that is confirmed; and the way back.

Each step asks what is there and makes it what it has to be, so that a run that was killed is gone on with, or taken back, by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import App, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import RECOVERY
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Selection,
    Settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.start_applications import Start
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.stop_applications import Stop
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import source, swap_objects as objects
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.rebind import (
    CLAIM,
    VOLUME,
    Rebinding,
    job_of,
    policy_of,
    refuse_forgotten,
    refuse_let_go,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap_objects import (
    ROLLING_BACK,
    SWAPPED,
    SWAPPING,
    Journal,
    Swapped,
    journal_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

SET = "StatefulSet"


class RolledBack(KubernetesError):
    """It failed, and the old volumes serve under their names again."""

    def result(self) -> dict[str, Any]:
        return {"rolled_back": True}


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

    @property
    def where(self) -> str:
        """What is confirmed: namespace/name."""
        return f"{self._cluster.namespace}/{self._request.stateful_set}"

    def journal(self) -> Optional[Journal]:
        """What a run before wrote down; None: nothing. Raises Missing, KubernetesError."""
        return journal_of(self._set())

    def require_nothing_kept(self) -> None:
        """For a StatefulSet without a journal. Raises KubernetesError: it had one."""
        refuse_forgotten(self._cluster, self._set())

    def require_old(self, journal: Journal) -> None:
        """Raises KubernetesError: an old volume is gone."""
        refuse_let_go(self._cluster, journal)

    def begun(self, journal: Journal) -> str:
        """What became of a run that was killed, as a part of a sentence."""
        what = "taking it back" if journal.state == ROLLING_BACK else "restoring it"
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
        where = self.where
        if not request.force or where not in request.confirm:
            refusal = BadOption(
                "stateful_set", request.stateful_set, "would have other volumes under its claims",
                f"Its present ones are kept. Set force: true and confirm: [{where}].",
            )  # fmt: skip
            self.consent.need(refusal, force=True, confirm=[where])
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
            "state: rolled_back brings the old ones back."
        )
        with remains(left):
            now = [replace(journal, state=SWAPPING)]

            def begin() -> None:
                now[0] = replace(now[0], served=True)
                self._write(now[0])

            try:
                self._write(now[0])
                self._arrange(journal, journal.there, begin)
                self._write(replace(now[0], state=SWAPPED))
            except HoldfastError as exc:
                raise self._back_after(now[0], exc) from exc
        old = ", ".join(f"{one.old_volume} (of {claim})" for claim, one in journal.claims.items())
        return (
            f"The old volumes are kept: {old}. state: rolled_back puts them back, state: confirmed lets them go as their class has it (the "
            "reclaim policy that they had)."
        )

    # Back

    def take_back(self, journal: Journal) -> None:
        """Give the old volumes their names back, and the restored ones theirs.

        Raises:
            KubernetesError: it could not be done; what was not is done by the next run.
        """
        left = f"The StatefulSet {self._request.stateful_set} may be at 0: state: rolled_back again goes on."
        with remains(left):
            self._write(replace(journal, state=ROLLING_BACK))
            self._warnings += self._arrange(journal, journal.back)
            back = {name: volume for name, volume in journal.back.items() if volume is not None}
            self._policies(self._rebinding(journal), back, journal.policies)
            self._write(None)

    def _back_after(self, journal: Journal, failure: HoldfastError) -> KubernetesError:
        """After a failure: what became of it."""
        try:
            self.take_back(journal)
        except HoldfastError as exc:
            kept = ", ".join(sorted(journal.volumes))
            return KubernetesError(
                f"{failure} The old volumes could not be put back: {exc} Nothing of them is lost: {kept} are kept (Retain). When that is mended, state: "
                "rolled_back goes on."
            )
        restored = ", ".join(one.restored for one in journal.claims.values())
        return RolledBack(
            f"{failure} The old volumes have their names back, as before, and what was restored is in {restored} again."
        )

    # Confirmed

    def confirm(self, journal: Journal) -> list[str]:
        """Let the old volumes go. Returns those that were deleted by that. Raises KubernetesError."""
        volumes = self._rebinding(journal)
        for name, one in journal.claims.items():
            if not volumes.is_on(name, one.new_volume):
                raise KubernetesError(
                    f"The claim {name} is not on the volume {one.new_volume} that it was restored to: nothing was let go of."
                )
        for volume, policy in journal.policies.items():
            volumes.release(volume, policy)
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
        if RECOVERY in (meta(top).get("annotations") or {}):
            raise KubernetesError(
                f"A recovery of {self.where} in its own volume is neither confirmed nor taken back, and keeps the old data there. Nothing was touched. End "
                "that first: k8s_recover with state: confirmed, or state: rolled_back."
            )
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
        theirs = [
            meta(pod)["name"] for pod in source.ended_users(self._cluster, [*names, *names.values()]) if not job_of(pod)
        ]
        if theirs:
            raise KubernetesError(
                f"{', '.join(theirs)} has ended, and while it is there its claims cannot be deleted. Nothing was touched. Delete it first."
            )

    def _swapped(self, top: Manifest, name: str, restored: str, made: bool) -> Swapped:
        old, old_volume = self._bound(name)
        if not made:
            return Swapped(restored, "", "", {}, "", "", {})
        new, new_volume = self._bound(restored)
        return Swapped(
            restored,
            meta(old_volume)["name"],
            policy_of(old_volume),
            objects.kept(old),
            meta(new_volume)["name"],
            policy_of(new_volume),
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

    def _rebinding(self, journal: Journal) -> Rebinding:
        return Rebinding(self._cluster, journal, self._request.timeout, self._tell)

    def _arrange(
        self, journal: Journal, wanted: Mapping[str, Optional[str]], begin: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Scale to 0, let each of the server's claims have the volume that is wanted, scale up again (``begin`` comes before), and then do so
        with the others. Returns those of the others that could not be made, in sentences."""
        volumes, left = self._rebinding(journal), []
        volumes.retain()
        self._apps(Stop)
        volumes.free(wanted)
        for name in journal.claims:
            volumes.bind(name, str(wanted[name]))
        begin()
        self._apps(Start)
        for name, volume in wanted.items():
            if name not in journal.claims and volume is not None:
                try:
                    volumes.bind(name, volume)
                except HoldfastError as exc:
                    left.append(
                        f"The claim {name} could not be made again on the volume {volume}, which is kept (Retain): {exc}"
                    )
        return left

    def _policies(self, volumes: Rebinding, bound: Mapping[str, str], policies: Mapping[str, str]) -> None:
        """Volumes that a claim has get their policies back; others would be deleted by that."""
        for name, volume in bound.items():
            if volumes.is_on(name, volume):
                volumes.release(volume, policies[volume])
