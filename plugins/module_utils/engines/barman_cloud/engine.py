# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Barman's programs for object stores as an engine: one server's backups and WAL in one store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import with_dependants
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.another_server import (
    refuse_another,
    system_id_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, Step, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import (
    archive,
    listing,
    options as barman_options,
    program,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.archive import BarmanWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.program import Barman
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import Destination
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngine,
    RepositoryEngineOptions,
    Verification,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.said import Said
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    RepositoryError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.client import completed
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import check_store, open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

# A check is to say soon that nobody answers; boto3 would ask five times.
_SOON = {"AWS_MAX_ATTEMPTS": "2"}
_PATIENCE = 120.0  # seconds for what asks the store one thing
_LISTING = 300.0  # seconds for a list of backups, each of which it looks at


class BarmanCloud(RepositoryEngine, Archiver):
    """One server's barman-cloud.

    Raises:
        BadOption: the options ask for what barman-cloud cannot do, or do not describe a store.
    """

    name = "barman_cloud"
    is_told_by_configuration = False
    wal: WalArchive
    default_compression = "gzip"  # its backups know no zstd

    def __init__(self, host: Host, options: RepositoryEngineOptions) -> None:
        if len(options.repositories) != 1:
            count = len(options.repositories)
            raise BadOption(
                "repositories", count, "is not one, and barman-cloud keeps one", "Use engine: pgbackrest for several."
            )
        self._host, self._options = host, options
        store = check_store(options.repositories[0])
        if store["type"] == "azure":
            store = completed(store)
        self._store = barman_options.store_arguments(options, store)
        token = str(store.get("sas_token") or "").lstrip("?")
        environment = {
            name: value.replace(barman_options.TOKEN, token) for name, value in self._store.environment.items()
        }
        self._environment = {**environment, **_libpq(host)}
        self._settings = os.path.join(options.config_dir, f"{options.server_name}.barman.env")
        self._repository = open_repository(store)
        prefix = str(store.get("prefix") or "").strip("/")
        #: of the server in the store, as Barman names keys
        self._folder = f"{prefix}/{options.server_name}".lstrip("/")
        self._size = SegmentSize(host.wal_segment_size)
        self.wal = BarmanWal(self._repository, options.server_name, self._settings, host.owner, self._get)

    @cached_property
    def _barman(self) -> Barman:
        directory = program.find(self._options.program)
        return Barman(directory, self._host.owner, self._environment, not self._store.credentials)

    @cached_property
    def version(self) -> str:  # type: ignore[override]
        return self._barman.version()

    def _where(self, *behind: str) -> tuple[str, ...]:
        return (*self._store.common, self._store.url, self._options.server_name, *behind)

    def _get(self, name: str, path: str) -> Said:
        ok = (0, archive.MISSING)
        return self._barman.run("wal-restore", "--no-partial", *self._where(name, path), ok=ok)

    # Setting up

    def configuration_files(self) -> Sequence[str]:
        return [self._settings]

    def configure(self, check: bool) -> list[Step]:
        self.version  # noqa: B018  (that it is there, and new enough)
        wal = barman_options.wal_arguments(self._options, self._barman.help("wal-archive"))
        for word in (*self._store.common, *self._store.upload):
            if word.startswith("--"):
                self._barman.demand("wal-archive", word, "the repository")
        self._libraries(barman_options.method_of(self._options, "wal_compression"))
        self._readable()
        if shutil.which("cmp") is None:
            raise ToolError("The archive command needs the program cmp. Install the package diffutils.")
        text = archive.settings(self._store, self._settings, self._barman.directory, wal, self._options.server_name)
        if files.is_there(self._settings, text, self._host.owner):
            return []
        if not check:
            files.put(self._settings, text, self._host.owner, folder_mode=0o755)
        return [Step(f"write {self._settings}, the way into the store, readable for {self._host.owner} alone")]

    def _libraries(self, method: str) -> None:
        """barman-cloud says that a library is missing when it needs it: in the middle of archiving."""
        codec = barman_options.COMPRESSIONS.get(method)
        for module in (*self._store.libraries, *([codec] if codec else [])):
            if self._barman.can_import(module) is False:
                raise ToolError(
                    f"barman-cloud in {self._barman.directory} lacks the Python module {module}, without which it would fail to "
                    "archive. Install it for that Python"
                    + (f", or choose another compression than {method}." if module == codec else ".")
                )

    def _readable(self) -> None:
        for path in self._store.files:
            if run_as(self._host.owner, ["test", "-r", path], timeout=60).returncode:
                raise BadOption(
                    "repository", path, f"cannot be read by {self._host.owner}, as whom PostgreSQL archives",
                    "Give that user the file.",
                )  # fmt: skip

    def prepare(self, check: bool) -> list[Step]:
        self._repository.check(write=True)
        where = f"{self._options.server_name} in {self._repository.description}"
        refuse_another(where, self._system_id(), self._host.system_id)
        return []

    def _system_id(self) -> Optional[str]:
        """Whose the archive is, by its newest backup, else by its first segment; None where neither tells."""
        found = [record.server["system_id"] for record in self.backups([]) if record.server["system_id"]]
        if found:
            return str(found[-1])
        return system_id_of(self.wal, self._size)

    def check(self) -> None:
        try:
            self._barman.run("backup-list", "--test", *self._where(), environment=_SOON, timeout=_PATIENCE)
        except ToolError as exc:
            raise ToolError(
                f"barman-cloud cannot use {self._repository.description}. {exc} As long as that is so, no WAL is archived: it "
                f"piles up in {self._host.data_directory}/pg_wal."
            ) from exc

    # Backups

    def _backups(self, problems: list[str], lost: dict[str, str]) -> Iterator[Record]:
        listed, kept = self._list(problems), self._kept(problems)
        if listing.unlisted(listed, kept or {}):
            listed = self._list([])  # one that began meanwhile, or a store that failed for a moment
        lost.update((label, listing.undescribed(label, lies)) for label, lies in listing.unlisted(listed, kept or {}))
        yield from listing.records(listed, self._options.server_name, kept, problems, lost)

    def _list(self, problems: list[str]) -> str:
        said = self._barman.run("backup-list", "--format", "json", *self._where(), environment=_SOON, timeout=_LISTING)
        # Backups whose backup.info it could not read.
        problems += listing.told(said.messages, "WARNING", "ERROR")
        return said.output

    def _kept(self, problems: list[str]) -> Optional[Mapping[str, listing.Kept]]:
        """What lies in the store; None where only barman-cloud gets there, as the library is missing here."""
        base = f"{self._options.server_name}/base"
        try:
            return listing.kept((info.key[len(base) + 1 :], info.size) for info in self._repository.list(base))
        except RepositoryError as exc:
            problems.append(f"What the backups take in the store is not known. {exc}")
            return None

    def _back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress, archiving: Archiving) -> Record:
        if kind != "full":
            raise BadOption(
                "kind", kind, "is nothing that barman-cloud does: it makes full backups",
                "Use engine: pgbackrest or wal_g, or pg_basebackup from PostgreSQL 17 on.",
            )  # fmt: skip
        compression = barman_options.backup_arguments(self._options, self._barman.help("backup"))
        for word in (*self._store.upload, *self._store.backup):
            if word.startswith("--"):
                self._barman.demand("backup", word, "the repository")
        self._libraries(barman_options.method_of(self._options, "backup_compression"))
        progress.step("backing up by barman-cloud")
        label = self._copy([*compression, "--jobs", str(self._options.jobs)], progress, archiving.watch)
        problems: list[str] = []
        record = next((record for record in self.backups(problems) if record.id == label), None)
        if record is None:
            raise ToolError(
                f"barman-cloud-backup said that it made {label}, and its list has no such backup. Do not rely on it. "
                f"{' '.join(problems)}".rstrip()
            )
        record = replace(record, engine_version=self.version)
        if annotations:
            record.warnings.append("barman-cloud keeps no annotations: they are not in the repository.")
        return record

    def _copy(self, extra: Sequence[str], progress: Progress, waiting: Callable[[], None]) -> str:
        """Run barman-cloud-backup, and return the label of what it made. What it leaves when it fails is removed."""
        seen = _Seen(progress, waiting)
        argv = ["--verbose", "--immediate-checkpoint", *extra, *self._store.backup, *self._store.upload]
        try:
            said = self._barman.run("backup", *argv, *self._where(), watch=seen)
        except BaseException as exc:
            left = self._forget(listing.started(seen.messages))
            if isinstance(exc, HoldfastError):
                raise ToolError(f"barman-cloud made no backup. {exc}{left}") from exc
            raise
        label = listing.started(said.messages)
        if label is None:
            raise ToolError("barman-cloud-backup said nothing of a backup that it made. Do not rely on it.")
        return label

    def _base(self, label: str) -> str:
        """The folder of a backup in the repository."""
        return f"{self._options.server_name}/base/{label}"

    def _forget(self, label: Optional[str]) -> str:
        """Remove the objects of a backup that failed. Not by barman-cloud-backup-delete, which may delete WAL with it."""
        if label is None:
            return ""
        try:
            self._repository.delete_folder(self._base(label))
        except HoldfastError:
            return f" What it left could not be removed: {label}, which is listed as failed or unfinished."
        return ""

    def verify(self, record: Record) -> Verification:
        """barman-cloud cannot check a backup without restoring it. So it is looked whether all of it is in the store."""
        problems: list[str] = []
        lost: dict[str, str] = {}
        if record.id not in [other.id for other in self.backups(problems, lost)]:
            why = lost.get(record.id) or " ".join(message for message in problems if record.id in message)
            raise CatalogError(f"Barman has no backup {record.id} that can be restored. {why}".rstrip())
        missing = self.missing_wal(record)
        if missing:
            raise CatalogError(
                f"Barman's backup {record.id} cannot be restored: {len(missing)} segments of WAL that it needs are not in the archive, "
                f"{missing[0]} first."
            )
        return Verification(
            False, "Its archives and the WAL that it needs are in the store. barman-cloud reads nothing back."
        )

    def delete(self, labels: Sequence[str], check: bool, warnings: list[str]) -> list[str]:
        """Those that failed or were not finished are deleted too, when they are named: their objects, and no WAL."""
        listed = self._list([])
        found = listing.records(listed, self._options.server_name, self._kept([]), [], {})
        leftovers = sorted(listing.leftovers(listed) & set(labels))
        going = with_dependants(found, [label for label in labels if label not in leftovers], "Barman")
        staying = [record for record in found if record.id not in going]
        gone: list[str] = []
        for label in leftovers:
            if not check:
                self._repository.delete_folder(self._base(label))
            gone.append(label)
        for record in found:
            if record.id in going:
                self._delete(record.id, staying, check, gone)
                gone.append(record.id)
        return gone

    def leftovers(self) -> list[str]:
        return sorted(listing.leftovers(self._list([])))

    def _delete(self, label: str, staying: Sequence[Record], check: bool, gone: Sequence[str]) -> None:
        """Barman deletes the WAL up to the next backup with the oldest one, going by the order of labels. So first it is seen
        what it would delete."""
        done = f" Deleted before: {', '.join(gone)}." if gone and not check else ""
        argv = ["--backup-id", label, *self._where()]
        try:
            said = self._barman.run("backup-delete", "--dry-run", *argv)
            wrong = listing.wrongly(said.output, self._folder, label, staying, self._size)
            if wrong:
                raise ToolError(
                    f"With {label} Barman would delete {wrong[0]} and {len(wrong) - 1} more, which a backup that stays can need. "
                    "It was left alone."
                )
            if check:
                return
            said = self._barman.run("backup-delete", *argv)
            errors = listing.told(said.messages, "ERROR")
            if errors:
                raise ToolError(f"{label} is deleted, and not all of its WAL: {' '.join(errors)}")
        except ToolError as exc:
            raise ToolError(f"{exc}{done}") from exc

    # Restoring

    def restore(self, record: Record, destination: Destination, progress: Progress) -> None:
        directory, tablespaces = destination.directory, destination.tablespaces
        argv = [*listing.locations(record, tablespaces), *self._where(record.id, directory)]
        progress.step(f"restoring {record.id} by barman-cloud")
        try:
            self._barman.run("restore", *argv, watch=lambda messages: progress.tell(None, None))
        except ToolError as exc:
            raise ToolError(
                f"barman-cloud could not restore {record.id} into {directory}. {exc} What is there cannot be started."
            ) from exc
        destination.check("barman-cloud", record.id)


class _Seen:
    """Follows the log of barman-cloud-backup: shows what it does, and keeps it for when it fails. ``waiting`` is called while PostgreSQL
    waits for the backup's WAL."""

    def __init__(self, progress: Progress, waiting: Callable[[], None]) -> None:
        self._progress, self._waiting = progress, waiting
        self._shown = ""
        self.messages = ""

    def __call__(self, messages: str) -> None:
        self.messages = messages
        doing = listing.activity(messages)
        if doing and doing != self._shown:
            self._shown = doing
            self._progress.step(doing)
        self._progress.tell(None, None)
        if doing == listing.WAITING:
            self._waiting()


def _libpq(host: Host) -> dict[str, str]:
    """How a program finds the server."""
    found = {"PGHOST": host.host or host.socket_directory, "PGPORT": str(host.port), "PGUSER": host.user}
    return {**found, "PGPASSFILE": host.passfile} if host.passfile else found
