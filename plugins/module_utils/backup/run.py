# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup, from the lock to retention, into one tier or several at once, by whatever engine."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Generic, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy_one import copy_backup
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import Maker, OneTier
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import (
    BackupRequest,
    BackupResult,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier, Held, Tier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, Incomplete, Unfinished
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import achieved
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


class BackupRun(Generic[OneTier]):
    """A backup of one server in each of ``tiers``. One that fails is left behind, the others get their backup, and the run fails at its
    end, saying which has what."""

    def __init__(
        self,
        tiers: Sequence[OneTier],
        maker: Maker[OneTier],
        request: BackupRequest,
        progress: Progress,
        result: BackupResult,
    ) -> None:
        self.tiers, self._maker, self._request, self._progress = tiers, maker, request, progress
        self._locks: list[tuple[OneTier, Held]] = []
        self._present, self._consent = Present(), Consent()
        self.result = result

    def run(self, check: bool) -> BackupResult:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: its message is for the user; nothing that was there before is lost.
        """
        self._consent = Consent(looking=check)
        for tier in self.tiers:
            tier.consent = self._consent
        try:
            self._run(check)
        except HoldfastError as exc:
            if self._consent.refusal is None:
                raise
            # Without what is missing no plan can be made: that is what has to be said.
            raise self._consent.refusal from exc
        self.result.plan += self._consent.steps()
        self.result.consent = self._consent.missing
        return self.result

    def _run(self, check: bool) -> None:
        self._maker.check()
        self._each(self.tiers, lambda tier: self._prepare(tier, check))
        self._present = self._maker.present()
        self._each(self.tiers, self._look)
        if self._due():
            self._each(self._due(), lambda tier: tier.preflight(check))
        due = self._due()
        if not due:
            self._each(self.tiers, lambda tier: self._adjust(tier, check))
        elif donor := self._donor():
            self._catch_up(donor, due, check)
        else:
            self._back_up(due, check)
        self._judge()

    def check_complete(self, result: dict[str, Any]) -> None:
        """Raise Incomplete, with the module's result, when databases that were asked for are not in the backup that was made."""
        failed, record = self.result.failed, self.result.record
        if failed and record:
            told = " ".join(f"{name!r}: {reason}" for name, reason in failed.items())
            for reason in failed.values():
                result = {**reason.result(), **result}
            rest = ", ".join(entry["name"] for entry in record.databases)
            raise Incomplete(
                f"{len(failed)} of {len(failed) + len(record.databases)} databases could not be dumped. {told} The backup {record.id} "
                f"has the others ({rest}), verified, and is no backup of all.",
                result,
            )

    # Tiers that fail, and those that are left

    def _each(self, tiers: Sequence[OneTier], work: Callable[[OneTier], None]) -> None:
        """Do ``work`` for each tier that takes part. With one tier, or when none is left, its error is raised."""
        for tier in tiers:
            if tier.error is None:
                try:
                    work(tier)
                except HoldfastError as exc:
                    tier.error = exc
        if all(tier.error for tier in self.tiers):
            self._judge()

    def _judge(self) -> None:
        """Raise when a tier failed, saying which has what."""
        failed = [tier for tier in self.tiers if tier.error]
        if not failed:
            return
        error: Exception = failed[0].error or HoldfastError("A repository failed, and nothing says why.")
        if len(self.tiers) > 1:
            told = [
                f"{tier.name} failed: {tier.error}"
                if tier.error
                else f"{tier.name} has the backup {tier.record.id}, verified."
                if tier.record
                else f"{tier.name} is as it was."
                for tier in self.tiers
            ]
            error = HoldfastError(f"{len(failed)} of {len(self.tiers)} repositories failed. {' '.join(told)}")
        if self.result.changed and self.result.record is not None:
            raise Unfinished(str(error), self.result.record.to_dict()) from failed[0].error
        raise error

    def _due(self) -> list[OneTier]:
        return [tier for tier in self.tiers if tier.error is None and tier.record is None]

    def _donor(self) -> Optional[OneTier]:
        """A tier that has what others lack."""
        return next((tier for tier in self.tiers if tier.error is None and tier.record is not None), None)

    def _in(self, tier: Tier) -> str:
        return "" if len(self.tiers) == 1 else f" in {tier.name}"

    # Looking

    def _prepare(self, tier: OneTier, check: bool) -> None:
        steps = tier.prepare(check)
        self.result.plan += steps
        self.result.changed |= bool(steps)

    def _look(self, tier: OneTier) -> None:
        tier.look(self._request, self._present)
        if self.result.record is None:
            self.result.record = tier.record

    def _adjust(self, tier: OneTier, check: bool) -> None:
        """Pins and annotations of a backup that exists follow what is asked."""
        record, wish = tier.record, self._request
        if not wish.id or record is None or not isinstance(tier, FolderTier):
            return
        if wish.pinned in (None, record.pinned) and wish.annotations in (None, record.annotations):
            return
        self.result.changed = True
        self.result.plan.append(f"change pin and annotations of {record.id}" + self._in(tier))
        if check:
            return
        with tier.lock("a change of a manifest") as lock:
            lock.acquire(wish.lock_wait)
            known, self.result.record = self.result.record, None
            record = tier.shelf.get(record.id)  # who had the lock may have deleted it: a manifest alone is no backup
            record.pinned = record.pinned if wish.pinned is None else wish.pinned
            record.annotations = record.annotations if wish.annotations is None else wish.annotations
            tier.shelf.write(record)
            tier.record = record
            self.result.record = known if known is not None and known.id != record.id else record

    # A tier that lacks what another one has

    def _catch_up(self, donor: OneTier, due: Sequence[OneTier], check: bool) -> None:
        """A tier that failed last time gets the backup that another one has: no second dump, and the same in each."""
        record = donor.record
        if record is None or not isinstance(donor, FolderTier):
            raise AssertionError("only a folder that has the backup can give it")
        self.result.changed, self.result.record = True, record
        self.result.plan += [f"copy {record.id} from {donor.name} to {tier.name}, verified" for tier in due]
        if check:
            self._each(due, lambda tier: self._plan_prune(tier, None, record))
            return

        def copy(tier: OneTier) -> None:
            if not isinstance(tier, FolderTier):
                raise AssertionError("only a folder can be given a backup")
            self._progress.step(f"copying to {tier.name}", record.size)
            with tier.lock("a copy") as lock:
                lock.acquire(self._request.lock_wait)
                self._locks.append((tier, lock))
                self._look(tier)
                if tier.record is not None:
                    return  # another run did it while we waited
                tier.clean()
                for link in tier.missing_of(record, donor):
                    lock.beat()
                    copied, _by_store = copy_backup(
                        link, donor.shelf, tier.shelf, on_bytes=lambda done: self._progress.tell(done, None)
                    )
                    tier.record = copied if link.id == record.id else tier.record
                lock.beat()
                tier.remember()
                self._prune(tier)

        self._each(due, copy)

    # A backup

    def _back_up(self, due: Sequence[OneTier], check: bool) -> None:
        backup_id = self._request.id or f"{utcnow():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        plan = self._maker.plan(backup_id, due, self._each, check)
        if not self._request.accept_new_server:
            system_id = plan.system_id or self._present.system_id
            self._each(due, lambda tier: tier.check_server(system_id))
        due = [tier for tier in due if tier.error is None]
        self.result.changed = True
        before = list(self.result.plan)
        self.result.plan += [
            f"remove what the interrupted run {leftover} left{self._in(tier)}"
            for tier in due
            for leftover in tier.leftovers
        ]
        self.result.plan += plan.steps
        if check:
            self._each(due, lambda tier: self._plan_prune(tier, plan.candidate))
            return
        with contextlib.ExitStack() as held:
            self._each(due, lambda tier: self._hold(tier, held))
            # The world may have changed while we waited: another run may just have made what we want.
            self._each(due, self._look)
            if any(tier.record is not None for tier in due):
                self.result.changed, self.result.plan = bool(before), before
            else:
                self._make(backup_id, due)
        donor, lacking = self._donor(), self._due()
        if donor is not None and lacking:  # that run went to some of the places only
            self._locks.clear()
            self._catch_up(donor, lacking, check)

    def _make(self, backup_id: str, due: Sequence[OneTier]) -> None:
        """Make it, under the locks, and prune."""
        self._each(due, lambda tier: tier.clean())
        living = [tier for tier in due if tier.error is None]
        self.result.record = None
        self.result.record = self._maker.make(backup_id, living, self._each, self._beat)
        achieved(f"The backup {backup_id} was made, and is verified.")
        self._each(due, lambda tier: tier.remember())
        self._each(due, self._prune)

    def _hold(self, tier: OneTier, held: contextlib.ExitStack) -> None:
        lock = held.enter_context(tier.lock("a backup"))
        lock.acquire(self._request.lock_wait)
        self._locks.append((tier, lock))

    def _beat(self) -> None:
        """A lock that was lost takes its tier out; the only tier's is the run's end."""
        for tier, lock in self._locks:
            if tier.error is None:
                try:
                    lock.beat()
                except HoldfastError as exc:
                    if len(self.tiers) == 1:
                        raise
                    tier.error = exc

    def _still_held(self, tier: OneTier) -> None:
        """Raise LockHeld when a tier's lock was lost: without it nothing is deleted."""
        for other, lock in self._locks:
            if other is tier:
                lock.beat()

    # Retention

    def _plan_prune(self, tier: OneTier, own: Optional[Candidate], copied: Optional[Record] = None) -> None:
        if copied is not None:
            tier.record = copied
        tier.plan_prune(own)
        if copied is not None:
            tier.record = None
        self.result.plan += [f"delete {name}{self._in(tier)}: {reasons}" for name, reasons in tier.planned_deletions()]

    def _prune(self, tier: OneTier) -> None:
        if tier.record is None:
            return
        self._plan_prune(tier, None)
        if tier.planned_deletions():
            self._progress.step("deleting what retention lets go")
        try:
            tier.prune(lambda: self._still_held(tier))
        except HoldfastError as exc:
            raise Unfinished(
                f"{tier.record.id} is made, and the retention was not carried out. {exc}", tier.record.to_dict()
            ) from exc
