# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of a backup have to be, by their role and format: readers of their content. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Optional

_TAIL = 1024  # bytes
_PLAIN_ENDS = re.compile(rb"^-- PostgreSQL database dump complete\r?$", re.MULTILINE)
_GLOBALS_END = re.compile(rb"^-- PostgreSQL database cluster dump complete\r?$", re.MULTILINE)
_ROWS_END = b"\\.\n\n\n"
_LARGEST_JSON = 256 * 1024 * 1024
#: a file of a table's rows in a dump in directory format, by the number of its entry
ROWS = re.compile(r"(\d+)\.dat(\.(gz|lz4|zst))?")
TOC = re.compile(r"toc\.dat(\.(gz|lz4|zst))?")


class Script:
    """A plain dump, or the cluster's roles: its last line says that it is complete."""

    def __init__(self, of_cluster: bool = False) -> None:
        self._end = _GLOBALS_END if of_cluster else _PLAIN_ENDS
        self._tail = b""
        self._any = False

    def feed(self, data: bytes) -> None:
        self._any = self._any or bool(data)
        self._tail = (self._tail + data)[-_TAIL:]

    def end(self) -> None:
        if not self._any:
            raise ValueError("it is empty")
        if not self._end.search(self._tail):
            raise ValueError("its last line, which says that the dump is complete, is missing: it was cut off")


class Rows:
    """A table's rows in a dump in directory format: what COPY wrote ends with a line of its own."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-len(_ROWS_END) :]

    def end(self) -> None:
        if self._tail != _ROWS_END:
            raise ValueError("it is empty" if not self._tail else "the end of its rows is missing: it was cut off")


class Json:
    """What is known of the cluster, beside the dumps."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > _LARGEST_JSON:
            raise ValueError("it is larger than any such record")

    def end(self) -> dict[str, Any]:
        if not self._data:
            raise ValueError("it is empty")
        try:
            found = json.loads(self._data.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            raise ValueError(f"it is no JSON ({exc})") from exc
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        return found


class NotEmpty:
    """Whatever it is, it is not nothing."""

    def __init__(self) -> None:
        self._any = False

    def feed(self, data: bytes) -> None:
        self._any = self._any or bool(data)

    def end(self) -> None:
        if not self._any:
            raise ValueError("it is empty")


def rows_of(listing: str) -> set[int]:
    """The numbers of the entries whose rows a dump in directory format has in a file each, by pg_restore's list of it."""
    return {int(found[1]) for found in re.finditer(r"^(\d+); \d+ \d+ TABLE DATA ", listing, re.MULTILINE)}


def plain_key(key: str, suffixes: tuple[str, ...]) -> str:
    """An artifact's file name without what we added to it."""
    name = key.rpartition("/")[2]
    for suffix in suffixes:
        name = name[: -len(suffix)] if suffix and name.endswith(suffix) else name
    return name


def number_of_rows(name: str) -> Optional[int]:
    """Of which entry of its dump a file has the rows."""
    found = ROWS.fullmatch(name)
    return int(found[1]) if found else None
