# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A schedule in a cluster, brought into the state that is asked for: a CronJob, and what belongs to it. Applied by the server (dry runs in check
mode), so that what others set on the objects stays theirs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import cron_job, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.cron_job import ScheduleRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, name_of

#: what a schedule consists of, in the order in which it goes
KINDS = ("CronJob", "RoleBinding", "Role", "Secret", "ServiceAccount")


@dataclass
class Change:
    """What is done. ``before`` and ``after``: of the objects by name, secrets hidden, as Ansible shows a difference. ``others``: schedules of the same
    server that stay as they are."""

    plan: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def present(
    cluster: Cluster, request: ScheduleRequest, dry_run: bool, force: bool = False, beside: Collection[str] = ()
) -> Change:
    """Make it so, and remove its former one: the same in all, under another name that is none of ``beside``. ``force``: take fields from
    other managers. Raises HoldfastError: it is another server's, or nobody's of ours."""
    cron_job.check(request)
    there = cluster.get("CronJob", request.name)
    if there is not None:
        _refuse_another_ones(there, request)
    change = Change()
    # The CronJob comes last: one whose Secret is refused would fail every night.
    for manifest in _belongings(request, there):
        _apply(cluster, manifest, dry_run, force, change)
    made = _apply(cluster, cron_job.cron_job(request), dry_run, force, change)
    if there is None and not dry_run:
        # Whoever deletes the CronJob deletes these with it.
        for manifest in _belongings(request, made):
            cluster.apply(manifest, force=force)
    if there is not None and _had_rules(there) and not request.rules:
        for kind in ("RoleBinding", "Role"):
            _delete(cluster, kind, cluster.get(kind, request.name), dry_run, change)
    for other in _of_server(cluster, request.run.server_name):
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
    if not _is_ours(there):
        raise KubernetesError(
            f"The CronJob {name} in the namespace {cluster.namespace} is not one of this collection (it has no label app.kubernetes.io/managed-by: "
            "holdfast). It was left as it is."
        )
    return _removed(cluster, there, dry_run)


def _removed(cluster: Cluster, there: Manifest, dry_run: bool) -> Change:
    change, name = Change(), there["metadata"]["name"]
    kinds = [kind for kind in KINDS if kind not in ("RoleBinding", "Role") or _had_rules(there)]
    # Looked at before the first one goes, as what the CronJob owns goes with it, sooner or later.
    found = [(kind, cluster.get(kind, name)) for kind in kinds]
    for kind, one in found:
        _delete(cluster, kind, one, dry_run, change)
    return change


def _of_server(cluster: Cluster, server_name: str) -> list[Manifest]:
    selector = f"app.kubernetes.io/managed-by=holdfast,{names.SERVER}={names.label(server_name)}"
    found = cluster.list("CronJob", selector)
    return [one for one in found if (one["metadata"].get("annotations") or {}).get(names.SERVER_NAME) == server_name]


def _belongings(request: ScheduleRequest, owner: Optional[Manifest]) -> list[Manifest]:
    secret = pod.secret(request.run, request.name, cron_job.labels(request), owner)
    account = [] if request.run.service_account != request.name else [cron_job.service_account(request, owner)]
    return [*account, secret, *cron_job.role(request, owner)]


def _apply(cluster: Cluster, manifest: Manifest, dry_run: bool, force: bool, change: Change) -> Manifest:
    applied = cluster.apply(manifest, dry_run=dry_run, force=force)
    if applied.changed:
        verb = "change" if applied.before else "make"
        change.plan.append(f"{verb} the {name_of(manifest)}")
        change.before[name_of(manifest)] = applied.before
        change.after[name_of(manifest)] = applied.after
    return applied.object


def _delete(cluster: Cluster, kind: str, there: Optional[Manifest], dry_run: bool, change: Change) -> None:
    if there is None or not _is_ours(there) or there["metadata"].get("deletionTimestamp"):
        return
    name = there["metadata"]["name"]
    cluster.delete(kind, name, uid=there["metadata"]["uid"], dry_run=dry_run)
    change.plan.append(f"delete the {kind} {name}")


def _is_ours(there: Manifest) -> bool:
    return (there["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "holdfast"


def _had_rules(there: Manifest) -> bool:
    return (there["metadata"].get("annotations") or {}).get(names.RULES) == "true"


def _refuse_another_ones(there: Manifest, request: ScheduleRequest) -> None:
    where = f"the namespace {there['metadata'].get('namespace')}"
    if not _is_ours(there):
        raise KubernetesError(
            f"There is a CronJob {request.name} in {where}, and it is not one of this collection. It was left as it is: give this one another name, "
            "or delete that one."
        )
    server = (there["metadata"].get("annotations") or {}).get(names.SERVER_NAME)
    if server != request.run.server_name:
        raise KubernetesError(
            f"The CronJob {request.name} in {where} backs up the server {server}, not {request.run.server_name}: taking its name would end its "
            "backups. Give this one a name of its own."
        )
