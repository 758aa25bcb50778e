# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A script as it is run: what ``understand.understand`` found is left out or said otherwise, everything else goes by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Edit, Script

_CHUNK = 1 << 18


@dataclass(frozen=True)
class Rendering:
    """How edits become text. ``key``: of our own ``\\restrict``, which no script can know. ``target``: the database that is written into.
    ``preamble``: settings of each session."""

    key: str
    target: str
    preamble: str

    def begin(self) -> bytes:
        """What comes before the script: one line."""
        return f"{self.preamble.strip()}\n\\restrict {self.key}\n".encode()

    def end(self) -> bytes:
        """What comes behind it: psql says the key, which proves that it got there, and not in the middle of a string."""
        return f"\n\\unrestrict {self.key}\n\\echo {self.key}\n".encode()

    def edit(self, edit: Edit, old: bytes) -> bytes:
        """What stands in place of ``old``; as many lines, where that is possible, so that psql's line numbers are the script's."""
        if edit.target:
            return identifier(self.target)
        if edit.connect is not None:
            value = edit.connect.replace("\\", "\\\\").replace("'", "\\'").replace('"', '""')
            connect = f"\\connect -reuse-previous=on \"dbname='{value}'\""
            return f"\\unrestrict {self.key}\n{connect}\n".encode() + self.begin()
        return edit.text + b"\n" * (old.count(b"\n") - edit.text.count(b"\n"))


def identifier(name: str) -> bytes:
    """A name as SQL writes it."""
    return b'"' + name.replace('"', '""').encode("utf-8", "surrogateescape") + b'"'


def stop_at_copies(script: Script, key: str) -> list[Edit]:
    """Edits by which psql ends at a COPY that fails, also where other errors are allowed: its rows would be run as SQL."""

    def switch(at: int, value: int) -> Edit:
        return Edit(at, at, f"\n\\unrestrict {key}\n\\set ON_ERROR_STOP {value}\n\\restrict {key}\n".encode())

    return [edit for start, after in script.copies for edit in (switch(start, 1), switch(after, 0))]


def merged(first: Sequence[Edit], second: Sequence[Edit]) -> list[Edit]:
    """Both; where one of ``second`` lies within one of ``first`` (which leaves the statement out), or is the same, it is none."""
    return [
        *first,
        *(edit for edit in second if not any(one.start <= edit.start < max(one.end, one.start + 1) for one in first)),
    ]


def edited(source: Callable[[int], bytes], edits: Sequence[Edit], rendering: Rendering) -> Iterator[bytes]:
    """The script's bytes, with the edits made. Edits are sorted here; none overlaps another."""
    position, rest = 0, b""
    yield rendering.begin()
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        while position + len(rest) < edit.start:
            yield rest
            position += len(rest)
            rest = source(_CHUNK)
            if not rest:
                return  # it has become shorter; who reads it notices
        yield rest[: edit.start - position]
        rest, position = rest[edit.start - position :], edit.start
        while len(rest) < edit.end - edit.start:
            more = source(_CHUNK)
            if not more:
                return
            rest += more
        length = edit.end - edit.start
        yield rendering.edit(edit, rest[:length])
        rest, position = rest[length:], edit.end
    while True:
        rest = rest or source(_CHUNK)
        if not rest:
            break
        yield rest
        rest = b""
    yield rendering.end()
