# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of google-cloud-storage, by the options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.libraries import GCS
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.network import ca_file


def describe(options: Mapping[str, Any]) -> str:
    """What messages call the store."""
    endpoint = options.get("endpoint_url")
    return f"gs://{options['bucket']}" + (f" at {endpoint}" if endpoint else "")


def make_client(options: Mapping[str, Any]) -> Any:
    """A client for the options' credentials.

    Raises:
        BadOption: the credentials' file is no good.
        RepositoryError: the library is missing, or there are no credentials.
    """
    GCS.demand("gcs")
    # Newer libraries ask for the bucket in a thread of their own, for traces that nobody takes: a request that nobody made, which a right
    # to objects alone does not allow, and which goes out after a stop.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    import google.auth.exceptions
    from google.cloud import storage

    endpoint = options.get("endpoint_url")
    given: dict[str, Any] = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
    path = options.get("credentials_file")
    try:
        if path:
            client = storage.Client.from_service_account_json(path, project=options.get("project"), **given)
        elif (endpoint or os.environ.get("STORAGE_EMULATOR_HOST", "")).startswith("http://"):
            # Nobody gives a token to what is not encrypted: an emulator.
            from google.auth.credentials import AnonymousCredentials

            client = storage.Client(
                project=options.get("project") or "none", credentials=AnonymousCredentials(), **given
            )
        else:
            client = storage.Client(project=options.get("project"), **given)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as exc:  # any JSON may be in the file
        reason = getattr(exc, "strerror", None) or f"{type(exc).__name__}: {exc}"
        raise BadOption(
            "repository.credentials_file",
            path,
            f"cannot be used ({reason})",
            "Name a service account's key file (JSON).",
        ) from exc
    except google.auth.exceptions.DefaultCredentialsError as exc:
        raise RepositoryError(
            "There are no credentials for Google Cloud Storage: give repository.credentials_file, or run where there is a "
            f"workload identity. ({' '.join(str(exc).split())})"
        ) from exc
    trusted = ca_file(options)
    if trusted or not options.get("validate_certs", True):
        client._http.verify = trusted or False
    return client
