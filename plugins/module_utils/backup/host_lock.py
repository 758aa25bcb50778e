# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on the backups of a server whose engine works beside it.

Such an engine keeps a repository of its own, in which nothing of ours may lie. All that it does happens on the server's
host, so the kernel's lock on a file of the server's own (flock(2)) tells runs apart, whoever starts them: it goes with its
process, and can never be left behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import LockHeld, ServerError


class HostLock:
    """The lock of the server in ``data_directory``. Use as a context manager."""

    def __init__(self, data_directory: str) -> None:
        self._path = os.path.join(data_directory, "PG_VERSION")
        self._fd: Optional[int] = None

    def acquire(self, wait: int) -> None:
        """Take it, waiting for at most ``wait`` seconds.

        Raises:
            LockHeld: another run has it.
            ServerError: there is no server there.
        """
        deadline = time.monotonic() + wait
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            while not self._take():
                if time.monotonic() >= deadline:
                    who = self._holder()
                    self.release()
                    raise LockHeld(
                        f"Another run works on the backups of this server: {who} holds the lock on {self._path}. Wait for it, or let "
                        "this run wait by lock_wait (seconds)."
                    )
                time.sleep(0.5)
        except OSError as exc:
            self.release()
            raise ServerError(f"{self._path} cannot be locked: {exc.strerror}. Nothing was done.") from exc

    def _taken(self) -> int:
        if self._fd is None:
            raise AssertionError("the lock's file is not open")
        return self._fd

    def _take(self) -> bool:
        fd = self._taken()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                return False
            raise
        return True

    def _holder(self) -> str:
        """Who has it, by the kernel's list (proc(5), /proc/locks)."""
        inode = os.fstat(self._taken()).st_ino
        with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii", errors="replace") as stream:
            for line in stream:
                found = re.match(rf"\d+: FLOCK +\S+ +WRITE (\d+) \S+:{inode} ", line)
                if found:
                    return f"process {found[1]}"
        return "somebody"

    def beat(self) -> None:
        """The kernel takes it from nobody."""

    def release(self) -> None:
        """Give it back."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> HostLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
