# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: somebody else's bytes decide. Members: a manifest, an index and a lock with every field of a wrong type, null, missing; one
bit changed; cut anywhere; nested deeply; half a surrogate; far too large; little that unpacks to much. Each was tried: a manifest
is a problem in a list (CatalogError), an index is done without, a lock is held by somebody unknown; never anything raw."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import tracemalloc
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded, index
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import describe, holder, is_released
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, decode, encode
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.schema import FIELDS, OPTIONAL
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

GOOD: dict[str, Any] = {
    "format": 1, "id": "20261121T014512Z-3f9a1c", "engine": "pg_dump", "kind": "logical", "engine_version": "16.1",
    "server": {"name": "main", "system_id": "7", "version": "16.1", "version_num": 160001, "timeline": 1, "in_recovery": False},
    "started_at": "2026-11-21T01:45:12Z", "stopped_at": "2026-11-21T01:45:12.250Z", "start_lsn": "0/10", "stop_lsn": "0/20",
    "scope": {"databases": None, "tables": []}, "consistency": {"across": "one moment"},
    "databases": [{"name": "shop", "format": "custom", "size": 5,
                   "left_out": [{"schema": "public", "table": "t", "why": "unlogged", "rows": None}]}], "compression": {"method": "zstd", "level": None},
    "encryption": {"method": "none", "recipients": []},
    "artifacts": [{"key": "databases/shop.dump.zst", "role": "database", "size": 5, "sha256": "0" * 64, "raw_size": 9,
                   "database": "shop"}],
    "created_by": "holdfast.postgres", "parent": None, "verified_at": None, "drilled_at": None, "pinned": False,
    "annotations": {}, "warnings": [], "signature": None, "size": 5, "raw_size": 9,
}  # fmt: skip
STRANGE: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    "\0",
    [],
    [None],
    [[]],
    {},
    {"name": None},
    {"a": {"b": []}},
    1 << 70,
]


def _deep(levels: int) -> Any:
    value: Any = []
    for _number in range(levels):
        value = [value]
    return value


def test_a_good_one_is_read_and_written_the_same() -> None:
    record = decode(json.dumps(GOOD).encode(), "here")
    assert json.loads(encode(record)) == GOOD


def test_the_schema_says_the_same_as_the_code() -> None:
    schema = json.loads((Path(__file__).parents[3] / "docs" / "manifest.schema.json").read_text())
    assert set(schema["properties"]) == {*FIELDS, "format", "size", "raw_size"}
    assert {item.name for item in fields(Record)} == set(FIELDS)
    assert {
        item.name for item in fields(Record) if item.default is not MISSING or item.default_factory is not MISSING
    } == OPTIONAL
    assert set(schema["required"]) == {*FIELDS, "format", "size"} - OPTIONAL


@pytest.mark.parametrize("field", [*FIELDS, "format"])
def test_each_field_of_a_wrong_type(field: str) -> None:
    refused = 0
    for value in [*STRANGE, _deep(30), _deep(400)]:
        text = json.dumps({**GOOD, field: value}).encode()
        try:
            record = decode(text, "here")
        except CatalogError as exc:
            refused += 1
            assert "here" in str(exc)
            assert len(str(exc)) < 600
        else:
            # What is taken can be used: it is encoded, and read again.
            assert decode(encode(record), "here") == record
    assert refused >= 8
    if field not in OPTIONAL:
        missing = {name: value for name, value in GOOD.items() if name != field}
        with pytest.raises(CatalogError):
            decode(json.dumps(missing).encode(), "here")


@pytest.mark.parametrize("field", ["server", "scope", "databases", "encryption", "compression", "artifacts"])
def test_each_inner_field_of_a_wrong_type(field: str) -> None:
    value = GOOD[field]
    inner = value[0] if isinstance(value, list) else value
    for name in inner:
        for strange in STRANGE:
            changed = {**inner, name: strange}
            text = json.dumps({**GOOD, field: [changed] if isinstance(value, list) else changed}).encode()
            try:
                record = decode(text, "here")
            except CatalogError:
                continue
            assert encode(record)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "a/../b", "", "a//b", ".", "a\0b"])
