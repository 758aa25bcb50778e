# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore of captured objects that meets what a real cluster does not do on demand: a kind that is gone, somebody who is faster, a server that goes
away in the middle. One clear error, nothing lost, and the next run goes on. And what is found where an operator makes the server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.collect import Wanted, collect
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.content import decode, digest, encode, is_of
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.restore import Restore, RestoreRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Conflict,
    Forbidden,
    KubernetesError,
    NotInstalled,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rule_for
from unit.kubernetes.fakes import FakeCluster

Object = dict[str, Any]


class Shop(FakeCluster):
    """`fails`: what a write of an object raises, by kind; `gone`: kinds that the cluster does not know."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*objects)
        self.fails: dict[str, Exception] = {}
        self.gone: set[str] = set()
        self.hidden: set[str] = set()

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        short = kind.rpartition("/")[2]
        if short in self.gone:
            raise NotInstalled(f"the API server has no {kind}")
        if short in self.hidden:
            raise Forbidden(f"may not get {short}", rule_for("get", short.lower() + "s", "", name), "shop")
        return super().get(short, name, namespace)

    def list(self, kind: str, selector: str = "", fields: str = "", **more: Any) -> list[Object]:
        if kind in self.hidden:
            raise Forbidden(f"may not list {kind}", rule_for("list", kind.lower() + "s"), "shop")
        return super().list(kind, selector, fields, **more)

    def apply(self, manifest: Object, dry_run: bool = False, force: bool = False) -> Any:
        error = self.fails.get(manifest["kind"])
        if error is not None and not (dry_run and getattr(error, "late", False)):
            raise error
        return super().apply(manifest, dry_run, force)


def of(kind: str, name: str = "pg", version: str = "v1", **rest: Any) -> Object:
    metadata = {"name": name, "namespace": "shop", **rest.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


TOP = of("StatefulSet", "pg", "apps/v1", spec={"replicas": 2, "template": {"spec": {"containers": []}}})
CAPTURED = [of("Secret", data={"a": "eA=="}), of("ConfigMap", data={"a": "b"}), TOP]
OPERATORS = of("Cluster", "pg", "postgresql.cnpg.io/v1", spec={"instances": 3})


def restore(cluster: Shop, objects: list[Object], looking: bool = False, **options: Any) -> Restore:
    given: Object = {
        "names": {}, "exclude": [], "include_secrets": True, "hold": True, "replace": [], "keep": False, "create_namespace": False
    }  # fmt: skip
    return Restore(cluster, "shop", objects, RestoreRequest(**{**given, **options}), Consent(looking), [])  # type: ignore[arg-type]


def written(cluster: Shop) -> list[str]:
    return [f"{kind}/{name}" for _verb, kind, name in cluster.writes]


def test_made_in_order_and_once() -> None:
    cluster = Shop()
    run = restore(cluster, CAPTURED)
    assert len(run.plan()) == 3 and not cluster.writes
    run.carry_out()
    assert written(cluster) == ["Secret/pg", "ConfigMap/pg", "StatefulSet/pg"]
    assert cluster.objects["StatefulSet", "pg"]["spec"]["replicas"] == 0
    assert restore(cluster, CAPTURED).plan() == []
    started = restore(cluster, CAPTURED, hold=False)
    assert started.plan() == ["let the StatefulSet shop/pg run as it did"]
    started.carry_out()
    assert cluster.objects["StatefulSet", "pg"]["spec"]["replicas"] == 2
    cluster.objects["StatefulSet", "pg"]["spec"]["replicas"] = 5
    assert restore(cluster, CAPTURED, hold=False).plan() == []


def test_a_kind_that_is_gone_is_told_before_anything_is_made() -> None:
    cluster = Shop()
    cluster.gone = {"Cluster"}
    with pytest.raises(KubernetesError, match="postgresql.cnpg.io/v1.*exclude"):
        restore(cluster, [*CAPTURED, OPERATORS], hold=False).plan()
    assert not cluster.writes
    assert len(restore(cluster, [*CAPTURED, OPERATORS], hold=False, exclude=["Cluster/pg"]).plan()) == 3


def test_an_operators_object_waits_for_the_data() -> None:
    cluster = Shop()
    run = restore(cluster, [*CAPTURED, OPERATORS])
    run.plan()
    run.carry_out()
    assert ("Cluster", "pg") not in cluster.objects and "empty server" in str(run.proof.unproven)
    later = restore(cluster, [*CAPTURED, OPERATORS], hold=False)
    later.plan()
    later.carry_out()
    assert ("Cluster", "pg") in cluster.objects


@pytest.mark.parametrize("error", [Conflict("spec is helm's"), KubernetesError("the API server is away")])
def test_what_fails_half_way_says_what_was_made_and_the_next_run_goes_on(error: Exception) -> None:
    cluster = Shop()
    error.late = True  # type: ignore[attr-defined]
    cluster.fails = {"StatefulSet": error}
    run = restore(cluster, CAPTURED)
    run.plan()
    with pytest.raises(KubernetesError, match=r"Made so far: Secret/pg, ConfigMap/pg\. The next run goes on"):
        run.carry_out()
    cluster.fails, cluster.writes = {}, []
    again = restore(cluster, CAPTURED)
    again.plan()
    again.carry_out()
    assert written(cluster) == ["StatefulSet/pg"]


def test_somebody_who_changes_it_at_once_is_noticed() -> None:
    cluster = Shop()
    run = restore(cluster, CAPTURED)
    run.plan()
    put = cluster.put
    cluster.put = lambda one: put({**one, "data": {"a": "other"}} if one["kind"] == "ConfigMap" else one)  # type: ignore[method-assign]
    with pytest.raises(KubernetesError, match=r"ConfigMap shop/pg is not what was made \(data.a\)"):
        run.carry_out()


def test_all_that_differs_is_told_at_once() -> None:
    cluster = Shop(of("Secret", data={"a": "eg=="}), of("ConfigMap", data={"a": "c"}))
    with pytest.raises(KubernetesError, match=r"ConfigMap/pg \(data.a\)|Secret/pg \(data.a\)"):
        restore(cluster, CAPTURED).plan()
    looked = restore(cluster, CAPTURED, looking=True)
    assert len(looked.plan()) == 3
    kept = restore(cluster, CAPTURED, keep=True, replace=["Secret/pg"])
    kept.plan()
    kept.carry_out()
    assert cluster.objects["Secret", "pg"]["data"] == {"a": "eA=="} and cluster.objects["ConfigMap", "pg"]["data"] == {
        "a": "c"
    }


def test_names_that_are_not_captured_and_a_copy_beside_with_the_same_labels() -> None:
    with pytest.raises(BadOption, match="ConfigMap/other"):
        restore(Shop(), CAPTURED, replace=["ConfigMap/other"]).plan()
    with pytest.raises(BadOption, match="another namespace"):
        restore(Shop(TOP), CAPTURED, names={"StatefulSet/pg": "again"}).plan()
    assert len(restore(Shop(), CAPTURED, names={"StatefulSet/pg": "again"}).plan()) == 3


def test_a_list_that_kubectl_takes_and_that_is_the_same_each_time() -> None:
    content = encode(CAPTURED)
    assert content == encode([dict(reversed(list(one.items()))) for one in CAPTURED])
    assert decode(content) == CAPTURED
    mark = digest(content)
    assert (
        is_of(mark, content)
        and not is_of(mark, content + b" ")
        and not is_of(None, content)
        and digest(content) != mark
    )
    for wrong in (b"{}", b'{"items": []}', b'{"items": [{"kind": "Secret"}]}', b"[]", b"no"):
        with pytest.raises(ValueError):
            decode(wrong)


def by_operator() -> list[Object]:
    owner = [{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "pg", "controller": True, "uid": "1"}]
    metadata = {"ownerReferences": owner, "labels": {"cnpg.io/cluster": "pg"}}
    secret = {"secretKeyRef": {"name": "pg-app", "key": "password"}}
    spec = {"containers": [{"name": "c", "env": [{"name": "P", "valueFrom": secret}]}], "serviceAccountName": "pg"}
    return [
        OPERATORS,
        of("Pod", "pg-1", metadata=metadata, spec=spec),
        of("Service", "pg-rw", metadata={"ownerReferences": owner}, spec={"selector": {"cnpg.io/cluster": "pg"}}),
        of("Service", "mine", spec={"selector": {"cnpg.io/cluster": "pg"}}),
        of(
            "Secret",
            "pg-app",
            metadata={"ownerReferences": owner},
            type="kubernetes.io/basic-auth",
            data={"password": "eA=="},
        ),
        of("ServiceAccount", "pg", metadata={"ownerReferences": owner}),
    ]


def test_of_an_operators_server_its_object_is_kept_and_what_only_it_knows() -> None:
    """What the operator makes of its object is left to it; a password that the data has is nowhere else."""
    found = collect(Shop(*by_operator()), Wanted(selector="cnpg.io/cluster=pg"))  # type: ignore[arg-type]
    assert [f"{one['kind']}/{one['metadata']['name']}" for one in found.objects] == [
        "Secret/pg-app",
        "Service/mine",
        "Cluster/pg",
    ]
    assert "ownerReferences" not in str(found.objects)
    assert len([said for said in found.left_out if "is made by Cluster pg" in said]) == 2


def test_what_may_not_be_read_is_told_all_at_once_or_left_out_by_name() -> None:
    cluster = Shop(*by_operator())
    cluster.hidden = {"Secret", "CronJob", "NetworkPolicy"}
    with pytest.raises(KubernetesError, match=r"networkpolicys.*cronjobs|secrets") as told:
        collect(cluster, Wanted(selector="cnpg.io/cluster=pg"))  # type: ignore[arg-type]
    assert all(one in str(told.value) for one in ("secrets", "cronjobs", "networkpolicys", "exclude"))
    left = Wanted(selector="cnpg.io/cluster=pg", include_secrets=False, exclude=["CronJob", "NetworkPolicy"])
    found = collect(cluster, left)  # type: ignore[arg-type]
    assert "Secret" not in {one["kind"] for one in found.objects} and "include_secrets" in str(found.left_out)


def test_a_deployment_by_its_pods_and_what_the_default_account_may_do() -> None:
    """Members: no account named, so that it is the namespace's own; a ReplicaSet between."""
    labels = {"app": "pg"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}
    deployment = of("Deployment", "pg", "apps/v1", spec={"replicas": 1, "template": template})
    owned = [{"kind": "Deployment", "name": "pg", "controller": True}]
    between = of("ReplicaSet", "pg-1", "apps/v1", metadata={"ownerReferences": owned})
    mine = [{"kind": "ReplicaSet", "name": "pg-1", "controller": True}]
    pod = of("Pod", "pg-1-x", metadata={"labels": labels, "ownerReferences": mine}, spec=template["spec"])
    default = {"kind": "ServiceAccount", "name": "default", "namespace": "shop"}
    binding = of("RoleBinding", roleRef={"kind": "Role", "name": "pg"}, subjects=[default])
    other = of(
        "RoleBinding", "other", roleRef={"kind": "Role", "name": "x"}, subjects=[{**default, "namespace": "else"}]
    )
    cluster = Shop(deployment, between, pod, binding, other, of("Role", rules=[]))
    found = collect(cluster, Wanted(selector="app=pg"))  # type: ignore[arg-type]
    assert [one["kind"] for one in found.objects] == ["Role", "RoleBinding", "Deployment"]


