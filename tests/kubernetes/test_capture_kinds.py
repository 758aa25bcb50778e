# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_capture of objects as people really have them: what no text holds, what cannot be changed any more, what the cluster allocates parts of,
names as long as they can be, and what somebody stopped before. Captured by what leads to them, deleted, made again, and compared by other means."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import manifests
from lab.playbooks import run_module
from lab.waiting import wait_until

from .test_capture import Object, plain

LONG = "n" * 63
APPS, BATCH, NETWORK = "apps/v1", "batch/v1", "networking.k8s.io/v1"


def of(kind: str, name: str, version: str = "v1", **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"of": "shop"}}, **rest}


def objects() -> list[Object]:
    """All but the StatefulSet that leads to most of them."""
    binary = base64.b64encode(bytes(range(256)) * 4).decode()
    port = {"port": 5432, "protocol": "TCP"}
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "none", "envFrom": [{"secretRef": {"name": "binary"}}]}],
    }
    job = {"jobTemplate": {"spec": {"template": {"spec": pod}}}}
    names = {"selector": {"of": "nothing"}}
    picks = {"selector": {"matchLabels": {"of": "nothing"}}}
    target = {"apiVersion": APPS, "kind": "Deployment", "name": "web"}
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    template = {
        "metadata": {"labels": {"of": "nothing"}},
        "spec": {"nodeSelector": {"none": "such"}, "containers": [{"name": "c", "image": "none", "envFrom": [{"configMapRef": {"name": "of-web"}}]}]},
    }  # fmt: skip
    return [
        of("Secret", "binary", data={"key": binary, "empty": ""}),
        of("Secret", "frozen", immutable=True, stringData={"a": "b"}),
        of("Secret", "tls", type="kubernetes.io/tls", data={"tls.crt": binary, "tls.key": binary}),
        of("ConfigMap", "binary", binaryData={"key": binary}, data={"crlf": "a\r\nb\t\u00fc\n", "empty": ""}),
        of("ConfigMap", "frozen", immutable=True, data={"a": "b"}),
        of("ConfigMap", "bare"),
        of("ConfigMap", "large", data={"all": os.urandom(510 << 10).hex()}),
        of("ConfigMap", "of-web", data={"a": "b"}),
        of("ConfigMap", f"{LONG}.{LONG}", data={"a": "b"}),
        of("Service", LONG, spec={"ports": [port], **names}),
        of("Service", "ports", spec={"type": "NodePort", "ports": [{**port, "name": "a"}, {**port, "name": "b", "port": 1, "nodePort": 30999}], **names}),
        of("Service", "balanced", spec={"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [port], **names}),
        of("Service", "elsewhere", spec={"type": "ExternalName", "externalName": "db.example.org"}),
        of("Service", "web", spec={"ports": [{"port": 80}], **names}),
        of("Ingress", "web", NETWORK, spec={"tls": [{"hosts": ["a.example.org"], "secretName": "tls"}], "rules": [rule]}),
        of("Deployment", "web", APPS, spec={"replicas": 0, **picks, "strategy": {"type": "Recreate"}, "template": template}),
        of("HorizontalPodAutoscaler", "web", "autoscaling/v2", spec={"maxReplicas": 2, "scaleTargetRef": target}),
        of("CronJob", "c" * 52, BATCH, spec={"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "suspend": True, **job}),
        of("LimitRange", "limits", spec={"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "100Gi"}}]}),
    ]  # fmt: skip


def server() -> list[Object]:
    """Its first pod is the fifth, it has to be ready for a while, its claims go with it, and its name is as long as its pods' labels allow."""
    made = manifests("s" * 52, "secret")
    for one in made:
        if one["kind"] == "StatefulSet":
            one["spec"].update(minReadySeconds=3, ordinals={"start": 5}, replicas=2, podManagementPolicy="Parallel")
            one["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Delete"}
            spec = one["spec"]["template"]["spec"]
            spec["nodeSelector"] = {"none": "such"}
            spec["containers"][0]["envFrom"] = [{"secretRef": {"name": "binary"}}, {"secretRef": {"name": "frozen"}}]
            spec["volumes"] = [
                {"name": f"v{number}", "configMap": {"name": name}}
                for number, name in enumerate(("binary", "frozen", "bare", "large", f"{LONG}.{LONG}"))
            ]
    return made


@pytest.mark.extended
def test_they_come_back_as_they_were(namespace: Namespace, tmp_path: Path) -> None:
    """Secrets with no text, immutable, of a type; ConfigMaps of 1 MiB, of bytes, of nothing; Services of each type; a StatefulSet whose pods begin at
    5 and whose claims go when it is scaled; what is named leads on: an Ingress to its Secret and Service, an autoscaler to a Deployment and on to its
    ConfigMap."""
    (tmp_path / "repository").mkdir()
    made = [*objects(), *server()]
    namespace.apply(*made)
    claims = [f"data-{'s' * 52}-{number}" for number in (5, 6)]
    kinds = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in made]
    kinds += [("v1", "PersistentVolumeClaim", name) for name in claims]

    def there() -> dict[str, Object]:
        found = {(kind, name): namespace.find(version, kind, name) for version, kind, name in kinds}
        return {f"{kind}/{name}": compared(one) for (kind, name), one in found.items() if one is not None}

    wait_until(lambda: len(there()) == len(kinds), 60)
    before = there()
    given: Object = {
        "kubernetes": {"kubeconfig": str(namespace.api.kubeconfig), "namespace": namespace.name},
        "repository": {"path": str(tmp_path / "repository")},
        "state_dir": str(tmp_path / "state"),
        "server_name": "shop",
        "encryption": {"method": "aes256", "passphrase": "a long passphrase of the tests"},
    }
    named = [("Ingress", NETWORK, "web"), ("LimitRange", "v1", "limits"), ("HorizontalPodAutoscaler", None, "web")]
    named += [("Service", None, name) for name in (LONG, "ports", "balanced", "elsewhere")]
    wanted = [{"kind": kind, "api_version": version, "name": name} for kind, version, name in named]
    present = {**given, "stateful_set": "s" * 52, "objects": wanted}
    done = ok(run_module("k8s_capture", present))
    captured = {f"{one['kind']}/{one['name']}" for one in done["backup"]["consistency"]["objects"]}
    assert captured == set(before)
    assert not ok(run_module("k8s_capture", present))["changed"]
    restored = {**given, "state": "restored"}
    assert not ok(run_module("k8s_capture", restored))["changed"]

    for version, kind, name in reversed(kinds):
        namespace.delete(version, kind, name, grace=0)
    wait_until(lambda: not there() and not namespace.list("v1", "Pod"), 60)
    planned = ok(run_module("k8s_capture", restored, check=True))
    held = ok(run_module("k8s_capture", restored))
    assert held["plan"] == planned["plan"]
    waits = {one["name"]: one["why"] for one in held["objects"] if one["state"] == "waits"}
    assert set(waits) == {"web", "limits"}
    assert not ok(run_module("k8s_capture", restored))["changed"]
    assert {f"PersistentVolumeClaim/{name}" for name in claims} <= set(there())
    ok(run_module("k8s_capture", {**restored, "hold": False}))
    assert there() == before
    assert not ok(run_module("k8s_capture", {**restored, "hold": False}))["changed"]

    # A port of the nodes is the whole cluster's, and the former Service has it.
    other = Namespace(namespace.api, f"{namespace.name}-other")
    there_too = {**restored, "hold": False, "create_namespace": True}
    there_too["kubernetes"] = {**given["kubernetes"], "namespace": other.name}
    try:
        ok(run_module("k8s_capture", there_too))
        assert not ok(run_module("k8s_capture", there_too))["changed"]
        assert other.get("v1", "ConfigMap", "large")["data"] == namespace.get("v1", "ConfigMap", "large")["data"]
    finally:
        other.remove()


def compared(one: Object) -> Object:
    """Of what the cluster allocates, whether it has any; the port that somebody chose."""
    kept = plain(one)
    spec = kept.get("spec") or {}
    for port in spec.get("ports") or () if kept["kind"] == "Service" else ():
        port["nodePort"] = port.get("nodePort") if port.get("port") == 1 else bool(port.get("nodePort"))
    spec.pop("healthCheckNodePort", None)
    return kept
