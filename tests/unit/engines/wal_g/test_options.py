# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G's settings from our options, by tables: what is written, and what is refused because WAL-G would leave it out."""

from __future__ import annotations

import base64
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.options import settings
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host

HOST = Host("/var/lib/pg/data", "postgres", 5433, "/run/pg", "postgres", "/usr/lib/postgresql/16/bin")
KEY = bytes(range(32))


def store(kind: str, **options: Any) -> dict[str, Any]:
    """A repository's options as a module has them: each that was not given has its default."""
    return {**{name: spec.get("default") for name, spec in STORE.items()}, "type": kind, **options}


FILE = store("file", path="/backups/")
S3 = {"bucket": "b", "access_key": "AK", "secret_key": "SK"}
AZURE = {"container": "c", "account": "acc"}


def made(where: dict[str, Any], secret: Optional[str] = None, host: Host = HOST, **options: Any) -> dict[str, str]:
    return settings(host, RepositoryEngineOptions("main", [where], **options), where, secret)


def test_what_every_configuration_says() -> None:
    assert made(FILE, jobs=3) == {
        "WALG_FILE_PREFIX": "/backups/main/wal-g",
        "WALG_COMPRESSION_METHOD": "zstd",
        "WALG_PREVENT_WAL_OVERWRITE": "true",
        "WALG_DELTA_MAX_STEPS": "6",
        "WALG_UPLOAD_CONCURRENCY": "3",
        "WALG_DOWNLOAD_CONCURRENCY": "3",
        "WALG_UPLOAD_DISK_CONCURRENCY": "3",
        "WALG_PG_WAL_SIZE": "16",
        "PGDATA": "/var/lib/pg/data",
        "PGHOST": "/run/pg",
        "PGPORT": "5433",
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
    }


def test_a_server_over_tcp_with_a_passfile_and_large_segments() -> None:
    host = Host("/d", "postgres", 1, "/run", "u", "/bin", "127.0.0.1", "/etc/passfile", wal_segment_size=64 << 20)
    found = made(FILE, host=host)
    assert (found["PGHOST"], found["PGPASSFILE"], found["WALG_PG_WAL_SIZE"]) == ("127.0.0.1", "/etc/passfile", "64")


def test_what_is_not_known_is_left_out() -> None:
    assert "PGHOST" not in made(FILE, host=Host("/d", "postgres", 1, "", "u", ""))


COMMON = set(made(FILE)) - {"WALG_FILE_PREFIX"}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (
            store("s3", **S3, prefix="/back ups/ü/"),
            {
                "WALG_S3_PREFIX": "s3://b/back%20ups/%C3%BC/main/wal-g",
                "AWS_ACCESS_KEY_ID": "AK",
                "AWS_SECRET_ACCESS_KEY": "SK",
                "WALG_S3_MAX_PART_SIZE": "16777216",
            },
        ),
        (
            store("s3", **S3, endpoint_url="https://ceph:7480", ca_file="/etc/ca.pem", session_token="ST"),
            {
                "WALG_S3_PREFIX": "s3://b/main/wal-g",
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT": "https://ceph:7480",
                "AWS_S3_FORCE_PATH_STYLE": "true",
                "AWS_ACCESS_KEY_ID": "AK",
                "AWS_SECRET_ACCESS_KEY": "SK",
                "AWS_SESSION_TOKEN": "ST",
                "WALG_S3_CA_CERT_FILE": "/etc/ca.pem",
                "WALG_S3_MAX_PART_SIZE": "16777216",
            },
        ),
        (
            store(
                "s3", bucket="b", region="eu-central-1", endpoint_url="https://s3", addressing_style="virtual",
                role_arn="arn:r", sse="aws:kms", sse_kms_key_id="k", storage_class="STANDARD_IA", bandwidth_limit=1000,
            ),
            {
                "WALG_S3_PREFIX": "s3://b/main/wal-g",
                "AWS_REGION": "eu-central-1",
                "AWS_ENDPOINT": "https://s3",
                "AWS_ROLE_ARN": "arn:r",
                "AWS_ROLE_SESSION_NAME": "holdfast",
                "WALG_S3_SSE": "aws:kms",
                "WALG_S3_SSE_KMS_ID": "k",
                "WALG_S3_STORAGE_CLASS": "STANDARD_IA",
                "WALG_S3_MAX_PART_SIZE": "16777216",
                "WALG_NETWORK_RATE_LIMIT": "1000",
            },
        ),
        (
            store("azure", **AZURE, account_key="key"),
            {"WALG_AZ_PREFIX": "azure://c/main/wal-g", "AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_ACCESS_KEY": "key"},
        ),
        (
            store("azure", **AZURE, sas_token="sv=1&sig=x", endpoint_url="https://acc.blob.core.usgovcloudapi.net/"),
            {
                "WALG_AZ_PREFIX": "azure://c/main/wal-g",
                "AZURE_STORAGE_ACCOUNT": "acc",
                "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=x",
                "AZURE_ENDPOINT_SUFFIX": "core.usgovcloudapi.net",
            },
        ),
        (
            store(
                "azure", container="c", prefix="p",
                connection_string="DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net",
            ),
            {
                "WALG_AZ_PREFIX": "azure://c/p/main/wal-g",
                "AZURE_STORAGE_ACCOUNT": "acc",
                "AZURE_STORAGE_ACCESS_KEY": "a2V5PT0=",
                "AZURE_ENDPOINT_SUFFIX": "core.windows.net",
            },
        ),
        (
            store("azure", **AZURE, client_id="id"),
            {"WALG_AZ_PREFIX": "azure://c/main/wal-g", "AZURE_STORAGE_ACCOUNT": "acc", "AZURE_CLIENT_ID": "id"},
        ),
        (
            store("gcs", bucket="b", prefix="x/y", credentials_file="/etc/gcs.json"),
            {"WALG_GS_PREFIX": "gs://b/x/y/main/wal-g", "GOOGLE_APPLICATION_CREDENTIALS": "/etc/gcs.json"},
        ),
    ],
    ids=["s3", "s3-compatible", "s3-role-kms", "azure-key", "azure-sas", "azure-string", "azure-identity", "gcs"],
)  # fmt: skip
def test_stores(where: dict[str, Any], expected: dict[str, str]) -> None:
    found = made(where)
    assert {name: value for name, value in found.items() if name not in COMMON} == expected


