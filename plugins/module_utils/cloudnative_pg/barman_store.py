# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The object store of a Cluster (``spec.backup.barmanObjectStore``, or ``spec.configuration`` of the plugin's ObjectStore), as the options of
one of our repositories. Pure.

Fields: https://github.com/cloudnative-pg/barman-cloud/blob/main/pkg/api/config.go; how a URL is read is Barman's
(barman/cloud_providers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import urlsplit

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_AZURE = "blob.core.windows.net"
#: options that are a file's path; what the Secret has is that file's content
FILES = ("ca_file", "credentials_file")
_KEYS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "s3": (
        "s3Credentials",
        {
            "access_key": "accessKeyId",
            "secret_key": "secretAccessKey",
            "region": "region",
            "session_token": "sessionToken",
        },
    ),
    "azure": (
        "azureCredentials",
        {
            "connection_string": "connectionString",
            "account": "storageAccount",
            "account_key": "storageKey",
            "sas_token": "storageSasToken",
        },
    ),
    "gcs": ("googleCredentials", {"credentials_file": "applicationCredentials"}),
}


@dataclass(frozen=True)
class SecretRef:
    """A key of a Secret in the namespace of who names it."""

    secret: str
    key: str


@dataclass(frozen=True)
class BarmanStore:
    """Where a server's base backups and WAL lie: ``<destination>/<server_name>/base`` and ``…/wals``.

    ``options``: of a repository whose keys begin with the server's name, without what is secret; ``secrets``: which keys of Secrets have
    the rest, by option: none where the pods have credentials of their own (an IAM role, a workload identity).
    """

    destination: str
    server_name: str
    options: Mapping[str, Any]
    secrets: Mapping[str, SecretRef]
    #: the plugin's ObjectStore that says so
    object_store: Optional[str] = None
    #: as it is configured, for who writes it anew
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.destination.rstrip('/')}/{self.server_name}"

    def is_same(self, other: BarmanStore) -> bool:
        """Whether two servers' files would lie in one place."""
        mine, others = (
            (one.destination.rstrip("/"), str(one.options.get("endpoint_url")).rstrip("/"), one.server_name)
            for one in (self, other)
        )
        return mine == others


def store_of(
    configuration: Mapping[str, Any],
    cluster: str,
    server_name: Optional[str] = None,
    object_store: Optional[str] = None,
) -> BarmanStore:
    """From its configuration. ``cluster``: whose name is the server's, where nothing else is.

    Raises:
        BadOption: its URL is of no store that is known.
    """
    destination = str(configuration.get("destinationPath") or "")
    options = _place(destination)
    kind = str(options["type"])
    # With Azure and Google the endpoint is in the URL, or the library's own.
    if configuration.get("endpointURL") and kind == "s3":
        options["endpoint_url"] = str(configuration["endpointURL"])
    name, keys = _KEYS[kind]
    given = configuration.get(name) or {}
    secrets = {
        option: SecretRef(str(given[key]["name"]), str(given[key]["key"]))
        for option, key in keys.items()
        if isinstance(given.get(key), Mapping) and given[key].get("name") and given[key].get("key")
    }
    authority = configuration.get("endpointCA") or {}
    if authority.get("name") and authority.get("key"):
        secrets["ca_file"] = SecretRef(str(authority["name"]), str(authority["key"]))
    return BarmanStore(
        destination,
        server_name or str(configuration.get("serverName") or cluster),
        options,
        secrets,
        object_store,
        configuration,
    )


def _place(destination: str) -> dict[str, Any]:
    url = urlsplit(destination)
    path = [part for part in url.path.split("/") if part]
    if url.scheme == "s3" and url.netloc:
        return {"type": "s3", "bucket": url.netloc, "prefix": "/".join(path)}
    if url.scheme == "gs" and url.netloc:
        return {"type": "gcs", "bucket": url.netloc, "prefix": "/".join(path)}
    if url.scheme in ("http", "https") and url.netloc.endswith(_AZURE) and path:
        account = url.netloc.partition(".")[0]
        return {"type": "azure", "account": account, "container": path[0], "prefix": "/".join(path[1:])}
    if url.scheme in ("http", "https") and len(path) > 1:  # an emulator, with the account in front
        endpoint = f"{url.scheme}://{url.netloc}/{path[0]}"
        return {
            "type": "azure",
            "account": path[0],
            "container": path[1],
            "prefix": "/".join(path[2:]),
            "endpoint_url": endpoint,
        }
    raise BadOption(
        "destinationPath",
        destination,
        "is no URL of a store that is known",
        f"It is s3://BUCKET/PATH, https://ACCOUNT.{_AZURE}/CONTAINER/PATH or gs://BUCKET/PATH.",
    )
