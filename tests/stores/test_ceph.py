# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups through Ceph's RADOS Gateway: an S3 that is not Amazon's, checks signatures and policies, and is some years old."""

from __future__ import annotations

import base64
import itertools
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab.compare import assert_same
from lab.harddata import HardData
from lab.playbooks import run_module
from lab.servers import Server
from lab.stores import CephServer

Options = dict[str, Any]
Wipe = Callable[[object], Server]
SECRET = "a pass phrase: with 'everything' \\ in it"
PREFIX = "back ups/ü/one"
MIB = 1024 * 1024
NUMBERS = itertools.count(1)


@pytest.fixture
def bucket(ceph: CephServer) -> str:
    return ceph.make_bucket(f"test-{next(NUMBERS)}")


@pytest.fixture(scope="module")
def noise(server_factory: Any) -> Iterator[Server]:
    """A server with a database of 24 MB that does not compress: parts, not one put."""
    server: Server = server_factory(16)
    server.psql("CREATE DATABASE noise;")
    script = """
        CREATE TABLE bytes AS SELECT i, (SELECT string_agg(sha256((i * 10000 + j)::text::bytea), '') FROM generate_series(1, 1600) j) AS b
          FROM generate_series(1, 480) i;
    """
    server.psql(script, "noise")
    yield server


def store(ceph: CephServer, bucket: str, **options: Any) -> Options:
    where = {"type": "s3", "bucket": bucket, "endpoint_url": ceph.endpoint_url, "prefix": PREFIX}
    keys = {"access_key": ceph.access_key, "secret_key": ceph.secret_key}
    small = {"ca_file": str(ceph.ca_file), "part_size": 5 * MIB, "concurrency": 3}
    return {**where, **keys, **small, "request_checksum_calculation": "when_required", **options}


def module(name: str, arguments: Options, check: bool = False) -> Options:
    done = run_module(name, arguments, check=check)
    assert not done.failed, done.msg
    result: Options = done.result
    return result


def refused(name: str, arguments: Options, *words: str) -> None:
    done = run_module(name, arguments)
    assert done.failed, done.result
    assert all(word in done.msg for word in words), done.msg


def facts(repository: Options, **options: Any) -> Options:
    found: Options = module("backup_facts", {"repository": repository, **options})["ansible_facts"]["holdfast_backups"]
    return found


def sum_of(server: Server, db: str) -> object:
    return server.query("SELECT count(*), md5(string_agg(md5(b), '' ORDER BY i)) FROM bytes", db)


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "clear"])
def test_the_hard_data(ceph: CephServer, bucket: str, hard16: HardData, wiped: Wipe, encrypted: bool) -> None:
    repository = store(ceph, bucket)
    secret = {"encryption": {"method": "aes256", "passphrase": SECRET}} if encrypted else {}
    given = {
        **hard16.server.client_options(),
        "repository": repository,
        **secret,
        "role_passwords": True,
        "max_age": "1h",
    }
    given |= {} if encrypted else {"format": "directory", "jobs": 2}
    planned = module("pg_backup", given, check=True)
    assert facts(repository)["count"] == 0
    made = module("pg_backup", given)
    assert planned["changed"] and made["changed"] and made["backup"]["verified_at"]
    assert not module("pg_backup", given)["changed"]
    found = facts(repository)
    assert (found["count"], found["lock"], found["leftovers"], found["problems"]) == (1, None, [], [])

    target = wiped(16)
    moved = {name: str(target.server_directory(f"{name} ceph {encrypted}")) for name in hard16.tablespaces}
    wanted = {**target.client_options(), "repository": repository, "tablespace_locations": moved}
    wanted |= {"encryption": {"passphrase": SECRET}} if encrypted else {"jobs": 2}
    assert module("pg_restore", wanted, check=True)["changed"]
    assert module("pg_restore", wanted)["changed"]
    assert_same(hard16.server, target)
    assert not module("pg_restore", wanted)["changed"]


