# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of an engine that keeps one (pgBackRest, Barman, WAL-G), as a tier of a run. Our retention is carried out by the
engine's own deletion. One tier is all of its repositories, as one run of it goes into each of them; each has its own retention."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.host_lock import HostLock
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import Each, Maker, MakingPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.needless import what_makes_it_needless
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import (
    BackupRequest,
    BackupResult,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import Tier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, dependants
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import ANY, readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import KINDS
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    Unfinished,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import Remains, remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time, utcnow

# What makes a backup of a kind needless, when it is fresh enough.
ENOUGH: Mapping[str, Sequence[str]] = {kind: KINDS[: number + 1] for number, kind in enumerate(KINDS)}
NEW = "(this one)"  # its label is the engine's to give


@dataclass(frozen=True)
class EngineRepository:
    """One of an engine's repositories: its name and retention; ``root`` is its directory, bucket or container."""

    name: str
    policy: Policy
    root: str = ""


class EngineTier(Tier):
    """``before`` does what the engine needs first, and says what that takes. ``shelves`` open what lies beside its backups in each store,
    where who restores leaves a note."""

    def __init__(
        self,
        engine: RepositoryEngine,
        host: Host,
        repositories: Sequence[EngineRepository],
        warnings: list[str],
        before: Callable[[bool, Consent], Sequence[Step]] = lambda check, consent: (),
        shelves: Sequence[Callable[[], Shelf]] = (),
    ) -> None:
        self._shelves = shelves
        self._failed: dict[str, str] = {}
        super().__init__(warnings)
        self.engine, self._host, self._repositories, self._before = engine, host, repositories, before
        self.name = repositories[0].name if len(repositories) == 1 else engine.name
        self.description = f"the repository of {engine.name}" + (
            f" ({', '.join(p.name for p in repositories)})" if len(repositories) > 1 else ""
        )
        self.error = None
        #: whether the engine can be asked: in check mode it cannot be before it is configured
        self.ready = True

    def prepare(self, check: bool) -> list[str]:
        steps = list(self._before(check, self.consent))
        if self._is_anothers():
            self._say_what_has_no_effect()
        else:
            steps += self.engine.configure(check)
        self.ready = not (steps and check)
        if self.ready:
            steps += self.engine.prepare(check)
        return [step.message for step in steps]

    def _is_anothers(self) -> bool:
        """The configuration by which WAL is archived is wal_archive's: a backup that rewrote it would change how it is archived."""
        return all(os.path.exists(path) for path in self.engine.configuration_files())

    def _say_what_has_no_effect(self) -> None:
        if self.engine.configure(True):
            self._say(
                [
                    f"The configuration of {self.engine.name} by which WAL is archived differs from what this run asks for, and stays: "
                    f"{', '.join(self.engine.configuration_files())}. wal_archive (playbook archive.yml) with the same options changes it."
                ]
            )

    def look(self, request: BackupRequest, present: Present) -> None:
        self.read()
        said: list[str] = []
        # Its scope has its sizes and repositories: all of its backups are of the whole server.
        wanted = replace(request, scope={"cluster": True})
        alike = [replace(record, scope={"cluster": True}, encryption=dict(request.encryption)) for record in self.known]
        found = what_makes_it_needless(
            [self._proven(record) for record in alike], wanted, present, utcnow(), self.doubt, said
        )
        self.record = None if found is None else by_id(self.known)[found.id]
        self._say(said)

    def read(self) -> None:
        """Ask the engine what it has. Raises HoldfastError."""
        problems: list[str] = []
        listed = list(self.engine.backups(problems)) if self.ready else []
        self._say(problems)
        self.known = self._as_verified(listed) if listed else []

    def _as_verified(self, listed: Sequence[Record]) -> list[Record]:
        """The backups as verifying left them, as far as the stores can be looked into, which is said."""
        known = list(listed)
        self._failed = {}
        for opened in self._shelves:
            try:
                marks = opened().marks()
            except HoldfastError as exc:
                self._say([f"What verifying found of the backups in {self.description} could not be read: {exc}"])
                continue
            self._say([marks.problem] if marks.problem else [])
            known = [marks.apply(record) for record in known]
            self._failed.update((record.id, wrong) for record in listed if (wrong := marks.failure(record)))
        return known

    def _proven(self, record: Record) -> Record:
        """Where an engine cannot read a backup back, that it is whole is all that there is to know, and ``doubt`` looks."""
        if record.verified_at is None and not self.engine.reads_back:
            return replace(record, verified_at=record.stopped_at)
        return record

    def doubt(self, record: Record) -> Optional[str]:
        if record.id in self._failed:
            return self._failed[record.id]
        if self.engine.reads_back:
            # It reads all of it, which takes as long as a backup: done when it was made. What is gone since is seen.
            return self.engine.lacks(by_id(self.known).get(record.id, record))
        try:
            self.engine.verify(by_id(self.known).get(record.id, record))
        except CatalogError as exc:
            return str(exc).rstrip(".")
        return None

    def lock(self, purpose: str) -> HostLock:
        return HostLock(self._host.data_directory)

    def clean(self) -> None:
        """What an interrupted run left is the engine's to tell, and one that goes on elsewhere looks the same: it is deleted by its name."""

    def check_server(self, system_id: Optional[str]) -> None:
        """The engine does, in ``prepare``."""

    def plan_prune(self, own: Optional[Candidate] = None) -> None:
        """Each repository by its own policy. A backup that is in several goes when none of them wants it."""
        ruled = [
            repository for repository in self._repositories if repository.policy.buckets or repository.policy.limits
        ]
        if not ruled:
            return
        made = self.record.id if self.record is not None and own is None else None
        doubts: dict[str, Optional[str]] = {}
        while True:
            self.decisions = self._decide(own, made, doubts)
            stays = {item.id for item in self.decisions if item.keep}
            unseen = [record for record in self.known if record.id in stays and record.id not in doubts]
            if len(stays) == len(self.decisions) or not unseen:
                break
            doubts.update((record.id, self.doubt(record)) for record in unseen)
        self._say(
            [
                f"The backup {name} of {self.engine.name} displaces no other one: {wrong}."
                for name, wrong in doubts.items()
                if wrong
            ]
        )

    def _decide(
        self, own: Optional[Candidate], made: Optional[str], doubts: Mapping[str, Optional[str]]
    ) -> list[Decision]:
        found: dict[str, Decision] = {}
        for number, repository in enumerate(self._repositories, 1):
            here = [record for record in self.known if number in self._numbers(record)]
            candidates = [self._candidate(record, record.id == made, doubts.get(record.id)) for record in here]
            if own is not None:
                candidates.append(
                    replace(
                        own, group="", id=own.id if len(self._repositories) == 1 else f"{own.id} in {repository.name}"
                    )
                )
            for item in decide(candidates, repository.policy, utcnow()):
                before = found.get(item.id)
                if before is None or (item.keep and not before.keep):
                    found[item.id] = item
        return list(found.values())

    def _numbers(self, record: Record) -> Sequence[int]:
        return record.scope.get("repositories") or range(1, len(self._repositories) + 1)

    def _candidate(self, record: Record, new: bool, doubt: Optional[str]) -> Candidate:
        return Candidate(
            record.id,
            parse_time(record.stopped_at, "stopped_at"),
            self._proven(record).verified_at is not None and doubt is None,
            record.pinned,
            record.parent,
            new=new,
            kind=record.kind,
            size=record.scope.get("stored"),
            doubt=doubt,
        )

    def check_configured(self) -> None:
        """For what changes nothing but by a deletion.

        Raises:
            BadOption: the engine was not configured here, or for other repositories.
            HoldfastError: its configuration, or what is in its repository, is another server's.
        """
        missing = [path for path in self.engine.configuration_files() if not os.path.exists(path)]
        if missing:
            raise BadOption(
                "engine", self.engine.name, f"is not configured on this host: {missing[0]} is not there",
                "Run it on the host whose archiving was set up (wal_archive, playbook archive), with the same config_dir and server_name.",
            )  # fmt: skip
        self._before(True, Consent())
        if self.engine.is_told_by_configuration:
            self._check_repositories()
        self.engine.prepare(True)

    def _check_repositories(self) -> None:
        """What is deleted is deleted where the configuration says, whatever was asked for."""
        text = ""
        for path in self.engine.configuration_files():
            with open(path, encoding="utf-8") as stream:
                text += stream.read()
        for repository in self._repositories:
            if not re.search(re.escape(repository.root.rstrip("/")) + r"(?![\w.-])", text):
                raise BadOption(
                    "repository", repository.root, f"is none that {self.engine.name} is configured for on this host",
                    f"Nothing was deleted. Name what {self.engine.configuration_files()[0]} has, or configure this one (wal_archive).",
                )  # fmt: skip

    def prune(self, beat: Callable[[], None], check: bool = False) -> None:
        """``check``: only find out what would go, by the engine's own dry run."""
        going = [item for item in self.decisions if not item.keep]
        going = self._unread(going) if going else []
        if not going:
            return
        beat()
        reasons = {item.id: asdict(item) for item in going}
        with contextlib.nullcontext() if check else self._deleting([item.id for item in going]):
            labels = self.engine.delete([item.id for item in going], check, self.warnings)
        self.pruned = [
            reasons.get(label, {"id": label, "keep": False, "reasons": ["needs one that goes"]}) for label in labels
        ]

    def _unread(self, going: Sequence[Decision]) -> list[Decision]:
        """Those of them that nobody reads; with one that goes, those go that are based on it."""
        read, kept = self._readers(), {}
        for item in going:
            needed = [item.id, *(record.id for record in dependants(item.id, self.known))]
            reader = next((read[name] for name in [*needed, ANY] if name in read), None)
            if reader is not None:
                kept[item.id] = reader
        self._say(
            [
                f"The backup {name} is to be deleted by the retention, and stays: it, or one that is based on it, is being read by {reader}."
                for name, reader in kept.items()
            ]
        )
        return [item for item in going if item.id not in kept]

    def _readers(self) -> dict[str, str]:
        """The backups that somebody of ours reads, each with who that is, as far as the stores can be looked into, which is said."""
        found: dict[str, str] = {}
        for opened in self._shelves:
            try:
                found.update(readers(opened()))
            except HoldfastError as exc:
                # The engine reaches its store by itself, and its retention is not to end for a library or a right that we lack.
                self._say([f"Whether somebody restores from {self.description} could not be looked at: {exc}"])
        return found

    def delete_one(self, label: str, check: bool) -> list[str]:
        """Delete a backup, or what is left of one, unless others need it. Returns what goes; nothing when there is none of that label.

        Raises:
            CatalogError: it is pinned, or somebody reads it.
            BadOption: others need it.
        """
        self.read()
        found = by_id(self.known).get(label)
        if found is None and label not in self.engine.leftovers():
            return []
        if found is not None and found.pinned:
            raise CatalogError(f"The backup {label} is pinned. Unpin it first, by {self.engine.name}'s own means.")
        needing = dependants(label, self.known)
        if needing:
            names = ", ".join(record.id for record in needing)
            raise BadOption("backup_id", label, f"is needed by {names}", "Delete those first.")
        read = self._readers()
        reader = read.get(label) or read.get(ANY)
        if reader:
            raise CatalogError(f"The backup {label} is being read by {reader}. Nothing was deleted: wait for its end.")
        if check:
            return self.engine.delete([label], True, self.warnings)
        with self._deleting([label]):
            return self.engine.delete([label], False, self.warnings)

    def _deleting(self, labels: Sequence[str]) -> contextlib.AbstractContextManager[Remains]:
        """What a stop leaves while the engine deletes: how far it came is the engine's to tell."""
        return remains(
            f"{self.engine.name} was deleting {', '.join(labels)}: backup_facts says which of them are still there, and the next "
            "run with the same retention goes on."
        )

    def _say(self, messages: Sequence[str]) -> None:
        self.warnings += [message for message in dict.fromkeys(messages) if message not in self.warnings]


class EngineMaker(Maker[EngineTier]):
    """A backup of the whole server by the engine itself."""

    def __init__(
        self,
        engine: RepositoryEngine,
        kind: str,
        look_at_server: Callable[[], Present],
        archiving: Archiving,
        request: BackupRequest,
        progress: Progress,
        result: BackupResult,
    ) -> None:
        self._engine, self._kind, self._look_at_server, self._archiving = engine, kind, look_at_server, archiving
        self._request, self._progress, self._result = request, progress, result

    def check(self) -> None:
        """The engine does, in ``configure``."""

    def present(self) -> Present:
        return self._look_at_server()

    def plan(self, backup_id: str, tiers: Sequence[EngineTier], each: Each[EngineTier], check: bool) -> MakingPlan:
        if check and tiers[0].ready:
            self._result.warn(self._archiving.before(check))
        steps = [f"make a {self._kind} backup by {self._engine.name} {self._engine.version}"]
        return MakingPlan(steps, None, Candidate(NEW, utcnow(), True, new=True, kind=self._kind))

    def make(
        self, backup_id: str, tiers: Sequence[EngineTier], each: Each[EngineTier], beat: Callable[[], None]
    ) -> Record:
        tier = tiers[0]
        self._progress.step(f"backing up by {self._engine.name}")
        record = self._engine.back_up(self._kind, self._request.annotations or {}, self._progress, self._archiving)
        self._result.record = record
        self._result.warn(record.warnings)
        self._progress.step(f"having {self._engine.name} look at the backup")
        try:
            found = self._engine.verify(record)
        except CatalogError as exc:
            raise Unfinished(
                f"{exc} The backup {record.id} was made, and cannot be relied on. No other one was deleted.",
                record.to_dict(),
            ) from exc
        if found.verified:
            self._engine.remember_verified(record)
            record.verified_at = format_time(utcnow())
            self._result.proof.add(Proof(proven=[f"{record.id}: {found.looked_at}"]))
        else:
            self._result.proof.add(Proof(unproven=[f"{record.id}: {found.looked_at}"]))
        self._result.proof.add(Proof(unproven=["That it can be restored: only a restore proves that."]))
        tier.record = record
        tier.read()
        return record
