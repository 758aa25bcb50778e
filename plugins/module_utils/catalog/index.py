# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many manifests of an object store at once.

A request for each of 10,000 manifests takes minutes. The listing has a mark of each object's content; an index, one object,
has the manifests that were there when it was written, each with its mark. Only those whose mark differs are fetched. The
index is a cache: what it says is believed only where the listing agrees, and without it everything works, only slower.
"""

from __future__ import annotations

import gzip
import heapq
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ObjectMissing, ObjectUnreadable
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository

MANIFEST = "manifest.json"
INDEX = "_index.jsonl.gz"  # no backup's id: that begins with a letter or digit
STALE = 32  # manifests that the index lacks, from which on it is written anew
_THREADS = 16

#: a manifest, or why the store does not hand it out; None: there is none
Found = Union[bytes, ObjectUnreadable, None]


def read_one(repository: Repository, server: str, backup_id: str) -> Found:
    """The manifest of one backup. Raises RepositoryError: the store cannot be used."""
    try:
        return repository.read(f"{server}/{backup_id}/{MANIFEST}")
    except ObjectMissing:
        return None
    except ObjectUnreadable as exc:
        return exc


def read_all(repository: Repository, server: str, name: re.Pattern[str]) -> Iterator[tuple[str, Found]]:
    """Each backup's id and manifest (None: an interrupted one has none), in the order of the ids."""
    there, lines = _look(repository, server, name)
    known = [(backup_id, text.encode()) for backup_id, mark, text in lines if there.get(backup_id) == mark]
    rest = set(there).difference(backup_id for backup_id, _text in known)
    return heapq.merge(known, _fetch(repository, server, sorted(rest), there), key=lambda entry: entry[0])


def refresh(repository: Repository, server: str, name: re.Pattern[str]) -> None:
    """Write the index anew, if it lacks many."""
    if not repository.remote:
        return
    found, lines = _look(repository, server, name)
    there = {backup_id: mark for backup_id, mark in found.items() if mark}
    known = sum(there.get(backup_id) == mark for backup_id, mark, _text in lines)
    if len(there) - known < STALE:
        return
    rows = (
        json.dumps([backup_id, there[backup_id], data.decode()]) + "\n"
        for backup_id, data in read_all(repository, server, name)
        if isinstance(data, bytes) and backup_id in there
    )
    repository.write(f"{server}/{INDEX}", gzip.compress("".join(rows).encode(), 1, mtime=0))


def _look(
    repository: Repository, server: str, name: re.Pattern[str]
) -> tuple[dict[str, Optional[str]], Sequence[tuple[str, str, str]]]:
    """What there is and what the index says, asked for at the same time."""
    lines = Background(lambda: list(_lines(repository, server)))
    return _manifests(repository, server, name), lines.result()


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


def _lines(repository: Repository, server: str) -> Iterator[tuple[str, str, str]]:
    """What the index says, in the order of the ids: id, mark, manifest. A damaged one says nothing."""
    try:
        data = repository.read(f"{server}/{INDEX}")
        for row in gzip.decompress(data).splitlines():
            backup_id, mark, text = json.loads(row)
            yield backup_id, mark, text
    except (ObjectMissing, ObjectUnreadable, OSError, EOFError, ValueError, TypeError, zlib.error):
        return


def _fetch(
    repository: Repository, server: str, wanted: list[str], there: Mapping[str, Optional[str]]
) -> Iterator[tuple[str, Found]]:
    def one(backup_id: str) -> tuple[str, Found]:
        return backup_id, None if there[backup_id] is None else read_one(repository, server, backup_id)

    if not wanted:
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(wanted), 1000):
            yield from pool.map(one, wanted[first : first + 1000])
