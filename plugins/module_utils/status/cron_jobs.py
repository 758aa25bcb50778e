# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the cluster backs the server up next, how the last run of each schedule ended, and whether runs were missed: read from CronJobs, their Jobs
and pods. A CronJob says nothing of its own when its controller is away, when it is suspended, or when each of its runs fails."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import follow, job as jobs
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.calendar import Calendar
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.own_objects import of_server, selector
from ansible_collections.holdfast.postgres.plugins.module_utils.status.deployments import of_deployment
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time

#: seconds after its moment at which a run that did not begin is missed
_LATE = 300
#: beyond so many missed ones the controller begins none without startingDeadlineSeconds (kubernetes.io, "CronJob")
_MOST = 100


def look(cluster: Cluster, server_name: str, now: datetime.datetime) -> list[Schedule]:
    """The schedules of a server in the namespace, and what receives its WAL there. Raises KubernetesError."""
    crons, receivers = (of_server(cluster, kind, server_name) for kind in ("CronJob", "Deployment"))
    if not crons and not receivers:
        return []
    its_jobs, pods = (cluster.list(kind, selector(server_name)) for kind in ("Job", "Pod"))
    schedules = [of_cron_job(one, its_jobs, pods, now) for one in crons]
    return schedules + [of_deployment(one, pods) for one in receivers]


def of_cron_job(
    cron: Manifest, all_jobs: Sequence[Manifest], pods: Sequence[Manifest], now: datetime.datetime
) -> Schedule:
    """One schedule, by what there is of it (pure)."""
    name, namespace = cron["metadata"]["name"], cron["metadata"].get("namespace")
    its_jobs = sorted(
        (one for one in all_jobs if _is_of(one, cron)), key=lambda one: str(one["metadata"].get("creationTimestamp"))
    )
    spec = cron["spec"]
    by = f"CronJob {name} in {namespace} ({spec['schedule']}, {spec.get('timeZone') or 'the zone of its controller'})"
    failed = _failed(its_jobs, pods)
    try:
        calendar = Calendar.parse(spec["schedule"], spec.get("timeZone") or "Etc/UTC")
    except BadOption as exc:
        return Schedule(name, by, None, failed, f"its calendar cannot be read ({exc})", in_cluster=True)
    if spec.get("suspend"):
        return Schedule(name, by, None, failed, "it is suspended", in_cluster=True)
    if calendar.zone is None:
        unknown = f"whether runs were missed is not known: this host does not know the time zone {spec['timeZone']} (install tzdata)"
        return Schedule(name, by, None, failed, None, None, unknown, in_cluster=True)
    every = calendar.fields.longest_gap(now) if _makes_backups(cron) else None
    return Schedule(name, by, calendar.next(now), failed, None, every, _missed(cron, calendar, now), in_cluster=True)


def _makes_backups(cron: Manifest) -> bool:
    pod = ((cron["spec"].get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    containers = (pod.get("spec") or {}).get("containers") or []
    return any("holdfast.postgres.backup" in (one.get("args") or ()) for one in containers)


def _is_of(one: Manifest, cron: Manifest) -> bool:
    return any(
        owner.get("uid") == cron["metadata"].get("uid") for owner in one["metadata"].get("ownerReferences") or ()
    )


def _failed(its_jobs: Iterable[Manifest], pods: Sequence[Manifest]) -> Optional[str]:
    """How the last run that ended did so badly; None: it did not."""
    over = [one for one in its_jobs if jobs.finished(one)]
    if not over:
        return None
    last = over[-1]
    name = last["metadata"]["name"]
    of_it = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(follow.OF_JOB) == name]
    try:
        follow.ended(last, of_it)
    except HoldfastError as exc:
        # A Job that ended well stays longer than its pod may.
        return None if jobs.finished(last) == "Complete" and not of_it else f"Job {name}: {exc}"
    return None


def _missed(cron: Manifest, calendar: Calendar, now: datetime.datetime) -> Optional[str]:
    status = cron.get("status") or {}
    since = status.get("lastScheduleTime") or cron["metadata"].get("creationTimestamp")
    if not since:
        return None
    began = parse_time(str(since), "lastScheduleTime")
    until = now - datetime.timedelta(seconds=_LATE)
    count = sum(1 for _one in islice(takewhile(lambda moment: moment <= until, calendar.after(began)), _MOST + 1))
    if not count:
        return None
    what = (
        f"{count} runs were" if 1 < count <= _MOST else "one run was" if count == 1 else f"more than {_MOST} runs were"
    )
    active = [str(one.get("name")) for one in status.get("active") or ()]
    if active:
        return f"{what} left out since {format_time(began)}, as the run {active[0]} is not over"
    limit = (
        ""
        if cron["spec"].get("startingDeadlineSeconds")
        else "; without startingDeadlineSeconds it may never begin again"
    )
    return f"{what} missed since {format_time(began)}" + (limit if count > _MOST else "")
