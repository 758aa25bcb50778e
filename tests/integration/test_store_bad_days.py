# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad days of object stores: each gives one clear error, and loses nothing. The servers are real; what fails is between."""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import shutil
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from lab import fault
from lab.answers import ok, refused, warned
from lab.http_fault import (
    CORRUPT,
    FALSIFY,
    FALSIFY_UP,
    HOLD,
    RESET,
    SWALLOW,
    Answer,
    ConnectProxy,
    HttpProxy,
    OtherTime,
    Request,
    is_part,
)
from lab.playbooks import ModuleResult, RunningModule, collections_path, run_adhoc, run_module, start_module
from lab.servers import Server
from lab.stores import AzureServer, GcsServer, S3Server

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

Options = dict[str, Any]
PART = 5 * 1024 * 1024
PREFIX = "back ups/ü/one"
# Some rows, and twelve megabytes which, not compressed, go up in three parts.
FILL = """
CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 500) AS n;
CREATE TABLE noise AS
SELECT n, (SELECT string_agg(md5((n * 1000 + m)::text), '') FROM generate_series(1, 400) AS m) AS text
FROM generate_series(1, 950) AS n;
"""
SMALL: Options = {"exclude_tables": ["noise"]}


# Servers


@pytest.fixture(scope="module")
def shop(server_factory: Callable[..., Server]) -> Server:
    server = server_factory(16)
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL, "shop")
    return server


@pytest.fixture(scope="module")
def s3(s3_plain: S3Server) -> S3Server:
    """Without TLS, as a proxy looks into what is said."""
    return s3_plain


@pytest.fixture(scope="module")
def azure(azure_plain: AzureServer) -> AzureServer:
    return azure_plain


@pytest.fixture(scope="module")
def way(s3: S3Server) -> Iterator[HttpProxy]:
    """The way to the S3 server, on which things happen."""
    with HttpProxy(s3.port) as proxy:
        yield proxy


