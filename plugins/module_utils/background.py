# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside the main thread. Its thread is a daemon: a run that is told to stop does not wait for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Optional, TypeVar

Result = TypeVar("Result")


@contextlib.contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads. When the block fails or is told to stop, nobody waits for what they are at: a request may be held for long."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


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
