# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside the main thread. Its thread is a daemon: a run that is told to stop does not wait for it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, Optional, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool:
    """So many threads that do what they are given. They are daemons, as those of ``concurrent.futures`` are not: a request that a
    store holds would keep a process that was told to stop from ending."""

    def __init__(self, count: int) -> None:
        self._count, self._threads = count, list[threading.Thread]()
        self._queue: queue.SimpleQueue[Optional[Callable[[], None]]] = queue.SimpleQueue()
        self._waiting: list[Future[Any]] = []

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have it done; its result, or what it raises, is the future's."""
        future: Future[Result] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(*arguments))
                except BaseException as exc:  # raised by result(), in the thread that can be heard
                    future.set_exception(exc)

        self._waiting = [other for other in self._waiting if not other.done()]
        self._waiting.append(future)
        self._queue.put(run)
        if len(self._threads) < min(self._count, len(self._waiting)):
            self._threads.append(threading.Thread(target=self._serve, daemon=True))
            self._threads[-1].start()
        return future

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results, in order. All begin at once."""
        futures = [self.submit(work, item) for item in items]
        return (future.result() for future in futures)

    def shutdown(self, wait: bool) -> None:
        """Let the threads end: those at work when they are done, what has not begun only where it is waited for."""
        if not wait:
            for future in self._waiting:
                future.cancel()
        for _thread in self._threads:
            self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self) -> None:
        while (run := self._queue.get()) is not None:
            run()


class threads:
    """So many threads. When the block fails or is told to stop, nobody waits for what they are at."""

    def __init__(self, count: int) -> None:
        self._pool = Pool(count)

    def __enter__(self) -> Pool:
        return self._pool

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._pool.shutdown(wait=kind is None)


class Background(Generic[Result]):
    """``work`` begins at once; ``result`` waits for it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._value: list[Result] = []
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._work())
        except BaseException as exc:  # raised by result(), in the thread that can be heard
            self._error = exc

    def done(self) -> bool:
        """Whether ``result`` would return at once."""
        return not self._thread.is_alive()

    def wait(self, seconds: Optional[float] = None) -> None:
        """Wait, without raising what the work raised."""
        self._thread.join(seconds)

    def result(self) -> Result:
        """What the work returned, once it has. Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value[0]


def ahead(items: Iterator[Item], count: int = 4) -> Iterator[Item]:
    """The same items, of which another thread gets up to ``count`` before they are asked for. Raises what getting them raised. Who does not come
    to the end closes it, as a generator is when nobody has it any more."""
    line: queue.Queue[tuple[bool, Any]] = queue.Queue(count)
    left = threading.Event()

    def hand(last: bool, what: Any) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                line.put((last, what), timeout=0.2)
                return True
        return False

    def fill() -> None:
        error: Optional[BaseException] = None
        try:
            for item in items:
                if not hand(False, item):
                    break
        except BaseException as exc:  # raised where it is asked for, in the thread that can be heard
            error = exc
        close = getattr(items, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()
        hand(True, error)

    threading.Thread(target=fill, daemon=True).start()
    try:
        while True:
            last, what = line.get()
            if last:
                if what is not None:
                    raise what
                return
            yield what
    finally:
        left.set()
