# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that keep a repository in a format of their own: pgBackRest, Barman and WAL-G.

Each has a catalogue and a retention of its own, and is asked what it has, in the words of our record. An engine that writes
its artifacts into our folders (pg_dump, pg_basebackup) is a ``StreamEngine`` of stream_engine.py.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress


@dataclass(frozen=True)
class RepositoryEngineOptions:
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


class RepositoryEngine(Archiver):
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
