# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs and schedules in a cluster as people ask for them: under the rights of the table, by the modules and the playbook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of

from ..playbooks import CHECKOUT, ModuleResult, PlaybookResult, run_module, run_playbook
from .api import Namespace
from .postgres import Postgres

OF_JOB = "batch.kubernetes.io/job-name"
#: the usual name of a schedule of the server "shop"
SCHEDULE = "holdfast-backup-shop"
PASSWORD = {"variable": "holdfast_login_password", "secret": "pg", "key": "password"}


def rules(job: str, without: str = "", **names: list[str]) -> list[dict[str, Any]]:
    """What the table gives a job."""
    return [rule.manifest() for rule in rights_of(job, **names).rules if rule.resource != without]


def claim(name: str, **spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": wanted}


def access(kubeconfig: Path, namespace: Namespace) -> dict[str, Any]:
    return {"kubeconfig": str(kubeconfig), "namespace": namespace.name}


def pods(namespace: Namespace, job: str) -> list[dict[str, Any]]:
    return list(namespace.list("v1", "Pod", f"{OF_JOB}={job}"))


class Runner:
    """k8s_job as somebody with these rights runs it."""

    def __init__(
        self, kubeconfig: Path, namespace: Namespace, image: str, server: Postgres | None, bucket: Any = None
    ) -> None:
        self.more: dict[str, Any] = {}
        self.kubeconfig, self.namespace, self.image = kubeconfig, namespace, image
        self.server, self.bucket = server, bucket

    def options(self, **more: Any) -> dict[str, Any]:
        variables: dict[str, Any] = {"holdfast_login_user": "postgres"}
        if self.server is not None:
            variables["holdfast_login_host"] = self.server.service
        if self.bucket is not None:
            variables["holdfast_repository"] = self.bucket
        variables.update({**self.more.get("variables", {}), **more.pop("variables", {})})
        more = {**{name: value for name, value in self.more.items() if name != "variables"}, **more}
        return {
            "kubernetes": access(self.kubeconfig, self.namespace),
            "name": "backup",
            "image": self.image,
            "image_pull_policy": "IfNotPresent",
            "server_name": "shop",
            "variables": variables,
            "variables_from": [PASSWORD] if self.server is not None else [],
            "deadline": "10min",
            **more,
        }

    def run(self, check: bool = False, **more: Any) -> ModuleResult:
        return run_module("k8s_job", self.options(**more), check=check)


def schedule(
    kubeconfig: Path, namespace: Namespace, image: str, variables: dict[str, Any], *arguments: str, **more: Any
) -> PlaybookResult:
    """The playbook schedule, as people run it. ``more``: its variables, without their prefix."""
    pod = {
        "image": image,
        "image_pull_policy": "IfNotPresent",
        "claims": {"backups": "/backups"},
        "variables_from": [PASSWORD],
        "deadline": "10min",
    }
    given = {
        "manager": "kubernetes",
        "cron": "* * * * *",
        "time_zone": "Europe/Berlin",
        "variables": variables,
        **more,
        "pod": {**pod, **more.get("pod", {})},
    }
    asked: dict[str, Any] = {
        "holdfast_kubernetes": access(kubeconfig, namespace),
        **{f"holdfast_schedule_{name}": value for name, value in given.items() if name != "schedules"},
        **({"holdfast_schedules": given["schedules"]} if "schedules" in given else {}),
    }
    return run_playbook(CHECKOUT / "playbooks" / "schedule.yml", asked, *arguments, inventory="shop,")


def changes(run: PlaybookResult) -> list[str]:
    """What each schedule's task did, or would do."""
    assert run.returncode == 0, run.stdout + run.stderr
    (result,) = run.of("holdfast.postgres.k8s_cron_job")
    return [step for item in result["results"] for step in item["plan"]]


def by_hand(kubeconfig: Path, namespace: Namespace, name: str = SCHEDULE) -> ModuleResult:
    """A run of a schedule now, followed to its end."""
    asked = {"kubernetes": access(kubeconfig, namespace), "from_cron_job": name, "deadline": "10min"}
    return run_module("k8s_job", asked)


def finished(namespace: Namespace) -> Sequence[dict[str, Any]]:
    """The Jobs that ended well."""
    return [
        one
        for one in namespace.list("batch/v1", "Job")
        if any(item["type"] == "Complete" for item in (one.get("status") or {}).get("conditions") or [])
    ]


def evict(namespace: Namespace, pod: str) -> None:
    """As a drain of its node does."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    namespace.api.core.create_namespaced_pod_eviction(pod, namespace.name, body)


def log_of(namespace: Namespace, pod: dict[str, Any]) -> str:
    """What it said, once it runs."""
    return namespace.logs(pod["metadata"]["name"]) if (pod.get("status") or {}).get("phase") == "Running" else ""
