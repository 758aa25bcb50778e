# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest backup that is what a restore is there to undo. Found: a runbook kept the broken state, was taken back, and started anew: it chose that."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.source import select
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)
OPTIONS: Any = SimpleNamespace(databases=("shop",), schemas=(), tables=(), schema_only=False, data_only=False)
BROKEN = {"runbook": "20261126T120000Z-real-single_table-aa", "state": "broken"}


def annotated(shelf: Shelf, name: str, days: int, annotations: dict[str, str]) -> None:
    record = lay(shelf, name, NOW - datetime.timedelta(days=days))
    record.annotations = annotations
    shelf.write(record)


def test_what_a_runbook_kept_of_the_broken_state_is_taken_by_its_id_alone(tmp_path: Path) -> None:
    shelf, warnings = Shelf(FileRepository(str(tmp_path)), "db1"), []  # type: tuple[Shelf, list[str]]
    annotated(shelf, "kept", 1, BROKEN)
    with pytest.raises(CatalogError, match="kept, which a runbook kept of the broken state"):
        select(shelf, "latest", None, OPTIONS, warnings)
    annotated(shelf, "good", 2, {"state": "broken"})  # a word of the user's own
    assert select(shelf, "latest", None, OPTIONS, warnings).id == "good"
    assert any("kept" in told and "broken state" in told for told in warnings)
    assert select(shelf, "kept", None, OPTIONS, warnings).id == "kept"
