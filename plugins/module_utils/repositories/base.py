# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of every store. A repository knows keys and bytes, never what they mean.

Keys are relative paths with ``/``. What is written becomes visible only when it is complete and durable.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Optional


@dataclass(frozen=True)
class ObjectInfo:
    """An object: its key, its size in bytes, its modification time in seconds since the epoch, and the store's mark of this
    very content (ETag, generation), where it has one."""

    key: str
    size: int
    modified: float
    tag: Optional[str] = None


@dataclass(frozen=True)
class Finding:
    """Something that a preflight says of a repository. ``level``: error, warning or fine."""

    level: str
    message: str


@dataclass(frozen=True)
class StoreOptions:
    """What describes a store of one kind: its options as an argument specification, those without which there is no store, and by
    which names the keys of Kubernetes secrets mean an option."""

    spec: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    credentials: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


#: what every object store has
MOVING: Mapping[str, Mapping[str, Any]] = {
    "prefix": {"type": "str", "default": ""},
    "endpoint_url": {"type": "str"},
    "storage_class": {"type": "str"},
    "ca_file": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "bandwidth_limit": {"type": "int"},
    "part_size": {"type": "int", "default": 16 * 1024 * 1024},
    "concurrency": {"type": "int", "default": 4},
}


class Sink(abc.ABC):
    """An object being written. Nobody sees it before ``commit`` returns."""

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Append bytes. Raises RepositoryError."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Make the object durable and visible. Raises RepositoryError."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Forget what was written; never raises."""


class Repository(abc.ABC):
    """A store of objects."""

    #: what messages call this store
    description: str
    #: whether a look at each of many objects takes long, so that one listing and an index must do
    remote = False

    @abc.abstractmethod
    def check(self, write: bool) -> None:
        """Raise RepositoryError when the store is not there, or cannot be read (or written)."""

    @abc.abstractmethod
    def sink(self, key: str, lasting: bool = False) -> Sink:
        """Begin an object. ``lasting``: the store may lock it against deletion, if it is set up so."""

    @abc.abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Read an object; what is returned has a ``fileno()`` that programs can read from. Where a program reads, ``close``
        tells (RepositoryError) what the program could not see: that the store failed, and not the object ended.

        Raises:
            ObjectMissing: there is no such object.
        """

    @abc.abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key lies in the folder ``prefix``, unfinished ones left out."""

    @abc.abstractmethod
    def folders(self, prefix: str) -> Iterator[str]:
        """The names of the folders directly in ``prefix``, unsorted."""

    def unfinished(self, prefix: str) -> Sequence[str]:
        """The keys of objects in the folder ``prefix`` that were begun and never finished, where the store keeps such apart."""
        return ()

    def forget_unfinished(self, prefix: str) -> None:
        """Remove what was begun in the folder ``prefix`` (empty: everywhere) and never finished. Only where nobody else writes."""
        return

    @abc.abstractmethod
    def stat(self, key: str) -> Optional[ObjectInfo]:
        """What is known of an object; None when there is none."""

    @abc.abstractmethod
    def delete(self, key: str) -> None:
        """Delete one object; one that is gone already is no error."""

    @abc.abstractmethod
    def delete_folder(self, prefix: str) -> None:
        """Delete all that lies in a folder, unfinished objects too."""

    @abc.abstractmethod
    def swap(self, key: str, expected: Optional[bytes], new: Optional[bytes]) -> bool:
        """Atomically replace a small object's content, if it still is ``expected`` (None: is not there).

        ``new`` None deletes it. Returns whether it was done. This is what locks are made of.
        """

    @abc.abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write an object that lasts, at once and durably, unless there is one of that key. Returns False where there is one, whatever it holds:
        maybe this very content, of an attempt whose answer was lost."""

    @abc.abstractmethod
    def free_bytes(self) -> Optional[int]:
        """Bytes that can still be written; None where a store has no such limit."""

    def locked_until(self, key: str) -> Optional[str]:
        """Until when the store forbids to delete an object (ISO 8601); None when it does not."""
        return None

    def inspect(self, retention: int) -> Sequence[Finding]:
        """What else a user wants to hear before the disaster: who may read, what is kept, what expires. ``retention`` is the
        seconds that backups are to stay; 0 when that is not known."""
        return []

    def blocks(self, key: str) -> Iterator[bytes]:
        """An object's content, in order, some megabytes at a time. Raises ObjectMissing, RepositoryError."""
        with self.open(key) as stream:
            while data := stream.read(1024 * 1024):
                yield data

    def read(self, key: str) -> bytes:
        """A small object's content. Raises ObjectMissing."""
        with self.open(key) as stream:
            return stream.read()

    def write(self, key: str, data: bytes, lasting: bool = False) -> None:
        """Write a small object at once, durably."""
        sink = self.sink(key, lasting)
        try:
            sink.write(data)
        except BaseException:
            sink.abort()
            raise
        sink.commit()
