# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs with stores take: memory, and room on the host's disk; and manifests that belong to somebody else."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import ModuleResult, RunningModule, start_module
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
