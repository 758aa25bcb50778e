# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects and backups from one repository into another, whatever the two are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads as pool_of
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.memory import MEMORY, Budget, needed
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, chain
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST, refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order, latest_whole
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS, NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import ObjectInfo, Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.identity import overlap, same_content
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.transfer import ObjectRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow

#: called with bytes that have been copied
OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Step:
    """One object to copy, by its key in the source and in the target."""

    source: str
    target: str
    size: int


class Copier:
    """Copies objects from ``source`` to ``target``; within one store the store does it by itself. What passes through here takes
    at most ``memory`` bytes, all threads together."""

    def __init__(
        self, source: Repository, target: Repository, on_bytes: OnBytes, memory: int, read_back: bool = True
    ) -> None:
        self._source, self._target, self._on_bytes, self._read_back = source, target, on_bytes, read_back
        self._budget = Budget(memory)
        self._done = 0

    def run(self, steps: Sequence[Step], threads: int) -> int:
        """Copy them all, ``threads`` at a time. Returns how many the store copied by itself.

        Raises:
            HoldfastError: one could not be copied, or differs. Those that were copied stay: the next run goes on from there.
        """
        with pool_of(threads) as pool:
            futures = [pool.submit(self._one, step) for step in steps]
            try:
                by_store = sum(future.result() for future in futures)
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        self._check_sizes(steps)
        return by_store

    def _one(self, step: Step) -> bool:
        by_store = self._within_store(step)
        if not by_store:
            with self._budget.hold(needed(self._source, step.size) + needed(self._target, step.size)):
                self._through_here(step)
        self._done += step.size
        self._on_bytes(self._done)
        return by_store

    def _within_store(self, step: Step) -> bool:
        source, target = self._source, self._target
        if not isinstance(source, ObjectRepository) or not isinstance(target, ObjectRepository):
            return False
        from_key, to_key = source.key(step.source), target.key(step.target)
        return target.attempt("copy within", lambda: target.store.copy_from(source.store, from_key, to_key, step.size))

    def _check_sizes(self, steps: Sequence[Step]) -> None:
        """Are they all there? One listing says so of a thousand, where a look at each would take as long as the copies."""
        if not steps:
            return
        folder = os.path.commonpath([os.path.dirname(step.target) for step in steps])
        there = {info.key: info.size for info in self._target.list(folder)}
        for step in steps:
            if there.get(step.target) != step.size:
                raise RepositoryError(
                    f"{step.target} in {self._target.description} has {there.get(step.target, 'no')} bytes after the copy instead of "
                    f"{step.size}. The source was not touched: run it again."
                )

    def _through_here(self, step: Step) -> None:
        digest = hashlib.sha256()
        sink = self._target.sink(step.target, lasting=True)
        try:
            for data in self._source.blocks(step.source):
                digest.update(data)
                sink.write(data)
        except BaseException:
            sink.abort()
            raise
        sink.commit()
        if self._read_back and digest.hexdigest() != sha256(self._target, step.target):
            raise RepositoryError(
                f"{step.target} in {self._target.description} was read back with another content than was copied. The source was "
                "not touched: run it again, and look at the store's health."
            )


def sha256(repository: Repository, key: str) -> str:
    """Of an object's content, read back."""
    digest = hashlib.sha256()
    for data in repository.blocks(key):
        digest.update(data)
    return digest.hexdigest()


@dataclass
class Moved:
    """What a run copied, or would copy. ``size`` is bytes."""

    plan: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    objects: int = 0
    size: int = 0
    by_store: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, steps: Sequence[Step]) -> None:
        """Count steps."""
        self.objects += len(steps)
        self.size += sum(step.size for step in steps)


def missing_steps(record: Record, source: Shelf, target: Shelf) -> list[Step]:
    """What of a backup is not in the target yet: an object of the same size is taken for copied, and verified later."""
    names = [(artifact.key, artifact.size) for artifact in record.artifacts]
    info = source.repository.stat(source.key(record.id, INSTRUCTIONS))
    names += [(INSTRUCTIONS, info.size)] if info else []
    there = {item.key: item.size for item in target.repository.list(f"{target.name}/{record.id}")}
    return [
        Step(source.key(record.id, name), target.key(record.id, name), size)
        for name, size in names
        if there.get(target.key(record.id, name)) != size
    ]


def same(there: Optional[Record], record: Record, target: Shelf) -> bool:
    """Whether the target has this very backup already.

    Raises:
        CatalogError: it has another one of that id.
    """
    if there is None:
        return False
    if [(item.key, item.sha256) for item in there.artifacts] != [(item.key, item.sha256) for item in record.artifacts]:
        raise CatalogError(
            f"{target.repository.description} has another backup {record.id} of {target.name!r}, with other content. Nothing "
            "was copied over it: copy it under another target_server_name."
        )
    return True


