# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are allowed, and that one does not count with. The servers are real, what is strange is made on the way.

Kinds and members:

- a copy that the service makes by itself and is not done with (2.32): pending, pending for ever, failed, aborted, "success" of nothing.
- what a killed run leaves (2.32): parts of an upload, blocks, of copies of backups and of prefixes.
- a deletion that is said and not done: of a manifest. Found: "pruned", and it was there.
- a bulk deletion refused for one of many reasons, where each by itself would do. Found: a missing MD5 ended every retention.
- one content by two names: an ETag that a proxy changed. Found: "was replaced while it was being read", for ever.
- keys in another spelling: written as in addresses, unasked. Found: 0 backups, ok.
- keys that mean something elsewhere: +, %41, ?, #, &, blanks, letters outside ASCII, in all stores, listed, read, copied, deleted.
- what holds an object: a lease, an archive tier; what was said was another fault's words.
- where a store is comes from elsewhere, or is written twice: the environment, the bucket within the address, no scheme.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy_prefix import PrefixRun
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure import store as azure_store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from lab.http_fault import HOLD, LOST, SWALLOW, Answer, Edit, Fault, Headers, HttpProxy, Raw, Request, is_part
from lab.playbooks import run_module, start_module
from lab.records import lay
from lab.stores import AzureServer, S3Server

PART = 5 * 1024 * 1024
MEMORY = 512 * 1024 * 1024
NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def s3(s3_plain: S3Server) -> S3Server:
    return s3_plain


@pytest.fixture(scope="module")
def azure(azure_plain: AzureServer) -> AzureServer:
    return azure_plain


def opened(options: dict[str, Any], **more: Any) -> Repository:
    defaults = {name: spec.get("default") for name, spec in STORE.items()}
    parts = {} if options["type"] == "file" else {"part_size": PART}
    return open_repository({**defaults, **parts, **options, **more})


def s3_options(server: S3Server, url: str | None = None, **more: Any) -> dict[str, Any]:
    bucket = more.pop("bucket", None) or server.make_bucket(f"b-{secrets.token_hex(5)}")
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    return {"type": "s3", "bucket": bucket, "endpoint_url": url or server.endpoint_url, **keys, **more}


def azure_options(server: AzureServer, port: int | None = None, **more: Any) -> dict[str, Any]:
    container = more.pop("container", None) or server.make_container(f"c-{secrets.token_hex(5)}")
    url = server.endpoint_url.replace(str(server.port), str(port or server.port))
    keys = {"account": server.account, "account_key": server.account_key}
    return {"type": "azure", "container": container, "endpoint_url": url, **keys, **more}


def said_of(work: Any) -> str:
    with pytest.raises(HoldfastError) as failed:
        work()
    return str(failed.value)


# A copy that the service makes by itself


@pytest.mark.parametrize(
    "states", [["pending", "pending", "success"], ["failed"], ["pending", "aborted"], ["pending"] * 99]
)
def test_a_copy_of_azure_s_own_that_is_not_done(
    azure: AzureServer, monkeypatch: pytest.MonkeyPatch, states: list[str]
) -> None:
    """Where it fails the service leaves an empty blob by the right name."""
    monkeypatch.setattr(azure_store, "COPY_LIMIT", 0.3)
    options = azure_options(azure, prefix="a", tags={"team": "db"})
    opened(options).write("main/x/manifest.json", b"text", lasting=True)
    told = iter(states)
    copying: list[str] = []

    def rule(request: Request) -> Fault | None:
        if "x-ms-copy-source" in request.headers or (
            copying and request.method == "HEAD" and len(copying) < len(states)
        ):
            copying.append(request.method)
            return Headers({"x-ms-copy-status": next(told), "x-ms-copy-id": "1"})
        return None

    with HttpProxy(azure.port) as way, way.rule(rule):
        source, target = (
            opened(azure_options(azure, way.port, container=options["container"], prefix=prefix)) for prefix in "ab"
        )
        moved = PrefixRun(source, target, 1, MEMORY, False).run(False)
    assert moved.by_store == (1 if states[-1] == "success" else 0)
    assert opened(options, prefix="b").read("main/x/manifest.json") == b"text"
    assert not opened(options, prefix="b").unfinished("")


