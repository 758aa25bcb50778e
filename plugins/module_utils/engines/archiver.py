# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server's WAL goes, and what archiving it needs; whatever copies, a WAL archive looks the same from here."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import archiver_words, check_mode_on

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class Step:
    """Something that is not yet as it should be, and would be done: a line of the plan."""

    message: str


class WalArchive(abc.ABC):
    """Where a server's WAL goes, one archive of one server. Names are those of files in it (wal/segment.py reads them)."""

    #: what messages call it
    description: str
    #: whether a server cannot fetch from it by a command, so that what it needs is fetched for it
    fetched_ahead = False
    #: how many files are best fetched at the same time
    fetches = 1

    @abc.abstractmethod
    def archive_command(self) -> str:
        """What the server's ``archive_command`` is to be: short (PostgreSQL before 16 cuts it at 1023 bytes with its
        substitutions), never Python of ours, exit 0 only when the segment is durable, refusing to overwrite other content."""

    def is_own(self, command: Optional[str]) -> bool:
        """Whether a running ``archive_command`` archives into here, as far as its text tells."""
        return command == self.archive_command()

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


class Configured(abc.ABC):
    """What needs something on the server's host and in the repository, before it can work for a server."""

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


class Archiver(Configured):
    """A server's continuous archiving: set up, taken down, proven and described by whoever asks, without knowing which it is.

    These are for an archiver by ``archive_command``, which most are; one that takes the WAL otherwise has its own.
    """

    name: str
    wal: WalArchive
    #: whether it connects to the server by itself, and so needs the password in a file
    connects = True
    #: whether the server runs a command for each segment
    by_command = True
    #: whether it reads a configuration in files, which one server owns
    has_configuration = False

    def refuse(self, connection: Connection) -> None:
        """Raise ServerError, before anything is touched: this server cannot be set up so."""
        if facts.identify(connection).in_recovery:
            raise ServerError(
                "The server is a standby: its settings and its WAL are the primary's. Set archiving up there; a standby that is to "
                "go on archiving after a promotion needs the same archive_command in its configuration."
            )

    def settings(self, connection: Connection, command: str, timeout: str) -> dict[str, Optional[str]]:
        """The settings that the server must have; ``command`` is the ``archive_command`` (``by_command``), ``timeout`` the time after
        which it begins a new segment, as PostgreSQL writes times."""
        mode = facts.setting(connection, "archive_mode")
        found: dict[str, Optional[str]] = {
            "archive_mode": "on" if mode == "off" else mode,
            "archive_command": command,
            "archive_timeout": timeout,
        }
        if facts.setting(connection, "wal_level") == "minimal":
            found["wal_level"] = "replica"
        if facts.setting(connection, "archive_library"):
            found["archive_library"] = ""  # it and a command together are an error
        return found

    def join(self, connection: Connection, check: bool, later: bool) -> list[Step]:
        """Make what it needs inside the server, unless ``check``; ``later``: once the server was restarted. Returns what changes."""
        return []

    def leave(self, connection: Connection, check: bool) -> list[Step]:
        """Remove what it had inside the server, unless ``check``. What was archived stays. Returns what changes. Raises ServerError."""
        return []

    def check_running(self, connection: Connection) -> None:
        """Raise ServerError: nothing takes the server's WAL."""
        check_mode_on(connection)

    def explain(self, connection: Connection) -> str:
        """What is known of a segment that does not come, for a message."""
        return archiver_words(connection)

    @property
    def whole(self) -> WalArchive:
        """All that is archived, wherever it went from where the server's WAL arrives first."""
        return self.wal

    @property
    def unshipped(self) -> Optional[str]:
        """A sentence, where WAL is to go on to stores from where it arrives, and nobody has brought any there; else None."""
        return None

    @abc.abstractmethod
    def backups(self, problems: list[str]) -> Iterator[Record]:
        """The backups that its WAL leads on from, oldest first. Raises HoldfastError."""

    def describe(self) -> dict[str, Any]:
        """How it archives, for a module's result."""
        return {"archive_command": self.wal.archive_command()}
