# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client and the waiter against a real API server: what it answers is said in words, and why something does not start is told at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import errors
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import started, succeeded
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    WaitFailed,
    look_for_troubles,
    wait_for,
    wait_until_gone,
)
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.way import Way
from lab.waiting import wait_until

Object = dict[str, Any]


@pytest.fixture
def ours(cluster: Any, namespace: Namespace) -> Cluster:
    """Our client, as the cluster's administrator."""
    return Cluster(access_of({"kubeconfig": str(cluster.kubeconfig), "namespace": namespace.name}))


def config_map(name: str = "m", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def container(script: str = "true", **more: Any) -> Object:
    return {
        "name": "c",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", script],
        **more,
    }


def pod(name: str, *containers: Object, **more: Any) -> Object:
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": list(containers), **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def job(name: str, *containers: Object, **more: Any) -> Object:
    spec = {"backoffLimit": 0, "template": {"spec": pod(name, *containers)["spec"]}, **more}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def test_a_dry_run_says_what_the_run_does_and_the_second_run_changes_nothing(
    ours: Cluster, namespace: Namespace
) -> None:
    """The diff has our fields alone: what another manager wrote beside them is left as it is, and what we no longer say goes."""
    planned = ours.apply(config_map(a="1", b="2"), dry_run=True)
    assert planned.changed and namespace.find("v1", "ConfigMap", "m") is None
    done = ours.apply(config_map(a="1", b="2"))
    assert (done.before, done.after) == (planned.before, planned.after)
    assert not ours.apply(config_map(a="1", b="2")).changed
    namespace.apply(config_map(theirs="x"))
    planned = ours.apply(config_map(a="3"), dry_run=True)
    done = ours.apply(config_map(a="3"))
    assert planned.diff == done.diff and "theirs" not in str(done.diff)
    assert done.diff["before"]["data"] == {"a": "1", "b": "2"} and done.diff["after"]["data"] == {"a": "3"}
    assert namespace.get("v1", "ConfigMap", "m")["data"] == {"a": "3", "theirs": "x"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"password": "hush", "gone": "x"},
    }
    assert "hush" not in str(ours.apply(secret).diff)
    secret["stringData"] = {"password": "hush"}
    ours.apply(secret)
    assert list(namespace.get("v1", "Secret", "s")["data"]) == ["password"]


def test_answers_are_said_in_words(ours: Cluster, namespace: Namespace) -> None:
    """Refused for what it is, for what it is called, for who has it, and for where it would be."""
    cases: list[tuple[Callable[[], Any], type[HoldfastError], str]] = [
        (lambda: ours.apply({**config_map(), "dat": {}}), errors.Invalid, "has no field .dat"),
        (
            lambda: ours.create({**job("j", container()), "spec": {**job("j", container())["spec"], "x": 1}}),
            errors.Invalid,
            "no field spec.x",
        ),
        (lambda: ours.create(job("j")), errors.Invalid, "spec.template.spec.containers: Required value"),
        (lambda: ours.create(config_map("A_b")), errors.Invalid, "metadata.name"),
        (lambda: ours.list("ScaledObject"), errors.NotInstalled, "scaledobjects.keda.sh"),
        (
            lambda: ours.get("holdfast.example/v1/Nothing", "x"),
            errors.NotInstalled,
            "no Nothing of holdfast.example/v1",
        ),
        (
            lambda: ours.create({**config_map(), "metadata": {"name": "m", "namespace": "nowhere-x"}}),
            errors.Missing,
            "no namespace nowhere-x",
        ),
        (lambda: ours.patch("ConfigMap", "nowhere", {"data": {}}), errors.Missing, "not there"),
    ]
    for ask, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)
    ours.create(config_map())
    with pytest.raises(errors.AlreadyThere):
        ours.create(config_map())
    with pytest.raises(errors.Conflict, match="another object"):
        ours.delete("ConfigMap", "m", uid="00000000-0000-0000-0000-000000000000")
    assert ours.delete("ConfigMap", "m") and not ours.delete("ConfigMap", "m")
    namespace.apply(config_map("theirs", a="x"))
    with pytest.raises(errors.Conflict, match=r"\.data\.a is tests's"):
        ours.apply(config_map("theirs", a="y"))
    assert ours.apply(config_map("theirs", a="y"), force=True).changed
    ours.create(job("j", container("sleep 100"), suspend=False))
    with pytest.raises(errors.Invalid, match="spec.template cannot be changed"):
        ours.apply(job("j", container("sleep 101")), force=True)


