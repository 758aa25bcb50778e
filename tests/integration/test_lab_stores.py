# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's object stores are real: what is put can be got, and whoever should be refused is refused."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from lab.fault import Proxy
from lab.stores import AzureServer, CephServer, GcsServer, S3Server, certificate, or_skip

KEY = "a/ä b=c+d"


@pytest.fixture(scope="module")
def ceph() -> Iterator[CephServer]:
    yield from or_skip(CephServer)


def refusal(call: Any, **arguments: Any) -> str:
    """The code with which S3 refuses a call."""
    errors = pytest.importorskip("botocore.exceptions")
    with pytest.raises(errors.ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def check_s3(store: S3Server | CephServer) -> None:
    bucket = store.make_bucket("real")
    client = store.client()
    client.put_object(Bucket=bucket, Key=KEY, Body=b"precious")
    assert client.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"precious"
    assert refusal(client.put_object, Bucket=bucket, Key=KEY, Body=b"other", IfNoneMatch="*") == "PreconditionFailed"

    wrong = store.client(secret_key="wrong")
    assert refusal(wrong.get_object, Bucket=bucket, Key=KEY) == "SignatureDoesNotMatch"
    assert refusal(store.client("nobody").get_object, Bucket=bucket, Key=KEY) == "InvalidAccessKeyId"

    reader = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    restricted = store.client(*store.user({"Version": "2012-10-17", "Statement": [reader]}))
    assert restricted.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"precious"
    assert refusal(restricted.put_object, Bucket=bucket, Key=KEY, Body=b"other") == "AccessDenied"
    assert refusal(restricted.delete_object, Bucket=bucket, Key=KEY) == "AccessDenied"

    locked = store.make_bucket("locked", ObjectLockEnabledForBucket=True)
    until = datetime.now(timezone.utc) + timedelta(days=1)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
    md5 = b64encode(hashlib.md5(b"kept").digest()).decode()  # object lock wants it, and Ceph 16 no other sum
    version = client.put_object(Bucket=locked, Key=KEY, Body=b"kept", ContentMD5=md5, **lock)["VersionId"]
    assert refusal(client.delete_object, Bucket=locked, Key=KEY, VersionId=version) == "AccessDenied"


def test_s3(s3: S3Server) -> None:
    check_s3(s3)


def test_ceph(ceph: CephServer) -> None:
    check_s3(ceph)


def test_s3_shows_a_certificate_that_must_be_trusted(s3: S3Server, tmp_path: Path) -> None:
    errors = pytest.importorskip("botocore.exceptions")
    with pytest.raises(errors.SSLError):
        s3.client(ca_file=certificate(tmp_path).ca).list_buckets()
    by_address = s3.client(endpoint_url=f"https://127.0.0.1:{s3.port}")
    assert by_address.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_s3_without_tls_can_be_reached_through_a_proxy() -> None:
    for store in or_skip(S3Server, tls=False):
        with Proxy(store.port) as proxy:
            client = store.client(endpoint_url=f"http://127.0.0.1:{proxy.port}")
            client.create_bucket(Bucket="real")
            client.put_object(Bucket="real", Key=KEY, Body=b"precious")
            assert client.get_object(Bucket="real", Key=KEY)["Body"].read() == b"precious"
            assert proxy.passed > 0


def test_azure(azure: AzureServer) -> None:
    errors = pytest.importorskip("azure.core.exceptions")
    container = azure.make_container("real")
    with azure.client() as client:
        blob = client.get_blob_client(container, KEY)
        blob.upload_blob(b"precious")
        assert blob.download_blob().readall() == b"precious"
        with pytest.raises(errors.ResourceExistsError):
            blob.upload_blob(b"other", overwrite=False)

    package = pytest.importorskip("azure.storage.blob")
    with package.BlobServiceClient.from_connection_string(
        azure.connection_string, connection_verify=str(azure.ca_file)
    ) as client:
        assert client.get_blob_client(container, KEY).exists()

    with (
        azure.client({"account_name": azure.account, "account_key": "d3Jvbmc="}) as client,
        pytest.raises(errors.HttpResponseError, match="failed to authenticate"),
    ):
        client.get_blob_client(container, KEY).download_blob()


def test_azure_token_ends_and_limits(azure: AzureServer) -> None:
    errors = pytest.importorskip("azure.core.exceptions")
    container = azure.make_container("tokens")
    now = datetime.now(timezone.utc)
    with azure.client(azure.sas(container, "cw", now + timedelta(hours=1))) as client:
        blob = client.get_blob_client(container, KEY)
        blob.upload_blob(b"precious")
        with pytest.raises(errors.HttpResponseError, match="AuthorizationPermissionMismatch"):
            blob.download_blob()
    with azure.client(azure.sas(container, "r", now + timedelta(hours=1))) as client:
        assert client.get_blob_client(container, KEY).download_blob().readall() == b"precious"
    with (
        azure.client(azure.sas(container, "r", now - timedelta(hours=1))) as client,
        pytest.raises(errors.HttpResponseError, match="failed to authenticate"),
    ):
        client.get_blob_client(container, KEY).download_blob()


def test_azure_shows_a_certificate_that_must_be_trusted(azure: AzureServer, tmp_path: Path) -> None:
    errors = pytest.importorskip("azure.core.exceptions")
    with azure.client(ca_file=certificate(tmp_path).ca) as client, pytest.raises(errors.ServiceRequestError):
        client.get_account_information()


def test_gcs(gcs: GcsServer) -> None:
    client = gcs.client()
    bucket = client.bucket(gcs.make_bucket("real"))
    bucket.blob(KEY).upload_from_string(b"precious")
    assert bucket.blob(KEY).download_as_bytes() == b"precious"
    assert [blob.name for blob in client.list_blobs("real")] == [KEY]


def test_nothing_stays(s3: S3Server) -> None:
    for store in or_skip(S3Server, tls=False):
        store.client().list_buckets()
    assert not store.directory.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", store.port)).close()
    assert s3.directory.exists()


def test_nothing_stays_of_a_process_that_was_killed() -> None:
    if S3Server.missing():
        pytest.skip(str(S3Server.missing()))
    script = "import os, lab.stores; s = lab.stores.S3Server(); print(s.port, s.directory, flush=True); os.kill(os.getpid(), 9)"
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=tests, stdout=subprocess.PIPE, text=True, check=False)
    port, directory = done.stdout.split()
    deadline = time.monotonic() + 60
    while Path(directory).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(directory).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port))).close()