def test_tags_outlive_a_copy_of_azure_s_own(azure: AzureServer) -> None:
    options = azure_options(azure, prefix="a", tags={"team": "db"})
    source = opened(options)
    source.write("main/x", b"text", lasting=True)
    for prefix, tags, want in (("b", None, {"team": "db"}), ("c", {"team": "ops"}, {"team": "ops"})):
        assert PrefixRun(source, opened(options, prefix=prefix, tags=tags), 1, MEMORY, False).run(False).by_store == 1
        with azure.client() as client:
            assert client.get_blob_client(options["container"], f"{prefix}/main/x").get_blob_tags() == want


# What a killed run leaves


@pytest.mark.extended
@pytest.mark.parametrize("what", ["backups", "prefix"])
@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_parts_of_a_copy_that_was_killed_go(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, what: str
) -> None:
    server = request.getfixturevalue(kind)
    source = {"type": "file", "path": str(tmp_path)}
    data = secrets.token_bytes(2 * PART)
    lay(Shelf(opened(source), "main"), "b1", NOW - timedelta(days=1), data=data)
    with HttpProxy(server.port) as way:
        target = s3_options(server, way.url) if kind == "s3" else azure_options(server, way.port)
        arguments = {"source": source, "target": {**target, "part_size": PART, "concurrency": 1}, "what": what}
        parts: list[str] = []

        def rule(asked: Request) -> Fault | None:
            if is_part(asked):
                parts.append(asked.path)
            return HOLD if len(parts) > 1 else None

        with way.rule(rule):
            running = start_module("backup_copy", arguments)
            way.wait_for()
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
        assert opened(target).unfinished("")
        done = run_module("backup_copy", {**arguments, "lock_wait": 5})
        assert not done.failed, done.msg
        assert not opened(target).unfinished("")
        assert opened(target).read("main/b1/databases/shop.dump") == data


# Deletions


@pytest.mark.parametrize("method", ["DELETE"])
def test_a_deletion_that_is_said_and_not_done(s3: S3Server, method: str) -> None:
    with HttpProxy(s3.port) as way:
        shelf = Shelf(opened(s3_options(s3, way.url)), "main")
        lay(shelf, "b1", NOW)
        with way.rule(lambda asked: SWALLOW if asked.method == method else None):
            assert "has it still" in said_of(lambda: shelf.remove("b1"))
        assert shelf.read("b1") is not None
        shelf.verify(shelf.get("b1"))


@pytest.mark.parametrize(
    "code",
    [
        "MissingContentMD5",
        "InvalidDigest",
        "BadDigest",
        "InvalidRequest",
        "MalformedXML",
        "InvalidArgument",
        "BadRequest",
    ],
)
def test_a_store_that_refuses_to_delete_many_at_once_deletes_each(s3: S3Server, code: str) -> None:
    no = Answer(400, code, "Missing required header for this request: Content-Md5.")
    with HttpProxy(s3.port) as way:
        store = opened(s3_options(s3, way.url))
        for number in range(3):
            store.write(f"main/{number}", b"x")
        with way.rule(lambda asked: no if asked.method == "POST" and "delete" in asked.query else None):
            store.delete_folder("main")
        assert not list(store.list("main"))


# Done, and nobody hears of it


