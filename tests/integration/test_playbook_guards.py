# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play refuses before anything is done, on every controller alike.

The kind: what a user wrote has no effect, or more effect than was meant. Its members: a misspelt variable (encryption that was
left out, without a word), one of a scheduled run, one in the inventory or as an extra variable; and a play that changes a server
aimed at an inventory of several (both were restored, both standbys became primaries). CASES 1.18 and 1.19.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import CHECKOUT, PlaybookResult, controllers, run_playbook

TWO = "db1,db2,"
LOCAL = {"ansible_connection": "local", "holdfast_login_unix_socket": "/nowhere"}


def play(name: str, given: dict[str, Any], *options: str, **more: Any) -> PlaybookResult:
    return run_playbook(CHECKOUT / "playbooks" / f"{name}.yml", {**LOCAL, **given}, *options, **more)


def refused(run: PlaybookResult) -> str:
    """It ended at the first look, before any module of ours, and changed nothing. What it said."""
    assert run.returncode == 2 and not run.changed, run.stdout
    assert {task.action for task in run.failed} == {"ansible.builtin.assert"}, run.stdout
    assert not [task for task in run.tasks if task.action.startswith("holdfast.postgres")]
    return " ".join(task.result["msg"] for task in run.failed)


@pytest.mark.parametrize("core", sorted(controllers()))
def test_a_misspelt_variable(core: str, tmp_path: Path) -> None:
    given = {
        "holdfast_repository": {"path": str(tmp_path)},
        "holdfast_encription": {"method": "aes256", "passphrase": "pss"},
    }
    said = refused(play("backup", given, bindir=controllers()[core]))
    assert "no variable holdfast_encription. Did you mean holdfast_encryption?" in said and "pss" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_variable_of_the_inventory(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {db1: {holdfast_retension: {keep_last: 2}}}}\n")
    given = {"holdfast_repository": {"path": str(tmp_path)}}
    assert "holdfast_retention" in refused(play("prune", given, inventory=str(inventory)))
    excused = play("prune", {**given, "holdfast_ignore_variables": ["holdfast_retension"]}, inventory=str(inventory))
    assert excused.returncode == 0, excused.stdout


def test_a_misspelt_variable_of_a_scheduled_run(tmp_path: Path) -> None:
    """It would be found by the first run at night."""
    given = {"holdfast_schedule_unit_dir": str(tmp_path), "holdfast_schedule_config_dir": str(tmp_path / "c")}
    runs = [{"name": "full", "variables": {"holdfast_encription": {}}}]
    assert "holdfast_encryption" in refused(play("schedule", {**given, "holdfast_schedules": runs}))
    assert list(tmp_path.iterdir()) == []


def test_what_an_operator_is_not_told() -> None:
    """Of our own engines is what would have no effect there: who says it believes that old backups are deleted, and new ones encrypted."""
    given = {
        "holdfast_engine": "cnpg",
        "holdfast_retention": {"keep_last": 3},
        "holdfast_encryption": {"method": "aes256", "passphrase": "pss"},
        "holdfast_repositories": "",
        "holdfast_backup_max_age": "20h",
    }
    said = refused(play("backup", given))
    assert (
        "holdfast_encryption, holdfast_retention have no effect here: CloudNativePG's operator" in said
        and "pss" not in said
    )
    scheduled = {"holdfast_schedule_manager": "cnpg", "holdfast_schedule_variables": {"holdfast_engine": "pgbackrest"}}
    run = play("schedule", scheduled)
    assert refused(run) and "is nothing that CloudNativePG's operator makes" in run.stdout


def test_a_repository_is_missing() -> None:
    assert "holdfast_repository, or several" in refused(play("backup", {}))


@pytest.mark.parametrize("core", sorted(controllers()))
def test_two_hosts(core: str, tmp_path: Path) -> None:
    bindir = controllers()[core]
    given = {
        "holdfast_repository": {"path": str(tmp_path)},
        "holdfast_data_directory": str(tmp_path / "data"),
        "holdfast_primary_host": "db0",
    }
    said = refused(play("recover", given, inventory=TWO, bindir=bindir))
    assert "2 hosts (db1, db2)" in said and "holdfast_many" in said
    assert "targets 2 hosts" in refused(play("promote", {**given, "holdfast_many": True}, inventory=TWO, bindir=bindir))


@pytest.mark.parametrize("name", ["restore", "standby"])
def test_two_hosts_of_other_roles(name: str, tmp_path: Path) -> None:
    given = {
        "holdfast_repository": {"path": str(tmp_path)},
        "holdfast_data_directory": "/nowhere",
        "holdfast_primary_host": "db0",
    }
    assert "2 hosts (db1, db2)" in refused(play(name, given, "--check", inventory=TWO))
    one = play(name, given, "--limit", "db1", inventory=TWO)
    assert one.failed and one.failed[0].action.startswith("holdfast.postgres"), one.stdout


