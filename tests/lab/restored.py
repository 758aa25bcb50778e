# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that a restore has made beside another one: started and stopped here, and spoken to like any other."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .servers import Server, free_port


class Restored(Server):
    """The server of a data directory whose programs, password and operating system's user are another one's.

    It is there before the restore (its `port` and `data` are what the restore is told), and stopped and deleted at the
    end of a `with`, with the directories in `besides`.
    """

    def __init__(self, original: Server, name: str, besides: Sequence[Path] = ()) -> None:
        self._user = original._user
        self.installation = original.installation
        self.directory = original.directory
        self.data = original.directory / name
        self.log = original.directory / f"{name}.log"
        self.host, self.port, self.password = original.host, free_port(), original.password
        self.besides = tuple(besides)

    @property
    def settings(self) -> dict[str, str]:
        """What lets it stand beside the original."""
        return {"port": str(self.port)}

    def remove(self) -> None:
        if self.pid is not None:
            self.stop("immediate")
        for path in (self.data, *self.besides):
            shutil.rmtree(path, ignore_errors=True)
