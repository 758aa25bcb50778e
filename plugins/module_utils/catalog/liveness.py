# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a lock, and whether that run still lives.

A process number says something only where it is counted: on the same kernel (boot id) and in the same pid namespace. Host
names do not tell: containers and cloned machines share them. Everywhere else the holder's heartbeat counts, by the clock of
the store: the time at which the store says that the lock was last written, against the time of something written now.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.bounded import loads
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

#: a holder says at least this often (seconds) that it lives; three times missed, it is taken for dead
HEARTBEAT = 60
PATIENCE = 3 * HEARTBEAT


@dataclass(frozen=True)
class Here:
    """Where this process is counted; empty: this system does not tell."""

    host: str
    boot_id: str
    pid_namespace: str

    @classmethod
    def look(cls) -> Here:
        """Of this process."""
        boot_id = namespace = ""
        with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot_id = stream.read().strip()
        with contextlib.suppress(OSError):
            namespace = os.readlink("/proc/self/ns/pid")
        return cls(socket.gethostname(), boot_id, namespace)


def started(pid: int) -> Optional[str]:
    """When a process began, in ticks since boot (proc(5), /proc/pid/stat, field 22); None: it has ended, or is not shown."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            rest = stream.read().rpartition(")")[2].split()
            return None if rest[0] in ("Z", "X") else rest[19]
    except (OSError, IndexError):
        return None


def myself(purpose: str) -> dict[str, Any]:
    """What a lock says of its holder."""
    return {
        **vars(Here.look()),
        "pid": os.getpid(),
        "process_started": started(os.getpid()),
        "purpose": purpose,
        "since": format_time(utcnow()),
    }


def holder(data: bytes) -> dict[str, Any]:
    """Who holds a lock; empty when its content can't be read."""
    try:
        content = loads(data, 2)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def is_released(data: bytes) -> bool:
    """Whether a lock was given back by one who may not delete it."""
    return isinstance(holder(data).get("released_at"), str)


def by_process(data: bytes, here: Here) -> Optional[bool]:
    """Whether a lock's holder is gone, as its process tells; None: it is counted elsewhere, or not shown."""
    who = holder(data)
    pid, began = who.get("pid"), who.get("process_started")
    same = all(getattr(here, name) and who.get(name) == getattr(here, name) for name in ("boot_id", "pid_namespace"))
    if not same or not isinstance(pid, int) or not isinstance(began, str):
        return None
    now = started(pid)
    return None if now is None and not _is_shown(pid) else now != began


def is_dead(data: bytes, age: float, here: Here) -> bool:
    """Whether a lock's holder is gone. ``age`` is the seconds since the lock was last written, by the store's clock."""
    known = by_process(data, here)
    return age > PATIENCE if known is None else known


def _is_shown(pid: int) -> bool:
    """Whether what /proc says of a process is all there is to say: mounted with hidepid, it hides those of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except (ProcessLookupError, OverflowError):
        pass
    return True


def describe(data: bytes) -> str:
    """A lock's holder in words."""
    who = holder(data)
    if not who.get("host"):
        return "somebody unknown (the lock's content cannot be read)"
    return f"{who.get('purpose')} on {who.get('host')}, process {who.get('pid')}, since {who.get('since')}"
