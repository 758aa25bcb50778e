# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks in all three modes: a plan changes nothing, a rehearsal leaves production as it is and evidence behind, a real run brings the rows back;
what is killed is gone on with, and what nobody agreed to is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import myself
from lab.answers import ok
from lab.playbooks import CHECKOUT, PlaybookResult, run_module, run_playbook, start_module
from lab.recoveries import SETTINGS, Archived
from lab.servers import Server
from lab.waiting import wait_until

ROWS = "CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS what FROM generate_series(1, 500) g; CREATE TABLE people AS SELECT 'Ada' AS name;"


class Site:
    """A server with dumps, and with archive and a backup of all of it, in one repository; and its runbooks."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.psql("CREATE DATABASE shop")
        server.psql(ROWS, "shop")
        self.archived = Archived.of(server)
        self.archived.back_up(engine="pg_dump", databases=["shop"])
        self.scratch = server.server_directory("scratch")
        self.given = {
            **{f"holdfast_{name}": value for name, value in server.login().items()},
            "holdfast_bin_dir": str(server.bindir),
            "holdfast_owner": server.owner,
            "holdfast_repository": {"path": str(self.archived.repository)},
            "holdfast_server_name": "main",
            "holdfast_drill_scratch_dir": str(self.scratch),
            "holdfast_drill_low_priority": False,
            "holdfast_drill_amcheck": "quick",
        }

    def run(self, scenario: str, mode: str, **more: Any) -> PlaybookResult:
        given = {**self.given, "holdfast_dr_mode": mode, **more}
        return run_playbook(CHECKOUT / "playbooks/dr" / f"{scenario}.yml", given)

    def done(self, scenario: str, mode: str, **more: Any) -> PlaybookResult:
        run = self.run(scenario, mode, **more)
        assert run.returncode == 0, run.stdout + run.stderr
        return run

    def refused(self, scenario: str, mode: str, **more: Any) -> str:
        run = self.run(scenario, mode, **more)
        assert run.returncode != 0, run.stdout
        return " ".join(str(task.result.get("msg")) for task in run.failed)

    def records(self) -> list[dict[str, Any]]:
        found = (self.archived.repository / "main/_dr").glob("*-*.json")
        return [json.loads(path.read_text()) for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def repository(self) -> dict[str, str]:
        """Every file of the repository with its sum, but for WAL, which comes by itself."""
        top = self.archived.repository
        files = (path for path in top.rglob("*") if path.is_file() and "_wal" not in path.parts)
        return {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def moment(self) -> str:
        """The server's clock, after the second in which the last backup ended: that is written down by the next full one."""
        begun = self.archived.now()[:19]
        assert wait_until(lambda: self.archived.now()[:19] > begun, timeout=10)
        return self.archived.now()

    def rows(self) -> str:
        """What is in the server, as pg_dump tells it."""
        text = self.server.run("pg_dump", "--no-sync", db="shop").decode()
        return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))

    def nothing_left(self) -> None:
        assert not list(self.scratch.iterdir())
        listed = subprocess.run(["ps", "-eo", "args"], check=True, stdout=subprocess.PIPE, text=True).stdout
        assert str(self.scratch) not in listed


def evidence_of(run: PlaybookResult) -> Mapping[str, Any]:
    (drilled,) = run.of("holdfast.postgres.pg_drill")
    found: Mapping[str, Any] = drilled["evidence"]
    return found


def killing(tmp_path: Path) -> Path:
    """Tasks that kill the ansible-playbook which runs them, the first time."""
    program = tmp_path / "kill.py"
    program.write_text(KILL.format(marker=str(tmp_path / "killed")))
    tasks = tmp_path / "isolate.yml"
    command = f"{sys.executable} {program}"
    tasks.write_text(
        json.dumps([{"name": "Keep applications away", "ansible.builtin.command": command, "changed_when": False}])
    )
    return tasks


def opening(tmp_path: Path) -> Path:
    tasks = tmp_path / "reopen.yml"
    touch = {"path": str(tmp_path / "open"), "state": "touch", "mode": "0600"}
    tasks.write_text(json.dumps([{"name": "Let applications in", "ansible.builtin.file": touch}]))
    return tasks


KILL = """
import os, signal, sys
if os.path.exists({marker!r}):
    sys.exit()
open({marker!r}, "w").close()
pid, playbook = os.getpid(), 0
while pid > 1:
    words = open(f"/proc/{{pid}}/cmdline").read()
    playbook = pid if "ansible-playbook" in words else playbook
    pid = int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])
os.kill(playbook, signal.SIGKILL)
"""


@pytest.fixture
def site(server_factory: Callable[..., Server]) -> Site:
    return Site(server_factory(15, settings=SETTINGS))