def test_many_hosts_want_to_be_confirmed_each(tmp_path: Path) -> None:
    given = {
        "holdfast_repository": {"path": str(tmp_path)},
        "holdfast_many": True,
        "holdfast_restore_force": True,
        "holdfast_restore_confirm": ["shop"],
    }
    assert "db1/shop" in refused(play("restore", given, inventory=TWO))
    named = play("restore", {**given, "holdfast_restore_confirm": ["db1/shop"]}, inventory=TWO)
    failed = {task.host: task for task in named.failed}
    assert failed["db1"].action == failed["db2"].action == "holdfast.postgres.pg_restore"
    assert "holdfast_restore_force: True needs confirm" in failed["db2"].result["msg"]
    assert "needs confirm" not in failed["db1"].result["msg"]


@pytest.mark.parametrize("core", sorted(controllers()))
def test_a_variable_that_refers_to_nothing(core: str, tmp_path: Path) -> None:
    """Kind: Ansible's words for a slip in a variable of one's own, at whatever task first reads it. Members: a text, a list, a dictionary's
    value, what the first look itself reads (source, tier, confirm, many), a template that is none."""
    slips = {
        "holdfast_repository": {"path": "{{ nowhere_a }}"},
        "holdfast_restore_source": "{{ nowhere_b }}",
        "holdfast_restore_tier": "{{ nowhere_c.name }}",
        "holdfast_restore_confirm": ["{{ nowhere_d }}"],
        "holdfast_many": "{{ nowhere_e }}",
        "holdfast_server_name": "{{ nowhere_f | no_such_filter }}",
        "holdfast_restore_target_db": "{{ nowhere_g",
    }
    said = refused(play("restore", slips, inventory="db1,", bindir=controllers()[core]))
    for name in slips:
        assert f"{name} cannot be evaluated" in said, (name, said)
    assert "Say where backups are kept" not in said and said.count("'nowhere_") == 5


@pytest.mark.parametrize("role", ["standby", "setup", "rotate_passphrase", "schedule", "status"])
def test_a_variable_that_refers_to_nothing_in_a_roles_own_words(role: str) -> None:
    """What a role makes of its variables is looked at by the same first task."""
    slips = {
        "standby": {"holdfast_standby_state": "{{ nowhere }}"},
        "setup": {
            "holdfast_setup_passphrase": "{{ nowhere }}",
            "holdfast_encryption": {"passphrase_file": "{{ nowhere }}"},
        },
        "rotate_passphrase": {"holdfast_encryption": {"passphrase_file": "{{ nowhere }}"}},
        "schedule": {"holdfast_schedule_variables": {"a": "{{ nowhere }}"}, "holdfast_schedules": "{{ nowhere }}"},
        "status": {"holdfast_engine": "{{ nowhere }}"},
    }[role]
    said = refused(play(role, {"holdfast_repository": {"path": "/b"}, **slips}, inventory="db1,"))
    for name in slips:
        assert f"{name} cannot be evaluated" in said, said


def test_what_ansible_refuses_is_said_by_the_variables_name(tmp_path: Path) -> None:
    """Kind: a message that names what the user does not have: the module's own option."""
    run = play("backup", {"holdfast_repository": {"path": str(tmp_path), "tpye": "file"}}, inventory="db1,")
    (failed,) = run.failed
    assert failed.result["msg"].startswith("There is no holdfast_repository.tpye. It takes "), failed.result["msg"]


@pytest.mark.extended
@pytest.mark.parametrize("role", sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")))
def test_a_role_without_any_variable(role: str) -> None:
    """What it lacks is said, at once or by a module; nothing of Ansible's own words."""
    run = play(role, {}, "--check", inventory="db1,")
    said = " ".join(str(task.result.get("msg")) for task in run.failed)
    assert "ndefined" not in said and "has no attribute" not in said, said
    for task in run.failed:
        assert task.action == "ansible.builtin.assert" or task.action.startswith("holdfast.postgres."), said


def test_what_a_standby_needs_is_said_by_the_variables_names() -> None:
    said = refused(play("standby", {}, inventory="db1,"))
    assert "Set holdfast_primary_host: " in said


@pytest.mark.parametrize("role", ["restore", "recover"])
def test_a_tier_that_is_none(role: str, tmp_path: Path) -> None:
    """It ended in "No first item, sequence was empty"."""
    tiers = [{"name": name, "path": str(tmp_path)} for name in ("disk", "offsite")]
    given: dict[str, Any] = {f"holdfast_{role}_tier": "dsik", "holdfast_data_directory": str(tmp_path / "data")}
    said = refused(play(role, {**given, "holdfast_repositories": tiers}, inventory="db1,"))
    assert f"holdfast_{role}_tier is 'dsik', and holdfast_repositories has disk, offsite." in said


def test_a_bucket_that_cannot_be_made_tells_no_keys(tmp_path: Path) -> None:
    """Kind: secrets printed by what surrounds a module, whose own arguments are hidden: of a step that fails Ansible prints what was looped
    over. At the highest verbosity too."""
    store = {
        "type": "s3",
        "bucket": "b",
        "endpoint_url": "http://127.0.0.1:1",
        "access_key": "AKIAX",
        "secret_key": "s3cret-key",
    }
    given = {
        "holdfast_repository": store,
        "holdfast_setup_bucket": {"versioning": True},
        "holdfast_setup_install_packages": False,
    }
    run = play("setup", given, "-vvvv", inventory="db1,")
    assert run.failed and "127.0.0.1:1" in run.stdout
    assert "s3cret-key" not in run.stdout + run.stderr
