# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, as a small file that is replaced twice a second: ``tail`` it, or let the action plugin show it. Whoever asks
somebody who may never answer says so by ``waiting_for``: after ``SOON`` seconds the file tells it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Optional

#: seconds after which what is being waited for is said
SOON = 10.0

_numbers = itertools.count()
#: what is being waited for, since when
_waiting: dict[int, tuple[float, str]] = {}
_shown: Optional[Progress] = None
_watching = False


@contextlib.contextmanager
def waiting_for(whom: str) -> Iterator[None]:
    """While this block runs, somebody was asked and has not answered. ``whom``: who, and for what, as part of a sentence."""
    number = next(_numbers)
    _waiting[number] = (time.monotonic(), whom)
    try:
        yield
    finally:
        _waiting.pop(number, None)


def _longest() -> Optional[str]:
    """What has been waited for longest, where that is long."""
    began, whom = min(list(_waiting.values()), default=(time.monotonic(), ""))
    seconds = time.monotonic() - began
    return f"{whom}, for {round(seconds)} s" if seconds >= SOON else None


def _watch() -> None:
    said = False
    while True:
        time.sleep(min(1.0, SOON))
        long = _longest() is not None
        if (long or said) and _shown is not None:
            _shown.repeat()
        said = long


class Progress:
    """What a run is doing. ``path`` None: nobody looks.

    The file holds one JSON object: ``pid``, ``activity``, ``bytes`` and ``total`` (before compression; None:
    unknown), ``stored`` (bytes in the repository), ``seconds`` since the activity began, ``waiting`` (for whom, where that takes long),
    ``done``.
    """

    def __init__(self, path: Optional[str], activity: str = "starting") -> None:
        global _shown, _watching
        self._path = path
        self._activity, self._began, self._told = activity, time.monotonic(), 0.0
        self._total: Optional[int] = None
        self._last: tuple[Optional[int], Optional[int], bool] = (None, None, False)
        self._writing = threading.Lock()
        if path:
            _shown = self
            if not _watching:
                _watching = True
                threading.Thread(target=_watch, daemon=True).start()

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

    def repeat(self) -> None:
        """Say what was said last, with what is being waited for now."""
        if not self._last[2]:
            self._write(*self._last)

    def _write(self, done: Optional[int], stored: Optional[int], finished: bool) -> None:
        if not self._path:
            return
        self._last = (done, stored, finished)
        # Who waits says so from another thread.
        with self._writing:
            self._replace(done, stored, finished)

    def _replace(self, done: Optional[int], stored: Optional[int], finished: bool) -> None:
        state = {
            "pid": os.getpid(),
            "activity": self._activity,
            "bytes": done,
            "total": self._total,
            "stored": stored,
            "seconds": round(time.monotonic() - self._began, 1),
            "waiting": None if finished else _longest(),
            "done": finished,
        }
        # Progress is a courtesy: a full disk there must not fail a backup.
        with contextlib.suppress(OSError):
            fd = os.open(f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                json.dump(state, stream)
            os.replace(f"{self._path}.new", str(self._path))