@pytest.fixture(scope="module")
def shared(server_factory: Callable[..., Server]) -> Site:
    """For tests that bring nothing back."""
    return Site(server_factory(15, settings=SETTINGS))


SHOP = {"holdfast_restore_databases": ["shop"]}


@pytest.mark.extended
def test_a_dropped_database(site: Site, tmp_path: Path) -> None:
    """accidental_deletion in each mode; refused without consent, killed while applications are kept away, resumed."""
    before, files = site.rows(), site.repository()
    planned = site.done("accidental_deletion", "plan", **SHOP)
    assert planned.changed == [] or {task.task for task in planned.changed} <= {"holdfast.postgres.restore : Restore"}
    assert site.repository() == files and site.rows() == before
    assert "cut_over: " in planned.stdout

    rehearsed = site.done("accidental_deletion", "rehearse", **SHOP)
    assert site.rows() == before
    found = evidence_of(rehearsed)
    assert (found["verdict"], found["scenario"], found["trigger"]) == ("pass", "accidental_deletion", "runbook")
    assert found["objectives"] == {"rto": 3600, "rpo": 86400}
    (record,) = site.records()
    assert (record["mode"], record["outcome"], record["verdict"]) == ("rehearse", "done", "pass")
    assert 0 < record["measured"]["rto_seconds"] < 3600 and record["measured"]["rpo_seconds"] is not None
    site.nothing_left()

    site.server.query("DROP DATABASE shop")
    told = site.refused("accidental_deletion", "real", **SHOP)
    assert "holdfast_restore_confirm does not name shop" in told
    agreed = {**SHOP, "holdfast_restore_confirm": ["shop"]}
    assert "none at which somebody could answer" in site.refused(
        "accidental_deletion", "real", **agreed, holdfast_dr_gates="pause"
    )
    assert len(site.records()) == 1 and "shop" not in site.server.databases()

    away = {
        **agreed,
        "holdfast_dr_isolate_tasks": str(killing(tmp_path)),
        "holdfast_dr_reopen_tasks": str(opening(tmp_path)),
    }
    killed = site.run("accidental_deletion", "real", **away)
    assert killed.returncode == -9 and "shop" not in site.server.databases()
    told = site.refused("accidental_deletion", "real", **away)
    assert "holdfast_dr_continue: resume to go on with isolate" in told and "rollback" in told
    done = site.done("accidental_deletion", "real", **away, holdfast_dr_continue="resume")
    assert site.rows() == before and evidence_of(done)["verdict"] == "pass" and (tmp_path / "open").exists()
    record = site.records()[-1]
    assert (record["mode"], record["outcome"], record["verdict"]) == ("real", "done", "pass")
    assert [item["name"] for item in record["stages"]].count("protect") == 1 and record["facts"]["restore_point"]
    site.nothing_left()


@pytest.mark.extended
def test_a_dropped_table(site: Site) -> None:
    """single_table, whose rows were deleted and backed up so since: what is before the moment is taken, what is there is kept as a dump, other tables stay."""
    before = site.rows()
    moment = site.moment()
    site.server.query("DELETE FROM orders WHERE id > 3", db="shop")
    site.server.query("INSERT INTO people VALUES ('Grace')", db="shop")
    site.archived.back_up(engine="pg_dump", databases=["shop"])
    given = {**SHOP, "holdfast_restore_tables": ["orders"], "holdfast_restore_before": moment}
    files, broken = site.repository(), site.rows()
    site.done("single_table", "plan", **given)
    assert (site.repository(), site.rows()) == (files, broken)
    found = evidence_of(site.done("single_table", "rehearse", **given, holdfast_dr_rpo="1s"))
    assert found["verdict"] == "missed" and site.rows() == broken  # the dump is older than a second
    record = site.records()[-1]
    assert (record["verdict"], record["facts"]["backup_id"]) == ("missed", found["backup"]["id"])
    agreed = {**given, "holdfast_restore_confirm": ["shop"]}
    site.done("single_table", "real", **agreed, holdfast_dr_rpo="24h")
    assert site.server.query("SELECT count(*) FROM orders", db="shop") == [(500,)]
    assert site.server.query("SELECT count(*) FROM people", db="shop") == [(2,)], "another table stays"
    site.server.query("DELETE FROM people WHERE name = 'Grace'", db="shop")
    assert site.rows() == before
    manifests = [json.loads(path.read_text()) for path in site.archived.repository.glob("main/*/manifest.json")]
    assert [item["pinned"] for item in manifests if item.get("annotations", {}).get("state") == "broken"] == [True]
    site.nothing_left()


