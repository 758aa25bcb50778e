# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: something of a clone that is the former server's still, or acts upon it.

Members: names (in the middle, at the end, two that become one); claims of templates and by name; sidecars with their Secrets and volumes; Services with
addresses from outside; marks of GitOps, Helm and DNS; NetworkPolicies that hold for both; arguments; who keeps a cluster by himself.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.mapping import key
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.managers import managed_by
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone import objects
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.objects import Wanted, new_name

HERE = Wanted("pg", "shop", "again", "shop")


def stateful_set(**spec: Any) -> dict[str, Any]:
    """PostgreSQL with a sidecar that backs it up."""
    server = {
        "name": "pg",
        "image": "postgres:17",
        "args": ["-c", "archive_mode=on"],
        "env": [
            {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "pg-auth", "key": "p"}}},
            {"name": "PRIMARY_HOST", "value": "pg"},
            {"name": "URL", "value": "postgres://pg.shop.svc/x"},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "share", "mountPath": "/share"}],
    }
    sidecar = {
        "name": "backup",
        "image": "wal-g",
        "envFrom": [{"secretRef": {"name": "bucket"}}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/s"}],
    }
    pod = {
        "containers": [server, sidecar],
        "volumes": [
            {"name": "share", "nfs": {"server": "nas", "path": "/x"}},
            {"name": "scratch", "persistentVolumeClaim": {"claimName": "scratch"}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "pg", "labels": {"app": "pg", "app.kubernetes.io/managed-by": "Helm"}},
        "spec": {
            "replicas": 3,
            "serviceName": "pg",
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
            "selector": {"matchLabels": {"app": "pg"}},
            "template": {"metadata": {"labels": {"app": "pg"}}, "spec": pod},
            "volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
            ],
            **spec,
        },
    }


def of(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


@pytest.mark.parametrize(
    "name, new",
    [("pg", "again"), ("pg-headless", "again-headless"), ("data-pg", "data-again"), ("shop-auth", "shop-auth-again"), ("pgbouncer", "pgbouncer-again")],
)  # fmt: skip
def test_names(name: str, new: str) -> None:
    assert new_name(name, "pg", "again") == new and new_name(name, "pg", "pg") == name


def test_what_two_would_be_called_is_refused() -> None:
    made, _gone = objects.pruned(stateful_set(), "pg", [])
    both = [of("Secret", "pg-a"), of("Secret", "pg-b")]
    assert objects.new_names(both, made, HERE)["Secret/pg-a"] == "again-a"
    with pytest.raises(BadOption, match="both Secret/pg-a and Secret/pg-b"):
        objects.new_names(both, made, Wanted("pg", "shop", "again", "shop", {"Secret/pg-b": "again-a"}))
    with pytest.raises(BadOption, match="is nothing that is cloned"):
        objects.new_names(both, made, Wanted("pg", "shop", "again", "shop", {"Secret/other": "x"}))


def test_what_runs_beside_is_left_out_with_all_that_it_alone_uses() -> None:
    whole = stateful_set()
    made, gone = objects.pruned(whole, "pg", [])
    assert gone == ["backup"]
    assert objects.referred(whole) - objects.referred(made) == {"Secret/bucket", "PersistentVolumeClaim/scratch"}
    kept, gone = objects.pruned(whole, "pg", ["backup"])
    assert not gone and objects.referred(kept) == objects.referred(whole)


def clone(found: list[dict[str, Any]], wanted: Wanted = HERE) -> tuple[dict[str, dict[str, Any]], list[str]]:
    made, _gone = objects.pruned(stateful_set(), "pg", [])
    all_of_it = [*found, made]
    names = objects.new_names(all_of_it, made, wanted)
    done = objects.clone_of(all_of_it, made, wanted, names, {"app": wanted.new}, "data-pg-0")
    return {key(one): one for one in done.objects}, done.doubts


def test_the_statefulset_of_a_clone() -> None:
    claim = of("PersistentVolumeClaim", "data-pg-0", spec={"resources": {"requests": {"storage": "1Gi"}}})
    made, doubts = clone([of("Secret", "pg-auth"), of("Service", "pg", spec={"selector": {"app": "pg"}}), claim])
    assert set(made) == {
        "StatefulSet/again",
        "Secret/again-auth",
        "Service/again",
        "PersistentVolumeClaim/data-again-0",
    }
    found = made["StatefulSet/again"]
    spec, pod = found["spec"], found["spec"]["template"]["spec"]
    assert spec["replicas"] == 1 and "persistentVolumeClaimRetentionPolicy" not in spec
    assert spec["serviceName"] == "again" and spec["selector"]["matchLabels"] == {"app": "again"}
    assert found["metadata"]["labels"] == {"app": "again", "holdfast.postgres/clone": "again"}
    assert found["metadata"]["annotations"] == {"holdfast.postgres/clone-of": "shop/pg"}
    (server,) = pod["containers"]
    assert server["args"] == ["-c", "archive_mode=off"]
    assert server["env"][0]["valueFrom"]["secretKeyRef"]["name"] == "again-auth"
    assert server["env"][2]["value"] == "postgres://again.shop.svc/x"
    assert [one.split(" ", 3)[:3] for one in doubts] == [
        ["The", "volume", "share"],
        ["The", "variable", "PRIMARY_HOST"],
    ]


def test_a_claim_of_another_size_and_class() -> None:
    claim = of("PersistentVolumeClaim", "data-pg-0", spec={"storageClassName": "slow"})
    made, _doubts = clone([claim], Wanted("pg", "shop", "again", "shop", {}, "fast", "9Gi"))
    (template,) = made["StatefulSet/again"]["spec"]["volumeClaimTemplates"]
    for one in (template, made["PersistentVolumeClaim/data-again-0"]):
        assert one["spec"]["storageClassName"] == "fast" and one["spec"]["resources"]["requests"] == {"storage": "9Gi"}


def test_what_is_seen_from_outside_stays_the_servers() -> None:
    spec = {
        "type": "LoadBalancer", "loadBalancerIP": "1.2.3.4", "externalIPs": ["1.2.3.4"], "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"],
        "selector": {"app": "pg"}, "ports": [{"port": 5432, "targetPort": "pg", "nodePort": 30000}], "healthCheckNodePort": 3,
    }  # fmt: skip
    service = of("Service", "pg", spec=spec)
    service["metadata"]["annotations"] = {"external-dns.alpha.kubernetes.io/hostname": "db.example.org"}
    service["metadata"]["labels"] = {"argocd.argoproj.io/instance": "shop", "app": "pg"}
    made, _doubts = clone([service])
    found = made["Service/again"]
    assert found["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "again"},
        "ports": [{"port": 5432, "targetPort": "pg"}],
    }
    assert found["metadata"]["labels"] == {"app": "again", "holdfast.postgres/clone": "again"}
    assert list(found["metadata"]["annotations"]) == ["holdfast.postgres/clone-of"]


def test_a_policy_that_holds_for_both_is_not_copied() -> None:
    """A copy would let those in whom only the clone is to let in."""
    own = of("NetworkPolicy", "own", spec={"podSelector": {"matchLabels": {"app": "pg"}}})
    every = of(
        "NetworkPolicy",
        "all",
        spec={"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "pg"}}}]}]},
    )
    made, _doubts = clone([own, every])
    assert made["NetworkPolicy/own-again"]["spec"]["podSelector"] == {"matchLabels": {"app": "again"}}
    assert "NetworkPolicy/all-again" not in made
    elsewhere, _doubts = clone([own, every], Wanted("pg", "shop", "pg", "test"))
    assert {"NetworkPolicy/own", "NetworkPolicy/all"} <= set(elsewhere)


@pytest.mark.parametrize(
    "change, variables, image, who",
    [
        ({}, {}, "postgres:17", ""),
        ({"ownerReferences": [{"kind": "postgresql", "name": "acid", "controller": True}]}, {}, "x", "an operator's"),
        ({}, {"PATRONI_SCOPE": "x"}, "postgres:17", "Patroni"),
        ({}, {"REPMGR_PARTNER_NODES": "x"}, "bitnami/postgresql", "repmgr"),
        ({}, {}, "ghcr.io/zalando/spilo-17:4.0", "spilo"),
    ],
)
def test_who_keeps_a_cluster_by_himself(
    change: dict[str, Any], variables: dict[str, str], image: str, who: str
) -> None:
    found = stateful_set()
    found["metadata"].update(change)
    said = managed_by(found, variables, image)
    assert (who in said) if who else said == ""
