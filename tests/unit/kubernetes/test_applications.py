# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read off applications and off who keeps them, by tables. tests/kubernetes/test_apps.py has the real ones; KEDA, an operator and
an ApplicationSet are here alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import (
    App,
    Target,
    starting,
    stopping,
    who_changed,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.ending import has_ended, of_app, why
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.keepers import (
    Keeper,
    cannot_pause,
    hindrance,
    keepers_of,
    pausing,
    resuming,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import troubles
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Selection,
    Settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.start_applications import Start
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.stop_applications import Stop

from .fakes import FakeCluster

Manifest = dict[str, Any]


def app(kind: str = "Deployment", spec: Manifest | None = None, **metadata: Any) -> App:
    selector = {"selector": {"matchLabels": {"app": "web"}}}
    named = {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7", **metadata}
    return App({"kind": kind, "metadata": named, "spec": {**selector, **(spec or {})}})


def merged(manifest: Manifest, body: Manifest) -> Manifest:
    """RFC 7396."""
    made = copy.deepcopy(manifest)
    for key, value in body.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key) or {}, value) if isinstance(value, dict) else value
    return made


@pytest.mark.parametrize(
    ("before", "running"),
    [
        (app(spec={"replicas": 3}), 3),
        (app(), 1),  # the API's default
        (app("StatefulSet", {"replicas": 0}), 0),
        (app("CronJob"), 1),
        (app("CronJob", {"suspend": True}), 0),
    ],
)
def test_stopped_and_started_is_the_same(before: App, running: int) -> None:
    assert before.running == running and before.stopped is None
    stopped = App(merged(before.object, stopping(before, ["Kustomization flux/apps"])))
    assert stopped.running == 0 and stopped.stopped in (running, 1) and stopped.paused == ["Kustomization flux/apps"]
    started = App(merged(stopped.object, starting(stopped, stopped.stopped)))
    assert started.running == (running or stopped.stopped) and started.stopped is None
    assert started.paused, "whoever was paused is still written down: he goes on afterwards"


def test_an_annotation_that_says_nothing_is_an_error() -> None:
    with pytest.raises(KubernetesError, match="no count"):
        app(annotations={"holdfast.postgres/replicas": "-1"}).stopped  # noqa: B018


ARGO = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}
OF_HELM = {"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "flux"}
OPERATOR = [{"kind": "Grafana", "name": "g", "apiVersion": "grafana/v1", "controller": True}]
TARGET = {"kind": "Deployment", "name": "web"}


def scaler(kind: str, namespace: str = "shop", owners: tuple[str, ...] = (), **spec: Any) -> Manifest:
    metadata = {"name": "s", "namespace": namespace, "ownerReferences": [{"kind": one} for one in owners]}
    return {"kind": kind, "metadata": metadata, "spec": {"scaleTargetRef": TARGET, **spec}}


@pytest.mark.parametrize(
    ("one", "autoscalers", "scaled", "keepers"),
    [
        (app(annotations=ARGO), [], [], ["Application argo/shop"]),
        (app(annotations={"argocd.argoproj.io/tracking-id": "team_shop:x"}), [], [], ["Application team/shop"]),
        (app(labels=OF_HELM), [], [], ["HelmRelease flux/web"]),
        (app(labels={"app.kubernetes.io/managed-by": "Helm"}), [], [], []),  # a release changes nothing by itself
        (app(ownerReferences=OPERATOR), [], [], ["Grafana shop/g"]),
        (app(), [scaler("HPA")], [], ["HorizontalPodAutoscaler shop/s"]),
        (app(), [scaler("HPA", "other")], [scaler("ScaledObject", "other")], []),
        (app("StatefulSet"), [scaler("HPA")], [scaler("ScaledObject")], []),
        # KEDA's own autoscaler goes with its ScaledObject.
        (app(), [scaler("HPA", owners=("ScaledObject",))], [scaler("ScaledObject")], ["ScaledObject shop/s"]),
    ],
)  # fmt: skip
def test_who_keeps_it(one: App, autoscalers: list[Manifest], scaled: list[Manifest], keepers: list[str]) -> None:
    assert [str(found) for found in keepers_of(one, autoscalers, scaled, "argo")] == keepers
    assert [str(Keeper.parse(name)) for name in keepers] == keepers


def kept(spec: Manifest | None = None, **metadata: Any) -> Manifest:
    return {"metadata": {"name": "k", "namespace": "n", "resourceVersion": "1", **metadata}, "spec": spec or {}}


def automated(**more: Any) -> Manifest:
    return {"syncPolicy": {"automated": {"selfHeal": True, **more}}}


@pytest.mark.parametrize(
    ("kind", "found", "acts"),
    [
        ("Application", kept(automated()), True),
        ("Application", kept(automated(enabled=False)), False),
        ("Application", kept({"syncPolicy": {}}), False),
        ("Application", None, True),  # it may be in another namespace
        ("Kustomization", kept(), True),
        ("Kustomization", kept({"suspend": True}), False),
        ("HelmRelease", None, False),  # its namespace is known: it is gone
        ("ScaledObject", kept(), True),
        ("ScaledObject", kept(annotations={"autoscaling.keda.sh/paused-replicas": "0"}), False),
        ("HorizontalPodAutoscaler", kept({"minReplicas": 2}), False),
        ("HorizontalPodAutoscaler", kept({"minReplicas": 0}), True),
        ("Grafana", None, True),
    ],
)  # fmt: skip
def test_who_acts(kind: str, found: Manifest | None, acts: bool) -> None:
    assert bool(hindrance(Keeper(kind, "n", "k"), found)) is acts


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Application", automated(prune=True)),
        ("Kustomization", {"interval": "5m", "suspend": False}),
        ("ScaledObject", {"minReplicaCount": 2}),
    ],
)
def test_paused_for_two_goes_on_with_the_second(kind: str, spec: Manifest) -> None:
    keeper, before = Keeper(kind, "n", "k"), kept(spec, annotations={"other": "stays"})
    paused = merged(before, pausing(keeper, before, ["Deployment shop/web"]))
    assert not hindrance(keeper, paused)
    paused = merged(paused, pausing(keeper, paused, ["Deployment shop/worker"]))
    assert resuming(keeper, paused, ["Deployment shop/another"]) is None and resuming(keeper, before, ["x"]) is None
    half = merged(paused, resuming(keeper, paused, ["Deployment shop/web"]) or {})
    assert not hindrance(keeper, half)
    whole = merged(half, resuming(keeper, half, ["Deployment shop/worker"]) or {})
    assert whole == before and hindrance(keeper, whole)


