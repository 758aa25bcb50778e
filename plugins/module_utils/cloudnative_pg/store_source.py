# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's backups and WAL in the operator's store, as the planning of a recovery reads them."""

from __future__ import annotations

import bz2
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import check_segment
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import NewDirectory, PhysicalSource

# What our pipeline has no program for, and Python reads.
_PYTHON: dict[str, Callable[[], Any]] = {".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}
_SNAPPY = ".snappy"
_PACKED = (".gz", ".zst", ".lz4", _SNAPPY, *_PYTHON)


class StoreWal(WalArchive):
    """The WAL of one server in the store. It is the operator that archives and restores: here it is read."""

    def __init__(self, archive: StoreArchive) -> None:
        self._archive = archive
        self.description = f"the WAL archive {archive.server_name}/wals in {archive.repository.description}"

    def archive_command(self) -> str:
        raise BadOption("engine", "cnpg", "has no archive_command of ours", "The operator archives.")

    def restore_command(self) -> str:
        raise BadOption("engine", "cnpg", "has no restore_command of ours", "The operator restores.")

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        for name in self._archive.wal_names():
            if after is None or name > after or ".history" in name:
                yield name

    def fetch(self, name: str, path: str) -> bool:
        repository, stored = self._archive.repository, self._key(name)
        if stored is None:
            return False
        suffix = os.path.splitext(stored)[1]
        if suffix == _SNAPPY:
            raise WalError(f"{stored} in {repository.description} is packed by snappy, which nothing here unpacks.")
        try:
            if suffix in _PYTHON:
                self._unpack(stored, _PYTHON[suffix](), path)
            else:
                stream_of(lambda: repository.open(stored), stored, Encryption(None, "")).save(
                    path, lambda made, out: None
                )
        except (ToolError, OSError, EOFError, lzma.LZMAError, ValueError) as exc:
            raise WalError(f"{stored} in {repository.description} cannot be unpacked: {exc}") from exc
        check_segment(name, path, f"{stored} in {repository.description}")
        return True

    def _key(self, name: str) -> Optional[str]:
        if name.endswith(
            ".history"
        ):  # beside all folders: looked for by its name, as listing would list the whole archive
            return self._archive.history(int(name[:8], 16))
        keys = (info.key for info in self._archive.repository.list(f"{self._archive.server_name}/wals/{name[:16]}"))
        return next((key for key in keys if self._is(name, key.rpartition("/")[2])), None)

    @staticmethod
    def _is(name: str, there: str) -> bool:
        """Whether a file is what PostgreSQL calls ``name``, packed or not: not its .partial, nor a note of a backup that begins in it."""
        return there == name or (there.startswith(name) and there[len(name) :] in _PACKED)

    def _unpack(self, stored: str, decompressor: Any, path: str) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            for block in self._archive.repository.blocks(stored):
                target.write(decompressor.decompress(block))


class StoreSource(PhysicalSource):
    """Base backups in the store, or ``others``, which are elsewhere (volume snapshots), with the WAL of the store. ``archive`` None: there is
    no store."""

    def __init__(self, archive: Optional[StoreArchive], others: Optional[Sequence[Record]] = None) -> None:
        self._archive, self._others = archive, others
        self.name = archive.description if archive else "the volume snapshots"
        self.wal = StoreWal(archive) if archive else None

    def records(self, problems: list[str]) -> list[Record]:
        if self._others is not None:
            return list(self._others)
        return self._archive.records(problems) if self._archive else []

    def lay_out(self, record: Record, made: NewDirectory, progress: Progress) -> None:
        raise BadOption("backup_id", record.id, "is laid out by the operator", "Use cnpg_restore.")
