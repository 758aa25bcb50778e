# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G as an engine: one server's backups and WAL in one store."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Optional, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import links, with_dependants
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.another_server import (
    refuse_another,
    system_id_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, Step, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import Destination
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngine,
    RepositoryEngineOptions,
    Verification,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.said import Said
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g import listing, program
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.archive import WalGArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.options import (
    BACKUPS,
    folder_of,
    settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.program import Program
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.rehearsal import rehearse
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    ObjectMissing,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.azure.client import completed
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import check_store, open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.users import as_user
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

_SAME = 0.5  # how much of what WAL-G counted must be there, which counts again what it sends again
_Found = TypeVar("_Found")
_ORIGIN = {"incremental": "LATEST", "differential": "LATEST_FULL"}
# Of the 15 attempts that it makes otherwise the last come after minutes: a check is to say soon that nobody answers.
_SOON = {"WALG_S3_MAX_RETRIES": "2"}


class WalG(RepositoryEngine, Archiver):
    """One server's WAL-G.

    Raises:
        BadOption: the options ask for what WAL-G cannot do, or do not describe a store.
    """

    name = "wal_g"
    wal: WalArchive

    def __init__(self, host: Host, options: RepositoryEngineOptions) -> None:
        if len(options.repositories) != 1:
            count = len(options.repositories)
            raise BadOption("repositories", count, "is not one, and WAL-G keeps one", "Use pgbackrest for several.")
        self._host, self._options = host, options
        store = check_store(options.repositories[0])
        if store["type"] == "azure":
            store = completed(store)
        secret = Encryption.passphrase(options.encryption or {})
        self._settings = settings(host, options, store, secret.decode() if secret else None)
        self._configuration = os.path.join(options.config_dir, f"{options.server_name}.wal-g.json")
        self._repository, self._folder = open_repository(store), folder_of(options.server_name)
        self._directory: Optional[str] = self._settings.get("WALG_FILE_PREFIX")
        self._size = SegmentSize(host.wal_segment_size)
        self.wal = WalGArchive(self._repository, self._folder, self._directory, host.owner, lambda: self._program)

    @cached_property
    def _program(self) -> Program:
        path = program.find(self._options.program)
        return Program(path, self._configuration, self._host.owner, self._settings)

    @cached_property
    def version(self) -> str:  # type: ignore[override]
        return program.version(self._program.path, self._host.owner)

    # Setting up

    def configuration_files(self) -> Sequence[str]:
        return [self._configuration]

    def configure(self, check: bool) -> list[Step]:
        self.version  # noqa: B018  (that it is there, and new enough)
        content = json.dumps(self._settings, indent=1, sort_keys=True) + "\n"
        if files.is_there(self._configuration, content, self._host.owner):
            return []
        rehearse(self._program.path, self._host.owner, self._settings)
        if not check:
            files.put(self._configuration, content, self._host.owner, folder_mode=0o755)
        return [
            Step(f"write {self._configuration}, WAL-G's settings and secrets, readable for {self._host.owner} alone")
        ]

    def prepare(self, check: bool) -> list[Step]:
        self._repository.check(write=True)
        if self._directory is not None and not os.path.isdir(self._directory):
            if not check:
                self._make_directory(self._directory)
            return [Step(f"create the directory {self._directory}")]
        where = f"{self._folder} in {self._repository.description}"
        refuse_another(where, self._system_id(), self._host.system_id)
        return []

    def _make_directory(self, path: str) -> None:
        """WAL-G wants it to be there, and writes as the owner."""
        files.make_directory(path, self._host.owner)

    def _system_id(self) -> Optional[str]:
        """Whose the repository is, by its newest backup, else by its first segment; None where neither tells."""
        for label in sorted(self._repository.folders(f"{self._folder}/{BACKUPS}"), reverse=True):
            metadata = self._read(f"{label}/metadata.json")
            if metadata and metadata.get("system_identifier"):
                return str(metadata["system_identifier"])
        # Before it is configured WAL-G can fetch nothing.
        if not os.path.exists(self._configuration):
            return None
        return system_id_of(self.wal, self._size)

    def check(self) -> None:
        try:
            self._program.run("st", "ls", environment=_SOON)
        except ToolError as exc:
            raise ToolError(
                f"WAL-G cannot use {self._repository.description}. {exc} As long as that is so, no WAL is archived: it piles up in "
                f"{self._host.data_directory}/pg_wal. The settings are in {self._configuration}."
            ) from exc

    # Backups

    def _backups(self, problems: list[str], lost: dict[str, str]) -> Iterator[Record]:
        said = self._program.run("backup-list", "--detail", "--json")
        yield from listing.records(said.output, self._options.server_name, lost)

    def _back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress, archiving: Archiving) -> Record:
        before = {record.id for record in self.backups([])}
        arguments = ["backup-push", *(["--full"] if kind == "full" else []), self._host.data_directory]
        environment = {"WALG_SENTINEL_USER_DATA": listing.notes(kind, annotations)}
        if kind in _ORIGIN:
            environment["WALG_DELTA_ORIGIN"] = _ORIGIN[kind]
        progress.step(f"backing up by WAL-G ({kind})")
        try:
            self._program.follow(
                progress, *arguments, environment=environment, on_log=_waiting_for_wal(archiving.watch)
            )
        except (ToolError, ServerError) as exc:
            raise ToolError(f"WAL-G made no backup. {exc}") from exc
        self._flush()
        made = [record for record in self.backups([]) if record.id not in before]
        if not made:
            raise ToolError("WAL-G said that it made a backup, and its list has no new one. Do not rely on it.")
        record = made[-1]
        if kind != "full" and record.kind == "full":
            record.warnings.append(
                "This is a full backup: there was none that it could be made upon, or WALG_DELTA_MAX_STEPS was reached."
            )
        return record

    def _flush(self) -> None:
        """Into a directory WAL-G writes without flushing."""
        if self._directory is not None:
            argv = ["sync", "--file-system", self._directory]
            done = subprocess.run(
                argv,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                **as_user(self._host.owner),
            )
            if done.returncode:
                told = done.stderr.decode("utf-8", "replace").strip()
                message = f"What WAL-G wrote could not be brought to the disk: {told}. Do not rely on it."
                raise ToolError(message, argv, done.returncode, told)

    def verify(self, record: Record) -> Verification:
        """WAL-G cannot check a backup without restoring it. So it is looked whether all is there, and not empty: the parts of
        the backup and of those it needs, and the WAL that makes it consistent. What is in them only a drill proves."""
        found = {other.id: other for other in self.backups([])}
        problems: list[str] = []
        if record.id not in found:
            raise CatalogError(f"WAL-G's list has no backup {record.id}.")
        needed = links(found[record.id], found.get)
        for link in needed:
            problems += self._missing_parts(link)
        if needed[-1].parent is not None:
            problems.append(f"{needed[-1].parent}, which {needed[-1].id} needs, is not there")
        problems += [f"the segment {name} is not in the archive" for name in self.missing_wal(found[record.id])]
        if problems:
            raise CatalogError(f"WAL-G's backup {record.id} cannot be restored: {'; '.join(problems)}.")
        return Verification(
            False, "Its parts and the WAL that it needs are there, and not empty. WAL-G reads nothing back."
        )

    def _missing_parts(self, record: Record) -> Iterator[str]:
        label = record.id
        folder = f"{self._folder}/{BACKUPS}/{label}/tar_partitions"
        parts = {info.key.rpartition("/")[2]: info.size for info in self._repository.list(folder)}
        if not any(name.startswith("pg_control.tar") for name in parts):
            yield f"{label} has no pg_control"
        files = self._read(f"{label}/files_metadata.json") or {}
        for name in sorted({*parts, *(files.get("TarFileSets") or {})}):
            if not parts.get(name):
                yield f"{name} of {label} is {'empty' if name in parts else 'missing'}"
        there, stored = sum(parts.values()), record.scope.get("stored")
        # WAL-G counts what it has sent; what it does not count is small, and a part that lacks is not.
        if stored and there < stored * _SAME:
            yield f"the parts of {label} have {there} bytes, and it had sent {stored}"

    def delete(self, labels: Sequence[str], check: bool, warnings: list[str]) -> list[str]:
        """What a killed run left, where it is named: its objects, and no WAL."""
        leftovers = sorted(set(self.leftovers()) & set(labels))
        found = list(self.backups([]))
        going = with_dependants(found, [label for label in labels if label not in leftovers], "WAL-G")
        parents = {record.id: record.parent for record in found}
        roots = [label for label in going if parents[label] not in going]
        for label in roots:
            # By name WAL-G has removed newer backups after an upgrade (its issue 636): so first see what it would do.
            said = self._program.run("delete", "target", label, "--use-sentinel-time")
            expected = with_dependants(found, [label], "WAL-G")
            would = self._understood(listing.doomed_backups, said, "Nothing was deleted.", f"delete target {label}")
            if would != set(expected):
                raise ToolError(
                    f"WAL-G {self.version} would not delete {', '.join(expected)}, but {', '.join(sorted(would)) or 'nothing'}. Nothing "
                    f"was deleted. See for yourself: wal-g --config {self._configuration} delete target {label}"
                )
        if check:
            return [*leftovers, *going]
        for label in leftovers:
            self._repository.delete_folder(f"{self._folder}/{BACKUPS}/{label}")
        for label in roots:
            self._program.run("delete", "target", label, "--use-sentinel-time", "--confirm")
        left = [record for record in self.backups([]) if record.id in going] if going else []
        if left:
            raise ToolError(
                f"WAL-G {self.version} said that it deleted {', '.join(record.id for record in left)}, and lists it still. Its WAL was "
                "left alone."
            )
        if going:
            self._delete_wal([record for record in found if record.id not in going], warnings)
        return [*leftovers, *going]

    def leftovers(self) -> list[str]:
        """Folders of backups without a sentinel, which WAL-G writes last."""
        folder = f"{self._folder}/{BACKUPS}"
        return [
            label
            for label in sorted(self._repository.folders(folder))
            if listing.is_label(label) and self._repository.stat(f"{folder}/{label}_backup_stop_sentinel.json") is None
        ]

    def _understood(self, read: Callable[[str], _Found], said: Said, done: str, command: str) -> _Found:
        try:
            return read(said.output + said.messages)
        except CatalogError as exc:
            raise ToolError(
                f"WAL-G {self.version} cannot be followed: {exc}. {done} Versions up to 3.0.9 can be. See for yourself: "
                f"wal-g --config {self._configuration} {command}"
            ) from exc

    def _delete_wal(self, kept: Sequence[Record], warnings: list[str]) -> None:
        """``delete target`` leaves the WAL. ``delete garbage`` takes what lies before the oldest backup, by timeline and
        segment; ordered by time instead it would compare segments alone, and take those of a later timeline that began
        earlier. When none is kept WAL-G deletes no WAL. Of a permanent backup it keeps the WAL that makes it consistent, and takes
        what follows: then all of it stays, as that backup is kept to be restored from, to any moment."""
        command = "delete garbage ARCHIVES"
        said = self._program.run(*command.split())
        gone = "The backups are deleted. Their WAL is not."
        doomed = self._understood(listing.doomed_wal, said, gone, command)
        passing = [record for record in kept if not record.pinned]
        if any(listing.needed(name, passing, self._size) for name in doomed):
            wrong = sorted(name for name in doomed if listing.needed(name, passing, self._size))
            raise ToolError(
                f"{gone} WAL-G would delete {wrong[0]} and {len(wrong) - 1} more that a kept backup may need. See for yourself: "
                f"wal-g --config {self._configuration} {command}"
            )
        permanent = [record for record in kept if record.pinned]
        if any(listing.needed(name, permanent, self._size) for name in doomed):
            warnings.append(
                f"No WAL is deleted while {', '.join(record.id for record in permanent)} is marked permanent in WAL-G, which would take "
                "the WAL that follows it. To let it go: wal-g backup-mark --impermanent."
            )
        elif doomed:
            self._program.run(*command.split(), "--confirm")

    # Restoring

    def restore(self, record: Record, destination: Destination, progress: Progress) -> None:
        directory, tablespaces = destination.directory, destination.tablespaces
        sentinel = self._read(f"{record.id}_backup_stop_sentinel.json")
        if sentinel is None:
            raise CatalogError(f"WAL-G's backup {record.id} is not in {self._repository.description}.")
        spec = listing.restore_spec(sentinel, directory, tablespaces)
        arguments = ["backup-fetch", directory, record.id]
        progress.step(f"restoring {record.id} by WAL-G")
        with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
            if spec is not None:
                path = os.path.join(scratch, "restore_spec.json")
                os.chmod(scratch, 0o711)  # the owner opens the file by its name
                files.put(path, json.dumps(spec), self._host.owner)
                arguments += ["--restore-spec", path]
            try:
                self._program.follow(progress, *arguments)
            except ToolError as exc:
                raise ToolError(
                    f"WAL-G could not restore {record.id} into {directory}. {exc} What is there cannot be started."
                ) from exc
        destination.check("WAL-G", record.id)

    def _read(self, name: str) -> Optional[dict[str, Any]]:
        """A JSON object of WAL-G's that is neither compressed nor encrypted; None when it is not there."""
        try:
            found = json.loads(self._repository.read(f"{self._folder}/{BACKUPS}/{name}"))
        except ObjectMissing:
            return None
        except ValueError as exc:
            raise CatalogError(f"{name} in {self._folder}/{BACKUPS} is damaged: {exc}.") from exc
        if not isinstance(found, dict):
            raise CatalogError(f"{name} in {self._folder}/{BACKUPS} is damaged: it is no JSON object.")
        return found


def _waiting_for_wal(waiting: Callable[[], None]) -> Callable[[str], None]:
    """Calls ``waiting`` while WAL-G's log ends with the call that ends a backup, which waits for its WAL."""

    def look(log: str) -> None:
        if log.rstrip().endswith(("pg_stop_backup()", "pg_backup_stop()")):
            waiting()

    return look
