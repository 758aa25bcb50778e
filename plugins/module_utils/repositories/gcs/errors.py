# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google Cloud Storage says, as messages for the user, and whether another attempt may help."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectLocked,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    ShortRead,
    consequence,
    first_words,
    silence,
)


def explain(doing: str, exc: Exception) -> HoldfastError:
    """What the library raised, as messages for the user."""
    from google.api_core.exceptions import from_http_status

    exc = getattr(exc, "cause", None) or exc  # of a RetryError: what went wrong each time
    if type(exc).__name__ == "InvalidResponse":  # of what goes up in parts, where the library does not put it in words
        answer: Any = getattr(exc, "response", None)
        exc = from_http_status(answer.status_code, first_words(answer.content))
    if is_silence(exc):
        return RepositoryError(silence(doing))
    said, kind = " ".join(str(exc).split()), type(exc).__name__
    advice = {
        "Unauthorized": "Check the credentials, and this host's clock.",
        "Forbidden": "The service account may not do that there: it needs roles/storage.objectAdmin on the bucket.",
        "NotFound": "Create the bucket, or let the role holdfast.postgres.setup do so; or check repository.bucket.",
        "TooManyRequests": "The store asks to go slower: lower repository.concurrency, or set repository.bandwidth_limit.",
        "RefreshError": "The credentials cannot be renewed: is the key still there, and the clock right?",
        "SSLError": "Nobody here trusts the store's certificate: name the CA's file by repository.ca_file.",
        "ConnectionError": "Nothing answers there: check repository.endpoint_url, the network, and the proxy (HTTPS_PROXY).",
    }.get(kind, consequence(doing))
    if kind == "Forbidden" and doing.startswith("delete"):
        return ObjectLocked(f"Cannot {doing}: {said}.")
    return RepositoryError(f"Cannot {doing}: {kind}: {said}. {advice}")


def is_silence(exc: BaseException) -> bool:
    """Whether nobody answered in time."""
    return type(exc).__name__ == "ReadTimeout" or "Read timed out" in str(exc)


def transient(exc: Exception) -> bool:
    """Whether another attempt may succeed."""
    from google.api_core import exceptions
    from requests.exceptions import ConnectionError as Broken, RequestException, SSLError

    if is_silence(exc):
        return False
    if isinstance(exc, (SSLError, exceptions.ClientError)) and not isinstance(exc, exceptions.TooManyRequests):
        return False
    return isinstance(exc, (exceptions.GoogleAPICallError, Broken, RequestException, ShortRead, ConnectionError))
