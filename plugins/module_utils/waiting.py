# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to wait for something: conditions in a table, a deadline, and the server's log read beside, so that nobody waits for
what cannot come any more."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Optional, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError

T = TypeVar("T")

# What a server says of clients that came too early, or of one that it ends itself: it is well, and goes on.
# Source: src/backend/postmaster/postmaster.c and src/backend/tcop/postgres.c
_HARMLESS = re.compile(
    r"the database system is (starting up|shutting down|in recovery mode|not yet accepting connections|not accepting connections)"
    r"|terminating (connection|walreceiver|background worker|autovacuum process)|canceling statement"
    r"|could not (connect to the primary server|receive data from WAL stream|send end-of-streaming)"
)

# A severity that stands behind another one is part of that one's message.
_ENDED = re.compile(
    r"(?:(?!\b(?:LOG|WARNING|ERROR|STATEMENT|DETAIL|HINT|NOTICE|CONTEXT):).)*?\b(?:FATAL|PANIC):\s+(.*)"
)


@dataclass(frozen=True)
class Seen(Generic[T]):
    """Which condition came true, by its name in the table, and what it answered."""

    name: str
    value: T


class ServerLog:
    """A log that is being written, read on from where it ended before. Its messages have to be in English (lc_messages = C)."""

    def __init__(self, path: str, begin: Optional[int] = None) -> None:
        """``begin``: the byte from which on it is read; None: its present end."""
        self.path = path
        self._read = begin if begin is not None else os.path.getsize(path) if os.path.exists(path) else 0
        self._rest = ""
        self._expected: list[str] = []

    def expect(self, name: str) -> None:
        """What it says of this one, by its name in quotes, ends nothing."""
        self._expected.append(f'"{name}"')

    def fatal(self) -> Optional[str]:
        """What ended, or ends, the server since the last look; None: nothing did."""
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self._read)
                data = stream.read()
        except OSError:
            return None
        self._read += len(data)
        text = self._rest + data.decode("utf-8", "replace")
        text, newline, self._rest = text.rpartition("\n")
        for line in (text + newline).splitlines():
            found = _ENDED.match(line)
            if found and not _HARMLESS.search(found[1]) and not any(name in found[1] for name in self._expected):
                return found[1].strip()
        return None


class Waiter:
    """Waits until one of several conditions comes true.

    ``timeout``: seconds (None: as long as it takes); ``pause`` seconds between two looks, which grow up to ``most``. ``log``: of the
    server that is waited for.
    """

    def __init__(
        self,
        timeout: Optional[float] = None,
        pause: float = 0.1,
        most: Optional[float] = None,
        log: Optional[ServerLog] = None,
    ) -> None:
        self._timeout, self._pause, self._most, self._log = timeout, pause, most or pause, log
        self.seconds = 0.0

    def until(self, conditions: Mapping[str, Callable[[], Optional[T]]]) -> Optional[Seen[T]]:
        """Ask each condition in the table's order, again and again: its answer, None while it is not true yet. Returns None at
        the deadline. Each is asked at least once; ``seconds`` says how long it took. An empty table waits for the deadline, or the log.

        Raises:
            ServerError: the log says that the server gave up.
        """
        began, pause = time.monotonic(), self._pause
        while True:
            # The log is read first: what is said in it after a condition was asked is no part of that answer.
            fatal = self._log.fatal() if self._log else None
            for name, ask in conditions.items():
                answer = ask()
                self.seconds = time.monotonic() - began
                if answer is not None:
                    return Seen(name, answer)
            self.seconds = time.monotonic() - began
            if fatal is not None:
                raise ServerError(f"The server says: {fatal}.")
            if self._timeout is not None and self.seconds >= self._timeout:
                return None
            time.sleep(pause)
            pause = min(pause * 1.5, self._most)
