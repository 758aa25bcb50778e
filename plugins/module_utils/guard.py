# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that was started outlives us, however we went: by a kill that no program can answer, too.

One process watches for that, in a session of its own: it is told of each program that runs, and waits for the end of its input, which
comes with ours. Then it tells them to end, lets those go on that were stopped, and ends for good what has not ended within seconds. (A
death signal that the kernel sends, PR_SET_PDEATHSIG, follows the thread that started a program, and ours come and go; it is
also forgotten when another user runs it.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Optional

GRACE = 5  # seconds between being told to end, and being ended

_GUARD = """
all=
while read -r what id; do
  case $what in
  +) all="$all $id" ;;
  -) left=; for one in $all; do [ "$one" = "$id" ] || left="$left $one"; done; all=$left ;;
  esac
done
[ -n "$all" ] || exit 0
for how in TERM CONT; do kill -s $how -- $all; done
sleep "$1"
kill -s KILL -- $all
"""

_lock = threading.Lock()
_guard: Optional[subprocess.Popen[bytes]] = None


def _tell(what: str, pid: int, group: bool) -> None:
    global _guard
    with _lock, contextlib.suppress(OSError):
        if _guard is None or _guard.poll() is not None:
            if what == "-":
                return
            _guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "guard", str(GRACE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        if _guard.stdin is not None:
            os.write(_guard.stdin.fileno(), f"{what} {'-' if group else ''}{pid}\n".encode())


def note(process: subprocess.Popen[Any], group: bool = False) -> None:
    """A program runs. ``group``: it leads a process group, which ends as one."""
    _tell("+", process.pid, group)


def forget(process: subprocess.Popen[Any], group: bool = False) -> None:
    """It has ended, and was waited for."""
    _tell("-", process.pid, group)


@contextlib.contextmanager
def guarded(process: subprocess.Popen[Any], group: bool = False) -> Iterator[None]:
    """While this block works, the program may run; at its end it has ended."""
    note(process, group)
    try:
        yield
    finally:
        forget(process, group)


def run(argv: Sequence[str], timeout: Optional[float] = None, **options: Any) -> int:
    """``subprocess.call``, for a program that does not outlive us, nor do those that it starts (pg_basebackup streams WAL by a process of
    its own, which went on, and kept the slot). Returns its exit code.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it was ended, as it took longer.
    """
    process = subprocess.Popen(list(argv), start_new_session=True, **options)
    with guarded(process, group=True):
        try:
            return process.wait(timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
