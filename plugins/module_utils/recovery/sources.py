# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server's files come from: a backup of pg_basebackup in our repository, or one that an engine keeps."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import chain
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.points import RestorePoint, known
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import LocalDirectories
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import check_signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.laid_out import LABEL
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.layout import Layout
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets

DATA = ""  # beside the oids of tablespaces: the data directory itself


@dataclass(frozen=True)
class NewDirectory:
    """A data directory that is to be made, and is not there yet, for its ``owner``. ``tablespaces`` maps the oid of each to the path that it
    gets; ``programs`` is where PostgreSQL's are."""

    directory: str
    tablespaces: Mapping[str, str]
    owner: str
    programs: str


#: the id of a backup, and why it is refused unless accept_unsigned is given
Unsigned = tuple[str, CatalogError]


class PhysicalSource(abc.ABC):
    """Copies of a server, and the WAL that goes with them (None: only what the copies themselves hold)."""

    name: str
    wal: Optional[WalArchive]

    @abc.abstractmethod
    def records(self, problems: list[str]) -> list[Record]:
        """The copies that can be restored, oldest first."""

    def snapshots(self) -> list[Record]:
        """Backups whose files the storage of a cluster has, and that WAL leads on from, oldest first. ``records`` was asked before."""
        return []

    def label(self, record: Record) -> str:
        """The backup_label of such a one. Raises HoldfastError."""
        raise CatalogError(f"The backup {record.id} has no {LABEL}.")

    def detail(self, record: Record) -> Record:
        """The same copy with what a listing leaves out, such as its tablespaces. Raises HoldfastError."""
        return record

    def points(self, name: str, system_id: Optional[str]) -> list[RestorePoint]:
        """The restore points of that name that were written down, oldest first. Raises HoldfastError."""
        return []

    def prove(self, record: Record) -> list[Unsigned]:
        """Look whether a copy can be read, as far as that can be told without reading all of it. Returns what of it is not signed and should
        be. Raises HoldfastError."""
        return []

    def sizes(self, record: Record) -> Mapping[str, Optional[int]]:
        """Bytes that laying it out writes, by the oid of a tablespace, and ``DATA`` for the data directory; None: not known."""
        return {DATA: record.scope.get("size")}

    def reading(self, record: Record, warnings: list[str]) -> contextlib.AbstractContextManager[object]:
        """While a copy and its WAL are read: nobody of ours deletes it, or what it is based on. ``warnings`` hears where that cannot be noted.

        Raises:
            HoldfastError: it was deleted a moment ago.
        """
        return contextlib.nullcontext()

    @abc.abstractmethod
    def lay_out(self, record: Record, made: NewDirectory, progress: Progress) -> None:
        """Lay the copy out; files are checked. Raises HoldfastError."""

    def configuration(self, record: Record, directory: str, owner: str, programs: str) -> list[str]:
        """Unpack configuration files from outside the data directory, where the copy has them. Returns their paths."""
        return []


