# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What WAL-G 3.0.8 and 3.0.9 really said (recorded/), read.

The kind: a program's words taken for an interface, which change from version to version (CASES 2.17). With the words of 3.0.7 alone,
retention and deletion failed with both, always.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g import listing
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError

RECORDED = Path(__file__).with_name("recorded")
VERSIONS = ["wal-g-3.0.8", "wal-g-3.0.9"]
FIRST, SECOND = "000000010000000000000002", "000000010000000000000004"


def said(version: str, name: str) -> tuple[str, str]:
    """Standard output and error of a recorded run."""
    text = (RECORDED / version / f"{name}.txt").read_text()
    found = re.fullmatch(r"(?s)\$ .*?# stdout\n(.*?)# stderr\n(.*)", text)
    assert found, name
    return found[1], found[2]


@pytest.mark.parametrize("version", VERSIONS)
def test_backups(version: str) -> None:
    lost: dict[str, str] = {}
    records = listing.records(said(version, "backup-list")[0], "main", lost)
    assert lost == {} and len(records) == 3
    assert (records[0].id, records[0].kind, records[0].server["version_num"]) == (f"base_{FIRST}", "full", 150018)
    assert listing.records(said(version, "backup-list_empty")[0], "main", lost) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_deletions(version: str) -> None:
    for name in ("delete_target_dry", "delete_target_confirm"):
        assert listing.doomed_backups(said(version, name)[1]) == {f"base_{FIRST}"}
        assert len(listing.doomed(said(version, name)[1])) == 6
    assert listing.doomed_wal(said(version, "delete_garbage_dry")[1]) == ["000000010000000000000001.zst"]
    names = [f"{FIRST[:-1]}1.zst", f"{FIRST}.00000028.backup.zst", f"{FIRST}.zst", f"{FIRST[:-1]}3.zst"]
    for name in ("delete_garbage_dry_after", "delete_garbage_confirm"):
        assert listing.doomed_wal(said(version, name)[1]) == names
    assert listing.doomed_wal(said(version, "delete_retain_permanent_dry")[1]) == ["000000010000000000000005.zst"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(path.stem for path in (RECORDED / VERSIONS[0]).iterdir()))
def test_nothing_else_is_taken_for_a_deletion(version: str, name: str) -> None:
    if not name.startswith("delete"):
        assert listing.doomed(said(version, name)[1]) == []


def test_another_dialect_is_not_taken_for_nothing() -> None:
    text = said("wal-g-3.0.9", "delete_target_dry")[1]
    for changed in (text.replace("Object marked for deletion:", "Would delete"), text.replace("count=6", "count=7")):
        with pytest.raises(CatalogError):
            listing.doomed(changed)
