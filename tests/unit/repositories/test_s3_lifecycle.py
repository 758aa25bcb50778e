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


def test_what_is_not_asked_for_stays() -> None:
    """``versioning`` alone took our own rules away, against the documentation (2.34)."""
    nothing = BucketRequest(True, None, None, False, (), None, None)
    there = lifecycle.rules("p", BucketRequest(None, None, None, False, ((30, "STANDARD_IA"),), 7, 3))
    assert lifecycle.plain(lifecycle.rules("p", nothing, there)) == lifecycle.plain(there)
    changed = lifecycle.rules("p", BucketRequest(None, None, None, False, (), 9, None), there)
    assert changed[0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 9}
    assert changed[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3} and changed[1] == there[1]
    assert lifecycle.rules("p", nothing) == []


MONTH = 30 * 86400


@pytest.mark.parametrize(
    ("rule", "retention", "said"),
    [
        ({"Expiration": {"Days": 7}}, MONTH, ["error"]),
        ({"Expiration": {"Days": 60}}, MONTH, []),
        ({"Expiration": {"Days": 60}}, 0, ["warning"]),
        ({"Expiration": {"Date": "2027-01-01T00:00:00Z"}}, MONTH, ["error"]),
        ({"Expiration": {"Days": 7}, "Status": "Disabled"}, MONTH, []),
        ({"Expiration": {"ExpiredObjectDeleteMarker": True}}, MONTH, []),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, MONTH, ["error"]),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, 0, ["warning"]),
        ({"Transitions": [{"Days": 60, "StorageClass": "GLACIER"}]}, MONTH, []),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER_IR"}]}, MONTH, []),
        (
            {
                "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}],
                "Filter": {"And": {"Prefix": "ours/", "ObjectSizeGreaterThan": 1048576}},
            },
            MONTH,
            ["warning"],
        ),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}, MONTH, ["warning"]),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}, MONTH, []),
        ({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, MONTH, ["warning"]),
        # what does not touch ours
        ({"Expiration": {"Days": 1}, "Filter": {"Prefix": "logs/"}}, MONTH, []),
        ({"Expiration": {"Days": 1}, "Filter": {"Prefix": "ours2/"}}, MONTH, []),
        ({"Expiration": {"Days": 1}, "Filter": {"Prefix": "ours/tmp/"}}, MONTH, ["warning"]),
        ({"Expiration": {"Days": 1}, "Filter": {"Prefix": "ou"}}, MONTH, ["error"]),
        ({"Expiration": {"Days": 1}, "Filter": {"Tag": {"Key": "temp", "Value": "yes"}}}, MONTH, []),
        ({"Expiration": {"Days": 1}, "Filter": {"Tag": {"Key": "team", "Value": "db"}}}, MONTH, ["error"]),
        (
            {"Expiration": {"Days": 1}, "Filter": {"And": {"Tags": [{"Key": "team", "Value": "db"}, {"Key": "a", "Value": "b"}]}}},
            MONTH,
            [],
        ),
        ({"Expiration": {"Days": 1}, "Prefix": "ours/"}, MONTH, ["error"]),
    ],
)  # fmt: skip
def test_what_a_rule_does_to_backups(rule: dict[str, object], retention: int, said: list[str]) -> None:
    """Members: expiry by age and by date, archive classes at once, old versions, uploads; rules for others by prefix and tags."""
    found = lifecycle.judge({"ID": "theirs", "Status": "Enabled", **rule}, "ours", {"team": "db"}, retention)
    assert [finding.level for finding in found] == said
    assert all("theirs" in finding.message for finding in found)
