# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a replica that follows another one than it did, since its own configuration was read wrongly.

Members: quotes in quotes, a comment, no quotes, several lines, upper case, postgresql.conf alone; nothing at all; a copy that fails, is of another server,
and one that is good (pg_basebackup and its companions are programs of a few lines here).
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica import scripts

AUTO = "postgresql.auto.conf"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "volume/pgdata"
    made.mkdir(parents=True)
    (made / "PG_VERSION").write_text("17\n")
    (tmp_path / "bin").mkdir()
    return made


def program(data: Path, name: str, text: str) -> None:
    path = data.parents[1] / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(data: Path, script: str, **more: str) -> tuple[int, str]:
    """Exit code, and its last words."""
    message = data.parents[1] / "message"
    text = script.replace("/tmp/", f"{data.parents[1]}/").replace("/dev/termination-log", str(message))
    for folder in ("/usr/lib/postgresql/$MAJOR/bin", "/usr/local/bin"):
        text = text.replace(f'"{folder}"', "/nowhere").replace(f" {folder}", " /nowhere")
    told = {
        "PATH": f"{data.parents[1]}/bin:{os.environ['PATH']}", "PGDATA": str(data), "MOUNT": str(data.parent), "NEW": str(data.parent / "new/pgdata"),
        "MAJOR": "17", "SYSTEM_ID": "7", "SLOT": "", "FALLBACK": "host=pg-0 user=postgres", **more,
    }  # fmt: skip
    (data.parent / "new").mkdir(exist_ok=True)
    done = subprocess.run(["sh", "-c", text], env=told, capture_output=True, text=True, check=False)
    return done.returncode, message.read_text().strip() if message.exists() else done.stderr


@pytest.mark.parametrize(
    "name, text, slot, conninfo, password",
    [
        (AUTO, r"primary_conninfo = 'host=a password=''it\\''s \\\\'' user=u'" + "\nprimary_slot_name = 'one'\n", "one",
         r"host=a password='it\'s \\' user=u", "it's \\"),
        (AUTO, "primary_conninfo = 'password = plain sslpassword=x host=e'\n", "", "password = plain sslpassword=x host=e", "plain"),
        (AUTO, "primary_slot_name='old'\nPRIMARY_SLOT_NAME = two\n primary_conninfo = 'host=b' # x\n", "two", "host=b", ""),
        ("postgresql.conf", "primary_conninfo='host=c'\n", "", "host=c", ""),
        ("postgresql.conf", "#primary_conninfo = 'host=d'\n", "", None, "o'k"),
    ],
    ids=["quotes in quotes", "no quotes", "the last, upper case, a comment", "postgresql.conf", "nothing"],
)  # fmt: skip
def test_how_it_followed_is_how_it_follows(
    data: Path, name: str, text: str, slot: str, conninfo: str | None, password: str
) -> None:
    (data / name).write_text(text)
    code, said = run(data, scripts.LOOK)
    lines = said.splitlines()
    assert code == 0 and ("conninfo=yes" in lines) == (conninfo is not None)
    assert ([one for one in lines if one.startswith("slot=")] or ["slot="])[0] == f"slot={slot}"
    assert "password=" not in said and "plain" not in said, "what is secret does not leave the pod"
    asked = data.parents[1] / "asked"
    program(
        data,
        "pg_basebackup",
        f'printf "%s\\n%s" "$2" "${{PGPASSWORD:-}}" > {asked}; printf "work_mem = 1\\nprimary_conninfo = x\\n" > "$4/{AUTO}"',
    )
    program(data, "pg_verifybackup", "true")
    program(data, "pg_controldata", 'echo "Database system identifier:           7"')
    assert run(data, scripts.COPY, SLOT=slot, PGPASSWORD="o'k") == (0, "copied=yes")
    expected = conninfo or "host=pg-0 user=postgres password='o\\'k'"
    reached, secret = asked.read_text().split("\n")
    assert secret == password and (not password or password not in reached), "an argument is no secret"
    assert reached.split() == re.sub(r"(?<!\w)password ?= ?('.*'|\w+)", "", expected).split()
    new = data.parent / "new/pgdata"
    written = (new / AUTO).read_text().splitlines()
    escaped = expected.replace("\\", "\\\\").replace("'", "''")
    assert written[:2] == ["work_mem = 1", f"primary_conninfo = '{escaped}'"]
    assert written[2:] == ([f"primary_slot_name = '{slot}'"] if slot else [])
    assert (new / "standby.signal").exists() and (new / AUTO).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "base, verify, system_id, code, words",
    [
        ("echo 'FATAL: no pg_hba.conf entry' >&2; exit 1", "true", "7", 8, "pg_basebackup: FATAL: no pg_hba.conf entry"),
        ("true", "echo 'checksum mismatch'; exit 1", "7", 9, "pg_verifybackup: checksum mismatch"),
        ("true", "true", "8", 10, "leads to another server: system identifier 8"),
    ],
)  # fmt: skip
def test_what_is_no_copy(data: Path, base: str, verify: str, system_id: str, code: int, words: str) -> None:
    program(data, "pg_basebackup", base)
    program(data, "pg_verifybackup", verify)
    program(data, "pg_controldata", f'echo "Database system identifier:           {system_id}"')
    found, said = run(data, scripts.COPY)
    assert found == code and words in said
    assert not (data.parent / "new/pgdata/standby.signal").exists()


def test_what_cannot_be_written_is_no_copy(data: Path) -> None:
    """Found: a disk that was full at the end left a copy without primary_conninfo, or one that came up as a primary, and said that it was one."""
    program(data, "pg_basebackup", 'ln -s /dev/full "$4/postgresql.auto.conf.new"')
    program(data, "pg_verifybackup", "true")
    program(data, "pg_controldata", 'echo "Database system identifier:           7"')
    code, said = run(data, scripts.COPY)
    assert code != 0 and "copied=yes" not in said
