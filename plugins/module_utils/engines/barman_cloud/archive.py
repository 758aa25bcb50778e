# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that barman-cloud keeps: ``<server_name>/wals/<first 16 digits>/<name>[.gz|.zst|…]``, history files directly in
``wals``.

barman-cloud-wal-archive overwrites a segment that is there without asking (Barman's issue 777), and has no word that forbids
it. So the archive is asked first, by barman-cloud-wal-restore into /dev/null, which for a new segment costs one listing and
the start of one more program. It exits with 1 when there is none; as Python does too when it fails to start, and as it does
when a codec is missing, so what it says counts besides.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.options import (
    TOKEN,
    StoreArguments,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.said import Said
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository

MISSING = 1  # what barman-cloud-wal-restore exits with when there is no such file, and not only then


def settings(store: StoreArguments, path: str, directory: str, wal: Sequence[str], server: str) -> str:
    """The file at ``path`` that the commands read. ``directory``: where barman-cloud's programs are; ``wal``: arguments of its WAL
    archiving alone."""
    lines = [
        f"# Written by holdfast.postgres: how barman-cloud reaches the repository of the server {server}. By hand:",
        f'#   . {shlex.quote(path)}; barman-cloud-backup-list $BARMAN_STORE "$BARMAN_URL" {shlex.quote(server)}',
        f"PATH={shlex.quote(directory)}:$PATH",
        f"BARMAN_URL={shlex.quote(store.url)}",
        f"BARMAN_STORE={shlex.quote(' '.join(store.common))}",
        f"BARMAN_WAL={shlex.quote(' '.join([*wal, *store.upload]))}",
    ]
    for name, value in sorted(store.environment.items()):
        lines.append(f"export {name}={_quoted(value, store)}")
    return "\n".join(lines) + "\n"


def _quoted(value: str, store: StoreArguments) -> str:
    quoted = shlex.quote(value)
    if store.token_file is None or TOKEN not in value:
        return quoted
    # Read each time: somebody else keeps the token fresh.
    return quoted.replace(TOKEN, f"'\"$(cat {shlex.quote(store.token_file)})\"'")


def archive_command(path: str, server: str) -> str:
    """Asks first, then archives. The same content is fine, another one is an error. A ``.backup`` file is never found, and
    no recovery reads one. A ``.partial`` one is another file than the segment, and counts only for itself."""
    name = _quote(server)
    return (
        f". {_quote(path)}; w=--no-partial; case %f in *.partial) w=; esac; "
        f'get() {{ barman-cloud-wal-restore $BARMAN_STORE $w "$BARMAN_URL" {name} %f $1; }}; '
        'e=$(get /dev/null 2>&1); case "$?$e" in '
        "0*) get /dev/stdout | cmp - %p;; "
        f'{MISSING}*"file %f for server"*) barman-cloud-wal-archive $BARMAN_WAL $BARMAN_STORE "$BARMAN_URL" {name} %p;; '
        '*) echo "$e" >&2; false; esac || exit 1'
    )


def restore_command(path: str, server: str) -> str:
    """Exits with 1 when there is no such file. Anything else, such as a store out of reach, exits with 255: it would be taken
    for the end of the archive, and a server be opened that lacks the rest. With 255 PostgreSQL stops, and can be started
    again when the store is back."""
    file = _quote(path)
    return (
        f"test -r {file} || exit 255; . {file}; "
        f'e=$(barman-cloud-wal-restore $BARMAN_STORE --no-partial "$BARMAN_URL" {_quote(server)} %f %p 2>&1); '
        f'case "$?$e" in 0*) ;; {MISSING}*"file %f for server"*) exit 1;; *) echo "$e" >&2; exit 255; esac'
    )


def _quote(text: str) -> str:
    """For the shell, and for PostgreSQL, which takes %% for %."""
    return shlex.quote(text).replace("%", "%%")


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
        return archive_command(self._settings, self._server)

    def restore_command(self) -> str:
        return restore_command(self._settings, self._server)

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        # Stores list in the order of keys, and a folder is called by what its files' names begin with: so names are in order.
        for info in self._repository.list(f"{self._server}/wals"):
            name = info.key.rpartition("/")[2]
            if after is None or name > after or ".history" in name:
                yield name

    def fetch(self, name: str, path: str) -> bool:
        with files.temporary_directory(self._owner) as scratch:
            fetched = os.path.join(scratch, "fetched")
            try:
                said = self._get(name, fetched)
            except ToolError as exc:
                raise WalError(f"{name} could not be fetched from {self.description}. {exc}") from exc
            if said.code == 0:
                files.take_out(fetched, path)
                return True
        if f"file {name} for server" in said.messages:
            return False
        # Python exits with 1 too when it fails to start, and so does a codec that is missing.
        messages = " ".join(said.messages.split())
        raise WalError(f"{name} could not be fetched from {self.description}. barman-cloud-wal-restore: {messages}")
