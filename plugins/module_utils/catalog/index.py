# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many manifests of an object store at once.

A request for each of 10,000 manifests takes minutes. The listing has a mark of each object's content; an index, one object,
has the manifests that were there when it was written, each with its mark. Only those whose mark differs are fetched. The
index is a cache: what it says is believed only where the listing agrees, and without it everything works, only slower.
"""

from __future__ import annotations

import contextlib
import gzip
import heapq
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background, threads
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    ObjectMissing,
    ObjectUnreadable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository

MANIFEST = "manifest.json"
INDEX = "_index.jsonl.gz"  # no backup's id: that begins with a letter or digit
STALE = 32  # manifests that the index lacks, from which on it is written anew
_THREADS = 16

#: a manifest, or why it is not to be had: the store does not hand it out, or it is no manifest's size; None: there is none
Found = Union[bytes, ObjectUnreadable, CatalogError, None]

#: bytes of an index, packed: 100,000 manifests have 20 MiB
_LARGEST_PACKED = 64 * bounded.MIB
#: bytes of a manifest that the index takes, and that it has of each on average at most
_LARGEST_ROW = bounded.MIB
#: bytes of an index, unpacked, where only its ids are wanted
_LARGEST_INDEX = 1024 * bounded.MIB


def read_one(repository: Repository, server: str, backup_id: str) -> Found:
    """The manifest of one backup. Raises RepositoryError: the store cannot be used."""
    try:
        return bounded.read(repository, f"{server}/{backup_id}/{MANIFEST}", bounded.LARGEST_MANIFEST)
    except ObjectMissing:
        return None
    except (ObjectUnreadable, CatalogError) as exc:
        return exc


def read_all(repository: Repository, server: str, name: re.Pattern[str]) -> Iterator[tuple[str, Found]]:
    """Each backup's id and manifest (None: an interrupted one has none), in the order of the ids."""
    there, known = _look(repository, server, name)
    rest = set(there).difference(known)
    return heapq.merge(
        sorted(known.items()), _fetch(repository, server, sorted(rest), there), key=lambda entry: entry[0]
    )


def indexed(repository: Repository, server: str) -> set[str]:
    """The ids of all backups that were there when the index was written. Raises RepositoryError."""
    found: set[str] = set()
    with contextlib.suppress(ValueError, TypeError):
        for row in bounded.gunzip_lines(_read(repository, server), _LARGEST_ROW, _LARGEST_INDEX):
            found.add(str(bounded.loads(row, 2)[0])[:128])
    return found


def refresh(repository: Repository, server: str, name: re.Pattern[str]) -> None:
    """Write the index anew, if it lacks many."""
    if not repository.remote:
        return
    found, known = _look(repository, server, name)
    there = {backup_id: mark for backup_id, mark in found.items() if mark}
    if len(there) - len(known) < STALE:
        return
    rows = (
        json.dumps([backup_id, there[backup_id], data.decode(errors="replace")]) + "\n"
        for backup_id, data in read_all(repository, server, name)
        if isinstance(data, bytes) and len(data) < _LARGEST_ROW // 2 and backup_id in there
    )
    repository.write(f"{server}/{INDEX}", gzip.compress("".join(rows).encode(), 1, mtime=0))


def _look(
    repository: Repository, server: str, name: re.Pattern[str]
) -> tuple[dict[str, Optional[str]], dict[str, bytes]]:
    """What there is (ids with their manifests' marks), and what the index has of it."""
    packed = Background(lambda: _read(repository, server))
    there = _manifests(repository, server, name)
    return there, dict(_known(packed.result(), there))


def _manifests(repository: Repository, server: str, name: re.Pattern[str]) -> dict[str, Optional[str]]:
    """Each backup's id, and the mark of its manifest (None: there is none)."""
    found: dict[str, Optional[str]] = {}
    unfinished = Background(lambda: repository.unfinished(server))
    there = ((info.key, info.tag) for info in repository.list(server))
    for key, tag in itertools.chain(there, _unmarked(unfinished)):
        backup_id, slash, rest = key[len(server) + 1 :].partition("/")
        if slash and name.fullmatch(backup_id):
            found[backup_id] = tag if rest == MANIFEST else found.get(backup_id)
    return found


def _unmarked(keys: Background[Sequence[str]]) -> Iterator[tuple[str, None]]:
    for key in keys.result():
        yield key, None


def _read(repository: Repository, server: str) -> bytes:
    """The index, packed; empty when there is none, or it cannot be read."""
    try:
        return bounded.read(repository, f"{server}/{INDEX}", _LARGEST_PACKED)
    except (ObjectMissing, ObjectUnreadable, CatalogError):
        return b""


def _known(packed: bytes, there: Mapping[str, Optional[str]]) -> Iterator[tuple[str, bytes]]:
    """Manifests that the index has as they are now, by id. A damaged index says no more from where it is damaged on."""
    most = (len(there) + 1) * _LARGEST_ROW
    with contextlib.suppress(ValueError, TypeError):
        for row in bounded.gunzip_lines(packed, _LARGEST_ROW, most):
            backup_id, mark, text = bounded.loads(row, 2)
            if all(isinstance(item, str) for item in (backup_id, mark, text)) and there.get(backup_id) == mark:
                yield backup_id, text.encode()


def _fetch(
    repository: Repository, server: str, wanted: list[str], there: Mapping[str, Optional[str]]
) -> Iterator[tuple[str, Found]]:
    def one(backup_id: str) -> tuple[str, Found]:
        return backup_id, None if there[backup_id] is None else read_one(repository, server, backup_id)

    if not wanted:
        return
    with threads(_THREADS) as pool:
        for first in range(0, len(wanted), 1000):
            yield from pool.map(one, wanted[first : first + 1000])
