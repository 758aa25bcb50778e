# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that threads share: small objects go many at a time, large ones few."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import MIB
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.transfer import ObjectRepository

MEMORY = 256 * MIB


class Budget:
    """So many bytes of memory, of which each thread holds what it needs."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are left, and hold them. What is larger than the whole budget waits until it is alone."""
        size = min(size, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


def needed(repository: Repository, size: int) -> int:
    """Bytes of memory that an object of ``size`` bytes takes while it is read or written, as ``Transfer`` promises."""
    if not isinstance(repository, ObjectRepository):
        return min(size, 4 * MIB)
    transfer = repository.transfer
    return min(size, transfer.size_of(size // transfer.part_size) * (transfer.concurrency + 2))
