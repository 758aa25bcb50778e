# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups lie that are to be verified: our folders in a repository, or an engine's own; each keeps what was found beside them."""

from __future__ import annotations

import abc
import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.verifications import (
    NONE,
    Failure,
    Mark,
    Marks,
    bad,
    change,
    forgotten,
    good,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE, ENGINES, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.verify import engine as by_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.choosing import Candidate
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import Broken
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.folder import FolderCheck

_PURPOSE = "a verification"


class VerifyTier(abc.ABC):
    """One of the tiers of a run. ``shelves`` are where what is found is kept."""

    def __init__(self, name: str, description: str, shelves: Sequence[Shelf]) -> None:
        self.name, self.description, self._shelves = name, description, shelves
        self.records: dict[str, Record] = {}
        #: what was known before this run
        self.marks: Marks = NONE
        #: what cannot be verified, as its manifest cannot be read: ids, and why
        self.unread: dict[str, str] = {}
        self._found: dict[str, Callable[[Optional[Mark]], Mark]] = {}

    @abc.abstractmethod
    def look(self, warnings: list[str]) -> None:
        """See what there is. Raises HoldfastError."""

    @abc.abstractmethod
    def answers(self) -> None:
        """Raises HoldfastError: it does not answer."""

    @abc.abstractmethod
    def reachable(self, record: Record, level: str) -> str:
        """How closely a backup can be looked at here, where ``level`` is asked for."""

    @abc.abstractmethod
    def verify(self, record: Record, level: str, told: Callable[[int], None]) -> Proof:
        """Look at one. Raises Broken, Gone, HoldfastError."""

    @abc.abstractmethod
    def held(self, record: Record, warnings: list[str]) -> contextlib.AbstractContextManager[object]:
        """Meanwhile nobody of ours deletes it. Raises CatalogError: it was deleted."""

    def size(self, record: Record, level: str) -> Optional[int]:
        """Bytes that looking at it reads."""
        return 0 if self.reachable(record, level) == "presence" else record.size

    def candidates(self, level: str, wanted: Optional[str]) -> Iterator[Candidate]:
        """What could be verified: all, or the one that is ``wanted`` (``latest``: the newest)."""
        order = in_order(self.records.values())
        chosen = order[-1:] if wanted == "latest" else [record for record in order if wanted in (None, record.id)]
        for record in chosen:
            mark = self.marks.of(record)
            failure = mark.failure if mark else None
            at = None if failure else self.marks.proven_at(record, self.reachable(record, level))
            yield Candidate(
                self.name, record.id, self.size(record, level), _time(at), _time(failure.at if failure else None)
            )

    def failure(self, backup_id: str) -> Optional[Failure]:
        """What was found bad before this run."""
        mark = self.marks.of(self.records[backup_id])
        return mark.failure if mark else None

    def keep_good(self, record: Record, level: str, at: str) -> Optional[Failure]:
        """Note that a backup was found good. Returns the failure that this does not take away, as it was seen by a closer look."""
        self._found[record.id] = lambda mark: good(mark, record, level, at)
        return good(self.marks.of(record), record, level, at).failure

    def keep_bad(self, record: Record, found: Broken, at: str) -> None:
        """Note that it was not."""
        self._found[record.id] = lambda mark: bad(mark, record, found.level, at, found.text)

    def write(self, warnings: list[str]) -> None:
        """Write down what was noted. What cannot be written is said: it was found all the same."""
        found, self._found = self._found, {}
        if not found:
            return
        there = {*self.records, *self.unread}
        for shelf in self._shelves:
            try:
                change(shelf.repository, shelf.name, found, forgotten(there, self._engines()))
            except HoldfastError as exc:
                warnings.append(
                    f"What was found of {', '.join(found)} could not be written down beside the backups: {exc}"
                )

    @abc.abstractmethod
    def _engines(self) -> Sequence[str]:
        """Whose backups lie here."""


class FolderVerifyTier(VerifyTier):
    """Our folders in a repository."""

    def __init__(self, name: str, shelf: Shelf, check: FolderCheck) -> None:
        super().__init__(name, f"{shelf.name} in {shelf.repository.description}", [shelf])
        self._shelf, self._check = shelf, check

    def look(self, warnings: list[str]) -> None:
        self._shelf.repository.check(write=False)
        found = look(self._shelf)
        self.records, self.marks = by_id(found.records), self._shelf.marks()
        of_unread = {*found.unread, *found.lost}
        self.unread = {name: next((text for text in found.problems if name in text), "") for name in sorted(of_unread)}
        told = set(self.unread.values())
        warnings += [text for text in found.problems if text not in told]
        if not self.records and not self.unread and (unknown := self._shelf.say_if_unknown()):
            warnings.append(unknown)

    def answers(self) -> None:
        self._shelf.repository.check(write=False)

    def reachable(self, record: Record, level: str) -> str:
        return "checksum" if record.engine in ELSEWHERE and level != "presence" else level

    def verify(self, record: Record, level: str, told: Callable[[int], None]) -> Proof:
        return self._check.verify(record, level, told)

    def held(self, record: Record, warnings: list[str]) -> contextlib.AbstractContextManager[object]:
        return Reading(self._shelf, [record.id], _PURPOSE, warnings)

    def _engines(self) -> Sequence[str]:
        return [name for name in ENGINES if name not in WITH_REPOSITORY]


class EngineVerifyTier(VerifyTier):
    """The repository of an engine that keeps one."""

    def __init__(self, engine: RepositoryEngine, shelves: Sequence[Shelf]) -> None:
        super().__init__(engine.name, f"the repository of {engine.name}", shelves)
        self._engine = engine

    def look(self, warnings: list[str]) -> None:
        # A listing leaves out what has lost a part, and says so: that is no backup any more, and no reason to find all well.
        self.unread = {}
        self.records = by_id(self._engine.backups(warnings, self.unread))
        if self._shelves:
            self.marks = self._shelves[0].marks()
            warnings += [self.marks.problem] if self.marks.problem else []
        else:
            warnings.append(
                f"What is found is written down nowhere: say repository, where {self._engine.name} keeps its backups, beside engine_config."
            )

    def answers(self) -> None:
        list(self._engine.backups([]))

    def reachable(self, record: Record, level: str) -> str:
        return by_engine.reachable(self._engine, level)

    def size(self, record: Record, level: str) -> Optional[int]:
        return 0 if self.reachable(record, level) == "presence" else record.scope.get("stored")

    def verify(self, record: Record, level: str, told: Callable[[int], None]) -> Proof:
        return by_engine.verify(self._engine, record, level)

    def held(self, record: Record, warnings: list[str]) -> contextlib.AbstractContextManager[object]:
        if not self._shelves:
            return contextlib.nullcontext()
        return Reading(
            self._shelves[0], [record.id], _PURPOSE, warnings, lambda name: name in by_id(self._engine.backups([]))
        )

    def _engines(self) -> Sequence[str]:
        return [self._engine.name]


def choose_one(tiers: Sequence[VerifyTier], wanted: str) -> None:
    """Raises CatalogError: no tier has the backup that was named."""
    if wanted == "latest":
        return
    for tier in tiers:
        if wanted in tier.records or wanted in tier.unread:
            return
    raise CatalogError(
        f"There is no backup {wanted!r} in {' or '.join(tier.description for tier in tiers)}. The module holdfast.postgres.backup_facts lists "
        "those that are there."
    )


def _time(text: Optional[str]) -> Optional[datetime.datetime]:
    return parse_time(text, "verified_at") if text else None
