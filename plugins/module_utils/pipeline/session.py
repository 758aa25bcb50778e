# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program with all that it starts, in a session of its own: stopped, let go on, and ended as one."""

from __future__ import annotations

import contextlib
import os
import signal


class Session:
    """The processes of the session that ``leader`` was started in (``Command.session``). Use as a context manager: none of it stays
    stopped. (That none of it outlives us is guard.py's business.)"""

    def __init__(self, leader: int) -> None:
        self._leader = leader

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

    def _tell(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._leader, number)
