# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured objects elsewhere: each reference follows, and a text that still leads to the former namespace is changed, or named.

The kind: what is restored into another namespace reaches the old server, or is taken for somebody's own by a tool.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import Mapped, mapped

Object = dict[str, Any]


def of(kind: str, name: str, **rest: Any) -> Object:
    metadata = {"name": name, "namespace": "shop", **rest.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **rest}


def moved(*objects: Object, to: str = "again", **names: str) -> Mapped:
    return mapped(objects, "shop", to, {key.replace("_", "/"): value for key, value in names.items()})


def one(found: Mapped, kind: str) -> Object:
    return next(each for each in found.objects if each["kind"] == kind)


SERVICE = of("Service", "pg", spec={"ports": [{"port": 5432, "nodePort": 30100}]})


def test_the_namespace_and_who_is_named_by_it() -> None:
    binding = of(
        "RoleBinding",
        "pg",
        roleRef={"kind": "Role", "name": "pg"},
        subjects=[
            {"kind": "ServiceAccount", "name": "pg", "namespace": "shop"},
            {"kind": "ServiceAccount", "name": "pg", "namespace": "monitoring"},
            {"kind": "Group", "name": "system:serviceaccounts:shop"},
            {"kind": "User", "name": "system:serviceaccount:shop:pg"},
            {"kind": "User", "name": "jane"},
        ],
    )
    found = one(moved(binding), "RoleBinding")
    assert found["metadata"]["namespace"] == "again"
    assert found["subjects"] == [
        {"kind": "ServiceAccount", "name": "pg", "namespace": "again"},
        {"kind": "ServiceAccount", "name": "pg", "namespace": "monitoring"},
        {"kind": "Group", "name": "system:serviceaccounts:again"},
        {"kind": "User", "name": "system:serviceaccount:again:pg"},
        {"kind": "User", "name": "jane"},
    ]


def test_marks_of_tools_stay_behind_and_ports_of_the_whole_cluster() -> None:
    metadata = {
        "labels": {"app": "pg", "argocd.argoproj.io/instance": "shop", "kustomize.toolkit.fluxcd.io/name": "shop"},
        "annotations": {
            "argocd.argoproj.io/tracking-id": "shop:/Service:shop/pg",
            "meta.helm.sh/release-namespace": "shop",
        },
    }
    service = of("Service", "pg", metadata=metadata, spec={"ports": [{"port": 1, "nodePort": 30000}]})
    found = one(moved(service), "Service")
    assert found["metadata"]["labels"] == {"app": "pg"}
    assert found["metadata"]["annotations"] == {"meta.helm.sh/release-namespace": "again"}
    assert found["spec"]["ports"] == [{"port": 1}]
    assert one(moved(service, to="shop"), "Service") == service