@pytest.mark.extended
def test_a_damaged_server(site: Site, tmp_path: Path) -> None:
    """corruption: back to before it, in place; the old directory stays; a run that waits for approval at each gate, and one that is taken back."""
    before = site.rows()
    site.archived.archive()
    moment = site.moment()
    site.server.query("UPDATE orders SET what = 'damaged'", db="shop")
    site.archived.archive()
    data = str(site.server.data)
    given = {"holdfast_data_directory": data, "holdfast_recovery_target": {"time": moment}}
    files, broken = site.repository(), site.rows()
    site.done("corruption", "plan", **given)
    found = evidence_of(site.done("corruption", "rehearse", **given))
    assert found["verdict"] == "pass" and site.rows() == broken
    assert "holdfast_recover_confirm does not name" in site.refused("corruption", "real", **given)
    changed = {name: value for name, value in site.repository().items() if name not in files}
    assert all("/_drills/" in name or "/_dr/" in name for name in changed)

    agreed = {**given, "holdfast_recover_confirm": [data], "holdfast_dr_reopen_tasks": str(opening(tmp_path))}
    gates = {**agreed, "holdfast_dr_gates": "approve"}
    site.done("corruption", "real", **gates)
    assert site.records()[-1]["waiting"] == "gate_begin"
    again = {**gates, "holdfast_dr_continue": "resume", "holdfast_dr_approved": ["gate_begin"]}
    site.done("corruption", "real", **again)
    record = site.records()[-1]
    assert record["waiting"] == "gate_cut_over" and site.rows() == broken and record["facts"]["verdict"] == "pass"
    site.done("corruption", "real", **gates, holdfast_dr_continue="rollback")
    assert site.records()[-1]["outcome"] == "rolled_back" and (tmp_path / "open").exists() and site.rows() == broken

    done = site.done("corruption", "real", **agreed, holdfast_recover_keep_archiving=True)
    assert site.rows() == before and site.server.query("SHOW archive_mode") == [("on",)]
    (kept,) = [item for item in done.of("holdfast.postgres.pg_recover") if item["recovery"].get("kept")]
    assert all(Path(path).is_dir() for path in kept["recovery"]["kept"])
    assert site.records()[-1]["facts"]["kept"] == kept["recovery"]["kept"][0]
    site.nothing_left()


@pytest.mark.extended
def test_killed_in_the_cut_over(site: Site) -> None:
    """corruption, killed while the new server recovers and the old one is down: a rollback is refused, another runbook too; resumed, all is back."""
    before = site.rows()
    site.archived.archive()
    moment = site.moment()
    site.server.query("DROP TABLE orders", db="shop")
    site.archived.archive()
    data = str(site.server.data)
    given = {"holdfast_data_directory": data, "holdfast_recovery_target": {"time": moment}, "holdfast_dr_prove": False}
    agreed = {**given, "holdfast_recover_confirm": [data]}
    staged = site.server.directory / "data.holdfast-restore"
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(site.run, "corruption", "real", **agreed)
        assert wait_until(
            lambda: (staged / "postmaster.pid").exists() and site.server.pid is None, timeout=200, every=0.002
        )
        os.kill(site.records()[-1]["holder"]["pid"], signal.SIGKILL)
        assert running.result().returncode == -signal.SIGKILL
    assert wait_until(lambda: "stopped" in whether_recovers(staged), timeout=60)
    told = site.refused("corruption", "real", **agreed, holdfast_dr_continue="rollback")
    assert "cut over was begun" in told and "resume" in told
    assert "another runbook" in site.refused("cluster_loss", "real", **agreed, holdfast_dr_continue="resume")
    site.done("corruption", "real", **agreed, holdfast_dr_continue="resume")
    assert site.rows() == before and site.records()[-1]["outcome"] == "done"


