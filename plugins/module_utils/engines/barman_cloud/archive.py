# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that barman-cloud keeps: ``<server_name>/wals/<first 16 digits>/<name>[.gz|.zst|…]``, history files directly in
``wals``."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import commands
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.program import Said
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository


class BarmanWal(WalArchive):
    """``settings`` is the file that the commands read; ``get`` runs barman-cloud-wal-restore with a name and a path, and
    exit code 1 is no error to it."""

    def __init__(
        self, repository: Repository, server: str, settings: str, owner: str, get: Callable[[str, str], Said]
    ) -> None:
        self._repository, self._server, self._settings = repository, server, settings
        self._owner, self._get = owner, get
        self.description = f"the WAL archive {server}/wals in {repository.description}"

    def archive_command(self) -> str:
        return commands.archive_command(self._settings, self._server)

    def restore_command(self) -> str:
        return commands.restore_command(self._settings, self._server)

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        # Stores list in the order of keys, and a folder is called by what its files' names begin with: so names are in order.
        for info in self._repository.list(f"{self._server}/wals"):
            name = info.key.rpartition("/")[2]
            if after is None or name > after or ".history" in name:
                yield name

    def fetch(self, name: str, path: str) -> bool:
        entry = pwd.getpwnam(self._owner)
        # It runs as the owner, who may not be allowed to write where the caller wants the file.
        with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
            if entry.pw_uid != os.geteuid():
                os.chown(scratch, entry.pw_uid, entry.pw_gid)
            fetched = os.path.join(scratch, "fetched")
            try:
                said = self._get(name, fetched)
            except ToolError as exc:
                raise WalError(f"{name} could not be fetched from {self.description}. {exc}") from exc
            if said.code == 0:
                shutil.copyfile(fetched, path)
                return True
        if f"file {name} for server" in said.messages:
            return False
        # Python exits with 1 too when it fails to start, and so does a codec that is missing.
        words = " ".join(said.messages.split())
        raise WalError(f"{name} could not be fetched from {self.description}. barman-cloud-wal-restore: {words}")
