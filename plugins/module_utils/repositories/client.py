# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that is asked: again where that may help, no faster than it may be, and with what it raises said in words."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Optional, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import waiting_for
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import Store, Strange, Transfer

ATTEMPTS = 4  # for one part, each waiting longer than the one before

T = TypeVar("T")
# What libraries raise over answers that they did not expect.
_UNREADABLE = (
    "ResponseParserError",
    "DecodeError",
    "DeserializationError",
    "JSONDecodeError",
    "PaginationError",
    "ParseError",
)
_UNFORESEEN = (Strange, KeyError, IndexError, AttributeError, TypeError, RecursionError)


class StoreClient:
    """A store that is opened when it is first used. ``description``: which repository it is, in messages."""

    def __init__(self, make_store: Callable[[], Store], description: str, transfer: Transfer) -> None:
        self._make_store, self.description, self.transfer = make_store, description, transfer
        self._store: Optional[Store] = None
        self.throttle = Throttle(transfer.bandwidth) if transfer.bandwidth else None

    @property
    def store(self) -> Store:
        """Opened when it is first used: a repository that cannot be is one that fails, beside others that do not."""
        if self._store is None:
            self._store = self._make_store()
        return self._store

    def attempt(self, doing: str, work: Callable[[], T]) -> T:
        """Do ``work``, again where that may help, and say in words what it raised.

        Raises:
            HoldfastError: it failed for good.
        """
        for number in range(1, ATTEMPTS + 1):
            try:
                with waiting_for(f"{self.description}, which was asked to {doing.split()[0]}"):
                    return work()
            except HoldfastError:
                raise
            except Exception as exc:
                if number == ATTEMPTS or not self.store.transient(exc):
                    raise self._explained(doing, exc) from exc
            # Full jitter: many clients that failed together do not come back together.
            time.sleep(random.uniform(0.05, min(10.0, 0.2 * 2**number)))
        raise AssertionError("the last attempt returns or raises")

    def _explained(self, doing: str, exc: Exception) -> HoldfastError:
        if isinstance(exc, _UNFORESEEN) or type(exc).__name__ in _UNREADABLE:
            words = " ".join(str(exc).split())
            words = f"{words[:200]}…" if len(words) > 200 else words  # some quote all that came
            said = words if isinstance(exc, Strange) else f"its answer cannot be read ({type(exc).__name__}: {words})"
            return RepositoryError(
                f"Cannot {doing} {self.description}: {said}. Something else than the store answers, or stands between: check "
                "the address (endpoint_url), and proxies, gateways and sign-in pages on the way there."
            )
        return self.store.explain(f"{doing} {self.description}", exc)


class Throttle:
    """Lets so many bytes per second pass, all threads together."""

    def __init__(self, rate: int) -> None:
        self._rate, self._free_at, self._guard = rate, time.monotonic(), threading.Lock()

    def pay(self, size: int) -> None:
        """Wait for one's turn."""
        with self._guard:
            begin = max(self._free_at, time.monotonic())
            self._free_at = begin + size / self._rate
        time.sleep(max(0.0, begin - time.monotonic()))
