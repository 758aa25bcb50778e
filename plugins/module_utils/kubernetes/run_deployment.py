# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Deployment of ours, brought into the state that is asked for, with its Secret: applied by the server, waited for, and removed."""

from __future__ import annotations

from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import deployment, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.deployment import DeploymentRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.own_objects import (
    Change,
    apply,
    is_ours,
    refuse_to_delete_others,
    refuse_to_take_over,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    Tell,
    wait_for,
    wait_until_gone,
)

KINDS = ("Deployment", "Secret")


def present(cluster: Cluster, request: DeploymentRequest, dry_run: bool, force: bool = False) -> Change:
    """Make it so. ``force``: take fields from other managers. Raises HoldfastError: it is another server's, or nobody's of ours."""
    deployment.check(request)
    there = cluster.get("Deployment", request.name)
    if there is not None:
        refuse_to_take_over("Deployment", there, request.run.server_name, "works for")
    change = Change()
    # Its Secret comes first: a pod that waits for it would be a trouble that is none.
    apply(cluster, _secret(request, there), dry_run, force, change)
    made = apply(cluster, deployment.deployment(request), dry_run, force, change)
    if there is None and not dry_run:
        cluster.apply(_secret(request, made), force=force)  # gone with it
    return change


def absent(cluster: Cluster, name: str, dry_run: bool, timeout: float) -> Change:
    """Remove one of ours, and wait until its pods have ended. Raises KubernetesError: it is nobody's of ours."""
    names.check_name("name", name, names.LONGEST_CRON_JOB)
    found = [(kind, cluster.get(kind, name)) for kind in KINDS]
    there = found[0][1]
    if there is not None:
        refuse_to_delete_others(cluster, "Deployment", there)
    change = Change()
    for kind, one in found:
        if one is None or not is_ours(one) or one["metadata"].get("deletionTimestamp"):
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
