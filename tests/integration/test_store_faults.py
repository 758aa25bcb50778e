# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs with stores take: memory, and room on the host's disk; and manifests that belong to somebody else."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump import growing, inotify, staging
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.http_fault import HOLD, Answer, HttpProxy, Request, is_part
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server
from lab.stores import S3Server
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

Options = dict[str, Any]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3(s3_plain: S3Server) -> S3Server:
    """Without TLS, as a proxy looks into what is said."""
    return s3_plain


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
        most, done = peak(start_module("backup_copy", given, fresh=True))
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
        **wide.client_options(),
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

LIMIT = 48 * MIB
# One table is larger than the limit, several are begun at once, and there are large objects, which have files of their own.
FILL = """
CREATE TABLE large AS
SELECT n, (SELECT string_agg(md5((n * 1000 + m)::text), '') FROM generate_series(1, 400) AS m) AS text
FROM generate_series(1, 6000) AS n;
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


def dumped(server: Server, repository: Options, **options: Any) -> Options:
    where = {**server.client_options(), "repository": repository, "databases": ["wide"]}
    return {**where, "globals": False, "format": "directory", "staging_limit": LIMIT, "compression": "none", **options}


@pytest.mark.parametrize(
    ("jobs", "least", "options"),
    [
        (1, LIMIT / 4, {}),
        (3, LIMIT / 4, {"compression": "zstd", "encryption": {"method": "aes256", "passphrase": "not said"}}),
        (3, 0, {"compression": "gzip"}),  # pg_dump compresses by itself, and is the slower one
    ],
    ids=["one job", "encrypted", "compressed by pg_dump"],
)
def test_the_directory_format_is_staged_within_its_limit(
    wide: Server, s3: S3Server, place: Path, jobs: int, least: float, options: Options
) -> None:
    # Slower than the dump: so it has to wait.
    given = dumped(wide, on_s3(s3, bandwidth_limit=20 * MIB), jobs=jobs, **options)
    running = start_module("pg_backup", given, env={"TMPDIR": str(place)})
    most = 0
    while running.process.poll() is None:
        most = max(most, lying_in(place))
        time.sleep(0.002)
    done = running.result()
    assert done.changed and not done.failed, done.msg
    assert list(place.iterdir()) == []
    backup = done.result["backup"]
    assert backup["warnings"] == [] and (options or backup["raw_size"] == backup["size"])
    print(f"{backup['size'] / MIB:.0f} MiB, {most / MIB:.1f} MiB at once")
    assert least < most < LIMIT < backup["size"]
    back = {key: given[key] for key in (*wide.login(), "bin_dir", "repository", "databases", "jobs")}
    back |= {"target_db": "back", **{key: value for key, value in options.items() if key == "encryption"}}
    restored = run_module("pg_restore", back)
    assert restored.changed and not restored.failed, restored.msg
    assert wide.query(SUMS, "back") == wide.query(SUMS, "wide")
    wide.psql("DROP DATABASE back;")


def processes(name: str, place: Path) -> dict[int, str]:
    """Processes of this name that write below a directory, each with its state (T: stopped)."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if words and words[0].endswith(name.encode()) and any(str(place).encode() in word for word in words):
                found[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize("how", ["the module", "its group", "told to stop"])
def test_a_run_that_ends_while_pg_dump_is_stopped(wide: Server, s3: S3Server, place: Path, how: str) -> None:
    repository = on_s3(s3)
    with HttpProxy(s3.port) as way, way.rule(lambda request: HOLD if is_part(request) else None):
        given = dumped(wide, {**repository, "endpoint_url": way.url}, jobs=2)
        running = start_module("pg_backup", given, env={"TMPDIR": str(place)})
        wait_until(lambda: len(processes("pg_dump", place)) == 3)
        wait_until(lambda: set(processes("pg_dump", place).values()) == {"T"})
        if how == "its group":
            running.kill()
        else:
            running.process.send_signal(signal.SIGTERM if how == "told to stop" else signal.SIGKILL)
        if how == "told to stop":
            way.release()
            assert "SIGTERM" in running.result(60).msg
            assert list(place.iterdir()) == []
        # Nobody goes on, and nobody keeps a snapshot of the server.
        wait_until(lambda: not processes("pg_dump", place))
        running.process.wait()
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'wide' AND pid <> pg_backend_pid()"
    wait_until(lambda: wide.query(asked, "wide") == [(0,)])
    after = run_module("pg_backup", dumped(wide, repository, jobs=2), env={"TMPDIR": str(place)})
    assert after.changed and not after.failed, after.msg
    found = run_module("backup_facts", {"repository": repository}).result["ansible_facts"]["holdfast_backups"]
    assert [entry["id"] for entry in found["backups"]] == [after.result["backup"]["id"]] and found["leftovers"] == []
    assert list(place.iterdir()) == []


def test_a_store_that_refuses_half_way(wide: Server, s3: S3Server, place: Path) -> None:
    denied = Answer(403, "AccessDenied", "Access Denied")

    def hit(request: Request) -> bool:
        return is_part(request) and request.query["partNumber"] == "3"

    with HttpProxy(s3.port) as way, way.rule(lambda request: denied if hit(request) else None):
        repository = on_s3(s3)
        given = dumped(wide, {**repository, "endpoint_url": way.url}, jobs=3)
        done = run_module("pg_backup", given, env={"TMPDIR": str(place)})
    assert done.failed and "may not UploadPart" in done.msg and "Traceback" not in done.stdout + done.stderr
    assert processes("pg_dump", place) == {} and list(place.iterdir()) == []
    found = run_module("backup_facts", {"repository": repository}).result["ansible_facts"]["holdfast_backups"]
    assert (found["count"], found["leftovers"], found["lock"]) == (0, [], None)
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=repository["bucket"])


# A program that writes as pg_dump does: files one after another, and at the end one that lists them.
WRITER = 'for file in 1 2 3 4 5 6; do cat "$0" > "$1/$file.dat"; done; echo "all of them" > "$1/toc.dat"'


@pytest.mark.parametrize("what", ["as ever", "no watch", "events lost", "space that stays"])
def test_what_the_system_cannot_do(place: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """All files come whole, whatever the kernel and the file system lack."""
    if what == "no watch":

        def none_left(path: str) -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(staging, "Watch", none_left)
    if what == "events lost":
        monkeypatch.setattr(inotify.Watch, "events", lambda self, seconds: iter([inotify.Event("", False, True)]))
    if what == "space that stays":
        monkeypatch.setattr(growing, "_give_back", lambda fd, start, size: None)
    got: dict[str, bytes] = {}

    def put(name: str, stream: growing.Following) -> None:
        data = b""
        while more := stream.read(65536):
            data += more
            time.sleep(0.001)
        stream.check()
        got[name] = data

    path, source, told = place / "dump", place / "source", list[int]()
    source.write_bytes(secrets.token_bytes(3_000_000))
    command = Command(["sh", "-c", WRITER, str(source), str(path)])
    doubt = staging.dump(command, str(path), 4 * MIB, 2, put, told.append)
    assert bool(doubt) == (what not in ("as ever", "space that stays")), doubt
    assert list(path.iterdir()) == []
    assert got.pop("toc.dat") == b"all of them\n"
    assert sorted(got) == [f"{number}.dat" for number in range(1, 7)]
    assert all(data == source.read_bytes() for data in got.values())
    assert told == sorted(told)
