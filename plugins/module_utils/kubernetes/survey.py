# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the objects of a server, from a StatefulSet, a pod or a selector on, with whatever rights there are: what may not be read is
written down, with the rule that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Optional, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import (
    Objects,
    claims_of,
    containers,
    meta,
    selects,
    spec_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    Missing,
    NotInstalled,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests

T = TypeVar("T")


class Survey:
    """What was read: ``objects``, and ``not_read``, each with what, why, the rule and where it belongs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.not_read: list[dict[str, Any]] = []

    def of(self, stateful_set: Optional[str], pod: Optional[str], selector: Optional[str]) -> Objects:
        """Look.

        Raises:
            Missing: it is not there.
            Forbidden: not even that may be read.
        """
        found = self.server(stateful_set, pod, selector)
        labels = labels_of(found)
        found.services = self._list("Service", "which Services lead to it")
        found.claims = self._named("PersistentVolumeClaim", claims(found), "what its claim is like")
        volumes = [spec_of(claim).get("volumeName") for claim in found.claims.values()]
        found.volumes = self._named("PersistentVolume", volumes, "its volume")
        classes = [spec_of(claim).get("storageClassName") for claim in found.claims.values()]
        found.classes = self._named("StorageClass", classes, "its storage class")
        found.snapshot_classes = self._list("VolumeSnapshotClass", "which snapshot class its driver has")
        found.autoscalers = self._list("HorizontalPodAutoscaler", "whether an autoscaler scales it")
        found.scaled_objects = self._list("ScaledObject", "whether KEDA scales it")
        budgets = self._list("PodDisruptionBudget", "which disruption budgets it has")
        # An empty selector selects all pods, none at all selects none.
        found.budgets = budgets and [
            one for one in budgets if "selector" in spec_of(one) and selects(spec_of(one)["selector"] or {}, labels)
        ]
        found.config_maps = self.config_maps(found.template)
        return found

    def server(self, stateful_set: Optional[str], pod: Optional[str], selector: Optional[str]) -> Objects:
        """The workload and its pods alone, with the claims unread. Raises as ``of``."""
        top, pods = self._begin(stateful_set, pod, selector)
        template = spec_of(pods[0]) if pods else spec_of(spec_of(top or {}).get("template") or {})
        return Objects(pods, template, top, None if top else self._deployment(pods))

    def config_maps(self, pod_spec: Manifest) -> dict[str, Manifest]:
        """Those that say where the data is, by their names."""
        return self._named("ConfigMap", _variables_from(pod_spec), "variables of the server's container")

    def _begin(
        self, stateful_set: Optional[str], pod: Optional[str], selector: Optional[str]
    ) -> tuple[Optional[Manifest], Manifests]:
        if stateful_set:
            top = self._cluster.get("StatefulSet", stateful_set)
            if top is None:
                raise Missing(
                    f"There is no StatefulSet {stateful_set} in namespace {self._cluster.namespace}.{self._those_that_are('StatefulSet')}"
                )
            return top, self._pods_of(top)
        if pod:
            first = self._cluster.get("Pod", pod)
            if first is None:
                raise Missing(
                    f"There is no pod {pod} in namespace {self._cluster.namespace}.{self._those_that_are('Pod')}"
                )
            pods = [first]
        else:
            pods = self._cluster.list("Pod", selector or "")
            if not pods:
                raise Missing(
                    f"No pod in namespace {self._cluster.namespace} has the labels {selector}.{self._those_that_are('Pod')}"
                )
        owners = {
            (one.get("kind"), one.get("name"))
            for each in pods
            for one in meta(each).get("ownerReferences") or ()
            if one.get("controller")
        }
        if selector and len(owners) > 1:
            names = ", ".join(sorted(f"{kind} {name}" for kind, name in owners))
            raise BadOption(
                "selector",
                selector,
                f"selects pods of several owners ({names})",
                "Make it narrower: it is to select one server.",
            )
        name = next((name for kind, name in owners if kind == "StatefulSet"), None)
        if name is None:
            return None, pods
        top = self._try(lambda: self._cluster.get("StatefulSet", str(name)), "the StatefulSet that the pod belongs to")
        return top, self._pods_of(top) if top else pods

    def _deployment(self, pods: Manifests) -> Optional[Manifest]:
        """The Deployment that pods without a StatefulSet belong to, if they do: by way of their ReplicaSet."""
        replica_set = _controller(pods[0], "ReplicaSet") if pods else None
        if replica_set is None:
            return None
        what = "the Deployment that the pod belongs to"
        between = self._try(lambda: self._cluster.get("ReplicaSet", replica_set), what)
        name = _controller(between, "Deployment") if between else None
        return self._try(lambda: self._cluster.get("Deployment", str(name)), what) if name else None

    def _pods_of(self, top: Manifest) -> Manifests:
        """The pods of a StatefulSet, the first ordinal first: by its labels, or else by their names, which the API promises."""
        labels = (spec_of(top).get("selector") or {}).get("matchLabels") or {}
        uid = meta(top).get("uid")
        try:
            found = self._cluster.list("Pod", ",".join(f"{key}={value}" for key, value in sorted(labels.items())))
        except Forbidden:
            begin = (spec_of(top).get("ordinals") or {}).get("start") or 0
            names = [
                f"{meta(top)['name']}-{number}" for number in range(begin, begin + spec_of(top).get("replicas", 1))
            ]
            found = list(self._named("Pod", names, "its pods").values())
        mine = [
            one for one in found if any(owner.get("uid") == uid for owner in meta(one).get("ownerReferences") or ())
        ]
        return sorted(mine, key=lambda one: (len(meta(one)["name"]), meta(one)["name"]))

    def _those_that_are(self, kind: str) -> str:
        """Names to choose from, for a message."""
        try:
            names = [meta(one)["name"] for one in self._cluster.list(kind)]
        except KubernetesError:
            return ""
        return f" It has: {', '.join(names[:20])}." if names else " It has none."

    def _list(self, kind: str, what: str) -> Optional[Manifests]:
        return self._try(lambda: self._cluster.list(kind), what)

    def _named(self, kind: str, names: Iterable[Optional[str]], what: str) -> dict[str, Manifest]:
        found: dict[str, Manifest] = {}
        for name in dict.fromkeys(names):
            if not name:
                continue
            one = self._try(partial(self._cluster.get, kind, name), f"{what} ({kind} {name})")
            if one is not None:
                found[name] = one
        return found

    def _try(self, read: Callable[[], T], what: str) -> Optional[T]:
        try:
            return read()
        except NotInstalled:
            return [] if what.startswith(("whether", "which")) else None  # type: ignore[return-value]
        except Forbidden as exc:
            where = f"a Role of namespace {exc.namespace}" if exc.namespace else "a ClusterRole"
            self.not_read.append({"what": what, "rule": exc.rule.line(), "where": where})
            return None


def _controller(manifest: Manifest, kind: str) -> Optional[str]:
    """Name of the object of this kind that controls another one."""
    owners = meta(manifest).get("ownerReferences") or ()
    return next((str(one["name"]) for one in owners if one.get("controller") and one.get("kind") == kind), None)


def labels_of(found: Objects) -> dict[str, str]:
    """The labels of a server's pods; where there are none, of those that it would have."""
    of_template = meta(spec_of(found.stateful_set or found.deployment or {}).get("template") or {})
    return dict((meta(found.pods[0]) if found.pods else of_template).get("labels") or {})


def claims(found: Objects) -> list[str]:
    """Of all pods; where there are none, those that the first pod would have."""
    specs = [spec_of(pod) for pod in found.pods] or [found.template]
    names = [
        str(volume["persistentVolumeClaim"]["claimName"])
        for spec in specs
        for volume in spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    ]
    names += [
        f"{meta(pod)['name']}-{volume['name']}"
        for pod in found.pods
        for volume in spec_of(pod).get("volumes") or ()
        if volume.get("ephemeral")
    ]
    if found.stateful_set and not found.pods:
        begin = (spec_of(found.stateful_set).get("ordinals") or {}).get("start") or 0
        names += claims_of(found.stateful_set, begin).values()
    return list(dict.fromkeys(names))


def _variables_from(pod_spec: Manifest) -> list[str]:
    """ConfigMaps that variables of the containers are from."""
    names: list[str] = []
    for container in containers(pod_spec):
        names += [
            str(one["configMapRef"].get("name")) for one in container.get("envFrom") or () if one.get("configMapRef")
        ]
        for one in container.get("env") or ():
            reference = (one.get("valueFrom") or {}).get("configMapKeyRef")
            if reference and one.get("name") in ("PGDATA", "POSTGRES_INITDB_WALDIR", "POSTGRESQL_DATA_DIR"):
                names.append(str(reference.get("name")))
    return names
