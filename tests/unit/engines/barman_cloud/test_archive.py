# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that PostgreSQL runs, run by a shell, with programs that answer as barman-cloud 3.19 does in each case."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import archive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.options import (
    StoreArguments,
    store_arguments,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions

NAME = "000000010000000000000004"
STORE = {"type": "s3", "bucket": "b", "prefix": "it's a % prefix", "access_key": "AKIA", "secret_key": "it's $HOME"}
# Answers as the real one does.
RESTORE = """#!/bin/sh
echo "restore $*" >>"$CALLS"
for word; do before=$name; name=$path; path=$word; done
[ -n "$SAYS" ] && { echo "$SAYS" >&2; exit "$CODE"; }
[ -e "$ARCHIVE/$name" ] && { cat "$ARCHIVE/$name" >"$path"; exit 0; }
echo "2026-11-21 08:12:56,221 [6774] ERROR: WAL file $name for server main does not exist" >&2
exit 1
"""
ARCHIVE = """#!/bin/sh
echo "archive $* secret=$AWS_SECRET_ACCESS_KEY" >>"$CALLS"
for word; do path=$word; done
cp "$path" "$ARCHIVE/"
"""


def settings(found: StoreArguments, path: Path, programs: Path, server: str = "main") -> None:
    path.write_text(archive.settings(found, str(path), str(programs), ["--zstd"], server))


class Shell:
    """A place with programs, an archive and a pg_wal."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("bin", "archive", "pg_wal", "a % b's"):
            (directory / name).mkdir()
        for name, text in (("restore", RESTORE), ("archive", ARCHIVE)):
            program = directory / "bin" / f"barman-cloud-wal-{name}"
            program.write_text(text)
            program.chmod(0o755)
        self.settings = directory / "a % b's" / "main.barman.env"
        settings(store_arguments(RepositoryEngineOptions("main", [STORE]), STORE), self.settings, directory / "bin")
        self.program = directory / "sh"
        self.calls = directory / "calls"
        self.calls.touch()

    def segment(self, content: str, name: str = NAME) -> None:
        (self.directory / "pg_wal" / name).write_text(content)

    def archived(self, content: str, name: str = NAME) -> Path:
        path = self.directory / "archive" / name
        path.write_text(content)
        return path

    def run(self, command: str, name: str = NAME, code: int = 1, says: str = "") -> tuple[int, str]:
        """As PostgreSQL runs it: exit code and what goes to the server's log."""
        path = f"pg_wal/{name}"
        text = command.replace("%%", "\0").replace("%p", path).replace("%f", name).replace("\0", "%")
        env = {"PATH": os.environ["PATH"], "CALLS": str(self.calls), "ARCHIVE": str(self.directory / "archive")}
        done = subprocess.run(
            [str(self.program), "-c", text],
            cwd=self.directory,
            env={**env, "CODE": str(code), "SAYS": says},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def archive(self, name: str = NAME, code: int = 1, says: str = "") -> tuple[int, str]:
        return self.run(archive.archive_command(str(self.settings), "main"), name, code, says)

    def restore(self, name: str = NAME, code: int = 1, says: str = "") -> tuple[int, str]:
        return self.run(archive.restore_command(str(self.settings), "main"), name, code, says)


# What /bin/sh is on Debian, on Red Hat, and on Alpine; those that are here.
SHELLS = [path for path in map(shutil.which, ("dash", "bash", "busybox")) if path]


@pytest.fixture(params=SHELLS, ids=os.path.basename)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    found = Shell(tmp_path)
    found.program.symlink_to(request.param)
    return found


def test_a_new_segment(shell: Shell) -> None:
    shell.segment("one")
    assert shell.archive() == (0, "")
    words = "--cloud-provider aws-s3"
    assert shell.calls.read_text().splitlines() == [
        f"restore {words} --no-partial s3://b/it's a % prefix main {NAME} /dev/null",
        f"archive --zstd {words} s3://b/it's a % prefix main pg_wal/{NAME} secret=it's $HOME",
    ]


def test_the_same_content_is_fine(shell: Shell) -> None:
    shell.segment("one")
    shell.archived("one")
    assert shell.archive() == (0, "")
    assert "archive" not in shell.calls.read_text()


@pytest.mark.parametrize("there", ["two", "", "one and more"])
def test_another_content_stays(shell: Shell, there: str) -> None:
    shell.segment("one")
    path = shell.archived(there)
    code, said = shell.archive()
    assert code == 1
    assert "differ" in said or "EOF" in said
    assert path.read_text() == there


def test_a_partial_segment_counts_for_itself(shell: Shell) -> None:
    partial = f"{NAME}.partial"
    shell.segment("one", partial)
    shell.archived("another", partial)
    assert shell.archive(partial)[0] == 1
    assert "--no-partial" not in shell.calls.read_text()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (2, "ERROR: Can't connect to cloud provider"),
        (4, "ERROR: Barman cloud WAL restore exception: Forbidden"),
        (1, "Missing required python module: zstandard"),
        (1, "Traceback (most recent call last):"),
        (1, "ERROR: Bucket b does not exist"),
        (137, "Killed"),
    ],
)
def test_nothing_is_written_when_the_archive_cannot_be_asked(shell: Shell, code: int, says: str) -> None:
    shell.segment("one")
    assert shell.archive(code=code, says=says) == (1, f"{says}\n")
    assert "archive" not in shell.calls.read_text()


def test_programs_that_are_missing(shell: Shell) -> None:
    """An exit code above 125 would restart the archiver, and count nowhere."""
    for program in (shell.directory / "bin").iterdir():
        program.unlink()
    code, said = shell.archive()
    assert (code, "barman-cloud-wal-restore" in said) == (1, True)
    assert shell.restore()[0] == 255


def test_settings_that_are_missing(shell: Shell) -> None:
    shell.segment("one")
    shell.settings.unlink()
    assert 0 < shell.archive()[0] <= 125
    assert shell.restore()[0] == 255


def test_restoring(shell: Shell) -> None:
    shell.archived("one")
    assert shell.restore() == (0, "")
    assert (shell.directory / "pg_wal" / NAME).read_text() == "one"


def test_a_file_that_is_not_there_ends_a_recovery(shell: Shell) -> None:
    assert shell.restore("00000002.history") == (1, "")


@pytest.mark.parametrize(("code", "says"), [(2, "no connection"), (1, "Missing required python module: lz4")])
def test_anything_else_stops_it(shell: Shell, code: int, says: str) -> None:
    """Taken for the end of the archive it would open a server that lacks the rest."""
    assert shell.restore(code=code, says=says) == (255, f"{says}\n")


def test_commands_are_short_and_have_no_secret() -> None:
    for command in (archive.archive_command, archive.restore_command):
        text = command("/etc/holdfast/main.barman.env", "main")
        assert len(text) < 600
        assert "AWS" not in text


def test_a_token_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    token = tmp_path / "a token's file"
    store = {"type": "azure", "container": "c", "account": "a", "sas_token": "x", "sas_token_file": str(token)}
    path = tmp_path / "env"
    settings(store_arguments(RepositoryEngineOptions("main", [store]), store), path, tmp_path)
    for content in ("sv=1&sig=a%2Fb", "sv=2&sig=c"):
        token.write_text(f"{content}\n")
        said = subprocess.run(
            ["/bin/sh", "-c", f'. {path}; printf %s "$AZURE_STORAGE_CONNECTION_STRING"'],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert said == f"BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature={content}"