class ShelfSource(PhysicalSource):
    """Our own repository."""

    def __init__(self, shelf: Shelf, secrets: Secrets, wal: Optional[WalArchive]) -> None:
        self.name = f"{shelf.name} in {shelf.repository.description}"
        self.wal, self._shelf, self._secrets = wal, shelf, secrets
        self._known: dict[str, Record] = {}
        self._snapshots: dict[str, Record] = {}

    def records(self, problems: list[str]) -> list[Record]:
        there = [record for record in self._shelf.records(problems) if record.verified_at]
        self._known = {record.id: record for record in there if record.engine == "pg_basebackup"}
        self._snapshots = {
            record.id: record
            for record in there
            if record.engine in ELSEWHERE and record.consistency.get("mode") == "backup_mode"
        }
        whole = [record for record in self._known.values() if self._chain(record)]
        problems += [
            f"The backup {record.id} is made upon {record.parent}, and of what that needs or itself something is missing."
            for record in self._known.values()
            if record not in whole
        ]
        if not self._known and (unknown := self._shelf.say_if_unknown()):
            problems.append(unknown)
        return whole

    def snapshots(self) -> list[Record]:
        return list(self._snapshots.values())

    def label(self, record: Record) -> str:
        artifact = next((one for one in record.artifacts if one.role == LABEL), None)
        if artifact is None:
            return super().label(record)
        key = self._shelf.key(record.id, artifact.key)
        stream = stream_of(lambda: self._shelf.repository.open(key), key, self._secrets.of(record))
        return stream.read().decode("utf-8", "replace")

    def points(self, name: str, system_id: Optional[str]) -> list[RestorePoint]:
        return known(self._shelf, name, system_id)

    def _chain(self, record: Record) -> Sequence[Record]:
        """A backup and all that it needs, the full one first; nothing when one is missing."""
        if record.id in self._snapshots:
            return [record]
        try:
            return chain(record, self._known)
        except CatalogError:
            return []

    def sizes(self, record: Record) -> Mapping[str, Optional[int]]:
        """A chain is unpacked in full before it is put together: all parts lie there at once, and what comes of them."""
        parts = self._chain(record)
        sizes: dict[str, Optional[int]] = {}
        for needed in [*parts, *parts[:1]] if len(parts) > 1 else parts:
            for artifact in needed.artifacts:
                if artifact.role in ("base", "tablespace"):
                    of = DATA if artifact.role == "base" else artifact.key.split(".")[0]
                    before = sizes.get(of, 0)
                    unknown = before is None or artifact.raw_size is None
                    sizes[of] = None if unknown else (before or 0) + (artifact.raw_size or 0)
        return sizes

    def prove(self, record: Record) -> list[Unsigned]:
        """Every artifact of the chain is there in its size, and the smallest can be decrypted; each is what was signed."""
        unsigned: list[Unsigned] = []
        for needed in self._chain(record):
            for artifact in needed.artifacts:
                key = self._shelf.key(needed.id, artifact.key)
                there = self._shelf.repository.stat(key)
                if there is None or there.size != artifact.size:
                    found = "is missing" if there is None else f"has {there.size} bytes instead of {artifact.size}"
                    raise CatalogError(
                        f"The artifact {key} in {self._shelf.repository.description} {found}. This backup cannot be trusted: use "
                        "another one (backup_id)."
                    )
            encryption = self._secrets.of(needed)
            smallest = min(needed.artifacts, key=lambda artifact: artifact.size)
            key = self._shelf.key(needed.id, smallest.key)
            try:
                stream_of(lambda key=key: self._shelf.repository.open(key), key, encryption).read()  # type: ignore[misc]
            except ToolError as exc:
                raise ToolError(
                    f"The backup {needed.id} cannot be read: is the passphrase or key right? {exc}"
                ) from exc
            refusal = check_signature(needed, encryption, self._secrets.asked)
            unsigned += [(needed.id, refusal)] if refusal else []
        return unsigned

    def reading(self, record: Record, warnings: list[str]) -> contextlib.AbstractContextManager[object]:
        ids = [needed.id for needed in self._chain(record)]
        return Reading(self._shelf, ids, "a recovery", warnings)

    def lay_out(self, record: Record, made: NewDirectory, progress: Progress) -> None:
        if record.id in self._snapshots:
            return  # it lies there
        parts = self._chain(record)
        if not parts:
            raise CatalogError(f"The backup {record.id} needs {record.parent}, which is not there.")
        layout = Layout(self._shelf, self._secrets, made.owner, made.programs)
        layout.lay_out(parts, made.directory, made.tablespaces, progress)
        progress.step("checking the files")
        layout.check_files(made.directory)

    def configuration(self, record: Record, directory: str, owner: str, programs: str) -> list[str]:
        return Layout(self._shelf, self._secrets, owner, programs).configuration(record, directory)


class EngineSource(PhysicalSource):
    """An engine with a repository of its own. ``shelf`` opens what lies beside its backups in the same store, where notes of ours go."""

    def __init__(self, engine: RepositoryEngine, shelf: Callable[[], Shelf]) -> None:
        self._shelf = shelf
        self.name = f"{engine.name} ({engine.wal.description})" if engine.wal else engine.name
        self.wal, self._engine = engine.wal, engine

    def records(self, problems: list[str]) -> list[Record]:
        listed = list(self._engine.backups(problems))
        try:
            marks = self._shelf().marks()
        except HoldfastError as exc:
            problems.append(f"What verifying found of the backups of {self.name} could not be read: {exc}")
            return listed
        failed = {record.id: wrong for record in listed if (wrong := marks.failure(record))}
        problems += [f"The backup {name} counts as none: {wrong}." for name, wrong in failed.items()]
        return [marks.apply(record) for record in listed if record.id not in failed]

    def detail(self, record: Record) -> Record:
        return self._engine.detail(record)

    def reading(self, record: Record, warnings: list[str]) -> contextlib.AbstractContextManager[object]:
        known = {other.id: other for other in self._engine.backups([])}
        ids = [record.id]
        while (parent := known[ids[-1]].parent if ids[-1] in known else None) and parent not in ids:
            ids.append(parent)
        try:
            shelf = self._shelf()
        except HoldfastError as exc:
            warnings.append(
                f"That {', '.join(ids)} is being read could not be noted in the repository, so that a retention may delete it meanwhile: {exc}"
            )
            return contextlib.nullcontext()
        left: set[str] = set()

        def is_there(name: str) -> bool:
            if not left:
                left.update(record.id for record in self._engine.backups([]))
            return name in left

        return Reading(shelf, ids, "a recovery", warnings, is_there)

    def prove(self, record: Record) -> list[Unsigned]:
        """Where the engine reads nothing back, whether all of the backup is there, and its WAL."""
        if not self._engine.reads_back:
            self._engine.verify(record)
        return []

    def lay_out(self, record: Record, made: NewDirectory, progress: Progress) -> None:
        old = {str(row["oid"]): row["location"] for row in record.server.get("tablespaces") or ()}
        progress.step(f"restoring {record.id} by {self._engine.name}", record.scope.get("size"))
        moved = {old[oid]: path for oid, path in made.tablespaces.items() if oid in old}
        for path in (made.directory, *moved.values()):
            make_directory(path, made.owner)
        self._engine.restore(record, LocalDirectories(made.directory, moved), progress)
