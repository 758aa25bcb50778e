# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository in an object store. Parts go up and come down side by side, in bounded memory."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import urllib.parse
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import BinaryIO, Optional, cast

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import waiting_for
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import (
    Finding,
    ObjectInfo,
    Repository,
    Sink,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.client import StoreClient
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.piped import Piped
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.sink import ObjectSink
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    MIB,
    ShortRead,
    Store,
    Strange,
    Transfer,
)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


class ObjectRepository(StoreClient, Repository):
    """The objects below ``prefix`` of a store."""

    remote = True

    def __init__(self, make_store: Callable[[], Store], where: str, prefix: str, transfer: Transfer) -> None:
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        super().__init__(
            make_store, f"the repository {where}" + (f"/{self._prefix.rstrip('/')}" if self._prefix else ""), transfer
        )
        _give_parts_back()

    def key(self, key: str) -> str:
        """The full key in the store."""
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise RepositoryError(f"The key {key!r} lies outside {self.description}. Its manifest cannot be trusted.")
        return self._prefix + key

    def full_folder(self, folder: str) -> str:
        """What the full keys of a folder (empty: all) begin with."""
        return f"{self.key(folder)}/" if folder else self._prefix

    def check(self, write: bool) -> None:
        def first() -> None:
            next(iter(self.store.walk(self._prefix)), None)

        self.store  # noqa: B018  (what is wrong with the options shows before the first request)
        self.attempt("list", first)

    def sink(self, key: str, lasting: bool = False) -> Sink:
        return ObjectSink(self, self.key(key), lasting)

    def blocks(self, key: str) -> Generator[bytes, None, None]:
        """Ranges are fetched ahead, side by side, and of one content: one that is replaced meanwhile is an error."""
        info = self._head(key)
        parts = _ranges(info.size, self.transfer.part_size)
        with threads(self.transfer.concurrency) as pool:
            ahead: deque[Future[bytes]] = deque()
            try:
                for start, size in parts:
                    ahead.append(pool.submit(self._range, info, start, size))
                    if len(ahead) > self.transfer.concurrency:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _range(self, info: ObjectInfo, start: int, size: int) -> bytes:
        def fetch() -> bytes:
            data = self.store.get(info.key, start, size, info.tag)
            if len(data) != size:
                raise ShortRead(f"{len(data)} bytes came instead of {size}")
            return data

        if self.throttle:
            self.throttle.pay(size)
        return self.attempt(f"read {info.key} from", fetch)

    def _head(self, key: str) -> ObjectInfo:
        full = self.key(key)
        info = self.attempt(f"look at {key} in", lambda: self.store.head(full))
        if info is None:
            raise ObjectMissing(f"{key} is not in {self.description}.")
        return info

    def open(self, key: str) -> BinaryIO:
        self._head(key)  # so that one which is missing shows here
        return cast(BinaryIO, Piped(self.blocks(key)))

    def read(self, key: str) -> bytes:
        return b"".join(self.blocks(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        base = self.key(prefix) + "/" if prefix else self._prefix
        for info in self._listing(base):
            if info.key.endswith("/") and not info.size:
                continue  # what a console shows as a folder
            yield ObjectInfo(info.key[len(self._prefix) :], info.size, info.modified, info.tag)

    def _listing(self, base: str) -> Iterator[ObjectInfo]:
        try:
            # Some stores take the prefix for a hint: what is not ours must not be touched.
            found = iter(self.store.walk(base))
            while True:
                with waiting_for(f"{self.description}, which was asked to list"):
                    info = next(found, None)
                if info is None:
                    return
                if info.key.startswith(base):
                    yield info
                elif urllib.parse.unquote_plus(info.key).startswith(base):
                    raise Strange(
                        f"it lists {info.key!r}, which is a key as it is written in addresses, and was not asked to write it so"
                    )
        except HoldfastError:
            raise
        except Exception as exc:
            raise self._explained("list", exc) from exc

    def folders(self, prefix: str) -> Iterator[str]:
        keys = itertools.chain((info.key for info in self.list(prefix)), self.unfinished(prefix))
        names = (key[len(prefix) :].lstrip("/").partition("/") for key in keys)
        yield from {name for name, slash, _rest in names if slash}

    def unfinished(self, prefix: str) -> Sequence[str]:
        base = self.key(prefix) + "/" if prefix else self._prefix
        found = self.attempt("list", lambda: self.store.unfinished(base))
        return [key[len(self._prefix) :] for key in found if key.startswith(base)]

    def forget_unfinished(self, prefix: str) -> None:
        base = self.key(prefix) + "/" if prefix else self._prefix
        self.attempt("delete what was never finished in", lambda: self.store.forget_unfinished(base))

    def stat(self, key: str) -> Optional[ObjectInfo]:
        full = self.key(key)
        info = self.attempt(f"look at {key} in", lambda: self.store.head(full))
        return None if info is None else replace(info, key=key)

    def delete(self, key: str) -> None:
        full = self.key(key)
        self.attempt(f"delete {key} from", lambda: self.store.delete([full]))

    def delete_folder(self, prefix: str) -> None:
        base = self.key(prefix) + "/"
        keys = [info.key for info in self._listing(base)]
        for first in range(0, len(keys), 1000):
            batch = keys[first : first + 1000]
            self.attempt(f"delete {prefix} from", lambda batch=batch: self.store.delete(batch))  # type: ignore[misc]
        self.attempt(f"delete {prefix} from", lambda: self.store.forget_unfinished(base))

    def swap(self, key: str, expected: Optional[bytes], new: Optional[bytes]) -> bool:
        full = self.key(key)
        info = self.attempt(f"look at {key} in", lambda: self.store.head(full))
        try:
            current = None if info is None else self._range(info, 0, info.size)
        except ObjectMissing:
            current = None
        if current != expected:
            return False
        tag = info.tag if info and current is not None else None
        if new is None:
            return tag is None or self.attempt(f"delete {key} from", lambda: self.store.delete_if(full, tag or ""))
        if self.attempt(f"change {key} in", lambda: self.store.put_if(full, new, tag)):
            return True
        # An attempt may have been done although its answer was lost: then the next one found our own work.
        try:
            return self.read(key) == new
        except ObjectMissing:
            return False

    def create(self, key: str, data: bytes) -> bool:
        full = self.key(key)
        if self.throttle:
            self.throttle.pay(len(data))
        return self.attempt(f"write {key} to", lambda: self.store.put_if(full, data, None, True))

    def free_bytes(self) -> Optional[int]:
        return None

    def inspect(self, retention: int) -> Sequence[Finding]:
        return self.attempt("inspect", lambda: self.store.inspect(retention))

    def locked_until(self, key: str) -> Optional[str]:
        full = self.key(key)
        return self.attempt(f"look at {key} in", lambda: self.store.locked_until(full))


def _give_parts_back() -> None:
    """Make parts that are freed go back to the system at once, and keep what is smaller.

    glibc takes the first one for a sign that such sizes are usual, and keeps those that follow in an arena of each thread:
    that is twice the memory that ``Transfer`` promises. Told where to draw the line, it no longer learns what else comes
    often, and would give the system each chunk, and ask for it again. Source: mallopt(3).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, MIB)
        libc.mallopt(_M_TRIM_THRESHOLD, MIB)


def _ranges(size: int, part: int) -> Iterator[tuple[int, int]]:
    """Starts and sizes that make up an object."""
    for start in range(0, size, part):
        yield start, min(part, size - start)
