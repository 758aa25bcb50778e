# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight asks of a bucket: who may read it, and whether it keeps what it should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.network import skew, transport
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.errors import code_of, status_of
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.lifecycle import judge

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


def inspect(client: Any, options: Mapping[str, Any], retention: int) -> list[Finding]:
    found = [transport(str(client.meta.endpoint_url))]
    prefix = f"{options['prefix'].strip('/')}/".lstrip("/")  # all that least privilege may list
    asked = client.list_objects_v2(Bucket=options["bucket"], Prefix=prefix, MaxKeys=1)
    found += skew(asked["ResponseMetadata"]["HTTPHeaders"].get("date"))
    with threads(len(_SETTINGS)) as pool:
        settings = dict(
            zip(_SETTINGS, pool.map(lambda operation: _ask(client, options["bucket"], operation), _SETTINGS))
        )
    return found + _access(settings, options) + _keeping(settings, options, retention)


def _ask(client: Any, bucket: str, operation: str) -> Optional[dict[str, Any]]:
    """A setting of the bucket; empty where it has none, None where we may not ask, or the store knows no such thing."""
    try:
        answer: dict[str, Any] = getattr(client, operation)(Bucket=bucket)
        return answer
    except Exception as exc:
        if code_of(exc).startswith("NoSuch") or code_of(exc).endswith(("NotFound", "NotFoundError")):
            return {}
        if code_of(exc) or status_of(exc):
            return None
        raise


def _access(settings: Settings, options: Mapping[str, Any]) -> list[Finding]:
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
        found.append(Finding("warning", "public access to the bucket is not blocked altogether (public access block)"))
    if acl is not None and not found:
        found.append(Finding("fine", "the bucket is not public"))
    encryption = settings["get_bucket_encryption"]
    if encryption is not None and not encryption and not options.get("sse") and not options.get("sse_customer_key"):
        found.append(
            Finding("warning", "the store does not encrypt the bucket by default: set repository.sse or encryption")
        )
    return found


def _keeping(settings: Settings, options: Mapping[str, Any], retention: int) -> list[Finding]:
    found = []
    versioning = settings["get_bucket_versioning"]
    versioned = bool(versioning and versioning.get("Status") == "Enabled")
    if versioning is not None:
        message = "versions are kept: what is deleted or overwritten can be brought back"
        bare = "versioning is off: who has the keys can delete every backup for good"
        found.append(Finding("fine", message) if versioned else Finding("warning", bare))
    rules = (settings["get_bucket_lifecycle_configuration"] or {}).get("Rules", [])
    if versioned and not any("NoncurrentVersionExpiration" in rule for rule in rules):
        found.append(
            Finding(
                "warning",
                "old versions never expire (no lifecycle rule), so what retention deletes still costs space",
            )
        )
    for rule in rules:
        found += judge(rule, options["prefix"], options.get("tags") or {}, retention)
    lock_for = (
        parse_duration(options["object_lock_for"], "repository.object_lock_for") if options.get("object_lock") else 0
    )
    config = (settings["get_object_lock_configuration"] or {}).get("ObjectLockConfiguration", {})
    if options.get("object_lock") and config.get("ObjectLockEnabled") != "Enabled":
        found.append(
            Finding("error", "repository.object_lock is set, and the bucket has no object lock (made at its creation)")
        )
    if options.get("object_lock") and retention and lock_for < retention:
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
