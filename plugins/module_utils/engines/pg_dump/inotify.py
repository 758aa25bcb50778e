# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the files of a directory, as the kernel tells it (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_CLOSE_WRITE, _CREATE, _OVERFLOW = 0x8, 0x100, 0x4000  # sys/inotify.h
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True)
class Event:
    """A file was made, or closed by who wrote it. ``lost``: more happened than the kernel could tell; then it has no name."""

    name: str
    closed: bool
    lost: bool


class Watch:
    """Watches a directory, from now on.

    Raises:
        OSError: the kernel has no watch left for this user (fs.inotify.max_user_instances), or no such thing.
    """

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError as exc:
            raise OSError("this system has no inotify") from exc
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if libc.inotify_add_watch(self._fd, os.fsencode(path), _CLOSE_WRITE | _CREATE) < 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)

    def close(self) -> None:
        """Watch no more."""
        os.close(self._fd)

    def events(self, seconds: float) -> Iterator[Event]:
        """What has happened; waits so long for the first."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return
        data = os.read(self._fd, 65536)
        while data:
            _watch, mask, _cookie, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            data = data[_EVENT.size + length :]
            yield Event(os.fsdecode(name), bool(mask & _CLOSE_WRITE), bool(mask & _OVERFLOW))
