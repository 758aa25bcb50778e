# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives as they come, a block at a time: their files' names and sizes, and whether they are whole. Pure.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

_BLOCK = 512
_END = b"\0" * _BLOCK
_LARGEST_NAME = 1024 * 1024  # bytes of a header that has a long name
_FILE, _LONG_NAME, _PAX = b"0", b"L", b"x"
#: those that have a size and no data: links and directories, devices
_EMPTY = (b"1", b"2", b"3", b"4", b"5", b"6")


class BadTar(ValueError):
    """What came is no tar archive, or not a whole one."""


class TarReader:
    """Takes an archive in pieces. ``on_file`` hears of each regular file's name and size."""

    def __init__(self, on_file: Callable[[str, int], None]) -> None:
        self._on_file = on_file
        self._rest = b""
        self._skip = 0  # bytes that are still to come and are of no interest
        self._long: Optional[tuple[bytes, int]] = None  # a header whose data is a name: its kind, and how long
        self._name: Optional[str] = None  # of the next member, where it did not fit
        self._size: Optional[int] = None
        self._files = 0
        self._zeros = 0

    def feed(self, data: bytes) -> None:
        """The next piece. Raises BadTar."""
        if self._skip >= len(data) and not self._rest:
            self._skip -= len(data)
            return
        data = self._rest + data if self._rest else data
        start = 0
        while True:
            if self._skip:
                step = min(self._skip, len(data) - start)
                start, self._skip = start + step, self._skip - step
            wanted = _padded(self._long[1]) if self._long else _BLOCK
            if len(data) - start < wanted:
                break
            piece = data[start : start + wanted]
            start += wanted
            if self._long:
                self._read_long(piece)
            else:
                self._read_header(piece)
        self._rest = data[start:]

    def end(self) -> int:
        """All came. Returns how many files there were. Raises BadTar: it was cut off."""
        if self._skip or self._rest or self._long:
            raise BadTar("it ends in the middle of a file")
        if self._zeros < 2:
            raise BadTar("it is empty" if not self._files and not self._zeros else "its end is missing")
        return self._files

    def _read_header(self, block: bytes) -> None:
        if block == _END:
            self._zeros += 1
            return
        if self._zeros:
            if self._zeros >= 2:
                raise BadTar("something follows its end")
            raise BadTar("a block of zeros is in its middle")
        said = _number(block[148:156])
        if said != sum(block) - sum(block[148:156]) + 8 * 32:
            raise BadTar("the header of a file in it is damaged")
        kind, size = block[156:157], _number(block[124:136])
        if kind in (_LONG_NAME, b"K", _PAX, b"g"):
            if size > _LARGEST_NAME:
                raise BadTar("a name in it is longer than any")
            self._long = (kind, size)
            return
        name = self._name if self._name is not None else _name(block)
        size = size if self._size is None else self._size
        self._name = self._size = None
        if kind in (_FILE, b"\0", b"7"):
            self._files += 1
            self._on_file(name, size)
        self._skip = 0 if kind in _EMPTY else _padded(size)

    def _read_long(self, data: bytes) -> None:
        kind, size = self._long or (b"", 0)
        self._long = None
        data = data[:size]
        if kind == _LONG_NAME:
            self._name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif kind == _PAX:
            self._read_pax(data)

    def _read_pax(self, data: bytes) -> None:
        while data:
            length, _space, _rest = data.partition(b" ")
            if not length.isdigit() or not 0 < int(length) <= len(data):
                raise BadTar("the header of a file in it is damaged")
            name, _equals, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
            if name == b"path":
                self._name = value.decode("utf-8", "surrogateescape")
            elif name == b"size" and value.isdigit():
                self._size = int(value)
            data = data[int(length) :]


def _padded(size: int) -> int:
    return (size + _BLOCK - 1) // _BLOCK * _BLOCK


def _number(field: bytes) -> int:
    if field[:1] in (b"\x80", b"\xff"):  # GNU: in base 256, for what octal digits cannot tell
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise BadTar("the header of a file in it is damaged") from None


def _name(block: bytes) -> str:
    name, prefix = block[:100].rstrip(b"\0"), b""
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].rstrip(b"\0")
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")
