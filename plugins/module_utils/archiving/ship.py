# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shipping: finished WAL goes from a directory into each store, and leaves the directory when all of them have it.

Files are looked at, packed and read back several at a time; each store gets them one after another, in their order, so that none is there
before its predecessor. A run that is killed has done what it has done: the next one asks the stores.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_directory import WalDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_result import (
    ShipResult,
    describe,
    leave_step,
    may_pass,
    ship_step,
    unstick_step,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_store import Packed, ShippingStore
from ansible_collections.holdfast.postgres.plugins.module_utils.background import Pool, threads
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, Incomplete
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import held
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.shipping import Finished, gaps, leaving

MIB = 1024 * 1024
#: bytes of files that are under way at once
MEMORY = 256 * MIB
#: bytes of a segment from which on it is not held in memory
LARGE = 64 * MIB
_SAVE = 1.0  # seconds between two times that it is written down what the stores have
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds that a service waits for more, or for a store to come back


@dataclass(frozen=True)
class ShipRequest:
    """``keep``: segments that stay in the directory (None: all, as it is a store itself)."""

    compression: Compression
    encryption: Encryption
    jobs: int
    keep: Optional[int]
    accept_new_server: bool


#: whether a file was written, and then its being read back
_Sent = tuple[bool, Optional["Future[None]"]]


@dataclass
class _Underway:
    """A file between being packed and being in all stores."""

    item: Finished
    packing: Future[Packed]
    puts: list[tuple[ShippingStore, Future[_Sent]]] = field(default_factory=list)


class Shipper:
    """Ships one directory into stores."""

    def __init__(
        self, directory: WalDirectory, stores: Sequence[ShippingStore], request: ShipRequest, progress: Progress
    ) -> None:
        self._directory, self._stores, self._request, self._progress = directory, stores, request, progress
        self._owner: Optional[str] = None
        self._files: list[Finished] = []
        self._seen = -1
        self._saved_at = 0.0
        self._stays = request.keep is None
        self._remembered: dict[str, dict[str, Any]] = {}

    def plan(self) -> ShipResult:
        """What a pass would do. Writes nothing. Raises HoldfastError."""
        result = ShipResult()
        self._look(result, write=False)
        self._raise(result)
        result.plan += [unstick_step(path) for path in self._directory.stuck()]
        for store in self._stores:
            waiting = [item for item in self._files if item.name not in store.has]
            if waiting:
                result.plan.append(ship_step(waiting, store))
        gone = self._leaving({item.name for item in self._files})
        if gone:
            result.plan.append(leave_step(gone, self._directory))
        return result

    def once(self) -> ShipResult:
        """Ship what is there.

        Raises:
            Incomplete: a store failed; the others have it all, and nothing left the directory that one lacks.
            HoldfastError: nothing could be done.
        """
        result = ShipResult()
        for store in self._stores:
            store.error = None
        self._look(result, write=True)
        before = {store.name: set(store.has) for store in self._stores}
        waiting = [item for item in self._files if any(item.name not in store.has for store in self._open())]
        try:
            if waiting:
                self._progress.step("shipping WAL", len(waiting) * self._directory.size().bytes)
                self._ship(waiting, result)
        finally:
            for store in self._stores:
                new = [item for item in self._files if item.name in store.has and item.name not in before[store.name]]
                if new:
                    result.plan.append(ship_step(new, store))
            self._leave(result)
            self._save()
            self._unstick(result)
        self._raise(result)
        return result

    def follow(self, patience: Optional[int] = None) -> None:
        """Ship what comes, until told to stop; a store that is away is waited for. ``patience``: so many seconds (None: for ever).

        Raises:
            HoldfastError: what no waiting mends, or a store that was away for that long.
        """
        pause, looked = _PAUSE, 0.0
        away_since: Optional[float] = None
        while True:
            try:
                if (
                    self._directory.changed_at() != self._seen
                    or pause > _PAUSE
                    or time.monotonic() - looked > _LONGEST_PAUSE
                ):
                    looked = time.monotonic()
                    self._progress.step("shipping WAL")
                    for text in self.once().warnings:
                        self._progress.step(text)
                pause, away_since = _PAUSE, None
            except HoldfastError as exc:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                if not may_pass(exc, self._stores) or (patience is not None and now - away_since >= patience):
                    raise
                pause = min(pause * 2, _LONGEST_PAUSE)
                self._progress.step(f"waiting {round(pause)} s for a store to come back: {exc}")
            time.sleep(pause)

    # Looking

    def _look(self, result: ShipResult, write: bool) -> None:
        """See what is in the directory; the stores are asked what they have, unless they were."""
        self._seen = self._directory.changed_at()
        files = self._directory.finished()
        self._owner = self._directory.system_id or self._owner or self._first_owner(files)
        # Histories alone do not say whose they are.
        self._files = files if self._owner else []
        if not any(store.asked for store in self._stores):
            self._remembered = self._directory.state(self._owner)["stores"]
        begun = self._directory.begun()
        for store in self._open():
            if store.looked:
                continue
            try:
                store.repository.check(write=write)
                store.check_owner(self._owner, self._request.accept_new_server)
                where = store.repository.description
                known = self._remembered.get(where) or {}
                store.look(self._files, self._directory, known, begun.get(where) or {}, self._stays)
            except HoldfastError as exc:
                store.fail(exc)
                continue
            size = self._directory.size()
            for gap in gaps(self._files, store.coverage(size)):
                result.warnings.append(
                    f"{gap.describe(size)} is neither in {self._directory.path} nor in {store.repository.description}: the replication slot "
                    "was dropped or lost it, or somebody deleted it. No backup from before leads past that: take a new base backup now."
                )

    def _first_owner(self, files: Sequence[Finished]) -> Optional[str]:
        for item in files:
            head = self._directory.head(item) if item.is_segment else None
            if head is not None:
                return head.system_id
        return None

    def _open(self) -> list[ShippingStore]:
        return [store for store in self._stores if store.error is None]

    def _raise(self, result: ShipResult) -> None:
        failed = [store for store in self._stores if store.error is not None]
        if not failed:
            return
        others = [store.name for store in self._stores if store.error is None]
        if len(failed) == len(self._stores) == 1 and not result.changed:
            raise failed[0].error  # type: ignore[misc]
        words = " ".join(f"{store.name}: {store.error}" for store in failed)
        message = f"WAL could not be shipped to {len(failed)} of {len(self._stores)} stores. {words} Nothing leaves the directory that one lacks."
        if others:
            message += f" {', '.join(others)}: all of it is there."
        raise Incomplete(message, describe(result, self._stores))

    # Shipping

    def _ship(self, waiting: Sequence[Finished], result: ShipResult) -> None:
        segment = self._directory.size().bytes
        window = max(1, min(2 * self._request.jobs, MEMORY // min(segment, LARGE)))
        lines = {store.name: Pool(1) for store in self._stores}
        underway: deque[_Underway] = deque()
        coming = deque(waiting)
        with threads(self._request.jobs) as packers, threads(self._request.jobs) as readers:
            try:
                while coming or underway:
                    while coming and len(underway) < window:
                        item = coming.popleft()
                        underway.append(_Underway(item, packers.submit(self._pack, item)))
                    # What is packed goes out at once, in order, while the first one is waited for.
                    self._send(underway, lines, readers)
                    self._finish(underway.popleft(), result)
                    if not self._open():
                        # What was sent before is there all the same.
                        for entry in underway:
                            if entry.puts:
                                self._finish(entry, result)
                        return
            finally:
                for pool in lines.values():
                    pool.shutdown(wait=False)

    def _send(self, underway: deque[_Underway], lines: dict[str, Pool], readers: Pool) -> None:
        """Send what is packed, in order. Raises HoldfastError: the first of all could not be packed."""
        ready: list[tuple[_Underway, Packed]] = []
        for number, entry in enumerate(underway):
            if entry.puts:
                continue
            if number and (not entry.packing.done() or entry.packing.exception() is not None):
                break  # it is told when all before it are done
            packed = entry.packing.result()
            for store in self._lacking(entry):
                store.begin(packed)
            ready.append((entry, packed))
        if ready:
            self._directory.save_begun({store.repository.description: store.begun for store in self._stores})
        for entry, packed in ready:
            for store in self._lacking(entry):
                entry.puts.append((store, lines[store.name].submit(self._put, store, packed, readers)))

    def _lacking(self, entry: _Underway) -> list[ShippingStore]:
        return [store for store in self._open() if entry.item.name not in store.has]

    def _put(self, store: ShippingStore, packed: Packed, readers: Pool) -> _Sent:
        if store.error is not None:
            raise store.error
        try:
            store.claim(str(self._owner))
            if not store.put(packed, self._directory):
                return False, None
            return True, readers.submit(store.verify, packed)
        except HoldfastError as exc:
            store.fail(exc)  # what follows is not sent
            raise

    def _finish(self, entry: _Underway, result: ShipResult) -> None:
        """Wait until a file is in each store that still takes part."""
        packed, shipped = entry.packing.result(), False
        for store, putting in entry.puts:
            try:
                sent, reading = putting.result()
                if reading is not None:
                    reading.result()
                store.done(packed, sent)
                shipped = True
            except HoldfastError as exc:
                store.fail(exc)
        packed.data = None
        if time.monotonic() - self._saved_at > _SAVE:
            self._save()
        result.shipped += shipped
        self._progress.tell(result.shipped * self._directory.size().bytes, None)

    def _pack(self, item: Finished) -> Packed:
        """Look whether a file is whole and this server's, and make of it what is stored."""
        self._directory.check(item, self._owner)
        request = self._request
        commands: list[Command] = []
        stored = item.name
        if not item.file.suffixes:
            commands += request.compression.compress()
            stored += request.compression.suffix
        commands += request.encryption.encrypt()
        stored += request.encryption.suffix
        packed = Packed(item, stored, self._directory.mark(item), commands)
        with self._directory.open(item) as source:
            if os.fstat(source.fileno()).st_size <= LARGE:
                packed.data = run(commands, source) if commands else source.read()
                packed.sha256 = hashlib.sha256(packed.data).hexdigest()
        return packed

    # Leaving

    def _leaving(self, everywhere: set[str]) -> list[Finished]:
        if self._request.keep is None:
            return []
        # What is kept is a convenience: where the receiver has no room for its next segment, it would stand still for it.
        full = self._directory.room() < 2 * self._directory.size().bytes
        return leaving(self._files, everywhere, 1 if full else self._request.keep)

    def _leave(self, result: ShipResult) -> None:
        if not all(store.looked for store in self._stores):
            return
        gone = self._leaving(set.intersection(*(set(store.has) for store in self._stores)))
        if not gone:
            return
        names = {item.name for item in gone}
        with held():
            self._directory.remove(gone)
        for store in self._stores:
            store.forget(names)
        self._files = [item for item in self._files if item.name not in names]
        result.removed += len(gone)
        result.plan.append(leave_step(gone, self._directory))

    def _unstick(self, result: ShipResult) -> None:
        """Once there is room again."""
        for path in self._directory.stuck():
            self._directory.unstick(path)
            result.plan.append(unstick_step(path))

    def _save(self) -> None:
        """Write down what the stores have, where that is other than it was."""
        stores = {}
        for store in self._stores:
            where = store.repository.description
            if store.asked:
                stores[where] = store.state(self._files, self._stays)
            else:  # what was remembered holds, until it can be asked
                error = str(store.error) if store.error else None
                stores[where] = {**self._remembered.get(where, {}), "name": store.name, "error": error}
        if stores != self._remembered:
            self._directory.save_state(
                {"format": 1, "system_id": self._owner, "at": format_time(utcnow()), "stores": stores}
            )
            self._remembered = stores
            for store in self._stores:
                if store.asked:
                    store.saved()
        self._saved_at = time.monotonic()
