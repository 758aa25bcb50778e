# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What WAL-G says, read. The entries here are made by hand after the fields of its source (``BackupDetail``), as WAL-G could not
be run where they were written; tests/integration/test_engine_wal_g.py asks the program itself."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import with_dependants
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g import listing
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, SegmentSize

SIZE = SegmentSize()
A, B, C, D = (
    "000000010000000000000004",
    "000000010000000000000006",
    "000000010000000000000008",
    "000000020000000000000009",
)
FULL, FIRST, SECOND, OTHER = f"base_{A}", f"base_{B}_D_{A}", f"base_{C}_D_{B}", f"base_{D}"


def entry(label: str, hour: int, **other: Any) -> dict[str, Any]:
    """A backup as ``backup-list --detail --json`` lists it."""
    return {
        "backup_name": label,
        "time": f"2026-11-21T{hour:02}:00:09.5Z",
        "wal_file_name": label[5:29],
        "storage_name": "default",
        "start_time": f"2026-11-21T{hour:02}:00:00.793015Z",
        "finish_time": f"2026-11-21T{hour:02}:00:09.000001Z",
        "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ",
        "hostname": "db1",
        "data_dir": "/var/lib/pg/data",
        "pg_version": 150007,
        "start_lsn": 0x16_B374D848,
        "finish_lsn": 0x16_B374D960,
        "is_permanent": False,
        "system_identifier": 7507672962298572862,
        "uncompressed_size": 26_000_000,
        "compressed_size": 8_000_000,
        **other,
    }


def read(*entries: dict[str, Any]) -> list[Record]:
    lost: dict[str, str] = {}
    found = listing.records(json.dumps(entries), "main", lost)
    assert lost == {}
    return found


def test_a_full_backup() -> None:
    (record,) = read(entry(FULL, 1))
    assert (record.id, record.engine, record.kind, record.parent) == (FULL, "wal_g", "full", None)
    assert (record.started_at, record.stopped_at) == ("2026-11-21T01:00:00Z", "2026-11-21T01:00:09Z")
    assert record.consistency["reached_at"] == "2026-11-21T01:00:10Z"
    assert (record.start_lsn, record.stop_lsn) == ("16/B374D848", "16/B374D960")
    assert record.scope == {"cluster": True, "size": 26_000_000, "stored": 8_000_000}
    assert record.server == {
        "name": "main",
        "system_id": "7507672962298572862",
        "version": "15.7",
        "version_num": 150007,
        "timeline": 1,
        "in_recovery": None,
        "data_directory": "/var/lib/pg/data",
    }
    assert (record.artifacts, record.pinned, record.annotations, record.created_by) == ([], False, {}, "db1")


def test_a_chain_oldest_first_whatever_the_order() -> None:
    found = read(entry(OTHER, 4), entry(SECOND, 3), entry(FULL, 1), entry(FIRST, 2))
    assert [(record.id, record.kind, record.parent) for record in found] == [
        (FULL, "full", None),
        (FIRST, "incremental", FULL),
        (SECOND, "incremental", FIRST),
        (OTHER, "full", None),
    ]
    assert [record.server["timeline"] for record in found] == [1, 1, 1, 2]
    # What changed is no size of a database.
    assert [record.scope["size"] for record in found] == [26_000_000, None, None, 26_000_000]


def test_what_we_had_it_keep() -> None:
    ours = json.loads(listing.notes("differential", {"why": "before the release"}))
    found = read(entry(FULL, 1, user_data={"x": [3]}), entry(FIRST, 2, user_data=ours, is_permanent=True))
    assert [(record.kind, record.annotations, record.pinned) for record in found] == [
        ("full", {}, False),
        ("differential", {"why": "before the release"}, True),
    ]


def test_the_parent_of_a_backup_is_named_even_when_it_is_gone() -> None:
    (record,) = read(entry(FIRST, 2))
    assert record.parent == FULL


@pytest.mark.parametrize("output", ["", "  \n", "[]", "null"])
def test_no_backups(output: str) -> None:
    lost: dict[str, str] = {}
    assert listing.records(output, "main", lost) == [] and lost == {}


@pytest.mark.parametrize("output", ["INFO: no", "{}x", '[{"name": "base"}]', "[1]"])
def test_no_listing(output: str) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        listing.records(output, "main", {})


@pytest.mark.parametrize(
    "damage",
    [
        {"start_time": "2026-11-21T01:00:00"},
        {"finish_time": None},
        {"start_lsn": "none"},
        {"pg_version": None},
        {"finish_lsn": -1},
    ],
)
def test_one_that_cannot_be_read_is_left_out_and_told(damage: dict[str, Any]) -> None:
    lost: dict[str, str] = {}
    found = listing.records(json.dumps([entry(FULL, 1, **damage), entry(OTHER, 2)]), "main", lost)
    assert [record.id for record in found] == [OTHER]
    assert list(lost) == [FULL] and FULL in lost[FULL]


def test_a_name_of_another_form_is_told() -> None:
    lost: dict[str, str] = {}
    assert listing.records(json.dumps([entry("stream_20261121T010000Z", 1)]), "main", lost) == []
    assert "stream_20261121T010000Z" in lost["stream_20261121T010000Z"]


def test_an_unknown_system_identifier_is_none() -> None:
    (record,) = read(entry(FULL, 1, system_identifier=None))
    assert record.server["system_id"] is None


