# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What barman-cloud 3.19.1 said, recorded: a server in New York with a tablespace, a backup by gzip that is kept, one that
failed for a codec, one by lz4 with a name, and one that was killed while it waited for its WAL."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import listing
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

RECORDED = Path(__file__).parent / "recorded"
FIRST, FAILED, SECOND, KILLED = "20261121T084019", "20261121T084034", "20261121T084036", "20261121T084045"
SIZE = SegmentSize()


def text(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def objects() -> dict[str, listing.Kept]:
    base = "pre/main/base/"
    found = json.loads(text("objects.json"))
    return listing.kept((key[len(base) :], size) for key, size in found if key.startswith(base))


def entries(**changes: Any) -> str:
    """The listing with the first backup changed."""
    found = json.loads(text("backup-list.json"))
    found["backups_list"][0].update(changes)
    return json.dumps(found)


def read(output: str, problems: list[str], lost: dict[str, str] | None = None) -> list[Record]:
    return listing.records(output, "main", objects(), problems, {} if lost is None else lost)


def test_backups() -> None:
    problems: list[str] = []
    first, second = read(text("backup-list.json"), problems)
    assert (first.id, first.kind, first.parent, first.engine) == (FIRST, "full", None, "barman_cloud")
    # begin_time_iso 2026-11-21T03:40:19.500861-05:00, end_time_iso 2026-11-21T03:40:27.060755-05:00
    assert (first.started_at, first.stopped_at) == ("2026-11-21T08:40:19Z", "2026-11-21T08:40:27Z")
    assert first.consistency["reached_at"] == "2026-11-21T08:40:28Z"
    assert (first.start_lsn, first.stop_lsn) == ("0/2000028", "0/2000100")
    assert first.scope == {"cluster": True, "size": 29905477, "stored": 245451 + 4 + 1408 + 2945745}
    assert first.server["system_id"] == "7710541829953492190"
    assert (first.server["version"], first.server["version_num"]) == ("16.14", 160014)
    assert (first.server["timeline"], first.server["in_recovery"]) == (1, False)
    assert first.server["tablespaces"] == [{"oid": 16384, "name": "fast", "location": "/tmp/lab-a0x3vz2z/fast disk"}]
    assert (first.compression["method"], second.compression["method"]) == ("gzip", "lz4")
    assert (first.pinned, second.pinned) == (True, False)
    assert (first.annotations, second.annotations) == ({}, {"name": "before the move"})
    assert first.artifacts == []


def test_those_that_are_none() -> None:
    problems: list[str] = []
    read(text("backup-list.json"), problems)
    failed, killed = problems
    assert FAILED in failed and "Missing required python module: python-snappy" in failed
    assert KILLED in killed and "STARTED" in killed
    assert listing.leftovers(text("backup-list.json")) == {FAILED, KILLED}


def test_what_lies_in_the_store_may_be_unknown() -> None:
    found = listing.records(text("backup-list.json"), "main", None, [], {})
    assert [record.id for record in found] == [FIRST, SECOND]
    assert {record.scope["stored"] for record in found} == {None}
    assert {record.compression["method"] for record in found} == {None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tablespaces": [["other", 16385, "/x"]]}, "16385 (.tar) of it is not in the store"),
        ({"snapshots_info": {"provider": "aws"}}, "snapshots of disks"),
        ({"begin_time_iso": None}, "cannot be read"),
        ({"begin_time_iso": "2026-11-21T03:40:19"}, "no offset"),
        ({"end_xlog": "none"}, "cannot be read"),
        ({"version": None}, "cannot be read"),
    ],
)
def test_one_that_cannot_be_used_does_not_hide_the_others(changes: dict[str, Any], words: str) -> None:
    problems: list[str] = []
    lost: dict[str, str] = {}
    assert [record.id for record in read(entries(**changes), problems, lost)] == [SECOND]
    assert len(problems) + len(lost) == 3
    # What never was one to restore from here has lost nothing.
    told = problems[0] if "snapshots_info" in changes else lost[FIRST]
    assert FIRST in told and words in told


