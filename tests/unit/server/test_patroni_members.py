# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member's data directory is Patroni's, also while there is nothing in it: a standby of ours was built in one (CASES 2.40)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import patroni


@pytest.mark.parametrize("line", ("data_dir: {}", "'data_dir': \"{}\"  # here", "  data_dir:   {}   "))
def test_a_configuration_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    (tmp_path / "patroni.yml").write_text(
        "scope: main\npostgresql:\n  " + line.format(tmp_path / "data") + "\n  x: 1\n"
    )
    monkeypatch.setattr(patroni, "_CONFIGURATIONS", (str(tmp_path / "*.yml"),))
    with pytest.raises(ServerError, match=r"patroni\.yml names it"):
        patroni.refuse_standby(str(tmp_path / "data"))
    patroni.refuse_standby(str(tmp_path / "data2"))
    patroni.refuse_standby("")


@pytest.mark.parametrize("by", ("environment", "file"))
def test_a_running_one_has_it(tmp_path: Path, by: str) -> None:
    (tmp_path / "somewhere.yaml").write_text(f"postgresql:\n  data_dir: {tmp_path}/data\n")
    command = "exec -a patroni sleep 60" if by == "environment" else "exec -a patroni tail -f somewhere.yaml"
    own = {"PATRONI_POSTGRESQL_DATA_DIR": f"{tmp_path}/data"} if by == "environment" else {}
    process = subprocess.Popen(
        ["bash", "-c", command], env={**os.environ, **own}, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        if by == "file" and process.stdout:
            process.stdout.readline()  # it runs
        else:
            while b"patroni" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()[:8]:
                pass
        with pytest.raises(ServerError, match="is a member's of Patroni"):
            patroni.refuse_standby(str(tmp_path / "data"))
    finally:
        process.kill()
        process.wait()