def test_what_server_side_apply_does_not_take_is_created() -> None:
    """A variable that is named twice: kubectl warns of it, and the API takes it."""
    cluster = Shop()
    cluster.fails = {
        "StatefulSet": KubernetesError('failed to create typed patch object: duplicate entries for key [name="A"]')
    }
    run = restore(cluster, CAPTURED)
    assert len(run.plan()) == 3
    run.carry_out()
    assert cluster.writes[-1] == ("create", "StatefulSet", "pg")


@pytest.mark.parametrize(
    ("replicas", "note"), [(3, None), (0, "3")], ids=["its pods are not there", "stopped by k8s_apps"]
)
def test_the_claims_of_all_pods_are_kept_while_none_runs(replicas: int, note: str | None) -> None:
    """Found: with no pod, those of the first one alone, so that a server with standbys came back without theirs."""
    template = {"metadata": {"name": "data"}}
    spec = {"replicas": replicas, "template": {"spec": {}}, "volumeClaimTemplates": [template]}
    notes = {"annotations": {"holdfast.postgres/replicas": note}} if note else {}
    top = of("StatefulSet", "pg", "apps/v1", metadata=notes, spec=spec)
    cluster = Shop(top, *(of("PersistentVolumeClaim", f"data-pg-{number}") for number in (0, 2, 3)))
    found = collect(cluster, Wanted(stateful_set="pg"))  # type: ignore[arg-type]
    assert [one["metadata"]["name"] for one in found.objects] == ["data-pg-0", "data-pg-2", "pg"]
    assert found.objects[-1]["spec"]["replicas"] == 3 and not found.missing


def test_a_claim_whose_class_is_not_here_is_told_of() -> None:
    """It would stay Pending without a word. That it may not be looked at, or that no class is named, says nothing."""
    claim = of("PersistentVolumeClaim", spec={"storageClassName": "fast"})
    run = restore(Shop(), [claim])
    assert len(run.plan()) == 1 and "storage class fast" in str(run.proof.unproven)
    there = restore(Shop(of("StorageClass", "fast")), [claim])
    nameless = restore(Shop(), [of("PersistentVolumeClaim", spec={})])
    hidden = Shop()
    hidden.hidden = {"StorageClass"}
    for fine in (there, nameless, restore(hidden, [claim])):
        assert len(fine.plan()) == 1 and "class" not in str(fine.proof.unproven)
