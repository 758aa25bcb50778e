# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that differ from what their vendors' libraries expect, and what that may not cost: the former object, the other backups,
minutes of silence. The servers are real where it counts; what is strange is made on the way.

Kinds and members:

- cleaning up destroys (1.42): an upload over an object that fails at a part, at its end, or whose answer is lost; what a killed run
  left, dropped where somebody committed meanwhile. Found: Azure's former blob was deleted.
- what a store or a library lacks (2.15, 2.32): DeleteObjects (501, 405, 400), a key that fails for a moment, boto3 without conditions.
- silence (2.35, 3.8): each request of each store, accepted and never answered.
- one place by two names (1.37): a link, a mount, two addresses of one bucket, a folder within, equal names and sizes.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy_prefix import PrefixRun
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ObjectLocked, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories import store as store_module
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from lab.answers import ok
from lab.fault import refusing_port
from lab.http_fault import HOLD, Answer, Fault, HttpProxy, Raw, Request
from lab.playbooks import run_module
from lab.stores import AzureServer, S3Server

PART = 5 * 1024 * 1024
MEMORY = 512 * 1024 * 1024
LATER = datetime.now(timezone.utc) + timedelta(days=1)


@pytest.fixture(scope="module")
def s3(s3_plain: S3Server) -> S3Server:
    """Without TLS, as a proxy looks into what is said."""
    return s3_plain


@pytest.fixture(scope="module")
def azure(azure_plain: AzureServer) -> AzureServer:
    return azure_plain


def opened(options: dict[str, Any], **more: Any) -> Repository:
    defaults = {name: spec.get("default") for name, spec in STORE.items()}
    parts = {} if options["type"] == "file" else {"part_size": PART}
    return open_repository({**defaults, **parts, **options, **more})


def s3_options(server: S3Server, bucket: str, url: str | None = None, **more: Any) -> dict[str, Any]:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    return {"type": "s3", "bucket": bucket, "endpoint_url": url or server.endpoint_url, **keys, **more}


def azure_options(server: AzureServer, container: str, url: str | None = None) -> dict[str, Any]:
    return {
        "type": "azure",
        "container": container,
        "account": server.account,
        "account_key": server.account_key,
        "endpoint_url": url or server.endpoint_url,
    }


# Cleaning up destroys nothing


@pytest.mark.parametrize("at", ["block", "blocklist"])
def test_an_upload_that_fails_leaves_the_former_blob(azure: AzureServer, at: str) -> None:
    container = azure.make_container(f"c-{secrets.token_hex(5)}")
    plain = opened(azure_options(azure, container))
    plain.write("manifest", b"former")

    def rule(request: Request) -> Fault | None:
        return Answer(403, "AuthorizationFailure", "no") if request.query.get("comp") == at else None

    with HttpProxy(azure.port) as way:
        store = opened(azure_options(azure, container, azure.endpoint_url.replace(str(azure.port), str(way.port))))
        with way.rule(rule), pytest.raises(RepositoryError):
            store.write("manifest", b"x" * (2 * PART))
        assert plain.read("manifest") == b"former"
        with way.rule(rule), pytest.raises(RepositoryError):
            store.write("other", b"x" * (2 * PART))
    assert plain.stat("other") is None
    plain.forget_unfinished("")  # where even that was refused, the next run does it
    assert not plain.unfinished("")


def test_what_was_never_finished_goes_and_nothing_else(azure: AzureServer) -> None:
    container = azure.make_container(f"c-{secrets.token_hex(5)}")
    store = opened(azure_options(azure, container))
    store.write("main/kept", b"former")
    client = store.store.client  # type: ignore[attr-defined]
    for key in ("main/kept", "main/begun"):
        client.get_blob_client(key).stage_block("MDAwMDAwMDA=", b"part")
    assert store.unfinished("main") == ["main/begun"]
    store.forget_unfinished("main")
    assert not store.unfinished("main") and store.read("main/kept") == b"former" and store.stat("main/begun") is None


# What is missing


@pytest.mark.parametrize("status", [501, 405, 400])
def test_a_store_that_deletes_one_by_one(s3: S3Server, status: int) -> None:
    bucket = s3.make_bucket(f"b-{secrets.token_hex(5)}")
    with HttpProxy(s3.port) as way:
        store = opened(s3_options(s3, bucket, way.url))
        for number in range(3):
            store.write(f"main/{number}", b"x")
        code = {501: "NotImplemented", 405: "MethodNotAllowed", 400: "InvalidRequest"}[status]
        no = Answer(status, code, "A header you provided implies functionality that is not implemented")
        with way.rule(lambda request: no if request.method == "POST" and "delete" in request.query else None):
            store.delete_folder("main")
        assert not list(store.list("main"))


