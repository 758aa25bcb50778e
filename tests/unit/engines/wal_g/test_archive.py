# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell's part of the commands, run by sh with programs that exit as WAL-G is documented to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.archive import (
    archive_command,
    restore_command,
)

NAME = "000000010000000000000003"


def program(folder: Path, script: str) -> str:
    path = folder / "wal g'%"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def as_postgres(command: str, name: str = NAME) -> str:
    """PostgreSQL's substitutions (src/backend/archive/shell_archive.c)."""
    parts = {"%%": "%", "%p": f"pg_wal/{name}", "%f": name}
    out, rest = "", command
    while rest:
        step = parts.get(rest[:2])
        out, rest = (out + step, rest[2:]) if step else (out + rest[0], rest[1:])
    return out


def run(command: str) -> int:
    return subprocess.run(["sh", "-c", as_postgres(command)], check=False, stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", 0),
        ("exit 74", 74),  # not there: the recovery goes on without it
        ("exit 1", 255),  # a store out of reach must not look like the end of the archive
        ("exit 2", 255),
        ("kill -KILL $$", 255),
    ],
)
def test_exit_codes_of_a_fetch(tmp_path: Path, script: str, expected: int) -> None:
    assert run(restore_command(program(tmp_path, script), "/etc/main.json")) == expected


def test_a_fetch_without_the_program(tmp_path: Path) -> None:
    assert run(restore_command(str(tmp_path / "none"), "/etc/main.json")) == 255


def test_words_reach_the_program_as_they_are(tmp_path: Path) -> None:
    said = tmp_path / "said"
    path = program(tmp_path, f"printf '%s\\n' \"$@\" > {said}")
    configuration = "/etc/hold fast/100%/main.wal-g.json"
    assert run(archive_command(path, configuration, None)) == 0
    assert said.read_text().splitlines() == ["--config", configuration, "wal-push", f"pg_wal/{NAME}"]
    assert run(restore_command(path, configuration)) == 0
    assert said.read_text().splitlines() == ["--config", configuration, "wal-fetch", NAME, f"pg_wal/{NAME}"]


@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_an_archive_in_a_directory_is_flushed(tmp_path: Path, suffix: str) -> None:
    wal = tmp_path / "a b%"
    wal.mkdir()
    path = program(tmp_path, f"touch '{wal}'/$(basename $4){suffix}")
    assert run(archive_command(path, "/etc/main.json", str(wal))) == 0


def test_what_is_not_there_after_the_push_is_not_archived(tmp_path: Path) -> None:
    assert run(archive_command(program(tmp_path, "exit 0"), "/etc/main.json", str(tmp_path))) != 0


@pytest.mark.parametrize("directory", [None, "/"])
def test_a_push_that_fails_fails(tmp_path: Path, directory: str | None) -> None:
    assert run(archive_command(program(tmp_path, "exit 1"), "/etc/main.json", directory)) == 1
