# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amazon S3, and what speaks its language: Ceph, MinIO, Garage, R2, …, by boto3."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectLocked,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding, ObjectInfo
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.client import (
    Condition,
    customer_key,
    describe,
    make_client,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.errors import (
    code_of,
    explain,
    status_of,
    transient,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.inspect import inspect
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.listing import ahead, watch_pages, whole
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    Store,
    Strange,
    Transfer,
    Upload,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

#: what one object cannot be deleted for either
_NOTHING_GOES = ("NoSuchBucket", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed")


class S3(Store):
    """A bucket."""

    def __init__(self, options: Mapping[str, Any], transfer: Transfer) -> None:
        self._bucket = options["bucket"]
        self._options = options
        self.description = describe(options)
        self.client = make_client(options, transfer.concurrency)
        watch_pages(self.client.meta.events)
        self._condition = Condition(self.client)
        key = options.get("sse_customer_key")
        self._customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": customer_key(key)} if key else {}
        self._writing = self._write_options()
        lock = options.get("object_lock")
        self._lock_for = parse_duration(options["object_lock_for"], "repository.object_lock_for") if lock else 0

    def _write_options(self) -> dict[str, Any]:
        options = self._options
        found: dict[str, Any] = dict(self._customer)
        if options.get("sse"):
            found["ServerSideEncryption"] = options["sse"]
        if options.get("sse_kms_key_id"):
            found["SSEKMSKeyId"] = options["sse_kms_key_id"]
        return found

    def _for_object(self, lasting: bool) -> dict[str, Any]:
        found = dict(self._writing)
        options = self._options
        if lasting and options.get("storage_class"):
            found["StorageClass"] = options["storage_class"]
        if options.get("tags"):
            import urllib.parse

            found["Tagging"] = urllib.parse.urlencode(options["tags"])
        found |= {f"ObjectLock{name}": value for name, value in self._retention(lasting).items()}
        return found

    def _retention(self, lasting: bool) -> dict[str, Any]:
        """How an object is locked; empty where it is not."""
        lock = self._options.get("object_lock")
        if not lasting or not lock:
            return {}
        return {"Mode": lock.upper(), "RetainUntilDate": utcnow() + datetime.timedelta(seconds=self._lock_for)}

    def lock(self, key: str, retention: Mapping[str, Any]) -> None:
        """Lock an object unless it is: Ceph 16 takes the wish with an upload in parts, and forgets it."""
        found = self._head(key) if retention else None
        if found and not found.get("ObjectLockRetainUntilDate"):
            self.client.put_object_retention(Bucket=self._bucket, Key=key, Retention=retention)

    def digest(self, data: bytes) -> dict[str, str]:
        """What a store that locks objects wants. Elsewhere boto3 sends a checksum, or signs the sha256 of what it sends: the
        store compares, and MD5 would only be slower."""
        if not self._options.get("object_lock"):
            return {}
        return {"ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()}

    def put(self, key: str, data: bytes, lasting: bool) -> None:
        self.client.put_object(
            Bucket=self._bucket, Key=key, Body=data, **self.digest(data), **self._for_object(lasting)
        )

    def put_if(self, key: str, data: bytes, tag: Optional[str], lasting: bool = False) -> bool:
        options = self._for_object(lasting) if lasting else self._writing
        header = ("If-None-Match", "*") if tag is None else ("If-Match", tag)
        try:
            with self._condition.of(*header):
                self.client.put_object(Bucket=self._bucket, Key=key, Body=data, **self.digest(data), **options)
        except Exception as exc:
            if code_of(exc) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", "NoSuchKey"):
                return False
            raise
        return True

    def delete_if(self, key: str, tag: str) -> bool:
        # Few stores know a condition here. Only the holder of a lock deletes it, so looking first is enough.
        info = self.head(key)
        if info is None or info.tag != tag:
            return False
        self.delete([key])
        return True

    def begin(self, key: str, lasting: bool) -> Upload:
        made = self.client.create_multipart_upload(Bucket=self._bucket, Key=key, **self._for_object(lasting))
        return _Multipart(self, self._bucket, key, made["UploadId"], self._customer, self._retention(lasting))

    def get(self, key: str, start: int, size: int, tag: Optional[str]) -> bytes:
        if size == 0:
            return b""
        condition = {"IfMatch": tag} if tag else {}
        try:
            return self._get(key, start, size, **condition)[0]
        except Exception as exc:
            if code_of(exc) == "NoSuchKey":
                raise ObjectMissing(f"{key} is not in {self.description}.") from exc
            if code_of(exc) not in ("PreconditionFailed", "412"):
                raise
        # What stands between (compression of a proxy, a cache) may call the same content by another ETag than the store does.
        data, now = self._get(key, start, size)
        if now != tag:
            raise RepositoryError(f"{key} in {self.description} was replaced while it was being read.")
        return data

    def _get(self, key: str, start: int, size: int, **condition: Any) -> tuple[bytes, Optional[str]]:
        """Some bytes, and the ETag of what they are of."""
        answer = self.client.get_object(
            Bucket=self._bucket, Key=key, Range=f"bytes={start}-{start + size - 1}", **condition, **self._customer
        )
        return answer["Body"].read(), answer.get("ETag")

    def head(self, key: str) -> Optional[ObjectInfo]:
        found = self._head(key)
        if found is None:
            return None
        if not {"ContentLength", "LastModified", "ETag"} <= set(found):
            raise Strange("an object is there that has no size, time or ETag, as each has in S3")
        return ObjectInfo(key, found["ContentLength"], found["LastModified"].timestamp(), found["ETag"])

    def _head(self, key: str) -> Optional[dict[str, Any]]:
        try:
            found: dict[str, Any] = self.client.head_object(Bucket=self._bucket, Key=key, **self._customer)
            return found
        except Exception as exc:
            if code_of(exc) in ("404", "NoSuchKey", "NotFound") or code_of(exc) == "403" and self._unlisted(key):
                return None
            if code_of(exc) in ("400", "403"):
                self._ask_why(key)
            raise

    def _ask_why(self, key: str) -> None:
        """The answer to a HEAD has no words, only a status; the one to a GET has: an expired token, a clock, a region."""
        try:
            self.client.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0", **self._customer)["Body"].close()
        except Exception as exc:
            if code_of(exc) not in ("NoSuchKey", "InvalidRange"):
                raise

    def _unlisted(self, key: str) -> bool:
        """Whether a listing lacks an object. Who may list a prefix alone is told "forbidden" by Ceph of what is not there.

        Source: https://github.com/ceph/ceph/pull/68577
        """
        try:
            found = self.client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
        except Exception:
            return False  # what the look was told stands
        return all(entry["Key"] != key for entry in found.get("Contents", ()))

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        for page in ahead(self.client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)):
            whole(page, "NextContinuationToken")
            for entry in page.get("Contents", ()):
                yield ObjectInfo(entry["Key"], entry["Size"], entry["LastModified"].timestamp(), entry.get("ETag"))

    def unfinished(self, prefix: str) -> Sequence[str]:
        return [key for key, _upload in self._unfinished(prefix)]

    def _unfinished(self, prefix: str) -> list[tuple[str, str]]:
        found = []
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix):
            whole(page, "NextKeyMarker", always=True)
            found += [(entry["Key"], entry["UploadId"]) for entry in page.get("Uploads", ())]
        # Some stores take the prefix for a hint: what is not ours must not be touched.
        return [(key, upload) for key, upload in found if key.startswith(prefix)]

    def forget_unfinished(self, prefix: str) -> int:
        found = self._unfinished(prefix)
        for key, upload in found:
            self.client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        return len(found)

    def delete(self, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            self.client.delete_object(Bucket=self._bucket, Key=keys[0])
            return
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            answer = self.client.delete_objects(Bucket=self._bucket, Delete=wanted)
            left = [str(error.get("Key")) for error in answer.get("Errors", ()) if error.get("Code") != "NoSuchKey"]
        except Exception as exc:
            # Ceph asks who deletes many at once for a right on the whole bucket, some stores want an MD5 that boto3 no longer sends,
            # and some cannot do it at all. What is really wrong each deletion says for itself.
            if code_of(exc) in _NOTHING_GOES or status_of(exc) not in (400, 403, 405, 501):
                raise
            left = list(keys)
        self._delete_each(left)

    def _delete_each(self, keys: Sequence[str]) -> None:
        """One by one: each then says for itself whether it is locked, or the store was busy for a moment."""
        locked: list[str] = []
        for key in keys:
            try:
                self.client.delete_object(Bucket=self._bucket, Key=key)
            except Exception as exc:
                found = self.explain(f"delete {key} from {self.description}", exc)
                if not isinstance(found, ObjectLocked):
                    raise
                locked.append(str(found))
        if locked:
            raise ObjectLocked(f"{len(locked)} objects in {self.description} could not be deleted. {locked[0]}")

    def copy_from(self, source: Store, source_key: str, key: str, size: int) -> bool:
        same = isinstance(source, S3) and source.endpoint == self.endpoint and source.access == self.access
        if not same or size > 5 * 1024**3 or self._customer:
            return False
        where = {"Bucket": source._bucket, "Key": source_key}  # type: ignore[attr-defined]
        # Without the directive a copy has the tags of its source, whatever it is told besides.
        tags = {"TaggingDirective": "REPLACE"} if self._options.get("tags") else {}
        self.client.copy_object(Bucket=self._bucket, Key=key, CopySource=where, **tags, **self._for_object(True))
        self.lock(key, self._retention(True))
        return True

    @property
    def endpoint(self) -> str:
        """Where requests go."""
        return str(self.client.meta.endpoint_url)

    @property
    def access(self) -> Optional[str]:
        """Whose requests they are."""
        key: Optional[str] = self._options.get("access_key") or self._options.get("profile")
        return key

    def locked_until(self, key: str) -> Optional[str]:
        found = self._head(key)
        if found is None:
            return None
        until: Optional[datetime.datetime] = found.get("ObjectLockRetainUntilDate")
        if found.get("ObjectLockLegalHoldStatus") == "ON":
            return "a legal hold is lifted"
        return format_time(until) if until and until > utcnow() else None

    def inspect(self, retention: int) -> list[Finding]:
        return inspect(self.client, self._options, retention)

    def transient(self, exc: Exception) -> bool:
        return transient(exc)

    def explain(self, doing: str, exc: Exception) -> HoldfastError:
        return explain(doing, exc, self._options, self.description)


class _Multipart(Upload):
    def __init__(
        self, store: S3, bucket: str, key: str, upload: str, customer: Mapping[str, Any], retention: Mapping[str, Any]
    ) -> None:
        self._store, self._customer, self._retention = store, customer, retention
        self._where = {"Bucket": bucket, "Key": key, "UploadId": upload}
        self._parts: dict[int, dict[str, Any]] = {}
        self._sizes: dict[int, int] = {}

    def part(self, number: int, data: bytes) -> None:
        digest = self._store.digest(data)
        sent = self._store.client.upload_part(
            **self._where, PartNumber=number + 1, Body=data, **digest, **self._customer
        )
        # The checksums that boto3 sent belong into the list of parts: the store compares them once more.
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum") and name != "ChecksumType"}
        self._parts[number + 1] = {"PartNumber": number + 1, "ETag": sent["ETag"], **sums}
        self._sizes[number + 1] = len(data)

    def complete(self) -> None:
        parts = [self._parts[number] for number in sorted(self._parts)]
        # SSE-C wants its key here too, where there are checksums.
        extra = self._customer if any(len(part) > 2 for part in parts) else {}
        try:
            self._store.client.complete_multipart_upload(**self._where, MultipartUpload={"Parts": parts}, **extra)
        except Exception as exc:
            if code_of(exc) != "NoSuchUpload" or not self._is_complete():
                raise
        self._store.lock(self._where["Key"], self._retention)

    def _is_complete(self) -> bool:
        """Whether the object is there: where the answer was lost the first time, the second attempt is told that there is no such upload.
        (What is there may be a former object of that size; who wrote this one reads it back.)"""
        found = self._store.head(self._where["Key"])
        return found is not None and found.size == sum(self._sizes.values())

    def abort(self) -> None:
        self._store.client.abort_multipart_upload(**self._where)
