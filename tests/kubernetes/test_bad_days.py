# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad days of runs in a cluster, made to happen on a real one: each is one clear error at once, and nothing is lost. What keeps a run from starting
is in test_jobs, what the API server refuses by itself in test_client.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import follow
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from lab.answers import ok, refused
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.runs import OF_JOB, Runner, access, claim, log_of, pods, rules
from lab.kubernetes.way import Way
from lab.playbooks import run_module, start_module
from lab.waiting import wait_until

Account = Callable[..., Path]
RBAC = "rbac.authorization.k8s.io/v1"


@pytest.fixture
def idle(namespace: Namespace, service_account: Account, image: str) -> Runner:
    """Without a server: these runs do not come so far."""
    return Runner(service_account(rules("job", claims=["data", "other"])), namespace, image, None)


@pytest.fixture
def runner(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> Runner:
    """Of a server whose backup takes some ten seconds."""
    server = postgres()
    server.sql("create table t as select g, repeat(md5(g::text), 20) as m from generate_series(1, 12000) g")
    made = Runner(service_account(rules("job", claims=["data"])), namespace, image, server, bucket)
    slow = {"holdfast_backup_compression": "none", "holdfast_repository": {**bucket, "bandwidth_limit": 1024 * 1024}}
    made.more = {"variables": slow}
    return made


def at_work(namespace: Namespace) -> dict[str, Any]:
    """The pod, once it makes its backup."""

    def look() -> list[dict[str, Any]]:
        return [one for one in namespace.list("v1", "Pod", OF_JOB) if "Back up the server" in log_of(namespace, one)]

    (pod,) = wait_until(look, 120)
    return dict(pod)


def told(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# The cluster goes away from who follows


def test_the_api_server_goes_away_and_comes_back(runner: Runner, namespace: Namespace, tmp_path: Path) -> None:
    """Half-way, for some seconds, and for its whole end: one run, followed to its end, and the absence is told."""
    way = Way(Cluster(access_of({"kubeconfig": str(runner.kubeconfig)})).server)
    by_it = {"kubernetes": {"kubeconfig": way.config(runner.kubeconfig), "namespace": namespace.name}}
    progress = tmp_path / "progress"
    running = start_module("k8s_job", runner.options(**by_it, progress_file=str(progress)), fresh=True)
    try:
        pod = at_work(namespace)
        way.close()
        asked = way.accepted
        wait_until(lambda: way.accepted > asked + 1, 60)
        namespace.wait("v1", "Pod", pod["metadata"]["name"], lambda it: it["status"]["phase"] == "Succeeded", 120)
        way.open = True
        done = ok(running.result(timeout=120))
    finally:
        way.end()
    assert done["run"]["status"] == "ok" and done["run"]["pod"] == pod["metadata"]["name"]
    assert len(pods(namespace, done["job"])) == 1


@pytest.mark.parametrize("how", ["token", pytest.param("right", marks=pytest.mark.extended)])
def test_what_lets_one_follow_is_taken_away(
    runner: Runner, namespace: Namespace, service_account: Account, how: str
) -> None:
    """The run goes on, whoever asks next finds it, and nobody begins a second one."""
    name = runner.kubeconfig.stem
    running = start_module("k8s_job", runner.options(), fresh=True)
    pod = at_work(namespace)
    if how == "token":
        namespace.delete("v1", "ServiceAccount", name)  # and with it all its tokens
    else:
        namespace.delete(RBAC, "RoleBinding", name)
    lost = running.result(timeout=120)
    refused_after_the_start(lost, "goes on in the cluster", "run this task again")
    assert ("has expired" if how == "token" else "{apiGroups: [batch], resources: [jobs], verbs: [get]") in lost.msg
    runner.kubeconfig = service_account(rules("job", claims=[]))
    found = ok(runner.run())
    assert found["run"]["status"] == "ok" and found["run"]["pod"] == pod["metadata"]["name"] and not found["changed"]


def refused_after_the_start(done: Any, *parts: str) -> None:
    assert done.failed and "Traceback" not in done.stdout + done.stderr, done.stderr
    for part in parts:
        assert part in done.msg, done.msg


# The pod goes away


@pytest.mark.extended
def test_its_pod_is_deleted(runner: Runner, namespace: Namespace) -> None:
    """By somebody's hand, who says nothing of a disruption: the run has failed, and says that it was stopped; the next one makes the backup, and no
    lock is in its way."""
    running = start_module("k8s_job", runner.options(), fresh=True)
    pod = at_work(namespace)
    namespace.delete("v1", "Pod", pod["metadata"]["name"])
    done = running.result(timeout=200)
    if done.failed:
        assert "its pod was deleted" in done.msg or "stopped" in done.msg, done.msg
        done = runner.run()
    assert ok(done)["run"]["status"] == "ok" and done.result["run"]["pod"] != pod["metadata"]["name"]


@pytest.mark.extended
def test_two_tasks_at_once_take_turns(runner: Runner, namespace: Namespace) -> None:
    """A run by hand while the schedule's is at work: the second one waits for the lock, and both are whole."""
    both = [start_module("k8s_job", runner.options(name=name), fresh=True) for name in ("one", "other")]
    results = [ok(each.result(timeout=400)) for each in both]
    assert [one["run"]["status"] for one in results] == ["ok", "ok"]
    given = {"repository": runner.bucket, "server_name": "shop"}
    facts = ok(run_module("backup_facts", given))["ansible_facts"]["holdfast_backups"]
    assert facts["count"] == 2 and not facts["leftovers"] and not facts["problems"] and facts["lock"] is None


# The cluster does not take it


def test_a_namespace_that_is_going_takes_no_run(idle: Runner, namespace: Namespace) -> None:
    """A Job and a schedule, in check mode as in the run."""
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "finalizers": ["holdfast.example/x"]}}
    namespace.apply(kept)
    admin = {"kubeconfig": str(idle.namespace.api.kubeconfig), "namespace": namespace.name}
    try:
        namespace.api.core.delete_namespace(namespace.name)
        for check in (True, False):
            refused(run_module("k8s_job", {**idle.options(), "kubernetes": admin}, check=check), "is being deleted")
            schedule = {"kubernetes": admin, "name": "nightly", "image": idle.image, "server_name": "shop"}
            refused(run_module("k8s_cron_job", schedule, check=check), "is being deleted")
    finally:
        namespace.patch("v1", "ConfigMap", "kept", {"metadata": {"finalizers": None}})


