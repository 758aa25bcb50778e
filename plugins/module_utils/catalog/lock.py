# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on one server's backups, and what a dead one leaves is recognised."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    LockHeld,
    ObjectLocked,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time, utcnow

# A holder on another host says that it lives at least this often (seconds); three times missed, it is taken for dead.
HEARTBEAT = 60


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _started(pid: int) -> Optional[str]:
    """When a process began, in ticks since boot (proc(5), /proc/pid/stat, field 22); None: there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            rest = stream.read().rpartition(")")[2].split()
            return None if rest[0] in ("Z", "X") else rest[19]
    except OSError:
        return None


class Lock:
    """The lock object of a server in a repository. Use as a context manager. What is to be said goes to ``warnings``."""

    def __init__(self, repository: Repository, key: str, purpose: str, warnings: list[str]) -> None:
        self._repository, self._key, self._warnings = repository, key, warnings
        self._content: Optional[bytes] = None
        self._beat = 0.0
        self._holder = {
            "host": socket.gethostname(),
            "boot_id": _boot_id(),
            "pid": os.getpid(),
            "process_started": _started(os.getpid()),
            "purpose": purpose,
            "since": format_time(utcnow()),
        }

    def acquire(self, wait: int) -> None:
        """Take the lock, waiting for at most ``wait`` seconds. That a dead holder's was taken over is a warning.

        Raises:
            LockHeld: someone living holds it.
        """
        deadline = time.monotonic() + wait
        while True:
            current = self._read()
            if current is None or is_released(current) or is_dead(current):
                new = self._encode()
                if self._repository.swap(self._key, current, new):
                    self._content = new
                    if current is not None and not is_released(current):
                        words = f"A lock was left behind by {describe(current)}, which is dead; it was taken over."
                        self._warnings.append(words)
                    return
                continue
            if time.monotonic() >= deadline:
                raise LockHeld(
                    f"Another run works on these backups: {describe(current)} holds the lock {self._key} in "
                    f"{self._repository.description}. Wait for it, or let this run wait by lock_wait (seconds)."
                )
            time.sleep(1)

    def beat(self) -> None:
        """Say that we live; call it often, it does something once a minute.

        Raises:
            LockHeld: someone took the lock from us.
        """
        if self._content is None or time.monotonic() - self._beat < HEARTBEAT:
            return
        new = self._encode()
        if not self._repository.swap(self._key, self._content, new):
            self._content = None
            raise LockHeld(f"The lock {self._key} in {self._repository.description} was taken from this run.")
        self._content = new

    def release(self) -> None:
        """Give the lock back, if it still is ours. What was done under it stands, so that this fails is but a warning."""
        content, self._content = self._content, None
        if content is None:
            return
        try:
            self._give_back(content)
        except RepositoryError as exc:
            minutes = 3 * HEARTBEAT // 60
            self._warnings.append(
                f"The lock {self._key} stays behind: {exc} Runs of this host take it over at once, others in {minutes} minutes."
            )

    def _give_back(self, content: bytes) -> None:
        try:
            self._repository.swap(self._key, content, None)
        except ObjectLocked:
            # Who may write and not delete, which is a guard against ransom, says in the lock that nobody has it.
            self._repository.swap(self._key, content, self._encode(released_at=format_time(utcnow())))

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _encode(self, **extra: str) -> bytes:
        self._beat = time.monotonic()
        return json.dumps({**self._holder, "alive_at": format_time(utcnow()), **extra}).encode()

    def _read(self) -> Optional[bytes]:
        try:
            return self._repository.read(self._key)
        except ObjectMissing:
            return None


def holder(data: bytes) -> dict[str, Any]:
    """Who holds a lock; empty when its content can't be read."""
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def is_released(data: bytes) -> bool:
    """Whether a lock was given back by one who may not delete it."""
    return "released_at" in holder(data)


def is_dead(data: bytes) -> bool:
    """Whether a lock's holder is gone for certain: its process on this host, else its heartbeat."""
    who = holder(data)
    if not who:
        return True
    if who.get("host") == socket.gethostname():
        if who.get("boot_id") != _boot_id():
            return True
        return _started(int(who.get("pid", 0))) != who.get("process_started")
    age = (utcnow() - parse_time(who["alive_at"], "alive_at")).total_seconds()
    return age > 3 * HEARTBEAT


def describe(data: bytes) -> str:
    """A lock's holder in words."""
    who = holder(data)
    if not who:
        return "somebody unknown (the lock's content cannot be read)"
    return f"{who.get('purpose')} on {who.get('host')}, process {who.get('pid')}, since {who.get('since')}"
