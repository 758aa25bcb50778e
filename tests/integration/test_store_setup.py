# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buckets made and set up, tokens made anew, backups copied and moved: against real servers, each twice."""

from __future__ import annotations

import datetime
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import run_module
from lab.servers import Server
from lab.stores import AzureServer, GcsServer, S3Server

Options = dict[str, Any]


@pytest.fixture(scope="module")
def shop(server_factory: Any) -> Server:
    server: Server = server_factory(16)
    server.psql("CREATE DATABASE shop;")
    server.psql("CREATE TABLE items AS SELECT n, 'item ' || n AS name FROM generate_series(1, 1000) n;", "shop")
    return server


def on_s3(server: S3Server, bucket: str, **options: Any) -> Options:
    # by the names of a Kubernetes secret
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "ACCESS_SECRET_KEY": server.secret_key}
    where = {"type": "s3", "bucket": bucket, "endpoint_url": server.endpoint_url, "ca_file": str(server.ca_file)}
    return {**where, "credentials": keys, **options}


def on_azure(server: AzureServer, container: str, **options: Any) -> Options:
    where = {"type": "azure", "account": server.account, "container": container, "endpoint_url": server.endpoint_url}
    return {**where, "account_key": server.account_key, "ca_file": str(server.ca_file), **options}


def module(name: str, arguments: Options, check: bool = False) -> Options:
    done = run_module(name, arguments, check=check)
    assert not done.failed, done.msg
    result: Options = done.result
    return result


def refused(name: str, arguments: Options, *words: str) -> None:
    done = run_module(name, arguments)
    assert done.failed and "Traceback" not in done.stderr
    for word in words:
        assert word in done.msg, done.msg


def three_times(name: str, arguments: Options) -> Options:
    """Plan, run, and run again: the plan and the run agree, and the second run changes nothing."""
    planned = module(name, arguments, check=True)
    done = module(name, arguments)
    assert planned["changed"] and done["changed"]
    assert planned["plan"] == done["plan"]
    again = module(name, arguments)
    assert not again["changed"], again["plan"]
    return done


def test_a_bucket_of_s3(s3: S3Server) -> None:
    wish = {
        "repository": on_s3(s3, "made-here", prefix="one/two", region="eu-central-1"),
        "versioning": True,
        "default_encryption": "AES256",
        "transitions": [{"after": "30d", "storage_class": "STANDARD_IA"}, {"after": "90d", "storage_class": "GLACIER"}],
        "expire_old_versions": "7d",
        "abort_uploads": "3d",
    }
    done = three_times("backup_bucket", wish)
    client = s3.client()
    assert client.get_bucket_versioning(Bucket="made-here")["Status"] == "Enabled"
    rules = client.get_bucket_lifecycle_configuration(Bucket="made-here")["Rules"]
    assert rules[0]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7
    # moto forgets the size from which on objects move: that is said.
    assert [entry["StorageClass"] for entry in rules[1]["Transitions"]] == ["STANDARD_IA", "GLACIER"]
    assert "moves manifests" in str(done["warnings"])
    # Somebody else's rule stays, and ours for another prefix.
    theirs = {"ID": "theirs", "Filter": {"Prefix": "x/"}, "Status": "Enabled", "Expiration": {"Days": 5}}
    client.put_bucket_lifecycle_configuration(Bucket="made-here", LifecycleConfiguration={"Rules": [*rules, theirs]})
    assert not module("backup_bucket", wish)["changed"]
    other = {**wish, "repository": {**wish["repository"], "prefix": "three"}, "transitions": []}
    assert module("backup_bucket", other)["changed"]
    assert module("backup_bucket", {**wish, "abort_uploads": "4d"})["changed"]
    rules = client.get_bucket_lifecycle_configuration(Bucket="made-here")["Rules"]
    ours = {"holdfast-one/two", "holdfast_classes-one/two", "holdfast-three"}
    assert {entry["ID"] for entry in rules} == {"theirs", *ours}
    # The preflight sees it all, and what does not concern it leaves it alone.
    report = module("backup_check", {"repository": wish["repository"], "retention": "30d"})["repositories"][0]
    assert report["errors"] == report["warnings"] == []
    elsewhere = {**wish["repository"], "prefix": "x"}
    refused("backup_check", {"repository": elsewhere, "retention": "30d"}, "'theirs' deletes objects after 5 days")
    # The policy of least privilege is enough for a preflight, and for nothing else.
    key, secret = s3.user(done["policy"])
    own = {**wish["repository"], "credentials": None, "access_key": key, "secret_key": secret}
    assert module("backup_check", {"repository": own})["repositories"][0]["errors"] == []
    refused("backup_check", {"repository": {**own, "prefix": "another"}}, "AccessDenied", "may not")
    refused("backup_bucket", {**wish, "object_lock": True}, "without object lock", "backup_copy")
    refused("backup_bucket", {**wish, "abort_uploads": "90min"}, "abort_uploads", "90min", "7d")


