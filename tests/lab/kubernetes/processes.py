# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's programs: started in its network namespace, each with a log; found again and ended by whoever cleans up."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from . import network


class Programs:
    """Those of one cluster's directory: pid/NAME has the process id and when it started, log/NAME.log what it says."""

    def __init__(self, directory: Path) -> None:
        self._pids, self._logs = directory / "pid", directory / "log"
        self._wanted: set[str] = set()

    def start(self, name: str, *arguments: str) -> None:
        """Start a program unless it runs."""
        self._wanted.add(name)
        if self.running(name):
            return
        self._pids.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*network.ENTER, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
        (self._pids / name).write_text(f"{process.pid} {started(process.pid)}")

    def running(self, name: str) -> bool:
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        with suppress(OSError, ValueError):
            pid, when = (self._pids / name).read_text().split()
            if started(int(pid)) == when:
                return int(pid)
        return None

    def ended(self) -> list[str]:
        """Names of those that were asked for here and do not run."""
        return sorted(name for name in self._wanted if not self.running(name))

    def words(self, lines: int = 3) -> str:
        """The ends of all logs."""
        ends = []
        for path in sorted(self._logs.glob("*.log")):
            last = path.read_text(errors="replace").splitlines()[-lines:]
            ends.append(f"{path.name}:\n  " + "\n  ".join(line[:300] for line in last))
        return "\n".join(ends)


def started(pid: int) -> str:
    """When a process started, in ticks since boot, with the boot's own id: the number alone is given out again. '' when it has ended."""
    with suppress(OSError):
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if after[0] != "Z":
            return f"{after[19]}@{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    return ""


def end(pids: Iterable[int], patience: float = 5.0) -> None:
    """SIGTERM, and SIGKILL to those that do not follow in time."""
    left = list(pids)
    _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while (left := [pid for pid in left if started(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    kill(left)


def kill(pids: Iterable[int]) -> None:
    left = list(pids)
    _signal(left, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(started(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.02)


def family(roots: Sequence[int]) -> list[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            text = path.read_text()
            children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def with_argument(text: str) -> list[int]:
    """Processes that have this as one of their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if text.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
