# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small objects of a repository, within bounds: what somebody else can write there decides neither memory nor time.

Sources: CWE-409 (a little that unpacks to a lot), CWE-674 (nesting that is deeper than a stack).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository

MIB = 1024 * 1024
#: bytes of a manifest: a directory dump of 100,000 files has 25 MiB
LARGEST_MANIFEST = 64 * MIB
#: bytes of a lock
LARGEST_LOCK = 64 * 1024
#: levels of brackets; ours have six
DEEPEST = 64


def read(repository: Repository, key: str, most: int) -> bytes:
    """An object's content.

    Raises:
        ObjectMissing: there is none.
        CatalogError: it has more than ``most`` bytes.
    """
    where = f"{key} in {repository.description}"
    if repository.remote:
        return gather(repository.blocks(key), most, where)
    with repository.open(key) as stream:  # reading ahead, as blocks does, costs more than a small file
        return gather([stream.read(most + 1)], most, where)


def gather(blocks: Iterable[bytes], most: int, where: str) -> bytes:
    """Blocks as one. Raises CatalogError: they are more than ``most`` bytes."""
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > most:
            raise CatalogError(
                f"{where} has more than {most // 1024} KiB, which is no size for it. It is damaged, or somebody put it there; it was not "
                "read any further."
            )
    return bytes(data)


def loads(data: bytes, deepest: int = DEEPEST) -> Any:
    """What JSON says. Raises ValueError: it is none, is nested deeper than so many levels, or has text that is none."""
    try:
        value = json.loads(data.decode("utf-8"))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    if not is_shallow(value, deepest):
        raise ValueError(f"it is nested deeper than {deepest} levels")
    if b"\\ud" in data or b"\\uD" in data:
        # Half a surrogate pair is no character, and fails wherever it is written.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def is_shallow(value: Any, levels: int) -> bool:
    """Whether what JSON made is nested at most so deep."""
    layer = [value] if isinstance(value, (dict, list)) else []
    for _level in range(levels):
        # Level by level: there may be thousands of manifests.
        layer = [
            inner
            for item in layer
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, (dict, list))
        ]
        if not layer:
            return True
    return False


def gunzip_lines(data: bytes, line: int, most: int) -> Iterator[bytes]:
    """The lines of what gzip packed, one at a time. Ends with ValueError where one has more than ``line`` bytes, they come to more
    than ``most``, or the data is damaged."""
    unpacker, rest, total = zlib.decompressobj(wbits=31), b"", 0
    while data and not unpacker.eof:
        try:
            made = unpacker.decompress(data, 64 * 1024)
        except zlib.error as exc:
            raise ValueError(str(exc)) from exc
        data = unpacker.unconsumed_tail
        total += len(made)
        *lines, rest = (rest + made).split(b"\n")
        if total > most or len(rest) > line:
            raise ValueError(f"it unpacks to more than {most} bytes, or to a line of more than {line}")
        yield from lines
    if rest:
        yield rest
