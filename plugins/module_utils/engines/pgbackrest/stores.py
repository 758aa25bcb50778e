# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our options of a store as those of a repository of pgBackRest. Pure.

Names: https://pgbackrest.org/configuration.html#section-repository. What pgBackRest cannot do, or would do otherwise than
asked, is refused here, option by option.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import refuse_untaken

Version = tuple[int, ...]
#: name and value; a name may come twice
Settings = list[tuple[str, str]]

FOLDER = "pgbackrest"  # beside the folders of servers: pgBackRest makes those of its own below it
SECRETS = ("s3-key", "s3-key-secret", "s3-token", "s3-sse-customer-key", "azure-key", "cipher-pass")
# What came with which version: https://pgbackrest.org/release.html
_TAGS, _CUSTOMER_KEY, _ADDRESSES, _AZURE_IDENTITY = (2, 48), (2, 52), (2, 53), (2, 58)


_COMMON = {"prefix", "endpoint_url", "ca_file", "validate_certs", "part_size"}
#: The options that are translated here, and those that are none of its business: how many parts go at once (it has processes), how
#: boto3 sums up, and where buckets are made. Any other is refused.
TAKEN: Mapping[str, set[str]] = {
    "file": {"path"},
    "s3": _COMMON
    | {"bucket", "region", "access_key", "secret_key", "session_token", "addressing_style", "tags"}
    | {"sse", "sse_kms_key_id", "sse_customer_key", "concurrency", "request_checksum_calculation"},
    "azure": _COMMON
    | {
        "container",
        "account",
        "account_key",
        "connection_string",
        "sas_token",
        "sas_token_file",
        "tags",
        "concurrency",
    },
    "gcs": _COMMON | {"bucket", "credentials_file", "tags", "concurrency", "project", "region"},
}


def store_settings(store: Mapping[str, Any], version: Version) -> Settings:
    """The settings of one repository, without ``repoN-`` before their names. ``store`` are the options made whole: with
    secrets out of their files.

    Raises:
        BadOption: something that this version of pgBackRest cannot do.
    """
    found = _KINDS[store["type"]](store, version)
    refuse_untaken(store, TAKEN[store["type"]], "pgBackRest")
    return found


def path_in(store: Mapping[str, Any]) -> str:
    """The repository's path in the store."""
    if store["type"] == "file":
        return f"{str(store['path']).rstrip('/')}/{FOLDER}"
    prefix = str(store.get("prefix") or "").strip("/")
    return f"/{prefix}/{FOLDER}" if prefix else f"/{FOLDER}"


def _file(store: Mapping[str, Any], _version: Version) -> Settings:
    return [("type", "posix"), ("path", path_in(store))]


def _s3(store: Mapping[str, Any], version: Version) -> Settings:
    _refuse(
        store, ("profile", "role_arn", "external_id", "sts_endpoint_url"), "Give access_key and secret_key, or none."
    )
    endpoint, region = store.get("endpoint_url"), store.get("region")
    if not region and not endpoint:
        raise BadOption(
            "repository.region", None, "is missing, and pgBackRest looks for none", "Name the bucket's region."
        )
    if store.get("sse") == "AES256":
        raise BadOption(
            "repository.sse", "AES256", "is nothing that pgBackRest asks the store for",
            "Leave it out, and make it the bucket's default encryption.",
        )  # fmt: skip
    if (store.get("sse") == "aws:kms") != bool(store.get("sse_kms_key_id")):
        raise BadOption(
            "repository.sse_kms_key_id", store.get("sse_kms_key_id"), "and sse: aws:kms go together with pgBackRest",
            "Give both, or neither.",
        )  # fmt: skip
    if store.get("sse_customer_key"):
        _since(_CUSTOMER_KEY, version, "repository.sse_customer_key", "(hidden)")
    if store.get("object_lock"):
        raise BadOption(
            "repository.object_lock", store["object_lock"], "is nothing that pgBackRest asks the store for",
            "Leave it out, and give the bucket a default retention.",
        )  # fmt: skip
    given = {
        "s3-key": store.get("access_key"),
        "s3-key-secret": store.get("secret_key"),
        "s3-token": store.get("session_token"),
    }
    if bool(given["s3-key"]) != bool(given["s3-key-secret"]):
        raise BadOption(
            "repository.access_key", store.get("access_key"), "goes with a secret_key", "Give both, or none."
        )
    # As boto3 does it: a store of one's own rarely has a name for each bucket.
    by_path = store.get("addressing_style") == "path" or (endpoint and store.get("addressing_style") != "virtual")
    return [
        ("type", "s3"),
        ("path", path_in(store)),
        ("s3-bucket", store["bucket"]),
        # Stores other than Amazon's mostly take any.
        ("s3-region", region or "us-east-1"),
        *_endpoint(store, "s3-endpoint", f"s3.{region}.amazonaws.com", version),
        ("s3-uri-style", "path" if by_path else "host"),
        *([] if given["s3-key"] else [("s3-key-type", "auto")]),
        *_given(
            {
                **given,
                "s3-kms-key-id": store.get("sse_kms_key_id"),
                "s3-sse-customer-key": store.get("sse_customer_key"),
            }
        ),
        *_moving(store, version),
    ]


