# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room is asked of each disk, where a path would really be made."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import space
from ansible_collections.holdfast.postgres.plugins.module_utils.server.space import Need, check_space, mounted_at


def test_a_path_that_is_not_there_yet_counts_where_its_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert mounted_at(str(tmp_path / "link" / "a" / "b")) == str(tmp_path / "disk")
    assert mounted_at("/nowhere/at/all") == "/"


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two disks: /big with 1000 bytes, /small with 100 and, as /full, no inode."""
    sizes = {"/big": (1, 1000, 10, 5), "/small": (2, 100, 10, 5), "/full": (3, 1000, 10, 0)}
    monkeypatch.setattr(space, "mounted_at", lambda path: "/" + path.split("/")[1])
    monkeypatch.setattr(os, "stat", lambda path: SimpleNamespace(st_dev=sizes[path][0]))
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: SimpleNamespace(
            f_bavail=sizes[path][1], f_frsize=1, f_files=sizes[path][2], f_favail=sizes[path][3]
        ),
    )


@pytest.mark.parametrize(
    "needs, told",
    [
        ([("/big/data", 1000)], None),
        ([("/big/data", 900), ("/small/away", 100)], None),  # their sum would fit on neither
        ([("/big/data", 600), ("/big/away", 600)], "1200 are needed"),
        ([("/big/data", 10), ("/small/away", 101)], "/small has 100 bytes free"),
        ([("/full/data", 10)], "no inode left"),
        ([], None),
    ],
)
def test_each_disk_by_itself(disks: None, needs: list[tuple[str, int]], told: str | None) -> None:
    wanted = [Need(path, size, "it") for path, size in needs]
    if told is None:
        check_space(wanted, "Free some.")
        return
    with pytest.raises(ToolError, match=told) as raised:
        check_space(wanted, "Free some.")
    assert str(raised.value).endswith("Free some.")
