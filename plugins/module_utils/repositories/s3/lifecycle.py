# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifecycle rules of S3, as its API writes them. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3.inspect import prefix_of

# Objects up to this many bytes stay in the class that they were written into: manifests, instructions and the index are
# read again and again, and there is nothing to be saved with small ones.
SMALL = 1024 * 1024

Rule = dict[str, Any]


def names(prefix: str) -> tuple[str, str]:
    """The ids of our rules for a prefix: what goes, and what moves."""
    where = prefix.strip("/") or "all"
    return f"holdfast-{where}", f"holdfast_classes-{where}"


def rules(prefix: str, request: BucketRequest) -> list[Rule]:
    """Our rules for a prefix; none where nothing is wished."""
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    going, moving = names(prefix)
    goes: Rule = {}
    if request.expire_old_versions:
        goes["NoncurrentVersionExpiration"] = {"NoncurrentDays": request.expire_old_versions}
    if request.abort_uploads:
        goes["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": request.abort_uploads}
    made = [{"ID": going, "Filter": {"Prefix": below}, "Status": "Enabled", **goes}] if goes else []
    if request.transitions:
        size = {"ObjectSizeGreaterThan": SMALL}
        made.append(
            {
                "ID": moving,
                "Filter": {"And": {"Prefix": below, **size}} if below else size,
                "Status": "Enabled",
                "Transitions": [{"Days": days, "StorageClass": kind} for days, kind in request.transitions],
            }
        )
    return made


def sized(rule: Mapping[str, Any]) -> bool:
    """Whether a rule leaves small objects alone."""
    where = rule.get("Filter") or {}
    return "ObjectSizeGreaterThan" in {**where, **where.get("And", {})}


def unsized(rule: Mapping[str, Any]) -> Rule:
    """The rule for stores that know no sizes: all objects move."""
    return {**rule, "Filter": {"Prefix": prefix_of(rule)}} if sized(rule) else dict(rule)


def plain(found: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Rules as they can be compared: stores answer with more than they were given, and some forget sizes."""
    kept = ("ID", "Status", "Transitions", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
    shown = [{**{key: rule[key] for key in kept if rule.get(key)}, "prefix": prefix_of(rule)} for rule in found]
    return sorted(shown, key=lambda rule: str(rule["ID"]))


def words(request: BucketRequest) -> list[str]:
    """What the rules do."""
    said = [f"to {kind} after {days} days" for days, kind in request.transitions]
    said += [f"old versions expire after {request.expire_old_versions} days"] if request.expire_old_versions else []
    return said + (
        [f"uploads that nobody finished are dropped after {request.abort_uploads} days"]
        if request.abort_uploads
        else []
    )
