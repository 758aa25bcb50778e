# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run keeps a backup, in one or several tiers, each with a retention of its own. A tier holds our folder in a repository
(``FolderTier``), or the repository of an engine that keeps one (engine_tier.py); a run treats both alike."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Optional, Protocol

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.identity import Identity
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.needless import what_makes_it_needless
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import candidate, clean, plan_prune, prune
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import chain
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing, look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.presence import damage
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.opening import closed
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.preflight import preflight
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.tee import Branch
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


class Held(Protocol):
    """A lock, as a context manager that gives it back."""

    def __enter__(self) -> Held: ...

    def __exit__(self, *exc: object) -> None: ...

    def acquire(self, wait: int) -> None:
        """Take it, waiting for at most so many seconds. Raises LockHeld."""

    def beat(self) -> None:
        """Raise LockHeld when it was taken from us."""


class Tier(abc.ABC):
    """One of the tiers of a run, until ``error`` says why it takes part no more; what was found and done there. What is to be said
    goes to ``warnings``, the run's own list."""

    name: str
    #: what messages call it
    description: str
    error: Optional[HoldfastError]

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings
        #: what has to be agreed to, of the run
        self.consent = Consent()
        #: the backups that are there, oldest id first
        self.known: list[Record] = []
        #: what interrupted runs left, and may go
        self.leftovers: Sequence[str] = ()
        #: the backup that makes another one needless, or that was made
        self.record: Optional[Record] = None
        self.decisions: list[Decision] = []
        self.pruned: list[dict[str, Any]] = []

    @abc.abstractmethod
    def prepare(self, check: bool) -> list[str]:
        """Make it ready, unless ``check``: the steps that this takes. Raises HoldfastError: it cannot be used."""

    @abc.abstractmethod
    def look(self, request: BackupRequest, present: Present) -> None:
        """See what there is: ``known``, ``leftovers``, and in ``record`` what makes another backup needless. Raises HoldfastError."""

    @abc.abstractmethod
    def lock(self, purpose: str) -> Held:
        """The lock on the server's backups here, not yet taken."""

    @abc.abstractmethod
    def clean(self) -> None:
        """Remove the ``leftovers``."""

    @abc.abstractmethod
    def plan_prune(self, own: Optional[Candidate] = None) -> None:
        """Decide what retention lets go (``decisions``); ``own`` is the backup that is to be made. Raises HoldfastError."""

    @abc.abstractmethod
    def prune(self, beat: Callable[[], None]) -> None:
        """Delete what was decided (``pruned``); ``beat``, before each, raises when the lock was lost. Raises HoldfastError."""

    def preflight(self, check: bool) -> None:
        """Look at what forbids to write there, before much is done."""
        return

    def remember(self) -> None:
        """Remember where the backup went that was made."""
        return

    def doubt(self, record: Record) -> Optional[str]:
        """What is wrong with a backup as it lies here; None: nothing that can be seen without reading it."""
        return None

    def check_server(self, system_id: Optional[str]) -> None:
        """That it is another server's has to be agreed to. Raises CatalogError."""
        # One that does not say whose it is (objects of a cluster, snapshots of a server that was not asked) says nothing against it.
        newest = next((record for record in reversed(in_order(self.known)) if record.server.get("system_id")), None)
        before = newest.server.get("system_id") if newest else None
        if newest and before and system_id and before != system_id:
            refusal = CatalogError(
                f"{self.description} holds backups of another server: the newest, {newest.id}, has system identifier {before}, "
                f"this server has {system_id}. Give this server a server_name of its own; if it replaces the other one (pg_upgrade, "
                "a new initdb), set accept_new_server: true for one run."
            )
            self.consent.need(refusal, accept_new_server=True)

    def planned_deletions(self) -> list[tuple[str, str]]:
        """Of the decisions, what goes: id and reasons."""
        return [(item.id, "; ".join(item.reasons)) for item in self.decisions if not item.keep]

    def describe(self) -> dict[str, Any]:
        """For the result."""
        return {
            "name": self.name,
            "repository": self.description,
            "backup": self.record.id if self.record and not self.error else None,
            "error": str(self.error) if self.error else None,
            "pruned": self.pruned,
        }


