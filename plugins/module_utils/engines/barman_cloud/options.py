# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our options are in the words of barman-cloud: a URL, arguments of its programs, variables of its environment. Pure.

Source: https://docs.pgbarman.org/release/3.19.1/user_guide/barman_cloud.html, and what the programs say with --help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import refuse_untaken

Store = Mapping[str, Any]

#: the program's word for a compression, and the Python module that it needs besides Python itself
COMPRESSIONS: Mapping[str, Optional[str]] = {
    "gzip": None,
    "bzip2": None,
    "xz": None,
    "lz4": "lz4.frame",
    "zstd": "zstandard",
    "snappy": "snappy",
}
_LIBRARIES = {"s3": "boto3", "azure": "azure.storage.blob", "gcs": "google.cloud.storage"}
_SCHEMES = {"s3": "aws-s3", "azure": "azure-blob-storage", "gcs": "google-cloud-storage"}
#: options of a store that barman-cloud has no words for, and what to do instead
_LACKING: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "role_arn": "Put the role into a profile of ~/.aws/config of the server's owner, and name that by repository.profile.",
        "external_id": "Put it into a profile of ~/.aws/config of the server's owner, and name that by repository.profile.",
        "sts_endpoint_url": "Put it into a profile of ~/.aws/config of the server's owner, and name that by repository.profile.",
        "sse_customer_key": "Use repository.sse, whose keys the store has, or engine: wal_g.",
        "object_lock": "Give the bucket a default retention instead.",
        "object_lock_for": "Give the bucket a default retention instead.",
        "storage_class": "Let a lifecycle rule of the bucket move the objects.",
    },
    "azure": {"storage_class": "Give the storage account a default tier, or a lifecycle rule."},
    "gcs": {
        "storage_class": "Give the bucket a default storage class, or a lifecycle rule.",
        "bandwidth_limit": "Use engine: pgbackrest, or an S3 store.",
    },
}
#: ``engine_options``: the program's word, the stores that have it (none: all), and who takes it: all, upload or backup
_EXTRA: Mapping[str, tuple[str, Sequence[str], str]] = {
    "read_timeout": ("--read-timeout", ("s3",), "all"),
    "encryption_scope": ("--encryption-scope", ("azure",), "upload"),
    "kms_key_name": ("--kms-key-name", ("gcs",), "upload"),
    "max_archive_size": ("--max-archive-size", (), "backup"),
    "min_chunk_size": ("--min-chunk-size", ("s3", "azure"), "backup"),
}
_OWN = ("wal_compression", "backup_compression")
_COMMON = {"prefix", "endpoint_url", "ca_file", "bandwidth_limit"}
#: The options that are translated here, and those that are none of its business: the parts that this collection sends itself, and
#: where buckets are made. Any other is refused.
TAKEN: Mapping[str, set[str]] = {
    "s3": _COMMON
    | {"bucket", "region", "access_key", "secret_key", "session_token", "profile", "addressing_style", "tags"}
    | {"sse", "sse_kms_key_id", "request_checksum_calculation", "part_size", "concurrency"},
    "azure": _COMMON
    | {"container", "account", "account_key", "connection_string", "sas_token", "sas_token_file", "client_id", "tags"}
    | {"part_size", "concurrency"},
    "gcs": (_COMMON - {"bandwidth_limit"})
    | {"bucket", "credentials_file", "project", "region", "part_size", "concurrency"},
}


@dataclass(frozen=True)
class StoreArguments:
    """A store as barman-cloud's programs are told of it. The shell may split arguments at
    white space and takes nothing in them for a pattern; none is a secret."""

    url: str
    #: for every program
    common: tuple[str, ...]
    #: for those that write
    upload: tuple[str, ...]
    #: for barman-cloud-backup
    backup: tuple[str, ...]
    #: secrets among them
    environment: Mapping[str, str]
    #: whether it says whose credentials: else the host's own are asked for (an instance's role, a web identity)
    credentials: bool
    #: Python modules that it needs
    libraries: tuple[str, ...]
    #: files that the server's owner must be able to read
    files: tuple[str, ...]
    #: a file whose content (a SAS token) stands in the environment as TOKEN
    token_file: Optional[str] = None


#: stands for a SAS token that has a file of its own
TOKEN = "\0"


