# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_capture on a real cluster: captured, all of it deleted, made again, and compared by other means; into another namespace; and refused
where it would take away what is there. Each run has exactly the rights that rights.py has for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok, refused
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import manifests
from lab.playbooks import ModuleResult, run_module
from lab.waiting import wait_until

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io/v1"
LABELS = {"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/instance": "pg"}
NAMES = {
    "server": ["pg"], "accounts": ["pg"], "roles": ["pg"], "bindings": ["pg"], "secrets": ["pg", "store", "pull"], "config_maps": ["conf"],
    "claims": ["data-pg-0"], "services": ["pg", "pg-headless"], "network_policies": ["pg"], "budgets": ["pg"], "cron_jobs": ["dumps"],
    "autoscalers": ["pg"],
}  # fmt: skip
KINDS = {
    ("apps/v1", "StatefulSet"): ["pg"], ("batch/v1", "CronJob"): ["dumps"], ("autoscaling/v2", "HorizontalPodAutoscaler"): ["pg"],
    ("policy/v1", "PodDisruptionBudget"): ["pg"], ("networking.k8s.io/v1", "NetworkPolicy"): ["pg"], ("v1", "Service"): ["pg", "pg-headless"],
    (RBAC, "RoleBinding"): ["pg"], (RBAC, "Role"): ["pg"], ("v1", "PersistentVolumeClaim"): ["data-pg-0"], ("v1", "ConfigMap"): ["conf"],
    ("v1", "Secret"): ["pg", "store"], ("v1", "ServiceAccount"): ["pg"],
}  # fmt: skip


def dumps() -> Object:
    """A CronJob of the chart's own, that uses the server's Secret and another one."""
    of = [("PGPASSWORD", "pg", "password"), ("KEY", "store", "key"), ("PGPASSWORD", "pg", "password")]
    env = [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, secret, key in of]
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none", "env": env}]}
    spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "dumps"}, "spec": spec}


def objects(namespace: str) -> list[Object]:
    """A server as a chart makes it, with all that it uses, and what it does not. Its pod fits on no node: nothing has to start here."""
    made = manifests("pg", "secret-of-pg")
    pod = made[-1]["spec"]["template"]["spec"]
    pod.update(
        nodeSelector={"none": "such"},
        serviceAccountName="pg",
        volumes=[{"name": "conf", "configMap": {"name": "conf"}}],
    )
    pod["containers"][0]["volumeMounts"].append({"name": "conf", "mountPath": "/conf"})
    pod["containers"][0]["env"].append({"name": "UPSTREAM", "value": f"pg-0.pg-headless.{namespace}.svc.cluster.local"})

    def of(kind: str, name: str, version: str = "v1", **rest: Any) -> Object:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"of": "shop"}}, **rest}

    nothing = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}
    other = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": nothing}}}}
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg"}
    rule = {"apiGroups": [""], "resources": ["endpoints"], "verbs": ["get"]}
    return [
        *made,
        of("Secret", "store", stringData={"key": "k"}),
        of("Secret", "foreign", stringData={"key": "k"}),
        of(
            "ConfigMap",
            "conf",
            data={"pg_hba.conf": f"host all all pg.{namespace}.svc trust", "peer": f"web.{namespace}.svc"},
        ),
        of("ConfigMap", "foreign", data={"a": "b"}),
        of("ServiceAccount", "pg", imagePullSecrets=[{"name": "pull"}]),
        of("Role", "pg", RBAC, rules=[rule]),
        of(
            "RoleBinding",
            "pg",
            RBAC,
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pg"},
            subjects=[{"kind": "ServiceAccount", "name": "pg", "namespace": namespace}],
        ),
        of(
            "NetworkPolicy",
            "pg",
            "networking.k8s.io/v1",
            spec={"podSelector": {"matchLabels": LABELS}, "ingress": [{}]},
        ),
        of("NetworkPolicy", "foreign", "networking.k8s.io/v1", spec={"podSelector": {"matchLabels": {"a": "b"}}}),
        of("PodDisruptionBudget", "pg", "policy/v1", spec={"minAvailable": 1, "selector": {"matchLabels": LABELS}}),
        of("HorizontalPodAutoscaler", "pg", "autoscaling/v2", spec={"maxReplicas": 2, "scaleTargetRef": target}),
        of("CronJob", "foreign", "batch/v1", spec=other),
    ]


