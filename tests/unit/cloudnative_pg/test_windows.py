# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a status claims, beside what the store has; and ScheduledBackups by theirs."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import windows
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.windows import SaidWindow, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.status.cnpg_schedules import (
    every,
    misread,
    of_scheduled,
)

NOW = datetime.datetime(2026, 11, 26, 16, 0, tzinfo=datetime.timezone.utc)
NIGHT, DAY = "2026-11-25T02:00:00Z", "2026-11-26T02:00:00Z"


def test_whose_status() -> None:
    """In-tree it is the Cluster's; the plugin's is its ObjectStore's, by the server's name."""
    cluster = {
        "metadata": {"name": "shop"},
        "status": {"firstRecoverabilityPoint": NIGHT, "lastSuccessfulBackup": "2026-11-26T03:00:00+01:00"},
    }
    assert windows.of_cluster(cluster) == SaidWindow("the Cluster shop", NIGHT, DAY, None)
    status = {"serverRecoveryWindow": {"shop": {"lastFailedBackupTime": DAY}}}
    store = {"metadata": {"name": "s"}, "status": status}
    assert windows.of_object_store(store, "shop").last_failure == DAY
    assert windows.of_object_store(store, "another") == SaidWindow("the ObjectStore s")
    assert windows.of_object_store({"metadata": {"name": "s"}}, "shop").first is None


@pytest.mark.parametrize(
    ("said", "first", "last", "told"),
    [
        (SaidWindow("x", NIGHT, DAY), NIGHT, DAY, []),
        (SaidWindow("x", NIGHT, DAY), DAY, DAY, ["nothing before 2026-11-26T02:00:00Z can be reached"]),
        (SaidWindow("x", NIGHT, DAY), None, None, ["nothing can be reached", "is none"]),
        (SaidWindow("x", NIGHT, DAY), NIGHT, NIGHT, ["is of 2026-11-25T02:00:00Z"]),
        (SaidWindow("x"), NIGHT, DAY, ["says of none"]),
        (SaidWindow("x"), "2026-11-26T15:55:00Z", "2026-11-26T15:55:00Z", []),
        (SaidWindow("x"), None, None, []),
        (SaidWindow("x", NIGHT, NIGHT), NIGHT, DAY, []),
        (SaidWindow("x", NIGHT, NIGHT, DAY), NIGHT, NIGHT, ["The last backup failed"]),
        (SaidWindow("x", NIGHT, DAY, NIGHT), NIGHT, DAY, []),
    ],
)
def test_beside_the_store(said: SaidWindow, first: str | None, last: str | None, told: list[str]) -> None:
    """A claim that goes further than the store; a status that stays empty, as the Cluster's with the plugin; one that is only behind is well."""
    found = compare(said, first, last, NOW)
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found))


def scheduled(
    schedule: str = "0 0 2 * * *", next_run: str | None = "2026-11-27T02:00:00Z", suspend: bool = False, error: str = ""
) -> dict[str, Any]:
    status = {"nextScheduleTime": next_run} if next_run else {}
    return {
        "metadata": {"name": "nightly"},
        "spec": {"schedule": schedule, "cluster": {"name": "shop"}, "suspend": suspend},
        "status": {**status, "error": error},
    }


def backup(number: int, phase: str, parent: str = "nightly") -> dict[str, Any]:
    labels = {"cnpg.io/scheduled-backup": parent}
    return {"metadata": {"name": f"b{number}", "labels": labels}, "status": {"phase": phase, "error": "no space"}}


def test_a_schedule_that_runs() -> None:
    found = of_scheduled(scheduled(), [backup(1, "failed"), backup(2, "completed")], NOW)
    assert found.describe() == {
        "name": "nightly", "by": "ScheduledBackup nightly (0 0 2 * * *, UTC)", "next_run": "2026-11-27T02:00:00Z",
        "failed": None, "idle": None, "missed": None,
    }  # fmt: skip
    assert found.every == 86400


@pytest.mark.parametrize(
    ("given", "backups", "field", "said"),
    [
        (scheduled(suspend=True), [], "idle", "suspended"),
        (scheduled(next_run="2026-11-26T02:00:00Z"), [], "missed", "at 2026-11-26T02:00:00Z"),
        (scheduled(), [backup(1, "completed"), backup(2, "failed")], "failed", "b2: no space"),
        (scheduled(), [backup(1, "failed"), backup(2, "running")], "failed", "b1: no space"),
        (scheduled(error="no such cluster"), [], "failed", "no such cluster"),
    ],
)
def test_one_that_does_not(given: dict[str, Any], backups: list[dict[str, Any]], field: str, said: str) -> None:
    assert said in str(of_scheduled(given, backups, NOW).describe()[field])


def test_one_of_somebody_else_or_just_begun_or_late_by_a_little() -> None:
    late = scheduled(next_run="2026-11-26T15:58:00Z")
    assert of_scheduled(late, [backup(1, "failed", parent="another")], NOW).describe()["failed"] is None
    assert of_scheduled(late, [], NOW).missed is None
    assert of_scheduled(scheduled(next_run=None), [], NOW).next_run is None


@pytest.mark.parametrize(
    ("calendar", "seconds"),
    [("0 30 */6 * * *", 21600), ("@daily", 86400), ("30 2 * * *", 3600), ("@every 1h", None), ("every night", None)],
)
def test_how_often(calendar: str, seconds: int | None) -> None:
    assert every(calendar, NOW) == seconds


def test_five_fields_are_another_calendar_there() -> None:
    """The operator's parser takes the first for seconds: what was to run each night runs each hour."""
    assert "second 30 of minute 2, in the hours *" in str(misread(scheduled("30 2 * * *")))
    assert misread(scheduled("0 30 2 * * *")) is None and misread(scheduled("@daily")) is None
