# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_server_info against real servers in a real cluster: what it says is compared with what the cluster made, under exactly the rights that
rights.py has for it, and under fewer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok, refused
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import MOUNT, USER, Postgres
from lab.playbooks import collections_path, run_module

Object = dict[str, Any]
Make = Callable[..., Postgres]


def info(kubeconfig: Path, namespace: Namespace, **options: Any) -> Object:
    kubernetes = {"kubeconfig": str(kubeconfig), "namespace": namespace.name}
    return ok(run_module("k8s_server_info", {"kubernetes": kubernetes, **options}))


def account(service_account: Callable[..., Path], **names: list[str]) -> Path:
    """Who has exactly the rights of the table."""
    rights = rights_of("info", **{"config_maps": [], **names})
    return service_account(
        [rule.manifest() for rule in rights.rules], cluster_rules=[rule.manifest() for rule in rights.cluster]
    )


def test_a_server_is_found_with_all_that_it_is_made_of(
    cluster: Any, namespace: Namespace, postgres: Make, service_account: Callable[..., Path]
) -> None:
    """From a StatefulSet, its pod and its labels the same, under exactly our rights; the server is asked where that is wanted."""
    server = postgres(replication=False)
    mine = account(service_account, server=["pg"], claims=["data-pg-0"])
    found = info(mine, namespace, stateful_set="pg")
    assert not found["changed"] and found["not_read"] == []
    claim = namespace.get("v1", "PersistentVolumeClaim", "data-pg-0")
    pod = namespace.get("v1", "Pod", "pg-0")
    assert found["primary"] == "pg-0" and found["pods"][0]["address"] == pod["status"]["podIP"]
    data = found["data"]
    assert (data["directory"], data["claim"], data["path_in_volume"]) == (f"{MOUNT}/pgdata", "data-pg-0", "pgdata")
    assert data["persistent"] and not data["at_volume_root"]
    (one,) = found["claims"]
    assert one["volume"] == claim["spec"]["volumeName"] and one["storage_class"] == claim["spec"]["storageClassName"]
    assert one["snapshot_class"] == cluster.snapshot_class and one["phase"] == "Bound"
    assert [service["name"] for service in found["services"]] == ["pg", "pg-headless"] and found["service"] == "pg"
    assert found["password"] == {
        "secret": "pg", "key": "password", "variable": "POSTGRES_PASSWORD", "user": "postgres"
    }  # fmt: skip
    assert (found["image"], found["run_as_user"], found["fs_group"]) == (
        pod["spec"]["containers"][0]["image"],
        USER,
        USER,
    )
    assert found["findings"]["errors"] == [] and not any(
        "replication" in said for said in str(found["findings"]).split(";")
    )
    asked_how: Object = {"elapsed": 0, "invocation": {}}
    for other in ({"pod": "pg-0"}, {"selector": "app.kubernetes.io/instance=pg"}):
        assert {**info(mine, namespace, **other), **asked_how} == {**found, **asked_how}
    login = server.login
    asked = info(mine, namespace, stateful_set="pg", **login)
    assert (
        asked["primary_by"] == "server" and asked["major_version"] == 15 and asked["data"]["directory_by"] == "server"
    )
    (warning,) = [said for said in asked["findings"]["warnings"] if "replication" in said]
    assert "host replication postgres" in warning and "pg_reload_conf" in warning
    line = warning.partition("Add '")[2].partition("'")[0]
    namespace.execute("pg-0", "bash", "-c", f"echo '{line}' >> {MOUNT}/pgdata/pg_hba.conf")
    server.sql("select pg_reload_conf()")
    assert "a replication connection is let in" in info(mine, namespace, stateful_set="pg", **login)["findings"]["fine"]


