# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest 2.45 said, recorded: a server with a tablespace, an encrypted repository in a directory and a plain one in a
bucket, a backup with damage put into it, dry runs, and repositories that cannot be read."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import with_dependants
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest import listing
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.listing import Listing
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.messages import explain, number
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError

RECORDED = Path(__file__).parent / "recorded"
FULL, INCREMENTAL = "20261121-082246F", "20261121-082246F_20261121-082254I"
SECOND, THIRD, ELSEWHERE = "20261121-082601F", "20261121-082736F", "20261121-092456F"
SYSTEM = "7710535130345447407"


def text(name: str) -> str:
    encoded = RECORDED / f"{name}.b64"  # with a wrong passphrase it prints what is no text
    data = base64.b64decode(encoded.read_bytes()) if encoded.exists() else (RECORDED / name).read_bytes()
    return data.decode("utf-8", errors="replace")


def changed(change: Any) -> str:
    """The listing with something done to its one stanza."""
    found = json.loads(text("info.json"))
    change(found[0])
    return json.dumps(found)


def test_backups() -> None:
    records = Listing(text("info.json"), "main").records("main")
    assert [record.id for record in records] == [FULL, INCREMENTAL, SECOND, THIRD, ELSEWHERE]
    full, incremental, *_others, elsewhere = records
    assert (full.kind, full.parent, full.engine, full.engine_version) == ("full", None, "pgbackrest", "2.45")
    assert (incremental.kind, incremental.parent) == ("incremental", FULL)
    # 1795249366 and 1795249373
    assert (full.started_at, full.stopped_at) == ("2026-11-21T08:22:46Z", "2026-11-21T08:22:53Z")
    assert full.consistency["reached_at"] == "2026-11-21T08:22:54Z"
    assert (full.start_lsn, full.stop_lsn) == ("0/D4000028", "0/D5000088")
    assert full.scope == {"cluster": True, "size": 720009203, "stored": 237755888, "repositories": [1]}
    assert incremental.scope == {"cluster": True, "size": 720009203, "stored": 528, "repositories": [1]}
    assert (full.server["system_id"], full.server["version_num"], full.server["timeline"]) == (SYSTEM, 150000, 1)
    assert (full.encryption["method"], elsewhere.encryption["method"]) == ("aes256", "none")
    assert elsewhere.scope["repositories"] == [2] and elsewhere.annotations == {"run": "9"}
    assert not any(record.artifacts or record.warnings for record in records)


def test_our_annotations_are_fields() -> None:
    full, incremental, *_others = Listing(text("info.json"), "main").records("main")
    assert (full.verified_at, full.annotations) == ("2026-01-01T00:00:00Z", {"k": "full"})
    assert (incremental.verified_at, incremental.drilled_at, incremental.pinned) == (None, None, False)

    def pin(entry: Any) -> None:
        entry["backup"][0]["annotation"] = {"holdfast.pinned": "true", "holdfast.drilled_at": "2026-02-01T00:00:00Z"}

    pinned = Listing(changed(pin), "main").records("main")[0]
    assert (pinned.pinned, pinned.drilled_at, pinned.annotations) == (True, "2026-02-01T00:00:00Z", {})


def test_one_label_in_two_repositories_is_one_backup() -> None:
    def twice(entry: Any) -> None:
        entry["backup"].append({**entry["backup"][0], "database": {"id": 1, "repo-key": 2}})

    records = Listing(changed(twice), "main").records("main")
    assert len(records) == 5 and records[0].scope["repositories"] == [1, 2]


def test_pages_with_wrong_checksums_are_told() -> None:
    def damage(entry: Any) -> None:
        entry["backup"][0]["error"] = True

    assert "checksums" in Listing(changed(damage), "main").records("main")[0].warnings[0]


def test_the_newest_server_of_a_stanza_is_its_owner() -> None:
    def upgrade(entry: Any) -> None:
        entry["db"].append({"id": 2, "repo-key": 1, "system-id": 42, "version": "16"})

    first, second = Listing(changed(upgrade), "main").states
    assert (first.system_id, second.system_id) == ("42", SYSTEM)
    assert Listing(changed(upgrade), "main").records("main")[0].server["system_id"] == SYSTEM


def test_tablespaces() -> None:
    expected = [{"oid": 16399, "name": "ts1", "location": "/tmp/lab-_t6c6xpr/ts1"}]
    assert Listing(text("info_set.json"), "main").tablespaces(THIRD) == expected
    assert Listing(text("info.json"), "main").tablespaces(THIRD) == []


@pytest.mark.parametrize(
    ("name", "stanza", "readable", "has_stanza", "unreachable"),
    [
        ("info.json", "main", True, True, False),
        ("info_nothing.json", "other", True, False, False),
        ("info_forbidden.json", "main", False, False, False),
        ("info_wrong_passphrase.json", "main", False, False, False),
        ("info_unreachable.json", "main", False, False, True),
    ],
)
def test_how_repositories_are(name: str, stanza: str, readable: bool, has_stanza: bool, unreachable: bool) -> None:
    state = Listing(text(name), stanza).states[0]
    assert (state.number, state.readable, state.has_stanza, state.unreachable) == (1, readable, has_stanza, unreachable)


@pytest.mark.parametrize("output", ["", "[]", "{}", "nonsense", '[{"name": "main"}]', '[{"name": "other", "db": []}]'])
def test_what_is_no_listing(output: str) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        Listing(output, "main")


def test_a_backup_that_cannot_be_read() -> None:
    with pytest.raises(CatalogError, match="KeyError"):
        Listing(changed(lambda entry: entry["backup"][0].pop("timestamp")), "main").records("main")


