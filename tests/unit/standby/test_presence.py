# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server answers, where something listens that does, or does not, or only seems to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import (
    Endpoint,
    answers,
    endpoints,
)


@contextmanager
def listening(reply: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where one connection is taken, and replied to."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            connection, _peer = server.accept()
            with closing(connection):
                connection.recv(8)
                reply(connection)

        worker = threading.Thread(target=serve, daemon=True)
        worker.start()
        yield server.getsockname()[1]
        worker.join(5)


@pytest.mark.parametrize(
    ("reply", "expected"),
    (
        (lambda connection: connection.sendall(b"N"), True),
        (lambda connection: connection.sendall(b"S"), True),
        (lambda connection: None, False),
        (lambda connection: connection.recv(1), True),  # silent until we go
    ),
    ids=("plain", "tls", "hangs up", "hangs"),
)
def test_somebody_listens(reply: Callable[[socket.socket], None], expected: bool) -> None:
    with listening(reply) as port:
        assert answers(Endpoint("127.0.0.1", port), 0.3) is expected


def test_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    assert not answers(Endpoint("127.0.0.1", port)) and not answers(Endpoint("/nowhere", 5432))


@pytest.mark.parametrize(
    ("parts", "expected"),
    (
        ({"host": "a"}, ["a:5432"]),
        ({"host": "a,b", "port": "5433"}, ["a:5433", "b:5433"]),
        ({"host": "a,b", "port": "1,2"}, ["a:1", "b:2"]),
        ({"hostaddr": "127.0.0.1", "port": "7"}, ["127.0.0.1:7"]),
        ({"host": "a", "hostaddr": "127.0.0.1"}, ["a:5432"]),
        ({"host": "/run/x"}, ["/run/x:5432"]),
        ({"user": "u"}, ["/var/run/postgresql:5432", "/tmp:5432"]),  # libpq's own
        ({"service": "s"}, []),  # the file says it
    ),
)
def test_where_a_connection_string_leads(parts: dict[str, str], expected: list[str]) -> None:
    assert [str(endpoint) for endpoint in endpoints(parts)] == expected


def test_two_names_of_one_address() -> None:
    assert Endpoint("localhost", 5).same_as(Endpoint("127.0.0.1", 5))
    assert Endpoint("db1", 5, "127.0.0.1").same_as(Endpoint("127.0.0.1", 5))
    assert not Endpoint("127.0.0.1", 5).same_as(Endpoint("127.0.0.1", 6))
    assert not Endpoint("127.0.0.1", 5).same_as(Endpoint("127.0.0.2", 5))
