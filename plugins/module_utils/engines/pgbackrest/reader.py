# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be read of pgBackRest's repositories: its backups and WAL, whoever configured it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cached_property
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import Destination
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest import program
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.archive import QUEUE, PgBackRestWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.listing import (
    Listing,
    archive_is_sound,
    finished,
    lacking,
    verdicts,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.messages import explain
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.options import check_version
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.program import Failed, Program
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.stores import Version
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngine,
    Verification,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import needed_segments
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    RepositoryError,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

_VERIFIES_ONE: Version = (2, 55)  # older ones verify all that is in a repository
_LIST_PATIENCE = 120  # seconds in which the names of a backup's files come
_PERCENT = re.compile(r" DETAIL: .* \([^()]*?([0-9.]+)%\)")


class Reader(RepositoryEngine, Archiver):
    """One stanza. ``config_options`` are the program's options that say where its configuration is."""

    name = "pgbackrest"
    reads_back = True
    wal: WalArchive

    def __init__(
        self,
        host: Host,
        stanza: str,
        given: Optional[str],
        config_options: tuple[str, ...],
        patience: float,
        description: str,
    ) -> None:
        self._host, self._stanza, self._given = host, stanza, given
        self._config_options, self._patience = config_options, patience
        self._size = SegmentSize(host.wal_segment_size)
        self._wal = PgBackRestWal(lambda: self._program, host.owner, description)
        self.wal = self._wal

    @cached_property
    def _path(self) -> str:
        return program.find(self._given)

    @cached_property
    def _number(self) -> Version:
        return program.version(self._path, self._host.owner)

    @cached_property
    def version(self) -> str:  # type: ignore[override]
        return ".".join(map(str, self._number))

    @cached_property
    def _program(self) -> Program:
        return self._program_at(self._config_options)

    def _program_at(self, config_options: tuple[str, ...]) -> Program:
        # Where it is not told of a socket libpq asks its environment for the host.
        known = {"PGHOST": self._host.host, "PGPASSFILE": self._host.passfile}
        env = {name: value for name, value in known.items() if value}
        return Program(self._path, self._host.owner, config_options, self._stanza, env, self._patience)

    def _check_version(self) -> None:
        check_version(self._number, self._host.version_num)

    def _listing(self, *arguments: str) -> Listing:
        return Listing(self._program.ask("info", "--output=json", *arguments), self._stanza)

    def check(self) -> None:
        try:
            self._program.ask("check", patience=120)
        except ToolError as exc:
            raise ToolError(
                f"pgBackRest does not work for {self._stanza}. {exc} As long as that is so, WAL may pile up in "
                f"{self._host.data_directory}/pg_wal."
            ) from exc

    # Backups

    def _backups(self, problems: list[str], lost: dict[str, str]) -> Iterator[Record]:
        listing = self._listing()
        unread = [
            f"repository {state.number} of pgBackRest's {self._stanza} cannot be read: {explain(state.message)}"
            for state in listing.states
            if not state.readable
        ]
        if len(unread) == len(listing.states):
            raise RepositoryError(" ".join(unread))
        problems += unread
        unlisted = [
            (state.number, label)
            for state in listing.states
            if state.lists_nothing
            for label in self._finished(state.number)
        ]
        if unlisted:
            listing = self._listing()  # the first one may have ended meanwhile
        records = listing.records(self._stanza)
        listed = {record.id: record.scope["repositories"] for record in records}
        for repository, label in unlisted:
            text = (
                f"pgBackRest's backup {label} cannot be restored from repository {repository}: it lies there, and the list of backups (backup.info) is "
                "missing, or does not have it."
            )
            if label not in listed:
                lost[label] = text
            elif repository not in listed[label]:
                problems.append(text)
        yield from records

    def _finished(self, repository: int) -> list[str]:
        """The labels of those that lie in a repository, whatever its list says."""
        arguments = (f"--repo={repository}", "--recurse", "--output=json", r"--filter=/backup\.manifest$")
        return finished(self._program.ask("repo-ls", *arguments, f"backup/{self._stanza}", patience=_LIST_PATIENCE))

    def detail(self, record: Record) -> Record:
        arguments = [f"--set={record.id}", f"--repo={record.scope['repositories'][0]}"]
        record.server["tablespaces"] = self._listing(*arguments).tablespaces(record.id)
        return record

    def verify(self, record: Record) -> Verification:
        missing = self.missing_wal(record)
        if missing:
            raise CatalogError(
                f"pgBackRest's backup {record.id} cannot be restored: {len(missing)} segments of WAL that it needs are not in the "
                f"archive, {missing[0]} first. (pgBackRest's own verify does not see that.)"
            )
        one = [f"--set={record.id}"] if self._number >= _VERIFIES_ONE else []
        for repository in record.scope["repositories"]:
            said: list[str] = []
            arguments = [f"--repo={repository}", "--output=text", "--verbose", *one]
            try:
                self._program.follow("verify", *arguments, on_line=said.append, detail="error")
            except Failed as exc:
                raise CatalogError(
                    f"pgBackRest could not verify {record.id} in repository {repository}. {exc}"
                ) from exc
            report = "\n".join(said) + "\n"
            verdict = verdicts(report).get(record.id, "not looked at")
            if verdict != "valid":
                raise CatalogError(
                    f"pgBackRest's backup {record.id} in repository {repository} is {verdict}. Do not rely on it."
                )
            if not archive_is_sound(report):
                self._read_wal(record)
        return Verification(True, "pgBackRest read all of its files back, and the WAL that it needs is there.")

    def lacks(self, record: Record) -> Optional[str]:
        stored: Optional[int] = record.scope.get("stored")
        for repository in record.scope["repositories"]:
            arguments = [f"--repo={repository}", "--recurse", "--output=json", f"backup/{self._stanza}/{record.id}"]
            wrong = lacking(self._program.ask("repo-ls", *arguments, patience=_LIST_PATIENCE), stored)
            if wrong:
                return f"in repository {repository} of pgBackRest {wrong}"
            stored = None  # what is known is the first one's; encryption makes files larger
        return None

    def _read_wal(self, record: Record) -> None:
        """Something in the archive is damaged: is it what this backup needs?"""
        with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
            for name in needed_segments(record, self._size):
                try:
                    self.wal.fetch(name, os.path.join(scratch, "segment"))
                except WalError as exc:
                    raise CatalogError(f"pgBackRest's backup {record.id} cannot be restored. {exc}") from exc

    # Restoring

    def restore(self, record: Record, destination: Destination, progress: Progress) -> None:
        directory, tablespaces = destination.directory, destination.tablespaces
        repository = record.scope["repositories"][0]
        known = {str(row["location"]): row["oid"] for row in self.detail(record).server["tablespaces"]}
        for old in tablespaces:
            if old not in known:
                raise BadOption(
                    "tablespaces",
                    old,
                    f"is no location of a tablespace of {record.id}",
                    f"It has: {', '.join(known) or 'none'}.",
                )
        arguments = [
            f"--repo={repository}",
            f"--set={record.id}",
            f"--pg1-path={directory}",
            # No recovery is configured; what the server's own settings said of one is commented out.
            "--type=none",
            # It empties the queue of segments: not that of the server which may run beside.
            f"--spool-path={os.path.join(directory, QUEUE)}",
            *(f"--tablespace-map={known[old]}={new}" for old, new in tablespaces.items()),
        ]
        total = record.scope.get("size")
        progress.step(f"restoring {record.id} by pgBackRest", total)
        try:
            self._program.follow("restore", *arguments, on_line=lambda line: tell(line, total, progress))
        except Failed as exc:
            raise ToolError(
                f"pgBackRest could not restore {record.id} into {directory}. {exc} What is there cannot be started."
            ) from exc
        # Before 2.47 it was written even so.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, "recovery.signal"))
        destination.check("pgBackRest", record.id)


def tell(line: str, total: Optional[int], progress: Progress) -> None:
    """Tell how far it is, by the per cent that it says of each file."""
    found = _PERCENT.search(line)
    if found and total:
        progress.tell(int(total * float(found[1]) / 100), None)
