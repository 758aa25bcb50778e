# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RESTORE.txt, pasted into bash on a machine with stock tools alone: everything comes back without the collection."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.compare import SETTINGS_OF_ALL, Snapshot, assert_same, snapshot
from lab.fault import flip_byte
from lab.harddata import build
from lab.playbooks import run_module
from lab.servers import Server, installation, system_user

Wipe = Callable[[object], Server]
SECRET = "a pass phrase: with 'everything' \\ in it"
AES256 = {"method": "aes256", "passphrase": SECRET}


def back_up(server: Server, repository: Path, **options: Any) -> Path:
    """The folder of a new backup."""
    login = {**server.client_options()}
    done = run_module("pg_backup", {**login, "repository": {"path": str(repository)}, **options})
    assert done.changed and not done.failed, done.msg
    return repository / "main" / str(done.result["backup"]["id"])


def paste(folder: Path, target: Server, scratch: Path) -> subprocess.CompletedProcess[str]:
    """A person's terminal: bash reads line after line from its input, and goes on after an error."""
    passphrase = scratch / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(SECRET + "\n")
    return subprocess.run(
        ["bash"],
        input=(folder / "RESTORE.txt").read_text(),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**target.environment(), "PASSPHRASE_FILE": str(passphrase), "TMPDIR": str(scratch)},
        check=False,
    )


FORMS: dict[str, dict[str, Any]] = {
    "custom": {"format": "custom"},
    "custom-aes256": {"format": "custom", "compression": "gzip", "encryption": AES256},
    "plain": {"format": "plain", "compression": "lz4"},
    "tar": {"format": "tar", "compression": "none"},
    "directory": {"format": "directory", "compression": "gzip"},
}


@dataclass(frozen=True)
class Lost:
    """What is left of a server that is gone: how it was, and its backups."""

    before: Snapshot
    folders: dict[str, Path]


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    """A server with the hard data, backed up in each form and then gone: its tablespaces' directories are free again."""
    chosen = installation(16)
    if chosen is None:
        pytest.skip("PostgreSQL 16 is not installed here")
    with Server(chosen) as server:
        data = build(server)
        repository = tmp_path_factory.mktemp("repository")
        folders = {form: back_up(server, repository, role_passwords=True, **FORMS[form]) for form in FORMS}
        before = snapshot(server)
    owner = system_user()
    server.directory.mkdir(mode=0o755)
    for path in data.tablespaces.values():
        path.mkdir(mode=0o700)
        os.chown(path, owner.pw_uid, owner.pw_gid)
    yield Lost(before, folders)
    shutil.rmtree(server.directory)


@pytest.mark.parametrize("form", FORMS)
def test_pasted_into_bash(lost: Lost, wiped: Wipe, tmp_path: Path, form: str) -> None:
    target = wiped(16)
    folder = lost.folders[form]
    text = (folder / "RESTORE.txt").read_text()
    assert SECRET not in text
    done = paste(folder, target, tmp_path)
    print(done.stdout, done.stderr)  # for whoever looks at a failure
    # What a plain dump does not hold, of the database itself, RESTORE.txt says.
    missing = ["properties", "settings of *"] if form == "plain" else []
    assert ("no part of a plain dump" in text) == bool(missing)
    assert_same(lost.before, target, ignore=[SETTINGS_OF_ALL, *missing])
    assert [path.name for path in tmp_path.iterdir()] == ["passphrase"]  # what was unpacked is gone again
    wiped(16)  # the next form finds the tablespaces' directories free


def test_damage_shows_before_anything_else(pg16: Server, tmp_path: Path) -> None:
    folder = back_up(pg16, tmp_path, databases=["postgres"])
    flip_byte(folder / "databases" / "postgres.dump.zst")
    done = paste(folder, pg16, tmp_path)
    assert "databases/postgres.dump.zst: FAILED" in done.stdout
