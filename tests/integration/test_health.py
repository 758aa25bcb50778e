# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: backups that do not stand well, and nobody is told. Members: well; too old; failed its verification; one copy; a store that is away; a rule that is
misspelt; by the playbook, whose exit status says it. (Each rule: unit/status/test_rules.)"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.answers import ok, refused
from lab.fault import flip_byte
from lab.playbooks import CHECKOUT, PlaybookResult, run_module, run_playbook
from lab.records import lay


def codes(done: dict[str, Any]) -> dict[str, str]:
    return {alert["code"]: alert["severity"] for alert in done["alerts"]}


def test_by_the_module(tmp_path: Path) -> None:
    for name in ("disk", "nfs"):
        (tmp_path / name).mkdir()
        shelf = Shelf(FileRepository(str(tmp_path / name)), "db1")
        lay(shelf, "b1", datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=20))
    tiers = [{"name": name, "path": str(tmp_path / name)} for name in ("disk", "nfs")]
    given: dict[str, Any] = {"repositories": tiers, "server_name": "db1", "rules": {"encrypted": False, "space": False}}
    well = ok(run_module("backup_health", given))
    assert codes(well) == {"copies": "warning"} and "go together" in well["alerts"][0]["text"], well["lines"]
    assert well["status"] == "warning" and not well["changed"] and well["lines"][0] == "db1: warning, 1 warning"
    given["rules"]["copies"] = False
    assert ok(run_module("backup_health", {**given, "fail_on": "warning"}))["status"] == "ok"
    old = run_module("backup_health", {**given, "expected_every": "10h", "fail_on": "critical"})
    assert old.failed and "Newest good backup" in old.msg and codes(old.result) == {"newest_backup": "critical"}
    refused(run_module("backup_health", {**given, "rules": {"newest_backups": False}}), "Did you mean newest_backup")
    flip_byte(tmp_path / "nfs/db1/b1/databases/shop.dump")
    assert run_module(
        "backup_verify", {"repositories": tiers, "server_name": "db1", "level": "checksum", "full": True}
    ).failed
    failed = ok(run_module("backup_health", given))
    assert codes(failed)["failed_verification"] == "critical" and "b1 in nfs" in failed["lines"][1]
    (tmp_path / "nfs").rename(tmp_path / "away")
    assert codes(ok(run_module("backup_health", given)))["unreadable"] == "critical"
    (tmp_path / "disk").rename(tmp_path / "gone")
    assert codes(ok(run_module("backup_health", given))) == {"no_answer": "critical"}


def test_by_the_playbook(tmp_path: Path) -> None:
    lay(
        Shelf(FileRepository(str(tmp_path)), "db1"),
        "b1",
        datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3),
    )
    given: dict[str, Any] = {
        "holdfast_repository": {"path": str(tmp_path)}, "holdfast_server_name": "db1", "holdfast_health_archiving": False,
        "holdfast_health_schedule_dir": str(tmp_path / "none"),
    }  # fmt: skip

    def health(**more: Any) -> PlaybookResult:
        return run_playbook(CHECKOUT / "playbooks/health.yml", {**given, **more})

    bad = health()
    assert (
        bad.returncode
        and "CRITICAL  Newest good backup" in bad.stdout
        and "Look at the last runs of backup." in bad.stdout
    )
    rules = {"newest_backup": {"max_age": "7d"}, "space": False}
    doubtful = health(holdfast_health_rules=rules)
    assert doubtful.returncode == 0 and "WARNING  Encryption" in doubtful.stdout, doubtful.stdout
