# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a backup comes into being: what a run knows of the engine that makes it."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Optional, TypeVar

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest, BackupResult
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier, Tier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import INSTRUCTIONS
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import Folder, FolderEngine, Plan
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    HoldfastError,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import sign
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.tee import Tee
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, format_time, now, utcnow

OneTier = TypeVar("OneTier", bound=Tier)
Each = Callable[[Sequence[OneTier], Callable[[OneTier], None]], None]


@dataclass(frozen=True)
class MakingPlan:
    """What would be made: ``steps``, lines of the plan, of which server, and how retention will see it."""

    steps: Sequence[str]
    system_id: Optional[str]
    candidate: Candidate


class Maker(abc.ABC, Generic[OneTier]):
    """Makes a backup in every tier that lacks one."""

    @abc.abstractmethod
    def check(self) -> None:
        """See whether all programs are there. Raises ToolError."""

    @abc.abstractmethod
    def present(self) -> Present:
        """Where the server is now. Raises ServerError."""

    @abc.abstractmethod
    def plan(self, backup_id: str, tiers: Sequence[OneTier], each: Each[OneTier], check: bool) -> MakingPlan:
        """Look at all that the run needs; ``check``: it is not made then. Raises what the run would."""

    @abc.abstractmethod
    def make(self, backup_id: str, tiers: Sequence[OneTier], each: Each[OneTier], beat: Callable[[], None]) -> Record:
        """Make it, verify it, and set each tier's ``record``. ``beat`` is called now and then.

        Raises:
            HoldfastError: nothing is left that looks like a backup.
        """


