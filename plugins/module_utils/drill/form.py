# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill has to be told of the form of a backup: how it becomes a server that runs, and what that shows."""

from __future__ import annotations

import abc
import contextlib
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Findings
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import DrillRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.scratch import ScratchDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import Cell, PrivateServer
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance


@dataclass
class Reached:
    """Where a drill came to. ``commit_time``: of the last transaction that is in it, None where none is known; ``measures_rpo``: whether that
    says how much would have been lost, as it does where all that there is was restored. ``window``: from when to when the backups lead."""

    asked: str
    target: Optional[str] = None
    lsn: Optional[str] = None
    timeline: Optional[int] = None
    commit_time: Optional[datetime.datetime] = None
    measures_rpo: bool = False
    window: tuple[Optional[datetime.datetime], Optional[datetime.datetime]] = (None, None)


@dataclass
class Scratch:
    """Where it happens: the directory, the owner of what is in it, two private directories of ours (``room`` has some), the number in the
    socket's name, and what shuts the server in."""

    directory: ScratchDirectory
    owner: str
    space: str
    room: str
    port: int
    cell: Cell


class Form(abc.ABC):
    """One backup of some form. ``warnings`` takes what the user should know."""

    #: whether more than the backup itself can be reached
    replays = False

    def __init__(
        self, record: Record, request: DrillRequest, scratch: Scratch, findings: Findings, warnings: list[str]
    ) -> None:
        self.record, self._request, self._scratch = record, request, scratch
        self._findings, self._warnings = findings, warnings
        self.reached = Reached(request.asked)
        #: what the server is kept from, in words, by what it is
        self.isolated: dict[str, str] = {}
        #: by database: what the backup recorded of its rows and extensions
        self.expected: Mapping[str, Mapping[str, Any]] = {}
        #: bytes that came out of the repository; None: not known
        self.fetched: Optional[int] = None

    @abc.abstractmethod
    def plan(self, looking: bool) -> list[str]:
        """Read all that can be read before anything is made, space among it, and say what would be done. ``looking``: that is all that is wanted.

        Raises:
            HoldfastError: it cannot be drilled.
        """

    @abc.abstractmethod
    def reading(self) -> contextlib.AbstractContextManager[object]:
        """While it is read, nobody of ours deletes it. Raises HoldfastError: it was deleted a moment ago."""

    @abc.abstractmethod
    def stand(self, stack: contextlib.ExitStack) -> tuple[PrivateServer, Instance]:
        """Restore it, and have it run in private until ``stack`` is closed. Raises HoldfastError."""

    @abc.abstractmethod
    def start_again(self, stack: contextlib.ExitStack) -> PrivateServer:
        """Start it once more, after it was stopped. Raises HoldfastError."""

    def of_interest(self, databases: Sequence[str]) -> list[str]:
        """The databases of the backup, among those of the server."""
        return list(databases)

    def marks_time(self) -> Optional[datetime.datetime]:
        """The moment after which nothing was to be replayed; None: the target is none."""
        return None

    def reaches_beyond(self) -> bool:
        """Whether what was written after the backup's own end was to come back."""
        return False

    def backup_ended(self) -> Optional[str]:
        """The moment that the backup itself is of, as ISO 8601; None: it is not known."""
        return None
