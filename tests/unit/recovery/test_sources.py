# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that is being recovered, or a standby is made of, is taken away by no retention: it says that it is read, and for how long."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.layout import Layout
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import NewDirectory, ShelfSource
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.records import lay


def test_what_is_being_laid_out_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(FileRepository(str(tmp_path)), "main")
    lay(shelf, "b1", datetime.datetime.now(datetime.timezone.utc), engine="pg_basebackup", kind="full")
    source = ShelfSource(shelf, Secrets({}, str(tmp_path)), None)
    (record,) = source.records([])
    met: list[str] = []

    def lay_out(*given: Any) -> None:
        with pytest.raises(CatalogError) as refused:
            delete_one(shelf, "b1", False, [])
        met.append(str(refused.value))

    monkeypatch.setattr(Layout, "lay_out", lay_out)
    monkeypatch.setattr(Layout, "check_files", lambda *given: None)
    warnings: list[str] = []
    with source.reading(record, warnings):
        source.lay_out(record, NewDirectory(str(tmp_path / "data"), {}, "root", "/nowhere"), Progress(None))
    assert "a recovery" in met[0] and not warnings
    assert readers(shelf) == {} and delete_one(shelf, "b1", False, [])


def test_a_server_that_is_not_there_is_told_which_are(tmp_path: Path) -> None:
    """Kind: a name that was misspelt, and an error that does not say which there are."""
    repository = FileRepository(str(tmp_path))
    lay(
        Shelf(repository, "main"),
        "b1",
        datetime.datetime.now(datetime.timezone.utc),
        engine="pg_basebackup",
        kind="full",
    )
    for name, told in (("mian", "There is main."), ("main", "")):
        problems: list[str] = []
        ShelfSource(Shelf(repository, name), Secrets({}, str(tmp_path)), None).records(problems)
        assert told in " ".join(problems) and bool(told) == bool(problems)
