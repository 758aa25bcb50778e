# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of stopped applications: two writers, an empty one goes, and a damaged one is no empty one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.applications import NAME, StoppedApplications
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository


def entry(uid: str, replicas: object = 2) -> dict[str, object]:
    return {"uid": uid, "kind": "Deployment", "namespace": "shop", "name": f"app{uid}", "replicas": replicas}


def record(path: Path) -> StoppedApplications:
    return StoppedApplications(Shelf(open_repository({"type": "file", "path": str(path)}), "main"))


def test_two_writers_and_the_last_one_out(tmp_path: Path) -> None:
    one, other = record(tmp_path), record(tmp_path)
    assert one.entries() == {}
    one.add([entry("1")])
    other.add([entry("2")])
    one.add([entry("1", 5)])
    assert {uid: found["replicas"] for uid, found in other.entries().items()} == {"1": 5, "2": 2}
    one.remove(["1", "unknown"])
    other.remove(["2"])
    assert one.entries() == {} and not (tmp_path / "main" / NAME).exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"stopped": [{"uid": "1"}]}', '{"stopped": [{"uid": "1", "replicas": "x"}]}']
)
def test_a_damaged_one_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / NAME).write_text(text)
    with pytest.raises(CatalogError, match="annotations"):
        record(tmp_path).entries()