@pytest.mark.parametrize("what", ["part", "end", "whole", "delete", "lock"])
@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_an_answer_that_is_lost(request: pytest.FixtureRequest, kind: str, what: str) -> None:
    """The next attempt finds its own work: an upload that is no more, an object that is there, a lock that is ours."""
    server = request.getfixturevalue(kind)
    data = secrets.token_bytes(2 * PART + 7)
    lost: list[str] = []

    def is_it(asked: Request) -> bool:
        put, query = asked.method == "PUT", asked.query
        ends = (asked.method == "POST" and "uploadId" in query) or query.get("comp") == "blocklist"
        return {
            "part": is_part(asked),
            "end": ends,
            "whole": put and not is_part(asked) and not ends,
            "delete": asked.method == "DELETE",
            "lock": put,
        }[what]

    def rule(asked: Request) -> Fault | None:
        if is_it(asked) and not lost:
            lost.append(asked.path)
            return LOST
        return None

    with HttpProxy(server.port) as way:
        store = opened(s3_options(server, way.url) if kind == "s3" else azure_options(server, way.port))
        store.write("main/there", b"x")
        with way.rule(rule):
            if what in ("part", "end"):
                store.write("main/x", data)
                assert store.read("main/x") == data
            elif what == "whole":
                store.write("main/x", b"small")
                assert store.read("main/x") == b"small"
            elif what == "delete":
                store.delete("main/there")
                assert store.stat("main/there") is None
            else:
                assert store.swap("main/lock", None, b"mine")
                assert not store.swap("main/lock", None, b"theirs")
        assert lost
        assert not store.unfinished("")


@pytest.mark.parametrize("operation", ["copy", "end"])
def test_an_error_that_comes_with_200(s3: S3Server, operation: str) -> None:
    """Amazon begins its answer to what takes long before it knows how it ends."""
    error = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code><Message>again</Message></Error>'
    struck: list[str] = []

    def rule(asked: Request) -> Fault | None:
        copies = operation == "copy" and "x-amz-copy-source" in asked.headers
        if (copies or (operation == "end" and asked.method == "POST" and "uploadId" in asked.query)) and not struck:
            struck.append(asked.path)
            return Raw(body=error)
        return None

    with HttpProxy(s3.port) as way:
        options = s3_options(s3, way.url)
        source, target = (opened(options, prefix=prefix) for prefix in "ab")
        data = secrets.token_bytes(2 * PART)
        with way.rule(rule):
            source.write("main/x", data, lasting=True)
            assert PrefixRun(source, target, 1, MEMORY, False).run(False).by_store == 1
        assert struck
        assert target.read("main/x") == data


NONSENSE = {"nothing": b"", "html": b"<html><body>Please log in</body></html>", "json": b"{}", "null": b"null", "deep json": b"[" * 50_000,
            "deep xml": b"<a>" * 5_000, "number": b"7"}  # fmt: skip


@pytest.mark.extended
@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
def test_nonsense_with_200_is_never_a_success_and_never_raw(
    request: pytest.FixtureRequest, kind: str, nonsense: str
) -> None:
    """2.36: KeyError: 'ETag', InvalidResponse: (…), ValueError and RecursionError were all that was said."""
    server = request.getfixturevalue(kind)
    with HttpProxy(server.port) as way:
        if kind == "gcs":
            options = {
                "type": "gcs",
                "endpoint_url": way.url,
                "bucket": server.make_bucket(f"b-{secrets.token_hex(5)}"),
            }
        else:
            options = s3_options(server, way.url) if kind == "s3" else azure_options(server, way.port)
        store = opened(options)
        store.write("main/x", b"text")
        works: list[Callable[[], object]] = [
            lambda: store.write("main/small", b"small"),
            lambda: store.write("main/large", b"x" * (2 * PART)),
            lambda: store.read("main/x"),
            lambda: list(store.list("main")),
        ]
        with way.rule(lambda asked: Raw(body=NONSENSE[nonsense])):
            for number, work in enumerate(works):
                said = said_of(work)
                assert said.startswith("Cannot") or "accepted" in said or "as each has" in said, (number, said)
                assert "Traceback" not in said
                assert len(said) < 1500, said
        assert store.read("main/x") == b"text"


# One content by two names, keys in another spelling


