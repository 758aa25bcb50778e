# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of whole servers that are verified later, by each engine that is here: incremental ones with their WAL in an archive, pgBackRest's, Barman's.
Members: good; one byte of a file; a file missing, cut off; a segment of WAL missing; a tablespace's archive missing; a backup's folder, and the engine's
own list of them, missing or unreadable; what the engine cannot look at is said; marked, good again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.fault import flip_byte
from lab.playbooks import run_module
from lab.servers import Server

from .test_keepers import options_of
from .test_verify import bad, good

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short


@contextmanager
def without(path: Path) -> Iterator[None]:
    """The file is elsewhere meanwhile."""
    aside = path.parent.parent.parent / f"elsewhere-{path.name}"
    os.rename(path, aside)
    try:
        yield
    finally:
        os.rename(aside, path)


def archived(server: Server, engine: str, repository: Path) -> dict[str, Any]:
    """A server that archives into a repository by an engine."""
    given = options_of(server, engine, {"path": str(repository)})
    ok(run_module("wal_archive", given))
    server.restart()
    ok(run_module("wal_archive", {**given, "state": "verified"}))
    return given


def made(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    record: dict[str, Any] = ok(run_module("pg_backup", {**given, **more}))["backup"]
    return record


def reading(given: dict[str, Any], **more: Any) -> Any:
    names = ("repository", "server_name", "engine", "engine_program", "bin_dir")
    return run_module("backup_verify", {**{name: given[name] for name in names if name in given}, "full": True, **more})


def shown(given: dict[str, Any]) -> dict[str, Any]:
    names = ("repository", "server_name", "engine", "engine_program")
    asked = {
        name: given[name]
        for name in names
        if name in given and given["engine"] != "pg_basebackup" or name in ("repository", "server_name")
    }
    found: dict[str, Any] = ok(run_module("backup_facts", asked))["ansible_facts"]["holdfast_backups"]
    return found


def test_an_incremental_chain_with_its_wal_in_an_archive(server_factory: Callable[..., Server]) -> None:
    server = server_factory(18, settings={"summarize_wal": "on"})
    repository = server.server_directory("repository")
    given = {
        **server.client_options(),
        "server_name": "db1",
        "engine": "pg_basebackup",
        "repository": {"path": str(repository)},
    }
    ok(run_module("wal_archive", given))
    server.restart()
    ok(run_module("wal_archive", {**given, "state": "verified"}))
    server.query("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    full = made(given, include_wal=False)
    server.query("INSERT INTO t SELECT generate_series(1, 1000)")
    server.query("CHECKPOINT")
    second = made(given, kind="incremental", include_wal=False)
    assert second["parent"] == full["id"]
    assert sorted(good(reading(given, level="engine"))) == [full["id"], second["id"]]
    base = repository / "db1" / full["id"] / "base.tar.zst"
    whole = base.read_bytes()
    flip_byte(base)
    assert bad(reading(given), "base.tar.zst", "sha256 differs")["id"] == full["id"]
    found = {backup["id"]: backup["verified_at"] for backup in shown(given)["backups"]}
    assert found[full["id"]] is None and found[second["id"]] and shown(given)["last_success"] is None
    base.write_bytes(whole)
    assert sorted(good(reading(given))) == [full["id"], second["id"]] and shown(given)["last_success"]
    segment = next(
        path
        for path in sorted((repository / "db1/_wal").iterdir())
        if path.name[:24] >= _first(second) and ".backup" not in path.name
    )
    with without(segment):
        assert bad(reading(given, backup_id=second["id"]), segment.name[:24], "without which it is not consistent")
    assert good(reading(given, backup_id=second["id"])) == [second["id"]]


def _first(record: dict[str, Any]) -> str:
    high, low = (int(part, 16) for part in record["start_lsn"].split("/"))
    return f"{record['server']['timeline']:08X}{high:08X}{low >> 24:08X}"


def test_what_pgbackrest_keeps(server_factory: Callable[..., Server]) -> None:
    server = server_factory(15)
    repository = server.server_directory("repository")
    given = archived(server, "pgbackrest", repository)
    record = made(given)
    assert good(reading(given)) == [record["id"]]
    assert good(reading(given, level="presence")) == [record["id"]]
    files = [
        path
        for path in (repository / "pgbackrest/backup/db1" / record["id"]).rglob("*")
        if path.is_file() and "pg_data" in str(path)
    ]
    largest = max(files, key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()
    flip_byte(largest)
    assert bad(reading(given))["id"] == record["id"]
    assert shown(given)["backups"][0]["verified_at"] is None
    largest.write_bytes(whole)
    with without(largest):
        assert bad(reading(given, level="presence"))["id"] == record["id"]
    os.truncate(largest, len(whole) // 2)
    assert bad(reading(given, level="presence"), "bytes instead of")["id"] == record["id"]
    largest.write_bytes(whole)
    with without(repository / "pgbackrest/backup/db1" / record["id"]):
        assert bad(reading(given, level="presence"))["id"] == record["id"]
        assert bad(reading(given))["id"] == record["id"]
    catalogue = repository / "pgbackrest/backup/db1/backup.info"
    with without(catalogue), without(catalogue.with_name("backup.info.copy")):
        assert bad(reading(given), "the list of backups (backup.info) is missing")["id"] == record["id"]
        assert shown(given)["last_success"] is None and record["id"] in str(shown(given)["problems"])
    segment = next(path for path in (repository / "pgbackrest/archive/db1").rglob(f"{_first(record)}-*"))
    with without(segment):
        assert bad(reading(given), segment.name[:24])["id"] == record["id"]
    assert ok(reading(given))["verified"][0]["cleared"]


def test_what_barman_keeps(server_factory: Callable[..., Server], s3: Any) -> None:
    server = server_factory(15)
    bucket = s3.make_bucket("verify-barman")
    store = {
        "type": "s3", "bucket": bucket, "endpoint_url": s3.endpoint_url, "access_key": s3.access_key, "secret_key": s3.secret_key,
        "ca_file": str(s3.ca_file), "region": "us-east-1",
    }  # fmt: skip
    given = options_of(server, "barman_cloud", store)
    ok(run_module("wal_archive", given))
    server.restart()
    ok(run_module("wal_archive", {**given, "state": "verified"}))
    space = server.server_directory("space")
    server.query("CREATE TABLESPACE disk LOCATION %s", values=[str(space)])
    server.query("CREATE TABLE t TABLESPACE disk AS SELECT generate_series(1, 1000) AS n")
    record = made(given)
    done = reading(given, level="engine")
    assert good(done) == [record["id"]] and done.result["verified"][0]["level"] == "presence"
    assert "reads nothing back" in " ".join(done.result["proof"]["unproven"])
    assert shown(given)["backups"][0]["verified_at"] is None
    client = s3.client()
    key = next(
        item["Key"]
        for item in client.list_objects_v2(Bucket=bucket)["Contents"]
        if f"/{_first(record)}" in item["Key"] and ".backup" not in item["Key"]
    )
    data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.delete_object(Bucket=bucket, Key=key)
    assert bad(reading(given), _first(record))["id"] == record["id"]
    client.put_object(Bucket=bucket, Key=key, Body=data)
    assert ok(reading(given))["verified"][0]["cleared"]
    base = f"db1/base/{record['id']}/"
    lies = {
        item["Key"].removeprefix(base): item["Size"]
        for item in client.list_objects_v2(Bucket=bucket, Prefix=base)["Contents"]
    }
    (data,) = (name for name in lies if name.startswith("data."))
    (tablespace,) = (name for name in lies if name[0].isdigit())
    for name, damage, told in (
        (data, None, "is not in the store"),
        (tablespace, None, "is not in the store"),
        (data, b"", "has 0 bytes"),
        (data, b"x" * 100, "too few for a server"),
        ("backup.info", None, "no backup.info"),
        ("backup.info", b"\xff[", "backup.info"),
        ("backup.info", b"", "backup.info"),
    ):
        whole = client.get_object(Bucket=bucket, Key=base + name)["Body"].read()
        client.delete_object(Bucket=bucket, Key=base + name)
        if damage is not None:
            client.put_object(Bucket=bucket, Key=base + name, Body=damage)
        assert bad(reading(given), told)["id"] == record["id"], (name, damage)
        client.put_object(Bucket=bucket, Key=base + name, Body=whole)
    assert ok(reading(given))["verified"]
