# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `schedule`: what is written is run by its user before a timer is set; nothing of another server, or of somebody else, is taken over."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import role_options
from lab.playbooks import CHECKOUT, PlaybookResult, collections_path, run_playbook
from lab.servers import Server

SECRET = "s3cret"


def options(root: Path, **more: Any) -> dict[str, Any]:
    (root / "units").mkdir(exist_ok=True)
    (root / "cron").mkdir(exist_ok=True)
    given = {
        "manager": "cron",
        "unit_dir": str(root / "units"),
        "cron_dir": str(root / "cron"),
        "config_dir": str(root / "etc" / "schedules"),
        "user": getpass.getuser(),
        "enable": False,
        "ansible_playbook": str(Path(sys.executable).parent / "ansible-playbook"),
        "collections_path": str(collections_path()),
        "prove": "tasks",
        "variables": {"holdfast_login_password": SECRET, "holdfast_repository": {"path": "/b"}},
    }
    return {f"holdfast_schedule_{name}": value for name, value in {**given, **more}.items()}


def schedule(given: dict[str, Any], *arguments: str) -> PlaybookResult:
    return run_playbook(CHECKOUT / "playbooks" / "schedule.yml", given, *arguments)


def ok(run: PlaybookResult) -> list[str]:
    """The tasks that changed something."""
    assert run.returncode == 0, run.stdout + run.stderr
    return [task.task for task in run.changed]


def refused(run: PlaybookResult) -> str:
    assert run.returncode != 0, run.stdout
    return " ".join(str(task.result.get("msg")) + str(task.result.get("results", "")) for task in run.failed)