@pytest.mark.parametrize("tag", ['W/"weak"', '"0-gzip"', "bare"])
def test_another_etag_of_the_same_content(s3: S3Server, tag: str) -> None:
    """A proxy that compresses, or caches, gives an ETag that the store does not know."""
    with HttpProxy(s3.port) as way:
        options = s3_options(s3, way.url)
        opened(options).write("main/x", b"text")
        with way.rule(lambda asked: Headers({"ETag": tag}) if asked.method in ("GET", "HEAD") else None):
            assert opened(options).read("main/x") == b"text"
        once: list[str] = []

        def rule(asked: Request) -> Fault | None:
            if asked.method == "GET" and not once:
                once.append(asked.path)
                opened(options, endpoint_url=s3.endpoint_url).write("main/x", b"another text")
            return None

        with way.rule(rule):  # and one that really is another by now is told of
            assert "was replaced while it was being read" in said_of(lambda: opened(options).read("main/x"))


def test_keys_that_are_listed_as_in_addresses(s3: S3Server) -> None:
    """A store that encodes keys without being asked lists others than there are: nothing below our prefix."""
    with HttpProxy(s3.port) as way:
        options = s3_options(s3, way.url, prefix="back ups/ü")
        opened(options).write("main/b/manifest.json", b"{}")
        other = Edit(
            lambda body: body.replace(b"<EncodingType>url</EncodingType>", b"").replace(
                b"back ups/\xc3\xbc", quote("back ups/ü").encode()
            )
        )
        with way.rule(lambda asked: other if asked.query.get("list-type") else None):
            said = said_of(lambda: list(opened(options).list("")))
    assert "as it is written in addresses" in said