def test_a_bucket_with_object_lock(s3: S3Server) -> None:
    three_times("backup_bucket", {"repository": on_s3(s3, "locked-here"), "object_lock": True})
    locked = s3.client().get_object_lock_configuration(Bucket="locked-here")["ObjectLockConfiguration"]
    assert locked["ObjectLockEnabled"] == "Enabled"


def test_a_container_of_azure(azure: AzureServer) -> None:
    three_times("backup_bucket", {"repository": on_azure(azure, "made-here")})
    assert azure.client().get_container_client("made-here").exists()
    refused("backup_bucket", {"repository": on_azure(azure, "made-here"), "versioning": True}, "versioning", "account")


def test_a_bucket_of_google(gcs: GcsServer) -> None:
    where = {"type": "gcs", "bucket": "made-here", "endpoint_url": gcs.endpoint_url}
    planned = module("backup_bucket", {"repository": where, "block_public_access": False}, check=True)
    done = module("backup_bucket", {"repository": where, "block_public_access": False})
    assert done["plan"] == planned["plan"] == ["make the bucket made-here"]
    assert not module("backup_bucket", {"repository": where, "block_public_access": False})["changed"]


def test_a_token_that_is_made_anew(azure: AzureServer, tmp_path: Path) -> None:
    azure.make_container("setup-tokens")
    path = tmp_path / "sas_token"
    given = {"repository": on_azure(azure, "setup-tokens"), "path": str(path)}
    done = three_times("azure_sas", given)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with_token = {**on_azure(azure, "setup-tokens", account_key=None), "sas_token_file": str(path)}
    assert module("backup_check", {"repository": with_token})["repositories"][0]["errors"] == []
    path.chmod(0o644)
    refused("backup_check", {"repository": with_token}, "sas_token_file", "0600")
    path.chmod(0o600)

    first = path.read_text()
    renewed = three_times("azure_sas", {**given, "valid_for": "365d", "renew_before": "100d"})
    assert renewed["former_expires_at"] == done["expires_at"]
    assert Path(renewed["former_path"]).read_text() == first != path.read_text()

    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)
    path.write_text(azure.sas("setup-tokens", "rwdlc", soon))
    report = module("backup_check", {"repository": with_token})["repositories"][0]
    assert "expires in" in report["warnings"][0] and "rotate_credentials" in report["warnings"][0]
    path.write_text(azure.sas("setup-tokens", "rwdlc", datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)))
    refused("backup_check", {"repository": with_token}, "sas_token", "expired", "2026-01-01")


def test_a_token_that_an_identity_is_to_sign_for_too_long(azure: AzureServer, tmp_path: Path) -> None:
    # Nobody listens there: it is said before anything is asked.
    where = on_azure(azure, "setup-tokens", account_key=None, endpoint_url="https://127.0.0.1:1/account")
    given = {"repository": where, "path": str(tmp_path / "token")}
    for check in (True, False):
        done = run_module("azure_sas", given, check=check)
        assert done.failed and "Traceback" not in done.stderr
        for word in ("valid_for", "'90d'", "identity", "7d", "renew_before: 3d", "account_key"):
            assert word in done.msg, done.msg
    # A key in a connection string, or in the environment, signs for as long as one likes.
    by_string = {**given, "repository": {**where, "account": None, "connection_string": azure.connection_string}}
    by_string["repository"]["endpoint_url"] = None
    assert run_module("azure_sas", by_string, check=True).changed
    assert run_module("azure_sas", given, check=True, env={"AZURE_STORAGE_KEY": azure.account_key}).changed
    # Seven days pass, and then the identity is asked.
    week = run_module("azure_sas", {**given, "valid_for": "7d", "renew_before": "3d"}, check=True)
    assert week.changed and not week.failed, week.msg


def backed_up(server: Server, repository: Options, **options: Any) -> str:
    given = {**server.client_options(), "databases": ["shop"], "repository": repository}
    found: str = module("pg_backup", {**given, **options})["backup"]["id"]
    return found


def listed(repository: Options, server_name: str = "main") -> list[str]:
    facts = module("backup_facts", {"repository": repository, "server_name": server_name})
    return [entry["id"] for entry in facts["ansible_facts"]["holdfast_backups"]["backups"]]


