# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifecycle rules of S3, as its API writes them. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest

# Objects up to this many bytes stay in the class that they were written into: manifests, instructions and the index are
# read again and again, and there is nothing to be saved with small ones.
SMALL = 1024 * 1024

Rule = dict[str, Any]


def prefix_of(rule: Mapping[str, Any]) -> str:
    """What a lifecycle rule concerns: the keys that begin so."""
    where = rule.get("Filter") or {}
    found: str = where.get("Prefix") or where.get("And", {}).get("Prefix") or rule.get("Prefix") or ""
    return found


def names(prefix: str) -> tuple[str, str]:
    """The ids of our rules for a prefix: what goes, and what moves."""
    where = prefix.strip("/") or "all"
    return f"holdfast-{where}", f"holdfast_classes-{where}"


def rules(prefix: str, request: BucketRequest, there: Sequence[Mapping[str, Any]] = ()) -> list[Rule]:
    """Our rules for a prefix. What is not asked for stays as it is in the rules that are ``there``."""
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    going, moving = names(prefix)
    known = {str(rule.get("ID")): rule for rule in there}
    before = known.get(going, {})
    goes: Rule = {
        name: before[name]
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
        if name in before
    }
    if request.expire_old_versions:
        goes["NoncurrentVersionExpiration"] = {"NoncurrentDays": request.expire_old_versions}
    if request.abort_uploads:
        goes["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": request.abort_uploads}
    made: list[Rule] = [{"ID": going, "Filter": {"Prefix": below}, "Status": "Enabled", **goes}] if goes else []
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
    elif moving in known:
        made.append(dict(known[moving]))
    return made


# Classes whose objects cannot be read before somebody has them restored.
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_DAY = 86400


def judge(rule: Mapping[str, Any], prefix: str, tags: Mapping[str, str], retention: int) -> list[Finding]:
    """What a rule of a bucket does to backups below ``prefix`` whose objects have these tags. ``retention`` is seconds; 0: unknown."""
    ours = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    theirs = prefix_of(rule)
    if rule.get("Status") != "Enabled" or not (ours.startswith(theirs) or theirs.startswith(ours)):
        return []
    where = rule.get("Filter") or {}
    wanted = [*([where["Tag"]] if "Tag" in where else []), *where.get("And", {}).get("Tags", ())]
    if any(str(tags.get(tag.get("Key"))) != tag.get("Value") for tag in wanted):
        return []
    name = f"the lifecycle rule {rule.get('ID')!r}"
    # One for a folder below ours concerns the server of that name alone, if there is one.
    bad = "error" if ours.startswith(theirs) else "warning"
    if bad == "warning":
        name += f", which is for what begins with {theirs!r},"
    found, going = [], rule.get("Expiration") or {}
    if going.get("Date"):
        found.append(Finding(bad, f"{name} deletes everything from {str(going['Date'])[:10]} on"))
    if days := going.get("Days"):
        if retention > days * _DAY:
            found.append(Finding(bad, f"{name} deletes objects after {days} days, retention wants longer"))
        elif not retention:
            found.append(Finding("warning", f"{name} deletes objects after {days} days, whatever retention says"))
    for move in (*rule.get("Transitions", ()), *([rule["Transition"]] if "Transition" in rule else [])):
        kind, after = move.get("StorageClass"), move.get("Days", 0)
        if kind in _ARCHIVES and not (retention and retention <= after * _DAY):
            what = f"{name} moves objects to {kind} after {after} days, where they cannot be read before they are restored there"
            small = "" if sized(rule) else "; manifests too, so that such backups are not even listed"
            found.append(Finding("warning" if sized(rule) or not retention else bad, what + small))
    kept = (rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays")
    if kept and kept < 7:
        found.append(Finding("warning", f"{name} keeps what was deleted or overwritten for {kept} days only"))
    upload = (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation")
    if upload == 1:
        found.append(
            Finding("warning", f"{name} drops uploads after a day: a backup that takes longer fails at its end")
        )
    return found


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


def describe(request: BucketRequest) -> list[str]:
    """What the rules do."""
    said = [f"to {kind} after {days} days" for days, kind in request.transitions]
    said += [f"old versions expire after {request.expire_old_versions} days"] if request.expire_old_versions else []
    return said + (
        [f"uploads that nobody finished are dropped after {request.abort_uploads} days"]
        if request.abort_uploads
        else []
    )
