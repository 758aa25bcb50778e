# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interfaces of physical backups: where WAL goes, and engines that keep a repository in a format of their own.

An engine that writes its artifacts into our folders (pg_dump, pg_basebackup) is an ``Engine`` of base.py. pgBackRest,
Barman and WAL-G have their own formats, catalogues and retention: each is a ``Keeper``, of which we ask what it has, in the
words of our record. Whatever copies, a WAL archive looks the same from here.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress


@dataclass(frozen=True)
class Host:
    """The server as seen from beside it: all that an engine must know to work on this host.

    ``port`` and ``socket_directory`` are those of the running server; ``owner`` is the operating system's user who owns the
    data directory, as whom every program of an engine runs, and who must be able to read what ``archive_command`` reads.
    """

    data_directory: str
    owner: str
    port: int
    socket_directory: str
    #: the database's superuser, by whom an engine connects over the socket or TCP
    user: str
    #: where PostgreSQL's own programs of the server's version are
    bin_dir: str
    #: TCP host to use instead of the socket; None: the socket
    host: Optional[str] = None
    #: a passfile of mode 0600 that belongs to ``owner``; None: none is needed
    passfile: Optional[str] = None
    version_num: int = 0
    system_id: Optional[str] = None
    #: bytes of a WAL segment
    wal_segment_size: int = 16 * 1024 * 1024


@dataclass(frozen=True)
class KeeperOptions:
    """What the user asked of a keeper, checked by argument specification alone.

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
class Step:
    """Something that is not yet as it should be, and would be done: words for the plan, and what is done is the keeper's."""

    words: str


class WalArchive(abc.ABC):
    """Where a server's WAL goes, one archive of one server. Names are those of files in it (wal/segment.py reads them)."""

    #: what messages call it
    description: str

    @abc.abstractmethod
    def archive_command(self) -> str:
        """What the server's ``archive_command`` is to be: short (PostgreSQL before 16 cuts it at 1023 bytes with its
        substitutions), never Python of ours, exit 0 only when the segment is durable, refusing to overwrite other content."""

    @abc.abstractmethod
    def restore_command(self) -> str:
        """The ``restore_command`` of a server that recovers from here; exits with 1 to 125 when a file is not there."""

    @abc.abstractmethod
    def names(self, after: Optional[str] = None) -> Iterator[str]:
        """Every file's name, sorted, from the first that is greater than ``after`` on (suffixes of compression included,
        folders left out; the history files of timelines always). Flat memory where the store allows."""

    @abc.abstractmethod
    def fetch(self, name: str, path: str) -> bool:
        """Write a segment or history file, named as the server names it (without suffixes), to ``path``, unpacked. Returns
        False when it is not there.

        Raises:
            HoldfastError: it could not be looked for.
        """

    def age(self, name: Optional[str]) -> Optional[float]:
        """Seconds since a segment was archived; None where that is not known."""
        return None

    def remove(self, names: Sequence[str]) -> None:
        """Delete files. Only the stock archive's are ours to delete: an engine's expire does it otherwise.

        Raises:
            HoldfastError: they could not be deleted, or are not ours to.
        """
        raise NotImplementedError(f"{self.description} is kept by its engine")


class Archiver(abc.ABC):
    """What a server's continuous archiving needs on its host and in the repository."""

    name: str
    wal: WalArchive

    @abc.abstractmethod
    def configure(self, check: bool) -> list[Step]:
        """Write configuration and secrets (mode 0640 or tighter, secrets never wider than 0600), unless ``check``. Returns
        what changes; nothing when all is as it should be already. It does not need the server to run.

        Raises:
            BadOption: options that this engine cannot do, each named.
            ToolError: its program is missing, or too old; the package to install is named.
        """

    @abc.abstractmethod
    def prepare(self, check: bool) -> list[Step]:
        """Make the repository ready for this server (pgBackRest's stanza), unless ``check``. It needs the server to run.

        Raises:
            CatalogError: the repository holds another server's (system identifiers differ).
        """

    @abc.abstractmethod
    def check(self) -> None:
        """The engine's own check, where it has one. Raises ToolError in its words and ours."""


class Keeper(Archiver):
    """An engine with a repository, a catalogue and a WAL archive of its own."""

    #: version of its program
    version: str

    @abc.abstractmethod
    def backups(self, problems: list[str]) -> Iterator[Record]:
        """Every backup, oldest first, as records: ``id`` is the engine's own label, ``kind`` full, differential or
        incremental, ``parent`` the label it needs, ``artifacts`` empty, ``server.timeline`` the one at its start, sizes in
        ``scope``: {"cluster": True, "size": bytes of the database, "stored": bytes in the repository}. Unknown is None."""

    def detail(self, record: Record) -> Record:
        """The same record with what a listing leaves out, as it takes another look at the repository: ``server.tablespaces``.
        Asked for of the one that is to be restored. Raises HoldfastError."""
        return record

    @abc.abstractmethod
    def back_up(self, kind: str, annotations: Mapping[str, str], progress: Progress) -> Record:
        """Make one: full, differential or incremental. An incremental without a full one before it is a full one, and the
        record says so.

        Raises:
            ToolError: it failed; nothing that looks like a backup is left.
        """

    @abc.abstractmethod
    def verify(self, record: Record) -> None:
        """Have the engine check a backup without restoring it, where it can. Raises CatalogError."""

    @abc.abstractmethod
    def delete(self, labels: Sequence[str], check: bool) -> list[str]:
        """Delete backups (and WAL that no other one needs, as the engine does), unless ``check``; a dry run of the engine's
        own first, where it has one. Returns the labels that go, those included that depend on the ones named."""

    @abc.abstractmethod
    def restore(self, record: Record, directory: str, tablespaces: Mapping[str, str], progress: Progress) -> None:
        """Lay a backup out in ``directory``, which exists, is empty and belongs to the owner, without configuring recovery
        (no recovery settings, no signal file: the run writes these, the same for every engine). ``tablespaces`` maps the
        old location of a tablespace to a new one.

        Raises:
            ToolError: in the engine's words and ours.
        """
