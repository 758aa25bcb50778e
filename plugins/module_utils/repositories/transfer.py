# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository in an object store. Parts go up and come down side by side, in bounded memory."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import itertools
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import BinaryIO, Optional, TypeVar, cast

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background, Pool, threads
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import (
    Finding,
    ObjectInfo,
    Repository,
    Sink,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import (
    MIB,
    ShortRead,
    Store,
    Strange,
    Transfer,
    Upload,
)

ATTEMPTS = 4  # for one part, each waiting longer than the one before
SHORTLY = 3.0  # seconds that an abort waits for parts on their way
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ is there only from Python 3.10 on

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


class ObjectRepository(Repository):
    """The objects below ``prefix`` of a store."""

    remote = True

    def __init__(self, make_store: Callable[[], Store], where: str, prefix: str, transfer: Transfer) -> None:
        self._make_store, self.transfer = make_store, transfer
        self._store: Optional[Store] = None
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.description = f"the repository {where}" + (f"/{self._prefix.rstrip('/')}" if self._prefix else "")
        self.throttle = Throttle(transfer.bandwidth) if transfer.bandwidth else None
        _give_parts_back()

    @property
    def store(self) -> Store:
        """Opened when it is first used: a repository that cannot be is one that fails, beside others that do not."""
        if self._store is None:
            self._store = self._make_store()
        return self._store

    def key(self, key: str) -> str:
        """The full key in the store."""
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise RepositoryError(f"The key {key!r} lies outside {self.description}. Its manifest cannot be trusted.")
        return self._prefix + key

    def full_folder(self, folder: str) -> str:
        """What the full keys of a folder (empty: all) begin with."""
        return f"{self.key(folder)}/" if folder else self._prefix

    def attempt(self, doing: str, work: Callable[[], T]) -> T:
        """Do ``work``, again where that may help, and say in words what it raised.

        Raises:
            HoldfastError: it failed for good.
        """
        for number in range(1, ATTEMPTS + 1):
            try:
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
            said = str(exc) if isinstance(exc, Strange) else f"its answer cannot be read ({type(exc).__name__}: {exc})"
            return RepositoryError(
                f"Cannot {doing} {self.description}: {said}. Something else than the store answers, or stands between: check "
                "the address (endpoint_url), and proxies, gateways and sign-in pages on the way there."
            )
        return self.store.explain(f"{doing} {self.description}", exc)

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
        return cast(BinaryIO, _Piped(self.blocks(key)))

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
            yield from (info for info in self.store.walk(base) if info.key.startswith(base))
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


class ObjectSink(Sink):
    """An object that goes up in parts while more comes; a small one at once."""

    def __init__(self, repository: ObjectRepository, key: str, lasting: bool) -> None:
        self._repository, self._key, self._lasting = repository, key, lasting
        self._part = io.BytesIO()  # being filled
        self._spare: list[io.BytesIO] = []  # sent, to be filled again: no part is ever copied
        self._sent = self._size = 0
        self._upload: Optional[Upload] = None
        self._pool: Optional[Pool] = None
        self._running: dict[Future[None], io.BytesIO] = {}

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._part.write(rest[: self._room()]) :]
            if not self._room():
                self._send()
        self._size += len(data)

    def _room(self) -> int:
        return self._repository.transfer.size_of(self._sent) - self._part.tell()

    def _send(self) -> None:
        """Hand the part to a thread; waits while enough parts are on their way."""
        repository = self._repository
        if self._upload is None or self._pool is None:
            self._upload = repository.attempt("write to", lambda: repository.store.begin(self._key, self._lasting))
            self._pool = Pool(repository.transfer.concurrency if repository.store.parallel else 1)
        while len(self._running) >= repository.transfer.concurrency:
            self._collect()
        self._running[self._pool.submit(self._send_part, self._upload, self._sent, self._part)] = self._part
        self._sent += 1
        self._part = self._spare.pop() if self._spare else io.BytesIO()

    def _collect(self) -> None:
        """Wait until some part has arrived. Raises what went wrong with it."""
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            part = self._running.pop(future)
            future.result()
            part.seek(0)
            self._spare.append(part)

    def _send_part(self, upload: Upload, number: int, part: io.BytesIO) -> None:
        part.truncate()  # what an earlier, larger one left
        if self._repository.throttle:
            self._repository.throttle.pay(part.tell())
        self._repository.attempt(f"write {self._key} to", lambda: upload.part(number, part.getvalue()))

    def commit(self) -> None:
        repository = self._repository
        try:
            if self._upload is None:
                data = self._part.getvalue()
                repository.attempt("write to", lambda: repository.store.put(self._key, data, self._lasting))
            else:
                if self._part.tell():
                    self._send()
                while self._running:
                    self._collect()
                repository.attempt("finish an object in", self._upload.complete)
            info = repository.attempt("look at what was written to", lambda: repository.store.head(self._key))
            if info is None or info.size != self._size:
                there = "nothing" if info is None else f"{info.size} bytes"
                raise RepositoryError(
                    f"{repository.description} accepted {self._size} bytes as {self._key}, and has {there} of it. "
                    "It cannot be trusted with a backup: look at its health, and at what stands between it and this host."
                )
        except BaseException:
            self.abort()
            raise
        finally:
            self._forget_parts()
            if self._pool is not None:
                self._pool.shutdown(wait=False)

    def _forget_parts(self) -> None:
        self._part = io.BytesIO()
        self._spare.clear()

    def abort(self) -> None:
        self._forget_parts()
        for future in self._running:
            future.cancel()
        if self._pool is not None:
            # A part that arrives behind the abort would be left for ever; one that is held for long is not waited for.
            self._pool.shutdown(wait=False)
            wait(self._running, timeout=SHORTLY)
        if self._upload is not None:
            with contextlib.suppress(Exception):
                self._upload.abort()
            self._upload = None
        self._running.clear()


class _Piped(io.FileIO):
    """Blocks as a stream with a file descriptor, filled by a thread."""

    def __init__(self, blocks: Generator[bytes, None, None]) -> None:
        read_end, self._write_end = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._write_end, _F_SETPIPE_SZ, MIB)
        super().__init__(read_end, "rb")
        self._blocks = blocks
        self._feeder = Background(self._feed)

    def _feed(self) -> None:
        try:
            for block in self._blocks:
                view = memoryview(block)
                while view:
                    view = view[os.write(self._write_end, view) :]
        except BrokenPipeError:
            return  # the reader has enough
        finally:
            os.close(self._write_end)
            self._blocks.close()

    def read(self, size: Optional[int] = -1) -> bytes:
        data = b"".join(iter(lambda: self._some(MIB), b"")) if size is None or size < 0 else self._some(size)
        return data

    def _some(self, size: int) -> bytes:
        data = super().read(size) or b""
        if not data and size:
            self._feeder.result()  # an end that is none
        return data

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._feeder.result()


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


def _ranges(size: int, part: int) -> Iterator[tuple[int, int]]:
    """Starts and sizes that make up an object."""
    for start in range(0, size, part):
        yield start, min(part, size - start)
