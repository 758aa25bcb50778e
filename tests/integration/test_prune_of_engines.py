# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind: an answer about what one cannot see (2.21). "Nothing to delete", whatever an engine keeps in a repository of its own. Members:
the engine not named; beside backups of ours; copies of backups, which do not see them either; in check mode; several repositories. Where
the engine is named, it deletes (test_keepers)."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.playbooks import run_module
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)
#: what each lays into a repository
ARCHIVES = {
    "pgbackrest": "pgbackrest/archive/main/archive.info",
    "barman_cloud": "main/wals/x",
    "wal_g": "main/wal-g/x",
}


def theirs(root: Path, engine: str) -> None:
    path = root / ARCHIVES[engine]
    path.parent.mkdir(parents=True)
    path.write_text("x")


def ours(root: Path) -> None:
    shelf = Shelf(FileRepository(str(root)), "main")
    for number in (1, 2, 3):
        lay(shelf, f"b{number}", NOW - datetime.timedelta(days=10 - number), lsn=f"0/{number}0")


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("engine", ARCHIVES)
def test_what_is_not_seen_is_not_called_nothing(tmp_path: Path, engine: str, check: bool) -> None:
    theirs(tmp_path, engine)
    arguments = {"repository": {"path": str(tmp_path)}, "retention": {"keep_last": 1}}
    done = run_module("backup_prune", arguments, check=check)
    assert done.failed, done.result
    assert engine in done.msg
    assert "Name the engine" in done.msg
    assert (tmp_path / ARCHIVES[engine]).exists()


def test_beside_ours_they_are_told_of(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    theirs(source, "pgbackrest")
    ours(source)
    where = {"path": str(source)}
    copied = run_module("backup_copy", {"source": where, "target": {"path": str(target)}})
    assert copied.result["copied"] == ["b1", "b2", "b3"], copied.msg
    assert "pgbackrest" in str(copied.result["warnings"])
    done = run_module("backup_prune", {"repository": where, "retention": {"keep_last": 1}})
    assert sorted(gone["id"] for gone in done.result["pruned"]) == ["b1", "b2"], done.msg
    assert "pgbackrest" in str(done.result["warnings"])
    assert (source / ARCHIVES["pgbackrest"]).exists()
    alone = run_module("backup_prune", {"repository": {"path": str(target)}, "retention": {"keep_last": 1}})
    assert alone.changed
    assert "pgbackrest" not in str(alone.result)
