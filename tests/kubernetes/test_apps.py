# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications stopped and started on a real cluster, each under exactly the rights that the table writes.

The kinds: a count that is lost or taken for another one's (HPA at zero strands workers: chartreuse#55), whoever scales back in the middle
(Argo CD and Flux: argo#3039, geolens#1618), a pod that does not end, a kill half-way, two runs at once, an object changed meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import Postgres
from lab.playbooks import ModuleResult, run_module, start_module
from lab.waiting import wait_until

Account = Callable[..., Path]
REPLICAS = "holdfast.postgres/replicas"
ENDS = "trap 'exit 0' TERM; sleep infinity & wait"
STAYS = "trap '' TERM; sleep infinity & wait; wait; sleep infinity"


def pod(script: str, grace: int, **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["bash", "-c", script]}
    return {"terminationGracePeriodSeconds": grace, "containers": [container], **more}


def workload(
    name: str, replicas: int = 1, kind: str = "Deployment", script: str = ENDS, grace: int = 30, **more: Any
) -> dict[str, Any]:
    labels = {"app": name}
    metadata = {"name": name, "labels": {"part": "shop"}, **more.pop("metadata", {})}
    service = {"serviceName": name} if kind == "StatefulSet" else {}
    template = {"metadata": {"labels": labels}, "spec": pod(script, grace, **more.pop("pod", {}))}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **service, **more}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def cron_job(name: str) -> dict[str, Any]:
    template = {"spec": {**pod(ENDS, 5), "restartPolicy": "Never"}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    metadata = {"name": name, "labels": {"part": "shop"}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def named(
    account: Account, deployments: tuple[str, ...] = (), sets: tuple[str, ...] = (), crons: tuple[str, ...] = ()
) -> Path:
    """A service account with the rights for these."""
    rules = rights_of("applications", deployments=deployments, stateful_sets=sets, cron_jobs=crons).rules
    return account([rule.manifest() for rule in rules])


def options(kubeconfig: Path, namespace: Namespace, state: str, *names: str, **more: Any) -> dict[str, Any]:
    chosen = {"applications": [{"name": name} for name in names]} if names else {}
    where = {"kubeconfig": str(kubeconfig), "namespace": namespace.name}
    return {"kubernetes": where, "state": state, **chosen, "timeout": "60s", **more}


def replicas(namespace: Namespace, name: str, kind: str = "Deployment") -> int:
    return int(namespace.get("apps/v1", kind, name)["spec"]["replicas"])


def note(namespace: Namespace, name: str) -> str | None:
    annotations = namespace.get("apps/v1", "Deployment", name)["metadata"].get("annotations") or {}
    found: str | None = annotations.get(REPLICAS)
    return found


def ready(namespace: Namespace, *names: str, kind: str = "Deployment") -> None:
    for name in names:
        namespace.wait("apps/v1", kind, name, lambda one: (one.get("status") or {}).get("readyReplicas"))


def ok(result: ModuleResult) -> dict[str, Any]:
    assert not result.failed, result.msg
    return result.result


def same(planned: ModuleResult, done: ModuleResult) -> dict[str, Any]:
    """Check mode said what the run did."""
    for key in ("changed", "plan", "applications", "left", "managed", "diff"):
        assert ok(planned).get(key) == ok(done).get(key), key
    return done.result


def test_stopped_and_started_to_the_very_same_counts(
    namespace: Namespace, service_account: Account, tmp_path: Path
) -> None:
    """Deployment, StatefulSet and CronJob by labels; what was at 0, or suspended, before stays so."""
    suspended = cron_job("off")
    suspended["spec"]["suspend"] = True
    namespace.apply(
        workload("web", 2), workload("idle", 0), workload("queue", 1, "StatefulSet"), cron_job("nightly"), suspended
    )
    ready(namespace, "web")
    ready(namespace, "queue", kind="StatefulSet")
    account = service_account([rule.manifest() for rule in rights_of("applications_by_selector").rules])
    stop = options(
        account, namespace, "stopped", selector="part=shop", repository={"path": str(tmp_path)}, server_name="pg"
    )
    planned = run_module("k8s_apps", stop, check=True, diff=True)
    assert replicas(namespace, "web") == 2 and not (tmp_path / "pg").exists()
    done = same(planned, run_module("k8s_apps", stop, diff=True))
    assert sorted(done["plan"]) == [
        f"stop CronJob {namespace}/nightly (not suspended)",
        f"stop Deployment {namespace}/web (2 pods)",
        f"stop StatefulSet {namespace}/queue (1 pod)",
    ]
    assert not [one for one in namespace.list("v1", "Pod") if one["status"]["phase"] == "Running"]
    assert note(namespace, "web") == "2" and (tmp_path / "pg" / "_applications.json").exists()
    assert namespace.get("batch/v1", "CronJob", "nightly")["spec"]["suspend"] is True
    again = ok(run_module("k8s_apps", stop, diff=True))
    assert not again["changed"] and again["diff"] == {"before": [], "after": []}
    states = {one["name"]: (one["state"], one["replicas"]) for one in again["applications"]}
    assert states["web"] == ("stopped", 2) and states["idle"] == states["off"] == ("was_stopped", 0)

    start = {**stop, "state": "started"}
    same(run_module("k8s_apps", start, check=True, diff=True), run_module("k8s_apps", start, diff=True))
    assert (replicas(namespace, "web"), replicas(namespace, "idle")) == (2, 0) and note(namespace, "web") is None
    assert replicas(namespace, "queue", "StatefulSet") == 1
    assert namespace.get("batch/v1", "CronJob", "nightly")["spec"]["suspend"] is False
    assert namespace.get("batch/v1", "CronJob", "off")["spec"]["suspend"] is True
    assert not (tmp_path / "pg" / "_applications.json").exists()
    assert not ok(run_module("k8s_apps", start))["changed"]


def test_what_somebody_did_meanwhile_is_his(namespace: Namespace, service_account: Account, tmp_path: Path) -> None:
    """Scaled by hand, made anew, the annotation taken away (the record has it), deleted: each is told, and nothing is overwritten."""
    names = ("scaled", "anew", "stripped", "deleted")
    namespace.apply(*(workload(name, 1, pod={"nodeSelector": {"no": "where"}}) for name in names))
    account = named(service_account, names)
    stop = options(account, namespace, "stopped", *names, repository={"path": str(tmp_path)})
    ok(run_module("k8s_apps", stop))
    namespace.patch("apps/v1", "Deployment", "scaled", {"spec": {"replicas": 3}})
    namespace.patch("apps/v1", "Deployment", "stripped", {"metadata": {"annotations": {REPLICAS: None}}})
    for name in ("anew", "deleted"):
        namespace.delete("apps/v1", "Deployment", name)
        wait_until(lambda name=name: not namespace.find("apps/v1", "Deployment", name), 30)
    namespace.apply(workload("anew", 0))
    start = options(account, namespace, "started", *names, repository={"path": str(tmp_path)}, wait=False)
    done = ok(run_module("k8s_apps", start))
    said = " ".join(done["left"])
    assert (
        "scaled had 1" in said and "with 3" in said and "deleted is not there" in said and "anew was made anew" in said
    )
    assert [replicas(namespace, name) for name in ("scaled", "anew", "stripped")] == [3, 0, 1]
    assert note(namespace, "scaled") is None and not run_module("k8s_apps", start).changed


def test_killed_half_way_and_two_at_once(namespace: Namespace, service_account: Account, tmp_path: Path) -> None:
    """The next run stops what is left, and none of the counts is lost; of two runs neither takes the other's zeros for counts."""
    names = tuple(f"app{number}" for number in range(12))
    namespace.apply(*(workload(name, 3, pod={"nodeSelector": {"no": "where"}}) for name in names))
    account = named(service_account, names)
    stop, start = (options(account, namespace, state, *names, timeout="30s") for state in ("stopped", "started"))
    start["wait"] = False
    killed = start_module("k8s_apps", stop)
    wait_until(lambda: any(note(namespace, name) for name in names), 30, 0.02)
    killed.kill()
    for state in (stop, start):
        for result in [one.result() for one in (start_module("k8s_apps", state), start_module("k8s_apps", state))]:
            ok(result)
        wanted = 0 if state is stop else 3
        assert [replicas(namespace, name) for name in names] == [wanted] * len(names)
    killed = start_module("k8s_apps", stop)
    wait_until(lambda: any(note(namespace, name) for name in names), 30, 0.02)
    killed.kill()
    ok(run_module("k8s_apps", start))
    assert [replicas(namespace, name) for name in names] == [3] * len(names)


def test_who_scales_it_back_is_named(namespace: Namespace, service_account: Account) -> None:
    namespace.apply(workload("web"))
    ready(namespace, "web")
    account = named(service_account, ("web",))
    over = threading.Event()

    def back() -> None:
        while not over.is_set():
            if replicas(namespace, "web") == 0:
                namespace.apply(workload("web"))
            time.sleep(0.1)

    thread = threading.Thread(target=back)
    thread.start()
    try:
        refused = run_module("k8s_apps", options(account, namespace, "stopped", "web"))
    finally:
        over.set()
        thread.join()
    assert refused.failed and "started again (1 pod) by tests" in refused.msg, refused.result


def test_a_pod_that_does_not_end_is_told_with_the_reason(namespace: Namespace, service_account: Account) -> None:
    """It ignores SIGTERM and has five minutes; the next run goes on waiting, and is done once it is gone. A run of a CronJob is waited for."""
    namespace.apply(workload("web", script=STAYS, grace=300), cron_job("nightly"))
    ready(namespace, "web")
    account = named(service_account, ("web",), (), ("nightly",))
    apps = [{"name": "web"}, {"name": "nightly", "kind": "CronJob"}]
    stop = options(account, namespace, "stopped", applications=apps, timeout="3s")
    late = run_module("k8s_apps", stop)
    assert late.failed and "terminationGracePeriodSeconds" in late.msg and "300 s" in late.msg, late.result
    assert "SIGTERM" in str(late.result["warnings"]) and note(namespace, "web") == "1"
    (stuck,) = namespace.list("v1", "Pod")
    namespace.delete("v1", "Pod", stuck["metadata"]["name"], grace=0)
    goes_on = ok(run_module("k8s_apps", {**stop, "timeout": "60s"}))
    assert not goes_on["changed"]
    owner = namespace.get("batch/v1", "CronJob", "nightly")
    reference = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "nightly",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    job = {"name": "nightly-by-hand", "ownerReferences": [reference]}
    namespace.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": job, "spec": owner["spec"]["jobTemplate"]["spec"]}
    )
    wait_until(lambda: namespace.pods_of("nightly-by-hand"), 30)
    late = run_module("k8s_apps", stop)
    assert late.failed and "still at work" in late.msg, late.result


def test_what_would_hurt_is_refused(namespace: Namespace, service_account: Account, tmp_path: Path) -> None:
    """A StatefulSet whose claims go when it is at 0, PostgreSQL itself among the applications, an object that is not there, a right that
    is missing: nothing is stopped."""
    goes = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}
    database = workload("db", 1, "StatefulSet", pod={"nodeSelector": {"no": "where"}})
    database["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "PGDATA", "value": "/data"}]
    none = {"pod": {"nodeSelector": {"no": "where"}}}
    namespace.apply(workload("web", **none), workload("queue", 1, "StatefulSet", **none, **goes), database)
    everything = service_account([rule.manifest() for rule in rights_of("applications_by_selector").rules])
    few = named(service_account, ("web",))
    queue = {"name": "queue", "kind": "StatefulSet"}
    for kubeconfig, chosen, said in (
        (everything, {"applications": [{"name": "web"}, queue]}, "whenScaled"),
        (everything, {"selector": "part=shop", "kinds": ["Deployment", "StatefulSet"]}, "PostgreSQL itself|whenScaled"),
        (everything, {"applications": [{"name": "web"}, {"name": "wbe"}]}, "wbe"),
        (few, {"applications": [{"name": "web"}, queue]}, "resources: [statefulsets], verbs: [get]"),
        (everything, {"selector": " "}, "would select all"),
    ):
        refused = run_module("k8s_apps", options(kubeconfig, namespace, "stopped", **chosen))
        assert refused.failed and any(one in refused.msg for one in said.split("|")), refused.result
    assert replicas(namespace, "web") == 1 and note(namespace, "web") is None


def test_a_quota_that_keeps_it_from_starting_is_told(namespace: Namespace, service_account: Account) -> None:
    namespace.apply(workload("web", 2))
    ready(namespace, "web")
    account = named(service_account, ("web",))
    ok(run_module("k8s_apps", options(account, namespace, "stopped", "web")))
    namespace.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    )
    namespace.wait("v1", "ResourceQuota", "small", lambda one: (one.get("status") or {}).get("hard"))
    refused = run_module("k8s_apps", options(account, namespace, "started", "web"))
    assert refused.failed and "exceeded quota" in refused.msg and replicas(namespace, "web") == 2, refused.result


