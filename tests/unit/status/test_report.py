# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report gathers of one server: what can be brought back, what retention would take, and what of evidence can be believed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered, TierStatus
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.status.report import (
    _drills,
    evidence_of,
    reach,
    would_go,
)

from .test_rules import DAY, NOW, backup, iso

SEGMENT = "000000010000000000000002"


def gathered(*records: Record, **more: Any) -> Gathered:
    return Gathered(
        records={one.id: one for one in records}, where={one.id: ["disk"] for one in records}, **more
    )  # fmt: skip


def archive(*stretches: dict[str, Any], age: Any = 40) -> dict[str, Any]:
    return {
        "windows": [{"timeline": 1, "stretches": list(stretches)}],
        "last_segment": SEGMENT,
        "last_segment_age": age,
    }


def part(end: Any, last: str = SEGMENT, missing: Any = None) -> dict[str, Any]:
    return {"start": iso(DAY), "end": end, "last_segment": last, "missing": missing}


WINDOW = {"kind": "window", "start": iso(DAY), "end": iso(60), "end_by": "commit", "gap": None, "earlier": 0}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (gathered(), {"kind": "nothing"}),
        (gathered(tiers=[TierStatus("disk", "/b", error="no route")]), {"kind": "unknown"}),
        (gathered(unread=["What the archive makes reachable is not known"]), {"kind": "unknown"}),
        (gathered(backup("b", 10, engine="pg_dump", verified_at=None)), {"kind": "nothing"}),
        (gathered(backup("b", 10, engine="kubernetes_objects")), {"kind": "nothing"}),
        (gathered(backup("b", 10), failed={("b", "disk"): "its sum"}), {"kind": "nothing"}),
        (gathered(backup("a", DAY), backup("b", 10)),
         {"kind": "backups", "count": 2, "start": iso(DAY), "end": iso(10), "wal": False, "wal_unread": False}),
        (gathered(backup("b", 10), wal={"windows": [], "last_segment": SEGMENT}),
         {"kind": "backups", "count": 1, "start": iso(10), "end": iso(10), "wal": True, "wal_unread": False}),
        (gathered(backup("b", DAY), wal=archive(part(iso(60)))), WINDOW),
        (gathered(backup("b", DAY), wal=archive(part(None))), {**WINDOW, "end": iso(40), "end_by": "arrival"}),
        (gathered(backup("b", DAY), wal=archive(part(None), age=None)), {**WINDOW, "end": None, "end_by": None}),
        (gathered(backup("b", DAY), wal=archive(part(None, last="another"))), {**WINDOW, "end": None, "end_by": None}),
        (gathered(backup("b", DAY), wal=archive(part(iso(DAY)), part(iso(60), missing={"segments": 1}))), {**WINDOW, "gap": {"segments": 1}, "earlier": 1}),
    ],
)  # fmt: skip
def test_what_can_be_brought_back(found: Gathered, expected: dict[str, Any]) -> None:
    health = judge(found.records.values(), None, NOW, lambda record: None, (), found.failures())
    assert reach(found, health, NOW) == expected


def test_what_retention_would_take() -> None:
    records = [backup(f"b{day}", day * DAY) for day in range(5)]
    found = gathered(*records)
    assert set(would_go(records, Policy.from_option({"keep_last": 2}), found, "disk", NOW)) == {"b2", "b3", "b4"}
    assert would_go(records, Policy.from_option(None), found, "disk", NOW) == {}
    # A bad one displaces no good one, where it is bad.
    found.failed["b0", "disk"] = "its sum"
    assert "b2" not in would_go(records, Policy.from_option({"keep_last": 2}), found, "disk", NOW)
    assert "b2" in would_go(records, Policy.from_option({"keep_last": 2}), found, "s3", NOW)


def test_evidence_that_was_changed_or_removed_proves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(FileRepository(str(tmp_path)), "db1")
    at = datetime.datetime(2026, 11, 20, tzinfo=datetime.timezone.utc)
    for number in range(4):
        content = {
            "format": 1, "verdict": "pass", "backup": {"id": "b1"}, "measured": {"rto_seconds": 7}, "checks": [], "phases": [], "assertions": [],
        }  # fmt: skip
        stamp = (at + datetime.timedelta(days=number)).strftime("%Y%m%dT%H%M%SZ")
        evidence.write(shelf, content, stamp, lambda sealed: "", None, [])
    rows, chain = _drills("disk", shelf, 12)
    assert [row["proves"] for row in rows] == [True] * 4 and not chain and rows[0]["evidence"]["rto_seconds"] == 7
    files = sorted((tmp_path / "db1/_drills").glob("*.json"))
    said = json.loads(files[3].read_text())
    files[3].write_text(json.dumps({**said, "measured": {"rto_seconds": 1}}))
    files[1].unlink()
    rows, chain = _drills("disk", shelf, 12)
    assert [row["proves"] for row in rows] == [True, True, False]
    assert "was changed" in rows[2]["wrong"] and rows[2]["evidence"] is None
    assert any("number 2" in line for line in chain) and any("was changed" in line for line in chain)
    # Of those whose evidence is not read the names tell.
    assert [row["evidence"] for row in _drills("disk", shelf, 0)[0]] == [None] * 3


@pytest.mark.parametrize("strange", [None, "text", 7, [], {}, [7], {"a": 1}, True])
def test_evidence_of_any_shape(strange: Any) -> None:
    names = (
        "measured",
        "objectives",
        "host",
        "target",
        "reasons",
        "notes",
        "phases",
        "checks",
        "assertions",
        "id",
        "operator",
        "sha256",
    )
    found = evidence_of({name: strange for name in names})
    assert found["rto_seconds"] is None and found["objectives"] == {"rto": None, "rpo": None}
    assert all(isinstance(one, str) for one in found["reasons"]) and all(
        isinstance(one, dict) for one in found["checks"]
    )
    assert evidence_of({"checks": [{"ok": "yes", "name": ["x"]}]})["checks"][0] == {
        "name": "['x']", "scope": None, "expected": None, "found": None, "ok": None, "detail": None,
    }  # fmt: skip
