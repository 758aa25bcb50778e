# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of azure-storage-blob, by the options, and what they say of themselves: account, key, SAS token."""

from __future__ import annotations

import datetime
import os
import urllib.parse
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.files import is_open_to_others
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories import store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.libraries import AZURE_BLOB, AZURE_IDENTITY
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.network import ca_file
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

_PERMISSIONS = {"r": "read", "w": "write", "d": "delete", "l": "list", "c": "create"}
SOON = 30 * 86400  # seconds before a token's expiry, from when on it is warned about


def completed(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options with the token out of its file, or, without any credentials, what the environment has by the names that az
    knows. Raises BadOption."""
    path = options.get("sas_token_file")
    if path:
        try:
            status = os.stat(path)
            with open(path, encoding="ascii") as stream:
                token = stream.read().strip()
        except (OSError, ValueError) as exc:
            raise BadOption(
                "repository.sas_token_file", path, f"cannot be read ({exc})", "Put the token there."
            ) from exc
        if is_open_to_others(status):
            raise BadOption(
                "repository.sas_token_file",
                path,
                f"can be read by others (mode {status.st_mode & 0o777:04o})",
                "Use mode 0600.",
            )
        return {**options, "sas_token": token}
    if any(options.get(name) for name in ("connection_string", "account_key", "sas_token")):
        return options
    known = {"connection_string": "CONNECTION_STRING", "account_key": "KEY", "sas_token": "SAS_TOKEN"}
    found = {name: os.environ.get(f"AZURE_STORAGE_{word}") for name, word in known.items()}
    first = {name: value for name, value in found.items() if value}
    chosen = dict(list(first.items())[:1])
    return {**options, "account": options.get("account") or os.environ.get("AZURE_STORAGE_ACCOUNT"), **chosen}


def account_of(options: Mapping[str, Any]) -> str:
    """The storage account's name; empty where only the endpoint says it."""
    return options.get("account") or part_of(options.get("connection_string"), "AccountName") or ""


def has_key(options: Mapping[str, Any]) -> bool:
    """Whether the account's key is among the options, or in the environment."""
    options = completed(options)
    return bool(options.get("account_key") or part_of(options.get("connection_string"), "AccountKey"))


def describe(options: Mapping[str, Any]) -> str:
    """What messages call the store."""
    endpoint = options.get("endpoint_url")
    return f"azure://{account_of(options)}/{options['container']}" + (f" at {endpoint}" if endpoint else "")


def make_client(options: Mapping[str, Any], concurrency: int) -> Any:
    """A client of the options' container.

    Raises:
        BadOption: no or too many credentials, or an expired SAS token.
        RepositoryError: a library is missing.
    """
    AZURE_BLOB.demand("azure")
    from azure.storage.blob import ContainerClient

    options = completed(options)
    given = [name for name in ("connection_string", "account_key", "sas_token") if options.get(name)]
    if len(given) > 1:
        raise BadOption(f"repository.{given[0]}", "(hidden)", f"is given together with {given[1]}", "Give one of them.")
    verify: Any = ca_file(options) or bool(options.get("validate_certs", True))
    common: dict[str, Any] = {
        "connection_verify": verify,
        "connection_timeout": 10,
        "read_timeout": store.SILENCE,
        # The library would wait 15 seconds and more, for a certificate that nobody trusts as well; and there is ``attempt``.
        "retry_total": 2,
        "retry_read": 0,
        "retry_connect": 1,
        "initial_backoff": 1,
        "increment_base": 2,
        "random_jitter_range": 1,
        "max_single_put_size": 256 * 1024 * 1024,
        "max_single_get_size": 256 * 1024 * 1024,
        "max_chunk_get_size": 256 * 1024 * 1024,
    }
    try:
        if options.get("connection_string"):
            return ContainerClient.from_connection_string(options["connection_string"], options["container"], **common)
        if not options.get("account"):
            raise BadOption(
                "repository.account", None, "is missing", "Name the storage account, or give connection_string."
            )
        url = options.get("endpoint_url") or f"https://{options['account']}.blob.core.windows.net"
        expiry = sas_expiry(options)
        if expiry is not None and expiry <= utcnow():
            raise BadOption(
                "repository.sas_token", "(hidden)", f"expired at {format_time(expiry)}",
                "Make a new one (playbook holdfast.postgres.rotate_credentials).",
            )  # fmt: skip
        # With the account's name: out of an address (IPv6, or one without it in the path) the library cannot tell it.
        key = options.get("account_key")
        named = {"account_name": options["account"], "account_key": key} if key else None
        token = (options.get("sas_token") or "").lstrip("?")
        if token and options.get("sas_token_file"):
            from azure.core.credentials import AzureSasCredential

            token = AzureSasCredential(token)  # which can be renewed
        credential: Any = named or token or _identity(options)
        return ContainerClient(url, options["container"], credential=credential, **common)
    except ValueError as exc:
        shown = given[0] if given else "account"
        raise BadOption(f"repository.{shown}", "(hidden)", f"cannot be used ({exc})", "Check it.") from exc


def _identity(options: Mapping[str, Any]) -> Any:
    """A workload identity, a managed one, or what else the environment has."""
    AZURE_IDENTITY.demand("azure without a key or token")
    from azure.identity import DefaultAzureCredential

    chosen = {"managed_identity_client_id": options["client_id"]} if options.get("client_id") else {}
    return DefaultAzureCredential(exclude_interactive_browser_credential=True, **chosen)


def sas(options: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the SAS token: ``se`` is its expiry, ``sp`` its permissions; empty where there is none."""
    token = options.get("sas_token") or part_of(options.get("connection_string"), "SharedAccessSignature") or ""
    return dict(urllib.parse.parse_qsl(token.lstrip("?")))


def sas_expiry(options: Mapping[str, Any]) -> Optional[datetime.datetime]:
    """When the SAS token expires; None where there is none, or a stored policy decides. Raises BadOption."""
    text = sas(options).get("se")
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as exc:
        raise BadOption(
            "repository.sas_token", "(hidden)", f"has an expiry that is no time ({text})", "Copy it again."
        ) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def inspect_sas(options: Mapping[str, Any]) -> list[Finding]:
    """What is to be said of the SAS token, if there is one. Raises BadOption."""
    fields = sas(options)
    if not fields:
        return []
    found = []
    lacking = {letter: word for letter, word in _PERMISSIONS.items() if letter not in fields.get("sp", "rwdlc")}
    if "d" in lacking:
        found.append(Finding("warning", "the SAS token may not delete, so retention cannot either"))
        del lacking["d"]
    if lacking:
        found.append(Finding("error", f"the SAS token may not {', '.join(lacking.values())}: make one with rwdlc"))
    expiry = sas_expiry(options)
    if expiry is None:
        return found
    left = (expiry - utcnow()).total_seconds()
    message = f"the SAS token expires in {format_duration(left)}, at {format_time(expiry)}"
    if left < SOON:
        return [
            *found,
            Finding("warning", f"{message}: make a new one (playbook holdfast.postgres.rotate_credentials)"),
        ]
    return [*found, Finding("fine", message)]


def part_of(connection_string: Optional[str], name: str) -> Optional[str]:
    for part in (connection_string or "").split(";"):
        key, _equals, value = part.partition("=")
        if key.strip().lower() == name.lower():
            return value
    return None