def test_sessions_that_are_left_are_told_of(
    postgres: Callable[..., Postgres], namespace: Namespace, service_account: Account
) -> None:
    server = postgres()
    namespace.apply(workload("web"))
    login = server.login
    stop = options(named(service_account, ("web",)), namespace, "stopped", "web", **login)
    connection = psycopg2.connect(
        host=server.host, user="postgres", password=server.password, dbname="postgres", application_name="somebody's"
    )
    told = ok(run_module("k8s_apps", stop))
    assert [one["application_name"] for one in told["sessions"]] == ["somebody's"]
    assert "somebody's" in str(told["warnings"])
    connection.close()
    assert ok(run_module("k8s_apps", stop))["sessions"] == []


def definition(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    spec = {
        "group": group,
        "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
        "scope": "Namespaced",
        "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
    }
    metadata = {"name": f"{plural}.{group}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


@pytest.fixture(scope="module")
def gitops(cluster: Any) -> Iterator[None]:
    """The kinds of Argo CD and Flux, without their controllers."""
    kinds = cluster.api.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    made = [
        definition("argoproj.io", "v1alpha1", "Application", "applications"),
        definition("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
    ]
    for one in made:
        kinds.server_side_apply(body=one, name=one["metadata"]["name"], field_manager="tests", force_conflicts=True)
    names = {one["metadata"]["name"] for one in made}

    def there() -> bool:
        served = {
            item["metadata"]["name"]
            for item in kinds.get().to_dict()["items"]
            if any(
                one["type"] == "Established" and one["status"] == "True"
                for one in item["status"].get("conditions") or ()
            )
        }
        return names <= served

    wait_until(there, 30)
    yield
    for name in names:
        with suppress(Exception):
            kinds.delete(name=name)


def test_who_would_set_it_back_is_refused_or_paused(
    namespace: Namespace, service_account: Account, gitops: None
) -> None:
    """Argo CD by its tracking id, Flux by its labels: named and refused, or paused for as long as one of theirs is stopped, and as before
    afterwards. Killed between the two, who was paused goes on with the next start."""
    argo = {"annotations": {"argocd.argoproj.io/tracking-id": f"{namespace}_team:apps/Deployment:{namespace}/web"}}
    flux = {
        "labels": {
            "part": "shop",
            "kustomize.toolkit.fluxcd.io/name": "apps",
            "kustomize.toolkit.fluxcd.io/namespace": namespace.name,
        }
    }
    none = {"pod": {"nodeSelector": {"no": "where"}}}
    namespace.apply(
        workload("web", metadata=argo, **none), *(workload(name, metadata=flux, **none) for name in ("one", "two"))
    )
    automated = {"prune": True, "selfHeal": True}
    application = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "team"}}
    kustomization = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "apps"},
    }
    namespace.apply(
        {**application, "spec": {"syncPolicy": {"automated": automated, "retry": {"limit": 3}}}},
        {**kustomization, "spec": {"interval": "5m"}},
    )
    names = ("web", "one", "two")
    rules = [
        *rights_of("applications", deployments=names, stateful_sets=[], cron_jobs=[]).rules,
        *rights_of("applications_managed", argocd=["team"], kustomizations=["apps"], helm_releases=[], keda=[]).rules,
    ]
    account = service_account([rule.manifest() for rule in rules])
    stop = options(account, namespace, "stopped", *names, timeout="30s")
    refused = run_module("k8s_apps", stop)
    assert refused.failed and f"Argo CD (the Application {namespace}/team)" in refused.msg and "Flux" in refused.msg
    assert replicas(namespace, "web") == 1

    def kept() -> tuple[Any, Any]:
        policy = namespace.get("argoproj.io/v1alpha1", "Application", "team")["spec"]["syncPolicy"]
        return policy.get("automated"), namespace.get("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "apps")[
            "spec"
        ].get("suspend")

    pause = {**stop, "on_managed": "pause"}
    planned = run_module("k8s_apps", pause, check=True, diff=True)
    assert kept() == (automated, None)
    run = run_module("k8s_apps", pause, diff=True)
    done = ok(run)
    same(planned, run)
    assert f"pause Application {namespace}/team" in done["plan"]
    assert kept() == (None, True) and [replicas(namespace, name) for name in names] == [0, 0, 0]
    assert not ok(run_module("k8s_apps", pause))["changed"] and not ok(run_module("k8s_apps", stop))["changed"]

    start = options(account, namespace, "started", *names, wait=False)
    ok(run_module("k8s_apps", {**start, "applications": [{"name": "one"}]}))
    assert kept() == (None, True), "the Kustomization's other application is still stopped"
    planned = run_module("k8s_apps", start, check=True)
    assert ok(run_module("k8s_apps", start))["plan"] == ok(planned)["plan"]
    assert kept() == (automated, False) and [replicas(namespace, name) for name in names] == [1, 1, 1]
    assert not ok(run_module("k8s_apps", start))["changed"]

    killed = start_module("k8s_apps", pause)
    wait_until(lambda: kept()[0] is None, 30, 0.02)
    killed.kill()
    ok(run_module("k8s_apps", start))
    assert kept() == (automated, False) and [replicas(namespace, name) for name in names] == [1, 1, 1]


