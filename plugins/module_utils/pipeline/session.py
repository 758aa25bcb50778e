# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program with all that it starts, in a session of its own: stopped, let go on, and ended as one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

# Waits for the end of its input, which comes when we are gone, however we went. A stopped process hears TERM when it goes on.
_GUARD = 'read -r _; kill -s TERM -- "-$1"; kill -s CONT -- "-$1"'


class Session:
    """The processes of the session that ``leader`` was started in (``Command.session``). Use as a context manager: nothing of it
    outlives us, not even where we are killed while it is stopped."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(leader)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def stop(self) -> None:
        """Let none of it run."""
        self._tell(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let all of it run."""
        self._tell(signal.SIGCONT)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.go_on()
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def _tell(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._leader, number)
