# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A schedule in a cluster, brought into the state that is asked for: a CronJob, and what belongs to it. Applied by the server (dry runs in check
mode), so that what others set on the objects stays theirs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import cron_job, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.cron_job import ScheduleRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.own_objects import (
    Change,
    apply,
    is_ours,
    of_server,
    refuse_to_delete_others,
    refuse_to_take_over,
)

#: what a schedule consists of, in the order in which it goes
KINDS = ("CronJob", "RoleBinding", "Role", "Secret", "ServiceAccount")


def present(
    cluster: Cluster, request: ScheduleRequest, dry_run: bool, force: bool = False, beside: Collection[str] = ()
) -> Change:
    """Make it so, and remove its former one: the same in all, under another name that is none of ``beside``. ``force``: take fields from
    other managers. Raises HoldfastError: it is another server's, or nobody's of ours."""
    cron_job.check(request)
    there = cluster.get("CronJob", request.name)
    if there is not None:
        refuse_to_take_over("CronJob", there, request.run.server_name, "backs up")
    change = Change()
    # The CronJob comes last: one whose Secret is refused would fail every night.
    for manifest in _belongings(request, there):
        apply(cluster, manifest, dry_run, force, change)
    made = apply(cluster, cron_job.cron_job(request), dry_run, force, change)
    if there is None and not dry_run:
        # Whoever deletes the CronJob deletes these with it.
        for manifest in _belongings(request, made):
            cluster.apply(manifest, force=force)
    if there is not None and _had_rules(there) and not request.rules:
        for kind in ("RoleBinding", "Role"):
            _delete(cluster, kind, cluster.get(kind, request.name), dry_run, change)
    for other in of_server(cluster, "CronJob", request.run.server_name):
        name = other["metadata"]["name"]
        if name == request.name or name in beside:
            continue
        if other["metadata"]["annotations"].get(names.DIGEST) == cron_job.identity(request):
            gone = _removed(cluster, other, dry_run)
            change.plan += [f"{step}, which was the same under its former name" for step in gone.plan[:1]] + gone.plan[
                1:
            ]
        else:
            change.others.append(name)
    return change


def absent(cluster: Cluster, name: str, dry_run: bool) -> Change:
    """Remove a schedule of ours, with what belongs to it. Raises KubernetesError: it is nobody's of ours."""
    names.check_name("name", name, names.LONGEST_CRON_JOB)
    there = cluster.get("CronJob", name)
    if there is None:
        return _removed(cluster, {"metadata": {"name": name}}, dry_run)
    refuse_to_delete_others(cluster, "CronJob", there)
    return _removed(cluster, there, dry_run)


def _removed(cluster: Cluster, there: Manifest, dry_run: bool) -> Change:
    change, name = Change(), there["metadata"]["name"]
    kinds = [kind for kind in KINDS if kind not in ("RoleBinding", "Role") or _had_rules(there)]
    # Looked at before the first one goes, as what the CronJob owns goes with it, sooner or later.
    found = [(kind, cluster.get(kind, name)) for kind in kinds]
    for kind, one in found:
        _delete(cluster, kind, one, dry_run, change)
    return change


def _belongings(request: ScheduleRequest, owner: Optional[Manifest]) -> list[Manifest]:
    secret = pod.secret(request.run, request.name, cron_job.labels(request), owner)
    account = [] if request.run.service_account != request.name else [cron_job.service_account(request, owner)]
    return [*account, secret, *cron_job.role(request, owner)]


def _delete(cluster: Cluster, kind: str, there: Optional[Manifest], dry_run: bool, change: Change) -> None:
    if there is None or not is_ours(there) or there["metadata"].get("deletionTimestamp"):
        return
    name = there["metadata"]["name"]
    cluster.delete(kind, name, uid=there["metadata"]["uid"], dry_run=dry_run)
    change.plan.append(f"delete the {kind} {name}")


def _had_rules(there: Manifest) -> bool:
    return (there["metadata"].get("annotations") or {}).get(names.RULES) == "true"
