# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of Azure Blob Storage, and SAS tokens for them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.client import (
    account_of,
    has_key,
    make_client,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.errors import explain
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest, Step

DELEGATED = 7 * 86400  # seconds that what an identity signs is valid at most


def arrange(options: Mapping[str, Any], request: BucketRequest) -> list[Step]:
    """The steps that make the container as wished; none when it is so already.

    Raises:
        BadOption: the request is for what belongs to the storage account, which the blob service does not set.
        RepositoryError: the store refuses to tell.
    """
    for name, value in (
        ("versioning", request.versioning),
        ("default_encryption", request.encryption),
        ("transitions", request.transitions),
        ("expire_old_versions", request.expire_old_versions),
        ("object_lock", request.object_lock),
    ):
        if value:
            raise BadOption(
                name, value, "belongs to Azure's storage account, not to the container",
                "Set it with azure.azcollection, Terraform or az (storage account management-policy); storage_class writes the "
                "backups into a tier at once.",
            )  # fmt: skip
    client = make_client(options, 1)
    try:
        exists = client.exists()
        public = exists and request.block_public_access and client.get_container_properties().public_access
    except Exception as exc:
        raise explain("look at the container", exc, options) from exc
    steps = [] if exists else [Step(f"make the container {options['container']}", client.create_container)]
    if public:
        message = f"block public access to {options['container']}"
        steps.append(
            Step(message, lambda: client.set_container_access_policy(signed_identifiers={}, public_access=None))
        )
    return steps


def check_validity(options: Mapping[str, Any], valid_for: str, seconds: int) -> None:
    """Whether a token can be signed for so long: by an identity it cannot.

    Source: https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key

    Raises:
        BadOption: it cannot.
    """
    if seconds > DELEGATED and not has_key(options):
        raise BadOption(
            "valid_for",
            valid_for,
            "is longer than Azure lets an identity sign a token for, which is seven days",
            "Use valid_for: 7d with renew_before: 3d, and run it daily; or sign with the account's key (repository.account_key).",
        )


def make_sas(options: Mapping[str, Any], permissions: str, start: datetime.datetime, end: datetime.datetime) -> str:
    """A SAS token of the container, signed with the account's key, or with one that the identity may ask for.

    Raises:
        BadOption: letters that are no permissions.
        RepositoryError: the library is missing, or the store refuses.
    """
    client = make_client(options, 1)
    from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

    try:
        wanted = ContainerSasPermissions.from_string(permissions)
    except ValueError as exc:
        raise BadOption("permissions", permissions, f"cannot be used ({exc})", "Use letters of rwdlc.") from exc
    signer: dict[str, Any] = {"account_key": getattr(client.credential, "account_key", None)}
    if not signer["account_key"]:
        try:
            start = max(start, end - datetime.timedelta(seconds=DELEGATED))
            service = BlobServiceClient(client.url.rpartition("/")[0], credential=client.credential)
            signer = {"user_delegation_key": service.get_user_delegation_key(start, end)}
        except Exception as exc:
            raise explain("ask for a delegation key of", exc, options) from exc
    token: str = generate_container_sas(
        account_of(options) or client.account_name,
        options["container"],
        permission=wanted,
        start=start,
        expiry=end,
        # Azurite is an address, not a name: there the protocol is the user's own choice.
        protocol="https" if client.url.startswith("https") else "https,http",
        **signer,
    )
    return token
