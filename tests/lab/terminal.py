# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program at a terminal of its own (a pseudo-terminal), and a person who reads and types there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """``seen`` is all that was shown so far."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, b"\x32\x00\xc8\x00\x00\x00\x00\x00")  # 50 lines of 200
        self.process = subprocess.Popen(
            argv,
            stdin=other,
            stdout=other,
            stderr=other,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(other)
        self.seen, self._read_until = "", 0

    def expect(self, text: str, timeout: float = 60) -> None:
        """Reads until ``text`` is shown, after what was expected before.

        Raises:
            AssertionError: it is not, in time or before the program ended.
        """
        deadline = time.monotonic() + timeout
        while (found := self.seen.find(text, self._read_until)) < 0:
            assert self._more(deadline), f"{text!r} was not shown:\n{self.seen}"
        self._read_until = found + len(text)

    def answer(self, text: str, timeout: float = 60) -> None:
        """Types a line, once the program reads keys: Ansible throws away what was typed before."""
        deadline = time.monotonic() + timeout
        while termios.tcgetattr(self._end)[3] & termios.ICANON:
            assert time.monotonic() < deadline, f"nobody reads:\n{self.seen}"
            self._more(time.monotonic() + 0.05)
        time.sleep(0.1)  # between its change of the mode and that throwing away nothing can be seen from here
        os.write(self._end, text.encode() + b"\r")

    def end(self, timeout: float = 120) -> int:
        """Reads to the end; the program's status."""
        deadline = time.monotonic() + timeout
        while self._more(deadline):
            pass
        os.close(self._end)
        return self.process.wait(max(1, deadline - time.monotonic()))

    def _more(self, deadline: float) -> bool:
        ready, _write, _error = select.select([self._end], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n").replace("\r", "")
        return bool(data)