def files(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("manager", ["systemd", pytest.param("cron", marks=pytest.mark.extended)])
def test_written_proven_and_removed(manager: str, tmp_path: Path) -> None:
    """The plan is the run, the repeat changes nothing, no secret is printed at any verbosity or stands in a file that others read."""
    given = options(tmp_path, manager=manager)
    planned = ok(schedule(given, "--check", "--diff"))
    assert not files(tmp_path)
    done = schedule(given, "-vvv")
    assert ok(done) == planned and SECRET not in done.stdout + done.stderr
    assert ok(schedule(given)) == []
    name = "holdfast-backup-localhost"
    config = tmp_path / "etc" / "schedules"
    # What archives reads its files from beside: that directory stays open to pass through.
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o755
    kept = config / f"{name}.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text())["holdfast_login_password"] == SECRET
    written = {
        path.name: path.read_text()
        for path in (tmp_path / "units" if manager == "systemd" else tmp_path / "cron").iterdir()
    }
    assert set(written) == ({f"{name}.service", f"{name}.timer"} if manager == "systemd" else {name})
    assert all(SECRET not in text for text in (*written.values(), (config / f"{name}.sh").read_text()))
    assert any(str(config / f"{name}.sh") in text for text in written.values())
    ok(schedule({**given, "holdfast_schedule_state": "absent"}))
    assert not files(tmp_path)


def test_the_exit_code_of_a_run_is_seen(tmp_path: Path) -> None:
    """A pipe into logger ended with logger's 0: the run's own exit code comes out, and its output, for cron to mail."""
    given = options(tmp_path, variables={"holdfast_repository": {"path": str(tmp_path / "nothing")}})
    ok(schedule(given))
    line = (tmp_path / "cron" / "holdfast-backup-localhost").read_text().splitlines()[-1]
    command = line.split(None, 6)[6]
    done = subprocess.run(["env", "-i", "sh", "-c", command], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode != 0
    assert "failed=1" in done.stdout


@pytest.mark.extended
def test_what_a_survey_does_not_answer_is_as_by_default(tmp_path: Path) -> None:
    """Kind: a variable means another thing when it is empty, or text. ``holdfast_schedule_state: ''`` did nothing, and ended green."""
    given = options(tmp_path)
    ok(schedule(given))
    said = {name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in given.items()}
    empty = {name: "" for name in role_options("schedule")}
    assert ok(schedule({**empty, **said, "holdfast_schedules": '[{"variables": "{}"}]'})) == []
    wrong = schedule({**said, "holdfast_schedules": '[{"calender": "daily"}]', "holdfast_schedule_enable": "perhaps"})
    message = refused(wrong)
    assert "holdfast_schedules has calender" in message and "takes true or false" in message
    ok(schedule({**empty, **said, "holdfast_schedule_state": "absent"}))
    assert not files(tmp_path)


@pytest.mark.extended
def test_several_and_what_each_has_of_its_own(tmp_path: Path) -> None:
    given = options(
        tmp_path,
        variables={"holdfast_repository": {"path": "/b"}},
    )
    given["holdfast_schedules"] = [
        {"name": "full", "cron": "30 1 * * 0", "variables": {"holdfast_engine": "pg_basebackup"}},
        {"name": "audit", "cron": "@hourly", "playbook": "holdfast.postgres.audit"},
    ]
    planned = ok(schedule(given, "--check"))
    assert ok(schedule(given)) == planned
    assert ok(schedule(given)) == []
    config = tmp_path / "etc" / "schedules"
    assert f"30 1 * * 0 {getpass.getuser()}" in (tmp_path / "cron" / "full").read_text()
    assert "holdfast.postgres.audit" in (config / "audit.sh").read_text()
    full = json.loads((config / "full.json").read_text())
    assert full["holdfast_engine"] == "pg_basebackup" and full["holdfast_repository"] == {"path": "/b"}
    assert "holdfast_engine" not in json.loads((config / "audit.json").read_text())
    ok(schedule({**given, "holdfast_schedule_state": "absent"}))
    assert not files(tmp_path)


@pytest.mark.extended
def test_two_servers_of_one_host(tmp_path: Path) -> None:
    """Kind: names by host alone. By default two servers have two schedules; one that would take another's name is refused, also when it
    is to be removed, and what somebody else's cron runs under a name is never replaced."""
    given = options(tmp_path)
    ok(schedule({**given, "holdfast_server_name": "shop.example"}))
    ok(schedule({**given, "holdfast_server_name": "crm"}))
    names = {path.name for path in (tmp_path / "cron").iterdir()}
    # cron passes over a file with a dot in its name
    assert names == {"holdfast-backup-shop-example", "holdfast-backup-crm"}
    before = files(tmp_path)
    taking = {**given, "holdfast_server_name": "crm", "holdfast_schedule_name": "holdfast-backup-shop-example"}
    assert "shop.example" in refused(schedule(taking))
    assert "shop.example" in refused(schedule({**taking, "holdfast_schedule_state": "absent"}))
    (tmp_path / "cron" / "pgdump").write_text("0 1 * * * root true\n")
    assert "no schedule of ours" in refused(schedule({**given, "holdfast_schedule_name": "pgdump"}))
    (tmp_path / "cron" / "pgdump").unlink()
    assert files(tmp_path) == before
    # Another name for the same: its former one goes, the other server's stays, and is named.
    run = schedule({**given, "holdfast_server_name": "crm", "holdfast_schedule_name": "nightly"})
    assert {path.name for path in (tmp_path / "cron").iterdir()} == {"holdfast-backup-shop-example", "nightly"}
    assert "holdfast-backup-shop-example" in str([task.result.get("msg") for task in run.tasks])


@pytest.mark.extended
def test_a_change_of_scheduler_leaves_one(tmp_path: Path) -> None:
    given = options(tmp_path)
    ok(schedule(given))
    ok(schedule({**given, "holdfast_schedule_manager": "systemd"}))
    assert not files(tmp_path / "cron") and len(files(tmp_path / "units")) == 2
    ok(schedule(given))
    assert len(files(tmp_path / "cron")) == 1 and not files(tmp_path / "units")


@pytest.mark.extended
@pytest.mark.parametrize(
    "more",
    [
        {"name": "night ly"},
        {"name": "../../etc/passwd"},
        {"name": "a.b"},
        {"name": "x\n* * * * * root id"},
        {"name": "x\n"},
        {"calendar": "  \n"},
        {"cron": "30 2 * * *\n* * * * * root id"},
        {"cron": "30 2 * * * root id; true"},
        {"cron": "30 2 * * %"},
        {"cron": "30 25 * * *"},
        {"cron": "0 3 31 2 *"},
        {"calendar": "daily\nExecStart=id"},
        {"user": "root id #"},
        {"config_dir": "/etc/hold fast"},
        {"config_dir": "/etc/../tmp/x"},
        {"cron_dir": "/tmp/%n"},
    ],
    ids=repr,
)
def test_nothing_is_smuggled_into_a_line_of_cron_or_a_unit(more: dict[str, str], tmp_path: Path) -> None:
    """Kind: names and paths unquoted. Each is refused before anything is written."""
    assert "holdfast_schedule" in refused(schedule(options(tmp_path, **more))) or "calendar" in more or "cron" in more
    assert not files(tmp_path)


@pytest.mark.extended
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
@pytest.mark.parametrize("whose", ["etc", "etc/schedules"])
def test_who_could_replace_what_is_run(whose: str, tmp_path: Path) -> None:
    """A directory of another user: whoever owns it can put a script of their own in the place of one that root runs."""
    (tmp_path / "etc" / "schedules").mkdir(parents=True)
    shutil.chown(tmp_path / whose, "nobody")
    given = options(tmp_path)
    said = refused(schedule(given))
    assert "holdfast_schedule_config_dir" in said and "nobody" in said
    assert not files(tmp_path)


def test_what_needs_quotes_is_quoted(tmp_path: Path) -> None:
    playbook = tmp_path / "it's 100% mine.yml"
    playbook.write_text("- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: 'it ran'}}]\n")
    ok(schedule(options(tmp_path, playbook=str(playbook), name="mine")))
    script = tmp_path / "etc" / "schedules" / "mine.sh"
    done = subprocess.run(["env", "-i", str(script)], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0 and "it ran" in done.stdout, done.stdout + done.stderr


def test_what_would_fail_every_night_is_refused_by_day(tmp_path: Path) -> None:
    """Kind: a schedule that was never run. A host without ansible-playbook, without the playbook, or whose user may not read it."""
    for more in ({"ansible_playbook": "/nowhere/ansible-playbook"}, {"playbook": "holdfast.postgres.nothing"}):
        assert "no timer was set" in refused(schedule(options(tmp_path, **more)))
        assert not files(tmp_path / "cron")
    if os.geteuid() == 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        playbook = closed / "mine.yml"
        playbook.write_text("- hosts: all\n")
        assert "no timer was set" in refused(schedule(options(tmp_path, user="nobody", playbook=str(playbook))))
        assert not files(tmp_path / "cron")


@pytest.mark.extended
def test_a_run_is_proven_before_there_is_a_timer(tmp_path: Path, pg15: Server) -> None:
    """Kind: a schedule of which only the names were looked at. By default it is run in check mode, which reads all that a run reads: a password
    that is wrong, a repository that is not there, a variable. Asked for, it is run once, as cron will, and again only when it has changed."""
    login = {f"holdfast_{key}": value for key, value in pg15.login().items() if value is not None}
    folder = tmp_path / "backups"
    wanted = {
        **login,
        "holdfast_bin_dir": str(pg15.bindir),
        "holdfast_repository": {"path": str(folder)},
        "holdfast_backup_state_dir": str(tmp_path / "state"),
        "holdfast_become_user": getpass.getuser(),  # the repository is below a directory of this user's alone
        "ansible_python_interpreter": sys.executable,
    }
    given = options(tmp_path, variables=wanted, prove="check", name="nightly")
    said = refused(schedule(given))
    assert str(folder) in said and "no timer was set" in said and "holdfast_schedule_variables" in said
    assert not files(tmp_path / "cron")
    folder.mkdir(mode=0o700)
    wrong = {**given, "holdfast_schedule_variables": {**wanted, "holdfast_backup_databases": ["nowhere"]}}
    assert "nowhere" in refused(schedule(wrong))
    ok(schedule(given))
    assert not list(folder.rglob("manifest.json"))
    once = {**given, "holdfast_schedule_prove": "run"}
    assert any("Run its script" in task for task in ok(schedule(once)))
    assert len(list(folder.rglob("manifest.json"))) == 1
    assert ok(schedule(once)) == []
    assert len(list(folder.rglob("manifest.json"))) == 1
    ok(schedule({**given, "holdfast_schedule_state": "absent"}))
    assert not [path for path in files(tmp_path) if "nightly" in path]
