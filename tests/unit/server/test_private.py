# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file for one user: its mode, its owner, its content; replaced at once, and never through a link."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import private

ME = pwd.getpwuid(os.geteuid()).pw_name


def test_written_and_there(tmp_path: Path) -> None:
    path = tmp_path / "made" / "main.json"
    assert not private.is_there(str(path), "secret", ME)
    private.write(str(path), "secret", ME)
    assert path.read_bytes() == b"secret" and path.stat().st_mode & 0o777 == 0o600
    assert private.is_there(str(path), "secret", ME)
    assert not private.is_there(str(path), "another", ME)
    assert os.listdir(path.parent) == ["main.json"]


def test_a_wider_mode_is_not_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    private.write(str(path), "secret", ME)
    path.chmod(0o640)
    assert not private.is_there(str(path), "secret", ME)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "main.json"
    other.write_bytes(b"secret")
    other.chmod(0o600)
    path.symlink_to(other)
    assert not private.is_there(str(path), "secret", ME)
    private.write(str(path), "new", ME)
    assert not path.is_symlink() and other.read_bytes() == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_it_belongs_to_another_user(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    private.write(str(path), "secret", "nobody")
    assert path.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert private.is_there(str(path), "secret", "nobody") and not private.is_there(str(path), "secret", ME)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match="cannot be written"):
        private.write(str(tmp_path / "file" / "main.json"), "", ME)
    assert os.listdir(tmp_path) == ["file"]
