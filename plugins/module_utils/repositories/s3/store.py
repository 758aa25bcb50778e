# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amazon S3, and what speaks its language: Ceph, MinIO, Garage, R2, …, by boto3."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
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
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.listing import ahead, watch_pages
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

# Codes of the S3 API, and what to do about each. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_ADVICE = {
    "InvalidAccessKeyId": "The access key is not known there: check repository.access_key, and that the endpoint is the right one.",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key: check repository.secret_key.",
    "ExpiredToken": "The session token has expired: get a new one, or use a role that renews it.",
    "InvalidToken": "The session token is not valid there: check repository.session_token.",
    "RequestTimeTooSkewed": "This host's clock is off: set it (chrony, timedatectl); signatures are bound to the time.",
    "NoSuchBucket": "Create the bucket, or let the role holdfast.postgres.setup do so; or check repository.bucket.",
    "NoSuchUpload": "Someone aborted the upload meanwhile (a lifecycle rule, or another run that cleaned up): run it again.",
    "SlowDown": "The store asks to go slower, again and again: lower repository.concurrency, or set repository.bandwidth_limit.",
    "InvalidObjectState": "The object lies in an archive tier (Glacier): restore it there first, then run this again.",
    "NotImplemented": "This store does not have what was asked for: leave out sse, object_lock, tags or storage_class.",
    "EntityTooLarge": "Raise repository.part_size: an object has at most 10,000 parts.",
    "QuotaExceeded": "The bucket's or user's quota is used up: raise it, or shorten the retention and prune.",
}
_REGION = (
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "301",
    "InvalidLocationConstraint",
)
# What older stores say to the checksums that boto3 sends by default from 1.36 on.
_CHECKSUM = ("MissingContentLength", "XAmzContentSHA256Mismatch", "411", "InvalidDigest", "BadDigest")
_TRANSIENT = (
    "500",
    "502",
    "503",
    "504",
    "InternalError",
    # Another byte on its way up.
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "ServiceUnavailable",
    "SlowDown",
    "RequestTimeout",
    "Throttling",
)


# What a preflight asks of a bucket, all at once.
_SETTINGS = (
    "get_bucket_policy_status",
    "get_bucket_acl",
    "get_public_access_block",
    "get_bucket_encryption",
    "get_bucket_versioning",
    "get_bucket_lifecycle_configuration",
    "get_object_lock_configuration",
)
Settings = Mapping[str, Optional[dict[str, Any]]]