@pytest.mark.extended
def test_an_autoscaler_at_zero_works_again(namespace: Namespace, service_account: Account) -> None:
    """It is disabled at 0, for good, until somebody scales up; a second application has none. Nobody is refused for it."""
    namespace.apply(workload("web", 2))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
    spec = {"minReplicas": 2, "maxReplicas": 4, "metrics": metrics, "scaleTargetRef": target}
    namespace.apply(
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}
    )
    ready(namespace, "web")
    account = named(service_account, ("web",))
    done = ok(run_module("k8s_apps", options(account, namespace, "stopped", "web")))
    assert done["managed"] == [f"Deployment {namespace}/web: HorizontalPodAutoscaler {namespace}/web"]

    def active(found: dict[str, Any]) -> list[Any]:
        conditions = (found.get("status") or {}).get("conditions") or []
        return [(one["status"], one["reason"]) for one in conditions if one["type"] == "ScalingActive"]

    namespace.wait(
        "autoscaling/v2", "HorizontalPodAutoscaler", "web", lambda one: ("False", "ScalingDisabled") in active(one), 60
    )
    assert replicas(namespace, "web") == 0
    ok(run_module("k8s_apps", options(account, namespace, "started", "web")))
    assert replicas(namespace, "web") == 2
    namespace.wait(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "web",
        lambda one: ("False", "ScalingDisabled") not in active(one),
        60,
    )
