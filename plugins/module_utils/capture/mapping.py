# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured objects under another namespace, or other names: every reference that the API defines follows, and what may be one in a text is
followed where it names a captured Service in full (``pg.shop.svc``), and said where it cannot be known (pure).

https://kubernetes.io/docs/reference/kubernetes-api/ has the references, https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
the names of Services.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import pod_specs
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod_references import of_pod

# By these a tool knows what it made; a copy elsewhere would be taken for its own, and deleted as nothing in Git has it.
_GITOPS = re.compile(r"argocd\.argoproj\.io/.*|(kustomize|helm)\.toolkit\.fluxcd\.io/.*")
_HELM_NAMESPACE = "meta.helm.sh/release-namespace"
Change = Callable[[str], str]


@dataclass
class Mapped:
    """``objects`` as they are to be; ``unchanged``: where a text still speaks of the former namespace, a sentence each."""

    objects: Manifests
    unchanged: list[str] = field(default_factory=list)


def key(manifest: Manifest) -> str:
    """``Kind/name``, as the options name objects."""
    return f"{manifest['kind']}/{meta(manifest).get('name')}"


def all_names(objects: Sequence[Manifest], names: Mapping[str, str]) -> dict[str, str]:
    """The new names by ``Kind/name``, with those that follow from them: a StatefulSet's claims have its name in theirs.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-storage
    """
    found = dict(names)
    for one in objects:
        new = names.get(key(one))
        if one["kind"] != "StatefulSet" or new is None:
            continue
        for template in spec_of(one).get("volumeClaimTemplates") or ():
            begin = f"{meta(template).get('name')}-{meta(one)['name']}-"
            for claim in objects:
                name = str(meta(claim).get("name"))
                if claim["kind"] == "PersistentVolumeClaim" and re.fullmatch(re.escape(begin) + r"\d+", name):
                    found.setdefault(key(claim), f"{meta(template)['name']}-{new}-{name[len(begin) :]}")
    return found


def mapped(objects: Sequence[Manifest], former: str, namespace: str, names: Mapping[str, str]) -> Mapped:
    """``former``: the namespace that they were captured in; ``names``: new ones, by ``Kind/name``."""
    work = _Work(former, namespace, all_names(objects, names), _services(objects), former != namespace)
    return work.do(objects)


def _services(objects: Sequence[Manifest]) -> list[str]:
    return [str(meta(one)["name"]) for one in objects if one["kind"] == "Service"]


@dataclass
class _Work:
    former: str
    namespace: str
    names: Mapping[str, str]
    services: Sequence[str]
    moves: bool

    def do(self, objects: Sequence[Manifest]) -> Mapped:
        found = Mapped([])
        for one in objects:
            changed = copy.deepcopy(one)
            changed["metadata"]["name"] = self.name(one["kind"], str(meta(one)["name"]))
            if self.moves:
                self._moved(changed)
            changed["metadata"]["namespace"] = self.namespace
            self._references(changed)
            for where, holder, at in texts(changed):
                before = _text_of(changed, holder[at])
                if before is None:
                    continue
                after = self.text(before)
                if after != before:
                    holder[at] = _as_before(changed, after)
                if self.moves and self._speaks_of_former(after):
                    found.unchanged.append(
                        f"{where} of the {one['kind']} {meta(changed)['name']} speaks of the namespace {self.former} still."
                    )
            if self.moves:
                found.unchanged += self._peers(changed)
            found.objects.append(changed)
        return found

    def name(self, kind: str, name: str) -> str:
        return self.names.get(f"{kind}/{name}", name)

    def text(self, text: str) -> str:
        """A text in which captured Services are named in full."""
        for service in self.services:
            pattern = rf"(?<![\w.-])((?:[a-z0-9-]+\.)?){re.escape(service)}\.{re.escape(self.former)}\.svc(?![\w-])"
            text = re.sub(pattern, lambda match, service=service: self._host(match[1], service), text)  # type: ignore[misc]
        return text

    def _host(self, pod: str, service: str) -> str:
        for known, new in self.names.items():
            kind, _slash, name = known.partition("/")
            if kind == "StatefulSet" and re.fullmatch(re.escape(name) + r"-\d+\.", pod):
                pod = new + pod[len(name) :]
                break
        return f"{pod}{self.name('Service', service)}.{self.namespace}.svc"

    def _speaks_of_former(self, text: str) -> bool:
        former = re.escape(self.former)
        return bool(
            re.search(rf"(?<=[\w-])\.{former}(?![\w-])|(?:-n|--namespace|namespace)[ =:\"']+{former}(?![\w-])", text)
        )

    def _moved(self, changed: Manifest) -> None:
        metadata = changed["metadata"]
        for part in ("labels", "annotations"):
            kept = {name: value for name, value in (metadata.get(part) or {}).items() if not _GITOPS.fullmatch(name)}
            metadata.pop(part, None)
            if kept:
                metadata[part] = kept
        if (metadata.get("annotations") or {}).get(_HELM_NAMESPACE) == self.former:
            metadata["annotations"][_HELM_NAMESPACE] = self.namespace
        if changed["kind"] == "Service":
            for port in spec_of(changed).get("ports") or ():
                port.pop("nodePort", None)  # of the whole cluster, and the former one may have it still

    def _references(self, changed: Manifest) -> None:
        for kind, holder, at in references(changed):
            holder[at] = self.name(kind, str(holder[at]))
        for subject in changed.get("subjects") or () if changed["kind"] == "RoleBinding" else ():
            self._subject(subject)

    def _subject(self, subject: Manifest) -> None:
        kind, name = subject.get("kind"), str(subject.get("name"))
        if kind == "ServiceAccount" and subject.get("namespace", self.former) == self.former:
            subject.update(name=self.name("ServiceAccount", name), namespace=self.namespace)
        elif kind == "Group" and name == f"system:serviceaccounts:{self.former}":
            subject["name"] = f"system:serviceaccounts:{self.namespace}"
        elif kind == "User" and name.startswith(f"system:serviceaccount:{self.former}:"):
            account = self.name("ServiceAccount", name.rpartition(":")[2])
            subject["name"] = f"system:serviceaccount:{self.namespace}:{account}"

    def _peers(self, changed: Manifest) -> list[str]:
        """Whom a NetworkPolicy lets in by the former namespace's name."""
        if changed["kind"] != "NetworkPolicy":
            return []
        if not any(value == self.former for value in _values_of(spec_of(changed), "kubernetes.io/metadata.name")):
            return []
        return [f"The NetworkPolicy {meta(changed)['name']} names the namespace {self.former} still."]


