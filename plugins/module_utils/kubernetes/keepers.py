# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would take back that an application is stopped, and how each is paused and goes on (pure).

An HPA whose target is at 0 is ScalingDisabled until somebody scales it up, which the start does: it takes nothing back, unless it may
scale to 0 itself. KEDA is paused at 0 by an annotation (keda.sh, "Pausing autoscaling"); Flux by spec.suspend; Argo CD by taking
spec.syncPolicy.automated away. What each had stands in an annotation of its own object, with whom it was paused for: it goes on when the
last of them is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import App
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, owners, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX

#: on whoever we paused: {"had": what he had, "for": [applications]}
PAUSED_FOR = f"{PREFIX}paused-for"
_KEDA = "autoscaling.keda.sh/paused-replicas"
_KEDA_PAUSED = "autoscaling.keda.sh/paused"

#: kind → the versions that an API server may have, the newest first
VERSIONS = {
    "Application": ("argoproj.io/v1alpha1/Application",),
    "Kustomization": (
        "kustomize.toolkit.fluxcd.io/v1/Kustomization",
        "kustomize.toolkit.fluxcd.io/v1beta2/Kustomization",
    ),
    "HelmRelease": (
        "helm.toolkit.fluxcd.io/v2/HelmRelease",
        "helm.toolkit.fluxcd.io/v2beta2/HelmRelease",
        "helm.toolkit.fluxcd.io/v2beta1/HelmRelease",
    ),
    "ScaledObject": ("ScaledObject",),
}
_OF_TOOL = {"argocd": "Application", "flux-kustomize": "Kustomization", "flux-helm": "HelmRelease"}
_WHO = {"Application": "Argo CD", "Kustomization": "Flux", "HelmRelease": "Flux", "ScaledObject": "KEDA"}


