# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run in a cluster reaches a server: what was found, and what was said instead.

The kind: a password of one role is sent for another, or a default port to a Service that has another one.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.cluster_login import cluster_login

FOUND: dict[str, Any] = {
    "services": [{"name": "db", "host": "db.shop.svc", "ports": [5432]}, {"name": "db-hl", "host": "db-hl.shop.svc"}],
    "password": {"secret": "db", "key": "postgres-password", "variable": "POSTGRES_PASSWORD", "user": "postgres"},
    "not_read": [],
}
SECRET = {"variable": "holdfast_login_password", "secret": "db", "key": "postgres-password"}


def test_what_was_found() -> None:
    """Empty answers are not given."""
    login = cluster_login(FOUND, {"holdfast_login_host": "", "holdfast_login_user": None}, {})
    assert login == {
        "variables": {"holdfast_login_host": "db.shop.svc", "holdfast_login_user": "postgres"},
        "variables_from": [SECRET],
        "problems": [],
    }


@pytest.mark.parametrize(
    ("ports", "said", "port"),
    [([6432], {}, 6432), ([6432, 5432], {}, None), ([6432], {"holdfast_login_port": 7}, 7), (None, {}, None)],
)
def test_the_port_is_the_services(ports: Any, said: dict[str, Any], port: Any) -> None:
    found = {**FOUND, "services": [{**FOUND["services"][0], "ports": ports}]}
    assert cluster_login(found, said, {})["variables"].get("holdfast_login_port") == port
    named = cluster_login(found, {**said, "holdfast_login_host": "elsewhere"}, {})["variables"]
    assert named.get("holdfast_login_port") == said.get("holdfast_login_port")


@pytest.mark.parametrize(
    ("said", "pod", "from_secrets"),
    [
        ({"holdfast_login_user": "postgres"}, {}, [SECRET]),
        ({"holdfast_login_password": "x"}, {}, []),
        ({"holdfast_connect_params": '{"passfile": "/run/pass"}'}, {}, []),
        (
            {"holdfast_login_user": "backup"},
            {"variables_from": [{**SECRET, "secret": "own"}]},
            [{**SECRET, "secret": "own"}],
        ),
    ],
)
def test_whose_password_it_is(said: dict[str, Any], pod: dict[str, Any], from_secrets: list[Any]) -> None:
    login = cluster_login(FOUND, said, pod)
    assert login["variables_from"] == from_secrets and not login["problems"]


@pytest.mark.parametrize(
    ("found", "said", "words"),
    [
        ({"services": None, "not_read": [{"what": "services"}]}, {}, ["No Service", "may not be read here: services"]),
        ({"services": []}, {}, ["holdfast_login_host"]),
        ({"password": None}, {}, ["holdfast_login_user", "variables_from"]),
        ({"password": {**FOUND["password"], "user": None}}, {}, ["holdfast_login_user"]),
        ({}, {"holdfast_login_user": "backup"}, ["The password of backup"]),
    ],
)
def test_what_nobody_tells_is_asked_for(found: dict[str, Any], said: dict[str, Any], words: list[str]) -> None:
    problems = " ".join(cluster_login({**FOUND, **found}, said, {})["problems"])
    assert all(word in problems for word in words), problems
