# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that a server uses, found by references from its workload on, and those that are named besides. Nothing is guessed by names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key, references
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.order import count, in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import (
    controller,
    made_by_cluster,
    pod_specs,
    strip,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, selects, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    NotInstalled,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import KINDS, Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.survey import Survey, claims, labels_of

T = TypeVar("T")
#: what controllers make, or what runs once: restored it would be another one, or run again
_NEVER = (
    "Pod",
    "ReplicaSet",
    "ControllerRevision",
    "Job",
    "Event",
    "Lease",
    "VolumeSnapshot",
    "Endpoints",
    "EndpointSlice",
)
_SHARED = ("Secret", "ConfigMap", "PersistentVolumeClaim")


@dataclass(frozen=True)
class Wanted:
    """What is to be captured, as the options say it: a server by one of the first three, and ``objects`` (kind, api_version, name, selector)."""

    stateful_set: Optional[str] = None
    pod: Optional[str] = None
    selector: Optional[str] = None
    objects: Sequence[Mapping[str, Any]] = ()
    include_secrets: bool = True
    exclude: Sequence[str] = ()

    @property
    def workload(self) -> Optional[str]:
        """As the record says it; None: only what is named."""
        if self.stateful_set:
            return f"StatefulSet {self.stateful_set}"
        if self.pod:
            return f"Pod {self.pod}"
        return f"pods with {self.selector}" if self.selector else None

    def scope(self, namespace: str) -> dict[str, Any]:
        """What has the same scope can stand in for each other."""
        return {
            "namespace": namespace,
            "workload": self.workload,
            "objects": sorted(_as_text(one) for one in self.objects),
            "include_secrets": self.include_secrets,
            "exclude": sorted(self.exclude),
        }


@dataclass
class Found:
    """``objects``: stripped, in the order in which they are made; ``left_out`` and ``missing``: what is not among them, and why, in sentences."""

    objects: Manifests = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def collect(cluster: Cluster, wanted: Wanted) -> Found:
    """Look.

    Raises:
        BadOption: it is not clear what is meant.
        KubernetesError: something is not there, or may not be read: without it there would be no server again.
    """
    return _Collector(cluster, wanted).collect()


class _Collector:
    def __init__(self, cluster: Cluster, wanted: Wanted) -> None:
        self._cluster, self._wanted = cluster, wanted
        self._found = Found()
        self._objects: dict[str, Manifest] = {}
        self._asked: set[tuple[str, str]] = set()
        self._refused: list[Forbidden] = []
        #: all objects of the kinds that were listed, by name
        self._listed: dict[str, dict[str, Manifest]] = {}

    def collect(self) -> Found:
        if self._wanted.workload is not None:
            self._server()
        for one in self._wanted.objects:
            for each in self._named(one):
                self._take(each)
                self._follow(each)
        if self._refused:
            raise _all_refused(self._refused)
        if not self._objects:
            raise KubernetesError(f"Nothing of what was asked for is in the namespace {self._cluster.namespace}.")
        self._found.objects = in_order(strip(one) for one in self._objects.values())
        return self._found

    def _server(self) -> None:
        cluster, wanted = self._cluster, self._wanted
        server = Survey(cluster).server(wanted.stateful_set, wanted.pod, wanted.selector)
        top, labels = server.stateful_set or server.deployment, labels_of(server)
        # What runs is read where an operator makes it: no template of it is anywhere else.
        runs = [top] if top is not None and controller(top) is None else server.pods
        self._top(top, server.pods)
        for name in claims(server):
            self._get("PersistentVolumeClaim", name)
        self._claims_of_count(top)
        self._services(labels, str(spec_of(top or {}).get("serviceName") or ""))
        for one in runs:
            self._follow({"kind": "Pod", **one})
        selecting: dict[str, Callable[[Manifest], bool]] = {
            "NetworkPolicy": lambda one: selects(spec_of(one).get("podSelector") or {}, labels),
            "PodDisruptionBudget": lambda one: (
                "selector" in spec_of(one) and selects(spec_of(one)["selector"] or {}, labels)
            ),
            "HorizontalPodAutoscaler": lambda one: _scales(one, top),
            "ScaledObject": lambda one: _scales(one, top),
        }
        for kind, picks in selecting.items():
            for one in filter(picks, self._list(kind)):
                self._take(one)
        self._cron_jobs()
        self._bindings()

    def _claims_of_count(self, top: Optional[Manifest]) -> None:
        """Claims of pods that are not there now: of a server that is stopped, or has fewer pods for the moment."""
        if top is None or top["kind"] != "StatefulSet":
            return
        begin = int((spec_of(top).get("ordinals") or {}).get("start") or 0)
        for ordinal in range(begin, begin + count(strip(top))):
            for name in discover.claims_of(top, ordinal).values():
                self._get("PersistentVolumeClaim", name, expected=False)

    def _top(self, top: Optional[Manifest], pods: Manifests) -> None:
        """The workload, or the operator's object that it is made of."""
        owner = controller(top if top is not None else pods[0])
        if owner is None:
            if top is None:
                raise BadOption(
                    "pod", meta(pods[0]).get("name"), "belongs to no StatefulSet, Deployment or operator, so that nothing would make it again",
                    "Name what makes it by objects.",
                )  # fmt: skip
            self._take(top)
            return
        if owner.get("kind") == "ReplicaSet":
            raise BadOption(
                "pod", meta(pods[0]).get("name"), "belongs to a ReplicaSet alone", "Name what makes it by objects."
            )
        if top is not None:
            self._take(top)  # which says that it is made by its owner
        kind, name = f"{owner.get('apiVersion')}/{owner.get('kind')}", str(owner.get("name"))
        self._get(kind, name)

    def _services(self, labels: Mapping[str, str], governing: str) -> None:
        found = self._list("Service")
        mine = {one["name"] for one in discover.services(found, labels, governing)} | (
            {governing} if governing else set()
        )
        for one in found:
            if meta(one)["name"] in mine:
                self._take(one)

    def _cron_jobs(self) -> None:
        """Those that use a claim, a Secret or a ConfigMap of the server's: backups, and what else looks after it."""
        shared = {pair for pair in self._asked if pair[0] in _SHARED}
        for one in self._list("CronJob"):
            if shared & {(kind, str(holder[at])) for kind, holder, at in references(one)}:
                self._take(one)
                self._follow(one)

    def _bindings(self) -> None:
        """What lets the accounts do what they do."""
        accounts = {name for kind, name in self._asked if kind == "ServiceAccount"}
        for one in self._list("RoleBinding"):
            subjects = one.get("subjects") or ()
            if any(
                each.get("kind") == "ServiceAccount"
                and each.get("name") in accounts
                and each.get("namespace", self._cluster.namespace) == self._cluster.namespace
                for each in subjects
            ):
                self._take(one)
                self._follow(one)

    def _follow(self, manifest: Manifest) -> None:
        """All that an object refers to, and what that refers to."""
        if any(not pod.get("serviceAccountName") for pod in pod_specs(manifest)):
            self._asked.add(("ServiceAccount", "default"))
        for kind, holder, at in references(manifest):
            if (kind, holder[at]) == ("ServiceAccount", "default"):  # every namespace has one
                self._asked.add((kind, "default"))
                continue
            found = self._get(kind, str(holder[at]))
            if found is not None:
                self._follow(found)

    def _named(self, asked: Mapping[str, Any]) -> Manifests:
        kind = self._kind(asked)
        if asked.get("selector"):
            found = self._list(kind, str(asked["selector"]))
            if not found and not self._refused:
                raise BadOption(
                    "objects",
                    _as_text(asked),
                    f"selects nothing in {self._cluster.namespace}",
                    "Correct it, or take it out.",
                )
            return found
        one = self._get(kind, str(asked["name"]))
        if one is None and not self._refused and not self._is_excluded(str(asked["kind"]), str(asked["name"])):
            raise BadOption(
                "objects", _as_text(asked), f"is not in {self._cluster.namespace}", "Correct it, or take it out."
            )
        return [one] if one is not None else []

    def _kind(self, asked: Mapping[str, Any]) -> str:
        kind, version = str(asked["kind"]), asked.get("api_version")
        if kind in _NEVER:
            raise BadOption(
                "objects",
                kind,
                "is made by controllers, or runs once, and is nothing to restore",
                "Name what makes it.",
            )
        if version is None and kind not in KINDS:
            raise BadOption(
                "objects",
                kind,
                "is a kind that is not known here",
                "Give its api_version, such as postgresql.cnpg.io/v1.",
            )
        name = kind if kind in KINDS and version in (None, KINDS[kind].api_version) else f"{version}/{kind}"
        if not self._cluster.kind(name).namespaced:
            raise BadOption(
                "objects",
                kind,
                "is in no namespace, but the whole cluster's",
                "Whoever looks after the cluster keeps it.",
            )
        return name

    def _get(self, kind: str, name: str, expected: bool = True) -> Optional[Manifest]:
        short = kind.rpartition("/")[2]
        known = self._objects.get(f"{short}/{name}")
        if known is not None or (kind, name) in self._asked:
            return known
        self._asked.add((kind, name))
        if short == "Secret" and not self._wanted.include_secrets:
            self._found.left_out.append(f"The Secret {name} is left out (include_secrets).")
            return None
        if self._is_excluded(short, name):
            self._found.left_out.append(f"The {short} {name} is left out (exclude).")
            return None
        found = self._read(kind, name)
        if found is None:
            if expected and not self._refused:
                self._found.missing.append(f"The {short} {name}, which is referred to, is not there.")
            return None
        found = {
            "apiVersion": KINDS[kind].api_version if kind in KINDS else kind.rpartition("/")[0],
            "kind": short,
            **found,
        }
        self._take(found)
        return found

    def _read(self, kind: str, name: str) -> Optional[Manifest]:
        """An object; no second right is needed for what could be listed."""
        if kind in self._listed:
            return self._listed[kind].get(name)
        return self._try(partial(self._cluster.get, kind, name))

    def _list(self, kind: str, selector: str = "") -> Manifests:
        if self._is_excluded(kind.rpartition("/")[2], None):
            self._found.left_out.append(f"All of kind {kind.rpartition('/')[2]} are left out (exclude).")
            return []
        found = self._try(partial(self._cluster.list, kind, selector))
        if found is not None and not selector:
            self._listed[kind] = {str(meta(one)["name"]): one for one in found}
        return found or []

    def _take(self, manifest: Manifest) -> None:
        kind, name = str(manifest["kind"]), str(meta(manifest)["name"])
        self._asked.add((kind, name))
        if self._is_excluded(kind, name):
            self._found.left_out.append(f"The {kind} {name} is left out (exclude).")
            return
        why = made_by_cluster(manifest)
        if why is None:
            self._objects[key(manifest)] = manifest
        elif controller(manifest) is not None or kind == "Secret":
            self._found.left_out.append(f"The {kind} {name} {why}.")

    def _is_excluded(self, kind: str, name: Optional[str]) -> bool:
        return kind in self._wanted.exclude or (name is not None and f"{kind}/{name}" in self._wanted.exclude)

    def _try(self, read: Callable[[], T]) -> Optional[T]:
        try:
            return read()
        except NotInstalled:
            return None
        except Forbidden as exc:
            self._refused.append(exc)
            return None


def _scales(scaler: Manifest, top: Optional[Manifest]) -> bool:
    target = spec_of(scaler).get("scaleTargetRef") or {}
    return top is not None and (target.get("kind") or "Deployment", target.get("name")) == (
        top["kind"],
        meta(top)["name"],
    )


def _as_text(asked: Mapping[str, Any]) -> str:
    version = f"{asked['api_version']}/" if asked.get("api_version") else ""
    return f"{version}{asked.get('kind')}/{asked.get('name') or asked.get('selector')}"


def _all_refused(refused: Iterable[Forbidden]) -> KubernetesError:
    """All that is missing at once: who is told one after the other runs it ten times."""
    lines = dict.fromkeys(one.rule.line() for one in refused)
    namespaces = sorted({one.namespace for one in refused if one.namespace})
    return KubernetesError(
        f"Objects that the server uses may not be read, and without them it could not be made again. Nothing was written. Add to the rules of a Role of "
        f"namespace {', '.join(namespaces)} that is bound to this user: {' '.join(lines)} Or name what is not to be captured in exclude (Kind, or "
        "Kind/name)."
    )