class FolderTier(Branch, Tier):
    """Our folder in a repository: ``<server>/<id>/…``."""

    def __init__(
        self,
        name: str,
        shelf: Shelf,
        policy: Policy,
        warnings: list[str],
        identity: Optional[Identity] = None,
        accept_new_repository: bool = False,
        encryption: Optional[Encryption] = None,
    ) -> None:
        Branch.__init__(self, shelf.repository)
        Tier.__init__(self, warnings)
        self.name, self.shelf, self.policy = name, shelf, policy
        self.description = f"{shelf.name} in {shelf.repository.description}"
        self.listing = Listing(shelf)
        self._identity, self._accept, self._encryption = identity, accept_new_repository, encryption

    def prepare(self, check: bool) -> list[str]:
        self.repository.check(write=True)
        return []

    def preflight(self, check: bool) -> None:
        report = preflight(self.repository, not check and self.repository.remote)
        doubts = report.errors + (report.warnings if self.repository.remote else [])
        self._warn([f"{self.repository.description}: {message}." for message in doubts])

    def look(self, request: BackupRequest, present: Present) -> None:
        self.listing = look(self.shelf)
        self.known, self.leftovers = self.listing.records, self.listing.leftovers
        self._warn(self.listing.problems)
        if request.id in self.listing.lost + self.listing.unread:
            raise CatalogError(
                f"There is a backup {request.id} in {self.description} already, whose manifest is gone or cannot be read. No backup was made "
                "over it: give this one another backup_id, bring that manifest back, or delete that one first (state: absent)."
            )
        said: list[str] = []
        if self._identity is not None:
            moved = self._identity.check(self.known, self._accept, self.consent)
            said += [moved] if moved else []
        self.record = what_makes_it_needless(self.known, request, present, utcnow(), self.doubt, said, self._closed)
        self._warn(said)

    def _closed(self, record: Record) -> Optional[str]:
        return closed(self.shelf, record, self._encryption)

    def remember(self) -> None:
        if self._identity is not None and self.record is not None:
            trouble = self._identity.remember(self.record)
            self._warn([trouble] if trouble else [])

    def doubt(self, record: Record) -> Optional[str]:
        return damage(self.shelf, record)

    def beyond(self, record: Record) -> Optional[str]:
        """What is wrong with what a backup has elsewhere than in the repository; None: nothing, or it has nothing there."""
        return None

    def lock(self, purpose: str) -> Held:
        return self.shelf.lock(purpose, self.warnings)

    def verify(self, record: Record, on_bytes: Any) -> None:
        """Read all of it back. Raises CatalogError: something is missing, or differs."""
        self.shelf.verify(record, on_bytes)

    def clean(self) -> None:
        clean(self.shelf, self.leftovers, self.warnings)

    def plan_prune(self, own: Optional[Candidate] = None) -> None:
        if not self.policy.buckets and not self.policy.limits:
            return
        if own is None and self.record is not None:
            own = replace(candidate(self.record), new=True)
        self.decisions = plan_prune(self.listing, self.policy, self.warnings, own, self.beyond)

    def prune(self, beat: Callable[[], None]) -> None:
        self.pruned = prune(self.shelf, self.decisions, self.warnings, beat)
        refresh(self.repository, self.shelf.name, NAME)

    def missing_of(self, record: Record, donor: FolderTier) -> list[Record]:
        """A backup of the ``donor`` and those that it is based on, as far as they are not here, the first one first. Raises
        CatalogError."""
        there = {known.id for known in self.known}
        return [link for link in chain(record, {known.id: known for known in donor.known}) if link.id not in there]

    def forget(self, backup_id: str) -> bool:
        """Remove what a failed run wrote, so far as the store lets us; the next run does the rest. Returns whether all went."""
        try:
            self.shelf.remove(backup_id)
        except HoldfastError:
            return False
        return True

    def _warn(self, messages: Sequence[str]) -> None:
        self.warnings += [message for message in dict.fromkeys(messages) if message not in self.warnings]
