# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of engines that write their artifacts into our folders, and the folder that they write into."""

from __future__ import annotations

import abc
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, OnBytes, store
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Sink


@dataclass
class Plan:
    """What an engine would do: lines of the plan, the server's identity (as in the record), the scope, and what is to be said before."""

    steps: list[str]
    server: dict[str, Any]
    scope: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


@dataclass
class Draft:
    """What an engine knows of a backup that it made; the rest of the record is the run's."""

    start_lsn: Optional[str]
    stop_lsn: Optional[str]
    consistency: dict[str, Any]
    databases: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    #: what the copy told of the server that was not known before, such as the timeline
    server: dict[str, Any] = field(default_factory=dict)
    #: databases that were asked for and are not in the backup, each with the reason
    failed: dict[str, HoldfastError] = field(default_factory=dict)
    #: what it holds, where that is less than was asked for
    scope: Optional[dict[str, Any]] = None


class Folder:
    """Where an engine puts its artifacts: compressed, encrypted, hashed, counted. ``begin`` opens what a name is written to,
    ``discard`` takes one away again. ``said`` is what programs told though they succeeded."""

    def __init__(
        self,
        begin: Callable[[str], Sink],
        compression: Compression,
        encryption: Encryption,
        progress: Progress,
        discard: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._begin, self._discard = begin, discard
        self.compression, self.encryption, self.progress = compression, encryption, progress
        self.artifacts: list[Artifact] = []
        self.said: list[str] = []

    def drop_from(self, count: int) -> None:
        """Take away what was put since there were ``count`` artifacts."""
        gone, self.artifacts[count:] = self.artifacts[count:], []
        for artifact in gone:
            self._discard(artifact.key)

    def put(
        self,
        name: str,
        role: str,
        source: Union[Command, bytes, IO[bytes]],
        database: Optional[str] = None,
        compress: bool = True,
        raw_size: Callable[[], Optional[int]] = lambda: None,
        on_bytes: Optional[OnBytes] = None,
    ) -> Artifact:
        """Store a program's output, bytes, or a file as the artifact ``name`` (suffixes are added). A file's ``raw_size`` is asked
        for when it was read. ``on_bytes`` hears of it instead of the progress; what that raises keeps the artifact from being
        stored. Several threads may do so at once."""
        filters: list[Command] = (self.compression.compress() if compress else []) + self.encryption.encrypt()
        suffix = (self.compression.suffix if compress else "") + self.encryption.suffix
        stdin: Union[int, IO[bytes]] = subprocess.DEVNULL
        commands: Sequence[Command]
        if isinstance(source, Command):
            commands = [source, *filters]
        else:
            if isinstance(source, bytes):
                stdin = tempfile.TemporaryFile()
                stdin.write(source)
                stdin.seek(0)
            else:
                stdin = source
            commands = filters or [Command(["cat"])]
        sink = self._begin(name + suffix)
        try:
            done = store(commands, sink, on_bytes or self.progress.tell, stdin)
        finally:
            if not isinstance(stdin, int):
                stdin.close()
        if isinstance(source, Command):
            size = done.raw_size
            self.said += done.said.splitlines()
        else:
            size = len(source) if isinstance(source, bytes) else raw_size()
        artifact = Artifact(name + suffix, role, done.size, done.sha256, size, database)
        self.artifacts.append(artifact)
        return artifact


class FolderEngine(abc.ABC):
    """An engine whose artifacts lie in our folder, in a repository of ours."""

    name: str
    kind: str
    #: the version of the program that copies
    version: str
    #: id of the backup that this one is made upon
    parent: Optional[str] = None

    @abc.abstractmethod
    def plan(self) -> Plan:
        """Look at everything that the run needs, and say what it would do. Raises what the run would."""

    @abc.abstractmethod
    def back_up(self, folder: Folder) -> Draft:
        """Copy."""
