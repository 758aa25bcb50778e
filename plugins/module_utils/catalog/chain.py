# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full backup and what depends on it is one thing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import KINDS
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError


def by_id(records: Iterable[Record]) -> dict[str, Record]:
    """Records by their ids."""
    return {record.id: record for record in records}


def links(record: Record, find: Callable[[str], Optional[Record]]) -> list[Record]:
    """A backup, and those that it is based on as far as they are found, itself first: the one walk along a chain. One that comes again ends
    it."""
    found = [record]
    while (parent := found[-1].parent) is not None and parent not in {link.id for link in found}:
        link = find(parent)
        if link is None:
            break
        found.append(link)
    return found


def chain(record: Record, known: Mapping[str, Record]) -> Sequence[Record]:
    """A backup and all that it needs, the full one first.

    Raises:
        CatalogError: one of them is not there, or they need each other in a circle.
    """
    found = links(record, known.get)
    missing = found[-1].parent
    if missing in known:
        raise CatalogError(
            f"The backup {record.id} cannot be restored: {missing}, which it is based on, is based on itself. Its manifest was "
            "changed. Use another backup."
        )
    if missing is not None:
        raise CatalogError(
            f"The backup {record.id} cannot be restored: {missing}, which it is based on, is not there. Use another backup, or "
            "bring that one back."
        )
    return found[::-1]


def is_whole(record: Record, known: Mapping[str, Record]) -> bool:
    """Whether a backup and all that it needs are there, and verified."""
    try:
        return all(link.verified_at is not None for link in chain(record, known))
    except CatalogError:
        return False


def dependants(backup_id: str, records: Iterable[Record]) -> list[Record]:
    """Those that need a backup, directly or through others, in their order."""
    listed = list(records)
    going = _needing({backup_id}, listed)
    return [record for record in listed if record.id in going and record.id != backup_id]


def with_dependants(records: Iterable[Record], labels: Collection[str], keeper: str) -> list[str]:
    """The ids of some backups and of all that need one of them, in their order.

    Raises:
        CatalogError: the ``keeper``, as messages call it, has no such backup.
    """
    listed = list(records)
    strange = sorted(set(labels) - by_id(listed).keys())
    if strange:
        raise CatalogError(f"{keeper} has no backup {', '.join(strange)}. Nothing was deleted.")
    going = _needing(set(labels), listed)
    return [record.id for record in listed if record.id in going]


def may_be_needed(record: Record, unread: Collection[str]) -> bool:
    """Whether one of the backups whose manifests cannot be read may be based on this one: dumps are not based on each other."""
    return record.kind in KINDS and any(name != record.id for name in unread)


def _needing(going: set[str], records: Sequence[Record]) -> set[str]:
    while more := {record.id for record in records if record.parent in going} - going:
        going = going | more
    return going
