# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G's settings from our options. Pure.

Names: https://wal-g.readthedocs.io/#configuration, https://wal-g.readthedocs.io/STORAGES/ and .../PostgreSQL/. What WAL-G
cannot do is refused here, option by option: it would leave it out without a word.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import refuse_untaken
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host

FOLDER = "wal-g"  # below the server's own: no backup's id, and no folder of another engine
WAL, BACKUPS = "wal_005", "basebackups_005"  # WAL-G's folders, with the version of its layout
STEPS = 6  # incremental backups upon a full one, when engine_options do not say: a full one a week, the others daily
_TUNABLE = {
    "WALG_COMPRESSION_METHOD",
    "WALG_DELTA_MAX_STEPS",
    "WALG_DOWNLOAD_CONCURRENCY",
    "WALG_UPLOAD_CONCURRENCY",
    "WALG_UPLOAD_DISK_CONCURRENCY",
}
# What other options say, or what our reading of WAL-G's output depends on.
_OURS = re.compile(
    r"\w+_PREFIX|PG\w+|AWS_(?:ACCESS|SECRET|SESSION)\w+|AZURE_\w+|GOOGLE_\w+|WAL[EG]_GPG\w+"
    r"|WALG_(?:\w+_)?(?:PGP|LIBSODIUM|LOG|FAILOVER|TARGET)\w*"
)


def folder_of(server_name: str) -> str:
    """Where a server's WAL-G repository lies below the ``path`` or ``prefix`` of a store."""
    return f"{server_name}/{FOLDER}"