@dataclass
class Shop:
    namespace: Namespace
    directory: Path
    capturing: Path
    restoring: Path

    def run(
        self, state: str = "present", kubeconfig: Path | None = None, check: bool = False, **options: Any
    ) -> ModuleResult:
        by = kubeconfig or (self.capturing if state == "present" else self.restoring)
        given = {
            "kubernetes": {"kubeconfig": str(by), "namespace": self.namespace.name},
            "repository": {"path": str(self.directory / "repository")},
            "state_dir": str(self.directory / "state"),
            "server_name": "shop",
            "encryption": {"method": "aes256", "passphrase": "a long passphrase of the tests"},
            "state": state,
            **({"stateful_set": "pg"} if state == "present" else {}),
            **options,
        }
        return run_module("k8s_capture", given, check=check, diff=True)

    def delete_all(self) -> None:
        for (version, kind), names in KINDS.items():
            for name in names:
                self.namespace.delete(version, kind, name, grace=0)
        wait_until(lambda: not there(self.namespace) and not self.namespace.list("v1", "Pod"), 60)


def there(namespace: Namespace) -> dict[str, Object]:
    """What there is of the server, as a person compares it: what somebody wrote, and defaults."""
    found = {}
    for (version, kind), names in KINDS.items():
        for name in names:
            one = namespace.find(version, kind, name)
            if one is not None:
                found[f"{kind}/{name}"] = plain(one)
    return found


def plain(one: Object) -> Object:
    kept = json.loads(
        json.dumps({key: value for key, value in one.items() if key not in ("metadata", "status")}, default=str)
    )
    spec = kept.get("spec") or {}
    for name in ("clusterIP", "clusterIPs", "volumeName"):
        if spec.get(name) not in ("None", ["None"]):
            spec.pop(name, None)
    labels = one["metadata"].get("labels")
    return {**kept, "labels": dict(labels) if labels else None}


def account(namespace: Namespace, job: str, directory: Path) -> Path:
    rights = rights_of(job, **NAMES, namespaces=[])
    return namespace.service_account(
        [rule.manifest() for rule in rights.rules],
        directory,
        cluster_rules=[rule.manifest() for rule in rights.cluster],
    )


