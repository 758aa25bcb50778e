# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person is told to type runs as it runs here: as the owner of the server, with what the program is told by its environment."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.program import Program


@pytest.mark.parametrize("stanza", ["main", "it's main", "a b; rm"])
def test_what_is_typed_by_hand(tmp_path: Path, stanza: str) -> None:
    """stanza-upgrade over TCP: the line that was advised lacked the file of the password, and failed. Names that a shell reads."""
    ran, folder = tmp_path / "ran", tmp_path / "bin dir"
    folder.mkdir()
    for name, text in {
        "sudo": 'shift 2; exec "$@"',
        "pgbackrest": f'printf "%s\\n" "$PGPASSFILE" "$@" > {ran}',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    env = {"PGPASSFILE": "/etc/holdfast/it's.pgpass", "AWS_SECRET": "never shown"}
    program = Program(str(folder / "pgbackrest"), getpass.getuser(), ["--config=/etc/x y.conf"], stanza, env, 1.0)
    line = program.by_hand("stanza-upgrade")
    assert "never shown" not in line
    subprocess.run(["sh", "-c", line], env={"PATH": f"{folder}:/usr/bin:/bin"}, check=True)
    assert ran.read_text().splitlines() == [
        "/etc/holdfast/it's.pgpass", "--config=/etc/x y.conf", f"--stanza={stanza}", "stanza-upgrade"
    ]  # fmt: skip