class S3(Store):
    """A bucket."""

    def __init__(self, options: Mapping[str, Any], transfer: Transfer) -> None:
        self._bucket = options["bucket"]
        self._options = options
        self.description = describe(options)
        self.client = make_client(options, transfer.concurrency)
        watch_pages(self.client.meta.events)
        key = options.get("sse_customer_key")
        self._customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": _customer_key(key)} if key else {}
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

    def put_if(self, key: str, data: bytes, tag: Optional[str]) -> bool:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            self.client.put_object(
                Bucket=self._bucket, Key=key, Body=data, **self.digest(data), **self._writing, **condition
            )
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
            answer = self.client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={start}-{start + size - 1}", **condition, **self._customer
            )
            data: bytes = answer["Body"].read()
            return data
        except Exception as exc:
            if code_of(exc) == "NoSuchKey":
                raise ObjectMissing(f"{key} is not in {self.description}.") from exc
            if code_of(exc) in ("PreconditionFailed", "412"):
                raise RepositoryError(f"{key} in {self.description} was replaced while it was being read.") from exc
            raise

    def head(self, key: str) -> Optional[ObjectInfo]:
        found = self._head(key)
        if found is None:
            return None
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
            for entry in page.get("Contents", ()):
                yield ObjectInfo(entry["Key"], entry["Size"], entry["LastModified"].timestamp(), entry["ETag"])

    def unfinished(self, prefix: str) -> Sequence[str]:
        return [key for key, _upload in self._unfinished(prefix)]

    def _unfinished(self, prefix: str) -> list[tuple[str, str]]:
        found = []
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix):
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
        except Exception as exc:
            if code_of(exc) != "AccessDenied":
                raise
            # Ceph asks who deletes many at once for a right on the whole bucket. One by one, that on the prefix is enough.
            for key in keys:
                self.client.delete_object(Bucket=self._bucket, Key=key)
            return
        errors = answer.get("Errors", ())
        if errors:
            first = errors[0]
            raise ObjectLocked(
                f"{len(errors)} objects in {self.description} could not be deleted, {first['Key']} among them: "
                f"{first.get('Code')} {first.get('Message', '')}"
            )

    def copy_from(self, source: Store, source_key: str, key: str, size: int) -> bool:
        same = isinstance(source, S3) and source.endpoint == self.endpoint and source.access == self.access
        if not same or size > 5 * 1024**3 or self._customer:
            return False
        where = {"Bucket": source._bucket, "Key": source_key}  # type: ignore[attr-defined]
        self.client.copy_object(Bucket=self._bucket, Key=key, CopySource=where, **self._for_object(True))
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
        found = [transport(self.endpoint)]
        prefix = f"{self._options['prefix'].strip('/')}/".lstrip("/")  # all that least privilege may list
        asked = self.client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        found += skew(asked["ResponseMetadata"]["HTTPHeaders"].get("date"))
        with ThreadPoolExecutor(len(_SETTINGS)) as pool:
            settings = dict(zip(_SETTINGS, pool.map(self._ask, _SETTINGS)))
        return found + self._inspect_access(settings) + self._inspect_keeping(settings, retention)

    def _ask(self, operation: str) -> Optional[dict[str, Any]]:
        """A setting of the bucket; empty where it has none, None where we may not ask, or the store knows no such thing."""
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(Bucket=self._bucket)
            return answer
        except Exception as exc:
            if code_of(exc).startswith("NoSuch") or code_of(exc).endswith(("NotFound", "NotFoundError")):
                return {}
            if code_of(exc) or status_of(exc):
                return None
            raise

    def _inspect_access(self, settings: Settings) -> list[Finding]:
        found = []
        status = settings["get_bucket_policy_status"]
        if status and status.get("PolicyStatus", {}).get("IsPublic"):
            found.append(Finding("error", "the bucket's policy lets everybody in: block public access"))
        acl = settings["get_bucket_acl"]
        for grant in (acl or {}).get("Grants", ()):
            if str(grant.get("Grantee", {}).get("URI", "")).endswith(("/AllUsers", "/AuthenticatedUsers")):
                found.append(
                    Finding("error", f"everybody has {grant.get('Permission')} on the bucket (its ACL): take that back")
                )
        block = settings["get_public_access_block"]
        if block is not None and not all(block.get("PublicAccessBlockConfiguration", {"": False}).values()):
            found.append(
                Finding("warning", "public access to the bucket is not blocked altogether (public access block)")
            )
        if acl is not None and not found:
            found.append(Finding("fine", "the bucket is not public"))
        encryption = settings["get_bucket_encryption"]
        if encryption is not None and not encryption and not self._options.get("sse") and not self._customer:
            found.append(
                Finding("warning", "the store does not encrypt the bucket by default: set repository.sse or encryption")
            )
        return found

    def _inspect_keeping(self, settings: Settings, retention: int) -> list[Finding]:
        found = []
        versioning = settings["get_bucket_versioning"]
        versioned = bool(versioning and versioning.get("Status") == "Enabled")
        if versioning is not None:
            words = "versions are kept: what is deleted or overwritten can be brought back"
            bare = "versioning is off: who has the keys can delete every backup for good"
            found.append(Finding("fine", words) if versioned else Finding("warning", bare))
        rules = (settings["get_bucket_lifecycle_configuration"] or {}).get("Rules", [])
        if versioned and not any("NoncurrentVersionExpiration" in rule for rule in rules):
            found.append(
                Finding(
                    "warning",
                    "old versions never expire (no lifecycle rule), so what retention deletes still costs space",
                )
            )
        ours = f"{self._options['prefix'].strip('/')}/".lstrip("/")
        for rule in rules:
            theirs = prefix_of(rule)
            if not ours.startswith(theirs) and not theirs.startswith(ours):
                continue
            days = rule.get("Expiration", {}).get("Days")
            if rule.get("Status") == "Enabled" and days and retention > days * 86400:
                found.append(
                    Finding(
                        "error",
                        f"the lifecycle rule {rule.get('ID')!r} deletes objects after {days} days, retention wants longer",
                    )
                )
        config = (settings["get_object_lock_configuration"] or {}).get("ObjectLockConfiguration", {})
        if self._options.get("object_lock") and config.get("ObjectLockEnabled") != "Enabled":
            found.append(
                Finding(
                    "error", "repository.object_lock is set, and the bucket has no object lock (made at its creation)"
                )
            )
        if self._options.get("object_lock") and retention and self._lock_for < retention:
            found.append(
                Finding("warning", "object_lock_for is shorter than the retention: the last days are not protected")
            )
        if not versioned and not config:
            return found
        default = config.get("Rule", {}).get("DefaultRetention", {})
        locked = (default.get("Days") or 0) * 86400 + (default.get("Years") or 0) * 365 * 86400
        if locked and retention and locked > retention:
            found.append(
                Finding("warning", "the bucket locks objects longer than the retention: what should go stays that long")
            )
        return found

    def transient(self, exc: Exception) -> bool:
        import botocore.exceptions as errors
        from urllib3.exceptions import HTTPError

        if isinstance(exc, errors.SSLError) or not isinstance(exc, (errors.BotoCoreError, errors.ClientError)):
            return isinstance(exc, (ShortRead, HTTPError, ConnectionError))
        if isinstance(exc, errors.ClientError):
            return code_of(exc) in _TRANSIENT or status_of(exc) >= 500
        return isinstance(exc, (errors.HTTPClientError, errors.IncompleteReadError, errors.FlexibleChecksumError))

    def explain(self, doing: str, exc: Exception) -> HoldfastError:
        return explain(doing, exc, self._options, self.description)