def test_an_artifact_stays_below_its_backup(key: str) -> None:
    artifact = {**GOOD["artifacts"][0], "key": key}
    with pytest.raises(CatalogError):
        decode(json.dumps({**GOOD, "artifacts": [artifact]}).encode(), "here")


def test_no_artifacts_or_one_of_them_twice_is_damaged() -> None:
    for artifacts in ([], GOOD["artifacts"] * 2):
        with pytest.raises(CatalogError):
            decode(json.dumps({**GOOD, "artifacts": artifacts}).encode(), "here")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": "\\ud800"}',
        b"\xff\xfe",
        b"",
        b"null",
        b"9" * 10_000,
        b'{"format": NaN}',
    ],
    ids=["brackets", "objects", "surrogate", "no UTF-8", "nothing", "null", "a long number", "NaN"],
)
def test_what_is_no_manifest_at_all(data: bytes) -> None:
    with pytest.raises(CatalogError, match="damaged"):
        decode(data, "here")


def test_half_a_surrogate_in_a_name() -> None:
    text = json.dumps({**GOOD, "databases": [{"name": "\ud800"}]}).encode()
    with pytest.raises(CatalogError, match="damaged"):
        decode(text, "here")


def test_one_bit_or_a_cut_anywhere() -> None:
    text, chance = encode(decode(json.dumps(GOOD).encode(), "here")), random.Random(20261125)
    for _number in range(2000):
        data = bytearray(text)
        position = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[position] ^= 1 << chance.randrange(8)
        else:
            del data[position:]
        with contextlib.suppress(CatalogError):
            encode(decode(bytes(data), "here"))


def test_a_manifest_that_is_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST_MANIFEST", 1000)
    repository = FileRepository(str(tmp_path))
    repository.write("main/one/manifest.json", b" " * 5000)
    found = index.read_one(repository, "main", "one")
    assert isinstance(found, CatalogError)
    assert "main/one/manifest.json" in str(found)


def _index(rows: list[Any]) -> bytes:
    return gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


@pytest.mark.parametrize(
    "packed",
    [
        b"", b"nonsense", _index([None]), _index([["a", "m"]]), _index([["a", "m", None]]), _index([[{}, [], 5]]),
        _index([_deep(300)]), gzip.compress(b"[" * 100_000), _index([["a", "m", "text"]])[:20], gzip.compress(b"\xff\xfe\n"),
        _index([["a", "m", "\ud800"]]),
    ],
    ids=str,
)  # fmt: skip
def test_an_index_that_cannot_be_used_says_nothing(packed: bytes) -> None:
    assert dict(index._known(packed, {"a": "m"})) in ({}, {"a": b"text"})


def test_an_index_that_unpacks_to_gigabytes_takes_no_memory() -> None:
    line = json.dumps(["a", "other", "x" * 900_000]).encode() + b"\n"
    many, long = gzip.compress(line * 60), gzip.compress(b" " * 60_000_000)
    tracemalloc.start()
    assert dict(index._known(many, {"a": "m"})) == {}
    assert dict(index._known(long, {"a": "m"})) == {}
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 * bounded.MIB


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b'"x"', b"{}", b"[" * 100_000, b"\xff", b'{"host": [], "pid": {}, "since": 5, "purpose": null}',
     b'{"pid": "x", "alive_at": "yesterday", "boot_id": 7}', b'{"released_at": null}'],
    ids=str,
)  # fmt: skip
def test_a_lock_that_cannot_be_read_has_somebody_unknown(data: bytes) -> None:
    assert isinstance(holder(data), dict)
    assert describe(data)
    is_released(data)


def test_names_in_records_are_folders() -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", GOOD["id"])