def _azure(store: Mapping[str, Any], version: Version) -> Settings:
    if store.get("client_id"):
        raise BadOption(
            "repository.client_id", store["client_id"], "is nothing that pgBackRest can be told",
            "Leave it out: it takes the identity of the machine.",
        )  # fmt: skip
    parts = dict(part.partition("=")[::2] for part in (store.get("connection_string") or "").split(";") if part)
    if parts.get("DefaultEndpointsProtocol") == "http" and "BlobEndpoint" not in parts:
        raise BadOption("repository.connection_string", "(hidden)", "asks for http", "pgBackRest speaks https alone.")
    account = store.get("account") or parts.get("AccountName")
    if not account:
        raise BadOption(
            "repository.account", None, "is missing", "Name the storage account, or give connection_string."
        )
    token = (store.get("sas_token") or parts.get("SharedAccessSignature") or "").lstrip("?")
    key = store.get("account_key") or parts.get("AccountKey")
    if not token and not key:
        _since(_AZURE_IDENTITY, version, "repository.account_key", None)
    url = store.get("endpoint_url") or parts.get("BlobEndpoint")
    # <account>.blob.<suffix>: the account is in the name of the host; else it is in the path.
    named = urllib.parse.urlsplit(url or "").hostname or ""
    by_host = not url or named.startswith(f"{account}.")
    if url and by_host:
        url = url.replace(f"{account}.", "", 1)
    suffix = f"blob.{parts.get('EndpointSuffix') or 'core.windows.net'}"
    return [
        ("type", "azure"),
        ("path", path_in(store)),
        ("azure-container", store["container"]),
        ("azure-account", account),
        ("azure-key-type", "sas" if token else "shared" if key else "auto"),
        *_given({"azure-key": token or key}),
        *_endpoint({**store, "endpoint_url": url}, "azure-endpoint", suffix, version, f"/{account}"),
        ("azure-uri-style", "host" if by_host else "path"),
        *_moving(store, version),
    ]


def _gcs(store: Mapping[str, Any], version: Version) -> Settings:
    credentials = store.get("credentials_file")
    return [
        ("type", "gcs"),
        ("path", path_in(store)),
        ("gcs-bucket", store["bucket"]),
        ("gcs-key-type", "service" if credentials else "auto"),
        *_given({"gcs-key": credentials}),
        *_endpoint(store, "gcs-endpoint", "storage.googleapis.com", version),
        *_moving(store, version),
    ]


_KINDS = {"file": _file, "s3": _s3, "azure": _azure, "gcs": _gcs}


def _endpoint(store: Mapping[str, Any], name: str, default: str, version: Version, path: str = "") -> Settings:
    """The settings of the address, and of how its certificate is checked. ``path`` is one that the address may have."""
    url = store.get("endpoint_url")
    checks = bool(store.get("validate_certs", True))
    extra: Settings = [] if checks else [("storage-verify-tls", "n")]
    extra += _given({"storage-ca-file": store.get("ca_file")})
    if not url:
        return [(name, default), *extra]
    way_out = "Write it as https://store.example.com or https://store.example.com:9000."
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadOption("repository.endpoint_url", url, "is no address", way_out) from None
    if parts.scheme == "http":
        raise BadOption(
            "repository.endpoint_url", url, "is without TLS, and pgBackRest speaks https alone",
            "Give the store a certificate (ca_file names who signed it), or use the engine barman_cloud or wal_g.",
        )  # fmt: skip
    if parts.scheme != "https" or not host or parts.username or parts.query or parts.path.rstrip("/") not in ("", path):
        raise BadOption("repository.endpoint_url", url, "is no address of a store", way_out)
    if checks and re.fullmatch(r"[0-9.]+|.*:.*", host):
        _since(_ADDRESSES, version, "repository.endpoint_url", url, "Name the host by a name that its certificate has")
    if name == "gcs-endpoint":  # for which storage-port counts for nothing
        return [(name, f"{host}:{port}" if port else host), *extra]
    return [(name, host), *([("storage-port", str(port))] if port else []), *extra]


def _moving(store: Mapping[str, Any], version: Version) -> Settings:
    """What stores have in common."""
    _refuse(store, ("storage_class", "bandwidth_limit"), "Leave it out.")
    tags = store.get("tags") or {}
    if tags:
        _since(_TAGS, version, "repository.tags", tags)
    # Small files together: a request for each would take longer than the copy.
    found: Settings = [("bundle", "y"), *(("storage-tag", f"{key}={value}") for key, value in tags.items())]
    # By its default of 5 MiB most segments would go up in two parts, which are four requests.
    found.append(("storage-upload-chunk-size", str(store["part_size"])))
    return found


def _refuse(store: Mapping[str, Any], names: Sequence[str], way_out: str) -> None:
    for name in names:
        if store.get(name):
            raise BadOption(f"repository.{name}", store[name], "is nothing that pgBackRest can do", way_out)


def _since(needed: Version, version: Version, option: str, value: object, other: str = "Leave it out") -> None:
    if version < needed:
        there, wanted = (".".join(map(str, number)) for number in (version, needed))
        raise BadOption(
            option, value, f"is more than pgBackRest {there} can do", f"{other}, or install version {wanted} or newer."
        )


def _given(found: Mapping[str, Optional[str]]) -> Settings:
    return [(name, value) for name, value in found.items() if value]
