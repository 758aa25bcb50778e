# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Job of one run. Pure: a request in, a manifest out.

"The same program may sometimes be started twice" (kubernetes.io, "Jobs"): what keeps two runs apart is the lock in the repository, not the Job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest

#: ansible-playbook's exit code where a task failed: our modules refused, or could not do it, and would not the next time
FAILED = 2


def identity(request: RunRequest, task: str) -> str:
    """The digest of a request: the same task, asked for in the same way, is the same Job."""
    content = {
        "template": pod.template(request, "", {}),
        "spec": spec(request),
        "variables": pod.variables_file(request).decode(),
    }
    return names.digest(f"{request.namespace}/{task}", content)


def spec(request: RunRequest) -> dict[str, Any]:
    """A Job's spec, without the pod's template."""
    rules: list[dict[str, Any]] = []
    if request.again:
        # Drained, evicted, preempted: nothing was wrong with the run, and the next pod does it.
        rules.append({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})
    rules.append(
        {"action": "FailJob", "onExitCodes": {"containerName": pod.CONTAINER, "operator": "In", "values": [FAILED]}}
    )
    return {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",  # no second pod while the first one still ends
        "podFailurePolicy": {"rules": rules},
        "activeDeadlineSeconds": request.deadline,
    }


def job(request: RunRequest, task: str, mark: str, secret: str, keep: int) -> dict[str, Any]:
    """The Job of a task. ``secret``: of its variables; ``keep``: seconds that it stays after its end. It begins suspended, until its Secret is
    there."""
    name = names.job_name(task, mark)
    labels = names.labels(request.server_name, task=task)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": request.namespace,
            "labels": labels,
            "annotations": {names.SERVER_NAME: request.server_name, names.DIGEST: mark},
        },
        "spec": {
            **spec(request),
            "ttlSecondsAfterFinished": keep,
            "suspend": True,
            "template": pod.template(request, secret, labels),
        },
    }


def secret_of(made: Mapping[str, Any]) -> str:
    """The name of a Job's Secret with variables."""
    volumes = made["spec"]["template"]["spec"]["volumes"]
    return str(next(one["secret"]["secretName"] for one in volumes if one["name"] == "variables"))


def by_hand(cron_job: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """A run by hand of a CronJob: its own template, owned by it, as ``kubectl create job --from`` makes one."""
    template = cron_job["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    name = f"{cron_job['metadata']['name']}-{suffix}"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cron_job["metadata"]["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "annotations": {**(metadata.get("annotations") or {}), "cronjob.kubernetes.io/instantiate": "manual"},
            "ownerReferences": [{**pod.owner_reference(cron_job), "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
    }


def finished(job: Mapping[str, Any]) -> Optional[str]:
    """``Complete`` or ``Failed``; None while it is not over. ``FailureTarget`` and ``SuccessCriteriaMet`` come before its pods have ended."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return str(condition["type"])
    return None
