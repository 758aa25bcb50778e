# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Azure says, as messages for the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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

# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_ADVICE = {
    "AuthenticationFailed": "Check repository.account_key or sas_token, and this host's clock: signatures are bound to the time.",
    "ContainerNotFound": "Create the container, or let the role holdfast.postgres.setup do so; or check repository.container.",
    "AuthorizationPermissionMismatch": "Grant it: a SAS token needs rwdlc (read, write, delete, list, create) on the container.",
    "AuthorizationFailure": "The account's firewall, or the identity's role, keeps us out: Storage Blob Data Contributor is needed.",
    "InvalidAuthenticationInfo": "Check repository.account_key or sas_token.",
    "AccountIsDisabled": "The storage account is disabled.",
    "BlobArchived": "The blob lies in the archive tier: rehydrate it first, then run this again.",
    "LeaseIdMissing": "Somebody holds a lease on it, which forbids changes: break it (az storage blob lease break), then run this again.",
    "ServerBusy": "The store asks to go slower, again and again: lower repository.concurrency, or set repository.bandwidth_limit.",
}
_LOCKED = ("BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold", "SnapshotsPresent", "LeaseIdMissing")


def code_of(exc: Exception) -> str:
    """The store's error code; empty where it did not answer."""
    code = getattr(exc, "error_code", None)
    return str(getattr(code, "value", code) or "")


def kept(exc: Exception) -> bool:
    """Whether a deletion was refused: the blob is locked, or the credentials may not."""
    return code_of(exc) in _LOCKED or (getattr(exc, "status_code", 0) == 403 and "Permission" in code_of(exc))


def said(exc: Exception) -> str:
    code = code_of(exc) or type(exc).__name__
    message = str(exc).splitlines()[0].rstrip(".") if str(exc) else ""
    # Where a connection fails, the library names the whole address, with the token's signature.
    hidden = re.sub(r"sig=[^&\s)]+", "sig=(hidden)", message)
    return f"{code}: {hidden}"


def explain(doing: str, exc: Exception, options: Mapping[str, Any]) -> HoldfastError:
    """What the library raised, as messages for the user."""
    if is_silence(exc):
        return RepositoryError(silence(doing))
    code = code_of(exc)
    message = str(exc)
    advice = _ADVICE.get(code, "")
    if doing.startswith("delete") and kept(exc):
        return ObjectLocked(f"Cannot {doing}: {said(exc)}. {advice}".rstrip())
    if "failed to authenticate" in message:  # whatever the code: it is not the same everywhere
        advice = _ADVICE["AuthenticationFailed"]
    elif "CERTIFICATE_VERIFY_FAILED" in message:
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
    return kind(f"Cannot {doing}: {said(exc)}. {advice or consequence(doing)}")


def is_silence(exc: Exception) -> bool:
    """Whether nobody answered in time."""
    return type(exc).__name__ == "ServiceResponseTimeoutError" or "Read timed out" in str(exc)


def transient(exc: Exception) -> bool:
    """Whether another attempt may succeed."""
    from azure.core.exceptions import HttpResponseError, ServiceResponseError

    if is_silence(exc):
        return False
    if isinstance(exc, HttpResponseError):
        again = exc.status_code in (408, 429) or (exc.status_code or 0) >= 500
        return again or "md5" in str(exc).lower() or "incomplete" in str(exc).lower()
    # (Where nobody answers at all, ServiceRequestError, the library has tried again already.)
    return isinstance(exc, (ServiceResponseError, ShortRead, ConnectionError))
