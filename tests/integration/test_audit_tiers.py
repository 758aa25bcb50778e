# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: one place looked at, all called well. Members: a gap in the second tier's WAL, a tier that cannot be read, one with backups and no WAL at
all, WAL that goes in one tier alone. Found: the audit and the facts looked at the first store only, so that a gap in the far one, the one that is
left when the near one burns, was seen by nobody, and its WAL was never removed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab import segments
from lab.answers import ok, refused, warned
from lab.playbooks import CHECKOUT, run_module, run_playbook
from lab.records import lay

SEGMENTS = range(3, 10)
SIZE = 1 << 24


@pytest.fixture
def tiers(tmp_path: Path) -> list[dict[str, Any]]:
    """Two directories with the same backup and the same WAL, 3 to 9."""
    for name in ("near", "far"):
        wal = tmp_path / name / "shop" / "_wal"
        wal.mkdir(parents=True)
        for number in SEGMENTS:
            (wal / segments.name(number, size=SIZE)).write_bytes(b"names are all that is read")
        shelf = Shelf(FileRepository(str(tmp_path / name)), "shop")
        now = datetime.datetime.now(datetime.timezone.utc)
        lay(shelf, "b1", now, kind="full", engine="pg_basebackup", lsn="0/5000100")
    return [{"name": name, "path": str(tmp_path / name)} for name in ("near", "far")]


def codes(found: dict[str, Any], tier: str) -> set[tuple[str, str]]:
    return {(one["level"], one["code"]) for one in found["findings"] if one["tier"] == tier}


def test_each_tier_is_audited_by_itself(tiers: list[dict[str, Any]], tmp_path: Path) -> None:
    given = {"repositories": tiers, "server_name": "shop"}
    well = ok(run_module("wal_audit", given))
    assert {window["tier"] for window in well["windows"]} == {"near", "far"} and well["looked_at"] == 14
    assert {level for tier in ("near", "far") for level, _code in codes(well, tier)} == {"fine"}
    planned = ok(run_module("wal_audit", {**given, "remove": True}, check=True))
    done = ok(run_module("wal_audit", {**given, "remove": True}))
    assert planned["removed"] == done["removed"] and {one["tier"] for one in done["removed"]} == {"near", "far"}
    assert not ok(run_module("wal_audit", {**given, "remove": True}))["changed"]
    (gone,) = (tmp_path / "far" / "shop" / "_wal").glob("*07*")
    gone.unlink()
    hurt = ok(run_module("wal_audit", given))
    assert any(level == "error" for level, _code in codes(hurt, "far")) and codes(hurt, "near") == codes(well, "near")
    refused(run_module("wal_audit", {**given, "strict": True}), "far: ")
    facts = ok(run_module("backup_facts", given))["ansible_facts"]["holdfast_backups"]["wal"]
    assert any(one["level"] == "error" and one["tier"] == "far" for one in facts["findings"]), facts
    assert [one["tier"] for one in facts["archives"]] == ["near", "far"]


def test_a_tier_that_is_away_and_one_without_wal(tiers: list[dict[str, Any]], tmp_path: Path) -> None:
    """What can be read is audited, and what cannot is no silence. Where nothing can be, that is an error."""
    (tmp_path / "file").touch()
    away = {"name": "away", "path": str(tmp_path / "file")}
    for wal in (tmp_path / "far" / "shop" / "_wal").iterdir():
        wal.unlink()
    (tmp_path / "far" / "shop" / "_wal").rmdir()
    found = ok(run_module("wal_audit", {"repositories": [*tiers, away], "server_name": "shop"}))
    assert ("error", "unread") in codes(found, "away") and ("warning", "no_wal") in codes(found, "far")
    assert found["findings"][0]["level"] == "error" and {level for level, _code in codes(found, "near")} == {"fine"}
    refused(run_module("wal_audit", {"repositories": [away, tiers[1]], "server_name": "shop"}), "away: ")
    refused(run_module("wal_audit", {"repositories": tiers, "server_name": "other"}), "other/_wal", "near", "far")


def test_a_copy_leaves_wal_where_it_is_and_says_so(tiers: list[dict[str, Any]], tmp_path: Path) -> None:
    """It copied the backups without their WAL and without a word, and deleted the ones that led into it."""
    (tmp_path / "copy").mkdir()
    source, target = {"path": tiers[0]["path"]}, {"path": str(tmp_path / "copy")}
    given = {"source": source, "target": target, "server_name": "shop"}
    for check in (True, False):
        refused(run_module("backup_copy", {**given, "delete_source": True}, check=check), "shop/_wal", "what: prefix")
        assert "shop/_wal" in warned(run_module("backup_copy", given, check=check))
    assert "shop/_wal" in warned(run_module("backup_copy", given))  # also when nothing is left to do
    whole = {"source": source, "target": {"path": str(tmp_path / "whole")}, "what": "prefix"}
    (tmp_path / "whole").mkdir()
    moved = ok(run_module("backup_copy", whole))
    assert any("_wal/" in key for key in moved["copied"])


@pytest.mark.extended
def test_by_the_role(tiers: list[dict[str, Any]], tmp_path: Path) -> None:
    (gone,) = (tmp_path / "far" / "shop" / "_wal").glob("*07*")
    gone.unlink()
    given = {"holdfast_repositories": tiers, "holdfast_server_name": "shop", "holdfast_audit_canary": False}
    run = run_playbook(CHECKOUT / "playbooks" / "audit.yml", given)
    assert run.returncode != 0 and "far: " in run.stdout
