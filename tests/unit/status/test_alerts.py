# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a state that is not well and is called ok. Members: each thing that can be wrong or unknown, by table."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.status import alerts
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import Alert
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered, TierStatus
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule
from lab.records import lay

from .test_health import backup

OLD, NEW = backup("old", 30), backup("new", 2)


def found(**changes: Any) -> Gathered:
    tiers = [TierStatus("disk", "/b", 2, 1), TierStatus("s3", "s3://b", 2, 1)]
    where = {"old": ["disk", "s3"], "new": ["disk", "s3"]}
    return Gathered(**{"tiers": tiers, "records": {"old": OLD, "new": NEW}, "where": where, **changes})


def health(good: Any = NEW, overdue: Optional[bool] = False, damaged: Optional[dict[str, str]] = None) -> Health:
    return Health(good, good.stopped_at if good else None, overdue, damaged or {}, [])


def codes(made: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.severity, alert.code) for alert in made]


@pytest.mark.parametrize(
    "there, judged, expected",
    [
        (found(), health(), []),
        (found(), health(overdue=None), []),
        (found(), health(overdue=True), [("critical", "overdue")]),
        (found(records={}, where={}), health(None), [("critical", "no_backup")]),
        (found(), health(None), [("critical", "no_backup")]),
        (found(), health(OLD, damaged={"new": "x is missing"}), [("critical", "damaged")]),
        (found(lost={"older": "older cannot be restored"}), health(), [("critical", "damaged")]),
        (found(), health(OLD), [("warning", "newest")]),
        (found(where={"old": ["disk", "s3"], "new": ["disk"]}), health(), [("warning", "missing_copy")]),
        (found(hurt={("new", "s3"): "base.tar is missing"}), health(), [("warning", "damaged_copy")]),
        (found(where={"old": ["pgbackrest"], "new": ["pgbackrest"]}), health(), []),
        (
            found(tiers=[TierStatus("disk", "/b"), TierStatus("s3", "s3://b", error="no route")]),
            health(),
            [("critical", "unreadable")],
        ),
        (
            found(tiers=[TierStatus("disk", "/b", problems=["a manifest is cut"])], where={"new": ["disk"]}),
            health(),
            [("warning", "manifest")],
        ),
        (
            found(tiers=[TierStatus("disk", "/b", lock={"dead": True})], where={"new": ["disk"]}),
            health(),
            [("warning", "dead_lock")],
        ),
        (found(tiers=[TierStatus("disk", "/b", lock={"dead": False})], where={"new": ["disk"]}), health(), []),
        (found(unread=["pgbackrest cannot be looked into"]), health(), [("warning", "unread")]),
    ],
)
def test_backups(there: Gathered, judged: Health, expected: list[tuple[str, str]]) -> None:
    assert codes(alerts.of_backups(there, judged)) == expected


SLOT = {"name": "s", "active": False, "wal_status": "reserved", "held_bytes": 5 << 30}


@pytest.mark.parametrize(
    "wal, archiver, expected",
    [
        (None, None, []),
        ({"findings": [{"level": "fine", "code": "x", "text": "y"}]}, {"failing": False, "slots": []}, []),
        ({"findings": [{"level": "error", "code": "gap", "text": "y"}]}, None, [("critical", "wal_gap")]),
        (
            {"findings": [{"level": "warning", "code": "gap", "text": "y"}], "problems": ["z"]},
            None,
            [("warning", "wal_gap"), ("warning", "wal_unread")],
        ),
        (None, {"failing": True, "failing_since": None}, [("critical", "archiving_fails")]),
        (None, {"slots": [SLOT]}, [("warning", "slot")]),
        (None, {"slots": [{**SLOT, "active": True}, {**SLOT, "held_bytes": None}]}, []),
        (None, {"slots": [{**SLOT, "wal_status": "lost"}]}, [("critical", "slot_lost")]),
    ],
)
def test_wal(wal: Any, archiver: Any, expected: list[tuple[str, str]]) -> None:
    assert codes(alerts.of_archive(wal, archiver)) == expected


def test_schedules() -> None:
    bad = [
        Schedule("a", "a.timer", failed="exit-code, exit status 2"),
        Schedule("b", "b.timer", idle="its timer is not started"),
    ]
    assert codes(alerts.of_schedules(bad)) == [("critical", "run_failed"), ("critical", "never_runs")]
    assert alerts.of_schedules([Schedule("c", "c.timer")]) == []


def test_the_worst_counts() -> None:
    warning, critical = Alert("warning", "a", ""), Alert("critical", "b", "")
    assert alerts.level([]) == "ok"
    assert alerts.level([warning]) == "warning"
    assert alerts.level([critical, warning]) == "critical"
    assert alerts.no_answer("All", "no route").severity == "critical"


def test_a_copy_that_is_damaged_in_one_place_is_told(tmp_path: Path) -> None:
    shelves = {}
    for name in ("disk", "other"):
        (tmp_path / name).mkdir()
        shelves[name] = Shelf(FileRepository(str(tmp_path / name)), "main")
        record = lay(shelves[name], "b", datetime.datetime.now(datetime.timezone.utc))
    gathered = Gathered(where={"b": ["disk", "other"]}, shelves=shelves)
    (tmp_path / "other/main/b/databases/shop.dump").unlink()
    assert gathered.damage(record) is None
    assert gathered.hurt == {("b", "other"): "databases/shop.dump is missing"}
    (tmp_path / "disk/main/b/databases/shop.dump").unlink()
    assert gathered.damage(record) == "databases/shop.dump is missing"
