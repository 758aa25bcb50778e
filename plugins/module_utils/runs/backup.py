# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup, from the lock to the manifest."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.base import Engine, Folder, Plan
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    HoldfastError,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.runs.prune import (
    candidate,
    plan_prune,
    prune,
    scope_group,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time, utcnow


@dataclass
class Wish:
    """What the user wants of a backup, apart from the engine's options. ``max_age`` and ``lock_wait`` are seconds."""

    id: Optional[str]
    max_age: Optional[int]
    lock_wait: int
    pinned: Optional[bool]
    annotations: Optional[dict[str, str]]
    policy: Policy
    accept_new_server: bool
    created_by: str


@dataclass
class Outcome:
    """What a run did, or would do."""

    changed: bool = False
    record: Optional[Record] = None
    plan: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    pruned: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class BackupRun:
    """A backup of one server into one repository, with one engine.

    ``make_engine`` is called only when a backup is due: looking at the server costs time.
    """

    def __init__(
        self,
        shelf: Shelf,
        make_engine: Callable[[], Engine],
        scope: dict[str, Any],
        wish: Wish,
        compression: Compression,
        encryption: Encryption,
        instructions: Callable[[Record], str],
        progress: Progress,
    ) -> None:
        self._shelf, self._make_engine, self._scope, self._wish = shelf, make_engine, scope, wish
        self._compression, self._encryption = compression, encryption
        self._instructions, self._progress = instructions, progress
        self.outcome = Outcome()

    def run(self, check: bool) -> Outcome:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user; nothing that was there before is lost.
        """
        self._shelf.repository.check(write=True)
        self._compression.check()
        self._encryption.check()
        known, leftovers = self._look()
        standing = self._stands(known)
        if standing is not None:
            self.outcome.record = standing
            self._adjust(standing, check)
            return self.outcome
        engine = self._make_engine()
        plan = engine.plan()
        self._check_same_server(known, plan)
        self._check_space(known, plan)
        backup_id = self._wish.id or f"{utcnow():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.outcome.changed = True
        self.outcome.plan = [
            *(f"remove what the interrupted run {leftover} left" for leftover in leftovers),
            *plan.steps,
            f"keep it as {self._shelf.name}/{backup_id} in {self._shelf.repository.description}, verified",
        ]
        if check:
            group = scope_group(engine.name, plan.scope)
            self._plan_prune(Candidate(backup_id, utcnow(), True, bool(self._wish.pinned), new=True, group=group))
            return self.outcome
        with self._shelf.lock("a backup") as lock:
            warning = lock.acquire(self._wish.lock_wait)
            self.outcome.warnings += [warning] if warning else []
            # The world may have changed while we waited: another run may just have made what we want.
            known, leftovers = self._look(warn=False)
            standing = self._stands(known)
            if standing is not None:
                self.outcome.record, self.outcome.changed, self.outcome.plan = standing, False, []
                return self.outcome
            for leftover in leftovers:
                self._shelf.remove(leftover)
            tell = self._progress.tell

            def tell_and_beat(done: Optional[int], stored: Optional[int]) -> None:
                lock.beat()
                tell(done, stored)

            self._progress.tell = tell_and_beat  # type: ignore[method-assign]
            self.outcome.record = self._make(engine, plan, backup_id)
            self._plan_prune(replace(candidate(self.outcome.record), new=True))
            self.outcome.pruned = prune(self._shelf, self.outcome.decisions)
        return self.outcome

    def _look(self, warn: bool = True) -> tuple[list[Record], list[str]]:
        problems: list[str] = []
        leftovers: list[str] = []
        known = list(self._shelf.records(problems, leftovers))
        if warn:
            self.outcome.warnings += problems
        return known, leftovers

    def _stands(self, known: list[Record]) -> Optional[Record]:
        """The backup that makes another one needless: of the wished id, or verified and fresh enough."""
        if self._wish.id:
            return next((record for record in known if record.id == self._wish.id), None)
        if self._wish.max_age is None:
            return None
        fresh = None
        for record in known:
            if record.engine == "pg_dump" and record.scope == self._scope and record.verified_at:
                age = (utcnow() - parse_time(record.stopped_at, "stopped_at")).total_seconds()
                if age < -60:
                    word = f"The backup {record.id} is from the future ({record.stopped_at}): was this host's clock set back?"
                    if word not in self.outcome.warnings:
                        self.outcome.warnings.append(word)
                elif age <= self._wish.max_age:
                    fresh = record
        return fresh

    def _adjust(self, record: Record, check: bool) -> None:
        """Pins and annotations of a backup that exists follow the wish."""
        if not self._wish.id:
            return
        pinned = record.pinned if self._wish.pinned is None else self._wish.pinned
        annotations = record.annotations if self._wish.annotations is None else self._wish.annotations
        if (pinned, annotations) == (record.pinned, record.annotations):
            return
        self.outcome.changed = True
        self.outcome.plan = [f"change pin and annotations of {record.id}"]
        if check:
            return
        with self._shelf.lock("a change of a manifest") as lock:
            lock.acquire(self._wish.lock_wait)
            record.pinned, record.annotations = pinned, annotations
            self._shelf.write(record)

    def _check_same_server(self, known: list[Record], plan: Plan) -> None:
        newest = max(known, key=lambda record: record.stopped_at, default=None)
        if newest is None or self._wish.accept_new_server:
            return
        before, now = newest.server.get("system_id"), plan.server.get("system_id")
        if before and now and before != now:
            raise CatalogError(
                f"{self._shelf.name} in {self._shelf.repository.description} holds backups of another server: the newest, "
                f"{newest.id}, has system identifier {before}, this server has {now}. Give this server a server_name of its "
                "own; if it replaces the other one (pg_upgrade, a new initdb), set accept_new_server: true for one run."
            )

    def _check_space(self, known: list[Record], plan: Plan) -> None:
        """Refuse early what cannot fit: judged by the last backup of the same scope, where there is one."""
        free = self._shelf.repository.free_bytes()
        same = [
            record
            for record in known
            if record.scope == plan.scope and record.compression == self._compression.describe()
        ]
        if free is None or not same:
            return
        expected = same[-1].size
        if expected > free:
            raise RepositoryError(
                f"{self._shelf.repository.description} has {free} bytes left; the last backup like this one took {expected}. "
                "Free some space, shorten the retention and prune, or use a larger disk. No backup was made."
            )

    def _make(self, engine: Engine, plan: Plan, backup_id: str) -> Record:
        folder = Folder(self._shelf, backup_id, self._compression, self._encryption, self._progress)
        started = utcnow()
        try:
            draft = engine.back_up(folder)
            record = Record(
                id=backup_id,
                engine=engine.name,
                kind=engine.kind,
                engine_version=engine.version,
                server={"name": self._shelf.name, **plan.server},
                started_at=format_time(started),
                stopped_at=format_time(utcnow()),
                start_lsn=draft.start_lsn,
                stop_lsn=draft.stop_lsn,
                scope=plan.scope,
                consistency=draft.consistency,
                databases=draft.databases,
                compression=self._compression.describe(),
                encryption=self._encryption.describe(),
                artifacts=folder.artifacts,
                created_by=self._wish.created_by,
                pinned=bool(self._wish.pinned),
                annotations=self._wish.annotations or {},
                warnings=draft.warnings,
            )
            self._progress.step("reading the backup back", record.size)
            self._shelf.verify(record, lambda read: self._progress.tell(read, None))
            record.verified_at = format_time(utcnow())
            self._shelf.repository.write(self._shelf.key(backup_id, INSTRUCTIONS), self._instructions(record).encode())
            self._shelf.write(record)
        except BaseException:
            self._forget(backup_id)
            raise
        self.outcome.warnings += draft.warnings
        return record

    def _forget(self, backup_id: str) -> None:
        """Remove what a failed run wrote, so far as the store lets us; the next run does the rest."""
        with contextlib.suppress(HoldfastError):
            self._shelf.remove(backup_id)

    def _plan_prune(self, own: Candidate) -> None:
        policy = self._wish.policy
        if not policy.buckets and not policy.limits:
            return
        self.outcome.decisions = plan_prune(self._shelf, policy, self.outcome.warnings, own)
        self.outcome.plan += [
            f"delete {decision.id}: {'; '.join(decision.reasons)}"
            for decision in self.outcome.decisions
            if not decision.keep
        ]
