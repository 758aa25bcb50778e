# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that replays WAL, as the kernel tells of it: which segment it is at, and for how long the restore_command that it runs has
not ended. PostgreSQL waits for that command without an end, so an archive that does not answer is a recovery that never ends."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import waiting_for

# "recovering" while it replays a segment, "waiting for" while it fetches one. Source: src/backend/access/transam/xlogrecovery.c
_TITLE = re.compile(rb"postgres: (?:.*: )?startup\b(?: (?:recovering|waiting for) ([0-9A-F]{24}))?")
_SHOWN = 300


class StartupProcess:
    """Of the server whose postmaster has this process id. ``limit``: seconds that one run of its restore_command may take."""

    def __init__(self, postmaster: int, limit: float) -> None:
        self._postmaster, self._limit = postmaster, limit
        #: process id and start of the command that runs, and since when it was seen
        self._command: Optional[tuple[int, str]] = None
        self._since = 0.0
        self._told = contextlib.ExitStack()

    def __enter__(self) -> StartupProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self._told.close()

    def segment(self) -> Optional[str]:
        """The segment that it replays or waits for; None: it does not tell, or is gone."""
        return self._find()[1]

    def require_command_ends(self) -> None:
        """Raises ServerError: the restore_command has run for longer than the limit. What is waited for is told in the progress long
        before that."""
        process, segment = self._find()
        command = _first_child(process) if process is not None else None
        if command != self._command:
            self._told.close()
            self._command, self._since = command, time.monotonic()
            if command is not None:
                self._told.enter_context(
                    waiting_for(f"restore_command, for {segment or 'a file'} from the WAL archive")
                )
        seconds = time.monotonic() - self._since
        if command is None or seconds < self._limit:
            return
        raise ServerError(
            f"restore_command has not ended for {seconds:.0f} seconds (wal_timeout: {self._limit:g}), at {segment or 'a file'}: the archive does "
            f"not answer. It is: {_text(command[0])}. Try as the server's user whether the archive can be read from this host, and run the "
            "recovery again."
        )

    def _find(self) -> tuple[Optional[int], Optional[str]]:
        """Its process id, and the segment in its title."""
        for child in _children(self._postmaster):
            found = _TITLE.match(_read(f"/proc/{child}/cmdline"))
            if found:
                return child, found[1].decode() if found[1] else None
        return None, None


def _children(process: int) -> list[int]:
    return [int(word) for word in _read(f"/proc/{process}/task/{process}/children").split()]


def _first_child(process: int) -> Optional[tuple[int, str]]:
    """A child's id with the moment of its start, as ids are given again."""
    for child in _children(process):
        # Its name stands in parentheses, and may have any byte. Source: proc(5), /proc/pid/stat: (22) starttime
        fields = _read(f"/proc/{child}/stat").rpartition(b")")[2].split()
        if len(fields) > 19:
            return child, fields[19].decode()
    return None


def _text(process: int) -> str:
    """A command, as PostgreSQL gave it to the shell."""
    words = _read(f"/proc/{process}/cmdline").rstrip(b"\0").split(b"\0")
    text = words[-1].decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        return stream.read()
    return b""
