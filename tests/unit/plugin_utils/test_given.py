# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: what was written on the command line or in a survey is text, and an empty answer is none.

Members: booleans (``-e x=true``), numbers, dictionaries and lists (also of dictionaries) as text, '' for each of them, a list with nothing but
'' in it. What is wrong is named without what stands in it, where that may be a secret.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import (
    arguments,
    given,
    is_given,
    store_of,
    stores,
    variables_within,
    without_effect,
    wrong,
)
from ansible_collections.holdfast.postgres.plugins.plugin_utils.hosts import confirmed, without_host
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import ROLES, role_options

EMPTY = ("", " ", "\n", None, [""], [None, " "])


@pytest.mark.parametrize("value", EMPTY)
def test_an_empty_answer_is_none(value: Any) -> None:
    assert not is_given(value)
    assert given(value, True) is True and given(value, 5) == 5 and given(value) is None


@pytest.mark.parametrize("value", [False, 0, [], {}, "0", "no", ["a", ""]])
def test_no_zero_and_nothing_are_answers(value: Any) -> None:
    """An empty list is said on purpose (none of them): a survey cannot say it."""
    assert is_given(value)


@pytest.mark.parametrize(
    "value, default, means",
    [
        ("true", False, True), ("no", True, False), ("False", True, False), (1, False, True), (False, True, False),
        ("5", 3, 5), (7, 3, 7), ("x", "y", "x"), ("a, b", [], ["a", "b"]), ('[{"a": 1}]', [], [{"a": 1}]), ("- a\n- b", [], ["a", "b"]),
    ],
)  # fmt: skip
def test_text_is_read_as_what_the_variable_is(value: Any, default: Any, means: Any) -> None:
    assert given(value, default) is means or given(value, default) == means


def test_repositories_are_read_from_text() -> None:
    assert stores("", '{"path": "/b"}') == [{"path": "/b"}]
    assert stores("- {name: a, path: /a}\n- {name: b, path: /b}") == [
        {"name": "a", "path": "/a"},
        {"name": "b", "path": "/b"},
    ]
    assert stores([], {"path": "/b"}) == [{"path": "/b"}]
    assert stores("", "") == [] and stores("{]", "") == []


def test_a_repository_is_chosen_by_name() -> None:
    several = [{"name": "a", "path": "/a", "retention": {"keep_last": 1}}, {"name": "b", "path": "/b"}]
    assert store_of(several) == {"path": "/a"}
    assert store_of(several, "", "b") == {"path": "/b"}
    assert store_of(several, "", "c") is None


def test_arguments_are_as_they_were_meant() -> None:
    """A list of patterns as text named nothing, so that nothing was left out."""
    said = {
        "a": '["x", "y"]',
        "b": "x, y",
        "c": '["p4ss"]',
        "d": ["", ""],
        "e": ["x"],
        "f": "",
        "g": False,
        "h": "- x\n- y",
    }
    assert arguments(said, ("a", "b", "d", "e", "f", "h")) == {
        "a": ["x", "y"], "b": ["x", "y"], "c": '["p4ss"]', "e": ["x"], "g": False, "h": ["x", "y"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "value, names",
    [
        ({"a": 1}, {"a"}), ('{"a": 1, "b": 2}', {"a", "b"}), ("", set()), (None, set()), ("x", set()), (["x", None], set()),
        ([{"name": "n", "variables": {"a": 1}}, {"variables": '{"b": 1}'}, {"variables": None}, {}], {"a", "b"}),
        ('[{"variables": {"a": 1}}]', {"a"}),
    ],
)  # fmt: skip
def test_variables_of_other_runs_are_found(value: Any, names: set[str]) -> None:
    assert variables_within(value) == names


def test_what_is_confirmed_may_be_text() -> None:
    """A text was read letter by letter."""
    assert confirmed('["db1/shop", "db2/x"]', "db1", ["db1", "db2"]) == ["shop"]
    assert confirmed("db1/shop, blog", "db1", ["db1"]) == ["shop", "db1/shop", "blog"]
    assert without_host("v", "shop", ["db1", "db2"])


SPEC: dict[str, dict[str, Any]] = {
    "holdfast_a": {"type": "int", "required": True, "description": ["How many. At once."]},
    "holdfast_b": {"type": "bool"},
    "holdfast_c": {"type": "str", "choices": ["x", "y"]},
    "holdfast_d": {"type": "dict"},
    "holdfast_e": {"type": "str", "no_log": True, "choices": ["x"]},
    "holdfast_f": {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}, "more": {"type": "dict"}}},
}


@pytest.mark.parametrize(
    "values, said",
    [
        ({"holdfast_a": "5", "holdfast_b": "true", "holdfast_d": '{"a": 1}'}, []),
        ({"holdfast_a": 1, "holdfast_b": "", "holdfast_c": "", "holdfast_d": "", "holdfast_e": ""}, []),
        ({}, ["Set holdfast_a: How many."]),
        ({"holdfast_a": ""}, ["Set holdfast_a: How many."]),
        ({"holdfast_a": "many"}, ['holdfast_a is "many", and takes a whole number.']),
        ({"holdfast_a": 1, "holdfast_b": "perhaps"}, ['holdfast_b is "perhaps", and takes true or false.']),
        ({"holdfast_a": 1, "holdfast_c": "z"}, ['holdfast_c is "z", and takes x, y.']),
        ({"holdfast_a": 1, "holdfast_d": '{"key": "hunter2"'}, ["holdfast_d takes a dictionary."]),
        ({"holdfast_a": 1, "holdfast_f": '[{"name": "x", "more": {"a": 1}}]'}, []),
        ({"holdfast_a": 1, "holdfast_f": "- {name: x}"}, []),
        ({"holdfast_a": 1, "holdfast_f": "hunter2"}, ["holdfast_f takes a list of dictionaries."]),
        (
            {"holdfast_a": 1, "holdfast_f": [{"nam": "hunter2"}]},
            ["holdfast_f has nam, which it does not take. It takes more, name."],
        ),
        ({"holdfast_a": 1, "holdfast_f": [{"more": "hunter2"}]}, ["holdfast_f has more, which takes a dictionary."]),
        ({"holdfast_a": 1, "holdfast_e": "hunter2"}, ["holdfast_e is no str."]),
    ],
)
def test_what_is_wrong_is_said_in_words(values: dict[str, Any], said: list[str]) -> None:
    assert wrong(SPEC, values) == said


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_no_variable_of_any_role_refuses_an_empty_answer(role: str) -> None:
    spec = role_options(role)
    for name, option in spec.items():
        for empty in EMPTY:
            problems = wrong(spec, {name: empty})
            assert problems == wrong(spec, {}), (name, empty)
            assert any(problem.startswith(f"Set {name}:") for problem in problems) == bool(option.get("required"))


@pytest.mark.parametrize(
    ("values", "takes", "said"),
    [
        ({"c": 1}, ["c"], []),
        ({"a": 1, "b": "x"}, [], []),
        ({"a": "", "b": None, "c": 1}, ["c"], []),
        ({"a": {}, "b": []}, ["c"], []),
        ({"a": 1}, ["c"], ["a has no effect here: It is so. Leave it out, or empty ('') for this host."]),
        (
            {"b": "x", "a": 1},
            ["c"],
            ["a, b have no effect here: It is so. Leave them out, or empty ('') for this host."],
        ),
    ],
)
def test_what_would_have_no_effect(values: dict[str, Any], takes: list[str], said: list[str]) -> None:
    assert without_effect(values, ["a", "b", "c"], takes, "It is so.") == said
