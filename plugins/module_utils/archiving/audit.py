# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WAL archive looked after: what is in it, what is wrong with it, which moments it makes reachable, what may go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup, survey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.findings import Finding, audit
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.removal import Needs, Removal, removals
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.window import Window, windows

_LEVELS = ("error", "warning", "fine")
_PORTION = 1000  # files that are removed at once


@dataclass(frozen=True)
class Report:
    """What an archive holds. ``looked_at``: names that were read this time; ``unplaced``: ids of kept backups that do not say which WAL they
    need."""

    archive: Archive
    inventory: Inventory
    backups: Sequence[Backup]
    findings: Sequence[Finding]
    looked_at: int
    unplaced: Sequence[str] = ()

    @property
    def windows(self) -> Sequence[Window]:
        return windows(self.backups, self.archive)

    def last_segment(self) -> Optional[str]:
        """The newest one's name, of the newest timeline."""
        timelines = list(self.archive.coverage.timelines)
        if not timelines:
            return None
        number = self.archive.coverage.last(max(timelines))
        return None if number is None else self.archive.size.name(Segment(max(timelines), number))


def inspect(wal: WalArchive, records: Iterable[Record], scratch: str) -> Report:
    """Read the names of all that is in the archive, and judge it by the backups that are kept. Nothing is taken over from earlier audits: what
    was there then may be gone.

    Raises:
        HoldfastError: it cannot be read.
    """
    kept = list(records)
    size = SegmentSize(
        next((int(item.server["wal_segment_size"]) for item in kept if item.server.get("wal_segment_size")), 1 << 24)
    )
    inventory = Inventory(size)
    looked_at = inventory.read(wal.names())
    archive = survey(wal, inventory, scratch)
    backups = [backup for backup in map(as_backup, kept) if backup is not None]
    findings = audit(inventory, archive.timelines, Needs(backups, archive) if backups else None)
    unplaced = [record.id for record in kept if as_backup(record) is None]
    return Report(archive, inventory, backups, findings, looked_at, unplaced)


def removable(report: Report, wal: WalArchive) -> list[Removal]:
    """What no kept backup needs. Nothing where no backup is kept, or one does not say what it needs: then nothing tells what is needed."""
    if not report.backups or report.unplaced:
        return []
    return [item for item in removals(wal.names(), Needs(report.backups, report.archive)) if item.goes]


def remove(wal: WalArchive, chosen: Sequence[Removal]) -> None:
    """Remove what was chosen. Raises HoldfastError."""
    for first in range(0, len(chosen), _PORTION):
        wal.remove([item.name for item in chosen[first : first + _PORTION]])


def describe(finding: Finding) -> dict[str, Any]:
    """A finding as users get it."""
    return {"level": finding.level, "code": finding.code, "text": finding.text, "names": list(finding.names[:20])}


def worst_first(finding: Mapping[str, Any]) -> int:
    """The order in which findings are told."""
    return _LEVELS.index(finding["level"])
