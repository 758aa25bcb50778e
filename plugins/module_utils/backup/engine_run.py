# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup by an engine that keeps a repository of its own; our retention is carried out by its own deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiving import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, Unfinished
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate, Decision, decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow

# What makes a backup of a kind needless, when it is fresh enough.
ENOUGH = {
    "full": ("full",),
    "differential": ("full", "differential"),
    "incremental": ("full", "differential", "incremental"),
}


@dataclass
class Outcome:
    """What a run did, or would do."""

    changed: bool = False
    record: Optional[Record] = None
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    pruned: list[dict[str, Any]] = field(default_factory=list)


class KeepRun:
    """A backup of one server by ``keeper``. ``max_age`` is seconds; ``before`` does what
    the engine needs first."""

    def __init__(
        self,
        keeper: RepositoryEngine,
        kind: str,
        max_age: Optional[int],
        policy: Policy,
        annotations: Mapping[str, str],
        progress: Progress,
        archiving: Archiving,
        before: Callable[[bool], list[Step]] = lambda check: [],
    ) -> None:
        self._archiving = archiving
        self._before = before
        self._keeper, self._kind, self._max_age, self._policy = keeper, kind, max_age, policy
        self._annotations, self._progress = annotations, progress
        self.outcome = Outcome()

    def run(self, check: bool) -> Outcome:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user; nothing that was there before is lost.
        """
        outcome = self.outcome
        steps = self._before(check) + self._keeper.configure(check)
        fresh = bool(steps) and check  # then the engine cannot be asked yet
        steps += [] if fresh else self._keeper.prepare(check)
        outcome.plan += [step.words for step in steps]
        outcome.changed = bool(steps)
        known = [] if fresh else list(self._keeper.backups(outcome.warnings))
        outcome.record = self._stands(known)
        if outcome.record is not None:
            return outcome
        outcome.changed = True
        if check and not fresh:
            outcome.warnings += self._archiving.before(check)
        outcome.plan.append(f"make a {self._kind} backup by {self._keeper.name} {self._keeper.version}")
        if check:
            # No label is known yet; it counts all the same.
            self._decide(known, Candidate("(this one)", utcnow(), True, new=True))
            return outcome
        self._progress.step(f"backing up by {self._keeper.name}")
        outcome.record = self._keeper.back_up(self._kind, self._annotations, self._progress, self._archiving)
        outcome.warnings += outcome.record.warnings
        self._decide(list(self._keeper.backups([])), None)
        gone = [decision for decision in outcome.decisions if not decision.keep]
        if gone:
            self._progress.step("deleting what retention lets go")
            reasons = {decision.id: asdict(decision) for decision in gone}
            try:
                labels = self._keeper.delete([decision.id for decision in gone], False, outcome.warnings)
            except HoldfastError as exc:
                raise Unfinished(
                    f"{outcome.record.id} is made, and the retention was not carried out. {exc}",
                    outcome.record.to_dict(),
                ) from exc
            outcome.pruned = [
                reasons.get(label, {"id": label, "keep": False, "reasons": ["needs one that goes"]}) for label in labels
            ]
        return outcome

    def _stands(self, known: Sequence[Record]) -> Optional[Record]:
        if self._max_age is None:
            return None
        now, fresh = utcnow(), None
        for record in known:
            age = (now - parse_time(record.stopped_at, "stopped_at")).total_seconds()
            if record.kind in ENOUGH[self._kind] and -60 <= age <= self._max_age:
                fresh = record
        return fresh

    def _decide(self, known: Sequence[Record], own: Optional[Candidate]) -> None:
        if not self._policy.buckets and not self._policy.limits:
            return
        candidates = [
            Candidate(
                record.id,
                parse_time(record.stopped_at, "stopped_at"),
                True,
                record.pinned,
                record.parent,
                # With several repositories each has backups of its own, and one's never displaces another's.
                group=str(record.scope.get("repositories") or ""),
            )
            for record in known
        ]
        # A backup that is still to be made counts in each of them.
        groups = sorted({candidate.group for candidate in candidates}) or [""]
        ours = [replace(own, id=f"{own.id}{group}", group=group) for group in groups] if own else []
        self.outcome.decisions = decide([*candidates, *ours], self._policy, utcnow())
        self.outcome.plan += [
            f"delete {decision.id}: {'; '.join(decision.reasons)}"
            for decision in self.outcome.decisions
            if not decision.keep
        ]


def delete_one(keeper: RepositoryEngine, label: str, check: bool, warnings: list[str]) -> list[str]:
    """Delete a backup, unless others need it. Returns what goes; nothing when there is none of that label."""
    known = list(keeper.backups([]))
    if label not in [record.id for record in known] and label not in keeper.leftovers():
        return []
    children = [record.id for record in known if record.parent == label]
    if children:
        raise BadOption("backup_id", label, f"is needed by {', '.join(children)}", "Delete those first.")
    return keeper.delete([label], check, warnings)
