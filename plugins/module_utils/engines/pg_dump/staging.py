# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump in the directory format on its way: pg_dump writes many files at once, and they are read while they grow.

Each is read by one of as many threads as pg_dump has jobs, in the order in which they were begun: so each file that is open has
its reader, and the space behind the readers is given back. When half of what is allowed lies on the disk, since stores are
slower than the dump, pg_dump is stopped until there is room; the other half is for what it writes until it is looked at.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.growing import Following, Growing
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.inotify import Watch
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.session import Session

_LOOK = 0.01  # seconds between two looks at the disk
# Written front to back and then left alone. What lists others (toc.dat, blobs.toc) is written to until the end.
_DATA = re.compile(r"(?!toc\.)[^.]+\.dat(\..+)?")

#: stores a file: its name, and its bytes
Put = Callable[[str, Following], None]


def dump(command: Command, path: str, limit: int, jobs: int, put: Put, tell: Callable[[int], None]) -> list[str]:
    """Run pg_dump, which writes into the new directory ``path``, and ``put`` each of its files. ``limit`` bytes lie there at
    most, and no more than half of what is free. ``tell`` hears twice a second how many bytes were read.

    Returns what pg_dump told, and that the whole dump had to be written first where it had.

    Raises:
        ToolError: pg_dump failed.
        HoldfastError: what ``put`` raises.
    """
    os.mkdir(path, 0o700)
    with Staging(path, limit, jobs, put) as staging:
        try:
            with Chain([replace(command, session=True)], subprocess.DEVNULL, subprocess.DEVNULL) as chain:
                program = chain.processes[0]
                with Session(program.pid) as session, staging.kept_small(session):
                    while program.poll() is None:
                        tell(staging.passed())
                        staging.check()
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            program.wait(0.5)
                chain.finish()
                said = chain.messages(0).splitlines()
        except ToolError as exc:
            raise _explained(exc, path) from exc
        staging.finish(tell)
        return said + ([staging.doubt] if staging.doubt else [])


def _explained(exc: ToolError, path: str) -> ToolError:
    message = str(exc)
    # The server's errors begin so: its disk is another one.
    if "No space left on device" not in message or "ERROR:" in message:
        return exc
    return ToolError(
        f"{os.path.dirname(path)} is full: files of the directory format wait there for the repository. Name a larger directory by TMPDIR "
        f"(environment of the task), or use another format, which needs none. ({message})"
    )


class Staging:
    """The files of a dump in the directory ``path``. Use as a context manager: what is still being read then, is given up."""

    def __init__(self, path: str, limit: int, readers: int, put: Put) -> None:
        self._path, self._put = path, put
        self._limit = min(limit, shutil.disk_usage(path).free // 2)
        self._files: dict[str, Growing] = {}  # by name, in the order in which they were begun
        self._reading: list[Future[None]] = []
        self._errors: list[BaseException] = []
        self._given_up = Event()
        #: why the whole dump has to be written first, where it has
        self.doubt: Optional[str] = None
        self._watch: Optional[Watch] = None
        try:
            self._watch = Watch(path)
        except OSError as exc:
            self.doubt = f"The dump was written as a whole into {path} before it went to the repository: {exc}."
        self._pool = ThreadPoolExecutor(readers)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *exc: object) -> None:
        self._given_up.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._watch is not None:
            self._watch.close()

    def passed(self) -> int:
        """Bytes that were read so far."""
        return sum(file.passed for file in list(self._files.values()))

    def check(self) -> None:
        """Raise what went wrong with a file."""
        if self._errors:
            raise self._errors[0]

    def finish(self, tell: Callable[[int], None]) -> None:
        """Nobody writes any more: read what is left, and wait for all. Raises what went wrong with a file."""
        for name in sorted(os.listdir(self._path)):
            if name not in self._files:
                self._begin(name)
        for file in self._files.values():
            file.finished.set()
        while wait(self._reading, timeout=0.5).not_done:
            tell(self.passed())
            self.check()
        self.check()

    @contextlib.contextmanager
    def kept_small(self, session: Session) -> Iterator[None]:
        """Meanwhile files are read as they grow, and who writes them is stopped where that is too slow."""
        over = Event()
        keeper = Background(lambda: self._keep(self._watch, session, over) if self._watch is not None else None)
        try:
            yield
        finally:
            over.set()
            keeper.wait()
        keeper.result()

    def _keep(self, watch: Watch, session: Session, over: Event) -> None:
        stopped, due = False, 0.0
        while not over.is_set():
            if not self._hear(watch):
                session.go_on()
                return
            if time.monotonic() < due:
                continue
            began = time.thread_time()
            taken, unread = self._look()
            if stopped and (taken <= self._limit // 4 or not unread):
                session.go_on()
                stopped = False
            elif not stopped and unread and taken > self._limit // 2:
                session.stop()
                stopped = True
            # Many files take long to look at.
            due = time.monotonic() + max(_LOOK, 10 * (time.thread_time() - began))

    def _hear(self, watch: Watch) -> bool:
        """Begin with files that were begun. Returns whether all can be known that happens."""
        for event in watch.events(_LOOK):
            if event.lost:
                self.doubt = f"More files were written into {self._path} at once than could be followed: the rest was staged as a whole."
                return False
            if event.closed and event.name in self._files:
                self._files[event.name].finished.set()
            elif not event.closed and _DATA.fullmatch(event.name):
                self._begin(event.name)
        return True

    def _look(self) -> tuple[int, bool]:
        """Bytes on the disk, and whether any of them has a reader who is yet to read it."""
        taken, unread = 0, False
        with os.scandir(self._path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    taken += status.st_blocks * 512
                    file = self._files.get(entry.name)
                    unread = unread or (file is not None and status.st_size > file.passed)
        return taken, unread

    def _begin(self, name: str) -> None:
        file = self._files[name] = Growing(os.path.join(self._path, name))
        self._reading.append(self._pool.submit(self._store, file))

    def _store(self, file: Growing) -> None:
        try:
            with file.open(self._given_up) as stream:
                self._put(file.name, stream)
            os.unlink(file.path)
        except BaseException as exc:  # raised by check(), in the thread that can be heard
            self._errors.append(exc)
