# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our options in barman-cloud's words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import options
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

S3 = {"type": "s3", "bucket": "backups", "access_key": "AKIA", "secret_key": "a secret"}
AZURE = {"type": "azure", "container": "backups", "account": "shop"}
GCS = {"type": "gcs", "bucket": "backups"}
# What barman-cloud 3.19 says with --help, as far as compression goes.
WAL_HELP = "[-z | -j | --xz | --snappy | --zstd | --lz4] [--compression-level COMPRESSION_LEVEL] --gzip --bzip2"
BACKUP_HELP = "[-z | -j | --snappy | --lz4] --gzip --bzip2"


def place(store: dict[str, Any], **wanted: Any) -> options.StoreArguments:
    return options.store_arguments(RepositoryEngineOptions("main", [store], **wanted), store)


@pytest.mark.parametrize(
    ("store", "url", "words", "environment"),
    [
        (
            {**S3, "region": "eu-central-1", "session_token": "t"},
            "s3://backups",
            "--cloud-provider aws-s3",
            {
                "AWS_ACCESS_KEY_ID": "AKIA",
                "AWS_SECRET_ACCESS_KEY": "a secret",
                "AWS_SESSION_TOKEN": "t",
                "AWS_DEFAULT_REGION": "eu-central-1",
            },
        ),
        (
            {
                "type": "s3",
                "bucket": "backups",
                "prefix": "/pg/ü one/",
                "profile": "backup",
                "endpoint_url": "https://[::1]:9000",
                "addressing_style": "path",
                "ca_file": "/etc/ca.pem",
                "request_checksum_calculation": "when_required",
            },
            "s3://backups/pg/ü one",
            "--cloud-provider aws-s3 --endpoint-url https://[::1]:9000 --addressing-style path",
            {
                "AWS_PROFILE": "backup",
                "AWS_CA_BUNDLE": "/etc/ca.pem",
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            },
        ),
        (
            {**S3, "endpoint_url": "http://127.0.0.1:1"},
            "s3://backups",
            "--cloud-provider aws-s3 --endpoint-url http://127.0.0.1:1",
            {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "a secret", "AWS_DEFAULT_REGION": "us-east-1"},
        ),
        (
            {**AZURE, "account_key": "key==", "prefix": "pg"},
            "https://shop.blob.core.windows.net/backups/pg",
            "--cloud-provider azure-blob-storage",
            {
                "AZURE_STORAGE_CONNECTION_STRING": "AccountName=shop;AccountKey=key==;"
                "BlobEndpoint=https://shop.blob.core.windows.net"
            },
        ),
        (
            {**AZURE, "sas_token": "?sv=1&sig=2", "endpoint_url": "https://127.0.0.1:1/shop", "ca_file": "/etc/ca.pem"},
            "https://shop.blob.core.windows.net/backups",
            "--cloud-provider azure-blob-storage",
            {
                "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://127.0.0.1:1/shop;SharedAccessSignature=sv=1&sig=2",
                "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
            },
        ),
        (
            {"type": "azure", "container": "c", "connection_string": "AccountName=other;AccountKey=k"},
            "https://other.blob.core.windows.net/c",
            "--cloud-provider azure-blob-storage",
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=other;AccountKey=k"},
        ),
        (
            {**AZURE, "client_id": "1234"},
            "https://shop.blob.core.windows.net/backups",
            "--cloud-provider azure-blob-storage --azure-credential managed-identity",
            {"AZURE_CLIENT_ID": "1234"},
        ),
        (
            {**GCS, "credentials_file": "/etc/key.json", "project": "shop", "endpoint_url": "https://gcs.example.com"},
            "gs://backups",
            "--cloud-provider google-cloud-storage",
            {
                "GOOGLE_APPLICATION_CREDENTIALS": "/etc/key.json",
                "GOOGLE_CLOUD_PROJECT": "shop",
                "API_ENDPOINT_OVERRIDE": "https://gcs.example.com",
            },
        ),
        (
            {**GCS, "endpoint_url": "http://127.0.0.1:1"},
            "gs://backups",
            "--cloud-provider google-cloud-storage",
            {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"},
        ),
    ],
)
def test_stores(store: dict[str, Any], url: str, words: str, environment: dict[str, str]) -> None:
    found = place(store)
    assert (found.url, " ".join(found.common)) == (url, words)
    assert found.environment == {**environment, "TZ": "UTC"}


def test_what_only_writes_are_told() -> None:
    found = place({**S3, "sse": "aws:kms", "sse_kms_key_id": "k", "tags": {"team": "db"}, "bandwidth_limit": 1000})
    assert found.upload == ("--tags", "team,db", "--encryption", "aws:kms", "--sse-kms-key-id", "k")
    assert found.backup == ("--max-bandwidth", "1000")
    assert "--encryption" not in found.common


def test_engine_options() -> None:
    extra = {"read_timeout": "10", "max_archive_size": "10GB", "min_chunk_size": "20MB"}
    found = place(S3, extra=extra)
    assert found.common == ("--cloud-provider", "aws-s3", "--read-timeout", "10")
    assert found.backup == ("--max-archive-size", "10GB", "--min-chunk-size", "20MB")


def test_a_token_in_a_file_is_read_when_it_is_needed() -> None:
    found = place({**AZURE, "sas_token": "old", "sas_token_file": "/etc/token"})
    assert found.environment["AZURE_STORAGE_CONNECTION_STRING"].endswith(f"SharedAccessSignature={options.TOKEN}")
    assert (found.token_file, found.files) == ("/etc/token", ("/etc/token",))


@pytest.mark.parametrize(
    ("store", "credentials", "libraries"),
    [
        (S3, True, ("boto3",)),
        ({"type": "s3", "bucket": "b", "profile": "p"}, True, ("boto3",)),
        ({"type": "s3", "bucket": "b"}, False, ("boto3",)),
        ({**AZURE, "account_key": "k"}, True, ("azure.storage.blob",)),
        (AZURE, False, ("azure.storage.blob", "azure.identity")),
        (GCS, False, ("google.cloud.storage",)),
        ({**GCS, "credentials_file": "/k"}, True, ("google.cloud.storage",)),
    ],
)
def test_whose_credentials(store: dict[str, Any], credentials: bool, libraries: tuple[str, ...]) -> None:
    found = place(store)
    assert (found.credentials, found.libraries) == (credentials, libraries)


@pytest.mark.parametrize(
    ("store", "wanted", "option"),
    [
        ({"type": "file", "path": "/backups"}, {}, "repository.type"),
        (S3, {"encryption": {"method": "aes256", "passphrase": "p"}}, "encryption.method"),
        ({**S3, "role_arn": "arn:x"}, {}, "repository.role_arn"),
        ({**S3, "sse_customer_key": "k"}, {}, "repository.sse_customer_key"),
        ({**S3, "object_lock": "governance", "object_lock_for": "30d"}, {}, "repository.object_lock"),
        ({**S3, "storage_class": "STANDARD_IA"}, {}, "repository.storage_class"),
        ({**S3, "validate_certs": False}, {}, "repository.validate_certs"),
        ({**S3, "prefix": "a?b"}, {}, "repository.prefix"),
        ({**S3, "tags": {"a": "two words"}}, {}, "repository.tags"),
        ({**S3, "endpoint_url": "https://x y"}, {}, "repository"),
        ({"type": "s3", "bucket": "b", "access_key": "k"}, {}, "repository.access_key"),
        (S3, {"extra": {"encryption_scope": "x"}}, "engine_options.encryption_scope"),
        ({**GCS, "bandwidth_limit": 1}, {}, "repository.bandwidth_limit"),
        ({"type": "azure", "container": "c"}, {}, "repository.account"),
        ({**AZURE, "account_key": "k", "sas_token": "t"}, {}, "repository.account_key"),
        ({**AZURE, "endpoint_url": "https://127.0.0.1:1/x"}, {}, "repository.endpoint_url"),
    ],
)
def test_refused(store: dict[str, Any], wanted: dict[str, Any], option: str) -> None:
    with pytest.raises(BadOption) as refused:
        place(store, **wanted)
    assert refused.value.option == option
    if option in ("encryption.method", "repository.type"):
        assert "engine: p" in str(refused.value)
    assert "'k'" not in str(refused.value) or option == "repository.access_key"


@pytest.mark.parametrize(
    ("wanted", "wal", "backup"),
    [
        ({"compression": "none"}, [], []),
        ({"compression": "gzip"}, ["--gzip"], ["--gzip"]),
        ({"compression": "lz4"}, ["--lz4"], ["--lz4"]),
        ({"extra": {"backup_compression": "snappy"}}, ["--zstd"], ["--snappy"]),
        ({"compression": "lz4", "extra": {"wal_compression": "xz"}}, ["--xz"], ["--lz4"]),
    ],
)
def test_compression(wanted: dict[str, Any], wal: list[str], backup: list[str]) -> None:
    asked = RepositoryEngineOptions("main", [S3], **wanted)
    assert options.wal_arguments(asked, WAL_HELP) == wal
    assert options.backup_arguments(asked, BACKUP_HELP) == backup


def test_a_level_is_for_wal_alone() -> None:
    asked = RepositoryEngineOptions("main", [S3], compression="gzip", level=1)
    assert options.wal_arguments(asked, WAL_HELP) == ["--gzip", "--compression-level", "1"]
    with pytest.raises(BadOption, match="compression_level"):
        options.backup_arguments(asked, BACKUP_HELP)
    with pytest.raises(BadOption, match="compression_level"):
        options.wal_arguments(asked, WAL_HELP.replace("--compression-level", ""))


def test_compression_that_a_program_does_not_have() -> None:
    """zstd is for WAL alone in 3.19, and for neither before."""
    asked = RepositoryEngineOptions("main", [S3])
    with pytest.raises(BadOption, match="barman-cloud-backup does") as refused:
        options.backup_arguments(asked, BACKUP_HELP)
    assert "none, gzip, bzip2, lz4, snappy" in str(refused.value) and "backup_compression" in str(refused.value)
    with pytest.raises(BadOption, match="barman-cloud-wal-archive does"):
        options.wal_arguments(asked, "--gzip --bzip2 --snappy")