class _Multipart(Upload):
    def __init__(
        self, store: S3, bucket: str, key: str, upload: str, customer: Mapping[str, Any], retention: Mapping[str, Any]
    ) -> None:
        self._store, self._customer, self._retention = store, customer, retention
        self._where = {"Bucket": bucket, "Key": key, "UploadId": upload}
        self._parts: dict[int, dict[str, Any]] = {}

    def part(self, number: int, data: bytes) -> None:
        digest = self._store.digest(data)
        sent = self._store.client.upload_part(
            **self._where, PartNumber=number + 1, Body=data, **digest, **self._customer
        )
        # The checksums that boto3 sent belong into the list of parts: the store compares them once more.
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum") and name != "ChecksumType"}
        self._parts[number + 1] = {"PartNumber": number + 1, "ETag": sent["ETag"], **sums}

    def complete(self) -> None:
        parts = [self._parts[number] for number in sorted(self._parts)]
        # SSE-C wants its key here too, where there are checksums.
        extra = self._customer if any(len(part) > 2 for part in parts) else {}
        self._store.client.complete_multipart_upload(**self._where, MultipartUpload={"Parts": parts}, **extra)
        self._store.lock(self._where["Key"], self._retention)

    def abort(self) -> None:
        self._store.client.abort_multipart_upload(**self._where)


def describe(options: Mapping[str, Any]) -> str:
    """What messages call the store."""
    endpoint = options.get("endpoint_url")
    return f"s3://{options['bucket']}" + (f" at {endpoint}" if endpoint else "")


def make_client(options: Mapping[str, Any], concurrency: int) -> Any:
    """A boto3 client of the options' store.

    Raises:
        RepositoryError: boto3 is missing, or the options' profile, role or files are no good.
    """
    try:
        import boto3
        import botocore.exceptions
        from botocore.config import Config
    except ImportError as exc:
        missing_library("boto3", "s3", exc)
    wanted: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": max(64, concurrency + 4),  # opened only when there is use for them
        "s3": {"addressing_style": options.get("addressing_style") or "auto"},
    }
    if options.get("request_checksum_calculation"):
        wanted["request_checksum_calculation"] = options["request_checksum_calculation"]
        wanted["response_checksum_validation"] = options["request_checksum_calculation"]
    verify: Any = ca_file(options) or (None if options.get("validate_certs", True) else False)
    try:
        config = Config(**wanted)
    except TypeError:  # botocore older than 1.36 knows no such checksums: it sends none
        for name in ("request_checksum_calculation", "response_checksum_validation"):
            wanted.pop(name, None)
        config = Config(**wanted)
    keys = {
        "aws_access_key_id": options.get("access_key"),
        "aws_secret_access_key": options.get("secret_key"),
        "aws_session_token": options.get("session_token"),
    }
    given = {name: value for name, value in keys.items() if value}
    if len(given) == 1 or ("aws_session_token" in given and len(given) < 3):
        raise BadOption(
            "repository.access_key",
            options.get("access_key"),
            "and repository.secret_key belong together",
            "Give both.",
        )
    try:
        session = boto3.Session(profile_name=options.get("profile"), region_name=options.get("region"), **given)
        if options.get("role_arn"):
            session = _assume(session, options, verify)
        # A region has to be named even to stores that have none.
        region = session.region_name or ("us-east-1" if options.get("endpoint_url") else None)
        return session.client(
            "s3", endpoint_url=options.get("endpoint_url"), region_name=region, config=config, verify=verify
        )
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ValueError, OSError) as exc:
        raise explain("use", exc, options, f"s3://{options['bucket']}") from exc