def settings(
    host: Host, options: RepositoryEngineOptions, store: Mapping[str, Any], secret: Optional[str]
) -> dict[str, str]:
    """The configuration file's content. ``store`` are the repository's options, made whole (a token out of its file
    included), ``secret`` the passphrase, wherever it came from.

    Raises:
        BadOption: something that WAL-G cannot do, or that would be done otherwise than asked.
    """
    if options.jobs < 1:
        raise BadOption("jobs", options.jobs, "is not a number of processes", "Use 1 or more.")
    there = _STORES[store["type"]](store, folder_of(options.server_name))
    refuse_untaken(store, TAKEN[store["type"]], "WAL-G")
    found = {
        **there,
        **_encryption(options.encryption or {}, secret),
        **_compression(options),
        # Else a segment that is there already would be replaced, whatever is in it.
        "WALG_PREVENT_WAL_OVERWRITE": "true",
        "WALG_DELTA_MAX_STEPS": str(STEPS),
        "WALG_UPLOAD_CONCURRENCY": str(options.jobs),
        "WALG_DOWNLOAD_CONCURRENCY": str(options.jobs),
        "WALG_UPLOAD_DISK_CONCURRENCY": str(options.jobs),
        "WALG_PG_WAL_SIZE": str(host.wal_segment_size // (1024 * 1024)),
        "PGDATA": host.data_directory,
        "PGHOST": host.host or host.socket_directory,
        "PGPORT": str(host.port),
        "PGUSER": host.user,
        "PGDATABASE": "postgres",
    }
    if host.passfile:
        found["PGPASSFILE"] = host.passfile
    for name, value in options.extra.items():
        if not re.fullmatch("[A-Z][A-Z0-9_]*", name):
            raise BadOption("engine_options", name, "is no setting of WAL-G", "Write it as WALG_DELTA_ORIGIN.")
        if _OURS.fullmatch(name) or (name in found and name not in _TUNABLE):
            raise BadOption(
                "engine_options", name, "is what other options say", "Leave it out, and use those of the module."
            )
        found[name] = value
    # WAL-G takes an empty setting for one that is set.
    return _given(found)


_COMMON = {"prefix", "bandwidth_limit", "part_size", "concurrency"}
#: The options that are translated here, and those that are none of its business: how many parts go at once (jobs say that), how
#: boto3 sums up, and where buckets are made. Any other is refused.
TAKEN: Mapping[str, set[str]] = {
    "file": {"path"},
    "s3": _COMMON
    | {"bucket", "region", "endpoint_url", "addressing_style", "access_key", "secret_key", "session_token", "profile"}
    | {"role_arn", "sse", "sse_kms_key_id", "storage_class", "ca_file", "request_checksum_calculation"},
    "azure": _COMMON
    | {
        "container",
        "account",
        "account_key",
        "connection_string",
        "sas_token",
        "sas_token_file",
        "client_id",
        "endpoint_url",
    },
    "gcs": _COMMON | {"bucket", "credentials_file", "project", "region"},
}


def _compression(options: RepositoryEngineOptions) -> dict[str, str]:
    if options.level is not None:
        raise BadOption("compression_level", options.level, "is not WAL-G's to choose", "Leave it out.")
    if options.compression == "gzip":
        raise BadOption(
            "compression", "gzip", "is none of WAL-G's",
            "Use zstd or lz4; or brotli or lzma, as engine_options: {WALG_COMPRESSION_METHOD: brotli}.",
        )  # fmt: skip
    return {"WALG_COMPRESSION_METHOD": options.compression}


def _encryption(options: Mapping[str, Any], secret: Optional[str]) -> dict[str, str]:
    method = options.get("method") or "none"
    if method == "none":
        return {}
    if method == "aes256":
        return _libsodium(secret)
    recipients = options.get("recipients") or []
    if len(recipients) != 1 or not recipients[0].startswith("/"):
        raise BadOption(
            "encryption.recipients", recipients, "is not one file of keys, which is what WAL-G takes",
            "Put all keys into one file, and give its path: gpg --armor --export-secret-keys A > /etc/holdfast/keys.asc. The "
            "private key must be in it: a segment may come twice (after a crash), and WAL-G compares what it has.",
        )  # fmt: skip
    return {"WALG_PGP_KEY_PATH": recipients[0], **({"WALG_PGP_KEY_PASSPHRASE": secret} if secret else {})}


def _libsodium(secret: Optional[str]) -> dict[str, str]:
    """A key of 32 bytes, in hexadecimal or base64. WAL-G cuts or pads anything else with zeros, so that a passphrase would be a
    key that is easily guessed."""
    text = secret or ""
    if re.fullmatch("[0-9A-Fa-f]{64}", text):
        return {"WALG_LIBSODIUM_KEY": text, "WALG_LIBSODIUM_KEY_TRANSFORM": "hex"}
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise BadOption(
            "encryption.passphrase", "(hidden)", "is no key of 32 bytes, and WAL-G (libsodium) takes no passphrase",
            "Make one by: openssl rand -hex 32. Keep it elsewhere too: nothing can be read without it.",
        )  # fmt: skip
    return {"WALG_LIBSODIUM_KEY": text, "WALG_LIBSODIUM_KEY_TRANSFORM": "base64"}


def _file(store: Mapping[str, Any], where: str) -> dict[str, str]:
    return {"WALG_FILE_PREFIX": f"{store['path'].rstrip('/')}/{where}"}


def _s3(store: Mapping[str, Any], where: str) -> dict[str, str]:
    _refuse(store, "s3", ("external_id", "sts_endpoint_url", "sse_customer_key", "object_lock", "tags"))
    if (store.get("sse") == "aws:kms") != bool(store.get("sse_kms_key_id")):
        raise BadOption(
            "repository.sse_kms_key_id", store.get("sse_kms_key_id"), "and sse: aws:kms go together with WAL-G", "Give both, or neither.",
        )  # fmt: skip
    path_style = store.get("addressing_style") == "path" or (
        store.get("endpoint_url") and store.get("addressing_style") != "virtual"
    )
    return _given(
        {
            "WALG_S3_PREFIX": f"s3://{store['bucket']}/{_below(store, where)}",
            # Stores other than Amazon's mostly take any; without one WAL-G would ask Amazon.
            "AWS_REGION": store.get("region") or ("us-east-1" if store.get("endpoint_url") else None),
            "AWS_ENDPOINT": store.get("endpoint_url"),
            "AWS_S3_FORCE_PATH_STYLE": "true" if path_style else None,
            "AWS_ACCESS_KEY_ID": store.get("access_key"),
            "AWS_SECRET_ACCESS_KEY": store.get("secret_key"),
            "AWS_SESSION_TOKEN": store.get("session_token"),
            "AWS_PROFILE": store.get("profile"),
            "AWS_ROLE_ARN": store.get("role_arn"),
            "AWS_ROLE_SESSION_NAME": "holdfast" if store.get("role_arn") else None,
            "WALG_S3_SSE": store.get("sse"),
            "WALG_S3_SSE_KMS_ID": store.get("sse_kms_key_id"),
            "WALG_S3_STORAGE_CLASS": store.get("storage_class"),
            "WALG_S3_CA_CERT_FILE": store.get("ca_file"),
            "WALG_S3_MAX_PART_SIZE": str(store["part_size"]),
            **_bandwidth(store),
        }
    )


def _azure(store: Mapping[str, Any], where: str) -> dict[str, str]:
    _refuse(store, "azure", ("tags", "storage_class", "ca_file"))
    parts = dict(part.partition("=")[::2] for part in (store.get("connection_string") or "").split(";") if part)
    account = store.get("account") or parts.get("AccountName")
    if not account:
        raise BadOption("repository.account", None, "is missing", "Name the storage account.")
    suffix = parts.get("EndpointSuffix")
    endpoint = store.get("endpoint_url") or parts.get("BlobEndpoint")
    if endpoint:
        found = re.fullmatch(rf"https://{re.escape(account)}\.blob\.([a-z0-9.-]+)/?", endpoint)
        if found is None:
            raise BadOption(
                "repository.endpoint_url", endpoint, "is no address that WAL-G can reach",
                f"It only knows https://{account}.blob.<suffix>. Use the engine pgbackrest or barman_cloud for others.",
            )  # fmt: skip
        suffix = found[1]
    return _given(
        {
            "WALG_AZ_PREFIX": f"azure://{store['container']}/{_below(store, where)}",
            "AZURE_STORAGE_ACCOUNT": account,
            "AZURE_STORAGE_ACCESS_KEY": store.get("account_key") or parts.get("AccountKey"),
            "AZURE_STORAGE_SAS_TOKEN": store.get("sas_token") or parts.get("SharedAccessSignature"),
            "AZURE_ENDPOINT_SUFFIX": suffix,
            "AZURE_CLIENT_ID": store.get("client_id"),
            **_bandwidth(store),
        }
    )


def _gcs(store: Mapping[str, Any], where: str) -> dict[str, str]:
    _refuse(store, "gcs", ("endpoint_url", "storage_class", "ca_file"))
    return _given(
        {
            "WALG_GS_PREFIX": f"gs://{store['bucket']}/{_below(store, where)}",
            "GOOGLE_APPLICATION_CREDENTIALS": store.get("credentials_file"),
            **_bandwidth(store),
        }
    )


_STORES = {"file": _file, "s3": _s3, "azure": _azure, "gcs": _gcs}


def _refuse(store: Mapping[str, Any], kind: str, names: Sequence[str]) -> None:
    for name in names:
        if store.get(name):
            raise BadOption(
                f"repository.{name}", "(hidden)" if name.endswith("_key") else store[name],
                f"is more than WAL-G can do with type {kind}", "Leave it out, or use another engine.",
            )  # fmt: skip
    if not store.get("validate_certs", True):
        raise BadOption(
            "repository.validate_certs", False, "is nothing that WAL-G can do", "Name the CA's certificate by ca_file, or add it to the host's."
        )  # fmt: skip


def _below(store: Mapping[str, Any], where: str) -> str:
    """The prefix as the path of a URL, which is what WAL-G reads it as."""
    prefix = (store.get("prefix") or "").strip("/")
    return urllib.parse.quote(f"{prefix}/{where}" if prefix else where)


def _bandwidth(store: Mapping[str, Any]) -> dict[str, Optional[str]]:
    limit = store.get("bandwidth_limit")
    return {"WALG_NETWORK_RATE_LIMIT": str(limit) if limit else None}


def _given(found: Mapping[str, Optional[str]]) -> dict[str, str]:
    return {name: value for name, value in found.items() if value}
