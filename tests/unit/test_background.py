# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that work beside: what they are given is done, in bounds; what fails is heard; nobody waits for one that is held."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.background import ahead, threads


def test_all_is_done_in_order_and_so_many_at_once() -> None:
    guard, now, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with guard:
            now -= 1
        return item * item

    with threads(3) as pool:
        assert list(pool.map(work, range(12))) == [item * item for item in range(12)]
        assert pool.submit(work, 5).result() == 25
    assert most <= 3


def test_what_fails_is_heard_and_the_rest_is_not_begun() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.02)
        raise ValueError(str(item))

    with pytest.raises(ValueError, match="0"), threads(1) as pool:
        for _none in pool.map(work, range(50)):
            pass
    time.sleep(0.1)
    assert len(begun) < 5


def test_one_that_is_held_holds_nobody_up() -> None:
    """Neither the block that fails, nor the end of the process (those of concurrent.futures do, since they are no daemons)."""
    text = (
        "import threading\n"
        "from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads\n"
        "with threads(2) as pool:\n"
        "    pool.submit(threading.Event().wait)\n"
        "    raise SystemExit(3)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", text], env=env, timeout=20, check=False)
    assert done.returncode == 3


def test_what_is_got_ahead_comes_in_order_and_bounded() -> None:
    got: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            got.append(number)
            yield number

    most = 0
    for number in ahead(items(), 3):
        most = max(most, len(got) - number)
        assert number <= got[-1]
    assert got == list(range(50)) and most <= 6  # three in the line, one in each hand, one that was just handed on


def test_what_getting_ahead_raises_is_heard_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the store is away")

    seen = []
    with pytest.raises(OSError, match="is away"):
        for number in ahead(items()):
            seen.append(number)
    assert seen == [1] and list(ahead(iter(()))) == []


def test_who_leaves_early_lets_the_other_thread_end() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    stream = ahead(items(), 2)
    assert next(stream) == 1
    stream.close()  # type: ignore[attr-defined]
    assert closed.wait(5)
