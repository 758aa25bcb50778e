# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to a server (the API's, a store) that can be closed and opened again, so that it is away for one test alone."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any


class Way:
    """A port on the way to a server. ``server``: its URL; ``address``: where the port is, for pods the lab's own address."""

    def __init__(self, server: str, address: str = "127.0.0.1") -> None:
        self._scheme, _marks, there = server.rpartition("://")
        host, _colon, port = there.partition(":")
        self._to = (host, int(port or 443))
        self._listener = socket.create_server((address, 0))
        self._here = f"{address}:{self._listener.getsockname()[1]}"
        self.open, self.accepted = True, 0
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _address = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if not self.open:
                here.close()
                continue
            there = socket.create_connection(self._to)
            self._pairs += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            for each in (one, other):
                each.close()

    def close(self) -> None:
        """Nobody answers any more, also on connections that are open."""
        self.open = False
        for one in self._pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._listener.close()
        self.close()

    @property
    def url(self) -> str:
        """The server's, by this way."""
        return f"{self._scheme}://{self._here}"

    def config(self, kubeconfig: Path) -> dict[str, Any]:
        """A kubeconfig's content, by this way."""
        import yaml

        config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = self.url
        return config
