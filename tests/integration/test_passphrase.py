# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: backups that nobody can decrypt any more, by the collection's own doing.

Members: a passphrase made by setup, printed once; rotated, with backups from before and after it; rotated twice; one that is in no file; an
engine that cannot change its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab.playbooks import CHECKOUT, run_playbook
from lab.servers import Server

from .test_playbooks import changes, play, variables


@pytest.mark.extended
def test_made_once_rotated_and_both_restore(pg15: Server, tmp_path: Path) -> None:
    pg15.wipe()
    pg15.query("CREATE DATABASE shop")
    pg15.psql("CREATE TABLE t AS SELECT 1 AS i", "shop")
    secret = tmp_path / "etc/passphrase"
    given = variables(pg15, tmp_path / "backups")
    given["holdfast_encryption"] = {"method": "aes256", "passphrase_file": str(secret)}
    asked = {**given, "holdfast_setup_passphrase": "generate"}
    play("setup", asked, "--check")
    assert not secret.exists()
    made = play("setup", asked)
    first = secret.read_text().strip()
    assert made.stdout.count(first) == 1 and "eep a copy elsewhere" in made.stdout
    again = play("setup", {**asked})
    assert not changes(again) and first not in again.stdout and "only copy" in again.stdout + again.stderr
    kept = play("setup", {**asked, "holdfast_setup_passphrase_copied": "true"})
    assert "only copy" not in kept.stdout + kept.stderr
    chosen = {**given, "holdfast_backup_databases": ["shop"]}
    old = play("backup", chosen).of("holdfast.postgres.pg_backup")[0]["backup"]["id"]
    os.utime(secret, (1, 1))
    planned = play("rotate_passphrase", given, "--check")
    assert secret.read_text().strip() == first and "would" in planned.stdout
    rotated = play("rotate_passphrase", given)
    second = secret.read_text().strip()
    assert second != first and rotated.stdout.count(second) == 1 and first not in rotated.stdout
    assert not changes(play("rotate_passphrase", given))
    (former,) = secret.parent.glob("passphrase.until-*")
    assert former.read_text().strip() == first and former.stat().st_mode & 0o777 == 0o600
    pg15.psql("INSERT INTO t VALUES (2)", "shop")
    new = play("backup", chosen).of("holdfast.postgres.pg_backup")[0]["backup"]["id"]
    assert new != old
    for backup, passphrase, rows in ((old, former, 1), (new, secret, 2)):
        target = {**given, "holdfast_restore_backup_id": backup, "holdfast_restore_databases": ["shop"]}
        target["holdfast_restore_target_db"] = f"from {rows}"
        target["holdfast_encryption"] = {"method": "aes256", "passphrase_file": str(passphrase)}
        play("restore", target)
        assert pg15.query("SELECT count(*) FROM t", f"from {rows}") == [(rows,)]


def test_what_cannot_be_rotated_is_refused(pg15: Server, tmp_path: Path) -> None:
    given = variables(pg15, tmp_path)
    in_a_variable = {**given, "holdfast_encryption": {"method": "aes256", "passphrase": "x"}}
    run = run_playbook(CHECKOUT / "playbooks/rotate_passphrase.yml", in_a_variable)
    assert run.returncode and "holdfast_encryption.passphrase_file" in run.stdout
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    secret.chmod(0o600)
    given["holdfast_encryption"] = {"method": "aes256", "passphrase_file": str(secret)}
    run = run_playbook(CHECKOUT / "playbooks/rotate_passphrase.yml", {**given, "holdfast_engine": "pgbackrest"})
    assert run.returncode and "holdfast_engine: 'pgbackrest'" in run.stdout and "new repository" in run.stdout
    assert secret.read_text() == "x\n"
