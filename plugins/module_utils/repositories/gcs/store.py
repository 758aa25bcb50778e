# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud Storage, by google-cloud-storage. (By HMAC keys it also speaks S3: type s3, endpoint_url
https://storage.googleapis.com.)

Parts of one object go up one after another: a resumable upload is a sequence. Ranges come down side by side.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectLocked,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories import store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding, ObjectInfo
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.client import describe, make_client
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.errors import (
    explain,
    is_silence,
    transient,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.lifecycle import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.network import transport
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    Store,
    Strange,
    Transfer,
    Upload,
    first_words,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

_STEP = 256 * 1024  # a chunk of a resumable upload has a multiple of this many bytes
_CONNECT = 10  # seconds
_PATIENCE = 15.0  # seconds in which the library tries again by itself; its own are 120, and there is ``attempt``


#: seconds after which a copy that the service makes by itself, a piece at each request, is given up
COPY_LIMIT = 3600.0


class Gcs(Store):
    """A bucket."""

    parallel = False

    def __init__(self, options: Mapping[str, Any], transfer: Transfer) -> None:
        self._options, self._part_size = options, transfer.part_size
        self.description = describe(options)
        self.client = make_client(options)
        self._calmly = {"timeout": (_CONNECT, store.SILENCE), "retry": _retry().with_timeout(_PATIENCE)}
        self.bucket = self.client.bucket(options["bucket"])

    def _blob(self, key: str, lasting: bool = False) -> Any:
        blob = self.bucket.blob(key, chunk_size=None)
        if lasting and self._options.get("storage_class"):
            blob.storage_class = self._options["storage_class"]
        return blob

    def put(self, key: str, data: bytes, lasting: bool) -> None:
        self._blob(key, lasting).upload_from_string(
            data, content_type="application/octet-stream", checksum="crc32c", **self._calmly
        )

    def put_if(self, key: str, data: bytes, tag: Optional[str], lasting: bool = False) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        try:
            self._blob(key, lasting).upload_from_string(
                data, checksum="crc32c", **self._calmly, if_generation_match=0 if tag is None else int(tag)
            )
        except PreconditionFailed:
            return False
        return True

    def delete_if(self, key: str, tag: str) -> bool:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        try:
            self.bucket.delete_blob(key, if_generation_match=int(tag), **self._calmly)
        except (PreconditionFailed, NotFound):
            return False
        return True

    def begin(self, key: str, lasting: bool) -> Upload:
        return _Resumable(self, self._blob(key, lasting), -(-self._part_size // _STEP) * _STEP)

    def get(self, key: str, start: int, size: int, tag: Optional[str]) -> bytes:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        if size == 0:
            return b""
        condition = {"if_generation_match": int(tag)} if tag else {}
        try:
            data: bytes = self._blob(key).download_as_bytes(
                start=start, end=start + size - 1, raw_download=True, checksum=None, **self._calmly, **condition
            )
            return data
        except NotFound as exc:
            raise ObjectMissing(f"{key} is not in {self.description}.") from exc
        except PreconditionFailed as exc:
            raise RepositoryError(f"{key} in {self.description} was replaced while it was being read.") from exc

    def head(self, key: str) -> Optional[ObjectInfo]:
        blob = self.bucket.get_blob(key, **self._calmly)
        return None if blob is None else _info(blob)

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        found = self.client.list_blobs(self.bucket, prefix=prefix, **self._calmly)
        begin, led = found._page_start, set()

        def look(iterator: Any, page: Any, answer: Any) -> None:
            if not isinstance(answer, dict) or answer.get("kind") != "storage#objects":
                raise Strange(f"what came is no listing but {first_words(json.dumps(answer))}")
            token = answer.get("nextPageToken")
            if token and token in led:
                raise Strange("the listing was cut short: a page leads back to one before it")
            led.add(token)
            begin(iterator, page, answer)

        found._page_start = look
        try:
            for blob in found:
                yield _info(blob)
        except ValueError as exc:  # no JSON
            raise Strange(f"what came is no listing but {first_words(getattr(exc, 'doc', ''))}") from exc
        except (AttributeError, TypeError) as exc:  # JSON of another kind
            raise Strange("what came is no listing, but something else in JSON") from exc

    def unfinished(self, prefix: str) -> Sequence[str]:
        return ()  # a resumable upload can't be listed; Google forgets it after a week

    def forget_unfinished(self, prefix: str) -> int:
        return 0

    def delete(self, keys: Sequence[str]) -> None:
        from google.api_core.exceptions import Forbidden, NotFound

        for key in keys:
            try:
                self.bucket.delete_blob(key, **self._calmly)
            except NotFound:
                if len(keys) == 1 and not self._exists():
                    raise
            except Forbidden as exc:
                raise ObjectLocked(f"Cannot delete {key} from {self.description}: {exc.message}.") from exc

    def _exists(self) -> bool:
        """Whether the bucket is there, as far as the credentials may ask."""
        from google.api_core.exceptions import Forbidden

        try:
            return bool(self.bucket.exists(**self._calmly))
        except Forbidden:
            return True

    def copy_from(self, source: Store, source_key: str, key: str, size: int) -> bool:
        if not isinstance(source, Gcs) or source._options.get("endpoint_url") != self._options.get("endpoint_url"):
            return False
        token, target = None, self._blob(key, True)
        end = time.monotonic() + COPY_LIMIT
        while time.monotonic() < end:
            token, _done, _total = target.rewrite(source.bucket.blob(source_key), token=token, **self._calmly)
            if token is None:
                return True
        return False  # it is copied through here

    def locked_until(self, key: str) -> Optional[str]:
        blob = self.bucket.get_blob(key, **self._calmly)
        if blob is None:
            return None
        if blob.temporary_hold or blob.event_based_hold:
            return "a hold is lifted"
        until = blob.retention_expiration_time
        return format_time(until) if until and until > utcnow() else None

    def inspect(self, retention: int) -> list[Finding]:
        found = [transport(self._options.get("endpoint_url") or "https://storage.googleapis.com")]
        return found + self._inspect_bucket(retention)

    def _inspect_bucket(self, retention: int) -> list[Finding]:
        from google.api_core.exceptions import Forbidden

        try:
            self.bucket.reload(**self._calmly)
        except Forbidden:  # storage.buckets.get is not among an object admin's rights
            return []
        found = []
        versioned = bool(self.bucket.versioning_enabled)
        message = "versions are kept: what is deleted or overwritten can be brought back"
        bare = "versioning is off: who has the keys can delete every backup for good"
        found.append(Finding("fine", message) if versioned else Finding("warning", bare))
        prefix = f"{self._options['prefix'].strip('/')}/".lstrip("/")
        for rule in self.bucket.lifecycle_rules:
            found += judge(dict(rule), prefix, retention)
        kept = self.bucket.retention_period
        if kept and retention and kept > retention:
            found.append(
                Finding("warning", "the bucket keeps objects longer than the retention: what should go stays that long")
            )
        with contextlib.suppress(Exception):  # not everybody may ask, and emulators have none
            policy = self.bucket.get_iam_policy(requested_policy_version=3, **self._calmly)
            public = [
                role["role"] for role in policy.bindings if {"allUsers", "allAuthenticatedUsers"} & set(role["members"])
            ]
            found += [Finding("error", f"everybody has {role} on the bucket: take that back") for role in public]
            found += [] if public else [Finding("fine", "the bucket is not public")]
        return found

    def transient(self, exc: Exception) -> bool:
        return transient(exc)

    def explain(self, doing: str, exc: Exception) -> HoldfastError:
        return explain(doing, exc)


def _info(blob: Any) -> ObjectInfo:
    return ObjectInfo(blob.name, int(blob.size), blob.updated.timestamp(), str(blob.generation))


def _retry() -> Any:
    """What the library tries again by itself: all but who never answers."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    again = DEFAULT_RETRY._predicate
    return DEFAULT_RETRY.with_predicate(lambda exc: again(exc) and not is_silence(exc))


class _Resumable(Upload):
    def __init__(self, owner: Gcs, blob: Any, chunk: int) -> None:
        self._store = owner
        # Chunks of a session may be sent again: the server says how far it is.
        self._writer = blob.open(
            "wb", chunk_size=chunk, checksum="crc32c", timeout=(_CONNECT, store.SILENCE), retry=_retry()
        )

    def part(self, number: int, data: bytes) -> None:
        try:
            self._writer.write(data)
        except Exception as exc:  # the library has tried again already; once more from here would send it twice
            raise self._store.explain(f"write to the repository {self._store.description}", exc) from exc

    def complete(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.terminate()