@dataclass(frozen=True)
class Keeper:
    """Who keeps an application as it is: an object of these kinds, or an operator's."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Keeper:
        """From what ``str`` makes of it."""
        kind, _space, rest = text.partition(" ")
        namespace, _slash, name = rest.partition("/")
        return cls(kind, namespace, name)


def keepers_of(
    app: App, autoscalers: Iterable[Manifest], scaled_objects: Iterable[Manifest], argocd_namespace: str
) -> list[Keeper]:
    """By labels, annotations and owner of the application, and by whoever names it as the target of his scaling."""
    target, found = app.target, []
    told = owners(app.object)
    if told["gitops"]:
        gitops = told["gitops"]
        default = argocd_namespace if gitops["tool"] == "argocd" else target.namespace
        found.append(Keeper(_OF_TOOL[gitops["tool"]], gitops["namespace"] or default, gitops["name"]))
    if told["operator"]:
        found.append(Keeper(str(told["operator"]["kind"]), target.namespace, str(told["operator"]["name"])))
    scaled = [one for one in scaled_objects if _scales(spec_of(one).get("scaleTargetRef") or {}, app, one)]
    found += [Keeper("ScaledObject", target.namespace, meta(one)["name"]) for one in scaled]
    for one in autoscalers:
        kedas = any(owner.get("kind") == "ScaledObject" for owner in meta(one).get("ownerReferences") or ())
        if not kedas and _scales(spec_of(one).get("scaleTargetRef") or {}, app, one):
            found.append(Keeper("HorizontalPodAutoscaler", target.namespace, meta(one)["name"]))
    return found


def _scales(reference: Manifest, app: App, scaler: Manifest) -> bool:
    target = app.target
    return (
        reference.get("kind", "Deployment") == target.kind
        and reference.get("name") == target.name
        and meta(scaler).get("namespace") == target.namespace
    )


def hindrance(keeper: Keeper, found: Optional[Manifest]) -> str:
    """Why he would take it back, for a message; empty: he would not. ``found``: his object, None where there is none."""
    if keeper.kind == "HorizontalPodAutoscaler":
        zero = spec_of(found or {}).get("minReplicas") == 0
        return f"the {keeper} may scale it up from 0 by itself (minReplicas is 0)" if zero else ""
    if keeper.kind not in VERSIONS:
        return f"it is the {keeper}'s, whose operator sets it back"
    if found is None:
        if keeper.kind == "Application":
            return f"it is of the Argo CD {keeper}, which is not there: is argocd_namespace right?"
        return ""
    if PAUSED_FOR in (meta(found).get("annotations") or {}):
        return ""
    return f"{_WHO[keeper.kind]} (the {keeper}) sets it back" if _acts(keeper, found) else ""


def _acts(keeper: Keeper, found: Manifest) -> bool:
    notes, spec = meta(found).get("annotations") or {}, spec_of(found)
    if keeper.kind == "Application":
        automated = (spec.get("syncPolicy") or {}).get("automated")
        return automated is not None and automated.get("enabled") is not False
    if keeper.kind == "ScaledObject":
        return _KEDA not in notes and notes.get(_KEDA_PAUSED) != "true"
    return not spec.get("suspend")


def cannot_pause(keeper: Keeper, found: Optional[Manifest]) -> str:
    """Why pausing him would not do; empty: it would."""
    if keeper.kind not in VERSIONS or found is None:
        return "there is no way to pause that"
    if keeper.kind == "Application":
        told = owners(found)
        above = told["operator"] or told["gitops"]
        if above:
            return f"and is itself kept by {above.get('kind') or above.get('tool')} {above['name']}, which would set that back too"
    return ""


def is_paused(found: Manifest) -> bool:
    """Whether we paused him."""
    return PAUSED_FOR in (meta(found).get("annotations") or {})


def pausing(keeper: Keeper, found: Manifest, applications: Sequence[str]) -> Manifest:
    """The merge patch that pauses him for these, on top of those that he is paused for already."""
    noted = _noted(found)
    spec: dict[str, Any] = {}
    notes: dict[str, Optional[str]] = {}
    if noted is None:
        noted = {"had": None, "for": []}
        if keeper.kind == "Application":
            noted["had"] = spec_of(found)["syncPolicy"]["automated"]
            spec = {"syncPolicy": {"automated": None}}
        elif keeper.kind == "ScaledObject":
            notes[_KEDA] = "0"
        else:
            spec = {"suspend": True}
    noted["for"] = sorted({*noted["for"], *applications})
    notes[PAUSED_FOR] = json.dumps(noted, sort_keys=True)
    return _patch(found, notes, spec)


def resuming(keeper: Keeper, found: Manifest, applications: Sequence[str]) -> Optional[Manifest]:
    """The merge patch by which he goes on when none is left that he was paused for, as he was; None: we did not pause him for these."""
    noted = _noted(found)
    if noted is None or not set(noted["for"]) & set(applications):
        return None
    left = sorted(set(noted["for"]) - set(applications))
    if left:
        return _patch(found, {PAUSED_FOR: json.dumps({**noted, "for": left}, sort_keys=True)}, {})
    spec: dict[str, Any] = {}
    notes: dict[str, Optional[str]] = {PAUSED_FOR: None}
    if keeper.kind == "Application":
        # Somebody else may have set it meanwhile: that stays.
        if (spec_of(found).get("syncPolicy") or {}).get("automated") is None:
            spec = {"syncPolicy": {"automated": noted["had"]}}
    elif keeper.kind == "ScaledObject":
        notes[_KEDA] = None
    else:
        spec = {"suspend": False}
    return _patch(found, notes, spec)


def _noted(found: Manifest) -> Optional[dict[str, Any]]:
    text = (meta(found).get("annotations") or {}).get(PAUSED_FOR)
    if text is None:
        return None
    try:
        noted = json.loads(text)
    except ValueError:
        noted = {}
    return {"had": noted.get("had"), "for": [str(one) for one in noted.get("for") or ()]}


def _patch(found: Manifest, notes: dict[str, Optional[str]], spec: dict[str, Any]) -> Manifest:
    body: Manifest = {"metadata": {"resourceVersion": meta(found).get("resourceVersion"), "annotations": notes}}
    return {**body, "spec": spec} if spec else body
