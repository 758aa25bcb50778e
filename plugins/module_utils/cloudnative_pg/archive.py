# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's backups and WAL as they lie in the store, whatever a status says of them: ``<server>/base/<id>/…`` and
``<server>/wals/<first 16 digits>/<segment>[.gz|…]``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import backup_info, listing
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import needed_segments
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ObjectMissing
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import (
    SEGMENT,
    SUFFIXES,
    classify,
    history_name,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize


class StoreArchive:
    """Of one server, by its name in the store. Each method raises RepositoryError: the store cannot be read."""

    def __init__(self, repository: Repository, server_name: str) -> None:
        self.repository, self.server_name = repository, server_name
        self.description = f"{server_name} in {repository.description}"

    def records(self, problems: list[str]) -> list[Record]:
        """Its backups, oldest first. What is not finished, failed, or lacks a part goes to ``problems``."""
        base = f"{self.server_name}/base"
        objects = [(info.key[len(base) + 1 :], info.size) for info in self.repository.list(base)]
        labels = sorted({key.partition("/")[0] for key, _size in objects if key.endswith("/backup.info")})
        notes = backup_info.listing(self._notes(base, labels), problems)
        lost: dict[str, str] = {}
        found = listing.records(notes, self.server_name, listing.kept(objects), problems, lost)
        problems += lost.values()
        return found

    def _notes(self, base: str, labels: Iterable[str]) -> Iterator[tuple[str, str]]:
        for label in labels:
            try:
                text = self.repository.read(f"{base}/{label}/backup.info")
            except ObjectMissing:  # retention was here meanwhile
                continue
            yield label, text.decode("utf-8", "replace")

    def wal_names(self) -> Iterator[str]:
        """The names of all files of its WAL archive, in the store's order."""
        for info in self.repository.list(f"{self.server_name}/wals"):
            yield info.key.rpartition("/")[2]

    def is_empty(self) -> bool:
        """Whether no WAL is there, as a new Cluster of this server name wants it ("Expected empty archive")."""
        return next(self.wal_names(), None) is None

    def history(self, timeline: int) -> Optional[str]:
        """The key of the history of a timeline, however it is compressed; None: it is not there."""
        key = f"{self.server_name}/wals/{history_name(timeline)}"
        keys = (f"{key}{suffix}" for suffix in ("", *(f".{one}" for one in SUFFIXES)))
        return next((one for one in keys if self.repository.stat(one) is not None), None)

    def missing(self, segments: Iterable[str], size: SegmentSize) -> list[str]:
        """Those of some segments, by their names, that are not there. A ``.partial`` one is none."""
        wanted = sorted(set(segments))
        there: set[str] = set()
        for folder in sorted({name[:16] for name in wanted}):
            for info in self.repository.list(f"{self.server_name}/wals/{folder}"):
                file = classify(info.key, size)
                if file.kind == SEGMENT:
                    there.add(size.name(file.segment))
        return [name for name in wanted if name not in there]

    def missing_of(self, record: Record) -> list[str]:
        """The segments that a backup cannot be restored without, and that are not there."""
        size = SegmentSize(int(record.server["wal_segment_size"]))
        return self.missing(needed_segments(record, size), size)
