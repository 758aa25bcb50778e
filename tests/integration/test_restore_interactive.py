# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook restore at a terminal, by a real one: nothing was said, so it asks; and without one it says what is missing.

Kinds: a restore that begins before anybody agreed (a wrong word, Ctrl-C); a question where nobody is (a timer); an answer that is
hidden by a variable; a secret in the log."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import CHECKOUT, controllers, environment, run_module, run_playbook
from lab.servers import Server
from lab.terminal import Terminal

from .test_playbooks import variables


def at_a_terminal(scratch: Path, given: dict[str, Any], *options: str, bindir: Path | None = None) -> Terminal:
    own = {"ansible_connection": "local", "holdfast_become_user": getpass.getuser()}
    bindir = bindir or Path(sys.executable).parent
    inventory = scratch / "hosts.json"
    inventory.write_text(
        json.dumps({"all": {"hosts": {"db1": {**own, "ansible_python_interpreter": str(bindir / "python"), **given}}}})
    )
    (scratch / "home").mkdir(exist_ok=True)
    book = str(CHECKOUT / "playbooks/restore.yml")
    return Terminal(
        [str(bindir / "ansible-playbook"), book, "-i", str(inventory), *options],
        {**environment(scratch / "home", bindir), "TERM": "xterm"},
        scratch,
    )


def login(server: Server) -> dict[str, Any]:
    given = variables(server, Path("/"))
    return {name: value for name, value in given.items() if name not in ("holdfast_repository", "holdfast_server_name")}


@pytest.fixture
def backed_up(pg15: Server, tmp_path: Path) -> Path:
    for name in ("käufe", "blog"):
        pg15.psql(f'DROP DATABASE IF EXISTS "{name}"')
        pg15.psql(f'CREATE DATABASE "{name}"')
        pg15.psql("CREATE TABLE t AS SELECT generate_series(1, 5) AS n", name)
    (tmp_path / "backups").mkdir()
    asked = {
        **pg15.login(),
        "repository": {"path": str(tmp_path / "backups")},
        "server_name": "db1",
        "bin_dir": str(pg15.bindir),
        "encryption": {"method": "aes256", "passphrase": "open sesame"},
        "databases": ["käufe", "blog"],
        "globals": False,
    }
    ok(run_module("pg_backup", asked))
    pg15.psql("DELETE FROM t", "käufe")
    return tmp_path / "backups"


@pytest.mark.parametrize(
    "version", ["2.19", *(pytest.param(core, marks=pytest.mark.extended) for core in ("2.17", "2.18"))]
)
def test_it_asks_shows_and_asks_again(version: str, pg15: Server, backed_up: Path, tmp_path: Path) -> None:
    if version not in controllers():
        pytest.skip(f"ansible-core {version} is not installed (make matrix)")
    terminal = at_a_terminal(tmp_path, login(pg15), bindir=controllers()[version])
    terminal.expect("Where are the backups?")
    terminal.answer("file")
    terminal.expect("Directory of the backups")
    terminal.answer(str(backed_up))
    terminal.expect("käufe")
    terminal.expect("Which one (Enter: 1):")
    terminal.answer("")
    terminal.expect("Passphrase:")
    terminal.answer("open sesame")
    terminal.expect("Which databases")
    terminal.answer("käufe")
    terminal.expect("Restore it as (Enter: käufe):")
    terminal.answer("")
    terminal.expect("This would be done:")
    terminal.expect("To go on type käufe.")
    assert pg15.query("SELECT count(*) FROM t", "käufe") == [(0,)]
    terminal.answer("käufe")
    assert terminal.end() == 0, terminal.seen
    assert pg15.query("SELECT count(*) FROM t", "käufe") == [(5,)]
    assert "open sesame" not in terminal.seen


@pytest.mark.extended
def test_a_wrong_word_and_ctrl_c_leave_all_as_it_was(pg15: Server, backed_up: Path, tmp_path: Path) -> None:
    given = {
        **login(pg15),
        "holdfast_interactive": True,
        "holdfast_repository": {"path": str(backed_up)},
        "holdfast_encryption": {"method": "aes256", "passphrase": "open sesame"},
        "holdfast_restore_databases": ["käufe"],
        "holdfast_restore_backup_id": "latest",
        "holdfast_restore_target_db": "käufe",
    }
    terminal = at_a_terminal(tmp_path, given)
    terminal.expect("To go on type käufe.")
    terminal.answer("yes")
    assert terminal.end() == 2 and "That was no consent. Nothing was done." in terminal.seen
    del given["holdfast_restore_backup_id"]
    terminal = at_a_terminal(tmp_path, given)
    terminal.expect("Which one")
    terminal.answer("\x03")
    assert terminal.end() == 2 and "Nothing was done." in terminal.seen
    assert pg15.query("SELECT count(*) FROM t", "käufe") == [(0,)]


@pytest.mark.extended
def test_what_an_extra_variable_hides_is_refused(pg15: Server, backed_up: Path, tmp_path: Path) -> None:
    """``-e holdfast_restore_backup_id=`` would have taken the latest, whichever was chosen."""
    given = {**login(pg15), "holdfast_interactive": True, "holdfast_repository": {"path": str(backed_up)}}
    given["holdfast_encryption"] = {"method": "aes256", "passphrase": "open sesame"}
    terminal = at_a_terminal(tmp_path, given, "-e", "holdfast_restore_backup_id=")
    terminal.expect("Which one")
    terminal.answer("1")
    terminal.expect("Which databases")
    terminal.answer("")
    assert terminal.end() == 2
    assert "holdfast_restore_backup_id was answered, and is also given with -e" in " ".join(terminal.seen.split())


def test_nobody_is_asked_where_nobody_is(pg15: Server) -> None:
    """Members: no terminal, holdfast_interactive is false, and true without a terminal."""
    for given in ({}, {"holdfast_interactive": "false"}, {"holdfast_interactive": "true"}):
        run = run_playbook(CHECKOUT / "playbooks/restore.yml", {**login(pg15), **given})
        assert run.returncode == 2
        assert "holdfast_repository" in run.failed[0].result["msg"], run.stdout
        if given.get("holdfast_interactive") != "false":
            assert "holdfast_restore_backup_id (or latest)" in run.failed[0].result["msg"]
