# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, as a small file that is replaced twice a second: ``tail`` it, or let the action plugin show it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Optional


class Progress:
    """What a run is doing. ``path`` None: nobody looks.

    The file holds one JSON object: ``pid``, ``activity``, ``bytes`` and ``total`` (before compression; None:
    unknown), ``stored`` (bytes in the repository), ``seconds`` since the activity began, ``done``.
    """

    def __init__(self, path: Optional[str]) -> None:
        self._path = path
        self._activity, self._began, self._told = "starting", time.monotonic(), 0.0
        self._total: Optional[int] = None

    def step(self, activity: str, total: Optional[int] = None) -> None:
        """Something new begins; ``total`` bytes are expected."""
        self._activity, self._total, self._began, self._told = activity, total, time.monotonic(), 0.0
        self.tell(0, None)

    def tell(self, done: Optional[int], stored: Optional[int]) -> None:
        """So many bytes are done, and so many stored."""
        if time.monotonic() - self._told >= 0.4:
            self._told = time.monotonic()
            self._write(done, stored, False)

    def finish(self) -> None:
        """The run has ended, one way or another."""
        self._write(None, None, True)

    def _write(self, done: Optional[int], stored: Optional[int], finished: bool) -> None:
        if not self._path:
            return
        state = {
            "pid": os.getpid(),
            "activity": self._activity,
            "bytes": done,
            "total": self._total,
            "stored": stored,
            "seconds": round(time.monotonic() - self._began, 1),
            "done": finished,
        }
        # Progress is a courtesy: a full disk there must not fail a backup.
        with contextlib.suppress(OSError):
            fd = os.open(f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                json.dump(state, stream)
            os.replace(f"{self._path}.new", self._path)