def test_what_cannot_be_paused_says_why() -> None:
    owned = kept(automated(), ownerReferences=[{"kind": "ApplicationSet", "name": "all", "controller": True}])
    assert "ApplicationSet all" in cannot_pause(Keeper("Application", "n", "k"), owned)
    assert cannot_pause(Keeper("Grafana", "n", "k"), None)
    assert not cannot_pause(Keeper("Kustomization", "n", "k"), kept())


def pod(owner: str = "web-5d8", kind: str = "ReplicaSet", mark: str | None = "5d8", **more: Any) -> Manifest:
    labels = {"app": "web", **({"pod-template-hash": mark} if mark else {})}
    owners = [{"kind": kind, "name": owner, "uid": "1", "controller": True}]
    return {"metadata": {"name": "p", "namespace": "shop", "labels": labels, "ownerReferences": owners, **more}}


@pytest.mark.parametrize(
    ("one", "found", "mine"),
    [
        (app(), pod(), True),
        (app(), pod("web-next-5d8"), False),  # another Deployment, with the same labels
        (app(), pod(namespace="other"), False),
        (app(), pod(kind="DaemonSet"), False),
        (app(), pod(mark=None), True),
        (app("StatefulSet"), pod("web", "StatefulSet"), True),
        (app("StatefulSet", uid="2"), pod("web", "StatefulSet"), False),
        (app("CronJob"), pod("web-123", "Job"), False),  # whose Job is nobody's of ours
    ],
)
def test_whose_pod_it_is(one: App, found: Manifest, mine: bool) -> None:
    assert of_app(found, one) is mine


def test_why_a_pod_is_still_there() -> None:
    """What has ended is none, whatever finalizer keeps it; what the node does not confirm is told apart from what is slow."""
    ending = pod(deletionTimestamp="x", deletionGracePeriodSeconds=30)
    assert not why(ending, 5, 60) and "terminationGracePeriodSeconds" in why(ending, 5, 10)
    assert why(ending, 61, 60).endswith("does not say that it has")
    assert "not being ended" in why(pod(), 0, 60) and "still at work" in why(pod("web-1", "Job"), 0, 60)
    assert has_ended({**ending, "status": {"phase": "Failed"}}) and not has_ended(ending)


def test_who_changed_it_last() -> None:
    def entry(manager: str, when: str, field: str) -> Manifest:
        return {"manager": manager, "time": when, "fieldsV1": {"f:spec": {f"f:{field}": {}}}}

    fields = [
        entry("holdfast", "2026-01-01", "replicas"),
        entry("argo", "2026-01-02", "replicas"),
        entry("x", "2026-02-01", "paused"),
    ]
    assert who_changed({"metadata": {"managedFields": fields}}, "replicas") == "argo"
    assert who_changed({"metadata": {}}, "replicas") is None


def test_a_deployment_says_why_its_pods_are_not_made() -> None:
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "message": 'pods "x" is forbidden: exceeded quota: q, requested: pods=1',
    }
    (found,) = troubles([{**app().object, "status": {"conditions": [condition]}}])
    assert found.code == "quota" and found.certain


def test_keda_is_paused_before_and_goes_on_before() -> None:
    """It would scale to its own count in the middle, and to 0 again after the start."""
    keda = {"apiVersion": "keda.sh/v1alpha1", **scaler("ScaledObject", minReplicaCount=2)}
    cluster: Any = FakeCluster({**app(spec={"replicas": 4}).object, "apiVersion": "apps/v1"}, keda)
    selection = Selection((Target("Deployment", "shop", "web"),))

    def run(kind: type[Stop] | type[Start], on_managed: str = "pause") -> list[str]:
        cluster.writes.clear()
        settings = Settings(on_managed, "argocd", wait=False, timeout=0, dry_run=False)
        return kind(cluster, selection, settings, None, lambda message: None).run().plan

    with pytest.raises(KubernetesError, match="KEDA"):
        run(Stop, "refuse")
    assert run(Stop) == ["pause ScaledObject shop/s", "stop Deployment shop/web (4 pods)"]
    assert [kind for _verb, kind, _name in cluster.writes] == ["Deployment", "ScaledObject", "Deployment"]
    assert cluster.get("ScaledObject", "s")["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] == "0"
    assert run(Stop) == [] and run(Stop, "refuse") == []
    assert run(Start) == ["let ScaledObject shop/s go on", "start Deployment shop/web (4 pods)"]
    assert [kind for _verb, kind, _name in cluster.writes] == ["ScaledObject", "Deployment", "Deployment"]
    assert cluster.get("ScaledObject", "s")["metadata"]["annotations"] == {}
    assert cluster.get("Deployment", "web")["metadata"]["annotations"] == {} and run(Start) == []
