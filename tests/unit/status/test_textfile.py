# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a file of metrics that is half written, or says what was. Members: the disk is full; no directory; metrics of another server; a name that leads
elsewhere; a server that is no more; two servers; the same again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.status.textfile import keep, remove


def text(name: str, at: int = 1, status: int = 0) -> str:
    return f'holdfast_scrape_timestamp_seconds{{server_name="{name}"}} {at}\nholdfast_status{{server_name="{name}"}} {status}\n'


def test_a_file_a_server(tmp_path: Path) -> None:
    path, changed = keep(str(tmp_path), "db1", text("db1"), check_mode=True)
    assert changed and not os.listdir(tmp_path)
    assert keep(str(tmp_path), "db1", text("db1"), check_mode=False) == (path, True)
    assert keep(str(tmp_path), "db2", text("db2"), check_mode=False)[1]
    assert sorted(os.listdir(tmp_path)) == ["holdfast_db1.prom", "holdfast_db2.prom"]
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert keep(str(tmp_path), "db1", text("db1", at=2), check_mode=True) == (path, False)
    assert keep(str(tmp_path), "db1", text("db1", at=2), check_mode=False) == (path, False)
    assert "} 2\n" in Path(path).read_text()  # it was looked at anew, and nothing changed
    assert keep(str(tmp_path), "db1", text("db1", at=3, status=1), check_mode=False) == (path, True)
    assert remove(str(tmp_path), "db1", check_mode=True) == (path, True) and os.path.exists(path)
    assert remove(str(tmp_path), "db1", check_mode=False) == (path, True)
    assert remove(str(tmp_path), "db1", check_mode=False) == (path, False)
    assert os.listdir(tmp_path) == ["holdfast_db2.prom"]
    assert remove(str(tmp_path / "gone"), "db1", check_mode=False)[1] is False


def test_what_cannot_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _changed = keep(str(tmp_path), "db1", text("db1"), check_mode=False)

    def full(*_more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError, match=r"No space left on device.*What was there is as it was"):
        keep(str(tmp_path), "db1", text("db1", at=2), check_mode=False)
    assert Path(path).read_text() == text("db1") and os.listdir(tmp_path) == ["holdfast_db1.prom"]


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="textfile_dir.*is no directory.*node_exporter"):
        keep(str(tmp_path / "none"), "db1", text("db1"), check_mode=True)
    with pytest.raises(BadOption, match="no metrics of db1"):
        keep(str(tmp_path), "db1", text("db2"), check_mode=True)
    for act in (
        lambda name: keep(str(tmp_path), name, text(name), False),
        lambda name: remove(str(tmp_path), name, False),
    ):
        with pytest.raises(BadOption, match="cannot name a folder"):
            act("../db1")
