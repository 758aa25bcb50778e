# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore points beside the backups (CASES 2.13): by name and server, oldest first, whatever else lies there."""

from __future__ import annotations

import datetime
from pathlib import Path

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.points import (
    FOLDER,
    RestorePoint,
    known,
    remember,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)


def point(name: str, minute: int, system_id: str = "7", timeline: int = 1) -> RestorePoint:
    return RestorePoint(name, Lsn(0x5000000 + minute), NOON + datetime.timedelta(minutes=minute), timeline, system_id)


def test_what_was_written_down_is_found(tmp_path: Path) -> None:
    shelf = Shelf(FileRepository(str(tmp_path)), "main")
    assert known(shelf, "release", "7") == []
    two, one = point("release", 5), point("release", 1, timeline=2)
    for written in (two, one, point("other", 2), point("release", 3, "8")):
        remember(shelf, written)
    folder = tmp_path / "main" / FOLDER
    (folder / "broken.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "large.json").write_text("1" * 10000)
    assert known(shelf, "release", "7") == [one, two]
    assert len(known(shelf, "release", None)) == 3
    assert shelf.ids() == []
    assert one.describe() == "0/5000001 on timeline 2, made 2026-11-21T12:01:00Z"
