# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup came after which, and which is the newest that has what is asked for. Pure.

Clocks lie: they are set back, stand still, or ran ahead when a backup was stamped. The server's own WAL does not: of two
backups of one server (system identifier) the one with the later timeline and position is the newer. The clock decides only
between backups that have no position, or are of different servers.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, is_whole
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import (
    PartsRequest,
    describe,
    lacks,
    ordered,
    wider,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

#: seconds by which clocks of two hosts may differ without a word
CLOCKS_DIFFER = 60

Position = tuple[int, int]


def stopped(record: Record) -> datetime.datetime:
    """When a backup ended, by the clock of who made it."""
    return parse_time(record.stopped_at, "stopped_at")


def position(record: Record) -> Optional[Position]:
    """Timeline and LSN of a backup's end; None: one is not known."""
    timeline, lsn = record.server.get("timeline"), record.stop_lsn or record.start_lsn
    if not isinstance(timeline, int) or lsn is None:
        return None
    return timeline, int(Lsn.parse(lsn, "stop_lsn"))


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records, the oldest first.

    A backup cannot have ended later than one that has a later position in the same server's WAL: where the clocks say so, the
    earlier time holds for both.
    """
    listed = list(records)
    times = {id(record): stopped(record) for record in listed}
    positions = {id(record): position(record) for record in listed}
    servers: dict[str, list[Record]] = {}
    for record in listed:
        system = record.server.get("system_id")
        if system and positions[id(record)]:
            servers.setdefault(str(system), []).append(record)
    for group in servers.values():
        group.sort(key=lambda record: (positions[id(record)] or (0, 0), times[id(record)]))
        for earlier, later in zip(group[-2::-1], group[:0:-1]):
            times[id(earlier)] = min(times[id(earlier)], times[id(later)])
    return sorted(
        listed, key=lambda record: (times[id(record)], positions[id(record)] or (0, 0), record.stopped_at, record.id)
    )


def newest(records: Iterable[Record], now: datetime.datetime) -> Optional[Record]:
    """The newest of some backups; one from the future only where no other is, or where the WAL says that it is the last."""
    order = in_order(records)
    limit = now + datetime.timedelta(seconds=CLOCKS_DIFFER)
    systems = {record.server.get("system_id") for record in order}
    if len(systems) == 1 and None not in systems and all(position(record) for record in order):
        return order[-1] if order else None
    return next((record for record in reversed(order) if stopped(record) <= limit), order[-1] if order else None)


@dataclass(frozen=True)
class Latest:
    """The backup that ``latest`` means, and what is to be said of that choice."""

    record: Record
    warnings: Sequence[str]


def latest(
    records: Sequence[Record],
    wanted: PartsRequest,
    now: datetime.datetime,
    where: str,
    damaged: Optional[Mapping[str, str]] = None,
) -> Latest:
    """The newest verified logical backup that has what is ``wanted``. ``where`` names the repository, ``damaged`` says of ids what
    was found wrong with them.

    Of several scopes that have it the widest counts: after a nightly backup of all, an ad hoc one of a table is not the latest.

    Raises:
        CatalogError: none has it, naming what each of the newest has; or several have it, none of which has all of the others.
    """
    damaged = damaged or {}
    logical = [record for record in records if record.kind == "logical"]
    good = [record for record in logical if record.verified_at and record.id not in damaged]
    if not good:
        raise CatalogError(f"There is no verified backup of databases in {where}. {_others(records, logical, damaged)}")
    having = [record for record in good if lacks(record, wanted) is None]
    if not having and not (wanted.databases or wanted.tables or wanted.schemas):
        having = good  # nothing was named, and all that there is are parts
    if not having:
        told = " ".join(f"{record.id} {lacks(record, wanted)}." for record in reversed(in_order(good)[-5:]))
        raise CatalogError(
            f"No verified backup in {where} has what is asked for. {told} To restore a part, name it (tables, schemas) or give the backup's id (backup_id)."
        )
    groups: dict[str, list[Record]] = {}
    for record in having:
        groups.setdefault(describe(record), []).append(record)
    scopes = {name: _what_counts(group[0].scope, wanted) for name, group in groups.items()}
    widest = [name for name, scope in scopes.items() if not any(wider(other, scope) for other in scopes.values())]
    different = {json.dumps(ordered(scopes[name]), sort_keys=True) for name in widest}
    if len(different) > 1 and not wanted.databases:
        told = "; ".join(f"{_newest(groups[name], now).id} has {name}" for name in sorted(widest))
        raise CatalogError(
            f"'latest' can mean several backups in {where}, none of which has all that the others have: {told}. Name the databases "
            "that are wanted, or give the id of a backup."
        )
    record = _newest([item for name in widest for item in groups[name]], now)
    after = in_order(good)
    newer = after[after.index(record) + 1 :]
    warnings = [
        f"The backup {other.id} ({other.stopped_at}) is newer than {record.id} ({record.stopped_at}), and has less: "
        f"{describe(other)}. It was not taken for the latest."
        for other in newer[-1:]
        if describe(other) not in widest
    ]
    if lacks(record, wanted) is not None:
        warnings.append(f"No backup in {where} has everything. {record.id} has only: {describe(record)}.")
    warnings += [f"The backup {name} was passed over: {problem}" for name, problem in damaged.items()]
    return Latest(record, warnings)


def _what_counts(scope: Mapping[str, Any], wanted: PartsRequest) -> dict[str, Any]:
    """A scope without that by which ``lacks`` has chosen already: who wants one database does not need the others."""
    done = {"databases"} if wanted.databases else set()
    if wanted.tables:
        done |= {"tables", "exclude_tables", "schemas", "exclude_schemas"}
    elif wanted.schemas:
        done |= {"schemas", "exclude_schemas"}
    return {name: value for name, value in scope.items() if name not in done}


def latest_whole(records: Sequence[Record], now: datetime.datetime, where: str) -> Record:
    """The newest verified backup of any kind that is there with all that it needs. Raises CatalogError: there is none."""
    known = by_id(records)
    found = newest([record for record in records if is_whole(record, known)], now)
    if found is None:
        raise CatalogError(f"There is no verified backup in {where} that is there with all that it is based on.")
    return found


def _newest(records: Sequence[Record], now: datetime.datetime) -> Record:
    found = newest(records, now)
    if found is None:
        raise AssertionError("there is none, and that was to be seen before")
    return found


def _others(records: Sequence[Record], logical: Sequence[Record], damaged: Mapping[str, str]) -> str:
    if damaged:
        return " ".join(damaged.values())
    if logical:
        return f"The newest, {in_order(logical)[-1].id}, was never verified."
    if records:
        return (
            f"There are only backups of the whole server (the newest is {in_order(records)[-1].id}): bring the server back by pg_recover (playbook "
            "recover), or back the databases up by pg_dump."
        )
    return ""
