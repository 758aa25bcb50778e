# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that a server runs, and the archive's names, with a program that answers as pgBackRest does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.archive import PgBackRestWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.program import Program
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError

FOLDER = "0000000100000000"
SUM = "f7b34d15a4ae2b3c51398683d99c5603db3bd9b8"


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{0:08X}{number:08X}-{SUM}.zst"


class Answers(Program):
    """``repositories`` are folders by their paths; None: one that cannot be read."""

    def __init__(self, *repositories: Any, stanza: str = "main", place: str = "/etc/holdfast/pgbackrest/main") -> None:
        self.path, self.config_options, self.stanza = "/usr/bin/pgbackrest", (f"--config-path={place}",), stanza
        self.repositories, self.asked = repositories, 0

    def ask(self, command: str, *words: str, **_options: Any) -> str:
        if command == "info":
            states = [
                {"key": key, "cipher": "none", "status": {"code": 99 if found is None else 0, "message": "[X] gone"}}
                for key, found in enumerate(self.repositories, 1)
            ]
            return json.dumps([{"name": self.stanza, "db": [], "backup": [], "repo": states}])
        assert command == "repo-ls" and words[1] == "--output=json"
        self.asked += 1
        found = self.repositories[int(words[0][len("--repo=") :]) - 1].get(words[2], [])
        kinds = {name: {"type": "path" if "." not in name else "file"} for name in found}
        return json.dumps({".": {"type": "path"}, **kinds})


def archive(*repositories: Any, **options: Any) -> tuple[PgBackRestWal, Answers]:
    program = Answers(*repositories, **options)
    return PgBackRestWal(lambda: program, "postgres", "the archive"), program


def repository(*folders: tuple[str, list[str]], histories: tuple[str, ...] = ()) -> dict[str, list[str]]:
    top = [name for name, _files in folders]
    return {
        "archive/main": ["15-1", "16-2", "archive.info"],
        "archive/main/16-2": [*top, *histories],
        **{f"archive/main/16-2/{name}": files for name, files in folders},
    }


FIRST = (FOLDER, [segment(1), segment(2), f"{FOLDER}00000002.00000028.backup"])
SECOND = ("0000000100000001", ["000000010000000100000000-" + SUM + ".zst"])
THIRD = ("0000000200000001", ["000000020000000100000000-" + SUM + ".zst"])


def test_names_are_in_order() -> None:
    wal, program = archive(repository(THIRD, SECOND, FIRST, histories=("00000002.history",)))
    names = list(wal.names())
    assert names == sorted(names) and names[-2] == "00000002.history" and len(names) == 6
    # The archive, its servers' folders, and one for each 16 digits.
    assert program.asked == 2 + 3


def test_names_after_one() -> None:
    wal, program = archive(repository(THIRD, SECOND, FIRST, histories=("00000002.history",)))
    assert list(wal.names(SECOND[1][0])) == ["00000002.history", THIRD[1][0]]
    assert program.asked == 2 + 2
    assert list(wal.names(segment(1)))[:2] == [f"{FOLDER}00000002-{SUM}.zst", f"{FOLDER}00000002.00000028.backup"]
    # The histories always.
    assert list(wal.names("FFFFFFFF")) == ["00000002.history"]


def test_names_of_several_repositories_together() -> None:
    one, other = repository((FOLDER, [segment(1), segment(2)])), repository((FOLDER, [segment(2), segment(3)]))
    wal, _program = archive(one, other)
    assert list(wal.names()) == [segment(1), segment(2), segment(3)] and wal.problems == []


def test_a_repository_that_is_gone_is_passed_over_and_told() -> None:
    wal, _program = archive(None, repository(FIRST))
    before = wal.restore_command()
    assert len(list(wal.names())) == 3
    assert len(wal.problems) == 1 and wal.problems[0].startswith("repository 1: ")
    # With each segment pgBackRest would wait for it.
    assert "--repo=2" in wal.restore_command() and "--repo" not in before


def test_all_repositories_are_gone() -> None:
    wal, _program = archive(None, None)
    with pytest.raises(WalError, match="cannot be read.*gone"):
        list(wal.names())


def test_an_archive_that_is_empty() -> None:
    assert list(archive({})[0].names()) == []


def test_the_commands() -> None:
    wal, _program = archive(place="/etc/a b/100%/main", stanza="o'n")
    assert wal.archive_command() == (
        """/usr/bin/pgbackrest '--config-path=/etc/a b/100%%/main' '--stanza=o'"'"'n' archive-push %p"""
    )
    assert "'--config-path=/etc/a b/100%%/main'" in wal.restore_command()
    assert len(archive()[0].restore_command()) < 500


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (25, 255), (103, 255), (137, 255)])
def test_only_a_missing_file_is_the_end_of_the_archive(tmp_path: Path, code: int, expected: int) -> None:
    """What a shell makes of restore_command; the server takes up to 125 for a file that is not there."""
    program = tmp_path / "pgbackrest"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\nexit {code}\n')
    program.chmod(0o755)
    wal, answers = archive()
    answers.path = str(program)
    data = tmp_path / "data directory"
    data.mkdir()
    command = wal.restore_command().replace("%f", "0" * 24).replace("%p", "pg_wal/RECOVERYXLOG")
    assert subprocess.run(["sh", "-c", command], cwd=data, check=False).returncode == expected
    words = (tmp_path / "words").read_text().splitlines()
    assert words[-2:] == ["0" * 24, "pg_wal/RECOVERYXLOG"]
    assert f"--pg1-path={data}" in words and f"--spool-path={data}/pgsql_tmp.pgbackrest" in words