def test_less_rights_are_less_answers_and_the_lines_that_give_them(
    namespace: Namespace, postgres: Make, service_account: Callable[..., Path]
) -> None:
    """With the StatefulSet and its pod by name alone; what was not read is null, never 'none', and each line given makes it known."""
    postgres(ready=False)
    least: list[Object] = [
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"], "resourceNames": ["pg"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["pg-0"]},
    ]
    namespace.wait("v1", "Pod", "pg-0", lambda one: True, 60)
    found = info(service_account(least), namespace, stateful_set="pg")
    assert [pod["name"] for pod in found["pods"]] == ["pg-0"] and found["data"]["claim"] == "data-pg-0"
    assert found["services"] is found["autoscalers"] is found["keda"] is found["disruption_budgets"] is None
    assert found["claims"] == [] and not any(
        "snapshot" in said for level in found["findings"].values() for said in level
    )
    rules = {entry["rule"]: entry["where"] for entry in found["not_read"]}
    assert any("persistentvolumeclaims], verbs: [get], resourceNames: [data-pg-0]" in rule for rule in rules)
    assert any("volumesnapshotclasses" in rule and where == "a ClusterRole" for rule, where in rules.items())
    import yaml

    given = [rule for line, where in rules.items() if "Cluster" not in where for rule in yaml.safe_load(line)]
    more = info(service_account([*least, *given]), namespace, stateful_set="pg")
    assert [one["name"] for one in more["claims"]] == ["data-pg-0"] and more["autoscalers"] == []
    kubernetes = {"kubeconfig": str(service_account([])), "namespace": namespace.name}
    refused(
        run_module("k8s_server_info", {"kubernetes": kubernetes, "stateful_set": "pg"}),
        "may not get statefulsets",
        "resourceNames: [pg]",
    )


def _chart(objects: list[Object]) -> None:
    """As seed 001's chart has it: the volume is PGDATA itself, configuration by subPath, the password from a Secret of another name, a
    headless Service, labels of Helm; and beside PostgreSQL an exporter, the WAL and a tablespace on claims of their own."""
    objects.append(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-config"}, "data": {"postgresql.conf": ""}}
    )
    top = next(one for one in objects if one["kind"] == "StatefulSet")
    top["metadata"]["labels"].update({"app.kubernetes.io/managed-by": "Helm"})
    top["metadata"]["annotations"] = {
        "meta.helm.sh/release-name": "shop",
        "meta.helm.sh/release-namespace": "shop",
        "argocd.argoproj.io/tracking-id": "team:apps/StatefulSet:shop/pg",
    }
    top["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    spec = top["spec"]["template"]["spec"]
    container = spec["containers"][0]
    container["volumeMounts"] += [
        {"name": "config", "mountPath": "/etc/postgresql/postgresql.conf", "subPath": "postgresql.conf"},
        {"name": "wal", "mountPath": "/wal"},
        {"name": "space", "mountPath": "/space", "subPath": "ts"},
    ]
    container["env"].append({"name": "POSTGRES_INITDB_WALDIR", "value": "/wal/pg_wal"})
    exporter = {
        "name": "metrics",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
    }
    spec["containers"].insert(0, exporter)
    spec["volumes"] = [{"name": "config", "configMap": {"name": "shop-config"}}]
    template = top["spec"]["volumeClaimTemplates"][0]
    top["spec"]["volumeClaimTemplates"] += [{**template, "metadata": {"name": name}} for name in ("wal", "space")]
    scaler = {"minReplicas": 1, "maxReplicas": 1, "metrics": []}
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg"}
    objects.append(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "scaler"},
            "spec": {**scaler, "scaleTargetRef": target},
        }
    )
    budget = {"maxUnavailable": 0, "selector": {"matchLabels": {"app.kubernetes.io/instance": "pg"}}}
    objects.append(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "budget"}, "spec": budget}
    )


