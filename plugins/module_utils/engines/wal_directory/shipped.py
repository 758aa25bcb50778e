# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL that was shipped into a repository: ``<server_name>/_wal/<name>[.zst|.gz|.lz4][.gpg]``, and ``.server.json``, whose it is.

It lies in any store, so PostgreSQL cannot fetch from it by itself: what a recovery needs is fetched ahead (recovery/fetched.py), and its
``restore_command`` is a plain cp.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FOLDER, FileWal
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    ObjectMissing,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import ObjectInfo, Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.wal import header
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SEGMENT, classify
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, SegmentSize

MARKER = ".server.json"
_LARGEST_MARKER = 64 * 1024
_REMOVERS = 8
# The size of segments does not matter for the part of a name that is looked at here: the smallest takes every name.
_ANY_SIZE = SegmentSize(MEGABYTE)
#: by what the marker tells (``encryption``: none, aes256 or pgp, and ``recipients``), how to decrypt; raises BadOption where the user gave no
#: secret for it
Decrypting = Callable[[Mapping[str, Any]], Encryption]


def folder_of(server_name: str) -> str:
    """Where a server's WAL lies in a repository."""
    return f"{server_name}/{FOLDER}"


def read_marker(repository: Repository, server_name: str) -> Optional[dict[str, Any]]:
    """Whose WAL is in a repository; None: nobody's. Raises CatalogError: that cannot be told."""
    key = f"{folder_of(server_name)}/{MARKER}"
    try:
        found = bounded.loads(bounded.read(repository, key, _LARGEST_MARKER))
    except ObjectMissing:
        return None
    except ValueError as exc:
        found = str(exc)
    if not isinstance(found, dict):
        raise CatalogError(
            f"Whose WAL is in {repository.description} cannot be told, as {key} cannot be read ({found}). Nothing was changed. If it is this "
            "server's, remove that object and run this again."
        )
    return found


class ShippedWal(WalArchive):
    """``decrypting`` is asked when something encrypted is read, and not before: names need no secret."""

    fetched_ahead = True
    fetches = 4

    def __init__(self, repository: Repository, server_name: str, decrypting: Decrypting) -> None:
        self._repository, self._folder, self._decrypting = repository, folder_of(server_name), decrypting
        self._server_name = server_name
        self._known: dict[str, ObjectInfo] = {}
        self._marker: Optional[Mapping[str, Any]] = None
        self.description = f"the WAL archive {self._folder} in {repository.description}"

    def archive_command(self) -> str:
        raise BadOption(
            "repository.type", "an object store", "is nothing that a server's archive_command writes to without a program",
            "Let wal_ship bring the WAL there (role ship), or use engine: pgbackrest.",
        )  # fmt: skip

    def is_own(self, command: Optional[str]) -> bool:
        return False

    def restore_command(self) -> str:
        raise BadOption(
            "repository.type", "an object store", "is nothing that a restore_command reads from without a program",
            "What a recovery needs is fetched before it begins.",
        )  # fmt: skip

    def listing(self) -> dict[str, ObjectInfo]:
        """What is there now, by the name of each file."""
        before = len(self._folder) + 1
        found = {info.key[before:]: info for info in self._repository.list(self._folder)}
        self._known = {name: info for name, info in found.items() if not name.startswith(".") and "/" not in name}
        return self._known

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        found = sorted(self.listing())
        return (name for name in found if after is None or name > after or ".history" in name)

    def stored_as(self, name: str) -> Optional[str]:
        """As what a file is stored that PostgreSQL calls ``name``, by the last listing; None: it is not there."""
        for packed in ("", *(f".{suffix}" for suffix in ("zst", "gz", "lz4"))):
            for encrypted in ("", ".gpg"):
                if f"{name}{packed}{encrypted}" in self._known:
                    return f"{name}{packed}{encrypted}"
        return None

    def note(self, stored: str) -> None:
        """Something came there since the last listing."""
        self._known.setdefault(stored, ObjectInfo(self.key(stored), 0, time.time()))

    def key(self, stored: str) -> str:
        """The key of what is stored under a name."""
        return f"{self._folder}/{stored}"

    def encryption(self) -> Encryption:
        """How what is here is encrypted. Raises BadOption: the secret for it is missing; CatalogError."""
        if self._marker is None:
            self._marker = read_marker(self._repository, self._server_name) or {}
        return self._decrypting(self._marker)

    def save(self, stored: str, path: str) -> None:
        """Write what is stored under a name to ``path``, decrypted and unpacked. Raises HoldfastError: it is damaged, or was gone."""
        key, encryption = self.key(stored), self.encryption()
        if stored.endswith(".gpg") and encryption.method == "none":
            raise BadOption(
                "encryption", None, f"is missing, and {key} in {self._repository.description} is encrypted",
                "Give the one by which the WAL was shipped.",
            )  # fmt: skip
        stream = stream_of(lambda: self._repository.open(key), key, encryption)
        try:
            if stream.filters:
                stream.save(path, lambda made, out: None)
            else:
                with open(path, "wb") as target:
                    for block in self._repository.blocks(key):
                        target.write(block)
        except ToolError as exc:
            raise WalError(
                f"{key} in {self._repository.description} cannot be decrypted or unpacked: {exc} Either the passphrase or key is not the "
                "one that it was encrypted with, or it is damaged."
            ) from exc

    def fetch(self, name: str, path: str) -> bool:
        stored = self.stored_as(name)
        if stored is None:
            self.listing()
            stored = self.stored_as(name)
        if stored is None:
            return False
        try:
            self.save(stored, path)
        except ObjectMissing:
            return False
        check_segment(name, path, f"{self.key(stored)} in {self._repository.description}")
        return True

    def age(self, name: Optional[str]) -> Optional[float]:
        stored = self.stored_as(name) if name else None
        return None if stored is None else round(max(0.0, time.time() - self._known[stored].modified), 1)

    def remove(self, names: Sequence[str]) -> None:
        def delete(name: str) -> None:
            self._repository.delete(self.key(name))

        with threads(_REMOVERS) as pool:
            for _done in pool.map(delete, names):
                pass