class FolderMaker(Maker[FolderTier]):
    """A backup by an engine that writes into our folders. ``make_engine`` is called with what the tiers have that lack one, and only
    then: looking at the server costs time."""

    def __init__(
        self,
        make_engine: Callable[[Sequence[Listing]], FolderEngine],
        look_at_server: Callable[[], Present],
        request: BackupRequest,
        compression: Compression,
        encryption: Encryption,
        instructions: Callable[[Record], str],
        progress: Progress,
        result: BackupResult,
    ) -> None:
        self._make_engine, self._look_at_server, self._request = make_engine, look_at_server, request
        self._compression, self._encryption = compression, encryption
        self._instructions, self._progress, self._result = instructions, progress, result
        self._engine: Optional[FolderEngine] = None
        self._plan: Optional[Plan] = None

    def check(self) -> None:
        self._compression.check()
        self._encryption.check(encrypting=True)

    def present(self) -> Present:
        return self._look_at_server()

    def plan(self, backup_id: str, tiers: Sequence[FolderTier], each: Each[FolderTier], check: bool) -> MakingPlan:
        engine = self._engine = self._make_engine([tier.listing for tier in tiers])
        plan = self._plan = engine.plan()
        self._result.warn(plan.warnings)
        each(tiers, lambda tier: self._check_space(tier, plan, engine))
        steps = [
            *plan.steps,
            *(
                f"keep it as {tier.shelf.name}/{backup_id} in {tier.repository.description}, verified"
                for tier in tiers
                if tier.error is None
            ),
        ]
        own = Candidate(
            backup_id,
            utcnow(),
            True,
            bool(self._request.pinned),
            engine.parent,
            new=True,
            group=self._request.key,
            kind=engine.kind,
        )
        return MakingPlan(steps, plan.server.get("system_id"), own)

    def _check_space(self, tier: FolderTier, plan: Plan, engine: FolderEngine) -> None:
        """Refuse early what cannot fit: judged by the last backup of the same scope, where there is one."""
        free = tier.repository.free_bytes()
        same = [
            record
            for record in tier.known
            if record.engine == engine.name
            and record.kind == engine.kind
            and record.scope == plan.scope
            and record.compression == self._compression.describe()
        ]
        if free is not None and same and same[-1].size > free:
            raise RepositoryError(
                f"{tier.repository.description} has {free} bytes left; the last backup like this one took {same[-1].size}. "
                "Free some space, shorten the retention and prune, or use a larger disk. No backup was made."
            )

    def make(
        self, backup_id: str, tiers: Sequence[FolderTier], each: Each[FolderTier], beat: Callable[[], None]
    ) -> Record:
        if self._engine is None or self._plan is None:
            raise AssertionError("make() comes after plan()")
        each(tiers, self._check_parent)
        tell = self._progress.tell

        def tell_and_beat(done: Optional[int], stored: Optional[int]) -> None:
            beat()
            tell(done, stored)

        self._progress.tell = tell_and_beat  # type: ignore[method-assign]
        message = f"Of the backup {backup_id} there is a part, without a manifest: the next run removes it."
        with remains(message) as left:
            try:
                record = self._back_up(self._engine, self._plan, backup_id, tiers)
                self._progress.step("reading the backup back", record.size)
                self._read_back(record, tiers, each, beat)
                record.verified_at = format_time(utcnow())
                record.signature = sign(record, self._encryption)
                text = self._instructions(record).encode()

                def finish(tier: FolderTier) -> None:
                    tier.repository.write(tier.shelf.key(backup_id, INSTRUCTIONS), text, lasting=True)
                    tier.shelf.write(record)
                    tier.record = record

                beat()  # what another run took for left over is no backup
                each(tiers, finish)
            except BaseException:
                forgotten = [tier.forget(backup_id) for tier in tiers]  # each of them, whatever one says
                if all(forgotten):
                    left.now(
                        "What it had written was removed, and backups that were there before are as they were.",
                        changed=False,
                    )
                raise
            finally:
                self._progress.tell = tell  # type: ignore[method-assign]
        for tier in tiers:
            if tier.error is not None:
                tier.forget(backup_id)
        self._result.warn(record.warnings)
        names = ", ".join(tier.repository.description for tier in tiers if tier.error is None)
        self._result.proof.add(
            Proof(
                proven=[
                    f"Each of the {len(record.artifacts)} artifacts of {record.id} was read back from {names}, and is what was written."
                ],
                unproven=["That it can be restored: only a restore proves that."],
            )
        )
        return record

    def _check_parent(self, tier: FolderTier) -> None:
        """What this backup is based on was chosen before the lock was had: who had it may have deleted that."""
        parent = self._engine.parent if self._engine else None
        if parent is not None and parent not in {record.id for record in tier.known}:
            raise CatalogError(
                f"The backup {parent} in {tier.description}, which this one was to be based on, was deleted while this run waited for the "
                "lock. No backup was made: run it again."
            )

    def _back_up(self, engine: FolderEngine, plan: Plan, backup_id: str, tiers: Sequence[FolderTier]) -> Record:
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
        started = now()
        draft = engine.back_up(folder)
        self._result.failed = draft.failed
        return Record(
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
            created_by=self._request.created_by,
            parent=engine.parent,
            pinned=bool(self._request.pinned),
            annotations=self._request.annotations or {},
            warnings=draft.warnings,
        )

    def _read_back(
        self, record: Record, tiers: Sequence[FolderTier], each: Each[FolderTier], beat: Callable[[], None]
    ) -> None:
        """Verify in every tier at once; the first one shows the progress."""
        living = [tier for tier in tiers if tier.error is None]

        def verify(tier: FolderTier) -> None:
            def heard(done: int) -> None:
                if tier is living[0]:
                    self._progress.tell(done, None)

            tier.verify(record, heard)

        others = [(tier, Background(lambda tier=tier: verify(tier))) for tier in living[1:]]  # type: ignore[misc]
        each(living[:1], verify)
        for tier, reading in others:
            while not reading.done():
                reading.wait(5)
                beat()
            each([tier], lambda _tier, reading=reading: reading.result())  # type: ignore[misc]
