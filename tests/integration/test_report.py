# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a report that hides what is bad. Members: one whose store is away; one without a proof; a host that fails; one that cannot be
reached; a name that is markup; a second run. (Sentences, escaping, sizes: unit/plugin_utils/test_report.)"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import evidence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.answers import ok, refused
from lab.playbooks import CHECKOUT, run_module, run_playbook
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)


def server(folder: Path, name: str, drilled: bool = True) -> dict[str, Any]:
    """Two backups and a drill, and the options that name them."""
    folder.mkdir(exist_ok=True)
    shelf = Shelf(FileRepository(str(folder)), name)
    for age in (26, 2):
        lay(shelf, f"b{age}", NOW - datetime.timedelta(hours=age))
    if drilled:
        content: dict[str, Any] = {
            "format": 1, "verdict": "pass", "backup": {"id": "b26"}, "measured": {"rto_seconds": 42.0}, "objectives": {"rto": 600, "rpo": None},
        }  # fmt: skip
        stamp = (NOW - datetime.timedelta(hours=5)).strftime("%Y%m%dT%H%M%SZ")
        evidence.write(shelf, content, stamp, lambda sealed: "", None, [])
    return {"repository": {"path": str(folder)}, "server_name": name}


def test_by_the_module(tmp_path: Path) -> None:
    given = server(tmp_path / "disk", "db1")
    done = ok(run_module("backup_report", {**given, "retention": {"keep_last": 1}}))
    found = done["report"]
    assert not done["changed"] and found["known"] and found["server_name"] == "db1"
    assert [(entry["id"], bool(entry["goes"])) for entry in found["backups"]] == [("b26", True), ("b2", False)]
    assert found["reach"]["kind"] == "backups" and found["reach"]["count"] == 2
    (drill,) = found["drills"]
    assert drill["proves"] and drill["evidence"]["rto_seconds"] == 42 and drill["evidence"]["objectives"]["rto"] == 600
    (tmp_path / "disk").rename(tmp_path / "away")
    away = ok(run_module("backup_report", given))["report"]
    assert not away["known"] and away["alerts"] and away["reach"] == {"kind": "unknown"}
    refused(run_module("backup_report", {**given, "evidence": -1}), "evidence")
    refused(run_module("report_file", {"variable": "looked"}), "action plugin")


def test_one_page_of_a_fleet(tmp_path: Path) -> None:
    """Four hosts of a play: what is wrong with one hides no other, and a second run changes nothing."""
    hosts: dict[str, Any] = {}
    for name, drilled in (("good", True), ("bare", False)):
        found = server(tmp_path / name, name, drilled)
        hosts[name] = {"holdfast_repository": found["repository"]}
    hosts["wrong"] = {
        "holdfast_repository": {"path": str(tmp_path / "good")},
        "holdfast_health_rules": {"nothing": False},
    }
    hosts["away"] = {
        "holdfast_repository": {"path": "/backups"},
        "connected_by": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
    }
    for name, variables in hosts.items():
        variables["holdfast_server_name"] = name
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    files = [str(tmp_path / f"report{suffix}") for suffix in (".html", ".json", ".csv", ".md")]
    given: dict[str, Any] = {
        "ansible_connection": "{{ connected_by | default('local') }}",
        "holdfast_report_dest": files, "holdfast_health_archiving": False, "holdfast_health_schedule_dir": str(tmp_path / "none"),
    }  # fmt: skip

    def run(*options: str) -> Any:
        return run_playbook(CHECKOUT / "playbooks/report.yml", given, *options, inventory=str(inventory))

    done = run()
    assert done.returncode != 0  # for those that could not be looked at
    page, told = Path(files[0]).read_text(), json.loads(Path(files[1]).read_text())["servers"]
    assert {one["host"]: one["status"] for one in told}["good"] != "unknown"
    assert {one["host"]: (one["proof"], one["error"] is None) for one in told} == {
        "good": ("proven", True), "bare": ("never", True), "wrong": ("unknown", False), "away": ("unknown", False),
    }, told  # fmt: skip
    assert "proven 5 h ago in 42 s; objective 10 min 00 s, met" in page
    assert "nothing is no rule" in page.replace("&#39;", "") and "could not be reached" in page
    assert page.index("Without a proof that holds") < page.index(">bare<")
    before = [Path(path).read_bytes() for path in files]
    again = run("--check")
    assert [Path(path).read_bytes() for path in files] == before
    (told,) = again.of("holdfast.postgres.report_file")
    assert not told["changed"] and told["summary"].startswith("4 servers: 2 unknown"), again.stdout
    assert not Path(files[0]).with_name("other.html").exists()
