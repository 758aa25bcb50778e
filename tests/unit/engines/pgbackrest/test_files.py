# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with secrets: who may read them, and that nothing is changed that is as it should be."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.files import (
    is_there,
    make_directory,
    may,
    write,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_file_is_written_once(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "etc" / "main" / "conf.d" / "secrets.conf"
    assert not is_there(str(path), "text", mode, ME)
    write(str(path), "text", mode, ME)
    assert is_there(str(path), "text", mode, ME)
    assert path.read_text() == "text" and stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert [item.name for item in path.parent.iterdir()] == ["secrets.conf"]
    write(str(path), "other", mode, ME)
    assert path.read_text() == "other"


def test_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "secrets.conf"
    write(str(path), "text", 0o600, ME)
    assert not is_there(str(path), "other", 0o600, ME)
    assert not is_there(str(path), "text", 0o600, "daemon")
    path.chmod(0o644)
    assert not is_there(str(path), "text", 0o600, ME)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    assert not is_there(str(tmp_path / "link"), "text", 0o600, ME)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "secrets.conf").symlink_to(precious)
    write(str(tmp_path / "secrets.conf"), "text", 0o600, ME)
    assert precious.read_text() == "precious" and not (tmp_path / "secrets.conf").is_symlink()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="secrets.conf cannot be written"):
        write(str(tmp_path / "file" / "conf.d" / "secrets.conf"), "text", 0o600, ME)


def test_directories_are_made_with_those_above(tmp_path: Path) -> None:
    path = tmp_path / "spool" / "lock"
    make_directory(str(path), ME)
    assert path.is_dir() and stat.S_IMODE(path.stat().st_mode) == 0o750 and may(ME, "-w", str(path))
    with pytest.raises(ToolError, match="cannot be made"):
        make_directory(str(path), ME)