def parts(**found: int) -> dict[str, listing.Kept]:
    return listing.kept((f"{FIRST}/{name.replace('__', '.')}", size) for name, size in found.items())


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            {"data__tar": 20 * MIB, "data_0002__tar": 10 * MIB},
            "part 1 of data (.tar) is not in the store, and part 2 is",
        ),
        ({"data_0001__tar": 30 * MIB}, "part 0 of data"),
        ({"data__tar": 0}, "part 0 of data (.tar) has 0 bytes"),
        ({"data__tar": 30 * MIB, "data_0001__tar": 512}, "part 1 of data (.tar) has 512 bytes"),
        ({"data__tar__gz": 19}, "part 0 of data (.tar) has 19 bytes"),
        ({"data__tar": MIB}, "too few for a server of 29905477"),
        ({"data__tar__gz": 20000}, "too few for a server of 29905477"),
        ({"data__tar__lz4": 100000}, "too few"),
        ({"data__tar": 30 * MIB, "data_0001__tar": 5 * MIB}, None),
        ({"data__tar__gz": 3 * MIB}, None),
        ({"data__tar__bz2": 2000}, None),
    ],
)
def test_parts_that_lack_or_are_cut(found: dict[str, int], words: str | None) -> None:
    """The kind: the presence of one name taken for the presence of all (CASES 1.38). A middle part lost, the first one lost, one of 0
    bytes, a cut one, archives too small for what ``backup.info`` says that they hold. What it cannot see is a last part that lacks, where
    sizes are compressed: what is restored is looked at for that."""
    problems: list[str] = []
    lost: dict[str, str] = {}
    made = listing.records(
        json.dumps({"backups_list": [{**json.loads(text("backup-list.json"))["backups_list"][0], "tablespaces": []}]}),
        "main",
        parts(**found),
        problems,
        lost,
    )
    assert problems == []
    if words is None:
        assert [record.id for record in made] == [FIRST] and lost == {}
    else:
        assert made == [] and words in lost[FIRST] and FIRST in lost[FIRST]


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ({"data__tar": MIB}, None, "no backup.info"),
        ({"data__tar": MIB, "backup__info": 3}, None, "backup.info cannot be read"),
        ({"data__tar": MIB, "backup__info": 0}, "EMPTY", "backup.info cannot be read"),
        ({"data__tar": MIB, "backup__info": 900}, "STARTED", None),
        ({"data__tar": MIB, "backup__info": 900}, "DONE", None),
        ({"backup__info": 0}, "EMPTY", None),
        ({"annotations/keep": 4}, None, None),
    ],
)
def test_archives_that_barman_does_not_know(found: dict[str, int], status: str | None, words: str | None) -> None:
    """The kind: a catalogue that is silent of what it lost. Its description missing, unreadable, of no bytes; begun and whole ones are no such."""
    listed = [] if status is None else [{"backup_id": FIRST, "status": status}]
    unlisted = listing.unlisted(json.dumps({"backups_list": listed}), parts(**found))
    assert [label for label, _lies in unlisted] == ([FIRST] if words else [])
    for label, lies in unlisted:
        assert words in listing.undescribed(label, lies)


def test_one_of_a_standby() -> None:
    (record, _second) = read(entries(backup_label="BACKUP FROM: standby\n"), [])
    assert record.server["in_recovery"] is True
    (record, _second) = read(entries(backup_label=None), [])
    assert record.server["in_recovery"] is None


def test_those_of_a_barman_server() -> None:
    """Its hook copies them here, incremental ones too."""
    (record, _second) = read(entries(status="WAITING_FOR_WALS", parent_backup_id="20261120T000000"), [])
    assert (record.kind, record.parent) == ("incremental", "20261120T000000")


@pytest.mark.parametrize("output", ["", "[]", "{}", '{"backups_list": [1]}', "Bucket does not exist"])
def test_no_listing(output: str) -> None:
    with pytest.raises(CatalogError, match="list of backups cannot be read"):
        listing.records(output, "main", {}, [], {})


def test_no_backups() -> None:
    assert listing.records('{"backups_list": []}', "main", {}, [], {}) == []