NAMES = [
    "a+b",
    "a b",
    "a%41",
    "a%2Fb",
    "a?b",
    "a#b",
    "a&b=c",
    "größe",
    "a'b",
    "a;b",
    "日本",
    "a~b",
    "a[b]",
    "a,b",
    "a@b:c",
]


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["file", "s3", "azure", "gcs"])
def test_keys_that_mean_something_elsewhere(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Written, listed, looked at, read in ranges, copied by the store and through here, and deleted, each without the others."""
    if kind == "file":
        options: dict[str, Any] = {"type": "file", "path": str(tmp_path / "a")}
        other: dict[str, Any] = {"type": "file", "path": str(tmp_path / "b")}
        for path in (options["path"], other["path"]):
            Path(path).mkdir()
    else:
        server = request.getfixturevalue(kind)
        made = {"s3": s3_options, "azure": azure_options}.get(kind)
        bucket = {"type": "gcs", "endpoint_url": server.endpoint_url}
        whole = made(server) if made else {**bucket, "bucket": server.make_bucket(f"b-{secrets.token_hex(5)}")}
        options, other = ({**whole, "prefix": f"{prefix} +%41/ü"} for prefix in "ab")
    store, target = opened(options), opened(other)
    for name in NAMES:
        store.write(f"main/{name}/x", name.encode())
    assert sorted(info.key for info in store.list("main")) == sorted(f"main/{name}/x" for name in NAMES)
    assert all(store.read(f"main/{name}/x") == name.encode() for name in NAMES)
    PrefixRun(store, target, 4, MEMORY, False).run(False)
    (tmp_path / "c").mkdir()
    PrefixRun(store, opened({"type": "file", "path": str(tmp_path / "c")}), 4, MEMORY, False).run(False)
    for name in NAMES:
        assert target.read(f"main/{name}/x") == (tmp_path / "c" / "main" / name / "x").read_bytes() == name.encode()
    for number, name in enumerate(NAMES, 1):
        store.delete_folder(f"main/{name}")
        assert len(list(store.list(""))) == len(NAMES) - number
        assert store.stat(f"main/{name}/x") is None
    assert len(list(target.list(""))) == len(NAMES)


@pytest.mark.parametrize("prefix", ["/a//", "a"])
def test_slashes_around_a_prefix_are_none_of_it(s3: S3Server, prefix: str) -> None:
    """Found in others: "a/" was written below "a//", listed below "a/", and deleted below "a", with all of "ab"."""
    options = s3_options(s3)
    opened(options, prefix=prefix).write("main/x", b"text")
    opened(options, prefix="ab").write("main/x", b"another's")
    opened(options, prefix="a").write("mainland/x", b"another's")
    assert [info.key for info in opened(options, prefix="a").list("main")] == ["main/x"]
    opened(options, prefix=prefix).delete_folder("main")
    assert sorted(item["Key"] for item in s3.client().list_objects_v2(Bucket=options["bucket"])["Contents"]) == [
        "a/mainland/x",
        "ab/main/x",
    ]


# What holds an object


def test_a_lease_is_told_of_as_what_it_is(azure: AzureServer) -> None:
    options = azure_options(azure)
    store = opened(options)
    shelf = Shelf(store, "main")
    lay(shelf, "b1", NOW)
    with azure.client() as client:
        for key in ("main/b1/manifest.json", "main/lock.json"):
            if key == "main/lock.json":
                store.write(key, b"{}")
            client.get_blob_client(options["container"], key).acquire_lease(-1)
    assert "lease" in said_of(lambda: shelf.remove("b1")).lower()
    assert shelf.read("b1") is not None
    assert "break it" in said_of(lambda: store.swap("main/lock.json", b"{}", b'{"a": 1}'))
    assert "break it" in said_of(lambda: store.swap("main/lock.json", b"{}", None))


def test_an_archive_tier_says_nothing_against_a_backup(azure: AzureServer) -> None:
    options = azure_options(azure)
    shelf = Shelf(opened(options), "main")
    record = lay(shelf, "b1", NOW)
    with azure.client() as client:
        blob = client.get_blob_client(options["container"], "main/b1/databases/shop.dump")
        blob.set_standard_blob_tier("Archive")
    said = said_of(lambda: shelf.verify(record))
    assert "rehydrate" in said and "cannot be trusted" not in said and "may well be whole" in said


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (403, "InvalidObjectState", "Glacier"),
        (400, "KMS.DisabledException", "disabled"),
        (400, "KMS.NotFoundException", "gone"),
        (403, "AccessDenied", "may not GetObject"),
        (403, "RequestTimeTooSkewed", "clock"),
        (400, "ExpiredToken", "expired"),
    ],
)
def test_what_says_nothing_against_a_backup(s3: S3Server, status: int, code: str, word: str) -> None:
    """Not "this backup cannot be trusted", and nothing of what was there before, as nothing was written (2.36)."""
    with HttpProxy(s3.port) as way:
        shelf = Shelf(opened(s3_options(s3, way.url)), "main")
        record = lay(shelf, "b1", NOW)
        no = Answer(status, code, "no")
        with way.rule(lambda asked: no if asked.method == "GET" and asked.path.endswith(".dump") else None):
            said = said_of(lambda: shelf.verify(record))
    assert word in said and "may well be whole" in said
    assert "cannot be trusted" not in said and "What was there before" not in said


# Where a store is


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_address_out_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, s3: S3Server, name: str) -> None:
    options = s3_options(s3)
    monkeypatch.setenv(name, s3.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = opened(options, endpoint_url=None)
    store.write("main/x", b"text")
    assert s3.endpoint_url in store.description and opened(options).read("main/x") == b"text"


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("https://acme.s3.eu-central-1.amazonaws.com", "has the bucket acme in it"),
        ("http://127.0.0.1:9000/acme", "has the bucket acme in it"),
        ("http://127.0.0.1:9000/acme/", "has the bucket acme in it"),
        ("https://acme.s3-accelerate.amazonaws.com", "has the bucket acme in it"),
        ("http://acme.localhost:1", "Nothing answers there"),  # a host that has the bucket's name by chance
        ("minio:9000", "is no address"),
        ("minio.example.org", "is no address"),
        ("s3://acme", "is no address"),
        ("https://", "is no address"),
    ],
)
def test_addresses_that_are_none(address: str, word: str) -> None:
    keys = {"access_key": "a", "secret_key": "b"}
    assert word in said_of(
        lambda: opened({"type": "s3", "bucket": "acme", "endpoint_url": address, **keys}).check(False)
    )