def test_backups_are_copied_from_store_to_store_and_restored(
    shop: Server, s3: S3Server, azure: AzureServer, tmp_path: Path
) -> None:
    disk = {"path": str(tmp_path)}
    first = backed_up(shop, disk)
    time.sleep(1.1)  # a record's times are in seconds, and one of the two is to be the latest
    second = backed_up(shop, disk)
    bucket = on_s3(s3, s3.make_bucket("copies"), prefix="a b")
    container = on_azure(azure, azure.make_container("copies"))
    done = three_times("backup_copy", {"source": disk, "target": bucket, "backup_ids": ["latest"]})
    assert done["copied"] == [second] == listed(bucket)
    three_times("backup_copy", {"source": disk, "target": bucket})
    three_times("backup_copy", {"source": bucket, "target": container, "target_server_name": "other"})
    assert listed(container, "other") == sorted([first, second])
    within = three_times("backup_copy", {"source": bucket, "target": {**bucket, "prefix": "elsewhere"}})
    assert within["copied_by_store"] == within["objects"] > 0

    moved = {"source": container, "target": {**disk, "path": str(tmp_path / "back")}, "server_name": "other"}
    (tmp_path / "back").mkdir()
    done = module("backup_copy", {**moved, "delete_source": True})
    assert len(done["copied"]) == 2 and listed(container, "other") == []
    given = {**shop.client_options(), "repository": moved["target"], "server_name": "other"}
    module("pg_restore", {**given, "databases": ["shop"], "target_db": "copy"})
    assert shop.query("SELECT count(*), sum(n) FROM items", "copy") == shop.query(
        "SELECT count(*), sum(n) FROM items", "shop"
    )
    shop.psql("DROP DATABASE copy;")


def test_a_copy_that_was_damaged_is_no_backup(shop: Server, s3: S3Server, tmp_path: Path) -> None:
    disk = {"path": str(tmp_path)}
    backup_id = backed_up(shop, disk)
    artifact = next(path for path in (tmp_path / "main" / backup_id).rglob("*.zst") if path.stat().st_size > 100)
    content = bytearray(artifact.read_bytes())
    content[50] ^= 1
    artifact.write_bytes(content)
    bucket = on_s3(s3, s3.make_bucket("damaged"))
    refused("backup_copy", {"source": disk, "target": bucket, "delete_source": True}, "another content")
    assert listed(bucket) == [] and listed(disk) == [backup_id]


def test_a_folder_of_somebody_elses_is_renamed(s3: S3Server) -> None:
    client, bucket = s3.client(), s3.make_bucket("cnpg")
    keys = [f"postgres-v17/wals/{number:024X} ü" for number in range(300)]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    client.put_object(Bucket=bucket, Key="postgres-v171/other", Body=b"not ours")
    source, target = on_s3(s3, bucket, prefix="postgres-v17"), on_s3(s3, bucket, prefix="postgres-v17-backup")
    missing = on_s3(s3, bucket, prefix="nothing")
    refused("backup_copy", {"what": "prefix", "source": missing, "target": target}, "nothing in", "prefix")
    refused(
        "backup_copy",
        {"what": "prefix", "source": source, "target": on_s3(s3, bucket, prefix="postgres-v171")},
        "not empty",
    )
    refused("backup_copy", {"what": "prefix", "source": source, "target": source}, "target", "itself")
    # An interrupted one is gone on with.
    client.put_object(Bucket=bucket, Key=keys[0].replace("v17/", "v17-backup/"), Body=keys[0].encode())
    moved = {"what": "prefix", "source": source, "target": target, "delete_source": True}
    planned = module("backup_copy", moved, check=True)
    done = module("backup_copy", moved)
    assert planned["plan"] == done["plan"] and done["objects"] == done["copied_by_store"] == 299
    assert not module("backup_copy", moved)["changed"]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    left = {entry["Key"] for page in pages for entry in page["Contents"]}
    assert left == {"postgres-v171/other", *(key.replace("v17/", "v17-backup/") for key in keys)}
    body = client.get_object(Bucket=bucket, Key=keys[7].replace("v17/", "v17-backup/"))["Body"].read()
    assert body == keys[7].encode()


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ({"type": "s3"}, ["repository.bucket", "missing"]),
        ({"type": "azure"}, ["repository.container", "missing"]),
        ({"type": "azure", "container": "x"}, ["repository.account", "missing"]),
        ({"path": "/tmp", "bucket": "x"}, ["repository.bucket", "'x'", "type file", "s3"]),
        ({"type": "s3", "bucket": "x", "part_size": 1}, ["repository.part_size", "5 MiB"]),
        ({"type": "s3", "bucket": "x", "concurrency": 0}, ["repository.concurrency"]),
        ({"type": "s3", "bucket": "x", "access_key": "y"}, ["access_key", "secret_key"]),
        ({"type": "s3", "bucket": "x", "object_lock": "governance"}, ["object_lock", "object_lock_for"]),
        ({"type": "s3", "bucket": "x", "sse_customer_key": "short"}, ["sse_customer_key", "32 bytes"]),
        ({"type": "s3", "bucket": "x", "profile": "none such"}, ["none such", "profile"]),
        (
            {"type": "s3", "bucket": "x", "credentials": {"PASSWORD": "z"}},
            ["credentials", "PASSWORD", "AWS_ACCESS_KEY_ID"],
        ),
        (
            {"type": "azure", "container": "x", "account": "y", "account_key": "=no", "sas_token": "z"},
            ["account_key", "sas_token"],
        ),
        ({"type": "gcs", "bucket": "x", "credentials_file": "/no/such"}, ["credentials_file", "/no/such"]),
    ],
    ids=str,
)
def test_options_of_a_store_that_make_no_sense(repository: Options, words: list[str]) -> None:
    refused("backup_check", {"repository": repository}, *words)