def store_arguments(options: RepositoryEngineOptions, store: Store) -> StoreArguments:
    """``store`` is the one repository, as check_store returns it.

    Raises:
        BadOption: barman-cloud cannot do what the options ask for.
    """
    kind = str(store["type"])
    _refuse(options, store)
    arguments = ["--cloud-provider", _SCHEMES[kind], *_extra(options, kind, "all")]
    upload = [*_tags(store), *_extra(options, kind, "upload")]
    backup = _extra(options, kind, "backup")
    if store.get("bandwidth_limit"):
        backup += ["--max-bandwidth", str(store["bandwidth_limit"])]
    if kind == "s3":
        arguments += ["--endpoint-url", store["endpoint_url"]] if store.get("endpoint_url") else []
        style = store.get("addressing_style") or "auto"
        arguments += ["--addressing-style", style] if style != "auto" else []
        upload += ["--encryption", store["sse"]] if store.get("sse") else []
        upload += ["--sse-kms-key-id", store["sse_kms_key_id"]] if store.get("sse_kms_key_id") else []
        root, environment = f"s3://{store['bucket']}", _s3(store)
        credentials = bool(store.get("access_key") or store.get("profile"))
    elif kind == "azure":
        root, environment = _azure_url(store), _azure(store)
        credentials = "AZURE_STORAGE_CONNECTION_STRING" in environment
        if not credentials:
            arguments += ["--azure-credential", "managed-identity" if store.get("client_id") else "default"]
    else:
        root, environment, credentials = f"gs://{store['bucket']}", _gcs(store), bool(store.get("credentials_file"))
    prefix = str(store.get("prefix") or "").strip("/")
    for word in (*arguments, *upload, *backup):
        if re.search(r"[\s*?]", word):
            raise BadOption("repository", word, "has white space, * or ? in it", "archive_command cannot hand that on.")
    files = [store.get("ca_file"), store.get("credentials_file"), store.get("sas_token_file")]
    identity = ["azure.identity"] if kind == "azure" and not credentials else []
    return StoreArguments(
        url=f"{root}/{prefix}" if prefix else root,
        common=tuple(arguments),
        upload=tuple(upload),
        backup=tuple(backup),
        environment={**environment, **_authority(kind, store), "TZ": "UTC"},
        credentials=credentials,
        libraries=(_LIBRARIES[kind], *identity),
        files=tuple(str(path) for path in files if path),
        token_file=store.get("sas_token_file") or None,
    )


def _refuse(options: RepositoryEngineOptions, store: Store) -> None:
    kind = store["type"]
    if kind == "file":
        raise BadOption(
            "repository.type", kind, "is no object store, and barman-cloud knows nothing else",
            "Use engine: pg_basebackup for a directory, or pgbackrest or wal_g.",
        )  # fmt: skip
    method = (options.encryption or {}).get("method") or "none"
    if method != "none":
        raise BadOption(
            "encryption.method", method, "cannot be had: barman-cloud encrypts nothing itself",
            "Use engine: pgbackrest or wal_g, or let an S3 store encrypt (repository.sse).",
        )  # fmt: skip
    for name, way_out in _LACKING[kind].items():
        if store.get(name):
            value = "(hidden)" if name == "sse_customer_key" else store[name]
            raise BadOption(f"repository.{name}", value, "cannot be handed to barman-cloud", way_out)
    if not store.get("validate_certs", True):
        raise BadOption(
            "repository.validate_certs", False, "cannot be had: barman-cloud always checks",
            "Name the CA's file by repository.ca_file.",
        )  # fmt: skip
    refuse_untaken(store, TAKEN[kind], "barman-cloud")
    prefix = str(store.get("prefix") or "")
    if re.search(r"[?#;]", prefix):
        raise BadOption(
            "repository.prefix", prefix, "has a character that ends the path of a URL", "Do without ?, # and ;."
        )
    for name in options.extra:
        known = [*_OWN, *(item for item, (_word, kinds, _who) in _EXTRA.items() if not kinds or kind in kinds)]
        if name not in known:
            raise BadOption(
                f"engine_options.{name}",
                options.extra[name],
                f"is unknown with type {kind}",
                f"Known: {', '.join(known)}.",
            )


def _extra(options: RepositoryEngineOptions, kind: str, who: str) -> list[str]:
    found = []
    for name, (word, _kinds, takes) in _EXTRA.items():
        if takes == who and name in options.extra:
            found += [word, options.extra[name]]
    return found


def _tags(store: Store) -> list[str]:
    tags = store.get("tags") or {}
    for key, value in tags.items():
        if not re.fullmatch(r"[\w+=.:/@-]+", f"{key}{value}"):
            raise BadOption(
                "repository.tags", {key: value}, "cannot be handed to barman-cloud", "Use letters, digits and + - = . _ : / @."
            )  # fmt: skip
    return ["--tags", *(f"{key},{value}" for key, value in tags.items())] if tags else []


def _s3(store: Store) -> dict[str, str]:
    if bool(store.get("access_key")) != bool(store.get("secret_key")):
        raise BadOption(
            "repository.access_key", store.get("access_key"), "and repository.secret_key belong together", "Give both."
        )
    checksums = store.get("request_checksum_calculation")
    found = {
        "AWS_ACCESS_KEY_ID": store.get("access_key"),
        "AWS_SECRET_ACCESS_KEY": store.get("secret_key"),
        "AWS_SESSION_TOKEN": store.get("session_token"),
        "AWS_PROFILE": store.get("profile"),
        # A region has to be named even to stores that have none; a profile may name one.
        "AWS_DEFAULT_REGION": store.get("region")
        or ("us-east-1" if store.get("endpoint_url") and not store.get("profile") else None),
        "AWS_REQUEST_CHECKSUM_CALCULATION": checksums,
        "AWS_RESPONSE_CHECKSUM_VALIDATION": checksums,
    }
    return {name: str(value) for name, value in found.items() if value}


