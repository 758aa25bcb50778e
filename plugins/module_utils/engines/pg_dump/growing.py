# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is read while it is being written, and whose space is given back behind the reader."""

from __future__ import annotations

import ctypes
import io
import os
import threading
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

_CHUNK = 1024 * 1024
_KEEP_SIZE, _PUNCH_HOLE = 0x1, 0x2  # linux/falloc.h


class Growing:
    """A file that somebody writes, front to back, until ``finished`` is set. ``passed`` are the bytes that were read."""

    def __init__(self, path: str) -> None:
        self.path, self.name = path, os.path.basename(path)
        self.finished = threading.Event()
        self.passed = 0

    def open(self, given_up: threading.Event) -> Following:
        """Its bytes, as they come, up to its end. Once ``given_up`` is set, reading ends in an error."""
        return Following(self, given_up)


class Following(io.FileIO):
    """The read end of a pipe that a thread fills, since programs take the end of a growing file for its end."""

    def __init__(self, file: Growing, given_up: threading.Event) -> None:
        read_end, self._write_end = os.pipe()
        super().__init__(read_end, "rb")
        self._file, self._given_up, self._closing = file, given_up, False
        self._error: Optional[Exception] = None
        self._feeder = Background(self._feed)

    def check(self) -> None:
        """Raise what went wrong; ask when the end has come, before what was read is taken for the file. Raises ToolError."""
        if self._error is not None:
            raise ToolError(f"The file {self._file.path} was not read to its end: {self._error}.") from self._error

    @property
    def passed(self) -> int:
        """Bytes that were read so far."""
        return self._file.passed

    def close(self) -> None:
        self._closing = True
        if not self.closed:
            super().close()
            self._feeder.wait()

    def _feed(self) -> None:
        freed = 0
        try:
            with open(self._file.path, "r+b", buffering=0) as source:
                while not (self._given_up.is_set() or self._closing):
                    # Asked before it is read: what comes after the end of the writing is all.
                    finished = self._file.finished.is_set()
                    data = source.read(_CHUNK)
                    if data:
                        view = memoryview(data)
                        while view:
                            view = view[os.write(self._write_end, view) :]
                        self._file.passed += len(data)
                        if self._file.passed - freed >= _CHUNK:
                            _give_back(source.fileno(), freed, self._file.passed - freed)
                            freed = self._file.passed
                    elif finished:
                        return
                    else:
                        self._file.finished.wait(0.02)
                self._error = ToolError("the dump was given up")
        except OSError as exc:
            self._error = exc
        finally:
            os.close(self._write_end)


def _give_back(fd: int, start: int, size: int) -> None:
    """Free the space of so many bytes of a file (fallocate(2)). A file system that cannot keeps it until the file is gone."""
    libc = ctypes.CDLL(None)
    punch = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if punch is not None:
        punch(fd, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_longlong(start), ctypes.c_longlong(size))
