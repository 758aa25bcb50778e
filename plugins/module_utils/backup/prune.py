# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting backups: by retention, or one by its id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    ObjectLocked,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow


def candidate(record: Record) -> Candidate:
    """A record as retention sees it."""
    return Candidate(
        record.id,
        parse_time(record.stopped_at, "stopped_at"),
        record.verified_at is not None,
        record.pinned,
        record.parent,
        group=scope_group(record.engine, record.scope),
    )


def scope_group(engine: str, scope: dict[str, Any]) -> str:
    """What can stand in for each other: a backup of one database never takes the place of another one's."""
    ordered = {name: sorted(value) if isinstance(value, list) else value for name, value in scope.items()}
    return json.dumps([engine, ordered], sort_keys=True)


def plan_prune(shelf: Shelf, policy: Policy, warnings: list[str], own: Optional[Candidate] = None) -> list[Decision]:
    """What retention would do; ``own`` is the backup that this run makes, or made just now: then only those of its scope are
    looked at, since what holds for them need not hold for others. Damaged manifests only warn: what can't be read is
    never deleted."""
    candidates = [candidate(record) for record in shelf.records(warnings) if own is None or record.id != own.id]
    candidates += [own] if own else []
    known = {item.id for item in candidates}
    if own:
        candidates = [item for item in candidates if item.group == own.group]
    warnings.extend(
        f"retention.pins names {pin!r}, which is no backup here." for pin in policy.pins if pin not in known
    )
    return decide(candidates, policy, utcnow())


def prune(shelf: Shelf, decisions: list[Decision], warnings: list[str]) -> list[dict[str, Any]]:
    """Delete what was decided, children before parents (newest first). Returns what went, and why. What the store has
    locked stays, with a warning."""
    gone = []
    for decision in decisions:
        if decision.keep:
            continue
        try:
            shelf.remove(decision.id)
        except ObjectLocked as exc:
            warnings.append(f"The backup {decision.id} is to be deleted by the retention, and stays: {exc}")
        else:
            gone.append(asdict(decision))
    return gone


def clean(shelf: Shelf, leftovers: Sequence[str], warnings: list[str]) -> list[str]:
    """Delete what interrupted runs left; what the store does not let go stays, with a warning. Returns what went."""
    gone = []
    for leftover in leftovers:
        try:
            shelf.remove(leftover)
        except RepositoryError as exc:
            warnings.append(f"What the interrupted run {leftover} left stays: {exc}")
        else:
            gone.append(leftover)
    return gone


def delete_one(shelf: Shelf, backup_id: str, check: bool) -> bool:
    """Delete one backup. Returns whether there was one.

    Raises:
        CatalogError: it is pinned, or another backup needs it.
    """
    record = shelf.read(backup_id)
    if record is None:
        return False
    if record.pinned:
        raise CatalogError(
            f"The backup {backup_id} is pinned. Unpin it first (pg_backup with its id and pinned: false)."
        )
    children = [other.id for other in shelf.records([]) if other.parent == backup_id]
    if children:
        raise CatalogError(f"The backup {backup_id} is needed by {', '.join(children)}. Delete those first.")
    if not check:
        shelf.remove(backup_id)
    return True
