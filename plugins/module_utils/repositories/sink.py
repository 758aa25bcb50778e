# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object on its way up, in parts that go side by side, in bounded memory."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Pool
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Sink
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.client import StoreClient
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import Upload

SHORTLY = 3.0  # seconds that an abort waits for parts on their way


class ObjectSink(Sink):
    """An object that goes up in parts while more comes; a small one at once."""

    def __init__(self, client: StoreClient, key: str, lasting: bool) -> None:
        self._client, self._key, self._lasting = client, key, lasting
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
        return self._client.transfer.size_of(self._sent) - self._part.tell()

    def _send(self) -> None:
        """Hand the part to a thread; waits while enough parts are on their way."""
        client = self._client
        if self._upload is None or self._pool is None:
            self._upload = client.attempt("write to", lambda: client.store.begin(self._key, self._lasting))
            self._pool = Pool(client.transfer.concurrency if client.store.parallel else 1)
        while len(self._running) >= client.transfer.concurrency:
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
        if self._client.throttle:
            self._client.throttle.pay(part.tell())
        self._client.attempt(f"write {self._key} to", lambda: upload.part(number, part.getvalue()))

    def commit(self) -> None:
        client = self._client
        try:
            if self._upload is None:
                data = self._part.getvalue()
                client.attempt("write to", lambda: client.store.put(self._key, data, self._lasting))
            else:
                if self._part.tell():
                    self._send()
                while self._running:
                    self._collect()
                client.attempt("finish an object in", self._upload.complete)
            info = client.attempt("look at what was written to", lambda: client.store.head(self._key))
            if info is None or info.size != self._size:
                there = "nothing" if info is None else f"{info.size} bytes"
                raise RepositoryError(
                    f"{client.description} accepted {self._size} bytes as {self._key}, and has {there} of it. "
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