def _assume(session: Any, options: Mapping[str, Any], verify: Any) -> Any:
    """A session of the role ``role_arn``, whose credentials renew themselves: a long backup outlives an hour."""
    import boto3
    import botocore.credentials
    import botocore.session

    sts = session.client("sts", verify=verify, endpoint_url=options.get("sts_endpoint_url"))
    extra = {"ExternalId": options["external_id"]} if options.get("external_id") else {}

    def renew() -> dict[str, str]:
        got = sts.assume_role(RoleArn=options["role_arn"], RoleSessionName="holdfast.postgres", **extra)["Credentials"]
        return {
            "access_key": got["AccessKeyId"],
            "secret_key": got["SecretAccessKey"],
            "token": got["SessionToken"],
            "expiry_time": got["Expiration"].isoformat(),
        }

    core = botocore.session.get_session()
    core._credentials = botocore.credentials.RefreshableCredentials.create_from_metadata(
        renew(), renew, "sts-assume-role"
    )
    core.set_config_variable("region", session.region_name)
    return boto3.Session(botocore_session=core)


def _customer_key(text: str) -> bytes:
    """The 32 bytes of an SSE-C key, which is written in base64. Raises BadOption."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BadOption(
            "repository.sse_customer_key", "(hidden)", "is not 32 bytes in base64", "Make one: openssl rand -base64 32."
        )
    return key


def prefix_of(rule: Mapping[str, Any]) -> str:
    """What a lifecycle rule concerns: the keys that begin so."""
    where = rule.get("Filter") or {}
    found: str = where.get("Prefix") or where.get("And", {}).get("Prefix") or rule.get("Prefix") or ""
    return found


def code_of(exc: Exception) -> str:
    """The store's error code; empty where it did not answer."""
    response = getattr(exc, "response", None) or {}
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def status_of(exc: Exception) -> int:
    """The HTTP status of the store's answer; 0 where it did not answer."""
    response = getattr(exc, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0


def explain(doing: str, exc: Exception, options: Mapping[str, Any], description: str) -> HoldfastError:
    """What boto3 raised, in words for the user."""
    import botocore.exceptions as errors

    response = getattr(exc, "response", {}) or {}
    code, said = code_of(exc), " ".join(str(response.get("Error", {}).get("Message") or exc).split()).rstrip(".")
    headers = {
        name.lower(): value for name, value in response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).items()
    }
    advice = _ADVICE.get(code, "")
    if code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"):
        what = getattr(exc, "operation_name", "that")
        if what.startswith("Delete"):
            return ObjectLocked(f"Cannot {doing}: the credentials may not {what}, or the object is locked. {said}")
        advice = (
            f"The credentials may not {what} there. Grant it: the role holdfast.postgres.setup writes the policy of least "
            "privilege (holdfast_setup_policy_file)."
        )
    elif code in _REGION or headers.get("x-amz-bucket-region") and status_of(exc) in (301, 400, 403):
        region = headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or "another one"
        advice = f"The bucket lies in the region {region}: set repository.region to it."
    elif code in _CHECKSUM and options.get("request_checksum_calculation") != "when_required":
        advice = (
            "Older S3-compatible stores refuse the checksums that boto3 sends: set "
            "repository.request_checksum_calculation: when_required."
        )
    elif isinstance(exc, errors.NoCredentialsError):
        advice = (
            "Give repository.access_key and secret_key, a profile, or run where there is a role (instance profile, IRSA), as "
            "the user that runs this module."
        )
    elif isinstance(exc, errors.NoRegionError):
        advice = "Set repository.region."
    elif isinstance(exc, errors.FlexibleChecksumError):
        advice = (
            "What comes, again and again, has another content than was written: it is damaged there, or on its way."
        )
    elif isinstance(exc, errors.SSLError):
        advice = "Nobody here trusts the store's certificate: name the CA's file by repository.ca_file."
    elif isinstance(exc, errors.ProfileNotFound):
        advice = "Check repository.profile, and ~/.aws of the user that runs this module."
    elif isinstance(exc, errors.ProxyConnectionError):
        advice = (
            f"The proxy (HTTPS_PROXY) cannot be used: {exc.kwargs.get('error')}. Check it, or go past it by NO_PROXY."
        )
    elif isinstance(exc, (errors.EndpointConnectionError, errors.ConnectTimeoutError)):
        advice = (
            "Nothing answers there: check repository.endpoint_url, the network, and the proxy (HTTPS_PROXY, NO_PROXY)."
        )
    elif not advice:
        advice = "What was there before is as it was."
    # Others may still be read: archived, encrypted with a key that is gone, or written by another account.
    denied = code == "AccessDenied" and getattr(exc, "operation_name", "") == "GetObject"
    kind = ObjectUnreadable if denied or code == "InvalidObjectState" or code.startswith("KMS.") else RepositoryError
    return kind(f"Cannot {doing}: {code or type(exc).__name__}: {said}. {advice}")
