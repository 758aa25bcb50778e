# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest's configuration from our options: what is written, and what is refused, each for itself."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.options import (
    LOG,
    SPOOL,
    Configuration,
    check_version,
    configuration,
    seconds,
    work_directories,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.stores import store_settings
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host

OLD, NEW = (2, 45), (2, 60, 0)
HOST = Host(
    data_directory="/data/15",
    owner="postgres",
    port=5433,
    socket_directory="/run/postgresql",
    user="postgres",
    bin_dir="/b",
)
KEYS = {"access_key": "AKIA", "secret_key": "s3cr3t"}


def store(**given: Any) -> dict[str, Any]:
    return {**{name: spec.get("default") for name, spec in STORE.items()}, **given}


def settings(version: tuple[int, ...] = OLD, **given: Any) -> dict[str, str]:
    return dict(store_settings(store(**given), version))


def written(secret: str | None = None, stores: Any = None, host: Host = HOST, **given: Any) -> Configuration:
    stores = stores or [store(type="file", path="/backups")]
    options = RepositoryEngineOptions(**{"server_name": "main", "repositories": stores, **given})
    return configuration(host, options, stores, secret, OLD, ("/w/spool", "/w/log"))


def test_the_whole_text() -> None:
    made = written(
        "pass phrase",
        [
            store(type="file", path="/backups/"),
            store(type="s3", bucket="b", prefix="pg/", region="eu-central-1", **KEYS),
        ],
        encryption={"method": "aes256"},
        jobs=3,
        level=5,
    )
    assert made.main == (
        "# Written by holdfast.postgres: changes by hand are overwritten.\n"
        "\n[global]\n"
        "repo1-type=posix\nrepo1-path=/backups/pgbackrest\nrepo1-cipher-type=aes-256-cbc\nrepo1-retention-full=9999999\n"
        "repo2-type=s3\nrepo2-path=/pg/pgbackrest\nrepo2-s3-bucket=b\nrepo2-s3-region=eu-central-1\n"
        "repo2-s3-endpoint=s3.eu-central-1.amazonaws.com\nrepo2-s3-uri-style=host\nrepo2-bundle=y\n"
        "repo2-storage-upload-chunk-size=16777216\n"
        "repo2-cipher-type=aes-256-cbc\nrepo2-retention-full=9999999\n"
        "compress-type=zst\ncompress-level=5\nprocess-max=3\narchive-async=y\nspool-path=/w/spool\n"
        "lock-path=/w/spool/lock\nlog-path=/w/log\nio-timeout=15\nstart-fast=y\nexpire-auto=n\n"
        "\n[main]\npg1-path=/data/15\npg1-port=5433\npg1-user=postgres\npg1-socket-path=/run/postgresql\n"
    )
    assert made.secrets == (
        "# Written by holdfast.postgres: changes by hand are overwritten.\n"
        "\n[global]\nrepo1-cipher-pass=pass phrase\nrepo2-s3-key=AKIA\nrepo2-s3-key-secret=s3cr3t\n"
        "repo2-cipher-pass=pass phrase\n"
    )
    assert (made.spool, made.locks, made.logs) == ("/w/spool", "/w/spool/lock", "/w/log")


@pytest.mark.parametrize(
    ("ours", "lines"),
    [
        ({"compression": "zstd"}, "compress-type=zst\ncompress-level=1\n"),
        ({"compression": "zstd", "level": -3}, "compress-type=zst\ncompress-level=-3\n"),
        ({"compression": "gzip"}, "compress-type=gz\n"),
        ({"compression": "gzip", "level": 9}, "compress-type=gz\ncompress-level=9\n"),
        ({"compression": "lz4"}, "compress-type=lz4\n"),
        ({"compression": "none"}, "compress-type=none\n"),
    ],
)
def test_compression(ours: dict[str, Any], lines: str) -> None:
    assert f"\n{lines}process-max" in written(**ours).main


