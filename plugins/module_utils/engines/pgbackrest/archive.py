# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that pgBackRest keeps: ``archive/<stanza>/<version>-<number>/<16 digits>/<segment>-<sha1>[.zst|.gz|.lz4|.bz2]``, and
the history files of timelines beside the folders of 16 digits."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.listing import Listing, archive_id
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.messages import explain
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.program import Failed, Program
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import pump
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import SUFFIXES, Compression

#: where a recovering server queues the segments that it will want next: in its own data directory, under a name that
#: base backups leave out (as they do all that begins with pgsql_tmp), so that no other server's queue is disturbed
QUEUE = "pgsql_tmp.pgbackrest"
_NOT_FOUND = 1  # what archive-get exits with when the file is in no repository
_FOLDER = re.compile("[0-9A-F]{16}")
# It compares the server in the data directory with that of the archive: there may be none yet, or another one.
_NOT_AT_HOME = re.compile("global/pg_control|ArchiveMismatchError")


class _Stored(NamedTuple):
    """A file of the archive, by the number of its repository; ``checksum`` is the SHA-1 of what was archived."""

    repository: int
    folder: str
    name: str
    checksum: Optional[str]
    suffix: str


class PgBackRestWal(WalArchive):
    """One stanza's archive, in all repositories together: pgBackRest looks into one after another.

    A repository that cannot be read is passed over while another one can: ``problems`` tells of it.
    """

    def __init__(self, program: Callable[[], Program], owner: str, description: str) -> None:
        self._program, self._owner = program, owner
        self.description = description
        self.problems: list[str] = []
        self._known: list[tuple[int, str]] = []

    def archive_command(self) -> str:
        # In the server's settings a % is written twice.
        return self._program().line("archive-push").replace("%", "%%") + " %p"

    def restore_command(self) -> str:
        """The server runs it in its data directory, wherever that is. What it exits with above 1 is an error of pgBackRest's:
        were it below 126, the server would take the file for missing, and end its recovery as if there were no more."""
        line = self._program().line().replace("%", "%%")
        # Where one does not answer, pgBackRest would wait for it with each segment.
        only = f" --repo={self._known[0][0]}" if self.problems and self._known else ""
        queue = f'--archive-async --spool-path="$PWD/{QUEUE}" --lock-path="$PWD/{QUEUE}"'
        return f'{line}{only} --pg1-path="$PWD" {queue} archive-get %f "%p" || exit $(($? == {_NOT_FOUND} ? 1 : 255))'

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        folders: dict[str, list[tuple[int, str]]] = {}
        histories: set[str] = set()
        self._known = list(self._archives())
        for repository, path in self._known:
            for name, kind in self._list(repository, path).items():
                if kind == "path" and _FOLDER.fullmatch(name):
                    folders.setdefault(name, []).append((repository, f"{path}/{name}"))
                elif ".history" in name:
                    histories.add(name)
        yield from heapq.merge(sorted(histories), self._segments(folders, after))

    def _segments(self, folders: dict[str, list[tuple[int, str]]], after: Optional[str]) -> Iterator[str]:
        for folder in sorted(folders):
            if after is None or folder >= after[:16]:
                found = {name for repository, path in folders[folder] for name in self._list(repository, path)}
                yield from (name for name in sorted(found) if after is None or name > after)

    def _archives(self) -> Iterator[tuple[int, str]]:
        """Each repository that can be read, and the folder of the current server's archive in it.

        Raises:
            WalError: none can.
        """
        program = self._program()
        try:
            states = Listing(program.ask("info", "--output=json"), program.stanza).states
        except ToolError as exc:
            raise WalError(f"{self.description} cannot be read. {exc}") from exc
        self.problems = [
            f"repository {state.number}: {explain(state.message)}" for state in states if not state.readable
        ]
        if len(self.problems) == len(states):
            raise WalError(f"{self.description} cannot be read. {' '.join(self.problems)}")
        for state in states:
            base = f"archive/{program.stanza}"
            newest = archive_id(self._list(state.number, base)) if state.has_stanza else None
            if newest:
                yield state.number, f"{base}/{newest}"

    def _list(self, repository: int, path: str) -> dict[str, str]:
        """The names in a folder, and whether each is a ``path`` or a ``file``; empty where it is not there."""
        try:
            said = self._program().ask("repo-ls", f"--repo={repository}", "--output=json", path)
            return {name: item["type"] for name, item in json.loads(said).items() if name != "."}
        except (ToolError, ValueError, KeyError, AttributeError) as exc:
            raise WalError(f"{self.description} cannot be listed: {path} in repository {repository}. {exc}") from exc

    def fetch(self, name: str, path: str) -> bool:
        with files.temporary_directory(self._owner) as scratch:
            fetched = os.path.join(scratch, "fetched")
            stored = self._find(name)
            if stored is None:
                return False
            try:
                self._program().ask("archive-get", f"--repo={stored.repository}", "--no-archive-async", name, fetched)
            except Failed as exc:
                if exc.code == _NOT_FOUND:
                    return False
                if not _NOT_AT_HOME.search(exc.said):
                    raise WalError(f"{name} could not be fetched from {self.description}. {exc}") from exc
                self._unpack(stored, fetched)
            # archive-get does not look whether it got what was archived.
            with open(os.open(fetched, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                if stored.checksum and _sha1(stream) != stored.checksum:
                    raise WalError(f"{stored.name} in {self.description} is damaged: it is not what its name says.")
                stream.seek(0)
                with open(path, "wb") as target:
                    shutil.copyfileobj(stream, target)
            return True

    def _find(self, name: str) -> Optional[_Stored]:
        """The file that holds a segment or a history, in the first repository that has it."""
        wanted = re.compile(re.escape(name) + r"(?:-([0-9a-f]{40}))?(\.[a-z0-9]+)?")
        self._known = self._known or list(self._archives())
        for repository, archive in self._known:
            folder = archive if name.endswith(".history") else f"{archive}/{name[:16]}"
            for other in self._list(repository, folder):
                found = wanted.fullmatch(other)
                if found:
                    return _Stored(repository, folder, other, found[1], found[2] or "")
        return None

    def _unpack(self, stored: _Stored, target: str) -> None:
        """What archive-get does, without a server's data directory."""
        method = next((method for method, suffix in SUFFIXES.items() if suffix == stored.suffix), None)
        if method is None:
            raise WalError(f"{stored.name} is compressed in a way that is not known here.")
        reading = self._program().stream("repo-get", f"--repo={stored.repository}", f"{stored.folder}/{stored.name}")
        with open(target, "wb") as stream:
            try:
                pump([reading, *Compression(method).decompress()], subprocess.DEVNULL, stream)
            except ToolError as exc:
                raise WalError(f"{stored.name} could not be fetched from {self.description}. {exc}") from exc


def _sha1(stream: BinaryIO) -> str:
    digest = hashlib.sha1()
    for data in iter(lambda: stream.read(1024 * 1024), b""):
        digest.update(data)
    return digest.hexdigest()
