# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is being restored from a repository that an engine keeps is not deleted by our runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.engine_tier import EngineRepository, EngineTier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

CHAIN = {"full": None, "incremental": "full", "other": None}


@pytest.mark.parametrize(
    ("reads", "gone"),
    [
        ([], ["full", "incremental", "other"]),
        (["full"], ["incremental", "other"]),
        (["incremental", "full"], ["other"]),
        # what goes takes with it what is based on it
        (["incremental"], ["other"]),
    ],
)
def test_what_is_being_read_stays(tmp_path: Path, reads: list[str], gone: list[str]) -> None:
    shelf, warnings = Shelf(FileRepository(str(tmp_path)), "main"), []

    def broken() -> Shelf:
        raise RepositoryError("there is no boto3 here")

    engine: Any = SimpleNamespace(name="pgbackrest", delete=lambda labels, check, said: labels)
    place = EngineRepository("first", Policy.from_option({"keep_last": 1}))
    tier = EngineTier(engine, SimpleNamespace(), [place], warnings, shelves=[broken, lambda: shelf])  # type: ignore[arg-type]
    known: Any = [SimpleNamespace(id=name, parent=parent) for name, parent in CHAIN.items()]
    tier.known, tier.decisions = known, [Decision(name, False, ("too old",)) for name in CHAIN]
    with Reading(shelf, reads, "a test", [], lambda name: True):
        tier.prune(lambda: None)
    assert [entry["id"] for entry in tier.pruned] == gone
    assert sum("is being read" in said for said in warnings) == len(CHAIN) - len(gone)
    assert "no boto3" in str(warnings)  # and the engine's retention does not end for that