def test_a_key_that_fails_for_a_moment_is_not_locked(s3: S3Server) -> None:
    bucket = s3.make_bucket(f"b-{secrets.token_hex(5)}")
    with HttpProxy(s3.port) as way:
        store = opened(s3_options(s3, bucket, way.url))
        for number in range(3):
            store.write(f"main/{number}", b"x")
        busy = Raw(
            body=b"<DeleteResult><Error><Key>main/1</Key><Code>InternalError</Code><Message>again</Message></Error></DeleteResult>"
        )
        with way.rule(lambda request: busy if request.method == "POST" and "delete" in request.query else None):
            store.delete_folder("main")  # the one that was named is tried by itself
        assert [info.key for info in store.list("main")] == ["main/0", "main/2"]
        store.write("main/1", b"x")
        held = Raw(
            body=b"<DeleteResult><Error><Key>main/1</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
        )
        no = Answer(403, "AccessDenied", "Access Denied because object protected by object lock.")
        with (
            way.rule(lambda request: held if request.method == "POST" else no if request.method == "DELETE" else None),
            pytest.raises(ObjectLocked, match="object lock"),
        ):
            store.delete_folder("main")


def test_conditions_go_out_whatever_boto3_knows(s3: S3Server) -> None:
    """boto3 before 1.35 has no IfNoneMatch, and Debian 12 has 1.26: every backup failed at its lock."""
    store = opened(s3_options(s3, s3.make_bucket(f"b-{secrets.token_hex(5)}")))
    client = store.store.client  # type: ignore[attr-defined]
    members = client.meta.service_model.operation_model("PutObject").input_shape.members
    for name in ("IfNoneMatch", "IfMatch"):
        members.pop(name, None)
    assert store.swap("lock", None, b"mine")
    assert not store.swap("lock", None, b"theirs")
    assert not store.store.put_if("lock", b"theirs", None)  # type: ignore[attr-defined]
    assert not store.store.put_if("lock", b"theirs", '"another"')  # type: ignore[attr-defined]
    assert store.swap("lock", b"mine", b"renewed") and store.read("lock") == b"renewed"
    store.write("other", b"no condition")
    assert store.swap("lock", b"renewed", None)


def test_folders_of_a_console_are_no_objects(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.make_bucket(f"b-{secrets.token_hex(5)}")
    store = opened(s3_options(s3, bucket, prefix="ours"))
    s3.client().put_object(Bucket=bucket, Key="ours/", Body=b"")
    s3.client().put_object(Bucket=bucket, Key="ours/main/", Body=b"")
    store.write("main/a", b"text")
    assert [info.key for info in store.list("")] == ["main/a"] and list(store.folders("")) == ["main"]
    (tmp_path / "to").mkdir()
    PrefixRun(store, opened({"type": "file", "path": str(tmp_path / "to")}), 2, MEMORY, False).run(False)
    assert (tmp_path / "to" / "main" / "a").read_bytes() == b"text"
    store.delete_folder("main")
    assert [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]] == ["ours/"]


def test_tags_outlive_a_copy_within_the_store(s3: S3Server) -> None:
    bucket = s3.make_bucket(f"b-{secrets.token_hex(5)}")
    source = opened(s3_options(s3, bucket, prefix="a", tags={"team": "db"}))
    source.write("main/x", b"text", lasting=True)
    for prefix, tags, want in (("b", None, "db"), ("c", {"team": "ops"}, "ops")):
        target = opened(s3_options(s3, bucket, prefix=prefix, tags=tags))
        assert PrefixRun(source, target, 1, MEMORY, False).run(False).by_store == 1
        found = s3.client().get_object_tagging(Bucket=bucket, Key=f"{prefix}/main/x")["TagSet"]
        assert found == [{"Key": "team", "Value": want}]


# Silence


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
@pytest.mark.parametrize("work", ["check", "list", "stat", "read", "write", "delete"])
def test_who_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, kind: str, work: str) -> None:
    monkeypatch.setattr(store_module, "SILENCE", 1)
    with refusing_port() as nowhere, HttpProxy(nowhere) as way:
        own: dict[str, dict[str, Any]] = {
            "s3": {"bucket": "bucket", "access_key": "a", "secret_key": "b", "endpoint_url": way.url},
            "azure": {"container": "bucket", "account": "acc", "account_key": "a2V5", "endpoint_url": f"{way.url}/acc"},
            "gcs": {"bucket": "bucket", "endpoint_url": way.url},
        }
        store = opened({"type": kind, **own[kind]})
        works: dict[str, Callable[[], object]] = {
            "check": lambda: store.check(False),
            "list": lambda: list(store.list("main")),
            "stat": lambda: store.stat("main/a"),
            "read": lambda: store.read("main/a"),
            "write": lambda: store.write("main/a", b"x"),
            "delete": lambda: store.delete("main/a"),
        }
        began = time.monotonic()
        with way.rule(lambda request: HOLD), pytest.raises(RepositoryError, match="did not answer for 1 seconds"):
            works[work]()
        assert time.monotonic() - began < 20  # by default a minute


# One place by two names


def fill(repository: Repository, text: bytes = b"text") -> None:
    for name in ("main/_wal/000000010000000000000001", "main/b/manifest.json"):
        repository.write(name, text)