def test_a_chart_is_followed_by_references(cluster: Any, namespace: Namespace, postgres: Make) -> None:
    """What hurts when it is overlooked: the volume's root is PGDATA, further claims, what scales it, and what takes changes back."""
    server = postgres(pgdata="root", change=_chart)
    login = server.login
    server.sql("select 1")
    namespace.execute("pg-0", "bash", "-c", "mkdir /space/one", container="postgres")
    server.sql("create tablespace one location '/space/one'")
    found = info(cluster.kubeconfig, namespace, stateful_set="pg", **login)
    assert found["container"] == "postgres" and found["config_maps"] == ["shop-config"] and found["secrets"] == ["pg"]
    assert found["data"]["at_volume_root"] is True and found["data"]["claim"] == "data-pg-0"
    assert found["data"]["wal_claim"] == "wal-pg-0"
    claims = {one["name"]: one for one in found["claims"]}
    assert sorted(claims) == ["data-pg-0", "space-pg-0", "wal-pg-0"]
    assert claims["space-pg-0"]["tablespaces"] == ["/space/one"] and claims["space-pg-0"]["mounts"] == [
        {"path": "/space", "sub_path": "ts"}
    ]
    assert found["helm"] == {"release": "shop", "namespace": "shop"} and found["gitops"]["name"] == "team"
    assert found["autoscalers"] == ["scaler"] and found["disruption_budgets"] == ["budget"] and found["keda"] == []
    (error,) = found["findings"]["errors"]
    assert "whenScaled is Delete" in error
    said = " ".join(found["findings"]["warnings"])
    assert "argocd" in said and "HorizontalPodAutoscaler scaler" in said


def _on_nothing(objects: list[Object]) -> None:
    top = next(one for one in objects if one["kind"] == "StatefulSet")
    del top["spec"]["volumeClaimTemplates"]
    top["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]


def test_data_that_go_with_the_pod_are_an_error_and_a_stopped_server_is_known(
    cluster: Any, namespace: Namespace, postgres: Make
) -> None:
    postgres("volatile", ready=False, change=_on_nothing)
    found = info(cluster.kubeconfig, namespace, stateful_set="volatile")
    (error,) = found["findings"]["errors"]
    assert "emptyDir" in error and found["data"]["persistent"] is False
    postgres("stopped", ready=False, replicas=0)
    stopped = info(cluster.kubeconfig, namespace, stateful_set="stopped")
    assert stopped["pods"] == [] and stopped["primary"] is None and stopped["data"]["claim"] == "data-stopped-0"
    refused(
        run_module(
            "k8s_server_info",
            {"kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespace": namespace.name}, "stateful_set": "pg"},
        ),
        f"no StatefulSet pg in namespace {namespace.name}",
        "stopped, volatile",
    )


def test_a_deployments_pod_is_followed_to_it(
    cluster: Any, namespace: Namespace, service_account: Callable[..., Path]
) -> None:
    """On a claim of its own; by a selector. With the rights for StatefulSets alone, the rest is not known."""
    labels = {"app": "db"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    container = {
        "name": "db",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "env": [{"name": "PGDATA", "value": "/data/pg"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "sub"}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes}
    template = {"metadata": {"labels": labels}, "spec": spec}
    namespace.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"}, "spec": claim},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "db"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
    )
    namespace.wait("apps/v1", "Deployment", "db", lambda one: (one.get("status") or {}).get("replicas"), 60)
    limited = account(service_account, server=["db"], claims=["shared"])
    found = info(limited, namespace, selector="app=db")
    assert found["data"]["claim"] == "shared" and found["data"]["path_in_volume"] == "sub/pg"
    assert found["deployment"] is found["autoscalers"] is None and "replicasets" in str(found["not_read"])
    found = info(cluster.kubeconfig, namespace, selector="app=db")
    assert found["deployment"] == "db" and found["autoscalers"] == [] and found["replicas"] == 1


def test_by_ansible_with_module_defaults_and_the_environment(
    cluster: Any, namespace: Namespace, postgres: Make, tmp_path: Path
) -> None:
    """As AWX sets it: K8S_AUTH_*; the namespace by the group's defaults. kubernetes.core goes with the module to where it runs."""
    postgres(ready=False)
    play = tmp_path / "play.yml"
    tasks = [
        {"holdfast.postgres.k8s_server_info": {"stateful_set": "pg"}, "register": "server"},
        {"ansible.builtin.copy": {"content": "{{ server | to_json }}", "dest": str(tmp_path / "result")}},
    ]
    defaults = {"group/holdfast.postgres.kubernetes": {"kubernetes": {"namespace": namespace.name}}}
    whole = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "module_defaults": defaults,
        "tasks": tasks,
    }
    play.write_text(json.dumps([whole]))
    environment = {
        **os.environ,
        "K8S_AUTH_KUBECONFIG": str(cluster.kubeconfig),
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    program = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run([program, "-v", play], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "result").read_text())["data"]["claim"] == "data-pg-0"
