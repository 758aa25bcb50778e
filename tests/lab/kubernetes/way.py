# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to the API server that can be closed and opened again, so that it is away for one test alone."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any


class Way:
    """A port on the way to the API server."""

    def __init__(self, server: str) -> None:
        host, _colon, port = server.removeprefix("https://").partition(":")
        self._to = (host, int(port or 443))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
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

    def config(self, kubeconfig: Path) -> dict[str, Any]:
        """A kubeconfig's content, by this way."""
        import yaml

        config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        return config
