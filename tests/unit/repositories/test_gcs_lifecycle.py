# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: rules of a bucket that delete behind retention's back, or are told of though they touch nothing of ours (2.34). Members of Google's:
by age, by date, by name, by class, of versions alone, of unfinished uploads, of other prefixes; rules that only change the class.
Found: errors for rules of old versions and of custom times.

Source of the fields: https://cloud.google.com/storage/docs/json_api/v1/buckets#lifecycle
"""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.gcs.lifecycle import judge

DAY = 86400


@pytest.mark.parametrize(
    ("condition", "retention", "level"),
    [
        ({"age": 30}, 60 * DAY, "error"),
        ({"age": 90}, 60 * DAY, None),
        ({"age": 60}, 60 * DAY, None),
        ({"age": 30}, 0, "warning"),
        ({"age": 0}, 0, "error"),
        ({"age": 30, "matchesPrefix": ["ours/"]}, 60 * DAY, "error"),
        ({"age": 30, "matchesPrefix": ["ours/main/"]}, 60 * DAY, "error"),
        ({"age": 30, "matchesPrefix": ["o", "x"]}, 60 * DAY, "error"),
        ({"age": 30, "matchesPrefix": ["other/"]}, 60 * DAY, None),
        ({"age": 30, "matchesSuffix": [".json"]}, 60 * DAY, "warning"),
        ({"age": 30, "matchesSuffix": [".tmp"]}, 60 * DAY, "warning"),
        ({"age": 30, "isLive": False}, 60 * DAY, None),
        ({"age": 30, "isLive": True}, 60 * DAY, "error"),
        ({"daysSinceNoncurrentTime": 3}, 60 * DAY, None),
        ({"noncurrentTimeBefore": "2026-01-01"}, 60 * DAY, None),
        ({"numNewerVersions": 3}, 60 * DAY, None),
        ({"createdBefore": "2030-01-01"}, 60 * DAY, "error"),
        ({"daysSinceCustomTime": 3}, 60 * DAY, None),
        ({"customTimeBefore": "2026-01-01"}, 60 * DAY, None),
        ({"age": 30, "matchesStorageClass": ["ARCHIVE"]}, 60 * DAY, "error"),
    ],
)
def test_what_a_rule_does_to_ours(condition: dict[str, Any], retention: int, level: Optional[str]) -> None:
    found = judge({"action": {"type": "Delete"}, "condition": condition}, "ours/", retention)
    assert [finding.level for finding in found] == ([level] if level else [])


@pytest.mark.parametrize("action", ["AbortIncompleteMultipartUpload"])
def test_what_deletes_no_object(action: str) -> None:
    assert not judge({"action": {"type": action}, "condition": {"age": 1}}, "ours/", 60 * DAY)


@pytest.mark.parametrize("kind", ["ARCHIVE", "COLDLINE"])
def test_another_class_costs_and_loses_nothing(kind: str) -> None:
    """Google's archive class is read at once, as Amazon's Glacier is not."""
    rule = {"action": {"type": "SetStorageClass", "storageClass": kind}, "condition": {"age": 1}}
    assert not judge(rule, "ours/", 60 * DAY)
