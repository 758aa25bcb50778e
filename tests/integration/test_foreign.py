# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps that other tools made, restored: the stock pg_dump's, pg_dumpall's of a cron job, postgres-backup-local's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.compare import SETTINGS_OF_ALL, assert_same
from lab.harddata import QUOTES, SHOP, HardData
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server
from lab.stock import moved_tablespaces

# A dump of one database holds neither the database's own properties (but an archive's encoding and locale) nor roles.
OF_THE_DATABASE = ["properties*", "settings*", "privileges*", "comment*", "owner*", "database*"]
PACKERS = {".gz": ["gzip", "-c"], ".zst": ["zstd", "-q", "-c"], ".lz4": ["lz4", "-q", "-c"]}


def restore(server: Server, source: Path, state: Path, **options: Any) -> ModuleResult:
    login = {**server.client_options()}
    return run_module("pg_restore", {**login, "source": str(source), "state_dir": str(state / "state"), **options})


def restored(server: Server, source: Path, state: Path, **options: Any) -> None:
    """It is done, and a second run finds it done."""
    done = restore(server, source, state, **options)
    assert done.changed and not done.failed, done.msg
    again = restore(server, source, state, **options)
    assert not again.failed and not again.changed, again.msg or again.result


def pack(data: bytes, path: Path) -> Path:
    """Data into a file, compressed as its name says."""
    packer = PACKERS.get(path.suffix)
    path.write_bytes(subprocess.run(packer, input=data, stdout=subprocess.PIPE, check=True).stdout if packer else data)
    return path


@pytest.fixture(scope="module")
def roles(hard16: HardData, pg16: Server) -> Server:
    """A server that has the roles and tablespaces of the hard data, as one must have before single dumps fit."""
    pg16.wipe()
    script = moved_tablespaces(hard16.server.run("pg_dumpall", "--globals-only"), hard16, pg16)
    pg16.run(
        "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", stdin=script.replace(b"CREATE ROLE postgres;\n", b"")
    )
    return pg16


@pytest.mark.parametrize(
    ("form", "name", "database"),
    [
        ("plain", "dump.sql", SHOP),
        ("plain", "dump.sql.gz", SHOP),
        ("plain", "dump.sql.zst", QUOTES),
        ("plain", "dump.lz4", SHOP),
        ("plain", "any name at all", SHOP),
        ("custom", "dump.dump", SHOP),
        ("custom", "dump.dump.gz", QUOTES),
        ("tar", "dump.tar", QUOTES),
        ("tar", "dump.tar.zst", SHOP),
        ("directory", "dump.dir", SHOP),
    ],
)
def test_dumps_of_one_database(
    hard16: HardData, roles: Server, tmp_path: Path, form: str, name: str, database: str
) -> None:
    path = tmp_path / name
    if form == "directory":
        hard16.server.run("pg_dump", "--format=directory", f"--file={path}", db=database)
    else:
        pack(hard16.server.run("pg_dump", f"--format={form}", db=database), path)
    copy = "the copy"
    try:
        restored(roles, path, tmp_path, databases=[copy])
        assert_same(hard16.server, roles, {database: copy}, ignore=OF_THE_DATABASE, passwords=False)
    finally:
        roles.psql(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE);')


def test_a_cron_job_s_pg_dumpall(hard16: HardData, server_factory: Callable[..., Server], tmp_path: Path) -> None:
    target = server_factory(16)
    script = moved_tablespaces(hard16.server.run("pg_dumpall", "-l", "postgres"), hard16, target)
    path = pack(script, tmp_path / "all.sql.gz")
    done = restore(target, path, tmp_path)
    assert done.changed and not done.failed, done.msg
    assert {entry["database"] for entry in done.result["restored"]} == set(hard16.databases)
    assert_same(hard16.server, target, ignore=[SETTINGS_OF_ALL])
    # A script of a cluster makes its databases itself: a server that has some is refused.
    refused = restore(target, path, tmp_path)
    assert refused.failed and "whole cluster" in refused.msg and repr(SHOP) in refused.msg


def test_the_layout_of_postgres_backup_local(hard16: HardData, roles: Server, tmp_path: Path) -> None:
    layout = tmp_path / "backups"
    for folder in ("last", "daily", "weekly", "monthly"):
        (layout / folder).mkdir(parents=True)
    old = pack(b"CREATE TABLE old (n int);\n", layout / "last" / "shop-20261119-000000.sql.gz")
    new = pack(hard16.server.run("pg_dump", db=SHOP), layout / "last" / "shop-20261120-000000.sql.gz")
    pack(b"CREATE TABLE another (n int);\n", layout / "last" / "shopping-latest.sql.gz")
    os.utime(new, (1, 1))  # what counts is where "latest" points
    (layout / "last" / "shop-latest.sql.gz").symlink_to(new.name)
    (layout / "daily" / "shop-20261119.sql.gz").hardlink_to(old)
    try:
        restored(roles, layout, tmp_path, databases=[SHOP])
        assert_same(hard16.server, roles, [SHOP], ignore=OF_THE_DATABASE, passwords=False)
        (layout / "last" / "shop-latest.sql.gz").unlink()
        missing = restore(roles, layout, tmp_path, databases=["nothing"])
        assert missing.failed and "'nothing'" in missing.msg
        unnamed = restore(roles, layout, tmp_path)
        assert unnamed.failed and "databases" in unnamed.msg
    finally:
        roles.psql("DROP DATABASE IF EXISTS shop WITH (FORCE);")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02 nothing that is known", "neither SQL nor an archive"),
        (b"\x1f\x8b\x08 not really gzip", "gzip"),
        (b"PGDMP and no more", "header is damaged"),
        (b"CREATE TABLE half (n in", "cut off"),
    ],
    ids=["empty", "noise", "gzip", "archive", "cut"],
)
def test_files_that_are_no_dumps(roles: Server, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    before = roles.databases()
    done = restore(roles, path, tmp_path, databases=["from_a_file"])
    assert done.failed and words in done.msg, done.msg or done.stderr
    assert "exception" not in done.result
    assert roles.databases() == before


def test_a_dump_that_was_cut_off_half_way(hard16: HardData, roles: Server, tmp_path: Path) -> None:
    before = roles.databases()
    whole = hard16.server.run("pg_dump", "--format=custom", db=SHOP)
    (tmp_path / "cut.dump").write_bytes(whole[: len(whole) // 2])
    packed = pack(hard16.server.run("pg_dump", db=SHOP), tmp_path / "cut.sql.gz")
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    for name in ("cut.dump", "cut.sql.gz"):
        done = restore(roles, tmp_path / name, tmp_path, databases=["cut"])
        assert done.failed, done.result
        assert roles.databases() == before
