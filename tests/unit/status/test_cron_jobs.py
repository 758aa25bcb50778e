# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a schedule of the cluster that does not run, and nobody says so. Members: suspended, its last run failed, its controller away for one
run and for more than a hundred, a run that never ends and keeps the others out, a calendar that cannot be read."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import of_schedules
from ansible_collections.holdfast.postgres.plugins.module_utils.status.cron_jobs import of_cron_job

NOW = datetime.datetime(2026, 11, 26, 5, 0, tzinfo=datetime.timezone.utc)


def cron(last: str | None = "2026-11-26T02:30:00Z", active: str = "", **spec: Any) -> dict[str, Any]:
    status = {
        key: value
        for key, value in {"lastScheduleTime": last, "active": [{"name": active}] if active else None}.items()
        if value
    }
    metadata = {"name": "nightly", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-11-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"schedule": "30 2 * * *", "timeZone": "Etc/UTC", **spec}, "status": status}


def job(name: str, how: str | None, created: str) -> dict[str, Any]:
    conditions = [{"type": how, "status": "True", "reason": "PodFailurePolicy"}] if how else []
    metadata = {"name": name, "creationTimestamp": created, "ownerReferences": [{"uid": "u"}]}
    return {"metadata": metadata, "status": {"conditions": conditions}}


def pod(of: str, **said: Any) -> dict[str, Any]:
    message = json.dumps({"holdfast": 1, **said})
    state = {"terminated": {"exitCode": 0 if said["status"] == "ok" else 2, "message": message}}
    metadata = {"name": f"{of}-x", "labels": {"batch.kubernetes.io/job-name": of}}
    return {"kind": "Pod", "metadata": metadata, "status": {"phase": "Failed", "containerStatuses": [{"state": state}]}}


def test_one_that_is_well() -> None:
    found = of_cron_job(cron(), [job("a", "Complete", "1")], [pod("a", status="ok", line="Backup made.")], NOW)
    assert found.next_run == datetime.datetime(2026, 11, 27, 2, 30, tzinfo=datetime.timezone.utc)
    assert (found.failed, found.idle, found.missed) == (None, None, None) and of_schedules([found]) == []
    # Its pod may be gone: the Job says that it ended well.
    assert of_cron_job(cron(), [job("a", "Complete", "1")], [], NOW).failed is None


def test_the_last_run_counts() -> None:
    bad, good = job("a", "Failed", "1"), job("b", "Complete", "2")
    pods = [pod("a", status="failed", line="The disk is full."), pod("b", status="ok", line="ok")]
    assert of_cron_job(cron(), [bad, good, job("c", None, "3")], pods, NOW).failed is None
    found = of_cron_job(cron(), [bad], pods, NOW)
    assert "The disk is full." in str(found.failed)
    (alert,) = of_schedules([found])
    assert alert.severity == "critical" and "from_cron_job: nightly" in str(alert.remedy)
    # Another one's Job is none of it.
    other = {**bad, "metadata": {**bad["metadata"], "ownerReferences": [{"uid": "v"}]}}
    assert of_cron_job(cron(), [other], pods, NOW).failed is None


@pytest.mark.parametrize(
    ("made", "idle", "missed"),
    [
        (cron(suspend=True), "suspended", None),
        (cron(schedule="61 2 * * *"), "calendar", None),
        (cron("2026-11-25T02:30:00Z"), None, "one run was missed since 2026-11-25T02:30:00Z"),
        (cron("2026-11-20T02:30:00Z"), None, "6 runs were missed"),
        (cron(None), None, "26 runs were missed"),
        (cron("2026-11-25T02:30:00Z", schedule="*/5 * * * *"), None, "more than 100 runs were missed .* never begin again"),
        (cron("2026-11-25T02:30:00Z", schedule="*/5 * * * *", startingDeadlineSeconds=60), None, "more than 100 runs were missed since 2026-11-25T02:30:00Z$"),
        (cron("2026-11-20T02:30:00Z", active="nightly-1"), None, "left out .* nightly-1 is not over"),
        (cron(timeZone="Mars/Phobos"), None, "not known: this host does not know the time zone Mars/Phobos"),
        # It may still begin.
        (cron("2026-11-26T02:30:00Z", schedule="58 4 * * *"), None, None),
    ],
)  # fmt: skip
def test_one_that_does_not_run(made: dict[str, Any], idle: str | None, missed: str | None) -> None:
    import re

    found = of_cron_job(made, [], [], NOW)
    assert (found.idle is None) == (idle is None) and re.search(idle or "", found.idle or "")
    assert (found.missed is None) == (missed is None) and re.search(missed or "", found.missed or ""), found.missed
    assert len(of_schedules([found])) == bool(idle or missed)
