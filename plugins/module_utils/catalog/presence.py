# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a backup is there, as its manifest says: every artifact, with its size; and what verifying it found, which alone reads what is in
them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf

_THREADS = 16


def damage(shelf: Shelf, record: Record) -> Optional[str]:
    """What is wrong with a backup, as the end of a sentence: what it visibly lacks, or what verifying it found; None: nothing that is known. Raises
    RepositoryError: it could not be looked at."""
    return lacking(shelf, record) or shelf.marks().failure(record)


def lacking(shelf: Shelf, record: Record) -> Optional[str]:
    """What a backup lacks; None: all is there. Raises RepositoryError: it could not be looked at."""
    there = {info.key: info.size for info in shelf.repository.list(f"{shelf.name}/{record.id}")}
    wrong = []
    for artifact in record.artifacts:
        key = shelf.key(record.id, artifact.key)
        size = there.get(key)
        if size is None:
            info = shelf.repository.stat(key)  # a listing may lag behind, or be cut short
            size = None if info is None else info.size
        if size is None:
            wrong.append(f"{artifact.key} is missing")
        elif size != artifact.size:
            wrong.append(f"{artifact.key} has {size} bytes instead of {artifact.size}")
    if not wrong:
        return None
    more = f", and {len(wrong) - 3} more like that" if len(wrong) > 3 else ""
    return f"{'; '.join(wrong[:3])}{more}"


def damages(shelf: Shelf, records: Iterable[Record]) -> Iterator[tuple[str, Optional[str]]]:
    """``damage`` of several, with their ids, many at a time. Raises RepositoryError."""
    listed = list(records)
    if len(listed) < 2:
        yield from ((record.id, damage(shelf, record)) for record in listed)
        return
    with threads(_THREADS) as pool:
        yield from zip((record.id for record in listed), pool.map(lambda record: damage(shelf, record), listed))


class Presence:
    """Remembers what was looked at in one run."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._known: dict[str, Optional[str]] = {}

    def look(self, records: Iterable[Record]) -> Mapping[str, str]:
        """The damaged ones among all that were looked at so far, with what is wrong. Raises RepositoryError."""
        self._known.update(damages(self._shelf, [record for record in records if record.id not in self._known]))
        return {name: wrong for name, wrong in self._known.items() if wrong is not None}

    def is_damaged(self, record: Record) -> bool:
        """Look at one. Raises RepositoryError."""
        return record.id in self.look([record])

    def knows(self, backup_id: str) -> bool:
        """Whether it was looked at."""
        return backup_id in self._known
