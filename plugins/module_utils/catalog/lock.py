# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on one server's backups, and what a dead one leaves is recognised."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded, liveness
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import (
    PATIENCE,
    Here,
    by_process,
    describe,
    holder,
    is_dead,
    is_released,
    myself,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    HoldfastError,
    LockHeld,
    ObjectLocked,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

#: how often a store may refuse to write a lock that nobody holds, until that is an answer
REFUSALS = 4


def _now() -> float:
    """Seconds that go on while this host sleeps, as those of ``time.monotonic`` do not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lock:
    """The lock object of a server in a repository. Use as a context manager; while it is held, a thread tells the store that we
    live. What is to be said goes to ``warnings``."""

    def __init__(self, repository: Repository, key: str, purpose: str, warnings: list[str]) -> None:
        self._repository, self._key, self._warnings = repository, key, warnings
        self._content: Optional[bytes] = None
        self._holder, self._here = myself(purpose), Here.look()
        self._lost: Optional[HoldfastError] = None
        self._last = 0.0  # when the store last heard of us
        self._released = threading.Event()
        self._changing = threading.Lock()

    def acquire(self, wait: int) -> None:
        """Take the lock, waiting for at most ``wait`` seconds. That a dead holder's was taken over is a warning.

        Raises:
            LockHeld: someone living holds it.
            RepositoryError: nobody does, and the store refuses to write it.
        """
        deadline, refusals = time.monotonic() + wait, 0
        watch = Watch(self._repository, self._key, self._here)
        while True:
            current = self._read()
            if current is None or is_released(current) or watch.is_dead(current):
                new = self._encode()
                if self._repository.swap(self._key, current, new):
                    self._begin(new)
                    if current is not None and not is_released(current):
                        self._warnings.append(
                            f"A lock was left behind by {describe(current)}, which is dead; it was taken over."
                        )
                    return
                # Another run may have been quicker: then the next look finds its lock.
                refusals += 1
                if refusals >= REFUSALS and time.monotonic() >= deadline:
                    raise RepositoryError(
                        f"{self._repository.description} refused {refusals} times to write the lock {self._key}, which nobody holds. "
                        "It may not do conditional writes as it should (If-None-Match, If-Match), without which two runs at once "
                        "cannot be kept apart. Nothing was changed."
                    )
                time.sleep(min(1.0, 0.1 * 2**refusals))
                continue
            if time.monotonic() >= deadline:
                raise LockHeld(
                    f"Another run works on these backups: {describe(current)} holds the lock {self._key} in "
                    f"{self._repository.description}. {watch.describe()} Wait for it, or let this run wait by lock_wait (seconds)."
                )
            time.sleep(1)

    def beat(self) -> None:
        """Raise LockHeld when someone took the lock from us, or may have. After a silence that others may have taken for our end (this host
        slept, or the process was stopped) the store is asked first, and one that does not answer says nothing of it."""
        if self._lost is None and self._content is not None and _now() - self._last > 2 * liveness.HEARTBEAT:
            self._renew()
        if self._lost is not None:
            raise self._lost
        if self._content is not None and _now() - self._last > PATIENCE:
            raise LockHeld(
                f"The lock {self._key} in {self._repository.description} could not be renewed for {PATIENCE} seconds, so that another run may "
                "have it. Was this process stopped, or does the store not answer?"
            )

    def _begin(self, content: bytes) -> None:
        self._content, self._last = content, _now()
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        """Say that we live, until the lock is given back."""
        while not self._released.wait(liveness.HEARTBEAT) and self._renew():
            pass

    def _renew(self) -> bool:
        """Say it once. Returns whether the lock is ours still, as far as one knows."""
        with self._changing:
            if self._content is None:
                return False
            try:
                new, asked = self._encode(), _now()
                if self._repository.swap(self._key, self._content, new):
                    self._content, self._last = new, asked
                    return True
                self._lost = LockHeld(
                    f"The lock {self._key} in {self._repository.description} was taken from this run."
                )
            except HoldfastError as exc:
                if _now() - self._last < PATIENCE:
                    return True  # the store may be back in time
                self._lost = LockHeld(
                    f"The lock {self._key} in {self._repository.description} could not be kept for {PATIENCE} seconds, so that another "
                    f"run may have it: {exc}"
                )
            self._content = None
            return False

    def release(self) -> None:
        """Give the lock back, if it still is ours. What was done under it stands, so that this fails is but a warning."""
        self._released.set()
        # A heartbeat that hangs in a store must not keep the run from its end: the lock then is taken for dead by itself.
        if not self._changing.acquire(timeout=10):
            self._warnings.append(f"The lock {self._key} stays behind: {self._repository.description} does not answer.")
            return
        try:
            content, self._content = self._content, None
            if content is not None:
                self._give_back(content)
        except RepositoryError as exc:
            self._warnings.append(
                f"The lock {self._key} stays behind: {exc} Runs of this host take it over at once, others in "
                f"{PATIENCE // 60} minutes."
            )
        finally:
            self._changing.release()

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
        # Without the number, two heartbeats of one second would be the same, and which one was written could not be told.
        content = {**self._holder, "alive_at": format_time(utcnow()), "beat": secrets.token_hex(4), **extra}
        return json.dumps(content).encode()

    def _read(self) -> Optional[bytes]:
        return read(self._repository, self._key)


class Watch:
    """Looks at another's lock again and again, and tells whether its holder is gone."""

    def __init__(self, repository: Repository, key: str, here: Here) -> None:
        self._repository, self._key, self._here = repository, key, here
        self._content: Optional[bytes] = None
        self._age = self._seen = 0.0

    def is_dead(self, content: bytes) -> bool:
        """Whether the holder of this content is dead. Raises RepositoryError."""
        if content != self._content:
            self._content, self._seen = content, time.monotonic()
            self._age = self._store_age() if by_process(content, self._here) is None else 0.0
        return is_dead(content, self._now(), self._here)

    def describe(self) -> str:
        """A sentence about its last sign of life, where that is what counts."""
        if self._content is None or by_process(self._content, self._here) is not None:
            return "It lives."
        left = max(0, round(PATIENCE - self._now()))
        return f"It gave a sign of life {round(self._now())} seconds ago; without another one it is taken for dead in {left} seconds."

    def _now(self) -> float:
        return self._age + time.monotonic() - self._seen

    def _store_age(self) -> float:
        """Seconds since the lock was written, by the store's own clock: by what it says of an object that is written now."""
        info = self._repository.stat(self._key)
        if info is None:
            return 0.0
        probe = f"{self._key}.clock"  # one name: where nothing may be deleted, there is one of them
        self._repository.write(probe, b"what time is it?\n")
        now = self._repository.stat(probe)
        with contextlib.suppress(RepositoryError):
            self._repository.delete(probe)
        return max(0.0, now.modified - info.modified) if now else 0.0


def read(repository: Repository, key: str) -> Optional[bytes]:
    """A lock's content; None: there is none. What is too large for one is content that cannot be read."""
    try:
        return bounded.read(repository, key, bounded.LARGEST_LOCK)
    except ObjectMissing:
        return None
    except CatalogError as exc:
        raise RepositoryError(f"{exc} Look at it, and delete it when no run works on these backups.") from exc


def state(repository: Repository, key: str) -> Optional[dict[str, Any]]:
    """Who holds a lock, with ``dead``, for who looks and writes nothing: a holder elsewhere is judged by this host's clock. None:
    nobody holds it. Raises RepositoryError."""
    data, info = read(repository, key), repository.stat(key)
    if data is None or info is None or is_released(data):
        return None
    age = utcnow().timestamp() - info.modified
    return {**holder(data), "dead": is_dead(data, age, Here.look())}