@dataclass(frozen=True)
class Bucket:
    """A bucket of the S3 server, as its operator sees it."""

    server: S3Server
    name: str

    @property
    def client(self) -> Any:
        return self.server.client()

    def options(self, way: HttpProxy | None = None, **options: Any) -> Options:
        """For ``repository``; over a way on which things happen."""
        where = {"type": "s3", "bucket": self.name, "endpoint_url": way.url if way else self.server.endpoint_url}
        keys = {"access_key": self.server.access_key, "secret_key": self.server.secret_key}
        return {**where, **keys, "prefix": PREFIX, "part_size": PART, "concurrency": 2, **options}

    def marks(self, prefix: str = "") -> dict[str, str]:
        """Each object's key, and the mark (ETag) of its content."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        return {entry["Key"]: entry["ETag"] for entry in found}

    def all_keys(self, prefix: str = "") -> list[str]:
        return list(self.marks(prefix))

    def unfinished(self) -> list[str]:
        """The keys of uploads that were begun, and neither finished nor aborted."""
        return [entry["Key"] for entry in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def contents(self) -> bytes:
        """All that is in the bucket, in one."""
        return b"".join(self.client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in self.all_keys())


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    """An empty one."""
    return Bucket(s3, s3.make_bucket(f"test-{secrets.token_hex(6)}"))


@dataclass(frozen=True)
class Kept:
    """A bucket with a backup that must outlive everything."""

    bucket: Bucket
    id: str
    #: its objects' keys, and the marks of their contents
    marks: Mapping[str, str]

    def stands(self, *others: str) -> None:
        """The backup is what it was, and with the others it is all there is: no upload was left, nobody has the lock."""
        whole(self.bucket, self.id, *others)
        assert self.bucket.marks(f"{PREFIX}/main/{self.id}/") == self.marks


@pytest.fixture(scope="module")
def original(shop: Server, s3: S3Server) -> Kept:
    bucket = Bucket(s3, s3.make_bucket("original"))
    backup = made(shop, bucket.options(), **SMALL)["backup"]["id"]
    readable(shop, bucket.options(), backup)
    return Kept(bucket, backup, bucket.marks(f"{PREFIX}/main/{backup}/"))


@pytest.fixture
def kept(original: Kept, bucket: Bucket) -> Kept:
    for key in original.bucket.all_keys():
        source = {"Bucket": original.bucket.name, "Key": key}
        bucket.client.copy_object(Bucket=bucket.name, Key=key, CopySource=source)
    return Kept(bucket, original.id, original.marks)


# Runs


def arguments(server: Server, repository: Options | list[Options], **options: Any) -> Options:
    where = {"repositories": repository} if isinstance(repository, list) else {"repository": repository}
    return {
        **server.client_options(),
        **where,
        "databases": ["shop"],
        "globals": False,
        "compression": "none",
        **options,
    }


def back_up(server: Server, repository: Options | list[Options], **options: Any) -> ModuleResult:
    return run_module("pg_backup", arguments(server, repository, **options))


def made(server: Server, repository: Options | list[Options], **options: Any) -> Options:
    done = back_up(server, repository, **options)
    assert done.changed and not done.failed, done.msg
    assert done.result["backup"]["verified_at"]
    return done.result


def facts(repository: Options | list[Options], **options: Any) -> Options:
    where = {"repositories": repository} if isinstance(repository, list) else {"repository": repository}
    done = run_module("backup_facts", {**where, **options})
    assert not done.failed, done.msg
    found: Options = done.result["ansible_facts"]["holdfast_backups"]
    return found


def ids(found: Options) -> list[str]:
    return [entry["id"] for entry in found["backups"]]


def restore(server: Server, repository: Options, backup: str, check: bool = False) -> ModuleResult:
    chosen = {"databases": ["shop"], "target_db": "restored", "backup_id": backup}
    return run_module("pg_restore", {**server.client_options(), "repository": repository, **chosen}, check=check)


def readable(server: Server, repository: Options, backup: str) -> None:
    """A restore would be done: its check reads the whole backup back, and compares."""
    done = restore(server, repository, backup, check=True)
    assert done.changed and not done.failed, done.msg


def whole(bucket: Bucket, *backups: str) -> None:
    """The bucket has these backups, and nothing that a run left."""
    found = facts(bucket.options())
    assert ids(found) == list(backups)
    assert (found["leftovers"], found["lock"], found["problems"]) == ([], None, [])
    assert bucket.unfinished() == []
    folders = {key.removeprefix(f"{PREFIX}/main/").split("/")[0] for key in bucket.all_keys(f"{PREFIX}/main/")}
    assert folders - {"_identity.json", "_index.jsonl.gz", "_readers", "_restores", "lock.json"} == set(backups)


def silent(done: ModuleResult, *words: str) -> None:
    """None of these words is in anything that a run said."""
    for word in words:
        assert word not in done.stdout + done.stderr


def allow(bucket: Bucket, *actions: str) -> Options:
    """The keys of a user who may do these things in a bucket."""
    where = [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": where}]}
    access, secret = bucket.server.user(policy)
    return {"access_key": access, "secret_key": secret}


def to_artifact(request: Request) -> bool:
    """Whether a request is about the dump: the only large object of a backup."""
    return "/databases/" in request.path or "shop" in request.path


# Several repositories


@pytest.fixture
def disk(tmp_path: Path) -> Options:
    path = tmp_path / "disk"
    path.mkdir()
    return {"name": "disk", "path": str(path)}


def test_two_repositories_get_one_dump(shop: Server, disk: Options, bucket: Bucket) -> None:
    both = [disk, {"name": "cloud", **bucket.options()}]
    result = made(shop, both)
    backup = result["backup"]["id"]
    assert [(tier["name"], tier["backup"], tier["error"]) for tier in result["tiers"]] == [
        ("disk", backup, None),
        ("cloud", backup, None),
    ]
    found = facts(both)
    assert ids(found) == [backup]
    assert found["backups"][0]["tiers"] == ["disk", "cloud"]
    assert [tier["count"] for tier in found["tiers"]] == [1, 1]
    # The very same bytes, not two dumps.
    one, other = (facts(each)["backups"][0] for each in ({"path": disk["path"]}, bucket.options()))
    assert one["artifacts"] == other["artifacts"]
    whole(bucket, backup)
    readable(shop, {"path": disk["path"]}, backup)
    readable(shop, bucket.options(), backup)
    assert not ok(back_up(shop, both, max_age="1h"))["changed"]


def test_one_of_two_repositories_is_down_and_comes_back(shop: Server, disk: Options, bucket: Bucket) -> None:
    with fault.refusing_port() as port:
        down = {"name": "cloud", **bucket.options(endpoint_url=f"http://127.0.0.1:{port}")}
        done = back_up(shop, [disk, down], max_age="1h")
        assert done.failed
        found = facts([disk, down])
    backup = found["newest"]
    assert found["count"] == 1 and found["backups"][0]["verified_at"]
    assert f"disk has the backup {backup}, verified" in done.msg
    assert "1 of 2 repositories failed" in done.msg and "cloud failed" in done.msg and str(port) in done.msg
    assert "Nothing answers there" in done.msg and "Traceback" not in done.stdout + done.stderr
    assert "cloud" not in found["backups"][0]["tiers"] and str(port) in found["tiers"][1]["error"]
    readable(shop, {"path": disk["path"]}, backup)

    healed = [disk, {"name": "cloud", **bucket.options()}]
    planned = run_module("pg_backup", arguments(shop, healed, max_age="1h"), check=True)
    assert planned.changed and planned.result["plan"] == [f"copy {backup} from disk to cloud, verified"]
    # No second dump: the server is asked only who it is.
    done = back_up(shop, healed, max_age="1h")
    assert done.changed and not done.failed, done.msg
    assert done.result["backup"]["id"] == backup
    assert facts(healed)["backups"][0]["tiers"] == ["disk", "cloud"]
    whole(bucket, backup)
    readable(shop, bucket.options(), backup)
    again = back_up(shop, healed, max_age="1h")
    assert not again.changed and not again.failed


def test_one_of_two_repositories_fails_half_way(shop: Server, disk: Options, kept: Kept, way: HttpProxy) -> None:
    both = [disk, {"name": "cloud", **kept.bucket.options(way)}]
    denied = Answer(403, "AccessDenied", "Access Denied")
    with way.rule(lambda request: denied if is_part(request) and request.query["partNumber"] == "2" else None):
        done = back_up(shop, both)
    assert done.failed
    backup = facts({"path": disk["path"]})["newest"]
    assert f"disk has the backup {backup}, verified" in done.msg
    assert "cloud failed" in done.msg and "UploadPart" in done.msg
    readable(shop, {"path": disk["path"]}, backup)
    kept.stands()


def test_all_repositories_are_down(shop: Server, tmp_path: Path, bucket: Bucket) -> None:
    with fault.refusing_port() as port:
        down = {"name": "cloud", **bucket.options(endpoint_url=f"http://127.0.0.1:{port}")}
        done = back_up(shop, [{"name": "disk", "path": str(tmp_path / "not mounted")}, down])
    refused(done, "2 of 2 repositories failed", "disk failed", "not mounted", "cloud failed", str(port))


def test_each_repository_has_a_retention_of_its_own(shop: Server, disk: Options, bucket: Bucket) -> None:
    both = [
        {**disk, "retention": {"keep_last": 1}},
        {"name": "cloud", **bucket.options(), "retention": {"keep_last": 2}},
    ]
    backups = [made(shop, both, **SMALL)["backup"]["id"] for _number in range(2)]
    last = made(shop, both, **SMALL, id="third")
    assert [[entry["id"] for entry in tier["pruned"]] for tier in last["tiers"]] == [backups[1:], backups[:1]]
    found = {entry["id"]: entry["tiers"] for entry in facts(both)["backups"]}
    assert found == {backups[1]: ["cloud"], "third": ["disk", "cloud"]}


# S3: who we are, and what we may


def test_a_wrong_access_key(shop: Server, kept: Kept) -> None:
    for name, words in {
        "access_key": ["InvalidAccessKeyId", "repository.access_key"],
        "secret_key": ["SignatureDoesNotMatch", "repository.secret_key"],
    }.items():
        wrong = kept.bucket.options(**{name: "notTheRightOne"})
        done = back_up(shop, wrong, **SMALL)
        refused(done, kept.bucket.name, *words)
        silent(done, kept.bucket.server.secret_key)
        refused(run_module("backup_facts", {"repository": wrong}), *words)
        refused(restore(shop, wrong, "latest"), *words)
    kept.stands()


def test_half_of_the_keys(shop: Server, bucket: Bucket) -> None:
    done = back_up(shop, bucket.options(secret_key=None))
    refused(done, "repository.access_key", "repository.secret_key", "belong together")


def test_no_such_bucket(shop: Server, bucket: Bucket) -> None:
    done = back_up(shop, bucket.options(bucket="nobody-made-it"))
    refused(done, "nobody-made-it", "NoSuchBucket", "Create the bucket", "holdfast.postgres.setup", "repository.bucket")


def test_an_authority_that_nobody_trusts(shop: Server, s3_tls: S3Server) -> None:
    bucket = Bucket(s3_tls, s3_tls.make_bucket("trust"))
    refused(back_up(shop, bucket.options()), "trust", "certificate", "repository.ca_file")
    made(shop, bucket.options(ca_file=str(s3_tls.ca_file)), **SMALL)
    # A file that is no certificate is the file's fault, not the store's.
    for path in ("/nowhere/ca.pem", "/etc/hostname"):
        refused(back_up(shop, bucket.options(ca_file=path)), "repository.ca_file", path, "PEM")


READ = ("s3:ListBucket", "s3:GetObject", "s3:ListBucketMultipartUploads", "s3:GetObjectVersion")
WRITE = ("s3:PutObject", "s3:AbortMultipartUpload")


def test_a_user_who_may_not_write(shop: Server, kept: Kept) -> None:
    reader = kept.bucket.options(**allow(kept.bucket, *READ))
    refused(back_up(shop, reader, **SMALL), "AccessDenied", "may not PutObject", "holdfast_setup_policy_file")
    kept.stands()
    readable(shop, reader, kept.id)


def test_a_user_who_may_not_list(shop: Server, kept: Kept) -> None:
    blind = kept.bucket.options(**allow(kept.bucket, "s3:GetObject", "s3:DeleteObject", *WRITE))
    refused(back_up(shop, blind, **SMALL), "AccessDenied", "may not ListObjectsV2", "holdfast_setup_policy_file")
    kept.stands()


def test_a_user_who_may_not_delete(shop: Server, kept: Kept) -> None:
    careful = kept.bucket.options(**allow(kept.bucket, *READ, *WRITE))
    for number in (2, 3):
        done = back_up(shop, careful, **SMALL, retention={"keep_last": 1})
        assert done.changed and not done.failed, done.msg
        assert done.result["pruned"] == []
        # What retention could not do is said, with who may not do what. The lock was given back all the same.
        assert "may not DeleteObject" in warned(done) and f"{kept.id} is to be deleted" in warned(done)
        assert "lock.json" not in warned(done) and "taken over" not in warned(done)
        found = facts(kept.bucket.options())
        assert kept.id in ids(found) and found["count"] == number and found["problems"] == []
        assert found["lock"] is None
    for backup in ids(found):
        readable(shop, kept.bucket.options(), backup)
    # Whoever may delete goes on from there.
    after = back_up(shop, kept.bucket.options(), **SMALL, retention={"keep_last": 1})
    assert after.changed and not after.failed and "taken over" not in warned(after)
    whole(kept.bucket, after.result["backup"]["id"])


def test_a_run_that_was_killed_by_one_who_may_not_delete(
    shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]
) -> None:
    begin_and_kill(shop, kept, way, running)
    (left,) = facts(kept.bucket.options())["leftovers"]
    careful = kept.bucket.options(**allow(kept.bucket, *READ, *WRITE))
    for _number in range(2):
        done = back_up(shop, careful, **SMALL)
        assert done.changed and not done.failed, done.msg
        assert f"the interrupted run {left} left stays" in warned(done)
    # A prune is there to delete; what it may not, it says, and changes nothing.
    pruned = run_module("backup_prune", {"repository": careful, "retention": {"keep_last": 5}})
    assert not pruned.failed and not pruned.changed and f"{left} left stays" in warned(pruned), pruned.result
    made(shop, kept.bucket.options(), **SMALL)
    assert facts(kept.bucket.options())["leftovers"] == []


# S3: what stores say

SAID = {
    "expired": (Answer(400, "ExpiredToken", "The provided token has expired."), ["ExpiredToken", "session token"]),
    "clock": (
        Answer(
            403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
        ),
        ["RequestTimeTooSkewed", "clock", "chrony"],
    ),
    "region": (
        Answer(
            400,
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'",
            {"Region": "eu-central-1"},
        ),
        ["eu-central-1", "repository.region"],
    ),
    "checksum": (
        Answer(411, "MissingContentLength", "You must provide the Content-Length HTTP header"),  # Ceph 16
        ["request_checksum_calculation: when_required"],
    ),
    "quota": (Answer(403, "QuotaExceeded", "The quota is used up"), ["QuotaExceeded", "quota", "prune"]),
}


@pytest.mark.parametrize(
    ("what", "since"),
    [
        ("expired", "GET"),
        ("expired", "HEAD"),
        ("clock", "HEAD"),
        ("region", "GET"),
        ("region", "HEAD"),
        ("checksum", "PUT"),
        ("quota", "PUT"),
    ],
)
def test_the_store_says_no(shop: Server, kept: Kept, way: HttpProxy, what: str, since: str) -> None:
    """To the first listing, to the first look (whose answer has no words), or to the first write; and to all from then on."""
    answer, words = SAID[what]
    with way.rule(lambda request: answer if request.count or request.method == since else None):
        done = back_up(shop, kept.bucket.options(way), **SMALL)
    refused(done, kept.bucket.name, *words)
    silent(done, kept.bucket.server.secret_key)
    whole(kept.bucket, kept.id)


def test_a_token_that_expires_half_way(shop: Server, kept: Kept, way: HttpProxy) -> None:
    answer, words = SAID["expired"]

    def late(request: Request) -> bool:
        return request.count > 0 or is_part(request) and request.query["partNumber"] == "2"

    with way.rule(lambda request: answer if late(request) else None):
        done = back_up(shop, kept.bucket.options(way))
    refused(done, kept.bucket.name, *words)
    # Nothing could be taken back: that waits for the next run.
    found = facts(kept.bucket.options())
    assert ids(found) == [kept.id] and len(found["leftovers"]) == 1 and found["lock"]["dead"]
    after = made(shop, kept.bucket.options(), **SMALL)
    kept.stands(after["backup"]["id"])


def test_a_store_that_is_busy_for_a_moment(shop: Server, kept: Kept, way: HttpProxy) -> None:
    with way.rule(lambda request: Answer() if is_part(request) and request.count < 2 else None):
        result = made(shop, kept.bucket.options(way))
        assert way.struck == 2
    kept.stands(result["backup"]["id"])
    readable(shop, kept.bucket.options(), result["backup"]["id"])


def test_a_store_that_is_busy_for_ever(shop: Server, kept: Kept, way: HttpProxy) -> None:
    began = time.monotonic()
    with way.rule(lambda request: Answer() if is_part(request) else None):
        done = back_up(shop, kept.bucket.options(way))
    refused(done, "SlowDown", "repository.concurrency", "repository.bandwidth_limit")
    assert time.monotonic() - began < 60
    kept.stands()


def test_a_clock_that_is_off(shop: Server, kept: Kept, way: HttpProxy) -> None:
    """What a store still takes may be wrong already: the preflight says so."""
    for seconds, failed, words in ((1230, True, "clock is 20 min"), (-150, False, "clock is 2 min")):
        with way.rule(lambda request: OtherTime(seconds=seconds)):  # noqa: B023 (it is asked in this round)
            done = run_module("backup_check", {"repository": kept.bucket.options(way)})
        assert done.failed == failed
        said = done.msg if failed else " ".join(done.result["repositories"][0]["warnings"])
        assert words in said and "chrony" in said, said
    with way.rule(lambda request: OtherTime(seconds=1200)):
        done = back_up(shop, kept.bucket.options(way), **SMALL)
    assert not done.failed and "chrony" in warned(done)


# S3: the way there and back


def test_a_proxy(shop: Server, s3_tls: S3Server) -> None:
    bucket = Bucket(s3_tls, s3_tls.make_bucket("proxy"))
    given = arguments(shop, bucket.options(ca_file=str(s3_tls.ca_file)))
    with ConnectProxy("user:geheim") as proxy:
        through = {"HTTPS_PROXY": f"http://user:geheim@127.0.0.1:{proxy.port}"}
        done = run_module("pg_backup", given, env=through)
        assert done.changed and not done.failed, done.msg
        assert set(proxy.asked) == {f"localhost:{s3_tls.port}"}
        proxy.asked.clear()
        # And past it, where that is wished.
        done = run_module("backup_facts", {"repository": given["repository"]}, env={**through, "NO_PROXY": "localhost"})
        assert not done.failed and proxy.asked == []
        wrong = {"HTTPS_PROXY": f"http://user:verkehrt@127.0.0.1:{proxy.port}"}
        done = run_module("pg_backup", given, env=wrong)
        refused(done, "HTTPS_PROXY", "407")
        silent(done, "verkehrt")
    with fault.refusing_port() as port:
        done = run_module("pg_backup", given, env={"HTTPS_PROXY": f"http://user:geheim@127.0.0.1:{port}"})
        refused(done, "HTTPS_PROXY", str(port))
        silent(done, "geheim")


@pytest.mark.skipif(not fault.has_ipv6(), reason="there is no IPv6 here")
def test_addresses_of_ipv6(shop: Server, s3: S3Server, azure: AzureServer, gcs: GcsServer) -> None:
    name = f"test-{secrets.token_hex(6)}"
    bucket, container = Bucket(s3, s3.make_bucket(name)), azure.make_container(name)
    with HttpProxy(s3.port, "::1") as one, HttpProxy(azure.port, "::1") as two, HttpProxy(gcs.port, "::1") as three:
        for store in (
            bucket.options(one),
            azure_options(azure, container, two),
            {"type": "gcs", "bucket": gcs.make_bucket(name), "endpoint_url": three.url},
        ):
            assert "//[::1]:" in store["endpoint_url"]
            backup = made(shop, store)["backup"]["id"]
            assert ids(facts(store)) == [backup]


@pytest.mark.skipif(not fault.can_mount(), reason="needs to mount a file system")
def test_a_disk_too_small_for_staging(shop: Server, kept: Kept) -> None:
    place = Path(tempfile.mkdtemp(prefix="lab-"))
    try:
        with fault.small_filesystem(place, "4m"):
            full = place / "full"
            full.write_bytes(bytes(4 * 1024 * 1024 - 300_000))
            given = arguments(shop, kept.bucket.options(), format="directory")
            refused(
                run_module("pg_backup", given, env={"TMPDIR": str(place)}),
                str(place),
                "is full",
                "TMPDIR",
                "another format",
            )
            assert list(place.iterdir()) == [full]
            # The other formats need no such place.
            done = run_module("pg_backup", {**given, "format": "custom"}, env={"TMPDIR": str(place)})
            assert not done.failed, done.msg
    finally:
        shutil.rmtree(place)
    kept.stands(done.result["backup"]["id"])


def test_a_connection_that_breaks_off(shop: Server, kept: Kept, way: HttpProxy) -> None:
    """Once half-way up, once half-way down: both are done again."""

    def hit(request: Request) -> bool:
        down = request.method == "GET" and "list-type" not in request.query and to_artifact(request)
        return is_part(request) if request.count == 0 else down and request.count == 1

    with way.rule(lambda request: RESET if hit(request) else None):
        done = made(shop, kept.bucket.options(way))
        assert way.struck == 2
    kept.stands(done["backup"]["id"])


@pytest.mark.parametrize("checksums", ["when_required", None])
def test_a_part_that_arrives_with_another_byte(shop: Server, kept: Kept, way: HttpProxy, checksums: str | None) -> None:
    """The store is sent a checksum, whichever the setting, and refuses; then the part is sent again."""
    chosen = {"request_checksum_calculation": checksums} if checksums else {}
    options = kept.bucket.options(way, **chosen)
    with way.rule(lambda request: CORRUPT if is_part(request) and request.count < 1 else None):
        backup = made(shop, options)["backup"]["id"]
        assert way.struck == 1
    kept.stands(backup)


@pytest.mark.parametrize("what", ["part", "artifact", "manifest"])
def test_a_store_that_compares_no_checksums(shop: Server, kept: Kept, way: HttpProxy, what: str) -> None:
    """What was read back tells."""

    def hit(request: Request) -> bool:
        return {
            "part": is_part(request),
            "artifact": request.method == "PUT" and to_artifact(request),
            "manifest": request.method == "PUT" and request.path.endswith("/manifest.json"),
        }[what]

    with way.rule(lambda request: FALSIFY_UP if hit(request) and request.count < 1 else None):
        done = back_up(shop, kept.bucket.options(way), **({} if what == "part" else SMALL))
        assert way.struck == 1
    refused(done, "another content than was written", kept.bucket.name)
    kept.stands()


@pytest.mark.parametrize("what", ["part", "end", "artifact", "manifest", "instructions"])
def test_a_store_that_accepts_and_loses(shop: Server, kept: Kept, way: HttpProxy, what: str) -> None:
    def hit(request: Request) -> bool:
        return {
            "part": is_part(request) and request.query["partNumber"] == "2",
            "end": request.method == "POST" and "uploadId" in request.query,
            "artifact": request.method == "PUT" and to_artifact(request),
            "manifest": request.method == "PUT" and request.path.endswith("/manifest.json"),
            "instructions": request.method == "PUT" and request.path.endswith("/RESTORE.txt"),
        }[what]

    with way.rule(lambda request: SWALLOW if hit(request) else None):
        done = back_up(shop, kept.bucket.options(way), **({} if what in ("part", "end") else SMALL))
        assert way.struck >= 1
    refused(done, kept.bucket.name)
    if what != "part":
        refused(done, "has nothing of it", "cannot be trusted")
    kept.stands()


def test_an_object_that_goes_between_writing_and_reading(shop: Server, kept: Kept, way: HttpProxy) -> None:
    gone = Answer(404, "NoSuchKey", "The specified key does not exist.")

    def down(request: Request) -> bool:
        return request.method == "GET" and "list-type" not in request.query and to_artifact(request)

    with way.rule(lambda request: gone if down(request) else None):
        refused(back_up(shop, kept.bucket.options(way), **SMALL), "is missing", "cannot be trusted")
    kept.stands()


def test_another_byte_on_the_way_down(shop: Server, kept: Kept, way: HttpProxy) -> None:
    def down(request: Request) -> bool:
        return request.method == "GET" and "list-type" not in request.query and to_artifact(request)

    with way.rule(lambda request: FALSIFY if down(request) else None):
        refused(back_up(shop, kept.bucket.options(way)), "another content than was written")
        refused(restore(shop, kept.bucket.options(way), kept.id), "another content than was written")
    kept.stands()


# S3: behind our back


@pytest.mark.parametrize("what", ["removed", "changed", "cut"])
def test_an_object_is_not_what_it_was(shop: Server, kept: Kept, what: str) -> None:
    bucket = kept.bucket
    (key,) = [key for key in bucket.all_keys() if f"/{kept.id}/" in key and "shop" in key]
    data = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
    if what == "removed":
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    else:
        new = data[:-1] if what == "cut" else data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=new)
    words = {"removed": "is missing", "changed": "sha256", "cut": "bytes instead of"}[what]
    refused(restore(shop, bucket.options(), kept.id), words, key.rpartition("/")[2], "use another one")
    refused(restore(shop, bucket.options(), "latest"), words, key.rpartition("/")[2])
    assert shop.query("SELECT count(*) FROM pg_database WHERE datname LIKE 'restored%'") == [(0,)]


def archive(bucket: Bucket, *keys: str) -> None:
    """What a lifecycle rule does to objects in time: they lie in Glacier."""
    for key in keys:
        source = {"Bucket": bucket.name, "Key": key}
        bucket.client.copy_object(Bucket=bucket.name, Key=key, CopySource=source, StorageClass="GLACIER")


def test_manifests_in_an_archive(shop: Server, kept: Kept, disk: Options) -> None:
    bucket, options = kept.bucket, kept.bucket.options()
    second = made(shop, options, **SMALL)["backup"]["id"]
    archive(bucket, f"{PREFIX}/main/{kept.id}/manifest.json")
    found = facts(options)
    assert (ids(found), found["leftovers"], found["lock"]) == ([second], [], None)
    assert len(found["problems"]) == 1
    for words in (kept.id, "InvalidObjectState", "archive tier"):
        assert words in found["problems"][0]
    # Retention does not touch what it cannot read, and the next backup is made.
    done = back_up(shop, options, **SMALL, retention={"keep_last": 1})
    assert done.changed and not done.failed, done.msg
    assert kept.id in warned(done) and "InvalidObjectState" in warned(done)
    assert [entry["id"] for entry in done.result["pruned"]] == [second]
    pruned = run_module("backup_prune", {"repository": options, "retention": {"keep_last": 1}})
    assert not pruned.failed and not pruned.changed and kept.id in warned(pruned), pruned.msg
    copied = run_module("backup_copy", {"source": options, "target": {"path": disk["path"]}})
    assert copied.result["copied"] == [done.result["backup"]["id"]] and kept.id in warned(copied), copied.msg
    # Who wants that very one is told what to do.
    refused(restore(shop, options, kept.id), kept.id, "InvalidObjectState", "restore it there first")
    assert [key for key in bucket.all_keys(f"{PREFIX}/main/{kept.id}/") if "shop" in key]


def test_a_manifest_that_another_account_wrote(shop: Server, kept: Kept) -> None:
    bucket = kept.bucket
    second = made(shop, bucket.options(), **SMALL)["backup"]["id"]
    others = f"arn:aws:s3:::{bucket.name}/{PREFIX}/main/{kept.id}/*"
    where = [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]
    rights = [("Allow", "s3:*", where), ("Deny", "s3:GetObject", [others])]
    statements = [{"Effect": effect, "Action": action, "Resource": on} for effect, action, on in rights]
    access, secret = bucket.server.user({"Version": "2012-10-17", "Statement": statements})
    found = facts(bucket.options(access_key=access, secret_key=secret))
    assert ids(found) == [second] and len(found["problems"]) == 1
    assert kept.id in found["problems"][0] and "AccessDenied" in found["problems"][0]


def test_an_object_that_is_replaced_while_it_is_read(
    shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]
) -> None:
    (key,) = [key for key in kept.marks if "shop" in key]

    def hit(request: Request) -> bool:
        return request.method == "GET" and request.path.endswith(key)

    with way.rule(lambda request: HOLD if hit(request) else None):
        chosen = {"databases": ["shop"], "target_db": "restored", "backup_id": kept.id}
        arguments = {**shop.client_options(), "repository": kept.bucket.options(way), **chosen}
        module = start_module("pg_restore", arguments)
        running.append(module)
        way.wait_for(1)
        kept.bucket.client.put_object(Bucket=kept.bucket.name, Key=key, Body=b"another one")
        way.release()
        refused(module.result(60), "was replaced while it was being read", key.rpartition("/")[2])
    assert "restored" not in shop.databases()


@pytest.mark.parametrize(
    "index", [b"", b"no index", gzip.compress(b"[1]\n"), gzip.compress(b"x" * 5000)[:-20] + bytes(20)]
)
def test_an_index_that_is_damaged(kept: Kept, index: bytes) -> None:
    """It is only a cache."""
    kept.bucket.client.put_object(Bucket=kept.bucket.name, Key=f"{PREFIX}/main/_index.jsonl.gz", Body=index)
    kept.stands()


def begin_and_kill(shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]) -> None:
    """A run that is killed while its second part goes up."""

    def hit(request: Request) -> bool:
        return is_part(request) and request.query["partNumber"] == "2"

    others = kept.bucket.unfinished()
    with way.rule(lambda request: HOLD if hit(request) else None):
        module = start_module("pg_backup", arguments(shop, kept.bucket.options(way)))
        running.append(module)
        way.wait_for(1)
        module.kill()
        assert len(kept.bucket.unfinished()) == len(others) + 1


def test_a_run_that_was_killed(shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]) -> None:
    # Somebody else's upload, which has not come to its end either, below a prefix that begins like ours.
    theirs = {"Bucket": kept.bucket.name, "Key": f"{PREFIX} two/main/x/big"}
    upload = kept.bucket.client.create_multipart_upload(**theirs)["UploadId"]
    begin_and_kill(shop, kept, way, running)
    found = facts(kept.bucket.options())
    assert ids(found) == [kept.id] and len(found["leftovers"]) == 1 and found["lock"]["dead"]
    done = back_up(shop, kept.bucket.options(), **SMALL)
    assert done.changed and not done.failed, done.msg
    assert "taken over" in warned(done)
    assert done.result["plan"][0].startswith(f"remove what the interrupted run {found['leftovers'][0]} left")
    assert kept.bucket.unfinished() == [theirs["Key"]]
    kept.bucket.client.abort_multipart_upload(**theirs, UploadId=upload)
    kept.stands(done.result["backup"]["id"])


def test_a_prune_removes_what_a_killed_run_left(
    shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]
) -> None:
    begin_and_kill(shop, kept, way, running)
    done = run_module("backup_prune", {"repository": kept.bucket.options(), "retention": {"keep_last": 1}})
    assert done.changed and not done.failed, done.msg
    kept.stands()


def test_a_run_that_is_told_to_stop(shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]) -> None:
    with way.rule(lambda request: HOLD if is_part(request) else None):
        module = start_module("pg_backup", arguments(shop, kept.bucket.options(way)))
        running.append(module)
        way.wait_for(1)
        module.process.terminate()
        time.sleep(0.3)
        way.release()
        refused(module.result(30), "SIGTERM")
    kept.stands()


def test_two_runs_at_once(shop: Server, kept: Kept, way: HttpProxy, running: list[RunningModule]) -> None:
    with way.rule(lambda request: HOLD if is_part(request) else None):
        module = start_module("pg_backup", arguments(shop, kept.bucket.options(way)))
        running.append(module)
        way.wait_for(1)
        second = back_up(shop, kept.bucket.options())
        refused(second, "Another run works on these backups", str(module.process.pid), "lock.json", "lock_wait")
        prune = run_module("backup_prune", {"repository": kept.bucket.options(), "retention": {"keep_last": 1}})
        refused(prune, "Another run works on these backups")
        way.release()
        first = module.result(60)
    assert first.changed and not first.failed, first.msg
    kept.stands(first.result["backup"]["id"])


def test_backups_that_the_store_has_locked(shop: Server, s3: S3Server) -> None:
    bucket = Bucket(s3, s3.make_bucket(f"locked-{secrets.token_hex(4)}", ObjectLockEnabledForBucket=True))
    options = bucket.options(object_lock="compliance", object_lock_for="1d")
    first = made(shop, options)["backup"]["id"]
    again = back_up(shop, options, retention={"keep_last": 1})
    assert again.changed and again.result["pruned"] == [], again.msg
    assert first in warned(again) and "locked" in warned(again) and "stays" in warned(again)
    found = facts(options)
    assert first in ids(found) and found["count"] == 2 and found["leftovers"] == [] and found["lock"] is None
    readable(shop, options, first)
    # A backup that is asked to go says why it stays.
    refused(
        run_module("pg_backup", {"repository": options, "state": "absent", "id": first, **shop.client_options()}),
        "locked",
    )
    assert first in ids(facts(options))


def test_others_in_the_bucket_keep_what_is_theirs(shop: Server, kept: Kept) -> None:
    bucket, client = kept.bucket, kept.bucket.client
    # Others' names begin like ours, and like our server's and our backup's.
    others = [
        f"{PREFIX} two/main/x/manifest.json",
        f"{PREFIX}/main2/{kept.id}/manifest.json",
        f"{PREFIX}/main/{kept.id}-not/file",
        "back ups/ü/file",
        "main/file",
    ]
    for key in others:
        client.put_object(Bucket=bucket.name, Key=key, Body=b"theirs")
    theirs = [f"{PREFIX} two/main/x/big", f"{PREFIX}/main2/{kept.id}/big"]
    for key in theirs:
        client.create_multipart_upload(Bucket=bucket.name, Key=key)
    last = made(shop, bucket.options(), **SMALL, retention={"keep_last": 1})
    assert [entry["id"] for entry in last["pruned"]] == [kept.id]
    run_module("backup_prune", {"repository": bucket.options(), "retention": {"keep_last": 1}})
    assert ids(facts(bucket.options())) == [last["backup"]["id"]]
    assert set(others) <= set(bucket.all_keys())
    assert sorted(bucket.unfinished()) == sorted(theirs)
    assert not [key for key in bucket.all_keys() if f"/main/{kept.id}/" in key]


# Many


def test_ten_thousand_backups(kept: Kept) -> None:
    client, folder = kept.bucket.client, f"{PREFIX}/main"
    body = client.get_object(Bucket=kept.bucket.name, Key=f"{folder}/{kept.id}/manifest.json")["Body"].read()
    written = json.loads(body)
    size = facts(kept.bucket.options())["total_size"]

    def put(number: int) -> tuple[str, str, str]:
        own = f"old-{number:05}"
        day = f"20{number // 400:02}-{number % 12 + 1:02}-{number % 28 + 1:02}T00:00:00Z"
        text = json.dumps({**written, "id": own, "stopped_at": day})
        client.put_object(Bucket=kept.bucket.name, Key=f"{folder}/{own}/manifest.json", Body=text.encode())
        return own, f'"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"', text

    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(put, range(9_999)))
    # The index as backups write it, before the last hundred came and ten others were changed.
    rows[:10] = [(own, '"another"', "rubbish") for own, _mark, _text in rows[:10]]
    index = "".join(json.dumps(row) + "\n" for row in rows[:-100])
    client.put_object(Bucket=kept.bucket.name, Key=f"{folder}/_index.jsonl.gz", Body=gzip.compress(index.encode()))
    began = time.monotonic()
    found = facts(kept.bucket.options(), limit=100)
    assert time.monotonic() - began < 60
    assert (found["count"], len(found["backups"]), found["newest"]) == (10_000, 100, kept.id)
    assert found["total_size"] == 10_000 * size
    assert found["problems"] == found["leftovers"] == []


# Libraries and secrets


@pytest.mark.parametrize("package", ["boto3", "azure.storage.blob", "google.cloud"])
def test_a_library_that_is_missing(shop: Server, bucket: Bucket, tmp_path: Path, package: str) -> None:
    folder = tmp_path.joinpath(*package.split("."))
    folder.mkdir(parents=True)
    for part in package.split("."):  # google and azure are many distributions' packages
        if part != package.split(".")[-1] and package.startswith("azure"):
            (tmp_path / "azure/__init__.py").touch()
            (tmp_path / "azure/storage/__init__.py").touch()
        elif package.startswith("google"):
            (tmp_path / "google/__init__.py").touch()
    (folder / "__init__.py").write_text("raise ImportError('there is none')\n")
    store, name = {
        "boto3": (bucket.options(), "boto3"),
        "azure.storage.blob": (
            {"type": "azure", "account": "a", "container": "c", "account_key": "c2VjcmV0"},
            "azure-storage-blob",
        ),
        "google.cloud": ({"type": "gcs", "bucket": "b"}, "google-cloud-storage"),
    }[package]
    env = {"PYTHONPATH": f"{tmp_path}:{collections_path()}"}
    done = run_module("pg_backup", arguments(shop, store), env=env)
    refused(done, name, sys.executable, "by pip", "ansible_python_interpreter")


def test_secrets_are_said_to_nobody(
    shop: Server, bucket: Bucket, azure: AzureServer, disk: Options, way: HttpProxy, running: list[RunningModule]
) -> None:
    key = bucket.server.secret_key
    both = [disk, {"name": "cloud", **bucket.options()}]
    said = run_adhoc("holdfast.postgres.pg_backup", arguments(shop, both), "-vvv")
    assert said.returncode == 0, said.stdout + said.stderr
    assert key not in said.stdout + said.stderr + repr(said.tasks)
    with way.rule(lambda request: HOLD if is_part(request) else None):
        module = start_module("pg_backup", arguments(shop, bucket.options(way)))
        running.append(module)
        way.wait_for(1)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                assert key.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        way.release()
        assert not module.result(60).failed
    assert key.encode() not in bucket.contents()
    for path in Path(disk["path"]).rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes()

    container = azure.make_container(f"secrets-{secrets.token_hex(4)}")
    token = azure.sas(container, "rwdlc", datetime.now(timezone.utc) + timedelta(hours=1))
    signature = token.split("sig=")[1].split("&")[0]
    for credentials in ({"account_key": azure.account_key}, {"sas_token": token}):
        options = azure_options(azure, container, **credentials)
        done = back_up(shop, options, **SMALL)
        assert not done.failed, done.msg
        silent(done, azure.account_key, signature, token)
        wrong = back_up(shop, {**options, "container": "nobody-made-it"}, **SMALL)
        assert wrong.failed
        silent(wrong, azure.account_key, signature, token)
    with azure.client() as client:
        blobs = client.get_container_client(container)
        for blob in blobs.list_blobs():
            data = blobs.download_blob(blob.name).readall()
            assert azure.account_key.encode() not in data and signature.encode() not in data


# Azure


def azure_options(server: AzureServer, container: str, way: HttpProxy | None = None, **credentials: Any) -> Options:
    url = f"{way.url}/{server.account}" if way else server.endpoint_url
    where = {"type": "azure", "account": server.account, "container": container, "endpoint_url": url}
    chosen = credentials or {"account_key": server.account_key}
    return {**where, "prefix": PREFIX, "part_size": PART, "concurrency": 2, **chosen}


@pytest.fixture
def container(azure: AzureServer) -> str:
    return azure.make_container(f"test-{secrets.token_hex(6)}")


def test_azure_wrong_key(shop: Server, azure: AzureServer, container: str) -> None:
    good = made(shop, azure_options(azure, container), **SMALL)["backup"]["id"]
    wrong = "bm90IHRoZSBrZXkgb2YgdGhpcyBhY2NvdW50"
    done = back_up(shop, azure_options(azure, container, account_key=wrong), **SMALL)
    refused(done, container, "repository.account_key", "clock")
    silent(done, wrong)
    # What is no key at all is said before anything is sent.
    done = back_up(shop, azure_options(azure, container, account_key="no base64"), **SMALL)
    refused(done, "account_key")
    silent(done, "no base64")
    found = facts(azure_options(azure, container))
    assert (ids(found), found["leftovers"], found["lock"]) == ([good], [], None)


def test_azure_token_has_expired(shop: Server, azure: AzureServer, container: str) -> None:
    token = azure.sas(container, "rwdlc", datetime.now(timezone.utc) - timedelta(hours=1))
    done = back_up(shop, azure_options(azure, container, sas_token=token), **SMALL)
    refused(done, "repository.sas_token", "expired", "holdfast.postgres.rotate_credentials")
    silent(done, token)


def test_azure_token_may_not_write(shop: Server, azure: AzureServer, container: str) -> None:
    good = made(shop, azure_options(azure, container), **SMALL)["backup"]["id"]
    token = azure.sas(container, "rl", datetime.now(timezone.utc) + timedelta(hours=1))
    reader = azure_options(azure, container, sas_token=token)
    refused(back_up(shop, reader, **SMALL), container, "AuthorizationPermissionMismatch", "rwdlc")
    assert ids(facts(reader)) == [good]
    readable(shop, reader, good)


def test_azure_token_may_not_delete(shop: Server, azure: AzureServer, container: str) -> None:
    token = azure.sas(container, "rwlc", datetime.now(timezone.utc) + timedelta(hours=1))
    careful = azure_options(azure, container, sas_token=token)
    backups = []
    for _number in range(2):
        done = back_up(shop, careful, **SMALL, retention={"keep_last": 1})
        assert done.changed and not done.failed, done.msg
        backups.append(done.result["backup"]["id"])
        assert "taken over" not in warned(done) and "lock.json" not in warned(done)
    assert f"{backups[0]} is to be deleted by the retention, and stays" in warned(done)
    found = facts(careful)
    assert (ids(found), found["lock"]) == (backups, None)


def test_azure_is_busy_breaks_off_and_gets_another_byte(shop: Server, azure: AzureServer, container: str) -> None:
    faults = [Answer(503, "ServerBusy"), RESET, FALSIFY_UP]  # Azurite compares checksums
    with HttpProxy(azure.port) as way:
        with way.rule(lambda request: faults[request.count] if is_part(request) and request.count < 3 else None):
            backup = made(shop, azure_options(azure, container, way))["backup"]["id"]
            assert way.struck == 3
        with way.rule(lambda request: FALSIFY if request.method == "GET" and to_artifact(request) else None):
            refused(restore(shop, azure_options(azure, container, way), backup), "another content than was written")
    readable(shop, azure_options(azure, container), backup)


def test_azure_does_not_answer(shop: Server, azure: AzureServer) -> None:
    token = azure.sas("any", "rwdlc", datetime.now(timezone.utc) + timedelta(hours=1))
    with fault.refusing_port() as port:
        store = {**azure_options(azure, "any", sas_token=token), "endpoint_url": f"http://127.0.0.1:{port}/any"}
        done = run_module("backup_facts", {"repository": store})
    refused(done, str(port), "Nothing answers there", "repository.account", "endpoint_url", "HTTPS_PROXY")
    silent(done, token.split("sig=")[1].split("&")[0])


def test_azure_no_such_container(shop: Server, azure: AzureServer) -> None:
    done = back_up(shop, azure_options(azure, "nobody-made-it"), **SMALL)
    refused(done, "nobody-made-it", "ContainerNotFound", "Create the container", "repository.container")


#: what the first block of a blob is called, twice in base64: by us, and by the library on its way
FIRST_BLOCK = b64encode(b64encode(b"%08d" % 0)).decode()


def test_azure_run_that_was_killed(
    shop: Server, azure: AzureServer, container: str, running: list[RunningModule]
) -> None:
    options = azure_options(azure, container)
    good = made(shop, options, **SMALL)["backup"]["id"]

    def uncommitted() -> list[str]:
        with azure.client() as client:
            blobs = client.get_container_client(container).list_blobs(include=["uncommittedblobs"])
            listed = {blob.name for blob in client.get_container_client(container).list_blobs()}
            return [blob.name for blob in blobs if blob.name not in listed]

    def hit(request: Request) -> bool:
        return is_part(request) and request.query["blockid"] != FIRST_BLOCK

    with HttpProxy(azure.port) as way:
        with way.rule(lambda request: HOLD if hit(request) else None):
            module = start_module("pg_backup", arguments(shop, azure_options(azure, container, way)))
            running.append(module)
            way.wait_for(1)
            deadline = time.monotonic() + 60  # the first block may still be on its way
            while not uncommitted() and time.monotonic() < deadline:
                time.sleep(0.05)
            module.kill()
            assert len(uncommitted()) == 1
        found = facts(options)
        assert ids(found) == [good] and len(found["leftovers"]) == 1 and found["lock"]["dead"]
    done = back_up(shop, options)
    assert done.changed and not done.failed, done.msg
    assert "taken over" in warned(done)
    assert uncommitted() == []
    found = facts(options)
    assert (ids(found), found["leftovers"], found["lock"]) == ([good, done.result["backup"]["id"]], [], None)


# Google


def test_gcs_no_such_bucket(shop: Server, gcs: GcsServer) -> None:
    store = {"type": "gcs", "bucket": "nobody-made-it", "endpoint_url": gcs.endpoint_url}
    refused(back_up(shop, store, **SMALL), "nobody-made-it", "NotFound", "Create the bucket", "repository.bucket")


def test_gcs_an_object_admin_may_not_look_at_the_bucket(shop: Server, gcs: GcsServer) -> None:
    name = gcs.make_bucket(f"test-{secrets.token_hex(6)}")
    denied = Answer(403, "AccessDenied", "does not have storage.buckets.get access to the Google Cloud Storage bucket.")
    with HttpProxy(gcs.port) as way:
        store = {"type": "gcs", "bucket": name, "endpoint_url": way.url, "prefix": "one"}
        with way.rule(lambda request: denied if request.path == f"/storage/v1/b/{name}" else None):
            report = run_module("backup_check", {"repository": store})
            assert not report.failed, report.msg
            assert "an object can be deleted" in str(report.result["repositories"][0]["fine"])
            # What a run left has no manifest. To delete none is no error, though nobody says whether the bucket is there.
            gcs.client().bucket(name).blob("one/main/left/databases/x").upload_from_string(b"cut")
            good = made(shop, store, **SMALL)["backup"]["id"]
            assert any("?fields=name" in seen for seen in way.seen)
    found = facts({**store, "endpoint_url": gcs.endpoint_url})
    assert (ids(found), found["leftovers"], found["lock"]) == ([good], [], None)


def test_gcs_is_busy_breaks_off_and_lies(shop: Server, gcs: GcsServer) -> None:
    store = {
        "type": "gcs",
        "bucket": gcs.make_bucket(f"test-{secrets.token_hex(6)}"),
        "prefix": PREFIX,
        "part_size": PART,
    }
    faults = [Answer(503, "backendError"), RESET]
    with HttpProxy(gcs.port) as way:
        over = {**store, "endpoint_url": way.url}

        def up(request: Request) -> bool:
            return request.method in ("POST", "PUT") and "upload" in request.path

        with way.rule(lambda request: faults[request.count] if up(request) and request.count < 2 else None):
            backup = made(shop, over)["backup"]["id"]
            assert way.struck == 2

        def down(request: Request) -> bool:
            return request.method == "GET" and to_artifact(request) and request.query.get("alt") == "media"

        with way.rule(lambda request: FALSIFY if down(request) else None):
            refused(restore(shop, over, backup), "another content than was written")
    readable(shop, {**store, "endpoint_url": gcs.endpoint_url}, backup)


def test_gcs_run_that_was_killed(shop: Server, gcs: GcsServer, running: list[RunningModule]) -> None:
    name = gcs.make_bucket(f"test-{secrets.token_hex(6)}")
    store = {"type": "gcs", "bucket": name, "endpoint_url": gcs.endpoint_url, "prefix": PREFIX}
    good = made(shop, store, **SMALL)["backup"]["id"]
    with HttpProxy(gcs.port) as way:

        def hit(request: Request) -> bool:
            return request.method != "GET" and "upload" in request.path and way.struck == 0 and is_late()

        def is_late() -> bool:
            with gcs.client() as client:
                return any("/databases/" in blob.name and good not in blob.name for blob in client.list_blobs(name))

        with way.rule(lambda request: HOLD if hit(request) else None):
            module = start_module("pg_backup", arguments(shop, {**store, "endpoint_url": way.url}, **SMALL))
            running.append(module)
            way.wait_for(1)
            module.kill()
    found = facts(store)
    assert ids(found) == [good] and len(found["leftovers"]) == 1 and found["lock"]["dead"]
    done = back_up(shop, store, **SMALL)
    assert done.changed and not done.failed and "taken over" in warned(done), done.msg
    found = facts(store)
    assert (ids(found), found["leftovers"], found["lock"]) == ([good, done.result["backup"]["id"]], [], None)


@pytest.mark.parametrize("text", ["this is no JSON", "{}", "[]", '{"type": "service_account"}', None])
def test_gcs_credentials_that_are_none(shop: Server, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    store = {"type": "gcs", "bucket": "any", "credentials_file": str(path)}
    refused(back_up(shop, store, **SMALL), "repository.credentials_file", str(path), "service account")
