# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: one place proven, all promised. Members: the same backup in two repositories, verified in one; two backups of one id. Found: what one
had verified made another one of its id verified."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered, gather
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.mark.parametrize(
    ("other", "verified", "where", "told"),
    [(b"rows", True, ["a", "b"], False), (b"others", False, ["a"], True)],
    ids=["the same", "another"],
)
def test_repositories_with_one_id(tmp_path: Path, other: bytes, verified: bool, where: list[str], told: bool) -> None:
    for name, data in (("a", b"rows"), ("b", other)):
        (tmp_path / name).mkdir()
        lay(Shelf(FileRepository(str(tmp_path / name)), "main"), "b1", NOW, data=data, verified=name == "b")
    repositories = [{"name": name, "type": "file", "path": str(tmp_path / name)} for name in "ab"]
    params = {
        "repository": None,
        "repositories": repositories,
        "server_name": "main",
        "archiving": False,
        "engine": "pg_dump",
    }
    found = gather(params, str(tmp_path))
    assert (found.records["b1"].verified_at is not None) is verified
    assert found.where["b1"] == where
    assert [tier.count for tier in found.tiers] == [1, 1]
    assert any("another backup b1" in problem for problem in found.tiers[1].problems) is told


@pytest.mark.parametrize("wrong", [None, "its backup.manifest is missing", RepositoryError("no route")])
def test_an_engine_looks_at_its_own_backups(tmp_path: Path, wrong: Any) -> None:
    """Kind: fresh that is not restorable. Found: of a backup whose files had gone from pgBackRest's repository nothing was seen."""

    def look(record: Any) -> Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    record = lay(Shelf(FileRepository(str(tmp_path)), "main"), "b1", NOW)
    found = Gathered(where={"b1": ["pgbackrest"]}, looks={"pgbackrest": look})
    assert found.damage(record) == (
        "whether all of it is there is not known: no route" if isinstance(wrong, Exception) else wrong
    )
