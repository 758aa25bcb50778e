# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects from one repository into another, whatever the two are: by the store itself where it can, else through here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads as pool_of
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.memory import Budget, needed
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.identity import overlap
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.transfer import ObjectRepository

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
        self._copied: list[Step] = []

    @property
    def objects(self) -> int:
        """How many were copied so far."""
        return len(self._copied)

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
        self._copied.append(step)
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
    """What a run copied, or would copy. ``size`` is bytes; ``unread``: what was asked for may be among these, whose manifests cannot be read."""

    plan: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    objects: int = 0
    size: int = 0
    by_store: int = 0
    unread: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, steps: Sequence[Step]) -> None:
        """Count steps."""
        self.objects += len(steps)
        self.size += sum(step.size for step in steps)


def refuse_one_place(source: Repository, folder: str, target: Repository, target_folder: str, check: bool) -> None:
    """Raises RepositoryError: the two are one, or one lies in the other."""
    target.check(write=not check)
    if overlap(source, folder, target, target_folder, write=not check):
        raise RepositoryError(
            f"{target.description} is {source.description} by another name, or one lies in the other: nothing was copied, and nothing "
            "deleted. Name another repository or path to copy to."
        )
