# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One walk along a chain, for all who ask.

The kind: loops without an end, where somebody's manifest decides. Members: a backup that is based on itself, two on each other, a longer
way into a circle: runs, facts, retention, copies, recoveries. Found: a recovery, and WAL-G's verification, went round for ever.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import plan_prune, prune
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, chain, is_whole, links
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import is_good
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import ShelfSource
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import judge
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)


def laid(path: Path, parents: Mapping[str, Optional[str]]) -> Shelf:
    shelf = Shelf(FileRepository(str(path)), "main")
    for number, (name, parent) in enumerate(parents.items()):
        kind = "incremental" if parent else "full"
        at = NOW - datetime.timedelta(hours=len(parents) - number)
        lay(shelf, name, at, engine="pg_basebackup", kind=kind, parent=parent, lsn=f"0/{number + 1}0")
    return shelf


@pytest.mark.parametrize(
    ("parents", "of", "walked", "whole"),
    [
        ({"a": None, "b": "a", "c": "b"}, "c", "cba", True),
        ({"a": None}, "a", "a", True),
        ({"b": "a", "c": "b"}, "c", "cb", False),
        ({"a": "a"}, "a", "a", False),
        ({"a": "b", "b": "a"}, "a", "ab", False),
        ({"a": "b", "b": "a", "c": "b"}, "c", "cba", False),
    ],
)
def test_each_who_walks_comes_to_an_end(
    tmp_path: Path, parents: Mapping[str, Optional[str]], of: str, walked: str, whole: bool
) -> None:
    shelf = laid(tmp_path, parents)
    known: dict[str, Record] = by_id(shelf.records([]))
    assert "".join(link.id for link in links(known[of], known.get)) == walked
    assert is_whole(known[of], known) == is_good(known[of], known) == whole
    if whole:
        assert "".join(link.id for link in chain(known[of], known)) == walked[::-1]
    else:
        with pytest.raises(CatalogError, match="cannot be restored"):
            chain(known[of], known)
    problems: list[str] = []
    source = ShelfSource(shelf, Secrets({}, str(tmp_path)), None)
    assert (of in {record.id for record in source.records(problems)}) == whole == (not problems)
    found = judge(list(known.values()), None, NOW, lambda record: None)
    assert (found.last_good is not None) == whole
    decisions = plan_prune(look(shelf), Policy.from_option({"keep_last": 1, "min_keep": 1}), [])
    prune(shelf, decisions, [], lambda: None)
    if whole:
        assert set(by_id(shelf.records([]))) == set(walked)