@pytest.mark.parametrize("name", ["link", "dots", "bind", "within", "around"])
@pytest.mark.parametrize("check", [False, True])
def test_a_directory_is_not_copied_onto_itself(tmp_path: Path, name: str, check: bool) -> None:
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    source = opened({"type": "file", "path": str(real)})
    fill(source)
    other = {
        "link": tmp_path / "link",
        "dots": tmp_path / "real" / ".." / "real",
        "bind": Path("/proc/self/root") / str(real).lstrip("/"),
        "within": tmp_path / "link" / "sub",
        "around": tmp_path,
    }[name]
    target = opened({"type": "file", "path": str(other)})
    with pytest.raises(RepositoryError, match="by another name"):
        PrefixRun(source, target, 2, MEMORY, True).run(check)
    assert len(list(source.list(""))) == 2


@pytest.mark.parametrize("prefixes", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
@pytest.mark.parametrize("check", [False, True])
def test_a_bucket_is_not_copied_onto_itself(s3: S3Server, prefixes: tuple[str, str], check: bool) -> None:
    """By another address, which is all that a name says."""
    bucket = s3.make_bucket(f"b-{secrets.token_hex(5)}")
    with HttpProxy(s3.port) as way:
        source = opened(s3_options(s3, bucket, prefix=prefixes[0]))
        target = opened(s3_options(s3, bucket, way.url.replace("127.0.0.1", "localhost"), prefix=prefixes[1]))
        fill(opened(s3_options(s3, bucket, prefix=max(prefixes, key=len))))
        with pytest.raises(RepositoryError, match="by another name"):
            PrefixRun(source, target, 2, MEMORY, True).run(check)
        assert len(s3.client().list_objects_v2(Bucket=bucket)["Contents"]) == 2


def test_two_buckets_of_one_prefix_are_two(s3: S3Server) -> None:
    source, target = (
        opened(s3_options(s3, s3.make_bucket(f"b-{secrets.token_hex(5)}"), prefix="a")) for _number in range(2)
    )
    fill(source)
    done = PrefixRun(source, target, 2, MEMORY, True).run(False)
    assert done.objects == 2 and not list(source.list("")) and len(list(target.list(""))) == 2


def test_equal_names_and_sizes_are_no_equal_content(tmp_path: Path) -> None:
    """Segments of another server's archive."""
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    source, target = (opened({"type": "file", "path": str(tmp_path / name)}) for name in ("from", "to"))
    fill(source, b"mine")
    fill(target, b"them")
    with pytest.raises(RepositoryError, match="another content"):
        PrefixRun(source, target, 2, MEMORY, True).run(False)
    assert len(list(source.list(""))) == 2
    for info in list(target.list("")):
        target.write(info.key, source.read(info.key))  # now it has been copied by somebody
    PrefixRun(source, target, 2, MEMORY, True).run(False)
    assert not list(source.list("")) and len(list(target.list(""))) == 2


def test_a_token_that_is_renewed_is_taken_up(azure: AzureServer, tmp_path: Path) -> None:
    container = azure.make_container(f"c-{secrets.token_hex(5)}")
    path = tmp_path / "token"

    def put(token: str) -> None:
        (tmp_path / "new").write_text(token)
        (tmp_path / "new").chmod(0o600)
        os.replace(tmp_path / "new", path)

    put(azure.sas(container, "rwdlc", LATER))
    where = {**azure_options(azure, container), "account_key": None, "sas_token_file": str(path)}
    store = opened(where)
    store.write("a", b"one")
    put(azure.sas(container, "rl", LATER))
    with pytest.raises(RepositoryError):
        store.write("b", secrets.token_bytes(8))
    put(azure.sas(container, "rwdlc", LATER))
    store.write("b", b"two")
    assert store.read("b") == b"two"


def test_a_token_whose_key_was_changed_is_made_anew(azure: AzureServer, tmp_path: Path) -> None:
    """1.43: its date says nothing of the key that signed it. The same for one of another account."""
    container = azure.make_container(f"c-{secrets.token_hex(5)}")
    options = dict(azure_options(azure, container))
    arguments = {"repository": options, "path": str(tmp_path / "token")}
    made = run_module("azure_sas", arguments)
    assert made.changed
    assert not ok(run_module("azure_sas", arguments))["changed"]
    good = (tmp_path / "token").read_text()
    stale = re.sub(r"sig=[^&\n]*", "sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D", good)
    (tmp_path / "token").write_text(stale)
    (tmp_path / "token").chmod(0o600)
    planned = run_module("azure_sas", arguments, check=True)
    assert planned.changed and "does not take" in str(planned.result["plan"])
    assert run_module("azure_sas", arguments).changed
    # Made within one second of the first it is the first, letter for letter: a signature has nothing random in it.
    assert "sig=AAAA" not in (tmp_path / "token").read_text() and (tmp_path / "token.former").read_text() == stale
    assert not ok(run_module("azure_sas", arguments))["changed"]