def test_a_missing_right_names_the_line_that_gives_it(
    ours: Cluster, namespace: Namespace, service_account: Callable[..., Path], tmp_path: Path
) -> None:
    """And with exactly that line the same request is let in."""
    rules: list[Object] = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["m"]}]
    ours.create(config_map("m", a="1"))
    limited = Cluster(access_of({"kubeconfig": str(service_account(rules))}))
    assert limited.namespace == namespace.name and (limited.get("ConfigMap", "m") or {})["data"] == {"a": "1"}
    for ask, line in (
        (lambda one: one.get("Secret", "db"), "resources: [secrets], verbs: [get], resourceNames: [db]"),
        (lambda one: one.list("Pod"), "resources: [pods], verbs: [list]"),
        (
            lambda one: one.create(job("j", container()), dry_run=True),
            "apiGroups: [batch], resources: [jobs], verbs: [create]",
        ),
        (lambda one: list(one.logs("p")), "resources: [pods/log], verbs: [get], resourceNames: [p]"),
        (lambda one: one.list("StorageClass"), "resources: [storageclasses], verbs: [list]"),
    ):
        with pytest.raises(errors.Forbidden, match="may not") as caught:
            ask(limited)  # type: ignore[no-untyped-call]
        assert line in str(caught.value)
        rule = caught.value.rule.manifest()
        given = {"cluster_rules": [rule]} if not caught.value.namespace else {}
        better = Cluster(
            access_of(
                {"kubeconfig": str(service_account([] if given else [rule], **given)), "namespace": namespace.name}
            )
        )
        try:
            ask(better)  # type: ignore[no-untyped-call]
        except errors.Forbidden as exc:
            pytest.fail(f"the line does not do: {exc}")
        except errors.KubernetesError:
            pass
    with pytest.raises(errors.Denied, match="nobody may give rights"):
        maker = service_account(
            [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}]
        )
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}}
        Cluster(access_of({"kubeconfig": str(maker)})).create(
            {**role, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
        )


def test_who_is_not_let_in_hears_why(ours: Cluster, cluster: Any, namespace: Namespace) -> None:
    """A token of nobody's; none at all; a certificate that is not trusted; a port that is no API server's."""
    for given, kind, said in (
        ({"kubeconfig": str(cluster.kubeconfig), "api_key": "x.y.z"}, errors.NotLoggedIn, "does not accept"),
        (
            {"host": ours.server, "username": "a", "password": "b", "validate_certs": False},
            errors.NotLoggedIn,
            "without credentials",
        ),
        ({"host": ours.server, "api_key": "x"}, errors.KubernetesError, "kubernetes.ca_cert"),
        ({"host": ours.server.replace("https", "http"), "api_key": "x"}, errors.KubernetesError, "no Kubernetes API"),
    ):
        with pytest.raises(kind, match=said):
            Cluster(access_of({**given, "namespace": namespace.name}), patience=0).get("Pod", "x")


@pytest.fixture
def way(ours: Cluster) -> Iterator[Way]:
    made = Way(ours.server)
    yield made
    made.end()


def test_a_server_that_is_away_for_a_while_is_waited_for(
    ours: Cluster, way: Way, namespace: Namespace, service_account: Callable[..., Path]
) -> None:
    """Half-way through a run, with a wait under way; and where it stays away, that is said with how long it was tried."""
    config = way.config(service_account([{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}]))
    found = Cluster(access_of({"kubeconfig": config, "namespace": namespace.name}), patience=30)
    assert found.get("ConfigMap", "m") is None
    way.close()
    before = way.accepted
    threading.Thread(
        target=lambda: (wait_until(lambda: way.accepted > before + 1, 20), setattr(way, "open", True)), daemon=True
    ).start()
    assert found.apply(config_map(a="1")).changed
    way.close()
    found.patience = 1
    with pytest.raises(errors.Unreachable, match="It was tried for"):
        found.get("ConfigMap", "m")
    with pytest.raises(errors.Unreachable):
        found.create(config_map("other"))
    assert namespace.find("v1", "ConfigMap", "other") is None


def test_a_namespace_that_is_being_deleted_takes_nothing(ours: Cluster, namespace: Namespace) -> None:
    kept = config_map("kept")
    kept["metadata"]["finalizers"] = ["holdfast.example/kept"]
    ours.create(kept)
    try:
        ours.delete("Namespace", namespace.name)
        with pytest.raises(errors.Terminating, match="being deleted"):
            ours.apply(config_map())
        with pytest.raises(WaitFailed, match="holdfast.example/kept"):
            ours.delete("ConfigMap", "kept")
            wait_until_gone(ours, "ConfigMap", "kept", 0.5)
    finally:
        ours.patch("ConfigMap", "kept", {"metadata": {"finalizers": None}})
    wait_until_gone(ours, "ConfigMap", "kept", 30)


def test_quota_policies_and_pod_security_refuse_in_words(ours: Cluster, namespace: Namespace, cluster: Any) -> None:
    """By what made the pod's owner say so, too: a Job whose pods are refused gets on no more."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    ours.create(quota)
    wait_until(lambda: (namespace.get("v1", "ResourceQuota", "none").get("status") or {}).get("hard"), 20)
    with pytest.raises(errors.QuotaExceeded, match="ResourceQuota none.*at most pods=0"):
        ours.create(pod("p", container()), dry_run=True)
    ours.create(job("refused", container()))
    began = time.monotonic()
    with pytest.raises(WaitFailed, match="for the namespace's quota"):
        wait_for(ours, "Job", "refused", 60)
    assert time.monotonic() - began < 20
    ours.delete("ResourceQuota", "none")
    ours.patch(
        "Namespace", namespace.name, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    )
    with pytest.raises(errors.Denied, match="Pod Security of the namespace is restricted"):
        ours.create(pod("p", container()), dry_run=True)


def test_a_webhook_that_does_not_answer_is_named(ours: Cluster, namespace: Namespace) -> None:
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace.name},
        "webhooks": [
            {
                "name": "guard.holdfast.example",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 1,
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}],
            }
        ],
    }
    kind = "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration"
    ours.create(hook)
    try:

        def refused() -> str:
            try:
                ours.create(config_map(), dry_run=True)
            except errors.KubernetesError as exc:
                return str(exc)
            return ""

        said = wait_until(refused, 20)
        assert "the admission webhook guard.holdfast.example does not answer" in said, said
    finally:
        ours.delete(kind, namespace.name)


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        (
            "image",
            pod("x", container(image="localhost/nothing:1", imagePullPolicy="Never")),
            "imagePullPolicy is Never",
        ),
        ("node", pod("x", container(), nodeSelector={"holdfast.example/none": "x"}), "no node has the labels"),
        ("cpu", pod("x", container(resources={"requests": {"cpu": "1000"}})), "not enough cpu|no node has enough cpu"),
        (
            "claim",
            pod("x", container(), volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "nothing"}}]),
            "the claim nothing does not exist",
        ),
        (
            "key",
            pod("x", container(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "renamed"}}}])),
            "couldn't find key renamed in Secret",
        ),
        (
            "secret",
            pod(
                "x",
                container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                volumes=[{"name": "v", "secret": {"secretName": "nothing"}}],
            ),
            "the Secret nothing, which it mounts, does not exist",
        ),
        ("user", pod("x", container(securityContext={"runAsNonRoot": True, "runAsUser": 0})), "runAsNonRoot|non-root"),
        ("program", pod("x", container(command=["/nothing"])), "/nothing"),
        (
            "exit",
            pod("x", container("echo no such table >&2; exit 3", terminationMessagePolicy="FallbackToLogsOnError")),
            "exit code 3.*no such table",
        ),
        (
            "deadline",
            pod("x", container("sleep 100"), activeDeadlineSeconds=1),
            "activeDeadlineSeconds|DeadlineExceeded",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_why_a_pod_does_not_start_is_told_before_the_deadline(
    ours: Cluster, namespace: Namespace, name: str, made: Object, said: str
) -> None:
    """Each within seconds, though a minute were left; what may pass by itself after the patience that was asked for."""
    ours.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "x"}})
    ours.create(made)
    told: list[str] = []
    began = time.monotonic()
    with pytest.raises(WaitFailed, match=said) as caught:
        wait_for(ours, "Pod", "x", 90, predicate=succeeded, patience=1, tell=told.append)
    assert time.monotonic() - began < 60 and not caught.value.late


def test_a_container_that_takes_too_much_memory_is_named(ours: Cluster, namespace: Namespace) -> None:
    hungry = container(
        "python3 -c 'x = bytearray(300_000_000); print(len(x))'", resources={"limits": {"memory": "40Mi"}}
    )
    ours.create(pod("x", hungry))
    with pytest.raises(WaitFailed, match="OOMKilled.*resources.limits.memory"):
        wait_for(ours, "Pod", "x", 90, predicate=succeeded)


def test_a_claim_of_no_class_is_told(ours: Cluster, namespace: Namespace) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c"},
        "spec": {**spec, "storageClassName": "nothing"},
    }
    ours.create(claim)
    with pytest.raises(WaitFailed, match="stays Pending.*nothing"):
        wait_for(ours, "PersistentVolumeClaim", "c", 60)


def test_a_job_is_waited_for_to_its_end_whatever_it_is(ours: Cluster, namespace: Namespace) -> None:
    """One that is done, one that failed and says why, one whose second pod does it, and one that takes longer than one waits."""
    for one in (
        job("good", container("echo begun; sleep 1; echo ended")),
        job("bad", container("exit 5")),
        job("slow", container("sleep 100")),
        job("nothing", container(image="localhost/nothing:1", imagePullPolicy="Never")),
    ):
        ours.create(one)
    assert wait_for(ours, "Job", "good", 90)["status"]["succeeded"] == 1
    (done,) = namespace.pods_of("good")
    assert list(ours.logs(done["metadata"]["name"], timestamps=False)) == ["begun", "ended"]
    with pytest.raises(WaitFailed, match="Job .*bad failed.*exit code 5"):
        wait_for(ours, "Job", "bad", 90)
    with pytest.raises(WaitFailed, match="was waited for 0.5 s") as caught:
        wait_for(ours, "Job", "slow", 0.5)
    assert caught.value.late
    (running,) = namespace.pods_of("slow")
    wait_for(ours, "Pod", running["metadata"]["name"], 60, predicate=started)
    found = ours.get("Job", "slow")
    assert found is not None and look_for_troubles(ours, found) == []
    with pytest.raises(WaitFailed, match="localhost/nothing:1 cannot be used"):  # Kubernetes itself waits for ever
        wait_for(ours, "Job", "nothing", 60)
    with pytest.raises(errors.Missing, match="not there"):
        wait_for(ours, "Job", "another", 1)


def test_a_log_is_followed_and_taken_up_again(ours: Cluster, namespace: Namespace) -> None:
    """It ends with the container, and before that when nothing comes: who follows asks again from the last line on."""
    ours.create(pod("x", container("echo one; sleep 3; echo two")))
    wait_for(ours, "Pod", "x", 60, predicate=started)
    first = list(ours.logs("x", follow=True, idle=0.5, timestamps=True))
    assert [line.partition(" ")[2] for line in first] == ["one"]
    again = list(ours.logs("x", follow=True, since=first[-1].partition(" ")[0], timestamps=True))
    assert again[-1].endswith(" two")