def test_what_needs_another_goes_with_it() -> None:
    records = Listing(text("info.json"), "main").records("main")
    assert with_dependants(records, [FULL], "pgBackRest") == [FULL, INCREMENTAL]
    assert with_dependants(records, [INCREMENTAL], "pgBackRest") == [INCREMENTAL]
    with pytest.raises(CatalogError, match="20200101-000000F"):
        with_dependants(records, ["20200101-000000F"], "pgBackRest")


def test_dry_runs() -> None:
    assert listing.expired(text("expire_dry_run.txt")) == {FULL, INCREMENTAL}
    assert listing.expired(text("expire_wal_dry_run.txt")) == set()
    assert listing.expired_wal(text("expire_wal_dry_run.txt")) == [
        "0000000100000000000000D3",
        "0000000100000000000000D8",
        "0000000100000000000000DB",
    ]
    assert listing.expired_wal(text("expire_dry_run.txt")) == []


def test_verdicts() -> None:
    sound, damaged = text("verify_sound.txt"), text("verify_damaged.txt")
    assert listing.verdicts(sound) == dict.fromkeys((FULL, INCREMENTAL, SECOND, THIRD), "valid")
    wrong = "invalid (checksum invalid: 1)"
    assert listing.verdicts(damaged) == {FULL: wrong, INCREMENTAL: wrong, SECOND: "valid", THIRD: "valid"}
    assert listing.archive_is_sound(sound) and not listing.archive_is_sound(damaged)


@pytest.mark.parametrize(
    ("folders", "newest"),
    [
        ([], None),
        (["archive.info", "archive.info.copy"], None),
        (["15-1"], "15-1"),
        (["9.6-2", "15-10", "16-9", "archive.info"], "15-10"),
    ],
)
def test_archive_of_the_current_server(folders: list[str], newest: str | None) -> None:
    assert listing.archive_id(folders) == newest


# Errors


@pytest.mark.parametrize(
    ("name", "code", "begin", "advice"),
    [
        ("another_server", 28, "[028]: backup and archive info files exist but do not match the database", ""),
        ("forbidden", 39, "[039]: HTTP request failed with 403 (FORBIDDEN):", "they must read, list, write and delete"),
        ("lock", 50, "[050]: unable to acquire lock on file", "Another pgBackRest works"),
        ("unreachable", 49, "[049]: unable to connect to 'localhost:1'", "Nothing answers there"),
        ("wrong_passphrase", 95, "[095]: unable to load info file", "The passphrase is not the one"),
    ],
)
def test_errors(name: str, code: int, begin: str, advice: str) -> None:
    said = text(f"error_{name}.txt")
    assert number(said) == code
    words = explain(said)
    assert words.startswith(begin) and advice in words and words.isprintable() and "\n" not in words
    assert len(words) < 900 and "redacted" not in words


def test_a_store_says_why() -> None:
    words = explain(Listing(text("info_forbidden.json"), "main").states[0].message)
    assert "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records." in words
    assert "check the repository's keys" in words and "authorization" not in words


def test_what_cannot_be_read_is_not_shown() -> None:
    words = explain(Listing(text("info_wrong_passphrase.json"), "main").states[0].message)
    assert words.isprintable() and "�" not in words and "The passphrase is not the one" in words


def test_a_token_is_not_shown() -> None:
    words = explain("P00  ERROR: [039]: HTTP request failed: GET /c?sv=1&sig=secret%3D&se=2 with 403")
    assert "secret" not in words and "sig=(hidden)&se=2" in words


def test_nothing_was_said() -> None:
    assert number("") == 0 and explain("") == "It said nothing."


@pytest.mark.parametrize(
    ("sizes", "stored", "lacks"),
    [
        ({"backup.manifest": 5, "pg_data/1.zst": 7, "bundle/1": 3}, 10, None),
        ({"backup.manifest.copy": 5, "bundle/1": 12}, 10, None),
        ({"backup.manifest": 5, "bundle/1": 1}, None, None),
        ({"backup.manifest": 5, "bundle/1": 9}, 10, "its files have 9 bytes instead of 10"),
        ({"backup.manifest": 50}, 10, "its files have 0 bytes instead of 10"),
        ({"bundle/1": 10}, 10, "its backup.manifest is missing"),
        ({}, 10, "its backup.manifest is missing"),
    ],
)
def test_what_a_backup_visibly_lacks(sizes: dict[str, int], stored: int | None, lacks: str | None) -> None:
    entries: dict[str, Any] = {name: {"type": "file", "size": size} for name, size in sizes.items()}
    assert listing.lacking(json.dumps({".": {"type": "path"}, **entries}), stored) == lacks


@pytest.mark.parametrize("output", ["", "[]", '{"a": 1}', '{"a": {"type": "file"}}'])
def test_a_list_of_files_that_is_none(output: str) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        listing.lacking(output, 1)


def test_what_lies_there_and_is_in_no_list() -> None:
    """One that is being made has a copy of its manifest alone."""
    names = (
        ".", "20261121-034019F", "20261121-034019F/backup.manifest", "20261121-034019F/backup.manifest.copy", "20261122-034019F/backup.manifest.copy",
        "20261121-034019F_20261122-010203I/backup.manifest", "backup.history/2026/20261120-034019F.manifest.gz", "latest",
    )  # fmt: skip
    said = json.dumps({name: {"type": "file", "size": 1} for name in names})
    assert listing.finished(said) == ["20261121-034019F", "20261121-034019F_20261122-010203I"]
    assert listing.finished("{}") == []
    for strange in ("", "7"):
        with pytest.raises(CatalogError, match="list of files cannot be read"):
            listing.finished(strange)