def copy_backup(
    record: Record,
    source: Shelf,
    target: Shelf,
    threads: int = 4,
    memory: int = MEMORY,
    on_bytes: OnBytes = lambda done: None,
) -> tuple[Record, int]:
    """Copy one backup, verify it in the target by its manifest's sums, and write the manifest last. Returns its record there,
    and how many objects the store copied by itself.

    Raises:
        CatalogError: what was copied differs from the manifest.
    """
    copier = Copier(source.repository, target.repository, on_bytes, memory, read_back=False)
    by_store = copier.run(missing_steps(record, source, target), threads)
    copied = Record(**{**vars(record), "server": {**record.server, "name": target.name}})
    target.verify(copied, on_bytes)
    copied.verified_at = format_time(utcnow())
    target.write(copied)
    return copied, by_store


def _refuse_one_place(source: Repository, folder: str, target: Repository, target_folder: str, check: bool) -> None:
    """Raises RepositoryError: the two are one, or one lies in the other."""
    target.check(write=not check)
    if overlap(source, folder, target, target_folder, write=not check):
        raise RepositoryError(
            f"{target.description} is {source.description} by another name, or one lies in the other: nothing was copied, and nothing "
            "deleted. Name another place to copy to."
        )


class CopyRun:
    """Backups of one server, oldest first."""

    def __init__(
        self,
        source: Shelf,
        target: Shelf,
        ids: Sequence[str],
        threads: int,
        memory: int,
        delete_source: bool,
        lock_wait: int,
    ) -> None:
        self._source, self._target, self._ids = source, target, ids
        self._threads, self._memory, self._delete, self._lock_wait = threads, memory, delete_source, lock_wait

    def run(self, check: bool) -> Moved:
        """Plan, and unless ``check``, copy.

        Raises:
            HoldfastError: nothing in the source was deleted that is not verified in the target.
        """
        _refuse_one_place(self._source.repository, self._source.name, self._target.repository, self._target.name, check)
        moved = Moved()
        wanted = self._wanted(moved.warnings)
        due = [record for record in wanted if not same(self._target.read(record.id), record, self._target)]
        for record in due:
            steps = missing_steps(record, self._source, self._target)
            moved.add(steps)
            moved.plan.append(
                f"copy {record.id}, {len(steps)} objects, {sum(step.size for step in steps)} bytes, verified"
            )
        moved.names = [record.id for record in due]
        doomed = self._doomed(wanted, moved.warnings) if self._delete else []
        moved.plan += [f"delete {record.id} in {self._source.repository.description}" for record in doomed]
        if check or not moved.plan:
            return moved
        with ExitStack() as held:
            for shelf in [self._target] + ([self._source] if self._delete else []):
                held.enter_context(shelf.lock("a copy", moved.warnings)).acquire(self._lock_wait)
            for record in due:
                # What a copy that was killed left lying there; under the lock nobody else is at it.
                self._target.repository.forget_unfinished(f"{self._target.name}/{record.id}")
                moved.by_store += copy_backup(record, self._source, self._target, self._threads, self._memory)[1]
            refresh(self._target.repository, self._target.name, NAME)
            read = readers(self._source) if doomed else {}
            for record in doomed:
                if record.id in read:
                    moved.warnings.append(f"{record.id} stays in the source: it is being read by {read[record.id]}.")
                    continue
                if record.id not in moved.names:  # copied by an earlier run: who knows what happened to it since
                    self._target.verify(self._target.get(record.id))
                self._source.remove(record.id)
        return moved

    def _wanted(self, warnings: list[str]) -> list[Record]:
        """What is asked for, and all that it is based on, the oldest first: a chain is one thing."""
        found = list(self._source.records(warnings))
        where = f"{self._source.name} in {self._source.repository.description}"
        if not found:
            raise CatalogError(
                f"There is no backup of {self._source.name!r} in {self._source.repository.description}: check its name. "
                "(What an engine with a repository of its own keeps there is copied by what: prefix.)"
            )
        known = by_id(found)
        if not self._ids:
            return [record for record in in_order(found) if self._is_there(record, known, warnings)]
        wanted: dict[str, Record] = {}
        for backup_id in self._ids:
            one = latest_whole(found, utcnow(), where) if backup_id == "latest" else self._source.get(backup_id)
            wanted.update((link.id, link) for link in chain(one, known))
        return [record for record in in_order(found) if record.id in wanted]

    @staticmethod
    def _is_there(record: Record, known: Mapping[str, Record], warnings: list[str]) -> bool:
        """Whether a backup of all can be copied."""
        try:
            return bool(chain(record, known))
        except CatalogError as exc:
            warnings.append(f"{exc} It was not copied.")
            return False

    def _doomed(self, wanted: Sequence[Record], warnings: list[str]) -> list[Record]:
        """What goes from the source, children first: nothing that is pinned, or that one which stays is based on."""
        going = {record.id for record in wanted if not record.pinned}
        listed = list(self._source.records([]))
        while stay := {str(item.parent) for item in listed if item.id not in going and item.parent in going}:
            warnings.extend(
                f"{name} stays in {self._source.repository.description}: others there are based on it." for name in stay
            )
            going -= stay
        return [record for record in reversed(wanted) if record.id in going]