def whether_recovers(staged: Path) -> str:
    """Whether anything still works in the directory of a recovery, which ends a moment after the run that was killed."""
    listed = subprocess.run(["ps", "-eo", "args"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return "at work" if any(str(staged) in line for line in listed.splitlines()) else "stopped"


@pytest.mark.extended
def test_a_recovery_that_was_cut_off(site: Site) -> None:
    """interrupted_restore: pg_recover was killed while the old server was down. The plan says so and moves nothing; the real run brings it to its end."""
    before = site.rows()
    site.archived.archive()
    moment = site.moment()
    site.server.query("DROP TABLE orders", db="shop")
    site.archived.archive()
    data, staged = str(site.server.data), site.server.directory / "data.holdfast-restore"
    consent = {"force": True, "confirm": [data], "stop_server": True}
    options = {**site.archived.options, **consent, "data_directory": data, "recovery_target": {"time": moment}}
    running = start_module("pg_recover", options)
    assert wait_until(lambda: (staged / "postmaster.pid").exists() and site.server.pid is None, every=0.002)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    given = {"holdfast_data_directory": data, "holdfast_recovery_target": {"time": moment}}
    there, files = sorted(site.server.directory.iterdir()), site.repository()
    planned = site.done("interrupted_restore", "plan", **given)
    assert "interrupted" in str(planned.of("holdfast.postgres.pg_recover")[0]["plan"][0])
    found = evidence_of(site.done("interrupted_restore", "rehearse", **given))
    assert found["verdict"] == "pass" and sorted(site.server.directory.iterdir()) == there
    assert all("/_drills/" in name or "/_dr/" in name for name in site.repository() if name not in files)
    assert "holdfast_recover_confirm does not name" in site.refused("interrupted_restore", "real", **given)
    site.done("interrupted_restore", "real", **given, holdfast_recover_confirm=[data], holdfast_dr_prove=False)
    assert site.rows() == before and not list(site.server.directory.glob("*.holdfast-restore*"))


@pytest.mark.extended
def test_a_lost_server(site: Site) -> None:
    """cluster_loss: nothing is left of it, and nothing runs; brought back as far as the archive reaches, without a drill before, as minutes count."""
    site.server.query("INSERT INTO orders VALUES (501, 'the last one')", db="shop")
    before = site.rows()
    site.archived.archive()
    site.server.stop("immediate")
    shutil.rmtree(site.server.data)
    data = str(site.server.data)
    given = {"holdfast_data_directory": data}
    files = site.repository()
    site.done("cluster_loss", "plan", **given)
    assert site.repository() == files and not site.server.data.exists()
    found = evidence_of(site.done("cluster_loss", "rehearse", **given))
    assert found["verdict"] == "pass" and found["measured"]["rpo_seconds"] is not None and not site.server.data.exists()
    assert "holdfast_recover_confirm does not name" in site.refused("cluster_loss", "real", **given)
    site.done("cluster_loss", "real", **given, holdfast_recover_confirm=[data], holdfast_dr_prove=False)
    assert site.rows() == before
    record = site.records()[-1]
    assert (record["verdict"], record["measured"]["rpo_seconds"]) == ("pass", None)
    assert any("No drill was made" in note for note in record["notes"])
    site.nothing_left()


def test_one_at_a_time(shared: Site) -> None:
    """Two people start the same runbook: the second is told who is at it, by a plan too; one whose process has ended is no hindrance to say so."""
    record = {"repository": {"path": str(shared.archived.repository)}, "server_name": "main"}
    run = {"scenario": "accidental_deletion", "mode": "real", "operator": "eva"}
    begun = ok(run_module("runbook_record", {**record, **run, "state": "started", "holder": myself("runbook")}))["run"]
    agreed = {**SHOP, "holdfast_restore_confirm": ["shop"]}
    told = shared.refused(
        "accidental_deletion", "rehearse", **SHOP, holdfast_drill_max_age="7d", holdfast_recover_force=True
    )
    assert "The runbook chooses holdfast_drill_max_age itself" in told
    for go_on in ({}, {"holdfast_dr_continue": "resume"}):
        told = shared.refused("accidental_deletion", "real", **agreed, **go_on)
        assert f"eva on {begun['holder']['host']}, process {os.getpid()}" in told
        assert f"holdfast_dr_take_over: {begun['id']}" in told and "Nothing was done" in told
    assert begun["id"] in shared.done("accidental_deletion", "plan", **SHOP).stdout
    path = shared.archived.repository / f"main/_dr/{begun['id']}.json"
    path.write_text(path.read_text().replace("eva", "adam"))
    assert "was changed after it was written" in shared.refused("accidental_deletion", "real", **agreed)


def test_a_dump_from_before_a_moment(shared: Site) -> None:
    """pg_restore takes no dump that ended after it, by name neither; what is no moment is told."""
    (dump,) = [path.parent.name for path in shared.archived.repository.glob("main/*/globals*")]
    wanted = {**shared.server.client_options(), **shared.archived.options, "databases": ["shop"], "target_db": "beside"}
    assert (
        ok(run_module("pg_restore", {**wanted, "before": "2100-01-01T00:00:00Z"}, check=True))["backup"]["id"] == dump
    )
    none = run_module("pg_restore", {**wanted, "before": "2020-01-01T00:00:00Z"}, check=True)
    assert none.failed and "ended before 2020-01-01" in none.msg and "the oldest ended at" in none.msg
    named = run_module("pg_restore", {**wanted, "before": "2020-01-01T00:00:00Z", "backup_id": dump}, check=True)
    assert named.failed and "which is not before" in named.msg
    assert "before: 'yesterday'" in run_module("pg_restore", {**wanted, "before": "yesterday"}, check=True).msg
