# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a standby is made from: the newest one from which it can follow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup, survey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize


def choose(source: PhysicalSource, backup_id: str, upstream: Upstream, archive: bool, warnings: list[str]) -> Record:
    """``archive``: WAL that the upstream has no more can be fetched from one.

    Raises:
        CatalogError: there is none, or none that leads to the upstream.
    """
    problems: list[str] = []
    records = [record for record in source.records(problems) if backup_id in ("latest", record.id)]
    warnings += problems
    mine = [record for record in records if record.server.get("system_id") in (None, upstream.system_id)]
    if not mine:
        which = "no backup of this server" if backup_id == "latest" else f"no backup {backup_id!r} of this server"
        raise CatalogError(
            f"There is {which} (system identifier {upstream.system_id}) in {source.name}. Use source: primary."
        )
    record = _newest_of_its_past(mine, upstream, warnings)
    start = Lsn.parse(record.start_lsn, "start_lsn") if record.start_lsn else None
    if start is not None and not archive and upstream.keeps(start) is False:
        raise CatalogError(
            f"The backup {record.id} needs the WAL from {start} on, which the primary no longer has, and there is no WAL archive. "
            "Use source: primary."
        )
    return record


def _newest_of_its_past(records: list[Record], upstream: Upstream, warnings: list[str]) -> Record:
    """One that ended on a timeline after the upstream had left it leads elsewhere. Raises CatalogError: all do."""
    now = upstream.position()
    history = upstream.history(now.timeline)
    passed: list[tuple[str, str]] = []
    for record in sorted(records, key=lambda record: record.stopped_at, reverse=True):
        backup = as_backup(record)
        verdict = compare(Position(backup.timeline, backup.stop_lsn, True), now, history) if backup else None
        if verdict is None or verdict.follows:
            warnings += [f"The backup {name} is newer, and was passed over: {why}." for name, why in passed]
            return record
        passed.append((record.id, verdict.why))
    raise CatalogError(
        f"No backup of this server leads to {upstream}: {'; '.join(f'{name}: {why}' for name, why in passed)}. Use source: primary."
    )


def segment_size(record: Record) -> SegmentSize:
    """That of a backup's server."""
    return SegmentSize(int(record.server.get("wal_segment_size") or 16 * 1024 * 1024))


def to_fetch(source: PhysicalSource, record: Record, upstream: Upstream) -> Sequence[Run]:
    """The WAL that is fetched from a store before a standby of a backup starts, as the upstream has it no more; nothing where it has, or a
    restore_command fetches it.

    Raises:
        CatalogError: the store does not lead to where the upstream's own WAL begins.
    """
    wal, backup = source.wal, as_backup(record)
    if wal is None or not wal.fetched_ahead or backup is None or upstream.keeps(backup.start_lsn) is not False:
        return ()
    size = segment_size(record)
    inventory = Inventory(size)
    inventory.read(wal.names())
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir="/tmp") as scratch:
        archive = survey(wal, inventory, scratch)
    timeline = upstream.position().timeline
    last = archive.reach(timeline, backup.archive_from).last
    if last is None or upstream.keeps(size.end(last)) is False:
        until = "begins after it" if last is None else f"goes on without a gap to {size.name(last)} alone"
        raise CatalogError(
            f"The backup {record.id} needs WAL that {upstream} no longer has, and what is in {wal.description} {until}. Ship what is missing "
            "(wal_ship), or use source: primary."
        )
    return archive.needed(timeline, backup.archive_from, last.number)
