# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that WAL-G keeps: ``<path or prefix>/<server_name>/wal-g/wal_005/<name>[.zst|.lz4|.br|.lzma]``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.options import WAL
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.program import Program
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository

MISSING = 74  # what wal-fetch exits with when there is no such file, and nothing else


def archive_command(program: str, configuration: str, directory: Optional[str]) -> str:
    """``directory``: where the files land, in a store that is a directory; None in an object store. WAL-G writes there under the
    final name and does not flush, so ``sync`` does, the file and its name, before PostgreSQL hears that it is kept."""
    command = f'{_beginning(program, configuration)} wal-push "%p"'
    return command if directory is None else f"{command} && sync {_quote(directory)}/%f* {_quote(directory)}"


def restore_command(program: str, configuration: str) -> str:
    """A file that is not there ends the recovery or makes it wait (74 is passed on). Anything else, such as a store out of
    reach, exits with 255: WAL-G's own 1 would be taken for the end of the archive, and a server be opened that lacks the
    rest. With 255 PostgreSQL stops, and can be started again when the store is back."""
    return f'{_beginning(program, configuration)} wal-fetch "%f" "%p"; c=$?; [ $c -eq 0 ] || [ $c -eq {MISSING} ] || c=255; exit $c'


def _beginning(program: str, configuration: str) -> str:
    return f"{_quote(program)} --config {_quote(configuration)}"


def _quote(text: str) -> str:
    """For the shell, and for PostgreSQL, which takes %% for %."""
    return shlex.quote(text).replace("%", "%%")


class WalGArchive(WalArchive):
    """``folder`` is WAL-G's in the repository, ``directory`` the same as a path, where the store is a directory."""

    def __init__(
        self,
        repository: Repository,
        folder: str,
        directory: Optional[str],
        owner: str,
        program: Callable[[], Program],
    ) -> None:
        self._repository, self._folder = repository, f"{folder}/{WAL}"
        self._directory = None if directory is None else os.path.join(directory, WAL)
        self._owner, self._program = owner, program
        self.description = f"the WAL archive {self._folder} in {repository.description}"

    def archive_command(self) -> str:
        program = self._program()
        return archive_command(program.path, program.configuration, self._directory)

    def restore_command(self) -> str:
        program = self._program()
        return restore_command(program.path, program.configuration)

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        self._repository.check(write=False)
        found = (info.key[len(self._folder) + 1 :] for info in self._repository.list(self._folder))
        # Object stores list in order; a directory does not.
        for name in found if self._repository.remote else sorted(found):
            if "/" not in name and (after is None or name > after or ".history" in name):
                yield name

    def fetch(self, name: str, path: str) -> bool:
        with files.temporary_directory(self._owner) as scratch:
            fetched = os.path.join(scratch, "fetched")
            try:
                # One at a time: else it leaves a process behind that fetches the next ones too.
                alone = {"WALG_DOWNLOAD_CONCURRENCY": "1"}
                said = self._program().run("wal-fetch", name, fetched, ok=(0, MISSING), environment=alone)
            except ToolError as exc:
                raise WalError(
                    f"{name} could not be fetched from {self.description}. {exc} Is the key the right one?"
                ) from exc
            if said.code == MISSING:
                return False
            files.take_out(fetched, path)
            return True
