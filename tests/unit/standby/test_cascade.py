# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a cascade leads to, as each of its servers tells."""

from __future__ import annotations

from typing import Any, Optional

import psycopg2
import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby import cascade
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint


class Server:
    """What it would answer. ``follows``: its receiver's sender; ``conninfo``: its setting."""

    def __init__(
        self, follows: Optional[tuple[str, int]] = None, conninfo: Optional[str] = "", primary: bool = False
    ) -> None:
        self.follows, self.conninfo, self.in_recovery = follows, conninfo, not primary

    def close(self) -> None:
        pass


def rows(server: Server, sql: str) -> list[dict[str, Any]]:
    return [{"status": "streaming", "host": server.follows[0], "port": server.follows[1]}] if server.follows else []


@pytest.mark.parametrize(
    ("servers", "living", "above", "doubts"),
    [
        ({"10.0.0.1:1": Server(primary=True)}, [], [], []),
        ({"10.0.0.1:1": Server(("10.0.0.2", 2)), "10.0.0.2:2": Server(primary=True)}, [], ["10.0.0.2:2"], []),
        # three of them, and in a circle
        (
            {"10.0.0.1:1": Server(("10.0.0.2", 2)), "10.0.0.2:2": Server(("10.0.0.3", 3)), "10.0.0.3:3": Server(("10.0.0.1", 1))},
            [], ["10.0.0.2:2", "10.0.0.3:3"], [],
        ),
        # by its setting alone: it answers, or does not
        ({"10.0.0.1:1": Server(conninfo="host=10.0.0.2 port=2"), "10.0.0.2:2": Server(primary=True)}, ["10.0.0.2:2"], ["10.0.0.2:2"], []),
        ({"10.0.0.1:1": Server(conninfo="host=10.0.0.2 port=2")}, [], [], ["does not answer from here"]),
        ({"10.0.0.1:1": Server(conninfo="host=10.0.0.2,10.0.0.3 port=2"), "10.0.0.3:2": Server(primary=True)}, ["10.0.0.3:2"], ["10.0.0.3:2"],
         ["10.0.0.2:2, which"]),
        # what it calls itself is that host here
        ({"10.0.0.1:1": Server(("127.0.0.1", 7)), "10.0.0.1:7": Server(primary=True)}, [], ["10.0.0.1:7"], []),
        ({"10.0.0.1:1": Server(("/var/run/postgresql", 7)), "10.0.0.1:7": Server(primary=True)}, [], ["10.0.0.1:7"], []),
        # nobody can tell
        ({"10.0.0.1:1": Server(conninfo=None)}, [], [], ["does not tell whom it follows"]),
        ({}, [], [], ["cannot be asked"]),
    ],
)  # fmt: skip
def test_who_is_behind(
    monkeypatch: pytest.MonkeyPatch, servers: dict[str, Server], living: list[str], above: list[str], doubts: list[str]
) -> None:
    def connect(endpoint: Endpoint) -> Any:
        if str(endpoint) not in servers:
            raise psycopg2.OperationalError("refused")
        return servers[str(endpoint)]

    monkeypatch.setattr(cascade.facts, "identify", lambda server: server)
    monkeypatch.setattr(cascade.facts, "rows", rows)
    monkeypatch.setattr(cascade.facts, "setting", lambda server, name: server.conninfo)
    monkeypatch.setattr(cascade, "answers", lambda endpoint: str(endpoint) in living)
    found = cascade.look_behind([Endpoint("10.0.0.1", 1)], connect)
    assert [str(item.endpoint) for item in found.above] == above
    assert len(found.doubts) == len(doubts) and all(part in said for part, said in zip(doubts, found.doubts)), (
        found.doubts
    )
