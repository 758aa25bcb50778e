# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as users run them: check mode tells what the run does, and the second run changes nothing."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.compare import assert_same
from lab.harddata import HardData
from lab.playbooks import CHECKOUT, PlaybookResult, controllers, run_module, run_playbook
from lab.servers import Server

Wipe = Callable[[object], Server]


def variables(server: Server, repository: Path, **more: Any) -> dict[str, Any]:
    login = {f"holdfast_{key}": value for key, value in server.login().items()}
    place = {"holdfast_repository": {"path": str(repository)}, "holdfast_bin_dir": str(server.bindir)}
    return {
        **login,
        **place,
        "holdfast_server_name": "db1",
        **{f"holdfast_{key}": value for key, value in more.items()},
    }


def play(name: str, given: dict[str, Any], *options: str, bindir: Path | None = None) -> PlaybookResult:
    run = run_playbook(CHECKOUT / "playbooks" / f"{name}.yml", given, *options, bindir=bindir)
    assert run.returncode == 0, run.stdout + run.stderr
    return run


def changes(run: PlaybookResult) -> list[str]:
    return [task.task for task in run.changed]


def three_times(name: str, given: dict[str, Any]) -> PlaybookResult:
    """Check mode, the run, and the repeat. Returns the run."""
    planned = play(name, given, "--check", "--diff")
    done = play(name, given)
    assert changes(done)
    assert changes(planned) == changes(done)
    assert changes(play(name, given)) == []
    return done


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be about to take another user's directory")
def test_setup_takes_no_directory_that_is_another_users(pg15: Server, tmp_path: Path) -> None:
    """Kind: one directory, two owners. Before: it was given to the second one and closed to the first, whose archive_command failed from then on.
    Members: another user's; one of ours that others were let into keeps its mode; root's is taken, and its mode stays."""
    (tmp_path / "other").mkdir()
    os.chown(tmp_path / "other", 65534, -1)
    given = variables(pg15, tmp_path / "other")
    for options in (("--check",), ()):
        run = run_playbook(CHECKOUT / "playbooks" / "setup.yml", given, *options)
        assert run.returncode != 0 and "holdfast_setup_owner" in run.stdout and "Nothing was changed" in run.stdout, (
            run.stdout
        )
        assert (tmp_path / "other").stat().st_uid == 65534
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o770)
    play("setup", variables(pg15, tmp_path / "shared", setup_check=False))
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o770


def test_setup_makes_a_role_that_can_back_up_all_and_no_more(hard15: HardData, tmp_path: Path) -> None:
    password, pgpass = "pass:word\\ '\"", tmp_path / "pgpass"
    given = variables(
        hard15.server,
        tmp_path / "backups",
        setup_role_name="the backup",
        setup_role_password=password,
        setup_pgpass_path=str(pgpass),
    )
    try:
        done = three_times("setup", given)
        assert password not in done.stdout
        assert pgpass.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700
        narrow = {
            **{key: value for key, value in given.items() if not key.startswith("holdfast_setup")},
            "holdfast_login_user": "the backup",
            "holdfast_login_password": None,
            "holdfast_connect_params": {"passfile": str(pgpass)},
            # a connection limit lets only superusers into one, and Ansible takes another's name for a template
            "holdfast_backup_databases": [
                name for name in hard15.databases if name != "read only" and "{{" not in name
            ],
        }
        made = play("backup", narrow).of("holdfast.postgres.pg_backup")[0]
        assert {entry["name"] for entry in made["backup"]["databases"]} == set(narrow["holdfast_backup_databases"])
        superuser = hard15.server.query("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = 'the backup'")
        assert superuser == [(False,)]
    finally:
        hard15.server.query('DROP OWNED BY "the backup"')
        hard15.server.query('DROP ROLE IF EXISTS "the backup"')


def test_backup_prune_and_restore(hard16: HardData, wiped: Wipe, tmp_path: Path) -> None:
    given = variables(hard16.server, tmp_path, backup_max_age="1h", backup_role_passwords=True)
    three_times("backup", given)
    play("backup", {**given, "holdfast_backup_max_age": ""})
    pruned = three_times("prune", {**given, "holdfast_retention": {"keep_last": 1}})
    assert len(pruned.of("holdfast.postgres.backup_prune")[0]["pruned"]) == 1
    target = wiped(16)
    moved = {name: str(target.server_directory(f"moved {name}")) for name in hard16.tablespaces}
    three_times("restore", variables(target, tmp_path, restore_tablespace_locations=moved))
    assert_same(hard16.server, target)


def test_a_restores_plan_has_the_line_that_carries_it_out(pg15: Server, tmp_path: Path) -> None:
    """Kind: a plan that nobody sees before they have agreed to it. The line names the host, and has no check mode; what it says is enough."""
    pg15.wipe()
    pg15.query("CREATE DATABASE shop")
    pg15.psql("CREATE TABLE t (n int)", "shop")
    asked = {"repository": {"path": str(tmp_path)}, "server_name": "db1", "databases": ["shop"], "globals": False}
    assert run_module("pg_backup", {**pg15.client_options(), **asked}).changed
    pg15.psql("INSERT INTO t VALUES (1)", "shop")
    given = variables(pg15, tmp_path, restore_databases=["shop"])
    looked = play("restore", given, "--check", "--diff")
    (plan,) = looked.of("holdfast.postgres.pg_restore")
    assert (
        "holdfast_restore_force: true" in plan["plan"][-1] and "what was written into it since 20" in plan["plan"][-2]
    )
    typed = shlex.split(plan["to_confirm"])
    assert typed[0] == "ansible-playbook" and not {"--check", "--diff"} & set(typed)
    assert json.loads(typed[-1]) == {"holdfast_restore_force": True, "holdfast_restore_confirm": ["localhost/shop"]}
    assert plan["to_confirm"] in [task.result.get("msg") for task in looked.tasks]
    assert pg15.query("SELECT count(*) FROM t", "shop") == [(1,)]
    assert changes(play("restore", given, "-e", typed[-1]))
    assert pg15.query("SELECT count(*) FROM t", "shop") == [(0,)]


@pytest.mark.parametrize("version", ["2.17", "2.18", "2.19"])
def test_every_controller(version: str, pg15: Server, tmp_path: Path) -> None:
    bindir = controllers().get(version)
    if bindir is None:
        pytest.skip(f"ansible-core {version} is not installed (make matrix)")
    pg15.wipe()
    pg15.query("CREATE DATABASE app")
    pg15.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i", "app")
    given = variables(pg15, tmp_path, backup_databases=["app"], backup_max_age="1h")
    assert changes(play("backup", given, bindir=bindir))
    assert not changes(play("backup", given, bindir=bindir))
    pg15.query("DROP DATABASE app")
    assert changes(play("restore", variables(pg15, tmp_path, restore_databases=["app"]), bindir=bindir))
    assert pg15.query("SELECT count(*) FROM t", "app") == [(1000,)]