def _azure_url(store: Store) -> str:
    """barman-cloud takes only the container and the path from it where there is a connection string; that says where."""
    found = re.search(r"(?:^|;)AccountName=([^;]+)", store.get("connection_string") or "", re.IGNORECASE)
    account = store.get("account") or (found[1] if found else "account")
    return f"https://{account}.blob.core.windows.net/{store['container']}"


def _azure(store: Store) -> dict[str, str]:
    given = [name for name in ("connection_string", "account_key", "sas_token") if store.get(name)]
    if len(given) > 1:
        raise BadOption(f"repository.{given[0]}", "(hidden)", f"is given together with {given[1]}", "Give one of them.")
    if not store.get("account") and not store.get("connection_string"):
        raise BadOption(
            "repository.account", None, "is missing", "Name the storage account, or give connection_string."
        )
    endpoint = store.get("endpoint_url") or f"https://{store.get('account')}.blob.core.windows.net"
    if store.get("account_key"):
        text = f"AccountName={store['account']};AccountKey={store['account_key']};BlobEndpoint={endpoint}"
    elif store.get("sas_token"):
        token = TOKEN if store.get("sas_token_file") else str(store["sas_token"]).lstrip("?")
        text = f"BlobEndpoint={endpoint};SharedAccessSignature={token}"
    else:
        text = store.get("connection_string") or ""
    if not text and store.get("endpoint_url"):
        raise BadOption(
            "repository.endpoint_url", endpoint, "cannot be handed to barman-cloud without a key",
            "Give account_key, sas_token or connection_string.",
        )  # fmt: skip
    found = {"AZURE_STORAGE_CONNECTION_STRING": text, "AZURE_CLIENT_ID": store.get("client_id")}
    return {name: str(value) for name, value in found.items() if value}


def _gcs(store: Store) -> dict[str, str]:
    endpoint = store.get("endpoint_url")
    found = {
        "GOOGLE_APPLICATION_CREDENTIALS": store.get("credentials_file"),
        "GOOGLE_CLOUD_PROJECT": store.get("project"),
        # Nobody gives a token to what is not encrypted: an emulator.
        "STORAGE_EMULATOR_HOST" if str(endpoint).startswith("http://") else "API_ENDPOINT_OVERRIDE": endpoint,
    }
    return {name: str(value) for name, value in found.items() if value}


def _authority(kind: str, store: Store) -> dict[str, str]:
    path = store.get("ca_file")
    return {"AWS_CA_BUNDLE" if kind == "s3" else "REQUESTS_CA_BUNDLE": str(path)} if path else {}


def wal_arguments(options: RepositoryEngineOptions, offered: str) -> list[str]:
    """The arguments of barman-cloud-wal-archive for the compression of WAL. ``offered`` is what it says with --help.

    Raises:
        BadOption: it does not compress like that.
    """
    method = _method(options, "wal_compression", "barman-cloud-wal-archive", offered)
    arguments = [] if method == "none" else [f"--{method}"]
    if options.level is None:
        return arguments
    if method == "none" or "--compression-level" not in offered:
        raise BadOption(
            "compression_level", options.level, "cannot be handed to barman-cloud-wal-archive", "Leave it out."
        )
    return [*arguments, "--compression-level", str(options.level)]


def backup_arguments(options: RepositoryEngineOptions, offered: str) -> list[str]:
    """The arguments of barman-cloud-backup for the compression of base backups. ``offered`` is what it says with --help.

    Raises:
        BadOption: it does not compress like that.
    """
    method = _method(options, "backup_compression", "barman-cloud-backup", offered)
    if options.level is not None:
        raise BadOption(
            "compression_level", options.level, "cannot be handed to barman-cloud-backup, which has no levels", "Leave it out."
        )  # fmt: skip
    return [] if method == "none" else [f"--{method}"]


def method_of(options: RepositoryEngineOptions, own: str) -> str:
    """The compression of WAL (``wal_compression``) or of base backups (``backup_compression``)."""
    return options.extra.get(own) or options.compression


def _method(options: RepositoryEngineOptions, own: str, program: str, offered: str) -> str:
    method = method_of(options, own)
    known = ["none", *(name for name in COMPRESSIONS if re.search(rf"--{name}\b", offered))]
    if method not in known:
        option = f"engine_options.{own}" if own in options.extra else "compression"
        raise BadOption(
            option, method, f"is nothing that this {program} does",
            f"It has {', '.join(known)}: name one, for this alone by engine_options.{own}.",
        )  # fmt: skip
    return method
