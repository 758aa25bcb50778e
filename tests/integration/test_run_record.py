# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run in a pod leaves, tried without a cluster: the callback run_record. Kubernetes keeps 4096 bytes of it, so the whole lies in the
repository, and one proves the other."""

from __future__ import annotations

import getpass
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import fault, playbooks
from lab.playbooks import PlaybookResult, run_playbook
from lab.servers import Server
from lab.waiting import pids, wait_until

CALLBACKS = {"ANSIBLE_CALLBACKS_ENABLED": "lab_results,holdfast.postgres.run_record"}


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    made = server_factory(16)
    made.psql("CREATE DATABASE shop;")
    made.psql("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) AS g;", "shop")
    return made


def variables(server: Server, repository: Path, **more: Any) -> dict[str, Any]:
    login = {f"holdfast_{name}": value for name, value in server.login().items()}
    return {
        **login,
        "holdfast_bin_dir": str(server.bindir),
        "holdfast_server_name": "db1",
        "holdfast_repository": {"path": str(repository)},
        **more,
    }


def run(given: dict[str, Any], message: Path, run_id: str = "backup-abc12", playbook: str = "backup") -> PlaybookResult:
    env = {**CALLBACKS, "HOLDFAST_RUN_ID": run_id, "HOLDFAST_RUN_MESSAGE": str(message)}
    return run_playbook(f"holdfast.postgres.{playbook}", given, env=env)


def read(message: Path) -> dict[str, Any]:
    data = message.read_bytes()
    assert len(data) <= 4096
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_backup_and_a_failure(server: Server, tmp_path: Path) -> None:
    """The message names the record and its sha256; the record has the module's whole result; a failure has its reason in both, and no
    password anywhere. A run that is no Job's leaves nothing."""
    repository, message = tmp_path / "r", tmp_path / "message"
    repository.mkdir()
    given = variables(server, repository)
    done = run(given, message)
    assert done.returncode == 0, done.stdout
    said = read(message)
    assert (said["status"], said["changed"], said["id"]) == ("ok", True, "backup-abc12")
    assert said["key"] == "db1/_runs/backup-abc12.json" and "verified" in said["line"]
    data = (repository / said["key"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == said["sha256"]
    record = json.loads(data)
    (backup,) = [task for task in record["tasks"] if task["action"] == "holdfast.postgres.pg_backup"]
    assert (repository / "db1" / backup["result"]["backup"]["id"] / "manifest.json").exists()
    # A record of runs is no backup, and is no leftover of one.
    assert run({**given, "holdfast_backup_max_age": "1d"}, message, "second").returncode == 0
    assert read(message)["changed"] is False
    assert run({**given, "holdfast_backup_databases": ["nowhere"]}, message, "third").returncode == 2
    failed = read(message)
    assert failed["status"] == "failed" and "nowhere" in failed["line"]
    assert json.loads((repository / failed["key"]).read_bytes())["line"] == failed["line"]
    password = given["holdfast_login_password"].encode()
    assert password not in b"".join(path.read_bytes() for path in (repository / "db1" / "_runs").iterdir())
    message.unlink()
    assert run_playbook("holdfast.postgres.check", given, env=CALLBACKS).returncode == 0
    assert not message.exists() and len(list((repository / "db1" / "_runs").iterdir())) == 3


def test_a_record_that_cannot_be_kept_is_said(server: Server, tmp_path: Path) -> None:
    """The run's own result stands; that the record is not there is told."""
    message = tmp_path / "message"
    done = run(variables(server, tmp_path / "nothing" / "there"), message)
    assert done.returncode == 2
    said = read(message)
    assert said["status"] == "failed" and said["key"] is None and "record was not written" in said["line"]
    # What no variable names is no reason to fail: a playbook of somebody's own may have no repository.
    play = tmp_path / "own.yml"
    play.write_text(
        json.dumps(
            [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "done {{ 1 + 1 }}"}}]}]
        )
    )
    env = {**CALLBACKS, "HOLDFAST_RUN_ID": "own", "HOLDFAST_RUN_MESSAGE": str(message)}
    assert run_playbook(play, {}, env=env).returncode == 0
    assert (read(message)["status"], read(message)["line"], read(message)["key"]) == ("ok", "done 2", None)


def test_a_pod_that_is_evicted(server: Server, tmp_path: Path) -> None:
    """Ansible ends at SIGTERM at once, and a container with it, in the middle of clearing up: the lock stayed for three minutes, and the pod
    that replaced it failed. Now the module has the time to end, and the message says that it was stopped."""
    repository, message = tmp_path / "r", tmp_path / "message"
    repository.mkdir()
    bindir = Path(sys.executable).parent
    with fault.Proxy(server.port, 100_000) as slow:
        slow_one = {"holdfast_login_port": slow.port, "holdfast_backup_databases": ["shop"]}
        play = tmp_path / "vars.json"
        play.write_text(
            json.dumps(
                {
                    **variables(server, repository),
                    **slow_one,
                    "ansible_connection": "local",
                    "ansible_python_interpreter": str(bindir / "python"),
                    "holdfast_backup_state_dir": str(tmp_path / "state"),
                    "holdfast_become_user": getpass.getuser(),
                }
            )
        )
        process = subprocess.Popen(
            [str(bindir / "ansible-playbook"), "holdfast.postgres.backup", "-i", "localhost,", "-e", f"@{play}"],
            env={
                **playbooks.environment(tmp_path, bindir),
                **CALLBACKS,
                "HOLDFAST_RUN_ID": "evicted",
                "HOLDFAST_RUN_MESSAGE": str(message),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            lock, own = repository / "db1" / "lock.json", f"port={slow.port}"
            wait_until(lambda: lock.exists() and pids("holdfast pg_dump", own))
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=50) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert read(message)["status"] == "stopped"
    assert not (repository / "db1" / "lock.json").exists()
