# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server's WAL goes, and what archiving it needs; whatever copies, a WAL archive looks the same from here."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional


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
