# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects and backups from one repository into another, whatever the two are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST, refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS, NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import ObjectInfo, Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.objects import ObjectRepository
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
    """Copies objects from ``source`` to ``target``; within one store the store does it by itself."""

    def __init__(self, source: Repository, target: Repository, on_bytes: OnBytes = lambda done: None) -> None:
        self._source, self._target, self._on_bytes = source, target, on_bytes
        self._done = 0

    def run(self, steps: Sequence[Step], threads: int) -> int:
        """Copy them all, ``threads`` at a time. Returns how many the store copied by itself.

        Raises:
            HoldfastError: one could not be copied, or differs. Those that were copied stay: the next run goes on from there.
        """
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(self._one, step) for step in steps]
            try:
                return sum(future.result() for future in futures)
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _one(self, step: Step) -> bool:
        by_store = self._within_store(step)
        digest = None if by_store else self._through_here(step)
        info = self._target.stat(step.target)
        if info is None or info.size != step.size:
            raise RepositoryError(
                f"{step.target} in {self._target.description} has {info.size if info else 'no'} bytes after the copy instead of "
                f"{step.size}. The source was not touched: run it again."
            )
        if digest is not None and digest != sha256(self._target, step.target):
            raise RepositoryError(
                f"{step.target} in {self._target.description} was read back with another content than was copied. The source was "
                "not touched: run it again, and look at the store's health."
            )
        self._done += step.size
        self._on_bytes(self._done)
        return by_store

    def _within_store(self, step: Step) -> bool:
        source, target = self._source, self._target
        if not isinstance(source, ObjectRepository) or not isinstance(target, ObjectRepository):
            return False
        from_key, to_key = source.key(step.source), target.key(step.target)
        return target.attempt("copy within", lambda: target.store.copy_from(source.store, from_key, to_key, step.size))

    def _through_here(self, step: Step) -> str:
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
        return digest.hexdigest()


def sha256(repository: Repository, key: str) -> str:
    """Of an object's content, read back."""
    digest = hashlib.sha256()
    for data in repository.blocks(key):
        digest.update(data)
    return digest.hexdigest()


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


def copy_backup(
    record: Record, source: Shelf, target: Shelf, threads: int = 4, on_bytes: OnBytes = lambda done: None
) -> Record:
    """Copy one backup, verify it in the target by its manifest's sums, and write the manifest last.

    Raises:
        CatalogError: the target has another backup of that id, or what was copied differs from the manifest.
    """
    there = target.read(record.id)
    if there is not None:
        if [(item.key, item.sha256) for item in there.artifacts] != [
            (item.key, item.sha256) for item in record.artifacts
        ]:
            raise CatalogError(
                f"{target.repository.description} has another backup {record.id} of {target.name!r}, with other content. Nothing "
                "was copied over it: copy it under another server_name."
            )
        return there
    Copier(source.repository, target.repository, on_bytes).run(missing_steps(record, source, target), threads)
    copied = Record(**{**vars(record), "server": {**record.server, "name": target.name}})
    target.verify(copied, on_bytes)
    copied.verified_at = format_time(utcnow())
    target.write(copied)
    refresh(target.repository, target.name, NAME)
    return copied


def plan_prefix(source: Repository, target: Repository) -> list[Step]:
    """Every object below the source's prefix that the target lacks, manifests last.

    Raises:
        RepositoryError: there is nothing to copy, or the target has something else already.
    """
    wanted = {info.key: info for info in source.list("")}
    if not wanted:
        raise RepositoryError(f"There is nothing in {source.description}: check its name, its bucket and its prefix.")
    there = {info.key: info for info in target.list("")}
    strange = sorted(key for key in there if key not in wanted or there[key].size != wanted[key].size)
    if strange:
        raise RepositoryError(
            f"{target.description} is not empty: it has {len(strange)} objects that are not in the source, {strange[0]} among "
            "them. Name an empty prefix. (What an interrupted copy left there would be gone on from.)"
        )
    missing = [info for key, info in sorted(wanted.items()) if key not in there or _older(there[key], info)]
    ordered = sorted(missing, key=lambda info: info.key.endswith(f"/{MANIFEST}"))
    return [Step(info.key, info.key, info.size) for info in ordered]


def _older(copied: ObjectInfo, original: ObjectInfo) -> bool:
    return copied.modified < original.modified
