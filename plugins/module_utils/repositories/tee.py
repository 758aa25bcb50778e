# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object into several repositories at once, read only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository, Sink


@dataclass
class Branch:
    """A repository that takes part, until ``error`` says why it does no more."""

    repository: Repository
    error: Optional[HoldfastError] = None


class Tee:
    """Writes into every branch that still takes part. When the last one fails, its error is raised."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._branches = branches

    def sink(self, key: str) -> Sink:
        """Begin an object that lasts, everywhere. Raises HoldfastError."""
        return _TeeSink(self.each(lambda branch: branch.repository.sink(key, lasting=True)))

    def each(self, work: Callable[[Branch], Sink]) -> list[tuple[Branch, Sink]]:
        """Do ``work`` for each branch. Raises HoldfastError when none is left."""
        made = []
        for branch in self._branches:
            if branch.error is None:
                try:
                    made.append((branch, work(branch)))
                except HoldfastError as exc:
                    branch.error = exc
        if not made:
            raise next(branch.error for branch in reversed(self._branches) if branch.error is not None)
        return made


class _TeeSink(Sink):
    def __init__(self, sinks: list[tuple[Branch, Sink]]) -> None:
        self._sinks = sinks

    def write(self, data: bytes) -> None:
        self._each(lambda sink: sink.write(data))

    def commit(self) -> None:
        self._each(lambda sink: sink.commit())

    def abort(self) -> None:
        for _branch, sink in self._sinks:
            sink.abort()

    def _each(self, work: Callable[[Sink], None]) -> None:
        for branch, sink in list(self._sinks):
            try:
                work(sink)
            except HoldfastError as exc:
                sink.abort()
                self._sinks.remove((branch, sink))
                branch.error = exc
                if not self._sinks:
                    raise
