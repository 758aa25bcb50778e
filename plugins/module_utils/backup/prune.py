# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting backups: by retention, or one by its id."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import links, may_be_needed
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order, stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import Presence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import ANY, readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import key
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    DamagedManifest,
    ObjectLocked,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import achieved, remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow


def candidate(record: Record, doubt: Optional[str] = None) -> Candidate:
    """A record as retention sees it. ``doubt``: what was found wrong with it."""
    return Candidate(
        record.id,
        parse_time(record.stopped_at, "stopped_at"),
        record.verified_at is not None and doubt is None,
        record.pinned,
        record.parent,
        group=key(record),
        kind=record.kind,
        size=record.size,
        doubt=None if doubt is None else f"damaged: {doubt}",
    )


def in_sequence(records: Sequence[Record], now: datetime.datetime) -> dict[str, datetime.datetime]:
    """When each ended, by id, in an order that the server's own positions confirm: where a clock says that an earlier one is later,
    it was wrong. Times from the future stay, as those who read them know what to think of them."""
    found: dict[str, datetime.datetime] = {}
    last: Optional[datetime.datetime] = None
    for record in reversed(in_order(records)):
        moment = stopped(record)
        if moment <= now and last is not None and moment >= last:
            moment = last - datetime.timedelta(microseconds=1)
        found[record.id] = moment
        last = moment if moment <= now else last
    return found


def plan_prune(
    listing: Listing,
    policy: Policy,
    warnings: list[str],
    own: Optional[Candidate] = None,
    beyond: Callable[[Record], Optional[str]] = lambda record: None,
) -> list[Decision]:
    """What retention would do; ``own`` is the backup that this run makes, or made just now: then only those of its scope are
    looked at, since what holds for them need not hold for others. Damaged manifests only warn: what can't be read is
    never deleted, nor is what it may be based on.

    Before anything goes, all that stays is looked at: what lacks an artifact displaces nothing. ``beyond``: what is wrong with what a backup
    has elsewhere than in the repository. Raises RepositoryError.
    """
    warnings.extend(message for message in listing.problems if message not in warnings)
    records = {record.id: record for record in listing.records if own is None or record.id != own.id}
    known = {*records, *([own.id] if own else [])}
    warnings.extend(
        f"retention.pins names {pin!r}, which is no backup here." for pin in policy.pins if pin not in known
    )
    if own:
        records = {name: record for name, record in records.items() if key(record) == own.group}
    now, presence = utcnow(), Presence(listing.shelf)
    moments = in_sequence(list(records.values()), now)
    elsewhere = {
        name: wrong for name, record in records.items() if (wrong := listing.failed.get(name) or beyond(record))
    }
    while True:
        damaged = {**elsewhere, **presence.look([])}
        candidates = [
            replace(candidate(record, damaged.get(record.id)), stopped_at=moments[record.id])
            for record in records.values()
        ]
        decisions = decide([*candidates, *([own] if own else [])], policy, now)
        stays = [records[item.id] for item in decisions if item.keep and item.id in records]
        new = [record for record in stays if not presence.knows(record.id)]
        if len(stays) == len(records) or not new:
            break
        presence.look(new)
    warnings.extend(
        f"The backup {name} in {listing.shelf.repository.description} is damaged: {wrong}. It displaces no other one."
        for name, wrong in {**elsewhere, **presence.look([])}.items()
    )
    return _keep_what_may_be_needed(decisions, records, listing.lost + listing.unread, warnings)


def _keep_what_may_be_needed(
    decisions: Sequence[Decision], records: Mapping[str, Record], unread: Sequence[str], warnings: list[str]
) -> list[Decision]:
    """What a backup is based on stands in its manifest. While one cannot be read, no copy of a server goes."""
    needed = {item.id for item in decisions if not item.keep and may_be_needed(records[item.id], unread)}
    if needed:
        warnings.append(
            f"{', '.join(sorted(needed))} would go by the retention, and stays: {', '.join(sorted(unread))} may be based on it, which nobody "
            "can tell without a manifest that can be read. Bring that back, or delete what it was (pg_backup with its backup_id and state: absent)."
        )
    return [
        replace(item, keep=True, reasons=("a manifest that cannot be read may need it",)) if item.id in needed else item
        for item in decisions
    ]


def prune(
    shelf: Shelf, decisions: list[Decision], warnings: list[str], beat: Callable[[], None]
) -> list[dict[str, Any]]:
    """Delete what was decided, children before parents (newest first). Returns what went, and why. What the store has
    locked stays, with a warning, and so does all that it is based on.

    Raises:
        LockHeld: ``beat``, which is called before each deletion, says that the lock was lost.
    """
    gone: list[dict[str, Any]] = []
    doomed = [decision for decision in decisions if not decision.keep]
    read = readers(shelf) if doomed else {}
    # What one that is read is based on is read too.
    needed = {link.id for name in read if name != ANY for link in _links(shelf, name)}
    busy = [decision.id for decision in doomed if ANY in read or decision.id in needed]
    warnings.extend(
        f"The backup {name} is to be deleted by the retention, and stays: it, or one that is based on it, is being read by "
        f"{read.get(name) or read.get(ANY) or next(iter(read.values()))}."
        for name in busy
    )
    doomed = [decision for decision in doomed if decision.id not in busy]
    going = [decision.id for decision in doomed]
    based_on: dict[str, str] = {}
    with remains(lambda: _so_far(going, len(gone))) as left:
        left.changed = False
        for decision in doomed:
            beat()
            why = based_on.get(decision.id)
            if why is None:
                left.changed = True
                try:
                    shelf.remove(decision.id)
                except ObjectLocked as exc:
                    why = str(exc)
                    links = _links(shelf, decision.id)
                    based_on.update((link.id, f"{decision.id}, which stays, is based on it.") for link in links)
            if why is None:
                gone.append(asdict(decision))
            else:
                going.remove(decision.id)
                warnings.append(f"The backup {decision.id} is to be deleted by the retention, and stays: {why}")
    if gone:
        achieved(f"Retention has deleted {', '.join(entry['id'] for entry in gone)}.")
    return gone