def test_a_quota_of_jobs(idle: Runner, namespace: Namespace) -> None:
    """Seen by the plan already; nothing is left over, neither the Job nor its Secret."""
    spec = {"hard": {"count/jobs.batch": "0"}}
    namespace.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": spec})
    wait_until(lambda: (namespace.get("v1", "ResourceQuota", "none").get("status") or {}).get("hard"), 30)
    for check in (True, False):
        refused(idle.run(check=check), "ResourceQuota none leaves no room")
    assert not namespace.list("v1", "Secret") and not namespace.list("batch/v1", "Job")


@pytest.fixture
def webhook(namespace: Namespace) -> Iterator[Callable[[str, str], None]]:
    """webhook(group, resource): nothing of this kind is let in, as who is to say yes does not answer."""

    def make(group: str, resource: str) -> None:
        hook = {
            "name": "guard.holdfast.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
            "rules": [{"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": ["*"]}],
        }
        namespace.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": namespace.name},
                "webhooks": [hook],
            }
        )

    yield make
    namespace.delete("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", namespace.name)


@pytest.mark.parametrize(("group", "resource"), [("batch", "jobs"), ("", "pods")])
def test_an_admission_webhook_that_is_down(
    idle: Runner, webhook: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, group: str, resource: str
) -> None:
    """Where Jobs are not let in the plan says so; where only pods are not, the Job waits for them without a word of its own."""
    webhook(group, resource)
    asked = idle.options(deadline="1min")

    def message() -> str:
        done = run_module("k8s_job", {**asked, "wait": resource == "jobs"}, check=resource == "jobs")
        if resource == "jobs":
            return done.msg if done.failed else ""
        with pytest.raises(follow.NotStarted) as caught:
            follow_now(idle, ok(done)["job"], monkeypatch)
        return str(caught.value)

    said = wait_until(message, 30)
    assert "guard.holdfast.example" in said, said


