# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bucket's lifecycle rules do to backups. Pure.

Source: https://cloud.google.com/storage/docs/lifecycle
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Finding

#: conditions that hold of former versions alone, or of objects with a time of their own, which none of ours has
_NOT_OURS = ("daysSinceNoncurrentTime", "noncurrentTimeBefore", "daysSinceCustomTime", "customTimeBefore")


def judge(rule: Mapping[str, Any], prefix: str, retention: int) -> Sequence[Finding]:
    """What a rule means for the objects below ``prefix``, which are to stay ``retention`` seconds (0: nobody knows how long). Only rules that
    delete count: each class of Google's is read at once."""
    where = rule.get("condition", {})
    wanted, days = where.get("matchesPrefix") or [""], where.get("age")
    if rule.get("action", {}).get("type") != "Delete" or where.get("isLive") is False or where.get("numNewerVersions"):
        return []
    if any(name in where for name in _NOT_OURS):
        return []
    if not any(prefix.startswith(theirs) or theirs.startswith(prefix) for theirs in wanted):
        return []
    if suffixes := where.get("matchesSuffix"):
        names = " or ".join(map(repr, suffixes))
        return [
            Finding(
                "warning",
                f"a lifecycle rule deletes objects whose names end in {names}: is any of the backups' among them?",
            )
        ]
    if not days or retention > days * 86400:
        when = (
            f"after {days} days, retention wants longer"
            if days
            else "at once"
            if days == 0
            else "by other rules than age"
        )
        return [Finding("error", f"a lifecycle rule of the bucket deletes objects {when}")]
    if retention:
        return []
    return [Finding("warning", f"a lifecycle rule deletes objects after {days} days, whatever retention says")]
