# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: backups that do not stand well, and a play that ends green.

Members: well; none; one tier away; an object missing; the server down; nothing readable; check mode; a workflow's artifacts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lab.playbooks import CHECKOUT, PlaybookResult, run_playbook
from lab.servers import Server

from .test_playbooks import play, variables


def status(given: dict[str, Any], *options: str) -> PlaybookResult:
    return run_playbook(CHECKOUT / "playbooks/status.yml", given, *options)


def said(run: PlaybookResult) -> dict[str, Any]:
    result: dict[str, Any] = run.of("holdfast.postgres.backup_status")[0]
    return result


def test_a_screen_a_server(pg15: Server, tmp_path: Path) -> None:
    given = variables(pg15, tmp_path)
    del given["holdfast_repository"]
    given["holdfast_repositories"] = [{"name": name, "path": str(tmp_path / name)} for name in ("disk", "nfs")]
    for name in ("disk", "nfs"):
        (tmp_path / name).mkdir(mode=0o700)
    given["holdfast_status_schedule_dir"] = str(tmp_path / "none")
    nothing = status(given)
    assert nothing.returncode and said(nothing)["status"] == "critical"
    assert "There is no backup." in nothing.stdout
    made = play("backup", {**given, "holdfast_backup_databases": ["postgres"]})
    assert "verified" in made.stdout and " stored, " in made.stdout and "in disk and nfs" in made.stdout
    well = status(given, "-e", "holdfast_status_expected_every=1h")
    assert well.returncode == 0, well.stdout
    found = said(well)
    assert (found["status"], found["count"], found["alerts"]) == ("ok", 1, [])
    assert found["summary"].startswith("db1: 1 backup, the newest good one of ")
    assert "in disk and nfs, verified" in found["summary"] and found["summary"].endswith("; no warnings")
    assert found["backups"][0]["tiers"] == ["disk", "nfs"]
    assert not well.changed
    checked = status(given, "--check", "--diff")
    assert checked.returncode == 0 and said(checked)["lines"][1].split(" of ")[0] == found["lines"][1].split(" of ")[0]
    (only,) = (tmp_path / "nfs").glob("db1/*Z-*")
    shutil.move(only, tmp_path / "moved")
    doubtful = status(given)
    assert doubtful.returncode == 0 and said(doubtful)["status"] == "warning"
    assert status({**given, "holdfast_status_fail_on": "warning"}).returncode
    shutil.rmtree(tmp_path / "nfs")
    away = status(given)
    assert away.returncode and said(away)["status"] == "critical" and "What nfs has is not known" in away.stdout
    shutil.rmtree(tmp_path / "disk")
    unknown = status({**given, "holdfast_status_fail_on": "never"})
    assert unknown.returncode == 0 and said(unknown)["count"] is None
    assert "How many backups there are is not known" in unknown.stdout


def test_what_is_damaged_and_who_does_not_answer(pg15: Server, tmp_path: Path) -> None:
    given = {**variables(pg15, tmp_path), "holdfast_status_schedule_dir": str(tmp_path / "none")}
    play("backup", {**given, "holdfast_backup_databases": ["postgres"]})
    deaf = status({**given, "holdfast_login_port": 1})
    assert deaf.returncode and "Whether the server archives is not known" in deaf.stdout
    assert said(deaf)["count"] == 1
    (dump,) = tmp_path.glob("db1/*/databases/*")
    dump.unlink()
    broken = status({**given, "holdfast_status_archiving": "false"})
    assert broken.returncode and said(broken)["last_good"] is None
    assert "none of them good" in broken.stdout