def test_engine_options_go_where_they_belong() -> None:
    extra = {
        "backup-standby": "y",
        "pg2-host": "other",
        "pg2-path": "/data/15",
        "process-max": "8",
        "repo1-bundle": "y",
        "repo1-retention-archive": "2",
        "spool-path": "/srv/spool",
        "log-level-file": "off",
    }
    made = written(extra=extra)
    top, server = made.main.split("[main]\n")
    assert "backup-standby=y\n" in top and "process-max=8\n" in top and "process-max=1\n" not in top
    assert "repo1-bundle=y\n" in top and "pg2-host=other\npg2-path=/data/15\n" in server
    # Only our own deletion reads it: else pgBackRest would by itself.
    assert made.archive_kept == {1: 2} and "retention-archive" not in made.main
    assert (made.spool, made.locks, made.logs) == ("/srv/spool", "/srv/spool/lock", None)


@pytest.mark.parametrize(
    ("config_dir", "usable", "spool", "logs"),
    [
        ("/home/me/etc", (), "/home/me/etc/pgbackrest/spool", "/home/me/etc/pgbackrest/log"),
        ("/etc/holdfast/servers/app", (), "/var/spool/holdfast/app/pgbackrest", "/var/log/holdfast/app/pgbackrest"),
        ("/etc/holdfast/servers/app", (SPOOL, LOG), SPOOL, LOG),
        ("/etc/holdfast/servers/app", (LOG,), "/var/spool/holdfast/app/pgbackrest", LOG),
    ],
)
def test_where_its_work_is(config_dir: str, usable: tuple[str, ...], spool: str, logs: str) -> None:
    """A package's directories are one user's; a host has several owners of servers."""
    assert work_directories(config_dir, "app", usable.__contains__) == (spool, logs)


def test_a_server_over_tcp_has_no_socket() -> None:
    tcp = Host(**{**HOST.__dict__, "host": "127.0.0.1"})
    assert "socket" not in written(host=tcp).main


def test_wal_is_lost_only_by_a_name_that_says_so() -> None:
    assert "archive-push-queue-max" not in written().main
    assert "archive-push-queue-max=100GiB\n" in written(extra={"lose_wal_beyond": "100GiB"}).main
    with pytest.raises(BadOption, match="drop WAL.*lose_wal_beyond: 1GiB"):
        written(extra={"archive-push-queue-max": "1GiB"})


@pytest.mark.parametrize(
    "name",
    [
        "repo1-retention-full",
        "repo2-retention-diff",
        "expire-auto",
        "archive-check",
        "archive-header-check",
        "exclude",
        "online",
        "repo1-path",
        "repo1-cipher-pass",
        "repo1-s3-key",
        "repo1-azure-key",
        "repo1-storage-verify-tls",
        "repo1-host",
        "pg1-path",
        "pg-path",
        "compress-type",
        "stanza",
        "config-include-path",
        "repo",
        "type",
        "target-time",
        "log-level-console",
    ],
)
def test_engine_options_that_are_refused(name: str) -> None:
    with pytest.raises(BadOption, match=name):
        written(extra={name: "x"})


@pytest.mark.parametrize("name", ["Backup", "a b", "x=1\nrepo1-path", "[global]", ""])
def test_engine_options_that_are_no_names(name: str) -> None:
    with pytest.raises(BadOption, match="is no name"):
        written(extra={name: "y"})


@pytest.mark.parametrize("secret", [" a", "a ", "a\nb", "a\x00b", "\u2028"])
def test_a_passphrase_that_the_file_cannot_hold(secret: str) -> None:
    with pytest.raises(BadOption, match=r"encryption.passphrase.*hidden"):
        written(secret, encryption={"method": "aes256"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"encryption": {"method": "pgp"}}, "encryption.method.*by a passphrase"),
        ({"encryption": {"method": "aes256"}}, "encryption.passphrase"),
        ({"server_name": "global"}, "server_name"),
        ({"jobs": 0}, "jobs"),
        ({"compression": "none", "level": 3}, "compression_level"),
        ({"compression": "gzip", "level": 12}, "compression_level"),
        ({"extra": {"repo1-retention-archive": "0"}}, "retention-archive"),
        ({"extra": {"lock-path": "/a\nb"}}, "lock-path"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadOption, match=words):
        written(**given)


