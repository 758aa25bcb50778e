# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that WAL is shipped into: whose it is, what it has, and one file at a time, never over other content, and read back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_directory import WalDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.another_server import refuse_another
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import (
    MARKER,
    ShippedWal,
    read_marker,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    RepositoryError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, store
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.shipping import Finished

_BLOCK = 1024 * 1024


@dataclass
class Packed:
    """A file as it is stored: ``stored`` is its name there. ``data`` None: it is too large for memory, and ``commands`` pack it on its way."""

    item: Finished
    stored: str
    mark: list[int]
    commands: list[Command]
    data: Optional[bytes] = None
    sha256: Optional[str] = None


class ShippingStore:
    """One repository. ``scratch`` is a private directory. ``has``: the directory's files that it is known to have,
    each with what tells it from another one of its name; ``begun``: sums of what was going to be written."""

    def __init__(
        self, name: str, repository: Repository, server_name: str, encryption: Encryption, scratch: str
    ) -> None:
        self.name, self.repository, self._server_name = name, repository, server_name
        self._encryption, self._scratch = encryption, scratch
        self.wal = ShippedWal(repository, server_name, lambda marker: encryption)
        self.has: dict[str, Any] = {}
        self.begun: dict[str, str] = {}
        self.error: Optional[HoldfastError] = None
        self.sent = 0
        self.last: Optional[str] = None
        self._listed: Optional[dict[str, Any]] = None
        #: whether it ever said what it has
        self.asked = False
        self._marked = False
        self._last_at: Optional[str] = None

    # Whose it is

    def check_owner(self, system_id: Optional[str], accept_new_server: bool) -> None:
        """Raises CatalogError: it is another server's; BadOption: it is encrypted otherwise."""
        marker = read_marker(self.repository, self._server_name)
        self._marked = marker is not None
        if marker is None:
            return
        there = marker.get("system_id")
        if there and system_id and there != system_id:
            if not accept_new_server:
                way_out = "if it replaces the other one, set accept_new_server: true for one run, after the old archive was moved away"
                refuse_another(self.wal.description, str(there), system_id, way_out)
            self._marked = False
        method = str(marker.get("encryption") or "none")
        if method != self._encryption.method and self._marked:
            raise BadOption(
                "encryption.method", self._encryption.method,
                f"is not how the WAL in {self.wal.description} is encrypted ({method})",
                "An archive that is encrypted in two ways cannot be recovered from. Give the same, or move the old archive away, ship anew, and "
                "take a base backup.",
            )  # fmt: skip

    def claim(self, system_id: str) -> None:
        """Write down whose it is, before the first segment. Raises RepositoryError."""
        if self._marked:
            return
        key = self.wal.key(MARKER)
        content = json.dumps(
            {
                "system_id": system_id,
                "encryption": self._encryption.method,
                **({"recipients": self._encryption.recipients} if self._encryption.method == "pgp" else {}),
            }
        ).encode()
        before = self.repository.read(key) if self.repository.stat(key) is not None else None
        if not self.repository.swap(key, before, content):
            self.check_owner(system_id, False)  # somebody else was faster
        self._marked = True

    # What it has

    @property
    def looked(self) -> bool:
        """Whether it was asked what it has, since it last failed."""
        return self._listed is not None

    def look(
        self,
        files: Sequence[Finished],
        directory: WalDirectory,
        known: Mapping[str, Any],
        begun: Mapping[str, str],
        stays: bool,
    ) -> None:
        """Ask it what it has. ``known`` is what was remembered: what it had then, and still has, is not read again; ``begun`` what was going
        to be written. ``stays``: the directory keeps its files, so what the store has no more was removed there by its own retention, and is
        not shipped anew."""
        listed = dict(self.wal.listing())
        if not self.asked:
            self.begun = dict(begun)
            self.last, self._last_at = known.get("last"), known.get("last_at")
        had: dict[str, Any] = {**dict(known.get("has") or {}), **self.has}
        through = dict(known.get("through") or {})
        self.has = {}
        for item in files:
            old = stays and item.name <= str(through.get(str(item.file.timeline), ""))
            if old or (
                item.name in had
                and self.wal.stored_as(item.plain)
                and (stays or _mark(directory, item) == had[item.name])
            ):
                self.has[item.name] = had.get(item.name)
        self._listed, self.asked = listed, True

    def coverage(self, size: SegmentSize) -> Coverage:
        """The segments that it has."""
        inventory = Inventory(size)
        inventory.read(sorted(self._listed or {}))
        return inventory.coverage

    def forget(self, names: Iterable[str]) -> None:
        """These are not in the directory any more."""
        for name in names:
            self.has.pop(name, None)

    def fail(self, exc: HoldfastError) -> None:
        """It takes no more part in this pass, and is asked anew what it has in the next."""
        self.error, self._listed = self.error or exc, None

    def begin(self, packed: Packed) -> None:
        """Note what is going to be written: whoever comes after a kill knows it for ours by that."""
        if packed.sha256 is not None:
            self.begun[packed.item.name] = packed.sha256

    def state(self, files: Sequence[Finished], stays: bool) -> dict[str, Any]:
        """What is remembered of it. ``files``: those in the directory, of which there are many where they stay."""
        known: dict[str, Any] = {
            "name": self.name,
            "last": self.last,
            "last_at": self._last_at,
            "error": str(self.error) if self.error else None,
        }
        if not stays:
            return {**known, "has": dict(self.has)}
        through: dict[str, str] = {}
        broken: set[int] = set()
        beyond: dict[str, None] = {}
        for item in files:
            if item.name not in self.has:
                broken.add(item.file.timeline)
            elif item.file.timeline not in broken:
                through[str(item.file.timeline)] = max(through.get(str(item.file.timeline), ""), item.name)
            else:
                beyond[item.name] = None
        return {**known, "through": through, "has": beyond}

    def saved(self) -> None:
        """What it has is written down."""
        self.begun = {name: value for name, value in self.begun.items() if name not in self.has}

    # One file

    def put(self, packed: Packed, directory: WalDirectory) -> bool:
        """Write a file, unless its name is taken. Returns whether it was written, so that it is to be read back.

        Raises:
            WalError: there is other content under its name.
            RepositoryError: the store failed.
        """
        there = self.wal.stored_as(packed.item.plain)
        if there is None and self._write(packed, directory):
            return True
        self._compare(there or packed.stored, packed, directory)
        return False

    def _write(self, packed: Packed, directory: WalDirectory) -> bool:
        key = self.wal.key(packed.stored)
        if packed.data is not None:
            return self.repository.create(key, packed.data)
        if self.repository.stat(key) is not None:
            return False
        with directory.open(packed.item) as source:
            done = store(
                packed.commands or [Command(["cat"])], self.repository.sink(key, True), lambda made, out: None, source
            )
        packed.sha256 = done.sha256
        return True

    def verify(self, packed: Packed) -> None:
        """Read back what was written. Raises RepositoryError: it is not what was sent."""
        found = self._sum(packed.stored)
        if found != packed.sha256:
            raise RepositoryError(
                f"{self.wal.key(packed.stored)} in {self.repository.description} reads back as other bytes than were sent. It is kept in "
                f"{packed.item.name} here; delete that object, and look at the store's health."
            )

    def done(self, packed: Packed, sent: bool) -> None:
        """It has this file."""
        self.has[packed.item.name] = packed.mark
        self.sent += sent
        if sent:
            self.wal.note(packed.stored)
        if packed.item.is_segment and (self.last is None or packed.item.plain > self.last):
            self.last, self._last_at = packed.item.plain, format_time(utcnow())

    def _sum(self, stored: str) -> str:
        digest = hashlib.sha256()
        for block in self.repository.blocks(self.wal.key(stored)):
            digest.update(block)
        return digest.hexdigest()

    def _compare(self, stored: str, packed: Packed, directory: WalDirectory) -> None:
        """Raises WalError: what is under the name is other content."""
        known = {packed.sha256, self.begun.get(packed.item.name)} - {None}
        # The same bytes, of an attempt whose answer was lost, or of a run that was killed.
        if known and stored == packed.stored and self._sum(stored) in known:
            return
        path = os.path.join(self._scratch, f"compared-{packed.item.plain}-{os.getpid()}-{id(self)}")
        try:
            self.wal.save(stored, path)
            there = hashlib.sha256()
            with open(path, "rb") as stream:
                while data := stream.read(_BLOCK):
                    there.update(data)
        finally:
            if os.path.exists(path):
                os.unlink(path)
        here = hashlib.sha256()
        for data in directory.blocks(packed.item):
            here.update(data)
        if here.digest() != there.digest():
            raise WalError(
                f"{directory.file(packed.item)} and {self.wal.key(stored)} in {self.repository.description} are one name with two contents. "
                "Nothing was overwritten, and nothing that follows is shipped there. Two servers write under one name, or this one went another "
                "way since (a recovery in place, a promotion that was taken back). Look whose each is (pg_waldump); give the other server a "
                "server_name of its own, or move what is wrong away."
            )


def _mark(directory: WalDirectory, item: Finished) -> Optional[list[int]]:
    try:
        return directory.mark(item)
    except OSError:
        return None
