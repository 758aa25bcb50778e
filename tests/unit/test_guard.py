# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that is killed leaves nothing running that it started.

The kind: a program that outlives who started it (CASES 2.33): kill -9 of the module left barman-cloud-backup running to its end, without
lock and retention. Its members: a program alone, in a chain, leading a session of its own with children (as Barman's workers are), stopped
meanwhile (as pg_dump is while a store is slow), one that ignores being told to end, one of another user; and what must not be ended: a
program that had ended before, and a server that pg_ctl started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_UTILS = "ansible_collections.holdfast.postgres.plugins.module_utils"
STARTS = {
    "run_as": "run_as(None, ['sleep', '{mark}'])",
    "chain": "pump([Command(['sleep', '{mark}']), Command(['cat'])], subprocess.DEVNULL, subprocess.DEVNULL)",
    "session": "pump([Command(['sh', '-c', 'sleep {mark} & sleep {mark}; wait'], session=True)], subprocess.DEVNULL, subprocess.DEVNULL)",
    # as pg_basebackup does, whose process for the WAL went on
    "family": "run_as(None, ['sh', '-c', 'sleep {mark} & wait'])",
    "stubborn": "run_as(None, ['sh', '-c', 'trap \"\" TERM; exec sleep {mark}'])",
    "stopped": (
        "process = subprocess.Popen(['sleep', '{mark}']); guard.note(process); os.kill(process.pid, signal.SIGSTOP); process.wait()"
    ),
    "barman": "Barman('{directory}', pwd.getpwuid(os.geteuid()).pw_name, {{}}, True).run('backup')",
}


def running(mark: str) -> list[int]:
    """The processes with this argument."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(entry.name))
    return found


def until(condition: bool | None, what: str, mark: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while bool(running(mark)) != condition:
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def started(code: str) -> subprocess.Popen[bytes]:
    head = (
        f"import os, pwd, signal, subprocess\nfrom {MODULE_UTILS} import guard\nfrom {MODULE_UTILS}.server.instance import run_as\n"
        f"from {MODULE_UTILS}.pipeline.chain import Command, pump\n"
        f"from {MODULE_UTILS}.engines.barman_cloud.program import Barman\n"
    )
    path = f"{ROOT}/.work/collections"
    return subprocess.Popen(
        [sys.executable, "-c", head + code], env={**os.environ, "PYTHONPATH": path}, start_new_session=True
    )


@pytest.mark.parametrize("how", STARTS)
def test_what_was_started_ends_with_a_module_that_is_killed(how: str, tmp_path: Path) -> None:
    mark = f"{1000000 + os.getpid()}.{list(STARTS).index(how)}"
    program = tmp_path / "barman-cloud-backup"
    program.write_text(f"#!/bin/sh\nsleep {mark} & sleep {mark}\n")
    program.chmod(0o755)
    module = started(STARTS[how].format(mark=mark, directory=tmp_path))
    try:
        until(True, "it did not start", mark)
        time.sleep(0.1)  # it is noted right after it was started
        os.kill(module.pid, signal.SIGKILL)
        module.wait()
        until(False, "it outlives who started it", mark)
    finally:
        for pid in running(mark):
            os.kill(pid, signal.SIGKILL)


def test_what_has_ended_is_nobody_elses(tmp_path: Path) -> None:
    """A number may be given to another process later: one that ended is forgotten."""
    mark = f"{2000000 + os.getpid()}.5"
    other = subprocess.Popen(["sleep", mark])
    try:
        code = f"import sys\nclass P: pid = {other.pid}\nguard.note(P)\nguard.forget(P)\nrun_as(None, ['true'])\nprint('x', flush=True)\nsys.stdin.read()"
        module = subprocess.Popen(
            [sys.executable, "-c", f"from {MODULE_UTILS} import guard\nfrom {MODULE_UTILS}.server.instance import run_as\n{code}"],
            env={**os.environ, "PYTHONPATH": f"{ROOT}/.work/collections"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert module.stdout is not None and module.stdout.readline() == b"x\n"
        module.kill()
        module.wait()
        time.sleep(0.5)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