class PrefixRun:
    """All objects below a prefix, whoever wrote them."""

    def __init__(self, source: Repository, target: Repository, threads: int, memory: int, delete_source: bool) -> None:
        self._source, self._target = source, target
        self._threads, self._memory, self._delete = threads, memory, delete_source

    def run(self, check: bool) -> Moved:
        """Plan, and unless ``check``, copy.

        Raises:
            HoldfastError: the source is as it was.
        """
        _refuse_one_place(self._source, "", self._target, "", check)
        moved = Moved()
        wanted = {info.key: info for info in self._source.list("")}
        if self._delete and not wanted and next(iter(self._target.list("")), None) is not None:
            return moved  # moved already
        steps = plan_prefix(wanted, self._source, self._target)
        moved.add(steps)
        moved.names = [step.source for step in steps]
        where = f"from {self._source.description} to {self._target.description}"
        moved.plan += [f"copy {moved.objects} objects, {moved.size} bytes, {where}"] if steps else []
        moved.plan += [f"delete {len(wanted)} objects in {self._source.description}"] if self._delete else []
        if check or not moved.plan:
            return moved
        if steps:
            self._target.forget_unfinished("")  # of a copy that was killed
        copier = Copier(self._source, self._target, lambda done: None, self._memory)
        # Manifests come last: what is not complete looks like nothing.
        ends = [step for step in steps if step.source.endswith(f"/{MANIFEST}")]
        moved.by_store = copier.run([step for step in steps if step not in set(ends)], self._threads)
        moved.by_store += copier.run(ends, self._threads)
        if self._delete:
            # What the store copied by itself nobody here has read.
            self._forget(wanted, set() if moved.by_store else {step.source for step in steps})
        return moved

    def _forget(self, wanted: Mapping[str, ObjectInfo], copied: Set[str]) -> None:
        """Delete what was copied, and nothing that came meanwhile. What an earlier run copied, or somebody else, is compared first."""
        there = {info.key: info.size for info in self._target.list("")}
        now = {info.key: info for info in self._source.list("")}
        for key, info in wanted.items():
            if there.get(key) != info.size or (key in now and now[key] != info):
                raise RepositoryError(
                    f"{key} in {self._source.description} changed while it was copied, or is not in the target: nothing was "
                    "deleted. Run it again when nobody writes there."
                )
        with pool_of(self._threads) as pool:
            alike = pool.map(
                lambda key: same_content(self._source, key, self._target, key), sorted(set(wanted) - copied)
            )
            for key, equal in zip(sorted(set(wanted) - copied), alike):
                if not equal:
                    raise RepositoryError(
                        f"{key} has another content in {self._target.description} than in {self._source.description}, though not "
                        "another size: nothing was deleted. Find out which is the right one."
                    )
            list(pool.map(self._source.delete, wanted))


def plan_prefix(wanted: Mapping[str, ObjectInfo], source: Repository, target: Repository) -> list[Step]:
    """Every object below the source's prefix that the target lacks.

    Raises:
        RepositoryError: there is nothing to copy, or the target has something else already.
    """
    if not wanted:
        raise RepositoryError(f"There is nothing in {source.description}: check its name, its bucket and its prefix.")
    there = {info.key: info for info in target.list("")}
    strange = sorted(key for key in there if key not in wanted or there[key].size != wanted[key].size)
    if strange:
        raise RepositoryError(
            f"{target.description} is not empty: it has {len(strange)} objects that are not in the source, {strange[0]} among "
            "them. Name an empty prefix. (What an interrupted copy left there would be gone on from.)"
        )
    missing = [info for key, info in sorted(wanted.items()) if key not in there or there[key].modified < info.modified]
    return [Step(info.key, info.key, info.size) for info in missing]
