# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that WAL is shipped from: what is in it, whose it is, and what is remembered of it between runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import remembered
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import (
    FOLDER,
    SHIPPED,
    marker_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wrong_with
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    LockHeld,
    RepositoryError,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES, Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.shipping import Finished, finished

#: what is remembered between runs, and read by who looks at the state: of each store what of the directory it has
STATE = SHIPPED
#: what is on its way: who comes after a kill knows it for ours by its sum
_BEGUN = ".shipping.json"
_LOCK = ".ship.lock"
_FORMAT = 1
_BLOCK = 1024 * 1024
_RECEIVING = re.compile(r"[0-9A-F]{24}\.partial")
_SETTLED = 5.0  # seconds for which nobody has written to a file that is being made


class WalDirectory:
    """``<root>/<server_name>/_wal``. Raises BadOption: it is not there."""

    def __init__(self, root: str, server_name: str) -> None:
        self.path = os.path.join(os.path.abspath(os.path.expanduser(root)), server_name, FOLDER)
        if not os.path.isdir(self.path):
            raise BadOption(
                "wal_directory", root, f"has no WAL of {server_name}: {self.path} is not there",
                "Name the directory that wal_archive was given (its file repository, or wal_directory), and check server_name.",
            )  # fmt: skip
        self._size: Optional[SegmentSize] = None

    @contextlib.contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        """While it is held no other shipper works here. The kernel lets go of it with the process. Raises LockHeld."""
        path = os.path.join(self.path, _LOCK)
        try:
            guard = os.fdopen(files.open_lock(path), "r+b")
        except OSError as exc:
            raise RepositoryError(
                f"{path} cannot be written: {exc.strerror}. Run as the owner of {self.path}."
            ) from exc
        with guard:
            if os.geteuid() == 0:
                os.fchown(guard.fileno(), *_owner_ids(self.path))
            end = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise LockHeld(
                            f"Another process ships the WAL of {self.path} (fuser {path}): the service holdfast-ship, most likely. What is to "
                            "be shipped goes by it; nothing was changed."
                        ) from None
                    time.sleep(0.1)
            yield

    @property
    def system_id(self) -> Optional[str]:
        """Whose it is, as wal_archive wrote down; None: nobody did. Raises CatalogError."""
        known = remembered(marker_of(self.path), f"the WAL archive {self.path}") or {}
        return known.get("system_id")

    def size(self) -> SegmentSize:
        """That of its segments, by the first page of one; 16 MB where there is none yet."""
        if self._size is None:
            for item in self._listed(SegmentSize(MEGABYTE)):
                head = self.head(item) if item.is_segment else None
                if head is not None:
                    with contextlib.suppress(BadOption):
                        self._size = SegmentSize(head.segment_size)
                        break
        return self._size or SegmentSize()

    def finished(self) -> list[Finished]:
        """What is to be shipped, in order. Raises RepositoryError."""
        return self._listed(self.size())

    def _listed(self, size: SegmentSize) -> list[Finished]:
        try:
            return finished([name for name in os.listdir(self.path) if not name.startswith(".")], size)
        except OSError as exc:
            raise RepositoryError(f"{self.path} cannot be read: {exc.strerror}. Is its disk still mounted?") from exc

    def room(self) -> int:
        """Bytes that are free on its disk. Raises RepositoryError."""
        try:
            status = os.statvfs(self.path)
        except OSError as exc:
            raise RepositoryError(f"{self.path} cannot be read: {exc.strerror}. Is its disk still mounted?") from exc
        return status.f_bavail * status.f_frsize

    def file(self, item: Finished) -> str:
        """Its path."""
        return os.path.join(self.path, item.name)

    def open(self, item: Finished) -> BinaryIO:
        """Raises RepositoryError."""
        try:
            return os.fdopen(files.open_read(self.file(item)), "rb")
        except OSError as exc:
            raise RepositoryError(f"{self.file(item)} cannot be read: {exc.strerror}.") from exc

    def changed_at(self) -> int:
        """When names in it last changed: whoever looked since has seen all. Raises RepositoryError."""
        try:
            return os.stat(self.path).st_mtime_ns
        except OSError as exc:
            raise RepositoryError(f"{self.path} cannot be read: {exc.strerror}. Is its disk still mounted?") from exc

    def modified(self, items: Sequence[Finished]) -> Mapping[str, float]:
        """When each was finished, in seconds since the epoch."""
        found = {}
        for item in items:
            with contextlib.suppress(OSError):
                found[item.name] = os.stat(self.file(item)).st_mtime
        return found

    def blocks(self, item: Finished) -> Iterator[bytes]:
        """Its content, unpacked. Raises ToolError: it is damaged, or not whole."""
        with self.open(item) as source:
            commands = unpacking(item.name)
            if not commands:
                while data := source.read(_BLOCK):
                    yield data
                return
            with Chain(commands, source) as chain:
                while data := os.read(chain.output.fileno(), _BLOCK):
                    yield data
                chain.finish()

    def head(self, item: Finished) -> Optional[header.Header]:
        """The first page of a segment; None: it has none, or cannot be unpacked."""
        with contextlib.suppress(ToolError, RepositoryError):
            for data in self.blocks(item):
                return header.read(data)
        return None

    def check(self, item: Finished, system_id: Optional[str]) -> Optional[str]:
        """Look whether a file is whole, and this server's. Returns its system identifier, where it has one.

        Raises:
            WalError: it is not.
        """
        if not item.is_segment:
            return None
        begin, length = b"", 0
        try:
            for data in self.blocks(item):
                begin = begin or data[: header.LENGTH]
                length += len(data)
        except ToolError as exc:
            raise WalError(f"{self.file(item)} is damaged, or not whole yet: {exc} It was not shipped.") from exc
        head = header.read(begin)
        wrong = wrong_with(item.plain, head, length)
        if wrong or head is None:
            raise WalError(
                f"{self.file(item)} is no whole segment: {wrong}. It was not shipped, nor what follows it. If it does not become whole, what wrote "
                "it (a plain cp that was cut off) left a gap: put the segment there from the server's pg_wal, or take a new base backup."
            )
        if system_id is not None and head.system_id != system_id:
            raise WalError(
                f"{self.file(item)} is of another server (system identifier {head.system_id}) than this archive ({system_id}). Nothing of it "
                "was shipped. Give each server a server_name of its own."
            )
        return head.system_id

    def remove(self, items: Sequence[Finished]) -> None:
        """Delete what left. Raises RepositoryError."""
        try:
            for item in items:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.file(item))
            if items:
                files.fsync_directory(self.path)
        except OSError as exc:
            raise RepositoryError(f"{exc.filename or self.path} cannot be deleted: {exc.strerror}.") from exc

    def state(self, system_id: Optional[str] = None) -> dict[str, Any]:
        """What was remembered (of the server ``system_id``, where that is given); empty where nothing is, or it cannot be used: then the stores
        are asked again."""
        with contextlib.suppress(ToolError, OSError, ValueError, RecursionError):
            found = json.loads(files.read(os.path.join(self.path, STATE)))
            mine = isinstance(found, dict) and system_id in (None, found.get("system_id"))
            if mine and found.get("format") == _FORMAT and isinstance(found.get("stores"), dict):
                return dict(found)
        return {"format": _FORMAT, "system_id": system_id, "stores": {}}

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Remember it, as far as there is room: on a full disk shipping is what makes room again. What is not remembered, the stores are asked."""
        self._save(STATE, state)

    def begun(self) -> dict[str, dict[str, str]]:
        """By the description of a store, the sha256 of what was going to be written there, by file."""
        with contextlib.suppress(ToolError, OSError, ValueError, RecursionError, AttributeError):
            found = json.loads(files.read(os.path.join(self.path, _BEGUN)))
            return {str(store): dict(sums) for store, sums in found.items()}
        return {}

    def save_begun(self, begun: Mapping[str, Mapping[str, str]]) -> None:
        """Note it, before it is written; as ``save_state``."""
        self._save(_BEGUN, begun)

    def _save(self, name: str, content: Mapping[str, Any]) -> None:
        owner = owner_of(self.path) if os.geteuid() == 0 else None
        with contextlib.suppress(OSError, ToolError):
            files.put(os.path.join(self.path, name), json.dumps(content), owner, durable=False)

    def stuck(self) -> list[str]:
        """Paths of segments that pg_receivewal could not make on a full disk. It makes one of its full length in zeros before it writes into it;
        of one that is shorter it says that it "should be 0 or" so many bytes, and never goes on, however much room there is."""
        size, found = self.size().bytes, []
        for name in os.listdir(self.path):
            path = os.path.join(self.path, name)
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                if not _RECEIVING.fullmatch(name) or not stat.S_ISREG(status.st_mode) or status.st_size in (0, size):
                    continue
                if time.time() - status.st_mtime > _SETTLED and _is_zero(path):
                    found.append(path)
        return sorted(found)

    def unstick(self, path: str) -> None:
        """Empty one of these: nothing is in it. Raises RepositoryError."""
        try:
            os.truncate(path, 0)
        except OSError as exc:
            raise RepositoryError(f"{path} cannot be emptied: {exc.strerror}.") from exc

    def mark(self, item: Finished) -> list[int]:
        """What tells this very file from another one of its name. Raises OSError."""
        status = os.stat(self.file(item))
        return [status.st_size, status.st_mtime_ns]


def unpacking(name: str) -> list[Command]:
    """The programs that undo what the suffix of a file in the directory says."""
    for method, suffix in SUFFIXES.items():
        if suffix and name.endswith(suffix):
            compression = Compression(method)
            compression.check()
            return compression.decompress()
    return []


def _is_zero(path: str) -> bool:
    with open(path, "rb") as stream:
        return all(not any(data) for data in iter(lambda: stream.read(_BLOCK), b""))


def _owner_ids(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_uid, status.st_gid