def test_parts_of_large_archives() -> None:
    found = listing.kept([("x/data.tar.gz", 10), ("x/data_0001.tar.gz", 5), ("x/16384_0001.tar", 1), ("x/other", 1)])
    assert found["x"].archives == {"data", "16384"}
    assert found["x"].stored == 17


def test_a_log() -> None:
    log = text("backup.log")
    assert listing.started(log) == FIRST
    assert listing.told(log, "ERROR", "WARNING") == []
    lines = log.splitlines(keepends=True)
    seen: list[str] = []
    for number in range(len(lines)):
        doing = listing.activity("".join(lines[: number + 1]))
        if doing and doing not in seen:
            seen.append(doing)
    assert seen == [
        "backing up fast by barman-cloud",
        "backing up pgdata by barman-cloud",
        "waiting for the WAL of the backup to be archived",
        "waiting for the uploads by barman-cloud",
    ]
    error = "2026-11-21 08:12:56,221 [6774] ERROR: Bucket b does not exist\n"
    assert listing.told(log + error, "ERROR") == ["Bucket b does not exist"]
    assert listing.started("nothing") is None


def test_what_a_dry_run_would_delete() -> None:
    keys, prefixes = listing.doomed(text("delete-dry-run.txt"))
    assert f"pre/main/base/{FIRST}/16384.tar.gz" in keys
    assert "pre/main/wals/0000000100000000/000000010000000000000004.gz" in keys
    assert (len(keys), prefixes) == (8, [])
    line = "Skipping deletion of all objects under prefix p/main/wals/0000000100000000/ due to --dry-run option"
    assert listing.doomed(line) == ([], ["p/main/wals/0000000100000000/"])
    with pytest.raises(CatalogError, match="cannot be read"):
        listing.doomed("Deleting everything")


def test_a_dry_run_is_looked_through() -> None:
    said = text("delete-dry-run.txt")
    first, second = read(text("backup-list.json"), [])
    assert listing.wrongly(said, "pre/main", FIRST, [second], SIZE) == []
    assert listing.wrongly(said, "pre/main", FIRST, [], SIZE) == []
    # Another backup's objects, and WAL that a backup which stays begins in.
    other = listing.wrongly(said, "pre/main", SECOND, [second], SIZE)
    assert len(other) == 3 and all(FIRST in key for key in other)
    needed = listing.wrongly(said, "pre/main", FIRST, [first], SIZE)
    assert [key.rpartition("/")[2][22:24] for key in needed] == ["02", "02", "03", "04"]
    whole = "Skipping deletion of all objects under prefix pre/main/wals/{}/ due to --dry-run option"
    assert listing.wrongly(whole.format("0000000100000000"), "pre/main", FIRST, [second], SIZE)
    # A timeline that is older than the backup's, and one that may have come of it.
    second.server["timeline"] = 2
    assert not listing.wrongly(whole.format("0000000100000000"), "pre/main", FIRST, [second], SIZE)
    assert listing.wrongly(whole.format("0000000300000000"), "pre/main", FIRST, [second], SIZE)


def test_tablespaces_elsewhere() -> None:
    (first, _second) = read(text("backup-list.json"), [])
    old = "/tmp/lab-a0x3vz2z/fast disk"
    assert listing.locations(first, {f"{old}/": "/new"}) == ["--tablespace", "fast:/new"]
    assert listing.locations(first, {}) == []
    with pytest.raises(BadOption, match="no location of a tablespace"):
        listing.locations(first, {"/other": "/new"})
    first.server["tablespaces"][0]["name"] = "a:b"
    with pytest.raises(BadOption, match="colon"):
        listing.locations(first, {old: "/new"})


def test_the_system_identifier_of_a_segment() -> None:
    page = struct.pack("=HHIQI4xQII", 0xD110, 0x0002, 1, 0x4000000, 0, 7710541829953492190, 16 << 20, 8192)
    assert header.system_id(page) == "7710541829953492190"
    assert header.system_id(page[:39]) is None
    assert header.system_id(struct.pack("=HHIQI4xQII", 0xD110, 0, 1, 0, 0, 1, 0, 0)) is None
