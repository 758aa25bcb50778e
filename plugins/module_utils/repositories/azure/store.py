# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Blob Storage, by azure-storage-blob."""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    ObjectLocked,
    ObjectMissing,
    ObjectUnreadable,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding, ObjectInfo
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.objects import (
    ShortRead,
    Store,
    Transfer,
    Upload,
    ca_file,
    missing_library,
    skew,
    transport,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_ADVICE = {
    "AuthenticationFailed": "Check repository.account_key or sas_token, and this host's clock: signatures are bound to the time.",
    "ContainerNotFound": "Create the container, or let the role holdfast.postgres.setup do so; or check repository.container.",
    "AuthorizationPermissionMismatch": "Grant it: a SAS token needs rwdlc (read, write, delete, list, create) on the container.",
    "AuthorizationFailure": "The account's firewall, or the identity's role, keeps us out: Storage Blob Data Contributor is needed.",
    "InvalidAuthenticationInfo": "Check repository.account_key or sas_token.",
    "AccountIsDisabled": "The storage account is disabled.",
    "BlobArchived": "The blob lies in the archive tier: rehydrate it first, then run this again.",
    "ServerBusy": "The store asks to go slower, again and again: lower repository.concurrency, or set repository.bandwidth_limit.",
}
_PERMISSIONS = {"r": "read", "w": "write", "d": "delete", "l": "list", "c": "create"}
SOON = 30 * 86400  # seconds before a token's expiry, from when on it is warned about
_LOCKED = ("BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold", "SnapshotsPresent", "LeaseIdMissing")


class Azure(Store):
    """A container."""

    def __init__(self, options: Mapping[str, Any], transfer: Transfer) -> None:
        self._options = options = completed(options)
        self.account = account_of(options)
        self.description = describe(options)
        self.client = make_client(options, transfer.concurrency)

    def _tags(self) -> dict[str, Any]:
        return {"tags": self._options["tags"]} if self._options.get("tags") else {}

    def _tier(self, lasting: bool) -> dict[str, Any]:
        tier = self._options.get("storage_class")
        return {"standard_blob_tier": tier} if tier and lasting else {}

    def put(self, key: str, data: bytes, lasting: bool) -> None:
        self.client.upload_blob(
            key, data, length=len(data), overwrite=True, validate_content=True, **self._tier(lasting), **self._tags()
        )

    def put_if(self, key: str, data: bytes, tag: Optional[str]) -> bool:
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        condition = {"overwrite": True, "etag": tag, "match_condition": MatchConditions.IfNotModified}
        try:
            self.client.upload_blob(
                key,
                data,
                length=len(data),
                validate_content=True,
                **({"overwrite": False} if tag is None else condition),
            )
        except HttpResponseError as exc:
            # (409 is said of what an immutability policy protects, too.)
            if exc.status_code in (412, 404) or _code(exc) == "BlobAlreadyExists":
                return False
            raise
        return True

    def delete_if(self, key: str, tag: str) -> bool:
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        try:
            self.client.delete_blob(key, etag=tag, match_condition=MatchConditions.IfNotModified)
        except HttpResponseError as exc:
            if exc.status_code in (412, 404):
                return False
            raise
        return True

    def begin(self, key: str, lasting: bool) -> Upload:
        return _Blocks(self.client.get_blob_client(key), {**self._tier(lasting), **self._tags()})

    def get(self, key: str, start: int, size: int, tag: Optional[str]) -> bytes:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        if size == 0:
            return b""
        condition = {"etag": tag, "match_condition": MatchConditions.IfNotModified} if tag else {}
        try:
            reader = self.client.download_blob(key, offset=start, length=size, max_concurrency=1, **condition)
            data: bytes = reader.readall()
            return data
        except ResourceNotFoundError as exc:
            if _code(exc) == "BlobNotFound":
                raise ObjectMissing(f"{key} is not in {self.description}.") from exc
            raise
        except ResourceModifiedError as exc:
            raise RepositoryError(f"{key} in {self.description} was replaced while it was being read.") from exc

    def head(self, key: str) -> Optional[ObjectInfo]:
        found = self._properties(key)
        return found and ObjectInfo(key, found.size, found.last_modified.timestamp(), found.etag)

    def _properties(self, key: str) -> Any:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.client.get_blob_client(key).get_blob_properties()
        except ResourceNotFoundError as exc:
            # A HEAD has no body, so the code is not always there; a missing container shows in check().
            if _code(exc) == "ContainerNotFound":
                raise
            return None

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        for blob in self.client.list_blobs(name_starts_with=prefix, results_per_page=5000):
            yield ObjectInfo(blob.name, blob.size, blob.last_modified.timestamp(), blob.etag)

    def unfinished(self, prefix: str) -> Sequence[str]:
        blobs = self.client.list_blobs(name_starts_with=prefix, include=["uncommittedblobs"], results_per_page=5000)
        # An uncommitted blob is listed as an empty one, and is not there when it is asked for.
        return [blob.name for blob in blobs if not blob.size and self._properties(blob.name) is None]

    def forget_unfinished(self, prefix: str) -> int:
        found = self.unfinished(prefix)
        for key in found:
            # A delete does not see uncommitted blocks; an empty blob drops them, and can be deleted.
            self.client.upload_blob(key, b"", overwrite=True)
            self.client.delete_blob(key)
        return len(found)

    def delete(self, keys: Sequence[str]) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        for key in keys:
            try:
                self.client.delete_blob(key, delete_snapshots="include")
            except ResourceNotFoundError as exc:
                if _code(exc) == "ContainerNotFound":
                    raise
            except HttpResponseError as exc:
                if _kept(exc):
                    raise ObjectLocked(f"Cannot delete {key} from {self.description}: {_said(exc)}.") from exc
                raise

    def copy_from(self, source: Store, source_key: str, key: str, size: int) -> bool:
        # Within one account the service copies by itself; from another one the source would need a token of its own.
        if not isinstance(source, Azure) or source.account != self.account or not self._options.get("account_key"):
            return False
        blob = self.client.get_blob_client(key)
        made = blob.start_copy_from_url(source.client.get_blob_client(source_key).url, **self._tier(True))
        return bool(made.get("copy_status") == "success")

    def locked_until(self, key: str) -> Optional[str]:
        found = self._properties(key)
        if found is None:
            return None
        if getattr(found, "has_legal_hold", None):
            return "a legal hold is lifted"
        policy = getattr(found, "immutability_policy", None)
        until: Optional[datetime.datetime] = getattr(policy, "expiry_time", None)
        return format_time(until) if until and until > utcnow() else None

    def inspect(self, retention: int) -> list[Finding]:
        found = [transport(self.client.url.partition("?")[0]), *inspect_sas(self._options)]  # the rest is the token
        dates: list[Optional[str]] = []
        properties = None
        with contextlib.suppress(Exception):  # a SAS token of the container may not ask for its properties
            properties = self.client.get_container_properties(
                raw_response_hook=lambda answer: dates.append(answer.http_response.headers.get("Date"))
            )
        found += skew(dates[0] if dates else None)
        if properties is None:
            return found
        if properties.public_access:
            found.append(
                Finding("error", f"everybody may read the container (public access: {properties.public_access})")
            )
        else:
            found.append(Finding("fine", "the container is not public"))
        kept = properties.has_immutability_policy or getattr(
            properties, "immutable_storage_with_versioning_enabled", False
        )
        if kept:
            found.append(Finding("fine", "an immutability policy protects the backups"))
        return found

    def transient(self, exc: Exception) -> bool:
        from azure.core.exceptions import HttpResponseError, ServiceResponseError

        if isinstance(exc, HttpResponseError):
            again = exc.status_code in (408, 429) or (exc.status_code or 0) >= 500
            return again or "md5" in str(exc).lower() or "incomplete" in str(exc).lower()
        # (Where nobody answers at all, ServiceRequestError, the library has tried again already.)
        return isinstance(exc, (ServiceResponseError, ShortRead, ConnectionError))

    def explain(self, doing: str, exc: Exception) -> HoldfastError:
        return explain(doing, exc, self._options)


class _Blocks(Upload):
    def __init__(self, blob: Any, extra: Mapping[str, Any]) -> None:
        self._blob, self._extra = blob, extra
        self._numbers: set[int] = set()

    @staticmethod
    def _name(number: int) -> str:
        return base64.b64encode(b"%08d" % number).decode()

    def part(self, number: int, data: bytes) -> None:
        self._blob.stage_block(self._name(number), data, length=len(data), validate_content=True)
        self._numbers.add(number)

    def complete(self) -> None:
        from azure.storage.blob import BlobBlock

        blocks = [BlobBlock(block_id=self._name(number)) for number in sorted(self._numbers)]
        self._blob.commit_block_list(blocks, **self._extra)

    def abort(self) -> None:
        """Drop the blocks, by a blob that is deleted at once."""
        if self._numbers:
            self._blob.upload_blob(b"", overwrite=True)
            self._blob.delete_blob()


def completed(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options with the token out of its file, or, without any credentials, what the environment has by the names that az
    knows. Raises BadOption."""
    path = options.get("sas_token_file")
    if path:
        try:
            mode = os.stat(path).st_mode
            with open(path, encoding="ascii") as stream:
                token = stream.read().strip()
        except (OSError, ValueError) as exc:
            raise BadOption(
                "repository.sas_token_file", path, f"cannot be read ({exc})", "Put the token there."
            ) from exc
        if mode & 0o077:
            raise BadOption(
                "repository.sas_token_file", path, f"can be read by others (mode {mode & 0o777:04o})", "Use mode 0600."
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
    return options.get("account") or _part(options.get("connection_string"), "AccountName") or ""


def has_key(options: Mapping[str, Any]) -> bool:
    """Whether the account's key is among the options, or in the environment."""
    options = completed(options)
    return bool(options.get("account_key") or _part(options.get("connection_string"), "AccountKey"))


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
    try:
        from azure.storage.blob import ContainerClient
    except ImportError as exc:
        missing_library("azure-storage-blob", "azure", exc)
    options = completed(options)
    given = [name for name in ("connection_string", "account_key", "sas_token") if options.get(name)]
    if len(given) > 1:
        raise BadOption(f"repository.{given[0]}", "(hidden)", f"is given together with {given[1]}", "Give one of them.")
    verify: Any = ca_file(options) or bool(options.get("validate_certs", True))
    common: dict[str, Any] = {
        "connection_verify": verify,
        "connection_timeout": 10,
        "read_timeout": 60,
        # The library would wait 15 seconds and more, for a certificate that nobody trusts as well; and there is ``attempt``.
        "retry_total": 2,
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
        credential: Any = named or (options.get("sas_token") or "").lstrip("?") or _identity(options)
        return ContainerClient(url, options["container"], credential=credential, **common)
    except ValueError as exc:
        shown = given[0] if given else "account"
        raise BadOption(f"repository.{shown}", "(hidden)", f"cannot be used ({exc})", "Check it.") from exc


def _identity(options: Mapping[str, Any]) -> Any:
    """A workload identity, a managed one, or what else the environment has."""
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as exc:
        missing_library("azure-identity", "azure without a key or token", exc)
    chosen = {"managed_identity_client_id": options["client_id"]} if options.get("client_id") else {}
    return DefaultAzureCredential(exclude_interactive_browser_credential=True, **chosen)


def sas(options: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the SAS token: ``se`` is its expiry, ``sp`` its permissions; empty where there is none."""
    token = options.get("sas_token") or _part(options.get("connection_string"), "SharedAccessSignature") or ""
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
    words = f"the SAS token expires in {format_duration(left)}, at {format_time(expiry)}"
    if left < SOON:
        return [*found, Finding("warning", f"{words}: make a new one (playbook holdfast.postgres.rotate_credentials)")]
    return [*found, Finding("fine", words)]


def _part(connection_string: Optional[str], name: str) -> Optional[str]:
    for part in (connection_string or "").split(";"):
        key, _equals, value = part.partition("=")
        if key.strip().lower() == name.lower():
            return value
    return None


def _code(exc: Exception) -> str:
    """The store's error code; empty where it did not answer."""
    code = getattr(exc, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _kept(exc: Exception) -> bool:
    """Whether a deletion was refused: the blob is locked, or the credentials may not."""
    return _code(exc) in _LOCKED or (getattr(exc, "status_code", 0) == 403 and "Permission" in _code(exc))


def _said(exc: Exception) -> str:
    code = _code(exc) or type(exc).__name__
    words = str(exc).splitlines()[0].rstrip(".") if str(exc) else ""
    # Where a connection fails, the library names the whole address, with the token's signature.
    hidden = re.sub(r"sig=[^&\s)]+", "sig=(hidden)", words)
    return f"{code}: {hidden}"


def explain(doing: str, exc: Exception, options: Mapping[str, Any]) -> HoldfastError:
    """What the library raised, in words for the user."""
    code = _code(exc)
    words = str(exc)
    advice = _ADVICE.get(code, "")
    if doing.startswith("delete") and _kept(exc):
        return ObjectLocked(f"Cannot {doing}: {_said(exc)}.")
    if "failed to authenticate" in words:  # whatever the code: it is not the same everywhere
        advice = _ADVICE["AuthenticationFailed"]
    elif "CERTIFICATE_VERIFY_FAILED" in words:
        advice = "Nobody here trusts the store's certificate: name the CA's file by repository.ca_file."
    elif "ClientAuthenticationError" in type(exc).__name__ and not code:
        advice = "No credentials were found: give account_key, sas_token or connection_string, or run where there is an identity."
    elif "ServiceRequest" in type(exc).__name__:
        advice = (
            "Nothing answers there: check repository.account, endpoint_url, the network, and the proxy (HTTPS_PROXY)."
        )
    elif getattr(exc, "status_code", 0) == 403 and not advice:
        advice = "The credentials may not do that there: check the SAS token's permissions, or the identity's role."
    kind = ObjectUnreadable if code == "BlobArchived" else RepositoryError
    return kind(f"Cannot {doing}: {_said(exc)}. {advice or 'What was there before is as it was.'}")
