# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a standby is made from: the newest one from which it can follow."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn


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
