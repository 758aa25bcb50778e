# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of a script at hand, while they go by: in flat memory, with the number of the line, and safe from encodings whose letters
look like quotes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import BrokenScript

_CHUNK = 1 << 20

# Client encodings in which the second byte of a character may look like an ASCII character: a pair is taken as one letter.
_PAIRS = {
    name: re.compile(rb"[\x81-\x9f\xe0-\xfc][^\n]" if "jis" in name else rb"[\x81-\xfe][^\n]", re.DOTALL)
    for name in ("sjis", "shiftjis2004", "big5", "gbk", "gb18030", "uhc", "johab")
}
_ALIASES = {"shiftjis": "sjis", "mskanji": "sjis", "win932": "sjis", "windows932": "sjis", "win950": "big5",
            "windows950": "big5", "win936": "gbk", "windows936": "gbk", "win949": "uhc", "windows949": "uhc"}  # fmt: skip


class Buffer:
    """What was read and is not passed yet. ``source(n)`` gives the next bytes, at most n, and none at its end."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._buffer, self._at, self._eof = b"", 0, False
        self._base = 0  # bytes that were thrown away
        self._lines, self._counted = 1, 0  # the number of the line, and where in the buffer that is
        self._pairs: Optional[re.Pattern[bytes]] = None
        self._half = b""  # the first byte of a character whose second one was not read yet

    def _more(self) -> bool:
        """Read on; what is behind us is thrown away, but for one byte. False at the end."""
        if self._eof:
            return False
        chunk = self._source(_CHUNK)
        self._eof = not chunk
        if b"\0" in chunk:
            raise BrokenScript("it holds zero bytes, which no script does: a part of it is lost")
        behind = max(0, self._at - 1)
        self._lines += self._buffer.count(b"\n", self._counted, behind)
        self._counted = max(0, self._counted - behind)
        self._base += behind
        self._at -= behind
        self._buffer = self._buffer[behind:] + self._letters(chunk)
        return not self._eof

    def _letters(self, chunk: bytes) -> bytes:
        """With letters in place of characters of two bytes; the first byte of one whose second is not read yet waits."""
        chunk, self._half = self._half + chunk, b""
        if self._pairs is None:
            return chunk
        chunk = self._pairs.sub(b"xx", chunk)
        if chunk[-1:] >= b"\x81" and not self._eof:
            self._half, chunk = chunk[-1:], chunk[:-1]
        return chunk

    def _ready(self, count: int) -> None:
        while len(self._buffer) - self._at < count and self._more():
            pass

    def _find(self, what: bytes) -> int:
        """Where it comes next; everything before is passed. -1: nowhere."""
        while True:
            found = self._buffer.find(what, self._at)
            if found >= 0:
                return found
            self._at = max(self._at, len(self._buffer) - len(what) + 1)
            if not self._more():
                self._at = len(self._buffer)
                return -1

    def _here(self) -> int:
        return self._base + self._at

    def _line_here(self) -> int:
        self._lines += self._buffer.count(b"\n", self._counted, self._at)
        self._counted = self._at
        return self._lines

    def _encoding(self, name: str) -> None:
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        pairs, before = _PAIRS.get(_ALIASES.get(plain, plain)), self._pairs
        self._pairs = pairs
        if pairs is not None and before is None:
            self._buffer = self._buffer[: self._at] + self._letters(self._buffer[self._at :])