def check_segment(name: str, path: str, where: str) -> None:
    """Raise WalError: what was fetched as a segment is not this one, whole. Other files are left alone."""
    if classify(name, _ANY_SIZE).kind != SEGMENT:
        return
    with open(path, "rb") as stream:
        head, length = header.read(stream.read(header.LENGTH)), os.fstat(stream.fileno()).st_size
    wrong = wrong_with(name, head, length)
    if wrong:
        raise WalError(f"{where} is not the segment {name}: {wrong}. It cannot be recovered from.")


def wrong_with(name: str, head: Optional[header.Header], length: int) -> Optional[str]:
    """What is wrong with a segment of ``length`` bytes under a name; None: nothing that its first page tells. Pure."""
    if head is None:
        return "it does not begin as one does"
    try:
        size = SegmentSize(head.segment_size)
        segment = size.parse(name[:24], "segment")
    except BadOption as exc:
        return str(exc)
    if length != size.bytes:
        return f"it has {length} bytes of {size.bytes}"
    if head.position != size.start(segment):
        return f"its first page says that it is {size.name(size.containing(segment.timeline, head.position))}"
    if head.timeline > segment.timeline:
        return f"its first page is of timeline {head.timeline}"
    return None


def wal_in(repository: Repository, server_name: str, decrypting: Decrypting) -> Optional[WalArchive]:
    """The archive of a server beside its backups, however it came there; None: there is none. Raises RepositoryError, CatalogError."""
    if isinstance(repository, FileRepository):
        directory = os.path.join(repository.root, server_name, FOLDER)
        if not os.path.isdir(directory):
            return None
        plain = FileWal(directory, Compression("zstd"))
        # What is encrypted there was shipped.
        return ShippedWal(repository, server_name, decrypting) if _is_encrypted(repository, server_name) else plain
    shipped = ShippedWal(repository, server_name, decrypting)
    return shipped if read_marker(repository, server_name) is not None or shipped.listing() else None


def _is_encrypted(repository: Repository, server_name: str) -> bool:
    try:
        marker = read_marker(repository, server_name) or {}
    except HoldfastError:
        return False
    return marker.get("encryption") not in (None, "none")