def test_what_goes_with_a_backup() -> None:
    found = read(entry(FULL, 1), entry(FIRST, 2), entry(SECOND, 3), entry(OTHER, 4))
    assert with_dependants(found, [FULL], "WAL-G") == [FULL, FIRST, SECOND]
    assert with_dependants(found, [OTHER, FIRST], "WAL-G") == [FIRST, SECOND, OTHER]
    assert with_dependants(found, [], "WAL-G") == []
    with pytest.raises(CatalogError, match="has no backup base_x"):
        with_dependants(found, [FULL, "base_x"], "WAL-G")


DRY_RUN = f"""\
INFO: 2026/11/21 08:00:00.000001 retrieving permanent objects
INFO: 2026/11/21 08:00:00.000001 Found permanent objects: backups=map[{OTHER}:true], wals=map[{D}:true]
INFO: 2026/11/21 08:00:00.000001 Objects in folder:
INFO: 2026/11/21 08:00:00.000001 \twill be deleted: {FULL}_backup_stop_sentinel.json
INFO: 2026/11/21 08:00:00.000001 \twill be deleted: {FULL}/tar_partitions/part_001.tar.zst
INFO: 2026/11/21 08:00:00.000001 \twill be deleted: {FIRST}/metadata.json
INFO: 2026/11/21 08:00:00.000001 \twill be deleted: wal_005/{A}.zst
INFO: 2026/11/21 08:00:00.000001 \twill be deleted: wal_005/{A}.00000028.backup.zst
INFO: 2026/11/21 08:00:00.000001 Dry run, nothing were deleted
"""


def test_dry_runs() -> None:
    assert listing.doomed_backups(DRY_RUN) == {FULL, FIRST}
    names = [name for name in listing.doomed_wal(DRY_RUN) if name.startswith(A)]
    assert names == [f"{A}.zst", f"{A}.00000028.backup.zst"]
    assert listing.doomed_backups("nothing") == set() and listing.doomed_wal("nothing") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("000000010000000000000003.zst", False),
        ("000000010000000000000004.zst", True),
        ("000000010000000000000004.00000028.backup.zst", True),
        ("0000000100000000000000FF.zst", True),
        # of a later timeline that began before the backup: nothing of it is needed before that
        ("000000020000000000000003.zst", False),
        ("000000020000000000000004.partial.zst", True),
        ("000000010000000000000001_delta.zst", False),
        ("00000002.history.zst", True),
        ("something else", True),
    ],
)
def test_wal_that_a_backup_may_need(name: str, expected: bool) -> None:
    assert listing.needed(name, read(entry(FULL, 1)), SIZE) is expected


def test_a_later_timeline_that_began_earlier_keeps_its_own_wal() -> None:
    """A backup of timeline 1, then a recovery to before it, and a backup of timeline 2: its segments are lower."""
    one, two = "base_000000010000000000000010", "base_000000020000000000000007"
    kept = read(entry(one, 1), entry(two, 2))
    assert listing.needed("000000020000000000000007.zst", kept, SIZE)
    assert not listing.needed("000000010000000000000007.zst", kept, SIZE)
    assert not listing.needed("000000020000000000000007.zst", kept[:1], SIZE)


def test_segments_of_another_size() -> None:
    kept = read(entry("base_000000010000000100000002", 1))
    size = SegmentSize(64 * MEGABYTE)
    assert not listing.needed("00000001000000000000003F.zst", kept, size)
    assert listing.needed("000000010000000100000003.zst", kept, size)


def page(info: int) -> bytes:
    return struct.pack("=HHIQI4xQII", 0xD110, info, 1, 0x4000000, 0, 7507672962298572862, 16 * MEGABYTE, 8192)


def test_a_segment_says_whose_it_is() -> None:
    assert header.system_id(page(0x0002)) == header.system_id(page(0x0007)) == "7507672962298572862"
    assert header.system_id(page(0x0001)) is None
    assert header.system_id(b"\x10\xd1") is None


SPEC = {
    "Spec": {
        "base_prefix": "/var/lib/pg/data",
        "tablespaces": ["16385", "16386"],
        "16385": {"loc": "/fast", "link": "pg_tblspc/16385"},
        "16386": {"loc": "/slow", "link": "pg_tblspc/16386"},
    }
}


def test_tablespaces_go_where_they_are_told_and_their_links_into_the_new_directory() -> None:
    assert listing.restore_spec(SPEC, "/new", {"/fast/": "/new_fast"}) == {
        "base_prefix": "/new",
        "tablespaces": ["16385", "16386"],
        "16385": {"loc": "/new_fast", "link": "pg_tblspc/16385"},
        "16386": {"loc": "/slow", "link": "pg_tblspc/16386"},
    }


@pytest.mark.parametrize("sentinel", [{}, {"Spec": None}, {"Spec": {"base_prefix": "/d", "tablespaces": []}}])
def test_without_tablespaces(sentinel: dict[str, Any]) -> None:
    assert listing.restore_spec(sentinel, "/new", {}) is None
    with pytest.raises(BadOption, match="It has none"):
        listing.restore_spec(sentinel, "/new", {"/fast": "/x"})


def test_a_tablespace_that_the_backup_does_not_have() -> None:
    with pytest.raises(BadOption, match="It has: /fast, /slow"):
        listing.restore_spec(SPEC, "/new", {"/other": "/x"})
