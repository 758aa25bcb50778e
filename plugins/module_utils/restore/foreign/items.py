# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script consists of: statements, commands to psql, rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

MOST_TEXT = 4096  # bytes that are kept of one string


class BrokenScript(Exception):
    """It ends, or goes on, where no script can: the reason in words."""


@dataclass(frozen=True)
class Token:
    """A word (lower case), a quoted name or a string (with its quotes; shortened beyond ``MOST_TEXT``), a number or a mark."""

    start: int
    end: int
    text: bytes


@dataclass(frozen=True)
class Statement:
    """What is sent to the server at once. ``start`` and ``end``: bytes from the beginning of the script, comments before it
    left out; ``line``: its first line. ``rows``: rows of COPY data behind it, which end at ``after`` (-1: they could not be counted);
    None: it has none. ``ended``: by a semicolon."""

    start: int
    end: int
    line: int
    tokens: tuple[Token, ...]
    rows: Optional[int] = None
    after: int = 0
    ended: bool = True

    @property
    def words(self) -> list[str]:
        """Its tokens as text; words in lower case."""
        return [token.text.decode("utf-8", "surrogateescape") for token in self.tokens]


@dataclass(frozen=True)
class Meta:
    """A command to psql itself. ``alone``: it has a line of its own, and no statement is open."""

    start: int
    end: int
    line: int
    name: str
    argument: str
    alone: bool


@dataclass(frozen=True)
class Inserts:
    """Consecutive plain INSERT statements of one row each, into the same table (as it is written there)."""

    table: str
    rows: int
    line: int


@dataclass(frozen=True)
class Mark:
    """The comment by which pg_dump and pg_dumpall begin and end: ``dump``, ``dump complete``, ``cluster dump`` …"""

    start: int
    end: int
    text: str


Item = Union[Statement, Meta, Inserts, Mark]


def reads_data(words: list[bytes]) -> bool:
    """Whether a statement is followed by rows: COPY … FROM stdin."""
    if words[:1] != [b"copy"]:
        return False
    depth = 0
    for number, word in enumerate(words):
        depth += (word == b"(") - (word == b")")
        if word == b"from" and not depth:
            return words[number + 1 : number + 2] in ([b"stdin"], [b"stdout"])  # both are its own input
        if word == b"to" and not depth:
            return False
    return False


def is_text(words: list[bytes]) -> bool:
    """Whether each line of COPY's data is a row."""
    where = words.index(b"from")
    return b"csv" not in [word.strip(b"'\"").lower() for word in words[where:]]


def unquoted(word: str) -> str:
    """A name as it is, from how SQL writes it."""
    if word[:1] == '"' and word[-1:] == '"':
        return word[1:-1].replace('""', '"')
    if word[:1] == "'" and word[-1:] == "'":
        return word[1:-1].replace("''", "'")
    return word
