# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a job whose variables all come from a survey or from -e is another job than the one with a file of variables.

Members: booleans as text in conditions, questions that nobody answered for every variable of the role, a repository and a list as text; with
each ansible-core that is here. The table of all variables: unit/test_role_variables.py.
"""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import role_options
from lab.playbooks import CHECKOUT, controllers, run_playbook
from lab.servers import Server

from .test_playbooks import changes, play, variables


@pytest.mark.parametrize("version", ["2.17", "2.18", "2.19"])
def test_all_that_is_not_answered_is_not_given(version: str, pg15: Server, tmp_path: Path) -> None:
    bindir = controllers().get(version)
    if bindir is None:
        pytest.skip(f"ansible-core {version} is not installed (make matrix)")
    asked = variables(pg15, tmp_path / "backups")
    said = {
        key: json.dumps(value) if isinstance(value, dict) else str(value)
        for key, value in asked.items()
        if value is not None
    }
    empty = {name: "" for role in ("setup", "backup", "archive") for name in role_options(role)}
    empty["holdfast_become_user"] = (
        getpass.getuser()
    )  # the owner of this server may not enter the directories of this test
    done = play(
        "setup",
        {**empty, **said, "holdfast_setup_check": "true", "holdfast_setup_install_packages": "no"},
        bindir=bindir,
    )
    assert done.of("holdfast.postgres.backup_check")
    assert (tmp_path / "backups").is_dir()
    given = {**empty, **said, "holdfast_backup_databases": "postgres", "holdfast_backup_globals": "false"}
    assert changes(play("backup", {**given, "holdfast_setup_check": "false"}, bindir=bindir))


def test_what_is_wrong_is_said_at_once(pg15: Server, tmp_path: Path) -> None:
    given = {**variables(pg15, tmp_path), "holdfast_backup_jobs": "many", "holdfast_backup_pinned": "perhaps"}
    run = run_playbook(CHECKOUT / "playbooks/backup.yml", given)
    assert run.returncode
    assert 'holdfast_backup_jobs is "many", and takes a whole number.' in run.stdout.replace("\\", "")
    assert 'holdfast_backup_pinned is "perhaps", and takes true or false.' in run.stdout.replace("\\", "")
