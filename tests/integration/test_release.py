# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release, installed from its archive where nothing else is, backs up and restores by the names that the README has. Kind: what works in a
checkout alone, as it reads a file that the archive lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lab.playbooks import run_playbook
from lab.servers import Server
from tools.release import built, copied, versioned

from .test_playbooks import variables


@pytest.mark.extended
def test_what_is_released_works_where_nothing_else_is(pg15: Server, tmp_path: Path) -> None:
    copy = copied(tmp_path / "source")
    versioned(copy, "1.0.0-beta")
    archive = built(copy, tmp_path / "out")
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    empty = tmp_path / "collections"
    subprocess.run(
        [
            str(galaxy),
            "collection",
            "install",
            "--no-deps",
            "--offline",
            "--collections-path",
            str(empty),
            str(archive),
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "ANSIBLE_COLLECTIONS_PATH": str(empty),
            "LC_ALL": "C.UTF-8",
        },
    )
    assert not (empty / "ansible_collections/holdfast/postgres/tests").exists()
    pg15.psql("CREATE DATABASE released")
    pg15.psql("CREATE TABLE t AS SELECT generate_series(1, 9) AS n", "released")
    given = variables(pg15, tmp_path / "backups", backup_databases=["released"], backup_globals=False)
    (tmp_path / "backups").mkdir()
    env = {"ANSIBLE_COLLECTIONS_PATH": str(empty)}
    made = run_playbook("holdfast.postgres.backup", given, env=env)
    assert made.returncode == 0, made.stdout + made.stderr
    wanted = {**given, "holdfast_restore_target_db": "released_again"}
    wanted |= {"holdfast_restore_databases": ["released"], "holdfast_restore_globals": False}
    done = run_playbook("holdfast.postgres.restore", wanted, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pg15.query("SELECT count(*) FROM t", "released_again") == [(9,)]
