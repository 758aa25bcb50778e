# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of one object store: each store's folder implements it by its vendor's library, and ``transfer`` does the rest."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    HoldfastError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import (
    Finding,
    ObjectInfo,
)

#: seconds without an answer after which a store is given up: one limit for all, and no second attempt
SILENCE = 60
GROWTH = 1000  # parts, after which they get larger: S3 takes 10,000 of them for one object
MIB = 1024 * 1024


class Strange(Exception):
    """An answer that no store of its kind gives: something else answers, or stands between. Never taken for an empty one."""


def first_words(body: Union[bytes, str]) -> str:
    """What an answer begins with, as people read it, in quotation marks."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = re.sub(r"(?is)<(script|style).*?</\1>|<!--.*?-->", " ", text[:4096])
    if not text.lstrip().startswith(("{", "[")):
        text = re.sub(r"<[^>]*>?", " ", text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return f"{text[:120]!r}" if text else "nothing"


def consequence(doing: str) -> str:
    """What it means that something failed of which the store says no more. ``doing`` is what was tried, as messages say it."""
    if doing.startswith(("list", "look", "read", "inspect", "use", "ask")):
        return "Nothing was changed by that. Look at the store's health, then run it again."
    if doing.startswith("delete"):
        return "What was not deleted yet is as it was: run it again."
    return "What was there before is as it was."


def silence(doing: str) -> str:
    """What is said of a store that took a request, and never answered."""
    return (
        f"Cannot {doing}: it accepts connections, and did not answer for {SILENCE} seconds. Look at its health, and at what stands "
        f"between: a firewall, a proxy, a load balancer that has no server behind it. {consequence(doing)}"
    )


def check_page(body: bytes, root: str) -> None:
    """Look at a page of a listing in XML, before anybody takes it for an empty one. ``root`` is its first element's name.

    Raises:
        Strange: it is something else.
    """
    if not re.match(
        rb"\s*(?:<\?xml[^>]*\?>\s*)?<(?:\w+:)?" + root.encode() + rb"[\s/>]", body.lstrip(b"\xef\xbb\xbf")[:1024]
    ):
        raise Strange(f"what came is no listing but {first_words(body)}")


class ShortRead(Exception):
    """Less came than was asked for: a connection that broke off. Worth another attempt."""


@dataclass(frozen=True)
class Transfer:
    """How objects move. Memory is bounded by ``part_size`` (bytes) times ``concurrency`` + 2, for each object being written or
    read; of an object of more than 1000 parts, each further 1000 are larger by one ``part_size``."""

    part_size: int
    concurrency: int
    #: bytes per second, up or down; None: as fast as it goes
    bandwidth: Optional[int] = None

    def size_of(self, number: int) -> int:
        """Bytes of the part ``number``, counted from 0."""
        return self.part_size * (1 + number // GROWTH)


class Upload(abc.ABC):
    """An object that goes up in parts. Its methods raise what the vendor's library does."""

    @abc.abstractmethod
    def part(self, number: int, data: bytes) -> None:
        """Send one part, counted from 0; called from several threads at once."""

    @abc.abstractmethod
    def complete(self) -> None:
        """Make the object visible."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Forget the parts."""


class Store(abc.ABC):
    """One bucket or container. Keys are full. Methods raise what the vendor's library does; ``explain`` puts it in words."""

    #: what messages call it
    description: str
    #: whether parts may be sent side by side, in any order
    parallel = True

    @abc.abstractmethod
    def put(self, key: str, data: bytes, lasting: bool) -> None:
        """Write a small object."""

    @abc.abstractmethod
    def put_if(self, key: str, data: bytes, tag: Optional[str], lasting: bool = False) -> bool:
        """Write an object at once if its tag still is ``tag`` (None: if it is not there). Returns whether it was."""

    @abc.abstractmethod
    def delete_if(self, key: str, tag: str) -> bool:
        """Delete an object if its tag still is ``tag``. Returns whether it was."""

    @abc.abstractmethod
    def begin(self, key: str, lasting: bool) -> Upload:
        """Begin an object in parts."""

    @abc.abstractmethod
    def get(self, key: str, start: int, size: int, tag: Optional[str]) -> bytes:
        """So many bytes of an object from ``start`` on, if its tag is ``tag``."""

    @abc.abstractmethod
    def head(self, key: str) -> Optional[ObjectInfo]:
        """What is known of an object; None when there is none."""

    @abc.abstractmethod
    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key begins with ``prefix``, in order."""

    @abc.abstractmethod
    def unfinished(self, prefix: str) -> Sequence[str]:
        """The keys of what was begun below ``prefix`` and never finished."""

    @abc.abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are gone are no error. Raises ObjectLocked, naming those that may not be deleted."""

    @abc.abstractmethod
    def forget_unfinished(self, prefix: str) -> int:
        """Abort what was begun below ``prefix`` and never finished. Returns how many."""

    def copy_from(self, source: Store, source_key: str, key: str, size: int) -> bool:
        """Copy within the store, without the data coming here. Returns whether it can be done."""
        return False

    def locked_until(self, key: str) -> Optional[str]:
        """Until when an object may not be deleted (ISO 8601)."""
        return None

    @abc.abstractmethod
    def inspect(self, retention: int) -> Sequence[Finding]:
        """As ``Repository.inspect``. What the credentials may not ask is left out."""

    @abc.abstractmethod
    def transient(self, exc: Exception) -> bool:
        """Whether another attempt may succeed."""

    @abc.abstractmethod
    def explain(self, doing: str, exc: Exception) -> HoldfastError:
        """What the library raised while ``doing``, as messages for the user."""
