# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks that go on for as long as they are to, in the containers of one pod: the Deployment of them. Pure: a request in, a manifest out.

There is one pod at most, and a new one begins when the old one has ended (``Recreate``): two receivers cannot share a slot, nor two shippers a
directory.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest

_PERIOD = 2  # seconds between two looks
_STEADY = 6  # seconds for which it has to stay ready: what ends at once was never at work
_PROGRESS = (
    600  # seconds; https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds
)


@dataclass(frozen=True)
class DeploymentRequest:
    """``playbooks``: one container each, with the same variables; ``run``: all else of the pod; ``replicas``: 1, or 0 where it is suspended."""

    name: str
    run: RunRequest
    playbooks: Sequence[str]
    replicas: int = 1


def check(request: DeploymentRequest) -> None:
    """What the API server would refuse, in other words. Raises BadOption."""
    names.check_name("name", request.name, names.LONGEST_CRON_JOB)
    containers = [container_name(playbook) for playbook in request.playbooks]
    if not containers or len(set(containers)) < len(containers):
        raise BadOption(
            "playbooks", list(request.playbooks), "is not one or more different playbooks", "Name each of them once."
        )
    pod.check(request.run)


def container_name(playbook: str) -> str:
    """Of the container that runs a playbook: ``archive``."""
    return playbook.rpartition("/")[2].rpartition(".")[2].replace("_", "-") or pod.CONTAINER


def labels(request: DeploymentRequest) -> dict[str, str]:
    """Of all that belongs to it."""
    return names.labels(request.run.server_name, deployment=request.name)


def deployment(request: DeploymentRequest) -> dict[str, Any]:
    """The Deployment."""
    template = pod.template(request.run, request.name, labels(request))
    spec = template["spec"]
    (base,) = spec["containers"]
    spec["restartPolicy"] = "Always"
    spec["containers"] = [_container(base, request, playbook) for playbook in request.playbooks]
    # A container reads its variables when it begins: others make another pod.
    variables = pod.variables_file(request.run).decode()
    template["metadata"]["annotations"][names.DIGEST] = names.digest(
        f"{request.run.namespace}/{request.name}", {"variables": variables}
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": request.name,
            "namespace": request.run.namespace,
            "labels": labels(request),
            "annotations": {names.SERVER_NAME: request.run.server_name},
        },
        "spec": {
            "replicas": request.replicas,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {names.DEPLOYMENT: names.label(request.name)}},
            "revisionHistoryLimit": 2,
            "minReadySeconds": _STEADY,
            "progressDeadlineSeconds": _PROGRESS,
            "template": template,
        },
    }


def ready(playbook: str, run: RunRequest) -> Optional[list[str]]:
    """The command that succeeds while a playbook does what it is for; None: its running says it. With programs of all images: neither ps nor pgrep is
    in every one."""
    if playbook == "holdfast.postgres.archive":
        return ["sh", "-c", "grep -qs pg_receivewal /proc/[0-9]*/comm"]
    root = run.variables.get("holdfast_wal_directory")
    if playbook == "holdfast.postgres.ship" and root:
        # Its last pass left no store with an error: archiving/ship_directory.py writes that down.
        state = f"{str(root).rstrip('/')}/{run.server_name}/_wal/.shipped.json"
        return ["sh", "-c", '! grep -qs \'"error": "\' "$0"', state]
    return None


def _container(base: Mapping[str, Any], request: DeploymentRequest, playbook: str) -> dict[str, Any]:
    made = copy.deepcopy(dict(base))
    made.update(name=container_name(playbook), args=pod.arguments(replace(request.run, playbook=playbook)))
    command = ready(playbook, request.run)
    if command:
        made["readinessProbe"] = {"exec": {"command": command}, "periodSeconds": _PERIOD, "failureThreshold": 1}
    return made
