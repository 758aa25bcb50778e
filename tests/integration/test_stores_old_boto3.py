# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 by the boto3 that distributions have: 1.26 of Debian 12 and EPEL 9, 1.34 of Ubuntu 24.04. Nothing is simulated: each module runs with
an interpreter that has that version (`tests/tools/install_old_boto3.sh`).

The kind: a library that is older than ours, and lacks what we take for granted (2.15). Members: conditional puts for the lock, checksums
sent and compared, the settings of checksums, events before an answer is parsed, page tokens, object locks, silence. Found: every backup
failed at its lock with boto3 before 1.35; below 1.26 the version is asked for by name.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.http_fault import CORRUPT, HttpProxy, Raw, is_part
from lab.playbooks import CHECKOUT, ModuleResult, run_module
from lab.servers import Server
from lab.stores import S3Server

pytestmark = pytest.mark.extended
Options = dict[str, Any]
VERSIONS = ("1.26.27", "1.34.46")
TOO_OLD = "1.20.34"  # Ubuntu 22.04


def python_with(version: str) -> str:
    found = CHECKOUT / ".work" / f"venv-boto3-{version}" / "bin" / "python"
    if not found.exists():
        pytest.skip(f"no interpreter with boto3 {version}: tests/tools/install_old_boto3.sh")
    return str(found)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    reason = S3Server.missing()
    if reason:
        pytest.skip(reason)
    with S3Server(tls=False) as server:
        yield server


@pytest.fixture(scope="module")
def noise(server_factory: Any) -> Server:
    """A server with a database of 12 MB that does not compress: parts, not one put."""
    server: Server = server_factory(16)
    server.psql("CREATE DATABASE noise;")
    script = """
        CREATE TABLE bytes AS SELECT i, (SELECT string_agg(sha256((i * 10000 + j)::text::bytea), '') FROM generate_series(1, 1600) j) AS b
          FROM generate_series(1, 240) i;
    """
    server.psql(script, "noise")
    return server


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    return python_with(request.param)


def where(s3: S3Server, bucket: str, **more: Any) -> Options:
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key}
    small = {"part_size": 5 * 1024 * 1024, "concurrency": 3}
    return {"type": "s3", "bucket": bucket, "endpoint_url": s3.endpoint_url, "prefix": "ü/one", **keys, **small, **more}


def module(python: str, name: str, arguments: Options, **more: Any) -> Options:
    done = run_module(name, arguments, python=python, **more)
    assert not done.failed, f"{name}: {done.msg} {done.stderr[-2000:]}"
    return done.result


def login(server: Server) -> Options:
    return {**server.login(), "bin_dir": str(server.bindir)}


def test_all_that_is_done_with_a_bucket(s3: S3Server, noise: Server, python: str, tmp_path: Path) -> None:
    bucket = f"b-{secrets.token_hex(5)}"
    store = where(s3, bucket, sse="AES256", tags={"team": "db"}, storage_class="STANDARD_IA")
    made = module(python, "backup_bucket", {"repository": store, "versioning": True, "object_lock": True})
    assert made["changed"] and not module(python, "backup_bucket", {"repository": store, "versioning": True})["changed"]
    (checked,) = module(python, "backup_check", {"repository": store})["repositories"]
    assert not checked["errors"], checked

    backup = {**login(noise), "repository": store, "databases": ["noise"], "retention": {"keep_last": 2}}
    ids = [module(python, "pg_backup", backup)["backup"]["id"] for _number in range(3)]
    fresh = module(python, "pg_backup", {**backup, "max_age": "1h"}, check=True)
    assert not fresh["changed"]
    facts = module(python, "backup_facts", {"repository": store})["ansible_facts"]["holdfast_backups"]
    assert sorted(found["id"] for found in facts["backups"]) == ids[1:] and not facts["problems"]
    assert all(found["verified_at"] for found in facts["backups"])

    target = where(s3, bucket, prefix="copies")
    copied = module(python, "backup_copy", {"source": store, "target": target, "what": "backups"})
    assert copied["changed"]
    elsewhere = {"type": "file", "path": str(tmp_path)}
    tmp_path.chmod(0o755)
    module(python, "backup_copy", {"source": target, "target": elsewhere, "what": "backups"})
    module(python, "backup_copy", {"source": elsewhere, "target": where(s3, bucket, prefix="again"), "what": "backups"})

    pruned = module(python, "backup_prune", {"repository": store, "retention": {"keep_last": 1, "min_keep": 1}})
    assert [gone["id"] for gone in pruned["pruned"]] == ids[1:2]
    for repository in (store, where(s3, bucket, prefix="again")):
        restore = {**login(noise), "repository": repository, "databases": ["noise"], "target_db": "back"}
        module(python, "pg_restore", restore)
        sums = [
            noise.query("SELECT count(*), md5(string_agg(md5(b), '' ORDER BY i)) FROM bytes", database)
            for database in ("noise", "back")
        ]
        assert sums[0] == sums[1]
        noise.psql("DROP DATABASE back;")
    module(python, "pg_backup", {"repository": target, "state": "absent", "backup_id": ids[1]})
    left = module(python, "backup_facts", {"repository": target})["ansible_facts"]["holdfast_backups"]["backups"]
    assert [found["id"] for found in left] == ids[2:]


