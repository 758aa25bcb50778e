# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A script as psql would read it: which statements, which meta-commands, which data. Pure, in flat memory.

It follows psql's rules: what splits a statement, that a backslash anywhere outside of strings begins a meta-command, that lines behind
COPY … FROM stdin are data until one that is ``\\.``. So a ``\\!`` in a row, a string or a comment is none.
Sources: https://www.postgresql.org/docs/current/sql-syntax-lexical.html, https://www.postgresql.org/docs/current/app-psql.html,
https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.buffer import Buffer
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import (
    MOST_TEXT,
    BrokenScript,
    Inserts,
    Item,
    Mark,
    Meta,
    Statement,
    Token,
    is_text,
    reads_data,
)

_AHEAD = 1024  # bytes that are looked at beyond a token, so that none is cut by a chunk's end
_MOST_TOKENS = 8192  # that are kept of one statement: a table has 1,600 columns at most
_LONGEST = 64 * 1024  # bytes of a meta-command's line that are looked at

_TOKEN = re.compile(
    rb"(?P<space>\s+)|(?P<line>--)|(?P<block>/\*)|(?P<escapes>[eE]')|(?P<string>(?:[bBxXnN]|[uU]&)?')"
    rb'|(?P<quoted>(?:[uU]&)?")|(?P<dollar>\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$)'
    rb"|(?P<word>[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*)|(?P<number>\$?[0-9]+(?:\.[0-9]+)?)|(?P<mark>.)",
    re.DOTALL,
)
# Most rows of a dump by --inserts in one step: strings begin behind a blank, comma or bracket and hold no backslash.
_INSERT = re.compile(
    rb"INSERT INTO ((?:\"[^\"\\]+\"|[\w.])+) (?:\([^'\"$;\\/\-()]*\) )?(?:OVERRIDING SYSTEM VALUE )?VALUES"
    rb" \((?:[^'\"$;\\/\-()]+|-(?!-)|(?<=[ ,(])'[^'\\]*(?:''[^'\\]*)*')*\);\n"
)
_PLAIN = re.compile(rb"''?")
_ESCAPED = re.compile(rb"\\.?|''?", re.DOTALL)
_NAME = re.compile(rb'""?')
_FURTHER = re.compile(rb"[ \t\f\v]*(?:--[^\n]*)?[\r\n]\s*(?:--[^\n]*\n\s*)*'")
_MARK = b"-- PostgreSQL database "
_COMMENT = re.compile(rb"/\*|\*/")
_META = re.compile(rb"\\([^\s\\]*)[ \t]*([^\n]*)")


def read(source: Callable[[int], bytes]) -> Iterator[Item]:
    """The items of a script; ``source(n)`` gives its next bytes, at most n, and none at its end.

    Raises:
        BrokenScript: it is cut off, or holds what no script can.
    """
    yield from _Reader(source).items()