def follow_now(runner: Runner, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module does, with little patience."""
    monkeypatch.setattr(follow, "PATIENCE", 2.0)
    cluster = Cluster(access_of(access(runner.kubeconfig, runner.namespace)))
    follow.Follower(cluster, job, lambda line: None).to_the_end(90)


# There is no room for it, or not there


def holder(name: str, of: str) -> dict[str, Any]:
    """A pod that has a claim."""
    container = {"name": "c", "image": POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"]}
    container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]  # type: ignore[assignment]
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": of}}]
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def elsewhere(namespace: Namespace) -> list[dict[str, Any]]:
    """A volume that can only be mounted in another zone, with its claim."""
    terms = [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["elsewhere"]}]}]
    spec = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "hostPath": {"path": "/tmp"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        "claimRef": {"namespace": namespace.name, "name": "data"},
    }  # fmt: skip
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace.name}, "spec": spec}
    return [volume, claim("data", storageClassName="", volumeName=namespace.name)]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"resources": {"requests": {"cpu": "1000"}}}, ["cannot be placed", "enough cpu"]),
        ({"claims": {"data": "/backups"}}, ["another zone"]),
        ({"nfs": [{"server": "127.0.0.1", "export": "/none", "path": "/nas"}]}, ["NFS", "127.0.0.1:/none"]),
    ],
    ids=["no node has room", "another zone", "no NFS server"],
)
def test_what_may_pass_is_told_after_its_time(
    idle: Runner, namespace: Namespace, monkeypatch: pytest.MonkeyPatch, change: Mapping[str, Any], parts: list[str]
) -> None:
    """A node can be added, a server come back: it is given a minute (here two seconds), and the Job stays until it is mended."""
    if "claims" in change:
        namespace.apply(*elsewhere(namespace))
    try:
        made = ok(idle.run(wait=False, deadline="2min", **change))
        with pytest.raises(follow.NotStarted) as caught:
            follow_now(idle, made["job"], monkeypatch)
        for part in [*parts, "begins once that is mended"]:
            assert part in str(caught.value), caught.value
    finally:
        if "claims" in change:
            namespace.delete("v1", "PersistentVolume", namespace.name)


def test_a_claim_that_stays_pending(
    idle: Runner,
    namespace: Namespace,
    fault: Callable[[str, str], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While its driver refuses, and by a class that is none; then it is made after all, and the same Job goes on."""
    with fault("CreateVolume", "fail the pool is full"):
        namespace.apply(claim("data"), claim("other", storageClassName="none-such"))
        made = ok(idle.run(wait=False, deadline="2min", claims={"data": "/backups"}))
        with pytest.raises(follow.NotStarted, match="the pool is full"):
            follow_now(idle, made["job"], monkeypatch)
        refused_after_the_start(idle.run(name="another", claims={"other": "/backups"}), "none-such", "Pending")
    namespace.wait("v1", "PersistentVolumeClaim", "data", lambda it: it["status"]["phase"] == "Bound", 60)
    wait_until(lambda: [one for one in pods(namespace, made["job"]) if one["status"]["phase"] != "Pending"], 60)


def test_a_claim_of_one_pod_alone(idle: Runner, namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """ReadWriteOncePod: refused while another pod has it, and where that one came first by a moment, told."""
    namespace.apply(claim("data", accessModes=["ReadWriteOncePod"]))
    asked = {"name": "late", "claims": {"data": "/backups"}, "deadline": "2min"}
    made = ok(idle.run(state="suspended", **asked))
    namespace.apply(holder("owner", "data"))
    namespace.wait("v1", "Pod", "owner", lambda it: it["status"]["phase"] == "Running", 60)
    refused(idle.run(claims={"data": "/backups"}), "ReadWriteOncePod", "owner", "Nothing was begun")
    ok(idle.run(state="released", wait=False, **asked))
    with pytest.raises(follow.NotStarted, match="ReadWriteOncePod, and another pod has it"):
        follow_now(idle, made["job"], monkeypatch)


# The server and the store


def test_replication_that_is_refused(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """As the image postgres has it: the line to add, and where, out of the run's own message."""
    runner = Runner(service_account(rules("job", claims=[])), namespace, image, postgres(replication=False), bucket)
    done = runner.run(variables={"holdfast_backup_engine": "pg_basebackup"})
    refused_after_the_start(done, "host", "replication", "pg_hba.conf")


def test_a_store_that_is_away(runner: Runner, namespace: Namespace, bucket: dict[str, Any]) -> None:
    """One tier of two: the other one has the backup, and the run says that it failed and which one is to blame."""
    namespace.apply(claim("data"))
    away = {**bucket, "name": "far", "endpoint_url": "http://127.0.0.1:1"}
    tiers = [{"name": "near", "path": "/backups"}, away]
    began = time.monotonic()
    done = runner.run(
        claims={"data": "/backups"}, variables={"holdfast_repositories": tiers, "holdfast_repository": ""}
    )
    refused_after_the_start(done, "127.0.0.1:1")
    assert "near" in json.dumps(done.result) and time.monotonic() - began < 180, done.msg