@pytest.fixture(scope="module")
def shop(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    namespace, directory = cluster.api.create_namespace(), tmp_path_factory.mktemp("capture")
    (directory / "repository").mkdir()
    try:
        namespace.apply(*objects(namespace.name))
        # Server-side apply would refuse it: a variable is named twice.
        cluster.api.kind("batch/v1", "CronJob").create(body=dumps(), namespace=namespace.name)
        namespace.wait("v1", "PersistentVolumeClaim", "data-pg-0", lambda it: it["metadata"]["uid"])
        accounts = [account(namespace, job, directory) for job in ("capture", "capture_restore")]
        yield Shop(namespace, directory, *accounts)
    finally:
        namespace.remove()


def test_all_of_it_comes_back_after_it_was_deleted(shop: Shop) -> None:
    """Guide 001 saves two manifests by kubectl get -o yaml, which nobody can apply elsewhere. Planned, captured, enough the second time, deleted,
    made again starting nothing, then running as it did; a second run of each changes nothing."""
    before = there(shop.namespace)
    assert len(before) == sum(map(len, KINDS.values()))
    planned = ok(shop.run(check=True))
    assert planned["changed"] and not list((shop.directory / "repository").iterdir())
    made = ok(shop.run())
    assert made["plan"][0] == planned["plan"][0]
    captured = {f"{one['kind']}/{one['name']}" for one in made["backup"]["consistency"]["objects"]}
    assert captured == set(before)
    assert "pull" in str(made["proof"]["unproven"])  # is referred to, and is not there
    (artifact,) = (shop.directory / "repository").glob("shop/*/objects.json.gpg")
    assert b"secret-of-pg" not in artifact.read_bytes() and "secret-of-pg" not in json.dumps(made)
    again = ok(shop.run())
    assert not again["changed"] and again["backup"]["id"] == made["backup"]["id"]
    known = run_module(
        "backup_facts", {"repository": {"path": str(shop.directory / "repository")}, "server_name": "shop"}
    )
    facts = ok(known)["ansible_facts"]["holdfast_backups"]
    assert facts["count"] == 1 and facts["last_success"] is None
    assert not ok(shop.run("restored"))["changed"]

    shop.delete_all()
    planned = ok(shop.run("restored", check=True))
    assert not there(shop.namespace)
    done = ok(shop.run("restored"))
    assert done["plan"] == planned["plan"] and done["diff"] == planned["diff"]
    shown = json.dumps(done)
    assert "secret-of-pg" not in shown and base64.b64encode(b"secret-of-pg").decode() not in shown
    held = there(shop.namespace)
    assert held["StatefulSet/pg"]["spec"]["replicas"] == 0 and held["CronJob/dumps"]["spec"]["suspend"]
    assert set(before) - set(held) == {"HorizontalPodAutoscaler/pg"}
    assert not shop.namespace.list("v1", "Pod")
    assert not ok(shop.run("restored"))["changed"]

    ok(shop.run("restored", hold=False))
    assert there(shop.namespace) == before
    wait_until(lambda: shop.namespace.list("v1", "Pod"), 30)
    assert not ok(shop.run("restored", hold=False))["changed"] and not ok(shop.run("restored"))["changed"]
    assert not ok(shop.run())["changed"]


def test_what_differs_is_refused_by_its_fields_or_replaced_by_name(shop: Shop) -> None:
    """A Secret that was changed since, a ConfigMap, what cannot be changed, and what may not be read."""
    ok(shop.run())
    password = base64.b64encode(b"another").decode()
    shop.namespace.patch("v1", "Secret", "pg", {"data": {"password": password}})
    shop.namespace.patch("v1", "ConfigMap", "conf", {"data": {"more": "x"}})
    told = shop.run("restored")
    refused(
        told,
        "Secret/pg",
        "data.password",
        "ConfigMap/conf",
        "data.more",
        "password that the data has",
        "Nothing was changed",
    )
    assert password not in told.stdout and shop.namespace.get("v1", "ConfigMap", "conf")["data"]["more"] == "x"
    planned = ok(shop.run("restored", check=True))
    assert set(planned["consent"]["replace"]) == {"Secret/pg", "ConfigMap/conf"} and password not in json.dumps(planned)
    done = ok(shop.run("restored", replace=["ConfigMap/conf"], different="keep"))
    assert "more" not in shop.namespace.get("v1", "ConfigMap", "conf")["data"]
    assert shop.namespace.get("v1", "Secret", "pg")["data"]["password"] == password
    assert [one["name"] for one in done["objects"] if one["state"] == "left"] == ["pg"]
    assert ok(shop.run("restored", replace=["Secret/pg"]))["changed"]
    assert base64.b64decode(shop.namespace.get("v1", "Secret", "pg")["data"]["password"]) == b"secret-of-pg"
    assert not ok(shop.run("restored"))["changed"]

    # Its role cannot be changed: it is told, and nothing else is done.
    shop.namespace.delete(RBAC, "RoleBinding", "pg")
    binding = next(one for one in objects(shop.namespace.name) if one["kind"] == "RoleBinding")
    shop.namespace.apply({**binding, "roleRef": {**binding["roleRef"], "name": "other"}})
    shop.namespace.delete("v1", "ConfigMap", "conf")
    refused(shop.run("restored", replace=["RoleBinding/pg"]), "nothing was changed", "roleRef", "exclude")
    assert shop.namespace.find("v1", "ConfigMap", "conf") is None
    ok(shop.run("restored", exclude=["RoleBinding"]))
    assert shop.namespace.find("v1", "ConfigMap", "conf") is not None
    shop.namespace.delete(RBAC, "RoleBinding", "pg")
    wait_until(lambda: shop.namespace.find(RBAC, "RoleBinding", "pg") is None, 20)
    ok(shop.run("restored"))

    refused(shop.run(encryption=None), "Secrets pg, store", "include_secrets: false")
    left = ok(shop.run(encryption=None, include_secrets=False, check=True))
    assert not [one for one in left["plan"] if "Secret/" in one]
    rules: list[Object] = [{"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"]}]
    few = shop.namespace.service_account(
        [*rules, {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}], shop.directory
    )
    refused(
        shop.run(kubeconfig=few), "Nothing was written", "secrets", "networkpolicies", "cronjobs", "serviceaccounts"
    )