class _Reader(Buffer):
    def __init__(self, source: Callable[[int], bytes]) -> None:
        super().__init__(source)
        self._escapes = False  # standard_conforming_strings = off
        self._begin()

    def _begin(self) -> None:
        self._tokens: list[Token] = []
        self._depth = self._block = 0
        self._kept: list[bytes] = []
        self._start = self._line = 0

    # The items

    def items(self) -> Iterator[Item]:
        self._ready(_AHEAD)
        if self._buffer.startswith(b"\xef\xbb\xbf"):
            self._at = 3  # psql passes over it, too
        while True:
            self._ready(_AHEAD)
            if self._at >= len(self._buffer):
                break
            if not self._tokens:
                inserts = self._inserts()
                if inserts is not None:
                    yield inserts
                    continue
            found = _TOKEN.match(self._buffer, self._at)
            if found is None:
                raise AssertionError("a token of any kind is always found")
            kind = found.lastgroup or ""
            if kind == "mark" and found.group() == b"\\":
                yield self._meta()
                continue
            if kind == "line" and not self._tokens and self._buffer.startswith(_MARK, self._at):
                yield self._mark()
                continue
            if self._take(kind, found):
                yield self._statement()
        if self._tokens:
            yield Statement(self._start, self._here(), self._line, tuple(self._tokens), ended=False)

    def _inserts(self) -> Optional[Inserts]:
        """As many rows of one table as are at hand."""
        if not self._buffer.startswith(b"INSERT INTO ", self._at) or self._escapes:
            return None
        table, count, line = None, 0, self._line_here()
        while True:
            found = _INSERT.match(self._buffer, self._at)
            if found is None or (table is not None and found.group(1) != table):
                break
            table, count, self._at = found.group(1), count + 1, found.end()
        return Inserts(table.decode("utf-8", "surrogateescape"), count, line) if table is not None else None

    def _mark(self) -> Mark:
        start, behind = self._here(), self._at + len(_MARK)
        end = self._buffer.find(b"\n", behind, behind + _AHEAD // 2)
        self._at = end if end >= 0 else min(len(self._buffer), behind + _AHEAD // 2)
        return Mark(start, self._here(), self._buffer[behind : self._at].decode("utf-8", "replace").strip())

    def _take(self, kind: str, found: re.Match[bytes]) -> bool:
        """Pass over a token. True: the statement ends with it."""
        text, start = found.group(), self._here()
        if kind == "space":
            self._at = found.end()
            return False
        if kind == "line":
            end = self._find(b"\n")
            self._at = len(self._buffer) if end < 0 else end
            return False
        if kind == "block":
            self._comment()
            return False
        if not self._tokens:
            self._start, self._line = start, self._line_here()
        self._at = found.end()
        if kind == "word":
            if self._at == len(self._buffer) and not self._eof:
                raise BrokenScript(f"it holds a word of more than {_AHEAD} letters, which no script does")
            self._identifier(text.lower())
            text = text.lower()
        elif kind in ("string", "escapes"):
            escapes = kind == "escapes" or (self._escapes and text in (b"'", b"n'", b"N'"))
            text = text + self._string(escapes)
        elif kind == "quoted":
            text = text + self._until(_NAME, b'"', "a quoted name")
        elif kind == "dollar":
            self._dollar(text)
            text = b"$$"
        elif text == b"(":
            self._depth += 1
        elif text == b")":
            self._depth = max(0, self._depth - 1)
        if text == b";" and not self._depth and not self._block:
            return True
        if len(self._tokens) < _MOST_TOKENS:
            self._tokens.append(Token(start, self._here(), text))
        return False

    def _identifier(self, word: bytes) -> None:
        """psql splits no statement within BEGIN ATOMIC … END of a function."""
        first = [token.text for token in self._tokens[:4]]
        if self._depth or first[:1] != [b"create"]:
            return
        rest = first[3:] if first[1:3] == [b"or", b"replace"] else first[1:]
        if rest[:1] not in ([b"function"], [b"procedure"]):
            return
        if word == b"begin" or (word == b"case" and self._block):
            self._block += 1
        elif word == b"end" and self._block:
            self._block -= 1

    def _comment(self) -> None:
        self._at += 2
        depth = 1
        while depth:
            found = _COMMENT.search(self._buffer, self._at)
            if found is not None:
                depth += 1 if found.group() == b"/*" else -1
                self._at = found.end()
                continue
            self._at = max(self._at, len(self._buffer) - 1)
            if not self._more():
                raise BrokenScript("it ends within a comment")

    def _until(self, pattern: re.Pattern[bytes], quote: bytes, what: str) -> bytes:
        """Pass what is quoted, and return its beginning. ``pattern`` finds quotes, doubled or escaped ones too."""
        kept = bytearray()
        while True:
            found = pattern.search(self._buffer, self._at)
            if found is None or (found.end() == len(self._buffer) and not self._eof):
                end = len(self._buffer) if found is None else found.start()
                kept += self._buffer[self._at : min(end, self._at + MOST_TEXT - len(kept))]
                self._at = end
                if not self._more() and found is None and self._at >= len(self._buffer):
                    raise BrokenScript(f"it ends within {what}")
                continue
            kept += self._buffer[self._at : min(found.end(), self._at + max(0, MOST_TEXT - len(kept)))]
            self._at = found.end()
            if found.group() == quote:
                return bytes(kept)

    def _string(self, escapes: bool) -> bytes:
        kept = self._until(_ESCAPED if escapes else _PLAIN, b"'", "a string")
        while escapes:  # a string goes on in the next line, by the same rules
            self._ready(_AHEAD)
            further = _FURTHER.match(self._buffer, self._at)
            if further is None:
                break
            self._at = further.end()
            kept += self._until(_ESCAPED, b"'", "a string")
        return kept

    def _dollar(self, tag: bytes) -> None:
        end = self._find(tag)
        if end < 0:
            raise BrokenScript("it ends within a dollar-quoted string")
        self._at = end + len(tag)

    def _meta(self) -> Meta:
        alone = not self._tokens and self._buffer[max(0, self._at - 1) : self._at] in (b"", b"\n")
        self._ready(_LONGEST)
        found = _META.match(self._buffer, self._at)
        if found is None:
            raise AssertionError("a backslash begins a meta-command")
        start, line = self._here(), self._line_here()
        self._at = found.end()
        name, argument = (part.decode("utf-8", "surrogateescape") for part in found.groups())
        if alone and name == "encoding":
            self._encoding(argument)
        return Meta(start, self._here(), line, name, argument.rstrip("\r"), alone)

    def _statement(self) -> Statement:
        words = [token.text for token in self._tokens]
        statement = Statement(self._start, self._here(), self._line, tuple(self._tokens))
        self._begin()
        if words[:1] == [b"set"]:
            self._set(words[1:])
        if words[:2] in ([b"reset", b"standard_conforming_strings"], [b"reset", b"all"], [b"discard", b"all"]):
            self._escapes = False
        if reads_data(words):
            rows = self._data(is_text(words))
            statement = replace(statement, rows=rows, after=self._here())
        return statement

    def _set(self, words: list[bytes]) -> None:
        words = words[1:] if words[:1] in ([b"session"], [b"local"]) else words
        value = words[-1].strip(b"'\"").lower() if words else b""
        if words[:1] == [b"standard_conforming_strings"]:
            self._escapes = value in (b"off", b"false", b"no", b"0", b"f", b"n")
        if words[:1] in ([b"client_encoding"], [b"names"]):
            self._encoding(value.decode("ascii", "replace"))

    def _data(self, text: bool) -> int:
        """Pass over the rows of COPY; their number, or -1 where a row may have several lines."""
        self._ready(_AHEAD)
        end = self._buffer.find(b"\n", self._at)
        if self._buffer[self._at : end if end >= 0 else len(self._buffer)].strip():
            raise BrokenScript("something follows COPY … FROM stdin on its line, which psql would run behind the data")
        if end < 0:
            raise BrokenScript("it ends where the rows of a table should come")
        self._at = end  # the line's end, so that each row, and the end of them, comes behind one
        rows = 0
        while True:
            found = self._buffer.find(b"\n\\.", self._at)
            if found < 0:
                upto = max(self._at, len(self._buffer) - 2)
            elif len(self._buffer) - found < 5 and not self._eof:
                upto = found
            else:
                upto = found + (0 if self._ends_data(found + 3) else 1)
            rows += self._buffer.count(b"\n", self._at, upto)
            self._at = upto
            if found >= 0 and upto == found and self._ends_data(found + 3):
                self._at = min(len(self._buffer), found + (5 if self._buffer[found + 3 : found + 4] == b"\r" else 4))
                return rows if text else -1
            if found < 0 or upto == found:
                if self._eof:
                    raise BrokenScript("it ends within the rows of a table")
                self._more()

    def _ends_data(self, at: int) -> bool:
        """Whether nothing else is on the line of ``\\.``."""
        rest = self._buffer[at : at + 2]
        return rest[:1] == b"\n" or rest == b"\r\n" or (self._eof and rest in (b"", b"\r"))
