# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that change places under the names of a StatefulSet's claims: what is written down, and what is patched (pure).

A volume is bound to a claim both ways: the claim names it (``volumeName``), and its ``claimRef`` names the claim. Without a uid there it waits for
the claim of that name, and for no other. https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reserving-a-persistentvolume
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX, SWAP
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.objects import is_of_cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.restore_objects import SERVED

#: on the StatefulSet: what is, or was, put in whose place
JOURNAL = SWAP
#: on a volume that is kept: "namespace/claim", whose it was
KEPT_FOR = f"{PREFIX}kept-for"
#: on its way there; there, and the old volumes kept; on its way back
SWAPPING, SWAPPED, ROLLING_BACK = "swapping", "swapped", "rolling_back"


@dataclass(frozen=True)
class Swapped:
    """One claim's. ``restored``: the name of the claim that the new volume had; ``*_policy``: what their persistentVolumeReclaimPolicy was;
    ``old_claim``, ``new_claim``: what the claims were like, as ``kept`` has it."""

    restored: str
    old_volume: str
    old_policy: str
    old_claim: dict[str, Any]
    new_volume: str
    new_policy: str
    new_claim: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """What stands on the StatefulSet. ``at``: since when; ``claims``: by the names that the StatefulSet has for them; ``served``: a server may
    have run on the restored volumes, which are no snapshot's any more then."""

    state: str
    backup_id: str
    at: str
    claims: dict[str, Swapped] = field(default_factory=dict)
    served: bool = False

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def there(self) -> dict[str, Optional[str]]:
        """Which volume each claim is to have once it is done; None: there is to be no such claim."""
        forward: dict[str, Optional[str]] = {name: one.new_volume for name, one in self.claims.items()}
        return {**forward, **{one.restored: None for one in self.claims.values()}}

    @property
    def back(self) -> dict[str, Optional[str]]:
        """Which volume each has where it is taken back."""
        return {
            **{name: one.old_volume for name, one in self.claims.items()},
            **{one.restored: one.new_volume for one in self.claims.values()},
        }

    @property
    def volumes(self) -> set[str]:
        return {volume for one in self.claims.values() for volume in (one.old_volume, one.new_volume)}

    @property
    def policies(self) -> dict[str, str]:
        """What the policy of each volume was."""
        claims = self.claims.values()
        return {
            **{one.old_volume: one.old_policy for one in claims},
            **{one.new_volume: one.new_policy for one in claims},
        }

    def like(self, name: str) -> dict[str, Any]:
        """What the claim ``name`` is like, on either volume: it has the labels that it had, and the size and class of its volume."""
        for own, one in self.claims.items():
            if name == own:
                return {**one.old_claim, "new": one.new_claim["spec"]}
            if name == one.restored:
                if not self.served:
                    return one.new_claim
                notes = {**one.new_claim["annotations"], SERVED: self.at}
                return {**one.new_claim, "annotations": notes}
        raise KeyError(name)


def journal_of(stateful_set: Manifest) -> Optional[Journal]:
    """What stands on it; None: nothing. Raises KubernetesError: it cannot be read."""
    text = (meta(stateful_set).get("annotations") or {}).get(JOURNAL)
    if text is None:
        return None
    try:
        found = json.loads(text)
        claims = {str(name): Swapped(**one) for name, one in found.pop("claims").items()}
        return Journal(claims=claims, **found)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise KubernetesError(
            f"The annotation {JOURNAL} of the StatefulSet {meta(stateful_set)['name']} cannot be read: somebody changed it. It says which volumes "
            "belong to its claims. Put it right, or remove it once the claims are on the volumes that they are to have."
        ) from exc


def kept(claim: Manifest, ours: bool = False) -> dict[str, Any]:
    """What is to know of a claim to make it anew on another volume. ``ours``: what we noted on it is true of it then, too."""
    metadata, spec = meta(claim), spec_of(claim)
    return {
        "labels": dict(metadata.get("labels") or {}),
        "annotations": {
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if not is_of_cluster(key) or ours and key.startswith(PREFIX)
        },
        "spec": {
            name: spec[name] for name in ("accessModes", "resources", "storageClassName", "volumeMode") if name in spec
        },
    }


def claim_on(name: str, namespace: str, journal: Journal, volume: str) -> Manifest:
    """A claim of one of the journal's names, on one of its volumes."""
    like = journal.like(name)
    is_new = any(volume == one.new_volume for one in journal.claims.values())
    spec = like.get("new", like["spec"]) if is_new else like["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": like["labels"],
            "annotations": like["annotations"],
        },
        "spec": {**spec, "volumeName": volume},
    }


def retained(claim: str, namespace: str) -> Manifest:
    """The patch that keeps a volume whatever becomes of its claim."""
    return {
        "metadata": {"annotations": {KEPT_FOR: f"{namespace}/{claim}"}},
        "spec": {"persistentVolumeReclaimPolicy": "Retain"},
    }


def released(policy: str) -> Manifest:
    """The patch that gives a volume back the policy that it had: one without a claim is deleted then, where that is ``Delete``."""
    return {"metadata": {"annotations": {KEPT_FOR: None}}, "spec": {"persistentVolumeReclaimPolicy": policy}}


def waiting_for(claim: str, namespace: str) -> Manifest:
    """The patch by which a volume waits for the claim of a name, and for no other."""
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim}
    return {"spec": {"claimRef": {**reference, "uid": None, "resourceVersion": None}}}


def elsewhere(new: Manifest, others: Iterable[Manifest], template: Mapping[str, Any]) -> Optional[str]:
    """Why no node can have the new volume and all else that the pod needs, as a part of a sentence; None: nothing says so. ``others``:
    the volumes that the pod keeps; ``template``: the pod's specification."""
    mine = _where(spec_of(new).get("nodeAffinity"))
    for other in others:
        for key, values in _where(spec_of(other).get("nodeAffinity")).items():
            if key in mine and not values & mine[key]:
                return (
                    f"the volume {meta(new)['name']} is in {key} {', '.join(sorted(mine[key]))}, and {meta(other)['name']}, which its pod has too, in "
                    f"{', '.join(sorted(values))}"
                )
    wanted = {key: {str(value)} for key, value in (template.get("nodeSelector") or {}).items()}
    affinity = (template.get("affinity") or {}).get("nodeAffinity") or {}
    wanted.update(_where({"required": affinity.get("requiredDuringSchedulingIgnoredDuringExecution")}))
    for key, values in wanted.items():
        if key in mine and not values & mine[key]:
            return (
                f"the volume {meta(new)['name']} is in {key} {', '.join(sorted(mine[key]))}, and the StatefulSet's pods want "
                f"{', '.join(sorted(values))}"
            )
    return None


def _where(affinity: Optional[Mapping[str, Any]]) -> dict[str, set[str]]:
    """The values that each label of a node may have, by its name; labels that only some of several terms ask for are left out."""
    terms = ((affinity or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    each = [
        {
            str(one["key"]): {str(value) for value in one.get("values") or ()}
            for one in term.get("matchExpressions") or ()
            if one.get("operator") == "In"
        }
        for term in terms
    ]
    common = set.intersection(*(set(one) for one in each)) if each else set()
    return {key: set.union(*(one[key] for one in each)) for key in common}
