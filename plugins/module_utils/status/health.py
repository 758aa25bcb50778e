# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server's backups are well: which is good, when the last one was, whether one is overdue. Pure; facts and
reports have it from here."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, links
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import is_good, is_recent
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITHOUT_DATA

#: what is wrong with a backup, looked at where it lies; None: nothing
Look = Callable[[Record], Optional[str]]


@dataclass(frozen=True)
class Health:
    """``last_good`` is the newest backup that can be restored, as far as one knows without reading it (None: there is none), and
    ``last_success`` when it ended. ``overdue``: nothing good is recent enough; None: nobody asked. ``damaged``: ids and what is
    wrong, of those that were looked at on the way. ``unverified``: ids of those that are newer than the last good one, and that nobody
    verified, the newest first."""

    last_good: Optional[Record]
    last_success: Optional[str]
    overdue: Optional[bool]
    damaged: dict[str, str]
    unverified: list[str]


def counts(record: Record, listed_whole: Collection[str]) -> bool:
    """Whether a backup was verified, or is one of an engine (``listed_whole``) that can read nothing back, and lists only what is whole.
    Of one that can, a backup that nobody verified is none: runs say the same of what is fresh (``EngineTier``)."""
    return record.verified_at is not None or record.engine in listed_whole


def as_known(records: Iterable[Record], listed_whole: Collection[str]) -> dict[str, Record]:
    """Records by their ids, as chains are judged by them: what an engine lists as whole is as good as verified. The record that users see stays
    as it is."""
    return {
        name: record if record.verified_at or not counts(record, listed_whole) else _as_verified(record)
        for name, record in by_id(records).items()
    }


def judge(
    records: Iterable[Record],
    every: Optional[int],
    now: datetime.datetime,
    look: Look,
    listed_whole: Collection[str] = (),
    failed: Optional[Mapping[str, str]] = None,
) -> Health:
    """The health of one server's backups. ``every``: one is expected at least so often (seconds). Backups are looked at from the newest
    on, until a good one is found. ``failed``: what was found wrong already, by ids."""
    # What a server is made of is no backup of it.
    order = in_order(record for record in records if record.engine not in WITHOUT_DATA)
    known = as_known(order, listed_whole)
    damaged: dict[str, str] = dict(failed or {})
    unverified: list[str] = []
    recent: Optional[Record] = None
    last: Optional[Record] = None
    for record in reversed(order):
        if last is not None and (every is None or recent is not None or not is_recent(record, every, now)):
            break
        if last is None and known[record.id].verified_at is None and record.id not in damaged:
            unverified.append(record.id)
        if not is_good(known[record.id], known) or not _stands(known[record.id], known, look, damaged):
            continue
        last = last or record
        if every is not None and recent is None and is_recent(record, every, now):
            recent = record
    overdue = None if every is None else recent is None
    return Health(last, None if last is None else last.stopped_at, overdue, damaged, unverified)


def _stands(record: Record, known: dict[str, Record], look: Look, damaged: dict[str, str]) -> bool:
    needed = links(record, known.get)
    for link in needed:
        wrong = damaged.get(link.id) or look(link)
        if wrong:
            damaged[link.id] = wrong
    return not any(link.id in damaged for link in needed)


def _as_verified(record: Record) -> Record:
    return Record(**{**vars(record), "verified_at": record.stopped_at})
