# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup, from the lock to the manifest, into one repository or several at once (tiers)."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional, cast

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy import copy_backup
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import (
    candidate,
    clean,
    plan_prune,
    prune,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import Tier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing, look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import key_of
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS, NAME
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.stream_engine import Folder, Plan, StreamEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    HoldfastError,
    Incomplete,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.preflight import preflight
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.tee import Tee
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import (
    format_exact,
    format_time,
    now,
    parse_time,
    utcnow,
)


@dataclass
class Wish:
    """What the user wants of a backup, apart from the engine's options. ``max_age`` and ``lock_wait`` are seconds."""

    id: Optional[str]
    max_age: Optional[int]
    lock_wait: int
    pinned: Optional[bool]
    annotations: Optional[dict[str, str]]
    accept_new_server: bool
    created_by: str
    engine: str
    #: kinds of a fresh backup that make another one needless
    enough: Sequence[str]


@dataclass
class Outcome:
    """What a run did, or would do."""

    changed: bool = False
    record: Optional[Record] = None
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: databases that could not be dumped, each with the reason
    failed: dict[str, HoldfastError] = field(default_factory=dict)


class BackupRun:
    """A backup of one server into one repository or several, with one engine.

    ``make_engine`` is called with what the tiers have that lack one, and only then: looking at the server costs time. A repository that fails is left
    behind, the others get their backup, and the run fails at its end, saying which has what.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        make_engine: Callable[[Sequence[Listing]], StreamEngine],
        scope: dict[str, Any],
        wish: Wish,
        compression: Compression,
        encryption: Encryption,
        instructions: Callable[[Record], str],
        progress: Progress,
    ) -> None:
        self.tiers, self._make_engine, self._scope, self._wish = tiers, make_engine, scope, wish
        self._compression, self._encryption = compression, encryption
        self._instructions, self._progress = instructions, progress
        self._locks: list[tuple[Tier, Lock]] = []
        self.outcome = Outcome()

    def run(self, check: bool) -> Outcome:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user; nothing that was there before is lost.
        """
        self._compression.check()
        self._encryption.check(encrypting=True)
        self._each(self.tiers, lambda tier: tier.repository.check(write=True))
        self._each(self.tiers, self._look)
        if self._due():
            self._each(self._due(), lambda tier: self._preflight(tier, check))
        due = self._due()
        if not due:
            self._each(self.tiers, lambda tier: self._adjust(tier, check))
        elif donor := self._donor():
            self._catch_up(donor, due, check)
        else:
            self._back_up(due, check)
        self._judge()
        return self.outcome

    def check_complete(self, result: dict[str, Any]) -> None:
        """Raise Incomplete, with the module's result, when databases that were asked for are not in the backup that was made."""
        if self.outcome.failed and self.outcome.record:
            words = " ".join(f"{name!r}: {reason}" for name, reason in self.outcome.failed.items())
            for reason in self.outcome.failed.values():
                result = {**reason.result(), **result}
            rest = ", ".join(entry["name"] for entry in self.outcome.record.databases)
            raise Incomplete(
                f"{len(self.outcome.failed)} of {len(self.outcome.failed) + len(self.outcome.record.databases)} databases could not be "
                f"dumped. {words} The backup {self.outcome.record.id} has the others ({rest}), verified, and is no backup of all.",
                result,
            )

    def _preflight(self, tier: Tier, check: bool) -> None:
        report = preflight(tier.repository, not check and tier.repository.remote)
        doubts = report.errors + (report.warnings if tier.repository.remote else [])
        self.outcome.warnings += [f"{tier.repository.description}: {words}." for words in doubts]

    def _each(self, tiers: Sequence[Tier], work: Callable[[Tier], None]) -> None:
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
        if len(self.tiers) == 1 and failed[0].error:
            raise failed[0].error
        words = [
            f"{tier.name} failed: {tier.error}"
            if tier.error
            else f"{tier.name} has the backup {tier.record.id}, verified."
            if tier.record
            else f"{tier.name} is as it was."
            for tier in self.tiers
        ]
        raise HoldfastError(f"{len(failed)} of {len(self.tiers)} repositories failed. {' '.join(words)}")

    def _due(self) -> list[Tier]:
        return [tier for tier in self.tiers if tier.error is None and tier.record is None]

    def _donor(self) -> Optional[Tier]:
        """A tier that has what others lack."""
        return next((tier for tier in self.tiers if tier.error is None and tier.record is not None), None)

    def _look(self, tier: Tier) -> None:
        tier.listing = look(tier.shelf)
        self.outcome.warnings += [message for message in tier.listing.problems if message not in self.outcome.warnings]
        tier.record = self._stands(tier.listing.records)
        if self.outcome.record is None:
            self.outcome.record = tier.record

    def _stands(self, known: list[Record]) -> Optional[Record]:
        """The backup that makes another one needless: of the wished id, or verified and fresh enough."""
        if self._wish.id:
            return next((record for record in known if record.id == self._wish.id), None)
        if self._wish.max_age is None:
            return None
        fresh = None
        for record in known:
            same = (
                record.engine == self._wish.engine and record.kind in self._wish.enough and record.scope == self._scope
            )
            if same and record.verified_at:
                age = (utcnow() - parse_time(record.stopped_at, "stopped_at")).total_seconds()
                if age < -60:
                    word = f"The backup {record.id} is from the future ({record.stopped_at}): was this host's clock set back?"
                    if word not in self.outcome.warnings:
                        self.outcome.warnings.append(word)
                elif age <= self._wish.max_age:
                    fresh = record
        return fresh

    def _adjust(self, tier: Tier, check: bool) -> None:
        """Pins and annotations of a backup that exists follow the wish."""
        record = tier.record
        if not self._wish.id or record is None:
            return
        pinned = record.pinned if self._wish.pinned is None else self._wish.pinned
        annotations = record.annotations if self._wish.annotations is None else self._wish.annotations
        if (pinned, annotations) == (record.pinned, record.annotations):
            return
        self.outcome.changed = True
        self.outcome.plan.append(f"change pin and annotations of {record.id}" + self._in(tier))
        if check:
            return
        with tier.shelf.lock("a change of a manifest", self.outcome.warnings) as lock:
            lock.acquire(self._wish.lock_wait)
            record.pinned, record.annotations = pinned, annotations
            tier.shelf.write(record)

    def _in(self, tier: Tier) -> str:
        return "" if len(self.tiers) == 1 else f" in {tier.name}"

    def _catch_up(self, donor: Tier, due: list[Tier], check: bool) -> None:
        """A tier that failed last time gets the backup that another one has: no second dump, and the same in each."""
        record = cast(Record, donor.record)
        self.outcome.changed, self.outcome.record = True, record
        self.outcome.plan += [f"copy {record.id} from {donor.name} to {tier.name}, verified" for tier in due]
        if check:
            self._each(due, lambda tier: self._plan_prune(tier, replace(candidate(record), new=True)))
            return

        def copy(tier: Tier) -> None:
            self._progress.step(f"copying to {tier.name}", record.size)
            with tier.shelf.lock("a copy", self.outcome.warnings) as lock:
                lock.acquire(self._wish.lock_wait)
                self._clean(tier)
                for needed in self._chain(record, donor, tier):
                    tier.record, _by_store = copy_backup(
                        needed, donor.shelf, tier.shelf, on_bytes=lambda done: self._progress.tell(done, None)
                    )
                self._prune(tier)

        self._each(due, copy)

    @staticmethod
    def _chain(record: Record, donor: Tier, tier: Tier) -> list[Record]:
        """A backup and those it needs, as far as the tier lacks them, the first one first."""
        there, by_id = (
            {known.id for known in tier.listing.records},
            {known.id: known for known in donor.listing.records},
        )
        chain = [record]
        while (parent := chain[0].parent) and parent not in there and parent in by_id:
            chain.insert(0, by_id[parent])
        return chain

    def _back_up(self, due: list[Tier], check: bool) -> None:
        engine = self._make_engine([tier.listing for tier in due])
        plan = engine.plan()
        self._each(due, lambda tier: self._check_same_server(tier, plan))
        self._each(due, lambda tier: self._check_space(tier, plan, engine))
        due = [tier for tier in due if tier.error is None]
        backup_id = self._wish.id or f"{utcnow():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.outcome.changed = True
        self.outcome.plan = [
            f"remove what the interrupted run {leftover} left{self._in(tier)}"
            for tier in due
            for leftover in tier.listing.leftovers
        ]
        self.outcome.plan += plan.steps
        self.outcome.warnings += plan.warnings
        self.outcome.plan += [
            f"keep it as {tier.shelf.name}/{backup_id} in {tier.repository.description}, verified" for tier in due
        ]
        if check:
            group = key_of(engine.name, self._encryption.describe(), plan.scope)
            own = Candidate(backup_id, utcnow(), True, bool(self._wish.pinned), engine.parent, new=True, group=group)
            self._each(due, lambda tier: self._plan_prune(tier, own))
            return
        with contextlib.ExitStack() as held:
            self._each(due, lambda tier: self._hold(tier, held))
            # The world may have changed while we waited: another run may just have made what we want.
            self._each(due, self._look)
            if any(tier.record is not None for tier in due):
                self.outcome.changed, self.outcome.plan = False, []
                return
            self._each(due, self._clean)
            tell = self._progress.tell

            def tell_and_beat(done: Optional[int], stored: Optional[int]) -> None:
                self._beat()
                tell(done, stored)

            self._progress.tell = tell_and_beat  # type: ignore[method-assign]
            with contextlib.ExitStack() as stack:
                self._make(engine, plan, backup_id, [tier for tier in due if tier.error is None], stack)
            with remains(f"The backup {backup_id} was made, and is verified."):
                self._each(due, self._prune)

    def _hold(self, tier: Tier, held: contextlib.ExitStack) -> None:
        lock = held.enter_context(tier.shelf.lock("a backup", self.outcome.warnings))
        lock.acquire(self._wish.lock_wait)
        self._locks.append((tier, lock))

    def _beat(self) -> None:
        """Say that we live. A lock that was lost takes its tier out; the only tier's is the run's end."""
        for tier, lock in self._locks:
            if tier.error is None:
                try:
                    lock.beat()
                except HoldfastError as exc:
                    if len(self.tiers) == 1:
                        raise
                    tier.error = exc

    def _clean(self, tier: Tier) -> None:
        clean(tier.shelf, tier.listing.leftovers, self.outcome.warnings)

    def _check_same_server(self, tier: Tier, plan: Plan) -> None:
        newest = max(tier.listing.records, key=lambda record: record.stopped_at, default=None)
        if newest is None or self._wish.accept_new_server:
            return
        before, now = newest.server.get("system_id"), plan.server.get("system_id")
        if before and now and before != now:
            raise CatalogError(
                f"{tier.shelf.name} in {tier.repository.description} holds backups of another server: the newest, "
                f"{newest.id}, has system identifier {before}, this server has {now}. Give this server a server_name of its "
                "own; if it replaces the other one (pg_upgrade, a new initdb), set accept_new_server: true for one run."
            )

    def _check_space(self, tier: Tier, plan: Plan, engine: StreamEngine) -> None:
        """Refuse early what cannot fit: judged by the last backup of the same scope, where there is one."""
        free = tier.repository.free_bytes()
        same = [
            record
            for record in tier.listing.records
            if record.engine == engine.name
            and record.kind == engine.kind
            and record.scope == plan.scope
            and record.compression == self._compression.describe()
        ]
        if free is None or not same:
            return
        expected = same[-1].size
        if expected > free:
            raise RepositoryError(
                f"{tier.repository.description} has {free} bytes left; the last backup like this one took {expected}. "
                "Free some space, shorten the retention and prune, or use a larger disk. No backup was made."
            )

    def _make(
        self, engine: StreamEngine, plan: Plan, backup_id: str, tiers: list[Tier], stack: contextlib.ExitStack
    ) -> None:
        tee = Tee(tiers)

        def discard(name: str) -> None:
            # What a store does not let go is named in no manifest.
            for tier in tiers:
                with contextlib.suppress(HoldfastError):
                    tier.repository.delete(tier.shelf.key(backup_id, name))

        folder = Folder(
            lambda name: tee.sink(f"{tiers[0].shelf.name}/{backup_id}/{name}"),
            self._compression,
            self._encryption,
            self._progress,
            discard,
        )
        left = stack.enter_context(
            remains(f"Of the backup {backup_id} there is a part, without a manifest: the next run removes it.")
        )
        started = now()
        try:
            draft = engine.back_up(folder)
            record = Record(
                id=backup_id,
                engine=engine.name,
                kind=engine.kind,
                engine_version=engine.version,
                server={"name": tiers[0].shelf.name, **plan.server, **draft.server},
                started_at=format_exact(started),
                stopped_at=format_exact(now()),
                start_lsn=draft.start_lsn,
                stop_lsn=draft.stop_lsn,
                scope=plan.scope if draft.scope is None else draft.scope,
                consistency=draft.consistency,
                databases=draft.databases,
                compression=self._compression.describe(),
                encryption=self._encryption.describe(),
                artifacts=folder.artifacts,
                created_by=self._wish.created_by,
                parent=engine.parent,
                pinned=bool(self._wish.pinned),
                annotations=self._wish.annotations or {},
                warnings=draft.warnings,
                left_out=draft.left_out,
            )
            self._progress.step("reading the backup back", record.size)
            self._read_back(record, tiers)
            record.verified_at = format_time(utcnow())
            text = self._instructions(record).encode()

            def finish(tier: Tier) -> None:
                tier.repository.write(tier.shelf.key(backup_id, INSTRUCTIONS), text, lasting=True)
                tier.shelf.write(record)
                tier.record = record

            self._each(tiers, finish)
        except BaseException:
            if all([self._forget(tier, backup_id) for tier in tiers]):
                left.now(
                    "What it had written was removed, and backups that were there before are as they were.",
                    changed=False,
                )
            raise
        for tier in tiers:
            if tier.error is not None:
                self._forget(tier, backup_id)
        self.outcome.record, self.outcome.failed = record, draft.failed
        self.outcome.warnings += draft.warnings

    def _read_back(self, record: Record, tiers: list[Tier]) -> None:
        """Verify in every tier at once; the first one shows the progress."""
        living = [tier for tier in tiers if tier.error is None]

        def verify(tier: Tier) -> None:
            def heard(done: int) -> None:
                if tier is living[0]:
                    self._progress.tell(done, None)

            tier.shelf.verify(record, heard)

        others = [(tier, Background(lambda tier=tier: verify(tier))) for tier in living[1:]]  # type: ignore[misc]
        self._each(living[:1], verify)
        for tier, reading in others:
            while not reading.done():
                reading.wait(5)
                self._beat()
            self._each([tier], lambda _tier, reading=reading: reading.result())  # type: ignore[misc]

    @staticmethod
    def _forget(tier: Tier, backup_id: str) -> bool:
        """Remove what a failed run wrote, so far as the store lets us; the next run does the rest. Returns whether all went."""
        try:
            tier.shelf.remove(backup_id)
        except HoldfastError:
            return False
        return True

    def _plan_prune(self, tier: Tier, own: Candidate) -> None:
        if not tier.policy.buckets and not tier.policy.limits:
            return
        tier.decisions = plan_prune(tier.listing, tier.policy, self.outcome.warnings, own)
        self.outcome.plan += [
            f"delete {decision.id}{self._in(tier)}: {'; '.join(decision.reasons)}"
            for decision in tier.decisions
            if not decision.keep
        ]

    def _prune(self, tier: Tier) -> None:
        if tier.record is not None:
            self._plan_prune(tier, replace(candidate(tier.record), new=True))
            tier.pruned = prune(tier.shelf, tier.decisions, self.outcome.warnings)
            refresh(tier.repository, tier.shelf.name, NAME)
