# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes another server's place is on the disk before."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import takeover
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories

ME = getpass.getuser()


@pytest.mark.parametrize("code", [0, 1])
def test_what_was_made_is_flushed_before_it_takes_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The data directory, a tablespace and the WAL elsewhere: all of them, before anything is moved. A disk that fails ends it. Before, only
    what pg_basebackup and a recovery's own server wrote was flushed, and of a standby that was made of a backup nothing."""
    names = ("data", "space", "wal")
    for name in names:
        (tmp_path / f"{name}.holdfast-restore").mkdir()
        (tmp_path / f"{name}.holdfast-restore" / "new").touch()
    staged = tmp_path / "data.holdfast-restore"
    (staged / "pg_tblspc").mkdir()
    (staged / "pg_tblspc" / "16400").symlink_to(tmp_path / "space.holdfast-restore")
    (staged / "pg_wal").symlink_to(tmp_path / "wal.holdfast-restore")
    seen: list[Any] = []

    def run_as(owner: Any, argv: list[str]) -> Any:
        seen.append((argv, sorted(path.name for path in tmp_path.iterdir())))
        return subprocess.CompletedProcess(argv, code, "Input/output error", "")

    monkeypatch.setattr(takeover, "run_as", run_as)
    directories = Directories(str(tmp_path / "data"), {"16400": str(tmp_path / "space")}, ".x", str(tmp_path / "wal"))
    taking = takeover.Takeover(directories, None, ME, None, Progress(None))
    if code:
        with pytest.raises(ServerError, match="Input/output error.*Nothing was replaced"):
            taking.swap()
    else:
        taking.swap()
    [(argv, there)] = seen
    assert argv[:2] == ["sync", "--file-system"]
    assert sorted(Path(path).name for path in argv[2:]) == there == sorted(f"{name}.holdfast-restore" for name in names)
    assert (tmp_path / "data").exists() is (code == 0)


def test_the_program_is_there(tmp_path: Path) -> None:
    takeover.flush([str(tmp_path), str(tmp_path / "not there")])
