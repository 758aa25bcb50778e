# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: what a run refuses and what its plan waits for are two lists. Members: each way to agree by half, for none, one and two databases
that are not empty, and for sessions: what the plan waits for is what the run then takes, and the run without it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.agreed import need_confirm, need_sessions_ended
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions

WANTED = ["shop", "blog", "new"]
ALL = {"force": True, "confirm": ["shop", "blog"]}


def options(looking: bool, given: dict[str, Any]) -> RestoreOptions:
    return RestoreOptions.from_params({"jobs": 1, "confirm": [], **given}, looking)


@pytest.mark.parametrize(
    ("full", "given", "missing"),
    [
        ([], {}, {}),
        (["shop", "blog"], {}, ALL),
        (["shop", "blog"], {"confirm": ["shop", "blog"]}, ALL),  # names without force
        (["shop", "blog"], {"force": True}, {"confirm": ["shop", "blog"]}),
        (["shop", "blog"], {"force": True, "confirm": ["shop"]}, {"confirm": ["shop", "blog"]}),
        (["shop"], ALL, {}),
        ([], {"force": True}, {"confirm": WANTED}),  # refused, whatever there is
        ([], {"force": True, "confirm": ["x"]}, {}),
    ],
)
def test_what_is_not_empty_is_confirmed_by_name(
    full: list[str], given: dict[str, Any], missing: dict[str, Any]
) -> None:
    plan = Consent(looking=True)
    need_confirm(full, WANTED, options(True, given), plan)
    assert plan.missing == missing
    need_confirm(full, WANTED, options(False, {**given, **missing}), Consent())
    if missing:
        with pytest.raises(HoldfastError, match="force|confirm"):
            need_confirm(full, WANTED, options(False, given), Consent())


@pytest.mark.parametrize(
    ("sessions", "given", "missing"),
    [
        ([], {}, {}),
        (["app from local"], {"terminate_sessions": True}, {}),
        (["app from local"], {}, {"terminate_sessions": True}),
    ],
)
def test_sessions_are_ended_when_it_is_agreed(
    sessions: list[str], given: dict[str, Any], missing: dict[str, Any]
) -> None:
    plan = Consent(looking=True)
    need_sessions_ended("shop", sessions, options(True, given), plan)
    assert plan.missing == missing
    if missing:
        with pytest.raises(HoldfastError, match="app from local"):
            need_sessions_ended("shop", sessions, options(False, given), Consent())
