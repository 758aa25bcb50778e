# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention without a backup: in our folders, wherever they can be reached from; in the repository of an engine, on the server's host."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.open import engine_tier, policy_of
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import (
    clean,
    keep_what_lies_elsewhere,
    plan_prune,
    prune,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import engines_keeping
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

_BY_NAME = "Name the engine, on the server's host: its retention is carried out by its own deletion."


@dataclass
class Pruned:
    """What went from one repository, or would go."""

    plan: list[str]
    gone: list[dict[str, Any]]
    decisions: Sequence[Decision]


def prune_all(params: Mapping[str, Any], check: bool, warnings: list[str]) -> list[Pruned]:
    """Each repository by its own policy.

    Raises:
        BadOption: what is there is an engine's, and nothing says which; or it cannot be reached from here.
        HoldfastError: one of them could not be pruned; the others were.
    """
    if params["engine"] in WITH_REPOSITORY:
        return [_of_engine(params, check, warnings)]
    done: list[Pruned] = []
    errors: list[str] = []
    named = named_repositories(params)
    for name, options, where in named:
        shelf = Shelf(open_repository(options, where), params["server_name"])
        try:
            done.append(_of_folders(shelf, policy_of(options, params), check, params["lock_wait"], warnings))
        except HoldfastError as exc:
            if len(named) == 1:
                raise
            errors.append(f"{name} failed: {exc}")
    if errors:
        raise HoldfastError(
            f"{len(errors)} of {len(named)} repositories failed. {' '.join(errors)} The others were pruned."
        )
    return done


def _of_folders(shelf: Shelf, policy: Policy, check: bool, lock_wait: int, warnings: list[str]) -> Pruned:
    shelf.repository.check(write=not check)
    with shelf.lock("a prune", warnings) as lock:
        if not check:
            lock.acquire(lock_wait)
        listing = look(shelf)
        _say_whose(shelf, bool(listing.records), warnings)
        if not listing.records and (unknown := shelf.say_if_unknown()):
            warnings.append(unknown)
        known = {record.id: record for record in listing.records}
        decisions = keep_what_lies_elsewhere(plan_prune(listing, policy, warnings), known, warnings)
        leftovers: Sequence[str] = listing.leftovers
        gone = [asdict(decision) for decision in decisions if not decision.keep]
        if not check:
            gone = prune(shelf, decisions, warnings, lock.beat)
            refresh(shelf.repository, shelf.name, NAME)
            leftovers = clean(shelf, leftovers, warnings)
    plan = [f"remove what the interrupted run {leftover} left" for leftover in leftovers]
    plan += [f"delete {entry['id']}: {'; '.join(entry['reasons'])}" for entry in gone]
    return Pruned(plan, gone, decisions)


def _say_whose(shelf: Shelf, ours: bool, warnings: list[str]) -> None:
    """Tell of backups that an engine keeps beside ours, in a form of its own.

    Raises:
        BadOption: there are no others, so that "nothing to delete" would be no answer.
    """
    others = [name for name in engines_keeping(shelf.repository, shelf.name) if name in WITH_REPOSITORY]
    if not others:
        return
    names, where = " and ".join(others), shelf.repository.description
    if not ours:
        raise BadOption("engine", None, f"is not said, and what is in {where} is kept by {names}", _BY_NAME)
    warnings.append(
        f"{where} has backups of {shelf.name} by {names}, too, which this run does not prune. A run with that engine does."
    )


def _of_engine(params: Mapping[str, Any], check: bool, warnings: list[str]) -> Pruned:
    """By the configuration that archives the server's WAL, under the lock of its host, as the retention of a backup is."""
    with workspace() as space, contextlib.closing(Address(params, space).connect()) as connection:
        tier = engine_tier(params, connection, warnings)
        tier.check_configured()
        with tier.lock("a prune") as lock:
            if not check:
                lock.acquire(params["lock_wait"])
            tier.read()
            tier.plan_prune()
            tier.prune(lock.beat, check)
    _say_of_ours(params, warnings)
    plan = [f"delete {entry['id']}: {'; '.join(entry['reasons'])}" for entry in tier.pruned]
    return Pruned(plan, tier.pruned, tier.decisions)


def _say_of_ours(params: Mapping[str, Any], warnings: list[str]) -> None:
    for _name, options, where in named_repositories(params):
        shelf = Shelf(open_repository(options, where), params["server_name"])
        found: Optional[bool] = None
        with contextlib.suppress(RepositoryError):
            found = any(True for _record in shelf.records([]))
        if found:
            warnings.append(
                f"{shelf.repository.description} has backups of {shelf.name} in our folders, too, which this run does not prune. One "
                "without engine does."
            )
