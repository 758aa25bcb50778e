# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies beside our backups and is not ours is never taken for what an interrupted run left."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.playbooks import run_module
from lab.servers import Server

FOREIGN = (
    "base/20261121T090031/data.tar.gz",
    "wals/0000000100000000/000000010000000000000001.gz",
    "wal-g/basebackups_005/base_000000010000000000000003_backup_stop_sentinel.json",
    "notes/read me.txt",
    "mixed/base.tar.zst",
    "mixed/mine.txt",
)
OURS = ("20261101T000000Z-abcdef/databases/shop.dump.zst", "my-own-id/base.tar.zst", "my-own-id/16389.tar.zst.gpg")


@pytest.mark.parametrize("engine", ["pg_dump", "pg_basebackup"])
def test_a_backup_removes_what_is_ours_and_nothing_else(pg15: Server, tmp_path: Path, engine: str) -> None:
    for name in (*FOREIGN, *OURS):
        path = tmp_path / "main" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "main" / "empty").mkdir()
    given = {**pg15.client_options(), "repository": {"path": str(tmp_path)}, "engine": engine}
    done = run_module("pg_backup", given)
    assert done.changed, done.msg
    assert [(tmp_path / "main" / name).exists() for name in FOREIGN] == [True] * len(FOREIGN)
    assert [(tmp_path / "main" / name).exists() for name in OURS] == [False] * len(OURS)
    assert not (tmp_path / "main" / "empty").exists()
