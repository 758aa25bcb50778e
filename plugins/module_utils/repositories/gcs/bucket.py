# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buckets of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest, Step
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.client import make_client
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.errors import explain


def arrange(options: Mapping[str, Any], request: BucketRequest) -> list[Step]:
    """The steps that make the bucket as wished; none when it is so already.

    Raises:
        BadOption: the request is for what Google Cloud Storage does not have.
        RepositoryError: the store refuses to tell.
    """
    for name, value in (("default_encryption", request.encryption), ("object_lock", request.object_lock)):
        if value:
            raise BadOption(
                name,
                value,
                "is not a setting of buckets of type gcs",
                "Google always encrypts; see retention policies.",
            )
    client = make_client(options)
    try:
        bucket = client.lookup_bucket(options["bucket"])
    except Exception as exc:
        raise explain("look at the bucket", exc) from exc
    steps = []
    if bucket is None:
        bucket = client.bucket(options["bucket"])
        bucket.storage_class = options.get("storage_class") or "STANDARD"
        steps.append(
            Step(f"make the bucket {options['bucket']}", lambda: bucket.create(location=options.get("region") or "US"))
        )
    rules = _rules(request)
    now = [dict(rule) for rule in bucket.lifecycle_rules]
    missing = [rule for rule in rules if rule not in now]
    patched = []
    if request.versioning is not None and bool(bucket.versioning_enabled) != request.versioning:
        patched.append(f"{'keep' if request.versioning else 'no longer keep'} versions")
    if missing:
        patched.append(f"{len(missing)} lifecycle rules")
    if request.block_public_access and bucket.iam_configuration.public_access_prevention != "enforced":
        patched.append("block public access")
    if patched:

        def patch() -> None:
            if request.versioning is not None:
                bucket.versioning_enabled = request.versioning
            if missing:
                bucket.lifecycle_rules = [*now, *missing]
            if request.block_public_access:
                bucket.iam_configuration.public_access_prevention = "enforced"
            bucket.patch()

        steps.append(Step(f"{', '.join(patched)} in {options['bucket']}", patch))
    return steps


def _rules(request: BucketRequest) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        {"action": {"type": "SetStorageClass", "storageClass": kind}, "condition": {"age": days}}
        for days, kind in request.transitions
    ]
    if request.expire_old_versions:
        condition = {"daysSinceNoncurrentTime": request.expire_old_versions}
        rules.append({"action": {"type": "Delete"}, "condition": condition})
    if request.abort_uploads:
        rules.append(
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": request.abort_uploads}}
        )
    return rules
