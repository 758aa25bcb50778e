# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster adds to an object is taken away, and nothing that somebody wrote."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import made_by_cluster, strip

Object = dict[str, Any]
ADDED: Object = {
    "uid": "0b1f", "resourceVersion": "812", "generation": 4, "creationTimestamp": "2026-11-26T10:00:00Z", "selfLink": "/api/x",
    "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}], "finalizers": ["kubernetes.io/pvc-protection"],
    "ownerReferences": [{"kind": "Thing", "name": "t", "uid": "7"}], "deletionGracePeriodSeconds": 30,
}  # fmt: skip


def of(kind: str, metadata: Object | None = None, **rest: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "pg", **(metadata or {})}, **rest}


def stripped(kind: str, metadata: Object | None = None, **rest: Any) -> Object:
    return strip(of(kind, {**ADDED, **(metadata or {})}, status={"phase": "Bound"}, **rest))


def test_metadata_and_status_that_servers_write() -> None:
    found = stripped(
        "ConfigMap",
        {
            "labels": {"app": "pg"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "deployment.kubernetes.io/revision": "3",
                "holdfast.postgres/paused": "x",
                "example.org/why": "because",
            },
        },
        data={"a": "b"},
        immutable=True,
    )
    assert found == of(
        "ConfigMap",
        {"labels": {"app": "pg"}, "annotations": {"example.org/why": "because"}},
        data={"a": "b"},
        immutable=True,
    )


def test_the_original_is_left_as_it_is() -> None:
    before = of(
        "Service", dict(ADDED), spec={"clusterIP": "10.0.0.1", "ports": [{"port": 1, "nodePort": 30000}]}, status={}
    )
    known = copy.deepcopy(before)
    strip(before)
    assert before == known


