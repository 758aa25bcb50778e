# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Blob Storage, by azure-storage-blob."""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    ObjectLocked,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.client import (
    account_of,
    completed,
    describe,
    inspect_sas,
    make_client,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.errors import (
    code_of,
    explain,
    kept,
    said,
    transient,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding, ObjectInfo
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.network import skew, transport
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    Store,
    Strange,
    Transfer,
    Upload,
    check_page,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

#: seconds after which a copy that the service makes by itself is given up, and made through here
COPY_LIMIT = 3600.0


class Azure(Store):
    """A container."""

    def __init__(self, options: Mapping[str, Any], transfer: Transfer) -> None:
        self._options = options = completed(options)
        self.account = account_of(options)
        self.description = describe(options)
        self._client = make_client(options, transfer.concurrency)
        self._token_file: Optional[str] = options.get("sas_token_file")
        self._token_seen = _version_of(self._token_file)

    @property
    def client(self) -> Any:
        """The library's client, by the token that the file has now: one that is renewed while a run goes on is taken up."""
        if self._token_file and (seen := _version_of(self._token_file)) != self._token_seen:
            with contextlib.suppress(BadOption):  # between two files; the one that is known may still do
                token = completed({"sas_token_file": self._token_file})["sas_token"]
                self._client.credential.update(token.lstrip("?"))
                self._token_seen = seen
        return self._client

    def _tags(self) -> dict[str, Any]:
        return {"tags": self._options["tags"]} if self._options.get("tags") else {}

    def _tier(self, lasting: bool) -> dict[str, Any]:
        tier = self._options.get("storage_class")
        return {"standard_blob_tier": tier} if tier and lasting else {}

    def put(self, key: str, data: bytes, lasting: bool) -> None:
        self.client.upload_blob(
            key, data, length=len(data), overwrite=True, validate_content=True, **self._tier(lasting), **self._tags()
        )

    def put_if(self, key: str, data: bytes, tag: Optional[str], lasting: bool = False) -> bool:
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
                **({**self._tier(lasting), **self._tags()} if lasting else {}),
            )
        except HttpResponseError as exc:
            # (409 is said of what an immutability policy protects, too, and 412 of what somebody has a lease on.)
            if (
                exc.status_code in (412, 404)
                and not code_of(exc).startswith("LeaseId")
                or code_of(exc) == "BlobAlreadyExists"
            ):
                return False
            raise
        return True

    def delete_if(self, key: str, tag: str) -> bool:
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        try:
            self.client.delete_blob(key, etag=tag, match_condition=MatchConditions.IfNotModified)
        except HttpResponseError as exc:
            if exc.status_code in (412, 404) and not code_of(exc).startswith("LeaseId"):
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
            if code_of(exc) == "BlobNotFound":
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
            if code_of(exc) == "ContainerNotFound":
                raise
            return None

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        for blob in self._blobs(prefix):
            yield ObjectInfo(blob.name, blob.size, blob.last_modified.timestamp(), blob.etag)

    def _blobs(self, prefix: str, **more: Any) -> Iterator[Any]:
        """Those whose names begin with ``prefix``: whole pages alone, and each once."""
        pages = self.client.list_blobs(
            name_starts_with=prefix, results_per_page=5000, raw_response_hook=_look_at_page, **more
        ).by_page()
        led = set()
        for page in pages:
            yield from page
            token = pages.continuation_token
            if token in led:
                raise Strange("the listing was cut short: a page leads back to one before it")
            led.add(token)

    def unfinished(self, prefix: str) -> Sequence[str]:
        blobs = self._blobs(prefix, include=["uncommittedblobs"])
        # An uncommitted blob is listed as an empty one, and is not there when it is asked for.
        return [blob.name for blob in blobs if not blob.size and self._properties(blob.name) is None]

    def forget_unfinished(self, prefix: str) -> int:
        found = self.unfinished(prefix)
        for key in found:
            drop_blocks(self.client.get_blob_client(key))
        return len(found)

    def delete(self, keys: Sequence[str]) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        for key in keys:
            try:
                self.client.delete_blob(key, delete_snapshots="include")
            except ResourceNotFoundError as exc:
                if code_of(exc) == "ContainerNotFound":
                    raise
            except HttpResponseError as exc:
                if kept(exc):
                    raise ObjectLocked(f"Cannot delete {key} from {self.description}: {said(exc)}.") from exc
                raise

    def copy_from(self, source: Store, source_key: str, key: str, size: int) -> bool:
        # Within one account the service copies by itself; from another one the source would need a token of its own.
        if not isinstance(source, Azure) or source.account != self.account or not self._options.get("account_key"):
            return False
        blob, there = self.client.get_blob_client(key), source.client.get_blob_client(source_key)
        tags = self._tags()
        if not tags:
            with contextlib.suppress(Exception):  # not every account has tags, and not everybody may read them
                tags = {"tags": there.get_blob_tags()}
        made = blob.start_copy_from_url(there.url, **self._tier(True), **({} if not tags.get("tags") else tags))
        status, waited = made.get("copy_status"), 0.0
        while status == "pending":  # the service takes its time, and answers before it has begun
            time.sleep(min(5.0, 0.1 + waited / 10))
            waited += min(5.0, 0.1 + waited / 10)
            now = blob.get_blob_properties().copy
            status = now.status
            if status == "pending" and waited > COPY_LIMIT:
                with contextlib.suppress(Exception):
                    blob.abort_copy(made["copy_id"])
                return False
        return bool(status == "success")

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
        return transient(exc)

    def explain(self, doing: str, exc: Exception) -> HoldfastError:
        return explain(doing, exc, self._options)


def _look_at_page(answer: Any) -> None:
    """Raises Strange: it is none."""
    if answer.http_response.status_code == 200:
        check_page(answer.http_response.body(), "EnumerationResults")


def _version_of(path: Optional[str]) -> Optional[tuple[int, int]]:
    """What changes when a file is replaced or written."""
    try:
        found = os.stat(path) if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns) if found else None


def drop_blocks(blob: Any) -> None:
    """Forget the blocks of a blob that was never committed: a delete does not see them, but an empty list of blocks drops
    them, and can be deleted. What somebody committed by that name is not touched: there the service forgets the blocks by itself."""
    from azure.core import MatchConditions
    from azure.core.exceptions import HttpResponseError

    try:
        made = blob.commit_block_list([], match_condition=MatchConditions.IfMissing)
        blob.delete_blob(etag=made["etag"], match_condition=MatchConditions.IfNotModified)
    except HttpResponseError as exc:
        if exc.status_code not in (404, 409, 412):
            raise


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
        if self._numbers:
            drop_blocks(self._blob)
