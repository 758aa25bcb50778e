# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3 import lifecycle

NOTHING = BucketRequest(None, None, None, False, (), None, None)
ALL = BucketRequest(None, None, None, False, ((30, "STANDARD_IA"), (90, "GLACIER")), 7, 3)
GOES = {
    "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
}
MOVES = {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}]}
SIZE = {"ObjectSizeGreaterThan": 1024 * 1024}


@pytest.mark.parametrize(
    ("prefix", "wanted", "expected"),
    [
        ("", NOTHING, []),
        (
            "/one/two/",
            ALL,
            [
                {"ID": "holdfast-one/two", "Filter": {"Prefix": "one/two/"}, "Status": "Enabled", **GOES},
                {
                    "ID": "holdfast_classes-one/two",
                    "Filter": {"And": {"Prefix": "one/two/", **SIZE}},
                    "Status": "Enabled",
                    **MOVES,
                },
            ],
        ),
        (
            "",
            ALL,
            [
                {"ID": "holdfast-all", "Filter": {"Prefix": ""}, "Status": "Enabled", **GOES},
                {"ID": "holdfast_classes-all", "Filter": SIZE, "Status": "Enabled", **MOVES},
            ],
        ),
    ],
)
def test_rules(prefix: str, wanted: BucketRequest, expected: list[dict[str, Any]]) -> None:
    assert lifecycle.rules(prefix, wanted) == expected
    assert [rule["ID"] for rule in expected] in ([], list(lifecycle.names(prefix)))


@pytest.mark.parametrize("prefix", ["", "one/two"])
def test_a_store_that_forgets_sizes_has_the_same_rules(prefix: str) -> None:
    wanted = lifecycle.rules(prefix, ALL)
    stored = [{**lifecycle.unsized(rule), "More": "of the store's"} for rule in reversed(wanted)]
    assert [lifecycle.sized(rule) for rule in wanted] == [False, True]
    assert not any(lifecycle.sized(rule) for rule in stored)
    assert lifecycle.plain(stored) == lifecycle.plain(wanted)
    assert lifecycle.plain(stored) != lifecycle.plain(lifecycle.rules("another", ALL))
    assert lifecycle.unsized(wanted[0]) == wanted[0]
