# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order objects are made, and what of them waits until the data is back (pure).

What others refer to comes first: accounts and their rights, Secrets and ConfigMaps, claims, Services (a StatefulSet's pods are known by one), what
restricts pods, then what makes pods, and last what scales them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import REPLICAS, SUSPEND
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests

_FIRST = (
    "ServiceAccount", "Role", "RoleBinding", "Secret", "ConfigMap", "PersistentVolumeClaim", "Service", "NetworkPolicy", "PodDisruptionBudget",
)  # fmt: skip
_LAST = ("StatefulSet", "Deployment", "CronJob", "HorizontalPodAutoscaler", "ScaledObject")
#: these bring up pods whatever count is written elsewhere
_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
_COUNTED = ("StatefulSet", "Deployment")


def rank(kind: str) -> int:
    """Its turn; what is not known here (an operator's own kinds) comes after what it may refer to, and before what makes pods."""
    if kind in _FIRST:
        return _FIRST.index(kind)
    return len(_FIRST) + (1 + _LAST.index(kind) if kind in _LAST else 0)


def in_order(objects: Iterable[Manifest]) -> Manifests:
    """Objects in their turn, by name within one kind."""
    return sorted(objects, key=lambda one: (rank(one["kind"]), one["kind"], str(meta(one).get("name"))))


def waits(manifest: Manifest) -> Optional[str]:
    """Why an object is not made before the data is back, as the end of a sentence; None: it can be, as ``held`` has it."""
    kind = manifest["kind"]
    if kind in _SCALERS:
        return "would scale what is at 0"
    if kind not in _FIRST and kind not in _LAST:
        return "may be an operator's, who would make an empty server of it"
    return None


def held(manifest: Manifest) -> Manifest:
    """The object such that it starts nothing, with what it is to have written on it, as k8s_apps writes it."""
    kind, spec = manifest["kind"], manifest.get("spec") or {}
    note: Optional[tuple[str, str]] = None
    changed = copy.deepcopy(manifest)
    if kind in _COUNTED and count(manifest):
        note = (REPLICAS, str(count(manifest)))
        changed["spec"]["replicas"] = 0
    elif kind == "CronJob" and not spec.get("suspend"):
        note = (SUSPEND, "false")
        changed["spec"]["suspend"] = True
    if note is not None:
        changed["metadata"]["annotations"] = {**(meta(manifest).get("annotations") or {}), note[0]: note[1]}
    return changed


def count(manifest: Manifest) -> int:
    """How many pods it is to have: 1 where nothing is said."""
    replicas = (manifest.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def is_held(there: Manifest) -> bool:
    """Whether an object that is there stands still since it was restored, or stopped, by us."""
    notes, spec = meta(there).get("annotations") or {}, there.get("spec") or {}
    if there["kind"] in _COUNTED:
        return REPLICAS in notes and spec.get("replicas") == 0
    return there["kind"] == "CronJob" and SUSPEND in notes and bool(spec.get("suspend"))


def with_count_of(wanted: Manifest, there: Manifest) -> Manifest:
    """What is there keeps its count: who scaled it since, or stopped it, had a reason."""
    field = "suspend" if wanted["kind"] == "CronJob" else "replicas" if wanted["kind"] in _COUNTED else None
    if field is None:
        return wanted
    spec = {key: value for key, value in (wanted.get("spec") or {}).items() if key != field}
    if field in (there.get("spec") or {}):
        spec[field] = there["spec"][field]
    return {**wanted, "spec": spec}
