# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buckets of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import Step, Wish
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.store import explain, make_client


def arrange(options: Mapping[str, Any], wish: Wish) -> list[Step]:
    """The steps that make the bucket as wished; none when it is so already.

    Raises:
        BadOption: the wish is for what Google Cloud Storage does not have.
        RepositoryError: the store refuses to tell.
    """
    for name, value in (("default_encryption", wish.encryption), ("object_lock", wish.object_lock)):
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
    rules = _rules(wish)
    now = [dict(rule) for rule in bucket.lifecycle_rules]
    missing = [rule for rule in rules if rule not in now]
    patched = []
    if wish.versioning is not None and bool(bucket.versioning_enabled) != wish.versioning:
        patched.append(f"{'keep' if wish.versioning else 'no longer keep'} versions")
    if missing:
        patched.append(f"{len(missing)} lifecycle rules")
    if wish.block_public_access and bucket.iam_configuration.public_access_prevention != "enforced":
        patched.append("block public access")
    if patched:

        def patch() -> None:
            if wish.versioning is not None:
                bucket.versioning_enabled = wish.versioning
            if missing:
                bucket.lifecycle_rules = [*now, *missing]
            if wish.block_public_access:
                bucket.iam_configuration.public_access_prevention = "enforced"
            bucket.patch()

        steps.append(Step(f"{', '.join(patched)} in {options['bucket']}", patch))
    return steps


def _rules(wish: Wish) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        {"action": {"type": "SetStorageClass", "storageClass": kind}, "condition": {"age": days}}
        for days, kind in wish.transitions
    ]
    if wish.expire_old_versions:
        condition = {"daysSinceNoncurrentTime": wish.expire_old_versions}
        rules.append({"action": {"type": "Delete"}, "condition": condition})
    if wish.abort_uploads:
        rules.append({"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": wish.abort_uploads}})
    return rules
