# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What S3 and boto3 say, as messages for the user, and whether another attempt may help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectLocked,
    ObjectUnreadable,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    ShortRead,
    consequence,
    silence,
)

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
    "KMS.DisabledException": "The key that it is encrypted with is disabled: enable it there, then run this again. Nothing is lost.",
    "KMS.NotFoundException": "The key that it is encrypted with is gone: restore it there, or use a backup that has another key.",
    "KMS.KMSInvalidStateException": "The key that it is encrypted with waits for its deletion or import: keep it, then run this again.",
    "NotImplemented": "This store does not have what was asked for: leave out sse, object_lock, tags or storage_class.",
    "EntityTooLarge": "Raise repository.part_size: an object has at most 10,000 parts.",
    "QuotaExceeded": "The bucket's or user's quota is used up: raise it, or shorten the retention and prune.",
}
# An object that is locked, in the words of stores that do not say AccessDenied, as Amazon does.
_LOCKED = ("ObjectLocked", "ObjectUnderRetention", "InvalidObjectLockState")
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


def code_of(exc: Exception) -> str:
    """The store's error code; empty where it did not answer."""
    response = getattr(exc, "response", None) or {}
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def status_of(exc: Exception) -> int:
    """The HTTP status of the store's answer; 0 where it did not answer."""
    response = getattr(exc, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0


def explain(doing: str, exc: Exception, options: Mapping[str, Any], description: str) -> HoldfastError:
    """What boto3 raised, as messages for the user."""
    import botocore.exceptions as errors

    if is_silence(exc):
        return RepositoryError(silence(doing))
    response = getattr(exc, "response", {}) or {}
    code, said = code_of(exc), " ".join(str(response.get("Error", {}).get("Message") or exc).split()).rstrip(".")
    headers = {
        name.lower(): value for name, value in response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).items()
    }
    advice = _ADVICE.get(code, "")
    if code in _LOCKED or doing.startswith("delete") and re.search(r"(?i)worm|object.?lock|retention", said):
        return ObjectLocked(f"Cannot {doing}: the object is locked. {said}")
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
        advice = consequence(doing)
    # Others may still be read: archived, encrypted with a key that is gone, or written by another account.
    denied = code == "AccessDenied" and getattr(exc, "operation_name", "") == "GetObject"
    kind = ObjectUnreadable if denied or code == "InvalidObjectState" or code.startswith("KMS.") else RepositoryError
    return kind(f"Cannot {doing}: {code or type(exc).__name__}: {said}. {advice}")


def is_silence(exc: Optional[BaseException]) -> bool:
    """Whether nobody answered in time."""
    return type(exc).__name__ == "ReadTimeoutError"


def transient(exc: Exception) -> bool:
    """Whether another attempt may succeed."""
    import botocore.exceptions as errors
    from urllib3.exceptions import HTTPError

    if is_silence(exc):
        return False
    if isinstance(exc, errors.SSLError) or not isinstance(exc, (errors.BotoCoreError, errors.ClientError)):
        return isinstance(exc, (ShortRead, HTTPError, ConnectionError))
    if isinstance(exc, errors.ClientError):
        return code_of(exc) in _TRANSIENT or status_of(exc) >= 500
    return isinstance(exc, (errors.HTTPClientError, errors.IncompleteReadError, errors.FlexibleChecksumError))