@pytest.mark.parametrize("own_key", [False, True], ids=["plain", "sse-c"])
def test_in_parts(ceph: CephServer, bucket: str, noise: Server, own_key: bool) -> None:
    key = {"sse_customer_key": base64.b64encode(secrets.token_bytes(32)).decode()} if own_key else {}
    repository = store(ceph, bucket, **key)
    made = module("pg_backup", {**noise.client_options(), "repository": repository, "databases": ["noise"]})
    listed = ceph.client().list_objects_v2(Bucket=bucket)["Contents"]
    dump = next(entry for entry in listed if "/databases/" in entry["Key"])
    parts = int(dump["ETag"].strip('"').rpartition("-")[2])
    assert parts == -(-dump["Size"] // (5 * MIB)) >= 4
    assert dump["Size"] == next(item["size"] for item in made["backup"]["artifacts"] if item["role"] == "database")
    module(
        "pg_restore", {**noise.client_options(), "repository": repository, "databases": ["noise"], "target_db": "copy"}
    )
    assert sum_of(noise, "copy") == sum_of(noise, "noise")
    noise.psql("DROP DATABASE copy;")
    if own_key:
        without = store(ceph, bucket)
        refused(
            "pg_restore",
            {**noise.client_options(), "repository": without, "databases": ["noise"], "target_db": "copy"},
            bucket,
        )
        wrong = {**repository, "sse_customer_key": base64.b64encode(bytes(32)).decode()}
        refused(
            "pg_restore",
            {**noise.client_options(), "repository": wrong, "databases": ["noise"], "target_db": "copy"},
            bucket,
        )


def test_what_nobody_finished_is_cleared_away(ceph: CephServer, bucket: str, noise: Server) -> None:
    repository, client = store(ceph, bucket), ceph.client()
    left = f"{PREFIX}/main/20260101T000000Z-abcdef/databases/x"
    upload = client.create_multipart_upload(Bucket=bucket, Key=left)["UploadId"]
    client.upload_part(Bucket=bucket, Key=left, UploadId=upload, PartNumber=1, Body=b"x" * 5 * MIB)
    other = client.create_multipart_upload(Bucket=bucket, Key="another/prefix")["UploadId"]
    assert facts(repository)["leftovers"] == ["20260101T000000Z-abcdef"]
    module("pg_backup", {**noise.client_options(), "repository": repository, "databases": ["postgres"]})
    uploads = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [entry["UploadId"] for entry in uploads] == [other]
    assert facts(repository)["leftovers"] == []


def test_boto3s_checksums_are_refused_and_the_option_is_named(ceph: CephServer, bucket: str, noise: Server) -> None:
    given = {**noise.client_options(), "databases": ["noise"]}
    for default in ({"request_checksum_calculation": None}, {"request_checksum_calculation": "when_supported"}):
        repository = store(ceph, bucket, **default)
        refused("pg_backup", {**given, "repository": repository}, "request_checksum_calculation", "when_required")
    assert facts(store(ceph, bucket))["count"] == 0


def test_least_privilege_is_enough(ceph: CephServer, bucket: str, noise: Server) -> None:
    repository = store(ceph, bucket)
    policy = module("backup_bucket", {"repository": repository, "block_public_access": False}, check=True)["policy"]
    # Ceph 16 refuses the whole policy for an action that it does not know.
    for statement in policy["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != "s3:GetEncryptionConfiguration"]
    access, secret = ceph.user(policy)
    own = {**repository, "access_key": access, "secret_key": secret}
    given = {**noise.client_options(), "repository": own, "databases": ["noise"], "retention": {"keep_last": 1}}
    first = module("pg_backup", given)["backup"]["id"]
    second = module("pg_backup", given)
    assert [entry["id"] for entry in second["pruned"]] == [first], second["warnings"]
    assert [entry["id"] for entry in facts(own)["backups"]] == [second["backup"]["id"]]
    module("pg_restore", {**noise.client_options(), "repository": own, "databases": ["noise"], "target_db": "copy"})
    assert sum_of(noise, "copy") == sum_of(noise, "noise")
    noise.psql("DROP DATABASE copy;")
    for elsewhere in ({"prefix": "another"}, {"bucket": ceph.make_bucket(f"test-{next(NUMBERS)}")}):
        refused("pg_backup", {**given, "repository": {**own, **elsewhere}}, "AccessDenied", "may not")


def test_a_lock_holds_against_retention(ceph: CephServer, noise: Server) -> None:
    name = f"test-{next(NUMBERS)}"
    wish = {"repository": store(ceph, name), "object_lock": True, "versioning": True, "block_public_access": False}
    assert module("backup_bucket", wish)["changed"] and not module("backup_bucket", wish)["changed"]
    locked = store(ceph, name, object_lock="governance", object_lock_for="1d")
    given = {**noise.client_options(), "repository": locked, "databases": ["noise"], "retention": {"keep_last": 1}}
    first = module("pg_backup", given)["backup"]["id"]
    second = module("pg_backup", given)
    assert second["pruned"] == [] and any(
        first in str(words) and "locked" in str(words) for words in second["warnings"]
    )
    assert facts(locked)["count"] == 2
    version = next(
        entry
        for entry in ceph.client().list_object_versions(Bucket=name)["Versions"]
        if first in entry["Key"] and "/databases/" in entry["Key"]
    )
    errors = pytest.importorskip("botocore.exceptions")
    with pytest.raises(errors.ClientError, match="AccessDenied"):
        ceph.client().delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])


def test_what_is_deleted_by_mistake_comes_back_with_its_version(ceph: CephServer, bucket: str, noise: Server) -> None:
    repository, client = store(ceph, bucket), ceph.client()
    wish = {"repository": repository, "versioning": True, "expire_old_versions": "7d", "block_public_access": False}
    assert module("backup_bucket", wish)["changed"] and not module("backup_bucket", wish)["changed"]
    given = {**noise.client_options(), "repository": repository, "databases": ["noise"], "retention": {"keep_last": 1}}
    first = module("pg_backup", given)["backup"]["id"]
    module("pg_backup", given)
    assert facts(repository)["count"] == 1
    gone = [entry for entry in client.list_object_versions(Bucket=bucket)["DeleteMarkers"] if first in entry["Key"]]
    for marker in gone:
        client.delete_object(Bucket=bucket, Key=marker["Key"], VersionId=marker["VersionId"])
    assert facts(repository)["count"] == 2
    wanted = {
        **noise.client_options(),
        "repository": repository,
        "backup_id": first,
        "databases": ["noise"],
        "target_db": "copy",
    }
    module("pg_restore", wanted)
    assert sum_of(noise, "copy") == sum_of(noise, "noise")
    noise.psql("DROP DATABASE copy;")


def test_the_store_copies_by_itself(ceph: CephServer, bucket: str, noise: Server) -> None:
    repository = store(ceph, bucket)
    module("pg_backup", {**noise.client_options(), "repository": repository, "databases": ["noise"]})
    elsewhere = {**repository, "bucket": ceph.make_bucket(f"test-{next(NUMBERS)}"), "prefix": "moved"}
    done = module("backup_copy", {"source": repository, "target": elsewhere, "delete_source": True})
    assert done["copied_by_store"] == done["objects"] > 0
    assert (facts(repository)["count"], facts(elsewhere)["count"]) == (0, 1)
    module(
        "pg_restore", {**noise.client_options(), "repository": elsewhere, "databases": ["noise"], "target_db": "copy"}
    )
    assert sum_of(noise, "copy") == sum_of(noise, "noise")
    noise.psql("DROP DATABASE copy;")
