# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clone is to be made of, read from the server that it comes from and from where it is to stand. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.capture import collect, order
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import strip
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, selects, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.managers import managed_by
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.survey import Survey
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone import objects
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.labels import (
    Selector,
    new_labels,
    of_pod,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.objects import (
    CLAIM,
    CLONE,
    CLONE_OF,
    Wanted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.request import (
    CLAIMS,
    SHARED,
    CloneRequest,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place, place_of


@dataclass(frozen=True)
class Plan:
    """``objects``: in the order in which they are made, the StatefulSet with its pod; ``place``: where the clone's data is; ``user``, ``group``:
    whose it is; ``claims``: of the clone, by the former ones; ``left_out``, ``missing``, ``doubts``: sentences."""

    wanted: Wanted
    objects: Manifests
    place: Place
    user: int
    group: int
    claims: Mapping[str, str]
    labels: Mapping[str, str]
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def is_ours(there: Manifest, wanted: Wanted) -> bool:
    """Whether an object is of this very clone."""
    labels, notes = meta(there).get("labels") or {}, meta(there).get("annotations") or {}
    return labels.get(CLONE) == wanted.new and notes.get(CLONE_OF) == f"{wanted.former}/{wanted.old}"


def plan_of(source: Cluster, target: Cluster, request: CloneRequest, check: bool = False) -> Plan:
    """``check``: claims that are to be there beforehand need not be. Raises BadOption, KubernetesError: it cannot be cloned, or not so."""
    wanted = Wanted(
        request.source, source.namespace, request.name, target.namespace, request.names, request.storage_class, request.size
    )  # fmt: skip
    if wanted.former == wanted.namespace and wanted.old == wanted.new:
        raise BadOption("name", request.name, "is the server itself", "Give the clone another name or namespace.")
    found = source.get("StatefulSet", request.source)
    if found is None:
        raise Missing(
            f"There is no StatefulSet {request.source} in the namespace {source.namespace}. Nothing was made. Where it is gone, bring it back from what was "
            "captured (kubernetes_restore, kind everything)."
        )
    found = {"apiVersion": "apps/v1", "kind": "StatefulSet", **found}
    stripped = strip(found)
    template = spec_of(spec_of(stripped).get("template") or {})
    server = discover.server_container(template, request.recovery.container)
    if server is None:
        called = ", ".join(str(one.get("name")) for one in discover.containers(template))
        raise BadOption(
            "container", request.recovery.container, f"is none of {request.source}, or which of its containers runs PostgreSQL cannot be told",
            f"Name one: {called}.",
        )  # fmt: skip
    maps = Survey(source).config_maps(template)
    variables = discover.environment(server, maps)
    manager = managed_by(found, variables, str(server.get("image") or ""))
    if manager:
        raise KubernetesError(
            f"The StatefulSet {wanted.former}/{wanted.old} is kept by {manager}: a copy of it would join its cluster, or be taken for a member. Nothing was "
            "made. Clone it by its operator's own means (a new cluster that bootstraps from the backup), or bring the data back beside (docs/kubernetes.md)."
        )
    pruned, gone = objects.pruned(stripped, str(server["name"]), request.keep_containers)
    collected = collect.collect(source, _asked(request, stripped, pruned))
    mine = {key(pruned), *objects.claims(pruned)}
    all_of_it = [
        one
        for one in collected.objects
        if key(one) not in mine and (one["kind"] != CLAIM or key(one) in objects.referred(pruned))
    ]
    all_of_it += [pruned, *(one for one in collected.objects if key(one) in objects.claims(pruned))]
    names = objects.new_names(all_of_it, pruned, wanted)
    place = _place(pruned, maps, wanted, request)
    data = place.claim
    changed = _labels(target, found, wanted, pruned)
    made = objects.clone_of(all_of_it, pruned, wanted, names, changed, data)
    cloned = next(one for one in made.objects if one["kind"] == "StatefulSet")
    known = {names.get(f"ConfigMap/{name}", name): one for name, one in maps.items()}
    place = place_of(cloned, known, request.recovery.container, request.recovery.login_user)
    user, group, fs_group = _whose(place, request)
    claims = {
        str(meta(before)["name"]): objects.claim_name(str(meta(before)["name"]), pruned, wanted, names)
        for before in all_of_it
        if before["kind"] == CLAIM
    }
    own = [one for one, new in claims.items() if one == new and wanted.former == wanted.namespace]
    if own:
        raise BadOption("names", own, "is the server's own claim, with its data", "Give the clone's another name.")
    if request.data == CLAIMS:
        _check_claims(target, list(claims.values()), place, wanted, check)
        made.objects = [one for one in made.objects if one["kind"] != CLAIM]
    left_out = [
        f"The {kind}s are left out: they {why}." if kind not in ("Role", "RoleBinding") else ""
        for kind, why in objects.LEFT_OUT.items()
    ]
    if gone:
        left_out.insert(
            0,
            f"Containers that are no PostgreSQL are left out ({', '.join(gone)}): name those that are to run in keep_containers.",
        )
    return Plan(
        wanted, order.in_order(made.objects), replace(place, fs_group=fs_group), user, group, claims,
        dict(meta(spec_of(cloned)["template"])["labels"]), [one for one in left_out if one], _missing(collected, pruned, request, target), made.doubts,
    )  # fmt: skip


def _asked(request: CloneRequest, whole: Manifest, pruned: Manifest) -> collect.Wanted:
    """What is read: nothing that a clone has none of, and no Secret that only a container reads that is left out."""
    needless = objects.referred(whole) - objects.referred(pruned)
    return collect.Wanted(
        stateful_set=request.source,
        include_secrets=request.secrets != SHARED,
        exclude=[*objects.LEFT_OUT, *sorted(needless)],
    )


def _missing(found: collect.Found, pruned: Manifest, request: CloneRequest, target: Cluster) -> list[str]:
    """Sentences on what is referred to and is not there. Raises KubernetesError: a Secret that is to be shared is not there."""
    if request.secrets == SHARED:
        lacks = [one for one in sorted(objects.needed_secrets(pruned)) if target.get("Secret", one) is None]
        if lacks:
            raise BadOption(
                "secrets", SHARED, f"leaves the clone the Secrets {', '.join(lacks)}, which are not in the namespace {target.namespace}",
                "Make them there first, or use secrets: own.",
            )  # fmt: skip
    return list(found.missing)


def _place(pruned: Manifest, maps: Mapping[str, Manifest], wanted: Wanted, request: CloneRequest) -> Place:
    """Where the server has its data, as one of one pod. Raises BadOption, KubernetesError."""
    one = {**pruned, "spec": {**pruned["spec"], "replicas": 1}}
    one["spec"].pop("persistentVolumeClaimRetentionPolicy", None)
    one["metadata"] = {**meta(pruned), "namespace": wanted.former}
    return place_of(one, maps, request.recovery.container, request.recovery.login_user)


def _labels(target: Cluster, found: Manifest, wanted: Wanted, pruned: Manifest) -> dict[str, str]:
    """The labels of the clone that differ. Those of one that is under way stay as they are."""
    labels = dict(meta(spec_of(pruned)["template"]).get("labels") or {})
    there = target.get("StatefulSet", wanted.new)
    if there is not None and is_ours(there, wanted):
        now = meta(spec_of(there)["template"]).get("labels") or {}
        return {name: now[name] for name, value in labels.items() if now.get(name, value) != value}
    same = wanted.former == wanted.namespace
    selectors = [Selector(f"StatefulSet {wanted.old}", spec_of(found).get("selector") or {})] if same else []
    for service in target.list("Service"):
        if spec_of(service).get("selector") and not is_ours(service, wanted):
            selectors.append(
                Selector(f"Service {meta(service)['name']}", {"matchLabels": spec_of(service)["selector"]})
            )
    for budget in target.list("PodDisruptionBudget"):
        if "selector" in spec_of(budget):
            selectors.append(Selector(f"PodDisruptionBudget {meta(budget)['name']}", spec_of(budget)["selector"] or {}))
    ordinal = int((spec_of(found).get("ordinals") or {}).get("start") or 0)
    changed = new_labels(labels, selectors, wanted.old, wanted.new, ordinal)
    _refuse_others(target, {**labels, **changed}, spec_of(found).get("selector") or {}, wanted, ordinal)
    return changed


def _refuse_others(
    target: Cluster, labels: Mapping[str, str], own: Mapping[str, object], wanted: Wanted, ordinal: int
) -> None:
    """Raise BadOption where pods that are there have the very labels of the clone, by which its Services would lead to them."""
    mine = of_pod(labels, wanted.new, ordinal)
    named: dict[str, str] = {name: mine[name] for name in (own.get("matchLabels") or {}) if name in mine}  # type: ignore[attr-defined]
    for pod in target.list("Pod"):
        if named and selects({"matchLabels": named}, meta(pod).get("labels") or {}) and not is_ours(pod, wanted):
            raise BadOption(
                "name", wanted.new, f"would give the clone the labels that the pod {meta(pod)['name']} has ({', '.join(f'{k}={v}' for k, v in named.items())})",
                "Choose another name.",
            )  # fmt: skip


def _whose(place: Place, request: CloneRequest) -> tuple[int, int, Optional[int]]:
    """As whom the data is written: user, group, and the group of the new volume. Raises BadOption: nobody says it."""
    user = place.user if place.user is not None else request.user
    if user is None:
        raise BadOption(
            "pod.run_as_user", None, f"is not given, and {place.stateful_set} does not say as whom PostgreSQL runs (it starts as root)",
            "Give the number of PostgreSQL's user in its image: 999 in Debian's, 70 in Alpine's.",
        )  # fmt: skip
    given = next((one for one in (place.group, request.fs_group, place.fs_group) if one is not None), user)
    fs_group = next((one for one in (place.fs_group, request.fs_group) if one is not None), given)
    return user, given, None if fs_group < 0 else fs_group


def _check_claims(target: Cluster, claims: Sequence[str], place: Place, wanted: Wanted, check: bool) -> None:
    """Raise KubernetesError where the data is not there, or a pod has it."""
    for name in claims:
        found = target.get(CLAIM, name)
        labels = meta(found or {}).get("labels") or {}
        if found is None and check:
            continue
        if found is None:
            raise KubernetesError(
                f"There is no claim {name} in the namespace {target.namespace}, on which {place.pod} would have its data. Nothing was made. Restore the "
                f"snapshots of a backup into claims of these names first (pvc_snapshot, new_claims): {', '.join(claims)}."
            )
        if labels.get(CLONE, wanted.new) != wanted.new:
            raise KubernetesError(f"The claim {name} is of the clone {labels[CLONE]}. Nothing was made.")
    for pod in target.list("Pod"):
        used = {(one.get("persistentVolumeClaim") or {}).get("claimName") for one in spec_of(pod).get("volumes") or ()}
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if used & set(claims) and not ended and meta(pod)["name"] != place.pod and not _of_run(pod, wanted):
            raise KubernetesError(
                f"The pod {meta(pod)['name']} has the claim {', '.join(sorted(str(one) for one in used & set(claims)))}. Nothing was made."
            )


def _of_run(pod: Manifest, wanted: Wanted) -> bool:
    """Whether a pod is one of the Jobs that work for this clone."""
    labels = meta(pod).get("labels") or {}
    return wanted.new in labels.values() and any(name.startswith("holdfast.postgres/") for name in labels)