@pytest.mark.parametrize(
    ("where", "named"),
    [
        (store("s3", **S3, tags={"a": "b"}), "repository.tags"),
        (store("s3", **S3, external_id="e"), "repository.external_id"),
        (store("s3", **S3, sts_endpoint_url="https://sts"), "repository.sts_endpoint_url"),
        (store("s3", **S3, sse_customer_key="secret of mine"), "repository.sse_customer_key"),
        (store("s3", **S3, object_lock="governance", object_lock_for="1d"), "repository.object_lock"),
        (store("s3", **S3, validate_certs=False), "repository.validate_certs"),
        (store("s3", **S3, sse="aws:kms"), "repository.sse_kms_key_id"),
        (store("s3", **S3, sse_kms_key_id="k"), "repository.sse_kms_key_id"),
        (store("azure", **AZURE, endpoint_url="http://127.0.0.1:10000/acc"), "repository.endpoint_url"),
        (store("azure", **AZURE, endpoint_url="https://other.blob.core.windows.net"), "repository.endpoint_url"),
        (store("azure", **AZURE, storage_class="Cool"), "repository.storage_class"),
        (store("azure", **AZURE, ca_file="/ca"), "repository.ca_file"),
        (store("azure", container="c"), "repository.account"),
        (store("gcs", bucket="b", endpoint_url="http://localhost"), "repository.endpoint_url"),
        (store("gcs", bucket="b", storage_class="NEARLINE"), "repository.storage_class"),
    ],
)
def test_what_wal_g_cannot_do_with_a_store(where: dict[str, Any], named: str) -> None:
    with pytest.raises(BadOption) as refused:
        made(where)
    assert refused.value.option == named
    assert "secret of mine" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"compression": "gzip"}, "compression"),
        ({"level": 3}, "compression_level"),
        ({"jobs": 0}, "jobs"),
        ({"encryption": {"method": "aes256"}}, "encryption.passphrase"),
        ({"encryption": {"method": "pgp"}}, "encryption.recipients"),
        ({"encryption": {"method": "pgp", "recipients": ["A1B2C3"]}}, "encryption.recipients"),
        ({"encryption": {"method": "pgp", "recipients": ["/a", "/b"]}}, "encryption.recipients"),
        ({"extra": {"delta_origin": "LATEST"}}, "engine_options"),
    ]
    + [
        ({"extra": {name: "x"}}, "engine_options")
        for name in (
            "WALG_FILE_PREFIX",
            "WALG_STORAGE_PREFIX",
            "WALG_PREVENT_WAL_OVERWRITE",
            "WALG_PG_WAL_SIZE",
            "WALG_LOG_LEVEL",
            "WALG_PGP_KEY",
            "WALG_ENVELOPE_PGP_KEY",
            "WALG_LIBSODIUM_KEY_PATH",
            "WALG_GPG_KEY_ID",
            "WALG_FAILOVER_STORAGES",
            "WALG_TARGET_STORAGE",
            "PGHOST",
            "PG_READY_RENAME",
            "AWS_SECRET_ACCESS_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
        )
    ],
)
def test_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(BadOption) as refused:
        made(FILE, **options)
    assert refused.value.option == named


def test_options_of_its_own_come_last() -> None:
    extra = {"WALG_COMPRESSION_METHOD": "brotli", "WALG_DELTA_MAX_STEPS": "20", "WALG_DELTA_ORIGIN": "LATEST_FULL"}
    assert extra.items() <= made(FILE, extra=extra).items()


def test_libsodium_takes_a_key_and_no_passphrase() -> None:
    aes = {"method": "aes256"}
    assert made(FILE, KEY.hex(), encryption=aes)["WALG_LIBSODIUM_KEY_TRANSFORM"] == "hex"
    text = base64.b64encode(KEY).decode()
    found = made(FILE, text, encryption=aes)
    assert (found["WALG_LIBSODIUM_KEY"], found["WALG_LIBSODIUM_KEY_TRANSFORM"]) == (text, "base64")
    for weak in ("correct horse battery staple", KEY.hex()[:-2], base64.b64encode(KEY[:-1]).decode(), ""):
        with pytest.raises(BadOption) as refused:
            made(FILE, weak, encryption=aes)
        assert "openssl rand -hex 32" in str(refused.value)
        assert not weak or weak not in str(refused.value)


def test_pgp_is_one_file_of_keys() -> None:
    pgp = {"method": "pgp", "recipients": ["/etc/holdfast/keys.asc"]}
    assert made(FILE, encryption=pgp)["WALG_PGP_KEY_PATH"] == "/etc/holdfast/keys.asc"
    assert "WALG_PGP_KEY_PASSPHRASE" not in made(FILE, encryption=pgp)
    assert made(FILE, "pass", encryption=pgp)["WALG_PGP_KEY_PASSPHRASE"] == "pass"