def test_into_another_namespace(shop: Shop, namespace: Namespace, tmp_path: Path) -> None:
    """Names, accounts and Services in full follow; what may be meant otherwise is named; the former one is as it was."""
    ok(shop.run())
    before = there(shop.namespace)
    by = account(namespace, "capture_restore", tmp_path)
    to = {"kubeconfig": str(by), "namespace": namespace.name}
    done = ok(shop.run("restored", kubernetes=to))
    assert there(shop.namespace) == before
    binding = namespace.get(RBAC, "RoleBinding", "pg")
    assert binding["subjects"][0]["namespace"] == namespace.name
    conf = namespace.get("v1", "ConfigMap", "conf")["data"]
    assert (
        conf["pg_hba.conf"] == f"host all all pg.{namespace.name}.svc trust"
        and conf["peer"] == f"web.{shop.namespace.name}.svc"
    )
    assert [said for said in done["proof"]["unproven"] if said.startswith("The key peer of the ConfigMap conf")]
    (container,) = namespace.get("apps/v1", "StatefulSet", "pg")["spec"]["template"]["spec"]["containers"]
    values = {one["name"]: one.get("value") for one in container["env"]}
    assert values["UPSTREAM"] == f"pg-0.pg-headless.{namespace.name}.svc.cluster.local"
    assert not ok(shop.run("restored", kubernetes=to))["changed"]
    admin: Object = {"kubeconfig": str(shop.namespace.api.kubeconfig), "namespace": f"{namespace.name}-new"}
    refused(shop.run("restored", kubernetes=admin), "no namespace", "create namespace")
    new = Namespace(namespace.api, admin["namespace"])
    try:
        planned = ok(shop.run("restored", kubernetes=admin, create_namespace=True, check=True))
        assert ok(shop.run("restored", kubernetes=admin, create_namespace=True))["plan"] == planned["plan"]
        assert set(there(new)) == set(before) - {"HorizontalPodAutoscaler/pg"}
    finally:
        new.remove()


@pytest.mark.extended
def test_in_a_pod_of_its_own(shop: Shop, image: str) -> None:
    """As a schedule does it: by the pod's own account, with the rights of the table and no kubeconfig, into a claim."""
    rules = [rule.manifest() for rule in rights_of("capture", **NAMES, namespaces=[]).rules]
    shop.namespace.service_account(rules, shop.directory, name="capturing")
    claim: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    shop.namespace.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "backups"}, "spec": claim}
    )
    job: Object = {
        "kubernetes": {"kubeconfig": str(shop.namespace.api.kubeconfig), "namespace": shop.namespace.name},
        "name": "capture",
        "image": image,
        "playbook": "holdfast.postgres.capture",
        "server_name": "shop",
        "service_account": "capturing",
        "api_access": True,
        "claims": {"backups": "/backups"},
        "variables": {
            "holdfast_repository": {"path": "/backups"},
            "holdfast_capture_stateful_set": "pg",
            "holdfast_encryption": {"method": "aes256", "passphrase": "a long passphrase of the tests"},
        },
    }
    first = ok(run_module("k8s_job", job))
    assert first["run"]["changed"], first
    again = ok(run_module("k8s_job", {**job, "force": True}))
    assert not again["run"]["changed"], again
