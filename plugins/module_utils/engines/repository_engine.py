# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that keep a repository in a format of their own: pgBackRest, Barman and WAL-G.

Each has a catalogue and a retention of its own, and is asked what it has, in the words of our record. An engine that writes
its artifacts into our folders (pg_dump, pg_basebackup) is a ``FolderEngine`` of folder_engine.py.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Configured, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import Destination
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import (
    WAL_TIMEOUT,
    Archiving,
    missing_segments,
    needed_segments,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, Unfinished
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class RepositoryEngineOptions:
    """What the user asked of an engine, checked by argument specification alone.

    ``repositories`` are the options of stores as every module takes them (``type``, ``path``, ``bucket``, …, secrets
    included), one or several; ``encryption`` is that option (``method``, ``passphrase``, …) or None; ``compression`` one of
    zstd, gzip, lz4, none, with ``level`` None for the engine's own; ``jobs`` processes at once; ``extra`` is the engine's own
    options as the user wrote them (``engine_options``).
    """

    server_name: str
    repositories: Sequence[Mapping[str, Any]]
    encryption: Optional[Mapping[str, Any]] = None
    compression: str = "zstd"
    level: Optional[int] = None
    jobs: int = 1
    #: where configuration and secrets are written, readable for the server's owner alone
    config_dir: str = "/etc/holdfast"
    #: the engine's program, when it is not in PATH
    program: Optional[str] = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """What a look at a backup found, that did not find it damaged. ``verified``: the engine read all of it back and compared it;
    else ``looked_at`` says what was looked at instead, as an engine may have no means for more."""

    verified: bool
    looked_at: str


class RepositoryEngine(Configured):
    """An engine with a repository and a catalogue of its own."""

    name: str
    _host: Host
    #: version of its program
    version: str
    #: its archive of WAL; None where it keeps none
    wal: Optional[WalArchive]
    has_configuration = True
    #: where the user names none
    default_compression = "zstd"
    #: whether ``verify`` reads all of a backup back, and so takes as long as making one; else it only looks
    reads_back = False
    #: whether its program learns from its configuration where its repository is; else from our options, each time
    is_told_by_configuration = True

    @abc.abstractmethod
    def __init__(self, host: Host, options: RepositoryEngineOptions) -> None:
        """Nothing is touched, and no program asked. Raises BadOption: the options ask for what it cannot do."""

    @abc.abstractmethod
    def configuration_files(self) -> Sequence[str]:
        """The paths of what ``configure`` writes, which the server's archive_command reads."""

    def backups(self, problems: list[str], lost: Optional[dict[str, str]] = None) -> Iterator[Record]:
        """Every backup that its list has whole, oldest first. ``problems`` hears what could not be looked at, as sentences, and what is not finished;
        ``lost`` which backups have visibly lost a part that they had (label: a sentence), or where nobody asks for that, ``problems``. Raises HoldfastError.
        """
        parts: dict[str, str] = {}
        made = list(self._backups(problems, parts))
        if lost is None:
            problems += parts.values()
        else:
            lost.update(parts)
        return iter(made)

    @abc.abstractmethod
    def _backups(self, problems: list[str], lost: dict[str, str]) -> Iterator[Record]:
        """Every backup, oldest first, as records: ``id`` is the engine's own label, ``kind`` full, differential or
        incremental, ``parent`` the label it needs, ``artifacts`` empty, ``server.timeline`` the one at its start, sizes in
        ``scope``: {"cluster": True, "size": bytes of the database, "stored": bytes in the repository}. Unknown is None."""

    def detail(self, record: Record) -> Record:
        """The same record with what a listing leaves out, as it takes another look at the repository: ``server.tablespaces``.
        Asked for of the one that is to be restored. Raises HoldfastError."""
        return record

    def archiving(self, connection: Connection, timeout: float = WAL_TIMEOUT) -> Archiving:
        """What is known of the WAL's way from the server behind a connection into this engine's archive. ``timeout``: seconds for which
        nothing of a backup's WAL may arrive."""
        return Archiving(connection, self.wal, timeout=timeout)

    def back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress, archiving: Archiving) -> Record:
        """Make one: full, differential or incremental, and wait until the WAL that it needs is in the archive. An incremental without a
        full one before it is a full one, and the record says so.

        Raises:
            ServerError: the server's WAL does not arrive in this archive; nothing was made.
            ToolError: it failed; nothing that looks like a backup is left.
            Unfinished: it was made, and cannot be restored: its WAL did not arrive, or it is another server's.
        """
        warnings = archiving.before()
        record = self._back_up(kind, annotations, progress, archiving)
        record.warnings += warnings
        mine = self._host.system_id
        if None not in (mine, record.server.get("system_id")) and record.server["system_id"] != mine:
            raise Unfinished(
                f"{self.name} backed up another server (system identifier {record.server['system_id']}, not {mine}) as {record.id}. "
                "Delete that backup, and check port and socket_directory.",
                record.to_dict(),
            )
        try:
            archiving.after(record, progress)
        except HoldfastError as exc:
            raise Unfinished(
                f"{self.name} made {record.id}, which cannot be restored yet, and nothing else was done. {exc}",
                record.to_dict(),
            ) from exc
        return record

    @abc.abstractmethod
    def _back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress, archiving: Archiving) -> Record:
        """Have the program make one. ``archiving.watch`` is called while PostgreSQL waits for the backup's WAL, which has no end by
        itself; a program that waits by itself is told ``archiving.timeout``.

        Raises:
            ToolError: it failed; nothing that looks like a backup is left.
        """

    @abc.abstractmethod
    def verify(self, record: Record) -> Verification:
        """Look whether a backup is whole, as far as that can be told without restoring it. Raises CatalogError: it is not."""

    def remember_verified(self, record: Record) -> None:
        """Write into the engine's own catalogue that a backup was read back just now, where it has notes. By who backs up alone, whose files these are.
        Raises ToolError."""
        return

    def lacks(self, record: Record) -> Optional[str]:
        """What a backup visibly lacks in the repository, in words without a full stop, where ``verify`` is no mere look (``reads_back``): its
        files may have gone since it was verified. None: nothing. Raises HoldfastError: it could not be looked at."""
        return None

    def missing_wal(self, record: Record) -> list[str]:
        """The segments that a backup needs to be consistent, and that are not in the archive. Raises HoldfastError."""
        size = SegmentSize(self._host.wal_segment_size)
        return [] if self.wal is None else missing_segments(self.wal, needed_segments(record, size), size)

    @abc.abstractmethod
    def delete(self, labels: Sequence[str], check: bool, warnings: list[str]) -> list[str]:
        """Delete backups (and WAL that no other one needs, as the engine does), unless ``check``; a dry run of the engine's
        own first, where it has one. Returns the labels that go, those included that depend on the ones named. ``warnings`` hears of
        what stays, and why."""

    def leftovers(self) -> list[str]:
        """The labels of what runs left that failed or were killed, and which no list of backups has. One that is being made looks the
        same. ``delete`` takes them."""
        return []

    @abc.abstractmethod
    def restore(self, record: Record, destination: Destination, progress: Progress) -> None:
        """Lay a backup out, without configuring recovery (no recovery settings, no signal file: the run writes these, the same for
        every engine).

        Raises:
            ToolError: in the engine's words and ours.
        """