@pytest.mark.parametrize(
    ("text", "after", "named"),
    [
        ("host=pg.shop.svc.cluster.local port=5432", "host=pg.again.svc.cluster.local port=5432", False),
        ("postgres://u:p@pg.shop.svc:5432/shop", "postgres://u:p@pg.again.svc:5432/shop", False),
        ("pg-0.pg.shop.svc,pg-1.pg.shop.svc", "pg-0.pg.again.svc,pg-1.pg.again.svc", False),
        ("web.shop.svc", "web.shop.svc", True),  # a Service that is not captured
        ("other-pg.shop.svc", "other-pg.shop.svc", True),
        ("pg.shop", "pg.shop", True),  # a host, or a table
        ("kubectl -n shop get pods", "kubectl -n shop get pods", True),
        ("namespace: shop", "namespace: shop", True),
        ("a shop that sells", "a shop that sells", False),
        ("pg.shop-two.svc", "pg.shop-two.svc", False),
    ],
)
@pytest.mark.parametrize("where", ["ConfigMap", "Secret", "env", "args"])
def test_texts(text: str, after: str, named: bool, where: str) -> None:
    if where in ("ConfigMap", "Secret"):
        value = base64.b64encode(text.encode()).decode() if where == "Secret" else text
        found = moved(SERVICE, of(where, "conf", data={"key": value}))
        said = one(found, where)["data"]["key"]
        said = base64.b64decode(said).decode() if where == "Secret" else said
    else:
        container = {"name": "c", "env": [{"name": "HOST", "value": text}], "args": [text]}
        spec = {"template": {"spec": {"containers": [container]}}}
        found = moved(SERVICE, of("StatefulSet", "pg", spec=spec))
        changed = one(found, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        said = changed["env"][0]["value"] if where == "env" else changed["args"][0]
    assert said == after
    assert bool(found.unchanged) == named


def test_a_value_that_is_no_text_stays() -> None:
    value = base64.b64encode(b"\xff\xfe pg.shop.svc").decode()
    found = moved(SERVICE, of("Secret", "tls", data={"key": value}))
    assert one(found, "Secret")["data"] == {"key": value} and not found.unchanged


def test_a_policy_that_lets_the_former_namespace_in_is_named() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    other = {
        "namespaceSelector": {
            "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]
        }
    }
    for each in (peer, other):
        assert moved(of("NetworkPolicy", "pg", spec={"ingress": [{"from": [each]}]})).unchanged
    assert not moved(of("NetworkPolicy", "pg", spec={"ingress": [{"from": [{"podSelector": {}}]}]})).unchanged


def test_new_names_and_all_that_refers_to_them() -> None:
    pod = {
        "serviceAccountName": "pg",
        "imagePullSecrets": [{"name": "pg"}],
        "containers": [
            {
                "name": "c",
                "envFrom": [{"configMapRef": {"name": "pg"}}, {"secretRef": {"name": "pg"}}],
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "pg", "key": "password"}}},
                    {"name": "B", "value": "pg-0.pg.shop.svc"},
                ],
            }
        ],
        "volumes": [
            {"name": "a", "configMap": {"name": "pg"}},
            {"name": "b", "secret": {"secretName": "pg"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "pg"}}]}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "dumps"}},
            {"name": "e", "azureFile": {"secretName": "pg", "shareName": "s"}},
            {"name": "f", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "pg"}}},
            {"name": "g", "cephfs": {"monitors": [], "secretRef": {"name": "pg"}}},
        ],
    }
    top = of(
        "StatefulSet",
        "pg",
        spec={"serviceName": "pg", "template": {"spec": pod}, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
    )
    found = moved(
        top, SERVICE, of("PersistentVolumeClaim", "data-pg-0"), of("PersistentVolumeClaim", "data-pg-x"), of("PersistentVolumeClaim", "dumps"),
        of("ConfigMap", "pg"), of("Secret", "pg"), of("ServiceAccount", "pg", imagePullSecrets=[{"name": "pg"}]),
        of("HorizontalPodAutoscaler", "pg", spec={"scaleTargetRef": {"kind": "StatefulSet", "name": "pg"}}),
        StatefulSet_pg="new", Service_pg="svc", ConfigMap_pg="conf", Secret_pg="secret", ServiceAccount_pg="account",
        PersistentVolumeClaim_dumps="more",
    )  # fmt: skip
    named = {f"{each['kind']}/{each['metadata']['name']}" for each in found.objects}
    assert named == {
        "StatefulSet/new", "Service/svc", "PersistentVolumeClaim/data-new-0", "PersistentVolumeClaim/data-pg-x", "PersistentVolumeClaim/more",
        "ConfigMap/conf", "Secret/secret", "ServiceAccount/account", "HorizontalPodAutoscaler/pg",
    }  # fmt: skip
    spec = one(found, "StatefulSet")["spec"]
    new = spec["template"]["spec"]
    assert spec["serviceName"] == "svc" and new["serviceAccountName"] == "account"
    assert new["imagePullSecrets"] == [{"name": "secret"}]
    container = new["containers"][0]
    assert container["envFrom"] == [{"configMapRef": {"name": "conf"}}, {"secretRef": {"name": "secret"}}]
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["name"] == "secret"
    assert container["env"][1]["value"] == "new-0.svc.again.svc"
    assert [volume.get("persistentVolumeClaim") for volume in new["volumes"]][3] == {"claimName": "more"}
    assert new["volumes"][0]["configMap"] == {"name": "conf"} and new["volumes"][1]["secret"] == {
        "secretName": "secret"
    }
    assert new["volumes"][2]["projected"]["sources"] == [{"secret": {"name": "secret"}}]
    assert new["volumes"][4]["azureFile"]["secretName"] == "secret"
    assert new["volumes"][5]["csi"]["nodePublishSecretRef"] == {"name": "secret"}
    assert new["volumes"][6]["cephfs"]["secretRef"] == {"name": "secret"}
    assert one(found, "ServiceAccount")["imagePullSecrets"] == [{"name": "secret"}]
    assert one(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "new"


def test_an_ingress_leads_to_secrets_and_services() -> None:
    """By its default, by its paths, and of a rule that has none."""

    def spec(service: str, secret: str) -> Object:
        backend = {"service": {"name": service, "port": {"number": 80}}}
        rules = [
            {"http": {"paths": [{"backend": backend}, {"backend": {"resource": {"kind": "Bucket", "name": "pg"}}}]}}
        ]
        return {
            "defaultBackend": backend,
            "tls": [{"secretName": secret}, {"hosts": ["a"]}],
            "rules": [*rules, {"host": "a"}],
        }

    found = moved(of("Ingress", "pg", spec=spec("pg", "pg")), Service_pg="svc", Secret_pg="secret")
    assert one(found, "Ingress")["spec"] == spec("svc", "secret")
