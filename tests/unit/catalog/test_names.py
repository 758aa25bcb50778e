# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds: a word that means something else is taken for a name ("latest"); an empty answer for a name with a slip. Found: a backup with the id
"latest" could be made, and was never found again; a prune or facts of a server that is not there were ok, and empty."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy import CopyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)


def test_latest_is_no_id() -> None:
    with pytest.raises(BadOption, match="newest"):
        check_name("backup_id", "latest")
    assert check_name("backup_id", "latest-1") == "latest-1"
    assert check_name("server_name", "latest") == "latest"


def test_a_server_that_is_not_there_is_told_of_with_those_that_are(tmp_path: Path) -> None:
    repository = FileRepository(str(tmp_path))
    assert Shelf(repository, "mian").say_if_unknown() == ""  # nothing is there yet at all: a new repository
    lay(Shelf(repository, "main"), "b1", NOW)
    assert Shelf(repository, "main").say_if_unknown() == ""
    assert "There is main" in Shelf(repository, "mian").say_if_unknown()
    (tmp_path / "to").mkdir()
    with pytest.raises(CatalogError, match="There is main"):
        CopyRun(
            Shelf(repository, "mian"), Shelf(FileRepository(str(tmp_path / "to")), "x"), [], 1, 1 << 26, False, 0
        ).run(False)
