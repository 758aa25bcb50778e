# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Deployment of ours, brought into the state that is asked for, with its Secret: applied by the server, waited for, and removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import deployment, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.deployment import DeploymentRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, name_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    Tell,
    wait_for,
    wait_until_gone,
)

KINDS = ("Deployment", "Secret")


@dataclass
class Change:
    """What is done. ``before`` and ``after``: of the objects by name, secrets hidden, as Ansible shows a difference."""

    plan: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


def present(cluster: Cluster, request: DeploymentRequest, dry_run: bool, force: bool = False) -> Change:
    """Make it so. ``force``: take fields from other managers. Raises HoldfastError: it is another server's, or nobody's of ours."""
    deployment.check(request)
    there = cluster.get("Deployment", request.name)
    if there is not None:
        _refuse_another_ones(there, request)
    change = Change()
    # Its Secret comes first: a pod that waits for it would be a trouble that is none.
    _apply(cluster, _secret(request, there), dry_run, force, change)
    made = _apply(cluster, deployment.deployment(request), dry_run, force, change)
    if there is None and not dry_run:
        cluster.apply(_secret(request, made), force=force)  # gone with it
    return change


def absent(cluster: Cluster, name: str, dry_run: bool, timeout: float) -> Change:
    """Remove one of ours, and wait until its pods have ended. Raises KubernetesError: it is nobody's of ours."""
    names.check_name("name", name, names.LONGEST_CRON_JOB)
    found = [(kind, cluster.get(kind, name)) for kind in KINDS]
    there = found[0][1]
    if there is not None and not _is_ours(there):
        raise KubernetesError(
            f"The Deployment {name} in the namespace {cluster.namespace} is not one of this collection (it has no label "
            "app.kubernetes.io/managed-by: holdfast). It was left as it is."
        )
    change = Change()
    for kind, one in found:
        if one is None or not _is_ours(one) or one["metadata"].get("deletionTimestamp"):
            continue
        uid = one["metadata"]["uid"]
        cluster.delete(kind, name, uid=uid, dry_run=dry_run, propagation="Foreground")
        change.plan.append(f"delete the {kind} {name}")
        if not dry_run:
            wait_until_gone(cluster, kind, name, timeout, uid=uid)
    return change


def settled(cluster: Cluster, request: DeploymentRequest, timeout: float, tell: Tell) -> None:
    """Wait until it does what it is for, or where it is suspended until its pods have ended.

    Raises:
        WaitFailed: it does not, with what its containers said last.
    """
    # An image that is pulled, a server that starts: a container may end once or twice.
    wait_for(cluster, "Deployment", request.name, timeout, patience=90.0, tell=tell)
    if request.replicas == 0:
        for one in cluster.list("Pod", f"{names.DEPLOYMENT}={names.label(request.name)}"):
            wait_until_gone(cluster, "Pod", one["metadata"]["name"], timeout, uid=one["metadata"]["uid"])


def _secret(request: DeploymentRequest, owner: Optional[Manifest]) -> Manifest:
    return pod.secret(request.run, request.name, deployment.labels(request), owner)


def _apply(cluster: Cluster, manifest: Manifest, dry_run: bool, force: bool, change: Change) -> Manifest:
    applied = cluster.apply(manifest, dry_run=dry_run, force=force)
    if applied.changed:
        change.plan.append(f"{'change' if applied.before else 'make'} the {name_of(manifest)}")
        change.before[name_of(manifest)] = applied.before
        change.after[name_of(manifest)] = applied.after
    return applied.object


def _is_ours(there: Manifest) -> bool:
    return (there["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "holdfast"


def _refuse_another_ones(there: Manifest, request: DeploymentRequest) -> None:
    where = f"the namespace {there['metadata'].get('namespace')}"
    if not _is_ours(there):
        raise KubernetesError(
            f"There is a Deployment {request.name} in {where}, and it is not one of this collection. It was left as it is: give this one another "
            "name, or delete that one."
        )
    server = (there["metadata"].get("annotations") or {}).get(names.SERVER_NAME)
    if server != request.run.server_name:
        raise KubernetesError(
            f"The Deployment {request.name} in {where} works for the server {server}, not for {request.run.server_name}: taking its name would end "
            "what it does. Give this one a name of its own."
        )
