# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop means stop: within seconds, at any step, and what is said of what remains is true.

A signal raises ``Stopped`` in the main thread, wherever it is. Four things keep that promise:

- where it was swallowed (Python does, in finalizers and callbacks), it is raised again a second later;
- where it came just before the main thread began to wait for a lock, or to read, or was taken by another thread, Python does not see it
  until that ends: it is sent to the main thread again (``_insist``);
- when what stdout leads to is gone, who asked for the run is gone: a cancelled job, a closed connection. That counts as SIGHUP;
- clearing up has ``GRACE`` seconds (more where ``remains`` says so); then the run says what remains, and is gone.
"""

from __future__ import annotations

import contextlib
import glob
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import Stopped, causes

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
#: seconds to clear up in
GRACE = 5.0

Message = Union[str, Callable[[], str]]
Changed = Union[bool, Callable[[], bool]]


class Remains:
    """What would remain if the run were stopped here. ``now`` says something else, or nothing."""

    def __init__(self, message: Message, changed: Changed, seconds: float) -> None:
        self._message, self._changed, self.seconds = message, changed, seconds

    def now(self, message: Message, changed: Changed = True) -> None:
        """From here on this remains; an empty text: nothing that is worth a word."""
        self._message, self._changed = message, changed

    @property
    def changed(self) -> bool:
        """Whether something is other than it was, as it is true now."""
        return self._changed if isinstance(self._changed, bool) else self._changed()

    @changed.setter
    def changed(self, changed: bool) -> None:
        self._changed = changed

    @property
    def message(self) -> str:
        """The sentence, as it is true now."""
        return self._message if isinstance(self._message, str) else self._message()


_open: list[Remains] = []
_achieved: list[str] = []
_stopped: Optional[Stopped] = None
_held = 0
_deadline = 0.0
#: held by who tells the result, for good: the main thread, or the one that gives up; two results are none
_telling = threading.RLock()


@contextlib.contextmanager
def remains(message: Message, changed: Changed = True, seconds: float = 0) -> Iterator[Remains]:
    """While this block works, ``message`` (a sentence, or who says it) is what a stop would leave. ``changed``: something is other
    than it was. ``seconds``: what clearing up may take here where that is more, such as starting the server again that was stopped."""
    entry = Remains(message, changed, seconds)
    _open.append(entry)
    try:
        yield entry
    except Stopped as exc:
        _note(entry, exc)
        raise
    finally:
        _open.remove(entry)


def _note(entry: Remains, exc: Stopped) -> None:
    message = entry.message
    if message and message not in exc.left:
        exc.left.append(message)
    exc.changed = exc.changed or (bool(message) and entry.changed)


def achieved(message: str) -> None:
    """From here to the end of the run this is done, whatever stops it: a sentence, which names what came or went."""
    _achieved.append(message)


def told(stopped: Stopped) -> list[str]:
    """What is said of a stop: what remains of what was under way, and what was done before."""
    return list(dict.fromkeys([*stopped.left, *_achieved]))


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A stop waits for the end of this block: for what takes no time, and must not be half done."""
    global _held
    main = threading.current_thread() is threading.main_thread()
    _held += main
    try:
        yield
    finally:
        _held -= main
        if main and not _held and wanted():
            raise _stopped  # type: ignore[misc]


def wanted() -> bool:
    """Whether the run was told to stop, and this thread is not clearing up after it."""
    return _stopped is not None and _pending()


def wanted_at_all() -> bool:
    """Whether the run was told to stop."""
    return _stopped is not None


def _pending() -> bool:
    """Whether a stop came that nobody is clearing up after: it was swallowed, or is yet to be raised."""
    return not any(isinstance(exc, Stopped) for exc in _handled())


def _handled() -> list[BaseException]:
    current = sys.exc_info()[1]
    return causes(current) if current is not None else []


def _stop(number: int, frame: object) -> None:
    global _stopped, _deadline
    if _stopped is None:
        _stopped = Stopped(signal.Signals(number).name)
        _deadline = time.monotonic() + max([GRACE, *(entry.seconds for entry in _open)])
        signal.signal(signal.SIGALRM, _again)
        signal.setitimer(signal.ITIMER_REAL, 1, 1)
    if not _held and _pending():
        raise _stopped


def _again(number: int, frame: object) -> None:
    if _stopped is not None and not _held and _pending():
        raise _stopped


def _unraisable(args: Any) -> None:
    """Python tells of what it swallows; a stop is raised again."""
    if not isinstance(args.exc_value, Stopped):
        sys.__unraisablehook__(args)


def listen(give_up: Callable[[Stopped], None]) -> None:
    """From here on signals raise ``Stopped``. ``give_up`` is called in another thread when clearing up takes too long; it ends
    the process."""
    global _telling
    _telling = threading.RLock()
    sys.unraisablehook = _unraisable
    _achieved.clear()
    for number in SIGNALS:
        signal.signal(number, _stop)
    _insist(wanted_at_all)
    threading.Thread(target=_watch_asker, daemon=True).start()
    threading.Thread(target=_watch_clock, args=(give_up,), daemon=True).start()


def finished() -> None:
    """The work has ended, one way or another: signals come too late. Where it was given up at this very moment, this does not return, as the
    other thread tells the result and ends the process."""
    global _deadline
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    _telling.acquire()  # pylint: disable=consider-using-with
    _deadline = 0.0


def more_time(seconds: float) -> None:
    """Clearing up goes on with what must not be cut short, such as starting the server again that was stopped."""
    global _deadline
    if _deadline:
        _deadline = max(_deadline, time.monotonic() + seconds)


def leave_soon() -> None:
    """The result is told: threads that still wait for somebody must not keep the process."""

    def leave() -> None:
        time.sleep(1)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def end_children() -> None:
    """Tell the programs that this process has started to end."""
    for path in glob.glob(f"/proc/{os.getpid()}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as stream:
            for pid in stream.read().split():
                os.kill(int(pid), signal.SIGTERM)


@contextlib.contextmanager
def handed_on() -> Iterator[None]:
    """While another process does the work in our stead, it is told to stop when we are."""
    told: list[int] = []

    def tell(number: int, frame: object) -> None:
        told.append(number)
        end_children()

    before = {number: signal.signal(number, tell) for number in SIGNALS}
    _insist(lambda: bool(told))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _insist(seen: Callable[[], bool]) -> None:
    """What the kernel delivered has to reach Python, whose handlers run in the main thread alone, between two of its instructions: until one
    has ``seen`` it, it is sent there again. https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers"""
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    main = threading.main_thread().ident or 0

    def watch() -> None:
        while number := os.read(heard, 1):
            while number[0] in SIGNALS and not seen():
                time.sleep(0.3)
                if not seen():
                    signal.pthread_kill(main, number[0])

    threading.Thread(target=watch, daemon=True).start()


def _watch_asker() -> None:
    """Wait until nobody can hear the result any more."""
    poll = select.poll()
    try:
        poll.register(
            sys.stdout.fileno(), 0
        )  # what went wrong with it, or that its other end is closed, is always told
        poll.poll()
    except (OSError, ValueError):
        return
    os.kill(os.getpid(), signal.SIGHUP)


def _watch_clock(give_up: Callable[[Stopped], None]) -> None:
    while True:
        time.sleep(0.5)
        if _deadline and time.monotonic() > _deadline and _stopped is not None:
            if not _telling.acquire(blocking=False):  # pylint: disable=consider-using-with
                return
            for entry in reversed(_open):
                _note(entry, _stopped)
            give_up(_stopped)
            return
