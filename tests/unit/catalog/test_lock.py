# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: who is alive, and loops without an end. Members: a living run on another machine of one name, in another pid namespace with
the same number, on the same host name after a reboot; a clock that is wrong on either side; a process that /proc hides (hidepid); a
zombie; a lock nobody can read; a store that refuses each write; a store that hangs at the end; a run whose lock was taken."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import liveness, lock as lock_module
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import Here, is_dead, myself, started
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock, state
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import LockHeld, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

HERE = Here.look()
KEY = "main/lock.json"


@pytest.fixture
def repository(tmp_path: Path) -> FileRepository:
    return FileRepository(str(tmp_path))


def lay(repository: FileRepository, age: float = 0, **changes: Any) -> Path:
    """A lock that was last written so many seconds ago."""
    repository.write(KEY, json.dumps({**myself("a backup"), **changes}).encode())
    path = Path(repository.root) / KEY
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def take(repository: FileRepository, wait: int = 0) -> list[str]:
    warnings: list[str] = []
    with Lock(repository, KEY, "a prune", warnings) as lock:
        lock.acquire(wait)
    return warnings


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


ELSEWHERE: list[dict[str, Any]] = [
    {"host": "another", "boot_id": "other"},
    {"boot_id": "other"},  # a machine of the same name, or this one before it was booted
    {"pid_namespace": "pid:[1]"},  # another container of the same name
    {"pid_namespace": ""},
    {"boot_id": ""},
    {"pid_namespace": None},
]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_a_run_elsewhere_lives_while_its_heart_beats(repository: FileRepository, elsewhere: dict[str, Any]) -> None:
    # Its process is not here, or it is, by chance; its clock may be years away.
    for pid in (ended(), os.getpid()):
        lay(repository, 30, pid=pid, alive_at="1999-01-01T00:00:00Z", **elsewhere)
        with pytest.raises(LockHeld, match="Another run works"):
            take(repository)
    lay(repository, liveness.PATIENCE + 5, pid=os.getpid(), alive_at="2999-01-01T00:00:00Z", **elsewhere)
    assert "taken over" in take(repository)[0]


def test_the_stores_clock_counts_and_not_ours(repository: FileRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(repository, 30, boot_id="other")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    with pytest.raises(LockHeld):
        take(repository)
    assert os.listdir(Path(repository.root) / "main") == ["lock.json"]


def test_a_process_of_this_very_namespace_is_asked(repository: FileRepository) -> None:
    lay(repository, 0, pid=ended())
    assert "taken over" in take(repository)[0]
    lay(repository, 0, process_started="1")  # another process has the number now
    assert "taken over" in take(repository)[0]
    lay(repository, 10 * liveness.PATIENCE)  # it lives, however long it was silent
    with pytest.raises(LockHeld, match="It lives"):
        take(repository)


def test_a_zombie_is_dead_and_what_proc_hides_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(["true"])
    while started(process.pid) is not None:
        pass
    data = json.dumps({**myself("a backup"), "pid": process.pid}).encode()
    assert is_dead(data, 0, HERE)

    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not is_dead(data, 0, HERE)
    assert is_dead(data, liveness.PATIENCE + 1, HERE)
    process.wait()


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON", b"[]", b"{}", b"[" * 50_000, b'{"pid": "7", "boot_id": []}', b'{"alive_at": "yesterday"}'],
    ids=lambda content: content[:20].decode(),
)
def test_a_lock_that_cannot_be_read_is_somebodys(repository: FileRepository, content: bytes) -> None:
    path = lay(repository)
    path.write_bytes(content)
    with pytest.raises(LockHeld, match="somebody unknown"):
        take(repository)
    moment = time.time() - liveness.PATIENCE - 5
    os.utime(path, (moment, moment))
    found = state(repository, KEY)
    assert found is not None and found["dead"]
    assert "taken over" in take(repository)[0]


def test_a_lock_that_is_far_too_large(repository: FileRepository) -> None:
    lay(repository).write_bytes(b" " * 5_000_000)
    with pytest.raises(RepositoryError, match="delete it"):
        take(repository)


class Refusing(FileRepository):
    """Does no conditional write."""

    asked = 0

    def swap(self, key: str, expected: Optional[bytes], new: Optional[bytes]) -> bool:
        self.asked += 1
        return False


@pytest.mark.parametrize(("wait", "most"), [(0, 4), (3, 10)])
def test_a_store_that_refuses_each_write_is_told_of(tmp_path: Path, wait: int, most: int) -> None:
    repository, began = Refusing(str(tmp_path)), time.monotonic()
    with pytest.raises(RepositoryError, match="conditional writes"):
        take(repository, wait)
    assert repository.asked <= most
    assert wait <= time.monotonic() - began < wait + 5


@pytest.mark.parametrize("taken", [True, False])
def test_a_run_that_slept_asks_before_it_goes_on(
    repository: FileRepository, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """A laptop that was closed, a virtual machine that was paused, a process that was stopped: others took it for dead, as they should,
    removed what it had written, and it went on to write its manifest, as its own next heartbeat was a minute away."""
    with Lock(repository, KEY, "a backup", []) as lock:
        lock.acquire(0)
        lock.beat()
        if taken:
            lay(repository, host="another")
        awake = lock_module._now()
        monkeypatch.setattr(lock_module, "_now", lambda: awake + 1000)
        if taken:
            with pytest.raises(LockHeld, match="taken from this run"):
                lock.beat()
            return
        before = repository.read(KEY)
        lock.beat()
        assert repository.read(KEY) != before


def test_waiting_ends(repository: FileRepository) -> None:
    lay(repository)
    began = time.monotonic()
    with pytest.raises(LockHeld):
        take(repository, 1)
    assert 1 <= time.monotonic() - began < 4
    os.unlink(Path(repository.root) / KEY)
    lay(repository)
    threading.Timer(0.5, lambda: os.unlink(Path(repository.root) / KEY)).start()
    assert take(repository, 20) == []


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_heart_beats_by_itself_and_a_lost_lock_is_heard_of(
    repository: FileRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT", 0.05)
    warnings: list[str] = []
    with Lock(repository, KEY, "a backup", warnings) as lock:
        lock.acquire(0)
        first = repository.read(KEY)
        until(lambda: repository.read(KEY) != first)
        lock.beat()
        lay(repository, host="thief")

        def lost() -> bool:
            try:
                lock.beat()
            except LockHeld:
                return True
            return False

        until(lost)
    assert b"thief" in repository.read(KEY)  # what is not ours stays
    assert warnings == []


def test_two_take_it_one_after_the_other(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def run() -> None:
        with Lock(FileRepository(str(tmp_path)), KEY, "a backup", []) as lock:
            lock.acquire(60)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            inside[0] -= 1

    threads = [threading.Thread(target=run) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_lock_that_may_be_anothers_is_no_lock(repository: FileRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lock(repository, KEY, "a backup", []) as lock:
        lock.acquire(0)
        lock.beat()
        later = (
            lock_module._now() + liveness.PATIENCE + 1
        )  # this process was stopped, and the store holds the heartbeat
        monkeypatch.setattr(lock_module, "_now", lambda: later)
        monkeypatch.setattr(lock, "_renew", lambda: True)
        with pytest.raises(LockHeld, match="could not be renewed"):
            lock.beat()
        monkeypatch.undo()
