# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that verifies: what is due, in its order, as long as its budget lasts; each finding is written down as it comes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.verifications import Failure
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    HoldfastError,
    Incomplete,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.units import ago, count, size
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.choosing import (
    Budget,
    Candidate,
    due,
    in_turn,
    split,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.findings import Broken, Gone
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.tiers import VerifyTier, choose_one

#: seconds after which what was found is written down; a kill takes no more than that away
_WRITE_EVERY = 10.0


@dataclass(frozen=True)
class VerifyRequest:
    """What is asked for: ``max_age`` and ``budget_time`` in seconds (None: no limit; ``full``: whatever was proven before)."""

    level: str
    backup_id: Optional[str]
    full: bool
    max_age: Optional[float]
    budget_time: Optional[float]
    budget_bytes: Optional[int]


@dataclass
class VerifyResult:
    """What came of it. Each list has dictionaries for a module's result."""

    plan: list[str] = field(default_factory=list)
    verified: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)
    fresh: int = 0
    bytes: int = 0
    proof: Proof = field(default_factory=Proof)

    @property
    def changed(self) -> bool:
        """Whether something was found, or would be looked for."""
        return bool(self.plan)

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        return {**vars(self), "changed": self.changed, "proof": self.proof.describe()}


class VerifyRun:
    """One run over its tiers."""

    def __init__(
        self, tiers: Sequence[VerifyTier], request: VerifyRequest, progress: Progress, warnings: list[str]
    ) -> None:
        self._tiers, self._request, self._progress, self._warnings = tiers, request, progress, warnings
        self.result = VerifyResult()
        self._errors: list[str] = []
        self._away: dict[str, str] = {}

    def run(self, check: bool) -> VerifyResult:
        """Raises Incomplete: a backup cannot be relied on, or could not be looked at; the others were."""
        ready = [tier for tier in self._tiers if self._look(tier)]
        if self._request.backup_id and ready and not self._errors:
            choose_one(ready, self._request.backup_id)
        order = self._choose(ready)
        by_name = {tier.name: tier for tier in ready}
        if check:
            planned, left = split(order, self._request.budget_bytes)
            self._plan(planned)
            self._leave(left)
        else:
            self._verify(order, by_name)
        self._judge()
        return self.result

    def _look(self, tier: VerifyTier) -> bool:
        try:
            tier.look(self._warnings)
        except HoldfastError as exc:
            self._errors.append(f"{tier.description} could not be looked into: {exc}")
            return False
        for name, why in tier.unread.items():
            if self._request.backup_id in (None, name):
                what = why or "its manifest is missing or cannot be read"
                self.result.damaged.append(
                    {"id": name, "tier": tier.name, "level": "presence", "text": what, "kept": True}
                )
        return True

    def _choose(self, tiers: Sequence[VerifyTier]) -> list[Candidate]:
        request = self._request
        found = [one for tier in tiers for one in tier.candidates(request.level, request.backup_id)]
        chosen = due(found, None if request.full else request.max_age, utcnow())
        self.result.fresh = len(found) - len(chosen)
        return in_turn(chosen)

    def _plan(self, chosen: Sequence[Candidate]) -> None:
        for one in chosen:
            self.result.plan.append(self._step(one))

    def _step(self, one: Candidate) -> str:
        tier = next(tier for tier in self._tiers if tier.name == one.tier)
        level = tier.reachable(tier.records[one.id], self._request.level)
        before = "never before" if one.proven_at is None else ago(format_time(one.proven_at), utcnow())
        before = f"failed {ago(format_time(one.failed_at), utcnow())}" if one.failed_at else f"last good: {before}"
        many = f" in {tier.name}" if len(self._tiers) > 1 else ""
        return f"verify {one.id}{many} by {level}, {_bytes(one.size, level)} ({before})"

    def _leave(self, left: Sequence[Candidate]) -> None:
        self.result.left = [{"id": one.id, "tier": one.tier, "size": one.size} for one in left]
        for one in left:
            tier = next(tier for tier in self._tiers if tier.name == one.tier)
            failure = tier.failure(one.id)
            if failure is not None:
                self._still_bad(tier, one.id, failure)

    def _verify(self, order: Sequence[Candidate], tiers: Mapping[str, VerifyTier]) -> None:
        budget = Budget(self._request.budget_time, self._request.budget_bytes)
        began = written = time.monotonic()
        skipped: list[Candidate] = []
        with remains(self._so_far, changed=lambda: bool(self.result.verified or self.result.damaged)):
            try:
                for number, one in enumerate(order):
                    if one.tier in self._away:
                        skipped.append(one)
                        continue
                    if not budget.allows(one.size, time.monotonic() - began):
                        skipped += order[number:]
                        break
                    self.result.plan.append(self._step(one))
                    budget.took(self._one(tiers[one.tier], one))
                    if time.monotonic() - written > _WRITE_EVERY:
                        self._write()
                        written = time.monotonic()
            finally:
                self._write()
        self.result.bytes = budget.read
        self._leave(skipped)

    def _write(self) -> None:
        for tier in self._tiers:
            tier.write(self._warnings)

    def _so_far(self) -> str:
        done = len(self.result.verified) + len(self.result.damaged)
        return f"{count(done, 'backup')} had been verified, and what was found is written down; the next run goes on with the others."

    def _one(self, tier: VerifyTier, one: Candidate) -> int:
        """Look at one backup, and note what was found. Returns how many bytes were read."""
        record = tier.records[one.id]
        level = tier.reachable(record, self._request.level)
        began, read = time.monotonic(), [0]
        self._progress.step(f"verifying {record.id}", one.size or None)

        def told(done: int) -> None:
            read[0] = done
            self._progress.tell(done, None)

        entry: dict[str, Any] = {"id": record.id, "tier": tier.name, "level": level}
        try:
            with contextlib.ExitStack() as stack:
                if level != "presence":  # which takes no time
                    self._hold(tier, record, stack)
                proof = tier.verify(record, level, told)
        except Broken as exc:
            tier.keep_bad(record, exc, format_time(utcnow()))
            self.result.damaged.append({**entry, "level": exc.level, "text": exc.text, "kept": True})
        except Gone as exc:
            self._warnings.append(str(exc))
        except HoldfastError as exc:
            self._not_known(tier, record, exc)
            self.result.unknown.append({**entry, "text": str(exc)})
        else:
            self.result.proof.add(proof)
            before, still = tier.failure(record.id), tier.keep_good(record, level, format_time(utcnow()))
            seconds = round(time.monotonic() - began, 3)
            cleared = before is not None and still is None
            self.result.verified.append({**entry, "bytes": read[0], "seconds": seconds, "cleared": cleared})
            if still is not None:
                self._still_bad(tier, record.id, still)
        return max(read[0], 0)

    def _still_bad(self, tier: VerifyTier, backup_id: str, failure: Failure) -> None:
        """What was found bad before, and was not looked at as closely in this run: it is no better for that."""
        text = f"{failure.text.rstrip('.')} (found {failure.at} by {failure.level}, and not looked at so closely since)"
        self.result.damaged.append(
            {"id": backup_id, "tier": tier.name, "level": failure.level, "text": text, "kept": True}
        )

    def _hold(self, tier: VerifyTier, record: Record, stack: contextlib.ExitStack) -> None:
        try:
            stack.enter_context(tier.held(record, self._warnings))
        except CatalogError as exc:
            raise Gone(str(exc)) from exc

    def _not_known(self, tier: VerifyTier, record: Record, exc: HoldfastError) -> None:
        """A store that is away is away for the other backups too."""
        if isinstance(exc, RepositoryError):
            try:
                tier.answers()
            except HoldfastError as away:
                self._away[tier.name] = str(away)

    def _named(self, entry: Mapping[str, Any]) -> str:
        """Which backup is meant, for messages."""
        return str(entry["id"]) + (f" in {entry['tier']}" if len(self._tiers) > 1 else "")

    def _judge(self) -> None:
        result, said = self.result, list(self._errors)
        if result.damaged:
            bad = "; ".join(f"{self._named(entry)}: {entry['text']}" for entry in result.damaged[:5])
            more = f" (and {len(result.damaged) - 5} more)" if len(result.damaged) > 5 else ""
            said.insert(
                0,
                f"{count(len(result.damaged), 'backup')} cannot be relied on: {bad.rstrip('.')}{more}. Nothing was deleted; until a later "
                "verification finds it good, it counts as no backup and displaces none. Use another one, and make a new one.",
            )
        if result.unknown:
            first = result.unknown[0]
            said.append(
                f"{count(len(result.unknown), 'backup')} could not be looked at, which says nothing against them: {self._named(first)}: "
                f"{first['text']}"
            )
        if said:
            raise Incomplete(" ".join(said), result.describe())


def _bytes(number: Optional[int], level: str) -> str:
    if level == "presence":
        return "reading none of it"
    return "size not known" if number is None else size(number)
