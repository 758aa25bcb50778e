# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""extensions/eda in a real ansible-rulebook: its conditions and throttles. The alerts come from a source that it ships, in the shape that
ansible.eda.alertmanager gives them (that collection is on Galaxy alone), and a job template is printed in place of being run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.playbooks import CHECKOUT

PROGRAM = CHECKOUT / ".work/venv-eda/bin/ansible-rulebook"


def alert(name: str, server: str = "db1", status: str = "firing") -> dict[str, Any]:
    labels = {"alertname": name, "server_name": server, "severity": "critical", "instance": f"{server}:9100"}
    return {"alert": {"labels": labels, "status": status}, "meta": {"hosts": [server]}}


@pytest.mark.extended
@pytest.mark.skipif(not PROGRAM.exists(), reason="ansible-rulebook is not installed (make .work/venv-eda/.installed)")
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java")
def test_alerts_start_what_they_may(tmp_path: Path) -> None:
    """Members: the same alert twice, the same of another server, one that is over, one of somebody else, each rule."""
    rulebook = yaml.safe_load((CHECKOUT / "extensions/eda/rulebooks/holdfast.yml").read_text())
    events = [
        alert("HoldfastDrillTooOld"), alert("HoldfastDrillTooOld"), alert("HoldfastDrillTooOld", "db2"),
        alert("HoldfastWALGap", status="resolved"), alert("HoldfastRPOViolation"), alert("HoldfastWALGap"),
        alert("HoldfastBackupFailedVerification", "db2"), alert("HoldfastBackupTooOld"), alert("NodeDown"),
    ]  # fmt: skip
    rulebook[0]["sources"] = [{"eda.builtin.generic": {"payload": events, "shutdown_after": 3}}]
    for rule in rulebook[0]["rules"]:
        template = rule["action"]["run_job_template"]
        rule["action"] = {"debug": {"msg": f"started {template['name']} for {{{{ event.alert.labels.server_name }}}}"}}
    (tmp_path / "rulebook.yml").write_text(yaml.safe_dump(rulebook))
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"localhost": None}}}))
    done = subprocess.run(
        [str(PROGRAM), "--rulebook", "rulebook.yml", "--inventory", "inventory.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        timeout=180,
        check=False,
    )
    assert sorted(re.findall(r"started (.*)", done.stdout)) == [
        "holdfast audit for db1",
        "holdfast drill for db1",
        "holdfast drill for db2",
        "holdfast report for db1",
        "holdfast verify for db2",
    ], done.stdout + done.stderr
