# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill found, as it goes along, and the verdict. Pure but for the clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import FAIL, MISSED, PARTIAL, PASS
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, utcnow


@dataclass
class Phase:
    """A step, and how long it took. ``bytes``: what it moved; None: nothing, or not known."""

    name: str
    started_at: str
    seconds: float = 0.0
    bytes: Optional[int] = None
    ok: bool = True
    error: Optional[str] = None


@dataclass(frozen=True)
class Check:
    """Something that was looked at. ``ok`` None: it could not be; ``detail`` says why, or what was found beside."""

    name: str
    scope: str
    expected: Any
    found: Any
    ok: Optional[bool]
    seconds: float
    detail: Optional[str] = None

    def sentence(self) -> str:
        """For people, where it did not hold or could not be looked at."""
        what = f"The check {self.name!r} of {self.scope}"
        how = "could not be made" if self.ok is None else "failed" if not self.ok else "held"
        return f"{what} {how}: {self.detail or f'found {self.found}, expected {self.expected}'}"


@dataclass
class Findings:
    """All of a drill. ``notes``: what is to be known, and speaks not against the backup."""

    progress: Progress
    phases: list[Phase] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    #: sentences of assertions that did not hold
    refuted: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: why it ended early: the phase, and what failed
    failure: Optional[tuple[str, str]] = None

    @contextlib.contextmanager
    def phase(self, name: str, tell: str) -> Iterator[Phase]:
        """While a step is done; ``tell``: what the progress says. What fails in it is the drill's failure, if it is the first."""
        self.progress.step(tell)
        phase = Phase(name, format_exact(utcnow()))
        self.phases.append(phase)
        began = time.monotonic()
        try:
            yield phase
        except HoldfastError as exc:
            phase.ok, phase.error = False, str(exc)
            self.failure = self.failure or (name, str(exc))
            raise
        finally:
            phase.seconds = round(time.monotonic() - began, 3)

    def seconds_of(self, *names: str) -> float:
        """Of these phases together."""
        return round(sum(phase.seconds for phase in self.phases if phase.name in names), 3)

    def described(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "phases": [asdict(phase) for phase in self.phases],
            "checks": [asdict(check) for check in self.checks],
            "assertions": self.assertions,
        }


def missed(
    objectives: dict[str, Optional[int]], rto_seconds: Optional[float], rpo_seconds: Optional[float]
) -> list[str]:
    """The objectives that were not met, or could not be measured: sentences. Pure."""
    told = []
    for name, objective, measured in (
        ("RTO", objectives["rto"], rto_seconds),
        ("RPO", objectives["rpo"], rpo_seconds),
    ):
        if objective is None:
            continue
        if measured is None:
            told.append(
                f"The {name} could not be measured by this drill, so that the objective of {objective} s was not shown to be met."
            )
        elif measured > objective:
            told.append(f"The {name} was {measured:g} s, and the objective is {objective} s.")
    return told


def verdict(findings: Findings, objectives_missed: Sequence[str]) -> tuple[str, list[str]]:
    """The verdict, and the reasons why it is no better: sentences. Pure."""
    wrong = [check.sentence() for check in findings.checks if check.ok is False] + findings.refuted
    if findings.failure is not None:
        wrong.insert(0, f"The step {findings.failure[0]!r} failed: {findings.failure[1]}")
    undone = [check.sentence() for check in findings.checks if check.ok is None]
    reasons = [*wrong, *undone, *objectives_missed]
    if wrong:
        return FAIL, reasons
    if undone:
        return PARTIAL, reasons
    return (MISSED if objectives_missed else PASS), reasons