def _links(shelf: Shelf, backup_id: str) -> list[Record]:
    """A backup and those that it is based on, as far as they are there."""

    def find(name: str) -> Optional[Record]:
        try:
            return shelf.read(name)
        except CatalogError:  # what it is based on is not known, and no copy of a server goes then
            return None

    record = find(backup_id)
    return [] if record is None else links(record, find)


def _so_far(doomed: Sequence[str], done: int) -> str:
    """What a stop in the middle of deleting leaves. The one that is being deleted may be a backup no more."""
    if not doomed:
        return ""
    went = (
        f"Retention has deleted {', '.join(doomed[:done])}." if done else "Retention has deleted nothing for certain."
    )
    now = (
        f" {doomed[done]} was being deleted: if its manifest is gone, the next run removes the rest, or names it."
        if done < len(doomed)
        else ""
    )
    rest = f" Still there: {', '.join(doomed[done + 1 :])}." if doomed[done + 1 :] else ""
    return went + now + rest


def clean(shelf: Shelf, leftovers: Sequence[str], warnings: list[str]) -> list[str]:
    """Delete what interrupted runs left; what the store does not let go stays, with a warning. Returns what went."""
    gone = []
    with remains("", changed=False) as left:
        for leftover in leftovers:
            left.now(
                f"What the interrupted run {leftover} left was being removed: the next run removes the rest, or names it."
            )
            try:
                shelf.remove(leftover)
            except RepositoryError as exc:
                warnings.append(f"What the interrupted run {leftover} left stays: {exc}")
            else:
                gone.append(leftover)
    return gone


def _remove(shelf: Shelf, backup_id: str) -> None:
    """``shelf.remove``, and what a stop in it leaves."""
    with remains(
        f"{backup_id} was being deleted: if its manifest is gone, the next run removes the rest, or names it."
    ):
        shelf.remove(backup_id)
    achieved(f"{backup_id} was deleted.")


def keep_what_lies_elsewhere(
    decisions: Sequence[Decision], records: Mapping[str, Record], warnings: list[str]
) -> list[Decision]:
    """Decisions by which nothing goes whose content is not in the repository: its record gone, that would stay for good, unseen."""
    held = {item.id for item in decisions if not item.keep and records[item.id].engine in ELSEWHERE}
    if held:
        warnings.append(
            f"{', '.join(sorted(held))} would go by the retention, and stays: it is of volume snapshots, which the module pvc_snapshot deletes with "
            "it (state: pruned)."
        )
    return [
        replace(item, keep=True, reasons=("its content is in a cluster: pvc_snapshot deletes both",))
        if item.id in held
        else item
        for item in decisions
    ]


def delete_one(shelf: Shelf, backup_id: str, check: bool, warnings: list[str], elsewhere: bool = False) -> bool:
    """Delete one backup, or what an interrupted run left of one. Returns whether there was one. One whose manifest is damaged goes too, as
    it was named, and ``warnings`` says what nobody could look at. ``elsewhere``: who calls deletes what a backup has outside the repository.

    Raises:
        CatalogError: it is pinned, or another backup needs it, or may; or its manifest is newer, or another server's.
    """
    damaged: Optional[DamagedManifest] = None
    record: Optional[Record] = None
    try:
        record = shelf.read(backup_id)
    except DamagedManifest as exc:
        damaged = exc
    if record is None and damaged is None:
        if not shelf.has_folder(backup_id):
            return False
        if not check:
            _remove(shelf, backup_id)
        return True
    if record is not None and record.engine in ELSEWHERE and not elsewhere:
        raise CatalogError(
            f"The backup {backup_id} is of volume snapshots in a cluster, which would stay there for good. Nothing was deleted: the module "
            "pvc_snapshot deletes both (state: absent)."
        )
    if record is not None and record.pinned:
        raise CatalogError(
            f"The backup {backup_id} is pinned. Unpin it first (pg_backup with its id and pinned: false)."
        )
    read = readers(shelf)
    reader = read.get(backup_id) or read.get(ANY)
    if reader:
        raise CatalogError(f"The backup {backup_id} is being read by {reader}. Nothing was deleted: wait for its end.")
    unread: list[str] = []
    children = [other.id for other in shelf.records([], unread=unread) if other.parent == backup_id]
    if children:
        raise CatalogError(f"The backup {backup_id} is needed by {', '.join(children)}. Delete those first.")
    if record is not None and may_be_needed(record, unread):
        raise CatalogError(
            f"The backup {backup_id} may be needed by {', '.join(unread)}, whose manifest cannot be read: what that is based on is not known. "
            "Nothing was deleted: bring that manifest back, or delete that one first."
        )
    if damaged is not None:
        warnings.append(
            f"{backup_id} is deleted as it is named, though nobody can tell whether it was pinned, or what it had: {damaged}"
        )
    if not check:
        _remove(shelf, backup_id)
    return True
