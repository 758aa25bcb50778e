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
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import answers


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
        assert answers("127.0.0.1", str(port), 0.3) is expected


def test_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    assert not answers("127.0.0.1", str(port)) and not answers("/nowhere", "5432")
    with listening(lambda connection: connection.sendall(b"N")) as other:
        assert answers("127.0.0.1,127.0.0.1", f"{port},{other}", 0.3)