def references(manifest: Manifest) -> Iterator[tuple[str, Manifest, str]]:
    """Each reference to an object of the same namespace: its kind, and the dictionary and key that have its name."""
    spec, kind = spec_of(manifest), manifest["kind"]
    for pod in pod_specs(manifest):
        yield from of_pod(pod)
    if kind == "StatefulSet" and spec.get("serviceName"):
        yield "Service", spec, "serviceName"
    if kind == "ServiceAccount":
        for part in ("imagePullSecrets", "secrets"):
            yield from (("Secret", one, "name") for one in manifest.get(part) or () if one.get("name"))
    if kind == "RoleBinding" and (manifest.get("roleRef") or {}).get("kind") == "Role":
        yield "Role", manifest["roleRef"], "name"
    if kind in ("HorizontalPodAutoscaler", "ScaledObject") and (spec.get("scaleTargetRef") or {}).get("name"):
        yield str(spec["scaleTargetRef"].get("kind") or "Deployment"), spec["scaleTargetRef"], "name"
    if kind == "Ingress":
        yield from _of_ingress(spec)


def _of_ingress(spec: Manifest) -> Iterator[tuple[str, Manifest, str]]:
    yield from (("Secret", one, "secretName") for one in spec.get("tls") or () if one.get("secretName"))
    paths = [path for rule in spec.get("rules") or () for path in (rule.get("http") or {}).get("paths") or ()]
    for backend in (spec.get("defaultBackend"), *(path.get("backend") for path in paths)):
        if (backend or {}).get("service"):
            yield "Service", backend["service"], "name"


def texts(manifest: Manifest) -> Iterator[tuple[str, Any, Any]]:
    """Each text that programs read: what it is, as a sentence begins, and the holder and key that have it."""
    for pod in pod_specs(manifest):
        for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
            for one in container.get("env") or ():
                if isinstance(one.get("value"), str):
                    yield f"The variable {one.get('name')}", one, "value"
            for part in ("command", "args"):
                words = container.get(part) or []
                yield from ((f"An argument ({part})", words, number) for number in range(len(words)))
    if manifest["kind"] in ("ConfigMap", "Secret"):
        data = manifest.get("data") or {}
        yield from ((f"The key {name}", data, name) for name in data)


def _text_of(manifest: Manifest, value: Any) -> Optional[str]:
    """What a value says; None: it is no text."""
    if manifest["kind"] != "Secret":
        return value if isinstance(value, str) else None
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _as_before(manifest: Manifest, text: str) -> str:
    return base64.b64encode(text.encode()).decode() if manifest["kind"] == "Secret" else text


def _values_of(value: Any, name: str) -> Iterator[Any]:
    """Values of a label, however a selector writes it."""
    if isinstance(value, dict):
        if value.get("key") == name:
            yield from value.get("values") or ()
        for inner, below in value.items():
            if inner == name:
                yield below
            yield from _values_of(below, name)
    elif isinstance(value, list):
        for below in value:
            yield from _values_of(below, name)
