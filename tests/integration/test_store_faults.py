# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs with stores take: memory, and room on the host's disk; and manifests that belong to somebody else."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file import FileRepository
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server
from lab.stores import S3Server

Options = dict[str, Any]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    reason = S3Server.missing()
    if reason:
        pytest.skip(reason)
    with S3Server(tls=False) as server:
        yield server


def on_s3(server: S3Server, **options: Any) -> Options:
    """A bucket of its own."""
    bucket = server.make_bucket(f"test-{secrets.token_hex(6)}")
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    where = {"type": "s3", "bucket": bucket, "endpoint_url": server.endpoint_url}
    return {**where, **keys, "part_size": 5 * MIB, "concurrency": 4, **options}


# Memory


def peak(module: RunningModule) -> tuple[int, ModuleResult]:
    """The most memory that a module took (bytes), and its answer."""
    most = 0
    while module.process.poll() is None:
        try:
            status = Path(f"/proc/{module.process.pid}/status").read_text()
        except OSError:
            break
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        most = max(most, *(int(word) * 1024 for word in found), 0)
        time.sleep(0.02)
    return most, module.result()


def test_a_copy_keeps_within_its_memory(s3: S3Server, tmp_path: Path) -> None:
    """Eight objects, each of which would take 30 MiB to be read and as much to be written."""
    source, small = on_s3(s3), on_s3(s3)
    client, data = s3.client(), secrets.token_bytes(32 * MIB)
    for number in range(8):
        client.put_object(Bucket=source["bucket"], Key=f"large {number}", Body=data)
    client.put_object(Bucket=small["bucket"], Key="small", Body=b"one")
    # Another address of the same store: so it does not copy by itself.
    elsewhere = s3.endpoint_url.replace("localhost", "127.0.0.1")

    def copy(source: Options, **options: Any) -> int:
        target = on_s3(s3, endpoint_url=elsewhere)
        given = {"what": "prefix", "source": source, "target": target, "threads": 8, **options}
        most, done = peak(start_module("backup_copy", given))
        assert not done.failed and done.result["copied_by_store"] == 0, done.msg
        assert done.result["objects"] == len(client.list_objects_v2(Bucket=target["bucket"])["Contents"])
        return most

    bare = copy(small)
    kept = copy(source, memory_limit=64 * MIB) - bare
    free = copy(source, memory_limit=1024 * MIB) - bare
    print(f"bare {bare / MIB:.0f} MiB, kept {kept / MIB:.0f} MiB, free {free / MIB:.0f} MiB")
    assert kept < 96 * MIB < 192 * MIB < free


# Manifests


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that others may not read")
def test_a_manifest_on_a_disk_that_belongs_to_somebody_else(wide: Server, tmp_path: Path) -> None:
    given = {
        **wide.login(),
        "bin_dir": str(wide.bindir),
        "repository": {"path": str(tmp_path)},
        "databases": ["postgres"],
    }
    first, second = (run_module("pg_backup", given).result["backup"]["id"] for _number in range(2))
    for path in (tmp_path, tmp_path / "main", tmp_path / "main" / second):
        path.chmod(0o755)
    (tmp_path / "main" / second / "manifest.json").chmod(0o644)
    problems: list[str] = []
    for parent in tmp_path.parents:
        parent.chmod(parent.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        found = [record.id for record in Shelf(FileRepository(str(tmp_path)), "main").records(problems)]
    finally:
        os.seteuid(0)
    assert found == [second]
    assert len(problems) == 1 and first in problems[0] and "Change its owner or its mode" in problems[0]


# Staging

LIMIT = 16 * MIB
# One table is larger than the limit, several are begun at once, and there are large objects, which have files of their own.
FILL = """
CREATE TABLE large AS
SELECT n, (SELECT string_agg(md5((n * 1000 + m)::text), '') FROM generate_series(1, 400) AS m) AS text
FROM generate_series(1, 4000) AS n;
CREATE TABLE medium AS SELECT * FROM large WHERE n <= 1000;
CREATE TABLE other AS SELECT * FROM large WHERE n % 5 = 0;
CREATE TABLE nothing (n int);
SELECT lo_from_bytea(0, decode(repeat('6c6f', 100000 + n), 'hex')) FROM generate_series(1, 20) AS n;
"""
SUMS = """
SELECT 'large', count(*), md5(string_agg(text, '' ORDER BY n)) FROM large
UNION ALL SELECT 'medium', count(*), md5(string_agg(text, '' ORDER BY n)) FROM medium
UNION ALL SELECT 'other', count(*), md5(string_agg(text, '' ORDER BY n)) FROM other
UNION ALL SELECT 'objects', count(*), md5(string_agg(lo_get(oid), '' ORDER BY oid)) FROM pg_largeobject_metadata
"""


@pytest.fixture(scope="module")
def wide(server_factory: Callable[..., Server]) -> Server:
    server = server_factory(18)
    server.psql("CREATE DATABASE wide;")
    server.psql(FILL, "wide")
    return server


@pytest.fixture
def place() -> Iterator[Path]:
    """For TMPDIR: a directory whose name is short enough for gpg-agent's socket."""
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as path:
        yield Path(path)


def lying_in(place: Path) -> int:
    """Bytes of the disk that files below a directory take."""
    total = 0
    for folder, _folders, names in os.walk(place):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_directory_format_is_staged_within_its_limit(wide: Server, s3: S3Server, place: Path, jobs: int) -> None:
    login = {**wide.login(), "bin_dir": str(wide.bindir)}
    # Slower than the dump: so it has to wait.
    given = {**login, "repository": on_s3(s3, bandwidth_limit=40 * MIB), "databases": ["wide"], "globals": False}
    given |= {"format": "directory", "jobs": jobs, "staging_limit": LIMIT, "compression": "none"}
    running = start_module("pg_backup", given, env={"TMPDIR": str(place)})
    most = 0
    while running.process.poll() is None:
        most = max(most, lying_in(place))
        time.sleep(0.002)
    done = running.result()
    assert done.changed and not done.failed, done.msg
    assert list(place.iterdir()) == []
    backup = done.result["backup"]
    assert backup["warnings"] == [] and backup["raw_size"] == backup["size"]
    dumped = sum(artifact["size"] for artifact in backup["artifacts"])
    print(f"{dumped / MIB:.0f} MiB went through {most / MIB:.1f} MiB")
    assert dumped > 4 * LIMIT and LIMIT / 2 < most < 1.5 * LIMIT
    back = {**login, "repository": given["repository"], "databases": ["wide"], "target_db": "back", "jobs": jobs}
    restored = run_module("pg_restore", back)
    assert restored.changed and not restored.failed, restored.msg
    assert wide.query(SUMS, "back") == wide.query(SUMS, "wide")
    wide.psql("DROP DATABASE back;")