def test_a_lock_that_is_there_is_waited_for_or_told_of(s3: S3Server, noise: Server, python: str) -> None:
    """A conditional put that the store refuses is a lock that somebody else has, and no error of the library."""
    store = where(s3, s3.make_bucket(f"b-{secrets.token_hex(5)}"))
    backup = {**login(noise), "repository": store, "databases": ["noise"]}
    with HttpProxy(s3.port) as way:
        held: list[ModuleResult] = []

        def rule(request: Any) -> None:
            if is_part(request) and not held:  # the first run holds the lock at its first part
                held.append(run_module("pg_backup", {**backup, "lock_wait": 0}, python=python))

        with way.rule(rule):
            module(python, "pg_backup", {**backup, "repository": {**store, "endpoint_url": way.url}})
    assert held[0].failed and "lock" in held[0].msg.lower(), held[0].msg


def test_what_is_changed_on_its_way_up_is_seen(s3: S3Server, noise: Server, python: str) -> None:
    """This boto3 sends no checksums of its own: the signature has the content's, and each artifact is read back."""
    store = where(s3, s3.make_bucket(f"b-{secrets.token_hex(5)}"))
    struck: list[str] = []

    def rule(request: Any) -> Any:
        if is_part(request) and not struck:
            struck.append(request.path)
            return CORRUPT
        return None

    with HttpProxy(s3.port) as way, way.rule(rule):
        arguments = {**login(noise), "databases": ["noise"], "repository": {**store, "endpoint_url": way.url}}
        done = run_module("pg_backup", arguments, python=python)
    assert struck
    facts = module(python, "backup_facts", {"repository": store})["ansible_facts"]["holdfast_backups"]
    assert len(facts["backups"]) == (0 if done.failed else 1), done.msg
    if not done.failed:
        module(
            python, "pg_restore", {**login(noise), "repository": store, "databases": ["noise"], "target_db": "whole"}
        )
        noise.psql("DROP DATABASE whole;")


@pytest.mark.parametrize("body", [b"", b"<html><body>Please log in</body></html>"])
def test_what_is_no_listing_is_no_empty_one(s3: S3Server, python: str, body: bytes) -> None:
    """Older versions have no event before they parse an answer."""
    store = where(s3, s3.make_bucket(f"b-{secrets.token_hex(5)}"))
    page = Raw(body=body, kind="text/html")
    with HttpProxy(s3.port) as way, way.rule(lambda request: page if "list-type" in request.query else None):
        done = run_module("backup_facts", {"repository": {**store, "endpoint_url": way.url}}, python=python)
    said = done.msg or str(done.result)
    assert (done.failed or done.result["ansible_facts"]["holdfast_backups"]["problems"]) and "no listing" in said, said


def test_one_that_is_too_old_is_told_by_its_version(s3: S3Server) -> None:
    store = where(s3, s3.make_bucket(f"b-{secrets.token_hex(5)}"))
    done = run_module("backup_check", {"repository": store}, python=python_with(TOO_OLD))
    assert done.failed and f"in version {TOO_OLD}; 1.26 is the oldest that works" in done.msg, done.msg
