# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option retention, checked."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Optional

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.doc_fragments.repository import ModuleDocFragment as fragment
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import RETENTION
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import FLOOR, Policy

# What Ansible hands over for `retention: {}`
OPTIONS = RETENTION["retention"]["options"]
NOTHING_GIVEN: dict[str, Any] = {name: spec.get("default") for name, spec in OPTIONS.items()}


def test_each_rule_is_an_option_and_documented() -> None:
    assert sorted(OPTIONS) == sorted(item.name for item in fields(Policy))
    documented = yaml.safe_load(fragment.RETENTION)["options"]["retention"]["suboptions"]
    assert list(documented) == list(OPTIONS)
    for name, spec in OPTIONS.items():
        assert {key: value for key, value in documented[name].items() if key != "description"} == spec, name


@pytest.mark.parametrize("option", [None, {}, NOTHING_GIVEN, {"keep_last": 0, "keep_yearly": 0}, {"pins": ["a"]}])
def test_no_rule(option: Optional[dict[str, Any]]) -> None:
    policy = Policy.from_option(option)
    assert not policy.buckets and not policy.limits
    assert policy.min_keep == 1


def test_durations_become_seconds() -> None:
    assert Policy.from_option({"keep_within": "30d"}) == Policy(keep_within=2592000)
    assert Policy.from_option({"max_age": "6m", "count": 9}) == Policy(max_age=15552000, count=9)


def test_zero_turns_a_rule_off() -> None:
    assert Policy.from_option({"keep_last": 0, "keep_daily": 7}) == Policy(keep_daily=7, keep_within=FLOOR)
    assert Policy.from_option({"keep_last": 0, "count": 7}) == Policy(count=7)


@pytest.mark.parametrize(
    ("option", "named", "words"),
    [
        ({"keep_last": 1, "count": 2}, "retention", "['count', 'keep_last'] mixes keep_*"),
        ({"keep_within": "1d", "max_age": "1d"}, "retention", "Use one of the two kinds"),
        ({"keep_last": -1}, "retention.keep_last", "-1 is not a number of backups. Use 0 or more"),
        ({"keep_yearly": -5}, "retention.keep_yearly", "-5"),
        ({"min_keep": -1}, "retention.min_keep", "Use 0 or more"),
        ({"count": 0}, "retention.count", "Use 1 or more, or leave it out"),
        ({"keep_within": "soon"}, "retention.keep_within", "'soon' is not a duration"),
        ({"keep_within": "0d"}, "retention.keep_within", "above zero"),
        ({"max_age": "3"}, "retention.max_age", "30d"),
    ],
)
def test_bad_policies_name_the_option(option: dict[str, Any], named: str, words: str) -> None:
    with pytest.raises(BadOption) as caught:
        Policy.from_option({**NOTHING_GIVEN, **option})
    assert caught.value.option == named
    assert words in str(caught.value)
