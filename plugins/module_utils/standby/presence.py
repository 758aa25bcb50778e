# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server still is where it was, asked without logging in."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

# The request for TLS, which a server answers by one byte before it asks who we are.
# Source: https://www.postgresql.org/docs/current/protocol-message-formats.html (SSLRequest)
_REQUEST = struct.pack("!ii", 8, 80877103)


def answers(host: str, port: str, timeout: float = 5.0) -> bool:
    """Whether a PostgreSQL server answers at any of the hosts (as libpq takes them, with commas; a path is a socket's directory).
    One that takes the connection and says nothing hangs, and may wake up: it counts. A proxy with nothing behind it hangs up
    at once: it does not."""
    hosts, ports = host.split(","), port.split(",")
    return any(
        _answers(name.strip(), int(ports[min(number, len(ports) - 1)]), timeout) for number, name in enumerate(hosts)
    )


def _answers(host: str, port: int, timeout: float) -> bool:
    try:
        connection = _connect(host, port, timeout)
    except OSError:
        return False
    with contextlib.closing(connection):
        try:
            connection.sendall(_REQUEST)
            return bool(connection.recv(1))
        except socket.timeout:
            return True
        except OSError:
            return False


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(os.path.join(host, f".s.PGSQL.{port}"))
    except OSError:
        connection.close()
        raise
    return connection