@pytest.mark.parametrize(
    ("text", "expected"), [("15", 15), ("0.5", 0.5), ("0", None), ("soon", None), ("15s", None), ("", None)]
)
def test_seconds(text: str, expected: float | None) -> None:
    if expected is None:
        with pytest.raises(BadOption, match="io-timeout"):
            seconds("io-timeout", text)
    else:
        assert seconds("io-timeout", text) == expected


# Stores


def test_s3_of_ones_own() -> None:
    made = settings(
        type="s3",
        bucket="b",
        endpoint_url="https://store.example:9000/",
        ca_file="/ca.pem",
        validate_certs=False,
        **KEYS,
    )
    assert made == {
        "type": "s3",
        "path": "/pgbackrest",
        "s3-bucket": "b",
        "s3-region": "us-east-1",
        "s3-endpoint": "store.example",
        "storage-port": "9000",
        "storage-verify-tls": "n",
        "storage-ca-file": "/ca.pem",
        "s3-uri-style": "path",
        "s3-key": "AKIA",
        "s3-key-secret": "s3cr3t",
        "bundle": "y",
        "storage-upload-chunk-size": "16777216",
    }


def test_s3_with_the_machines_role() -> None:
    made = settings(type="s3", bucket="b", region="r")
    assert made["s3-key-type"] == "auto" and "s3-key" not in made
    main = written(stores=[store(type="s3", bucket="b", region="r")], extra={"repo1-s3-key-type": "web-id"}).main
    assert main.count("repo1-s3-key-type=") == 1 and "repo1-s3-key-type=web-id\n" in main


@pytest.mark.parametrize(
    ("given", "style"),
    [
        ({"region": "r"}, "host"),
        ({"region": "r", "addressing_style": "path"}, "path"),
        ({"endpoint_url": "https://s"}, "path"),
        ({"endpoint_url": "https://s", "addressing_style": "virtual"}, "host"),
    ],
)
def test_s3_style(given: dict[str, Any], style: str) -> None:
    assert settings(type="s3", bucket="b", **given)["s3-uri-style"] == style


def test_what_newer_versions_can() -> None:
    made = store_settings(
        store(
            type="s3",
            bucket="b",
            region="r",
            sse_customer_key="k",
            tags={"a": "1", "b": "2"},
            part_size=64 * 1024 * 1024,
        ),
        NEW,
    )
    assert [value for name, value in made if name == "storage-tag"] == ["a=1", "b=2"]
    assert ("s3-sse-customer-key", "k") in made and ("storage-upload-chunk-size", "67108864") in made
    assert settings(NEW, type="s3", bucket="b", endpoint_url="https://10.0.0.1:9000")["s3-endpoint"] == "10.0.0.1"
    assert settings(NEW, type="azure", container="c", account="a")["azure-key-type"] == "auto"


AZURE = {"type": "azure", "container": "c", "account": "acc"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"account_key": "k"},
            {"azure-key-type": "shared", "azure-key": "k", "azure-endpoint": "blob.core.windows.net", "azure-uri-style": "host"},
        ),
        ({"sas_token": "?sv=1&sig=x"}, {"azure-key-type": "sas", "azure-key": "sv=1&sig=x", "azure-uri-style": "host"}),
        (
            {"account_key": "k", "endpoint_url": "https://acc.blob.core.chinacloudapi.cn"},
            {"azure-endpoint": "blob.core.chinacloudapi.cn", "azure-uri-style": "host"},
        ),
        (
            {"account_key": "k", "endpoint_url": "https://localhost:10000/acc"},
            {"azure-endpoint": "localhost", "storage-port": "10000", "azure-uri-style": "path"},
        ),
        (
            {"account": None, "connection_string": "AccountName=acc;AccountKey=k==;EndpointSuffix=core.usgovcloudapi.net"},
            {"azure-account": "acc", "azure-key": "k==", "azure-endpoint": "blob.core.usgovcloudapi.net"},
        ),
        (
            {"account": None, "connection_string": "BlobEndpoint=https://acc.blob.x.y/;AccountName=acc;SharedAccessSignature=sv=1&sig=x"},
            {"azure-key-type": "sas", "azure-key": "sv=1&sig=x", "azure-endpoint": "blob.x.y", "azure-uri-style": "host"},
        ),
    ],
)  # fmt: skip
def test_azure(given: dict[str, Any], expected: dict[str, str]) -> None:
    assert expected.items() <= settings(**{**AZURE, **given}).items()


