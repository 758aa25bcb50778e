# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server's backups in a repository: ``<server>/<id>/…`` with ``manifest.json`` last.

A backup exists exactly when its manifest does. What an interrupted run leaves is a folder without one.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import ahead
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded, verifications
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import MANIFEST, Found, read_all, read_one
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, decode, encode
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    DamagedManifest,
    HoldfastError,
    ObjectLocked,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository

INSTRUCTIONS = "RESTORE.txt"
RESTORES = "_restores"  # what was restored where; never a backup's id, which begins with a letter or digit
# All that a backup of ours consists of: engines name their artifacts so.
ARTIFACT = re.compile(
    r"(databases/.+|(globals\.sql|cluster\.json|base\.tar|\d+\.tar|backup_manifest|configuration\.tar)(\.\w+)*"
    r"|snapshots\.json|backup_label|tablespace_map|objects\.json(\.gpg)?|RESTORE\.txt|manifest\.json)"
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_name(option: str, name: str) -> str:
    """A server's name or a backup's id: it becomes a folder. Raises BadOption."""
    if not NAME.fullmatch(name):
        raise BadOption(
            option, name, "cannot name a folder", "Use letters, digits, '.', '_' and '-', a letter or digit first."
        )
    if option == "backup_id" and name == "latest":
        raise BadOption(
            option,
            name,
            "means the newest backup wherever one is chosen, and is no id",
            "Name it otherwise, or by its own id.",
        )
    return name


class Shelf:
    """The backups of the server ``name``."""

    def __init__(self, repository: Repository, name: str) -> None:
        self.repository = repository
        self.name = check_name("server_name", name)
        self._marks: Optional[verifications.Marks] = None

    def say_if_unknown(self) -> str:
        """Which servers have something here, where this one has nothing and its name may be a slip; else empty. Raises RepositoryError."""
        others = sorted(name for name in self.repository.folders("") if NAME.fullmatch(name))
        if not others or self.name in others:
            return ""
        return f"There is nothing of a server {self.name!r} in {self.repository.description}: is server_name right? There is {', '.join(others)}."

    def key(self, backup_id: str, name: str) -> str:
        """Where an object of a backup lies."""
        return f"{self.name}/{backup_id}/{name}"

    def lock(self, purpose: str, warnings: list[str]) -> Lock:
        """The server's lock, not yet taken."""
        return Lock(self.repository, f"{self.name}/lock.json", purpose, warnings)

    def ids(self) -> list[str]:
        """Every folder that could be a backup, finished or not, in order."""
        return sorted(name for name in self.repository.folders(self.name) if NAME.fullmatch(name))

    def read(self, backup_id: str) -> Optional[Record]:
        """A backup's record; None when there is no manifest: it was interrupted, or never was.

        Raises:
            DamagedManifest: it is none.
            CatalogError: it is newer, or of another server.
        """
        try:
            data = bounded.read(self.repository, self.key(backup_id, MANIFEST), bounded.LARGEST_MANIFEST)
        except ObjectMissing:
            return None
        except CatalogError as exc:  # of no manifest's size
            raise DamagedManifest(str(exc)) from exc
        return self.decode(backup_id, data)

    def decode(self, backup_id: str, data: bytes) -> Record:
        """The record in a manifest of ours. Raises CatalogError."""
        where = f"{self.key(backup_id, MANIFEST)} in {self.repository.description}"
        record = decode(data, where)
        if record.id != backup_id or record.server.get("name") != self.name:
            raise CatalogError(
                f"The manifest {where} belongs to the backup {record.id} of the server {record.server.get('name')!r}. "
                f"Somebody moved it here: move it back below {record.server.get('name')}/{record.id}."
            )
        return record

    def marks(self, anew: bool = False) -> verifications.Marks:
        """What verifying found of the backups, as it was read first, or ``anew``. Raises RepositoryError."""
        if anew or self._marks is None:
            self._marks = verifications.read(self.repository, self.name)
        return self._marks

    def records(
        self,
        problems: list[str],
        leftovers: Optional[list[str]] = None,
        unread: Optional[list[str]] = None,
        failed: Optional[dict[str, str]] = None,
    ) -> Iterator[Record]:
        """Every backup, oldest id first, as the last verification left it (``verified_at``). Manifests that can't be used go to ``problems``, and
        the ids of their backups to ``unread``; what was interrupted goes to ``leftovers``, and what failed a verification, with what was wrong, to
        ``failed``, or where nobody asks for that to ``problems``."""
        unread = [] if unread is None else unread
        marks = self.marks(anew=True)
        problems += [marks.problem] if marks.problem else []
        found = read_all(self.repository, self.name, NAME) if self.repository.remote else self._read_each()
        for backup_id, data in found:
            if data is None:
                if leftovers is not None and self._ours(backup_id):
                    leftovers.append(backup_id)
                continue
            if not isinstance(data, bytes):
                problems.append(str(data))
                unread.append(backup_id)
                continue
            try:
                record = self.decode(backup_id, data)
            except CatalogError as exc:
                problems.append(str(exc))
                unread.append(backup_id)
                continue
            failure = marks.failure(record)
            if failure is not None and failed is not None:
                failed[backup_id] = failure
            elif failure is not None:
                problems.append(
                    f"The backup {backup_id} counts as none: {failure}. A later verification that finds it good makes it one again."
                )
            yield marks.apply(record)

    def has_folder(self, backup_id: str) -> bool:
        """Whether there is anything of a backup that has no manifest, and nothing that is not ours."""
        prefix = f"{self.name}/{backup_id}"
        there = next(iter(self.repository.list(prefix)), None) or self.repository.unfinished(prefix)
        return bool(there) and self._ours(backup_id)

    def _ours(self, folder: str) -> bool:
        """Whether a folder without a manifest has nothing but what an interrupted run of ours leaves. Others keep things here
        too (Barman's base and wals, WAL-G, people), and those must never be taken for rubbish."""
        prefix = f"{self.name}/{folder}"
        keys = itertools.chain((info.key for info in self.repository.list(prefix)), self.repository.unfinished(prefix))
        return all(ARTIFACT.fullmatch(key[len(prefix) + 1 :]) for key in keys)

    def _read_each(self) -> Iterator[tuple[str, Found]]:
        for backup_id in self.ids():
            yield backup_id, read_one(self.repository, self.name, backup_id)

    def get(self, backup_id: str) -> Record:
        """One backup. Raises CatalogError when there is none of that id."""
        record = self.read(check_name("backup_id", backup_id))
        if record is None:
            raise CatalogError(
                f"There is no backup {backup_id!r} of the server {self.name!r} in {self.repository.description}. "
                "The module holdfast.postgres.backup_facts lists those that are there."
            )
        return record

    def write(self, record: Record) -> None:
        """Write a manifest: from here on the backup exists.

        Raises:
            CatalogError: another one is read back.
        """
        key, data = self.key(record.id, MANIFEST), encode(record)
        self.repository.write(key, data, lasting=True)
        if self.repository.read(key) != data:
            raise CatalogError(
                f"The manifest {key} in {self.repository.description} is read back with another content than was written. "
                "Without it the backup cannot be restored: look at the store's health, and make another one."
            )

    def remove(self, backup_id: str) -> None:
        """Delete a backup, its manifest first: from then on it does not exist, however far the rest gets. Its instructions come next,
        as what has them without a manifest is taken for a backup that lost it.

        Raises:
            ObjectLocked: the store forbids it; then the backup is as it was.
        """
        until = self.repository.locked_until(self.key(backup_id, MANIFEST))
        if until:
            raise ObjectLocked(f"{self.repository.description} has locked {backup_id} until {until}.")
        self.repository.delete(self.key(backup_id, MANIFEST))
        if self.repository.stat(self.key(backup_id, MANIFEST)) is not None:
            raise RepositoryError(
                f"{self.repository.description} said that the manifest of {backup_id} is deleted, and has it still: the backup is there as it "
                "was. Look at the store's health, and at what stands between it and this host."
            )
        self.repository.delete(self.key(backup_id, INSTRUCTIONS))
        self.repository.delete_folder(f"{self.name}/{backup_id}")

    def verify(self, record: Record, on_bytes: Callable[[int], None] = lambda read: None) -> None:
        """Read every artifact back and compare size and sha256.

        Raises:
            CatalogError: something is missing or differs.
        """
        done = 0
        for artifact in record.artifacts:
            where = f"{self.key(record.id, artifact.key)} in {self.repository.description}"
            digest, size = hashlib.sha256(), 0
            try:
                # The store is read by another thread, while this one hashes.
                for data in ahead(self.repository.blocks(self.key(record.id, artifact.key))):
                    digest.update(data)
                    size += len(data)
                    on_bytes(done + size)
            except ObjectMissing as exc:
                raise _broken(where, "is missing") from exc
            except HoldfastError as exc:
                # A key that is disabled, an archive tier, a network: that says nothing against the backup.
                raise type(exc)(
                    f"The artifact {where} cannot be read, so nothing is known of it: {exc} The backup may well be whole."
                ) from exc
            if size != artifact.size:
                raise _broken(where, f"has {size} bytes instead of {artifact.size}")
            if digest.hexdigest() != artifact.sha256:
                raise _broken(where, "has another content than was written (its sha256 differs)")
            done += size


def _broken(where: str, what: str) -> CatalogError:
    return CatalogError(f"The artifact {where} {what}. This backup cannot be trusted: use another one.")
