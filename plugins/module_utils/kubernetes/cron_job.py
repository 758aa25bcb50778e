# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CronJob of one schedule, its ServiceAccount, and where it needs one its Role. Pure: a request in, manifests out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cron import NEVER
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import job, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.calendar import Calendar
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest


@dataclass(frozen=True)
class ScheduleRequest:
    """One schedule. ``cron``: five fields; ``late``: seconds after its moment in which a run may still begin; ``rules``: of a Role for the
    run's service account, none for a backup."""

    name: str
    run: RunRequest
    cron: str
    time_zone: str = "Etc/UTC"
    late: int = 3600
    suspended: bool = False
    keep_successful: int = 3
    keep_failed: int = 3
    rules: Sequence[Mapping[str, Any]] = ()


def check(request: ScheduleRequest) -> None:
    """What the API server would refuse, or worse, would take. Raises BadOption."""
    names.check_name("name", request.name, names.LONGEST_CRON_JOB)
    # In a schedule TZ= and CRON_TZ= are refused by newer servers and ignored by older ones.
    if not Calendar.parse(request.cron, request.time_zone).fields.ever():
        raise BadOption("schedule", request.cron, NEVER, "The controller would say nothing of it. Name another day.")
    if request.late < 10:
        raise BadOption(
            "starting_deadline",
            request.late,
            "is so short that no run might ever begin",
            "The controller looks every 10 seconds: use 10s or more.",
        )
    pod.check(request.run)


def labels(request: ScheduleRequest) -> dict[str, str]:
    """Of all that belongs to a schedule."""
    return names.labels(request.run.server_name, schedule=request.name)


def identity(request: ScheduleRequest) -> str:
    """The digest of a schedule but for its name: one that is the same in all, under another name, is its former one."""
    own = request.run.service_account == request.name  # one that has the schedule's name
    run = replace(request.run, service_account=None) if own else request.run
    content = {"cron": request.cron, "zone": request.time_zone, "run": job.identity(run, "")}
    return names.digest(request.run.server_name, content)


def cron_job(request: ScheduleRequest) -> dict[str, Any]:
    """The CronJob."""
    metadata = {"labels": labels(request), "annotations": {names.SERVER_NAME: request.run.server_name}}
    own = {names.DIGEST: identity(request), **({names.RULES: "true"} if request.rules else {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": request.name,
            "namespace": request.run.namespace,
            "labels": metadata["labels"],
            "annotations": {**metadata["annotations"], **own},
        },
        "spec": {
            "schedule": request.cron,
            "timeZone": request.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": request.late,
            "successfulJobsHistoryLimit": request.keep_successful,
            "failedJobsHistoryLimit": request.keep_failed,
            "suspend": request.suspended,
            "jobTemplate": {
                "metadata": metadata,
                "spec": {
                    **job.spec(request.run),
                    "template": pod.template(request.run, request.name, labels(request)),
                },
            },
        },
    }


def service_account(request: ScheduleRequest, owner: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """The run's ServiceAccount. Its token is not mounted, but where the pod asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(request, owner),
        "automountServiceAccountToken": False,
    }


def role(request: ScheduleRequest, owner: Optional[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The Role and the RoleBinding; nothing where the run needs no rights."""
    if not request.rules:
        return []
    kind = "rbac.authorization.k8s.io"
    metadata = _metadata(request, owner)
    return [
        {
            "apiVersion": f"{kind}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [dict(rule) for rule in request.rules],
        },
        {
            "apiVersion": f"{kind}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": kind, "kind": "Role", "name": request.name},
            "subjects": [{"kind": "ServiceAccount", "name": request.name, "namespace": request.run.namespace}],
        },
    ]


def _metadata(request: ScheduleRequest, owner: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": request.name, "namespace": request.run.namespace, "labels": labels(request)}
    if owner:
        metadata["ownerReferences"] = [pod.owner_reference(owner)]
    return metadata