@pytest.mark.parametrize(
    ("spec", "owned", "kept"),
    [
        (
            {
                "clusterIP": "10.0.0.7",
                "clusterIPs": ["10.0.0.7"],
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
            },
            {},
            {},
        ),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, {}, {"clusterIP": "None", "clusterIPs": ["None"]}),
        ({"clusterIP": "10.0.0.7"}, {"f:clusterIP": {}}, {"clusterIP": "10.0.0.7"}),
        (
            {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"},
            {},
            {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"},
        ),
        (
            {"type": "NodePort", "ports": [{"port": 5432, "nodePort": 30001}], "healthCheckNodePort": 32000},
            {},
            {"type": "NodePort", "ports": [{"port": 5432}]},
        ),
        (
            {"type": "NodePort", "ports": [{"port": 5432, "nodePort": 30001}]},
            {"f:ports": {'k:{"port":5432,"protocol":"TCP"}': {"f:nodePort": {}}}},
            {"type": "NodePort", "ports": [{"port": 5432, "nodePort": 30001}]},
        ),
        (
            {
                "ports": [
                    {"port": 1, "nodePort": 30001},
                    {"port": 2, "nodePort": 30002},
                    {"port": 2, "protocol": "UDP", "nodePort": 3},
                ]
            },
            {
                "f:ports": {
                    'k:{"port":2,"protocol":"TCP"}': {"f:nodePort": {}},
                    'k:{"port":1,"protocol":"TCP"}': {".": {}},
                }
            },
            {"ports": [{"port": 1}, {"port": 2, "nodePort": 30002}, {"port": 2, "protocol": "UDP"}]},
        ),
        (
            {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"},
            {"f:ipFamilies": {}},
            {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"},
        ),
    ],
    ids=[
        "allocated",
        "headless",
        "chosen",
        "two families",
        "allocated ports",
        "chosen ports",
        "one chosen of three",
        "a family chosen",
    ],
)
def test_addresses_and_ports_of_a_service(spec: Object, owned: Object, kept: Object) -> None:
    fields = [{"manager": "helm", "fieldsV1": {"f:spec": owned}}]
    found = stripped("Service", {"managedFields": fields}, spec=spec)
    assert found["spec"] == kept
    assert strip(found) == found, "what was chosen is lost where it is compared with what was made"


def test_a_claim_is_neither_bound_nor_filled_from_what_it_was_made_of() -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "old"}
    found = stripped(
        "PersistentVolumeClaim",
        {
            "annotations": {
                "pv.kubernetes.io/bind-completed": "yes",
                "pv.kubernetes.io/bound-by-controller": "yes",
                "volume.kubernetes.io/selected-node": "n1",
                "volume.beta.kubernetes.io/storage-provisioner": "csi",
                "holdfast.postgres/prepared": "x",
            }
        },
        spec={**spec, "volumeName": "pvc-1", "dataSource": source, "dataSourceRef": source},
    )
    assert found == of("PersistentVolumeClaim", spec=spec)


@pytest.mark.parametrize(
    "name",
    ["recovery", "swap", "clone-run", "clone-of", "replica-1", "replica-count", "kept-for", "paused-for", "served", "cnpg-recovery-plan", "process"],
)  # fmt: skip
def test_what_a_run_that_is_not_ended_notes_is_not_captured(name: str) -> None:
    """Else a server that is made anew elsewhere looks half recovered. What tells our own objects stays."""
    ours = {f"holdfast.postgres/{key}": "x" for key in ("server-name", "digest", "rules")}
    assert stripped("StatefulSet", {"annotations": {f"holdfast.postgres/{name}": "x", **ours}}, spec={}) == of(
        "StatefulSet", {"annotations": ours}, spec={}
    )


@pytest.mark.parametrize(
    ("kind", "note", "before", "after"),
    [
        ("StatefulSet", {"holdfast.postgres/replicas": "3"}, {"replicas": 0}, {"replicas": 3}),
        ("StatefulSet", {"holdfast.postgres/replicas": "3"}, {"replicas": 2}, {"replicas": 2}),
        ("Deployment", {}, {"replicas": 0}, {"replicas": 0}),
        ("CronJob", {"holdfast.postgres/suspend": "false"}, {"suspend": True}, {"suspend": False}),
        ("CronJob", {}, {"suspend": True}, {"suspend": True}),
    ],
)
def test_what_we_stopped_for_a_while_has_the_count_that_it_had(
    kind: str, note: Object, before: Object, after: Object
) -> None:
    assert stripped(kind, {"annotations": note}, spec=before) == of(kind, spec=after)


def test_templates() -> None:
    pod = {"serviceAccount": "pg", "serviceAccountName": "pg", "containers": []}
    template = {"metadata": {"creationTimestamp": None, "labels": {"a": "b"}}, "spec": pod}
    claim = {"metadata": {"name": "data", "creationTimestamp": None}, "spec": {}, "status": {"phase": "Pending"}}
    found = stripped("StatefulSet", spec={"template": template, "volumeClaimTemplates": [claim]})["spec"]
    assert found["template"] == {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"serviceAccountName": "pg", "containers": []},
    }
    assert found["volumeClaimTemplates"] == [{"metadata": {"name": "data"}, "spec": {}}]
    job = {"metadata": {"creationTimestamp": None}, "spec": {"template": template}}
    assert (
        "serviceAccount"
        not in stripped("CronJob", spec={"jobTemplate": job})["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    )


def test_an_account_has_no_tokens_of_this_cluster() -> None:
    found = stripped(
        "ServiceAccount",
        secrets=[{"name": "pg-token-x7b2k"}, {"name": "mine"}],
        imagePullSecrets=[{"name": "pg-dockercfg-abcde"}],
    )
    assert found == of("ServiceAccount", secrets=[{"name": "mine"}])


@pytest.mark.parametrize(
    ("manifest", "made"),
    [
        (of("ConfigMap", {"name": "kube-root-ca.crt"}), True),
        (of("ServiceAccount", {"name": "default"}), True),
        (of("Secret", type="kubernetes.io/service-account-token"), True),
        (of("Secret", type="kubernetes.io/tls"), False),
        (of("Service", {"ownerReferences": [{"kind": "Cluster", "name": "pg", "controller": True}]}), True),
        (of("Service", {"ownerReferences": [{"kind": "Release", "name": "pg"}]}), False),
        # Its content may be nowhere else: a password that the data has.
        (of("Secret", {"ownerReferences": [{"kind": "Cluster", "name": "pg", "controller": True}]}), False),
        (
            of(
                "PersistentVolumeClaim",
                {"ownerReferences": [{"kind": "StatefulSet", "name": "pg", "controller": True}]},
            ),
            False,
        ),
        # Of an ephemeral volume: with another owner it would keep the pod from starting.
        (of("PersistentVolumeClaim", {"ownerReferences": [{"kind": "Pod", "name": "pg-0", "controller": True}]}), True),
    ],
)
def test_what_a_cluster_makes_anew_is_not_kept(manifest: Object, made: bool) -> None:
    assert (made_by_cluster(manifest) is not None) == made