def test_google() -> None:
    made = settings(type="gcs", bucket="b", prefix="p", credentials_file="/key.json")
    assert made == {
        "type": "gcs",
        "path": "/p/pgbackrest",
        "gcs-bucket": "b",
        "gcs-key-type": "service",
        "gcs-key": "/key.json",
        "gcs-endpoint": "storage.googleapis.com",
        "bundle": "y",
        "storage-upload-chunk-size": "16777216",
    }
    assert settings(type="gcs", bucket="b")["gcs-key-type"] == "auto"
    assert settings(type="gcs", bucket="b", endpoint_url="https://s:4443")["gcs-endpoint"] == "s:4443"


S3 = {"type": "s3", "bucket": "b", "region": "r"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**S3, "endpoint_url": "http://s:9000"}, "endpoint_url.*without TLS"),
        ({**AZURE, "account_key": "k", "endpoint_url": "http://s:9000/acc"}, "endpoint_url.*without TLS"),
        ({**AZURE, "connection_string": "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=k"}, "asks for http"),
        ({**S3, "endpoint_url": "https://s/path"}, "endpoint_url.*no address"),
        ({**S3, "endpoint_url": "https://u:p@s"}, "endpoint_url.*no address"),
        ({**S3, "endpoint_url": "https://s:port"}, "endpoint_url.*no address"),
        ({**S3, "endpoint_url": "https://10.0.0.1"}, r"pgBackRest 2\.45.*certificate.*2\.53"),
        ({**S3, "endpoint_url": "https://[::1]"}, r"pgBackRest 2\.45"),
        ({**S3, "region": None}, "region"),
        ({**S3, "access_key": "a"}, "access_key"),
        ({**S3, "profile": "x"}, "profile"),
        ({**S3, "role_arn": "x"}, "role_arn"),
        ({**S3, "sse": "AES256"}, "sse"),
        ({**S3, "sse": "aws:kms"}, "sse_kms_key_id"),
        ({**S3, "sse_customer_key": "x"}, r"sse_customer_key.*hidden.*2\.52"),
        ({**S3, "object_lock": "compliance", "object_lock_for": "1d"}, "object_lock"),
        ({**S3, "storage_class": "GLACIER"}, "storage_class"),
        ({**S3, "bandwidth_limit": 1}, "bandwidth_limit"),
        ({**S3, "tags": {"a": "b"}}, r"tags.*2\.48"),
        ({**AZURE, "client_id": "x"}, "client_id"),
        (AZURE, r"account_key.*2\.58"),
        ({**AZURE, "account": None, "account_key": "k"}, "account"),
    ],
)
def test_what_stores_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadOption, match=words):
        settings(**given)


@pytest.mark.parametrize(
    ("version", "server", "words"),
    [
        ((2, 45), 150004, None),
        ((2, 45), 130000, None),
        ((2, 45), 0, None),
        ((2, 40), 150004, r"2\.40 is too old.*2\.41"),
        ((2, 45), 160000, r"does not know PostgreSQL 16.*2\.46"),
        ((2, 53), 170000, r"does not know PostgreSQL 17.*2\.53\.1"),
        ((2, 54, 2), 180000, r"does not know PostgreSQL 18.*2\.55"),
        ((2, 55, 1), 180000, None),
    ],
)
def test_versions(version: tuple[int, ...], server: int, words: str | None) -> None:
    if words is None:
        check_version(version, server)
        return
    with pytest.raises(ToolError, match=words):
        check_version(version, server)
