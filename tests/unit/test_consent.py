# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a plan that nobody can see before they have agreed to it. Members: one thing to agree to, several, none; in check mode and without."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError


@pytest.mark.parametrize(
    ("needs", "missing", "said"),
    [
        ([], {}, ""),
        ([{"force": True}], {"force": True}, "force: true"),
        (
            [{"force": True, "confirm": ["shop"]}, {"terminate_sessions": True}, {"confirm": ["blog", "shop"]}],
            {"force": True, "confirm": ["shop", "blog"], "terminate_sessions": True},
            "force: true, confirm: [shop, blog], terminate_sessions: true",
        ),
    ],
)
def test_what_is_missing(needs: list[dict[str, Any]], missing: dict[str, Any], said: str) -> None:
    plan = Consent(looking=True)
    for need in needs:
        plan.need(ServerError("no"), **need)
    assert plan.missing == missing
    assert plan.steps() == ([f"do all this only when it is agreed to: {said}"] if said else [])


def test_a_run_is_refused() -> None:
    run = Consent()
    with pytest.raises(ServerError, match="protects it"):
        run.need(ServerError("protects it"), force=True)
    assert run.missing == {}


def test_all_that_is_missing_is_asked_for_at_once() -> None:
    needs = [
        (BadOption("directory", "/a", "is not empty", "Set force."), {"force": True}),
        (ServerError("It runs."), {"stop": True}),
    ]
    with pytest.raises(BadOption, match="is not empty.*Besides: It runs"):
        Consent().need_all(needs)
    plan = Consent(looking=True)
    plan.need_all(needs)
    assert plan.missing == {"force": True, "stop": True}
    Consent().need_all([])
