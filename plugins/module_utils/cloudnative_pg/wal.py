# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that the operator keeps in a store, read: what archives and restores is the operator's, and has no commands of ours."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator, Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ObjectMissing, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SUFFIXES

# What Python unpacks by itself; of the others names are read, and nothing else.
_UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


class StoreWal(WalArchive):
    """Of one server in its store."""

    def __init__(self, archive: StoreArchive) -> None:
        self._archive = archive
        self.description = f"the WAL of {archive.description}"

    def archive_command(self) -> str:
        raise NotImplementedError("the operator archives")

    def restore_command(self) -> str:
        raise NotImplementedError("the operator restores")

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        # Stores list in the order of keys, and a folder is called by what its files' names begin with: so names are in order.
        for name in self._archive.wal_names():
            if after is None or name > after or ".history" in name:
                yield name

    def fetch(self, name: str, path: str) -> bool:
        for suffix in ("", *(f".{one}" for one in SUFFIXES)):
            folder = "" if name.endswith(".history") else f"{name[:16]}/"
            try:
                data = self._archive.repository.read(f"{self._archive.server_name}/wals/{folder}{name}{suffix}")
            except ObjectMissing:
                continue
            if suffix not in _UNPACK:
                raise WalError(f"{name}{suffix} of {self.description} is compressed by what Python here cannot unpack.")
            try:
                content = _UNPACK[suffix](data)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as exc:
                raise WalError(f"{name}{suffix} of {self.description} is damaged: {exc}.") from exc
            with open(path, "wb") as stream:
                stream.write(content)
            return True
        return False
