# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary directories: what a killed run left goes, and what a living one uses stays, wherever that one lives.

The kind: who is alive is told by a process id. Members: a run in a container that shares /tmp, one on another host that shares scratch_dir (NFS),
an id that another process has by now. Before, the first two lost their directory in the middle of a backup.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

HOLDS = """
import sys, time
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace
with workspace(sys.argv[1]) as path:
    print(path, flush=True)
    time.sleep(60)
"""


def holder(parent: Path, *before: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [*before, sys.executable, "-c", HOLDS, str(parent)], stdout=subprocess.PIPE, text=True, cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def ended(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_what_a_killed_run_left_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    living, theirs = holder(tmp_path)
    killed, left = holder(tmp_path)
    ended(killed)
    try:
        foreign = tmp_path / "holdfast-run-somebody's"
        foreign.mkdir()
        with workspace(str(tmp_path)) as mine:
            assert theirs.is_dir() and not left.exists() and foreign.is_dir()
            assert os.stat(mine).st_mode & 0o777 == 0o700
        assert not Path(mine).exists()
    finally:
        ended(living)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces want root")
def test_a_run_in_another_pid_namespace_keeps_its_own(tmp_path: Path) -> None:
    """Its process ids mean nothing here."""
    living, theirs = holder(tmp_path, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        if not theirs.name:
            pytest.skip("no namespaces here")
        with workspace(str(tmp_path)):
            assert theirs.is_dir()
    finally:
        ended(living)
