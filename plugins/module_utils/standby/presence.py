# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server still is where it was, asked without logging in; and where a connection string says that it is."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

# The request for TLS, which a server answers by one byte before it asks who we are.
# Source: https://www.postgresql.org/docs/current/protocol-message-formats.html (SSLRequest)
_REQUEST = struct.pack("!ii", 8, 80877103)
# Where libpq looks for a socket when no host is named, by how it was built.
_SOCKETS = ("/var/run/postgresql", "/tmp")


@dataclass(frozen=True)
class Endpoint:
    """Where a server is reached. ``host``: a name, an address, or the directory of a socket; it is what the user knows.
    ``address``: what is connected to (libpq's hostaddr), None: ``host``."""

    host: str
    port: int
    address: Optional[str] = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def same_as(self, other: Endpoint) -> bool:
        """Whether both lead to one address, as far as names tell."""
        return self.port == other.port and bool(self._addresses() & other._addresses())

    def _addresses(self) -> set[str]:
        target = self.address or self.host
        if target.startswith("/"):
            return {os.path.realpath(target)}
        with contextlib.suppress(OSError):
            return {
                target,
                *(str(found[4][0]) for found in socket.getaddrinfo(target, self.port, type=socket.SOCK_STREAM)),
            }
        return {target}


def endpoints(parts: Mapping[str, Any]) -> list[Endpoint]:
    """Every server that a connection string's parts may lead to, as libpq pairs hosts, addresses and ports. Empty: they do not say
    (a service file does). Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS"""
    if parts.get("service") and not parts.get("host") and not parts.get("hostaddr"):
        return []
    names, addresses = (_listed(parts.get(key)) for key in ("host", "hostaddr"))
    ports = _listed(parts.get("port")) or [""]
    if not names and not addresses:
        names = list(_SOCKETS)
        ports = ports[:1]
    found = []
    for number in range(max(len(names), len(addresses))):
        name = names[number] if number < len(names) else ""
        address = addresses[number] if number < len(addresses) else ""
        port = ports[number] if number < len(ports) else ports[-1]
        found.append(Endpoint(name or address or _SOCKETS[0], int(port or 5432), address or None))
    return found


def _listed(value: Optional[str]) -> list[str]:
    return [part.strip() for part in str(value).split(",")] if value else []


def answers(endpoint: Endpoint, timeout: float = 5.0) -> bool:
    """Whether a PostgreSQL server answers there. One that takes the connection and says nothing hangs, and may wake up: it counts.
    A proxy with nothing behind it hangs up at once: it does not."""
    try:
        connection = _connect(endpoint.address or endpoint.host, endpoint.port, timeout)
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
