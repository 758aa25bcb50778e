# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of a runbook has done so far, and what the next start may do with it. Pure: records in, records out; times are ISO 8601.

A record is a dictionary, as it lies in the repository (``runbook_store``): ``id``, ``scenario``, ``mode``, ``subject`` (what is brought back),
``operator``, ``holder`` (the ansible-playbook that is at it; None: nobody), ``started_at``, ``ended_at``, ``outcome``, ``waiting`` (a gate),
``stages`` (each with ``name``, ``state``, ``started_at``, ``ended_at``, ``error``), ``facts`` (what later stages need of earlier ones), ``notes``,
``objectives`` and ``measured`` (seconds), ``verdict``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, LockHeld
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time

FORMAT = 1
PLAN, REHEARSE, REAL = MODES = ("plan", "rehearse", "real")
RESUME, ROLLBACK = CONTINUE = ("resume", "rollback")
STAGES = (
    "assess", "plan", "gate_begin", "protect", "isolate", "recover", "validate", "gate_cut_over", "cut_over", "reopen", "record",
)  # fmt: skip
GATES = ("gate_begin", "gate_cut_over")
#: what each mode leaves out: a rehearsal touches nothing of production, and asks nobody
LEFT_OUT = {
    PLAN: STAGES[2:],
    REHEARSE: (*GATES, "isolate", "cut_over", "reopen"),
    REAL: (),
}
#: stages that something can be taken back of, by the role
TAKEN_BACK = ("isolate",)
BEGUN, DONE, FAILED, UNDONE = "begun", "done", "failed", "undone"
OUTCOMES = ("done", "rolled_back", "abandoned")
#: how a holder is known again: one process, counted in one place; a system without /proc (macOS) tells its name and the number alone
IDENTITY = ("boot_id", "pid_namespace", "pid", "process_started")

Run = dict[str, Any]


class UnderWay(LockHeld):
    """Somebody is at a run, or may be: ``holder`` says who."""

    def __init__(self, message: str, holder: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.holder = dict(holder)

    def result(self) -> dict[str, Any]:
        return {"held_by": self.holder}


@dataclass(frozen=True)
class Wanted:
    """What a start asks for. ``go_on``: resume, rollback or None; ``take_over``: the id of a run whose holder cannot be seen from here."""

    scenario: str
    mode: str
    subject: Mapping[str, Any]
    go_on: Optional[str]
    take_over: Optional[str]


def stages_of(mode: str) -> list[str]:
    """The stages of a mode, in order."""
    return [name for name in STAGES if name not in LEFT_OUT[mode]]


def is_open(run: Mapping[str, Any]) -> bool:
    """Whether it has not come to an end."""
    return run.get("ended_at") is None


def same_holder(one: Optional[Mapping[str, Any]], other: Optional[Mapping[str, Any]]) -> bool:
    """Whether both are one process."""
    if not one or not other or not one.get("pid"):
        return False
    names = IDENTITY if one.get("boot_id") else (*IDENTITY, "host")
    return all(one.get(name) == other.get(name) for name in names)


def holds(run: Mapping[str, Any]) -> str:
    """Who is at a run, in words."""
    holder = run.get("holder") or {}
    where = f" on {holder['host']}, process {holder.get('pid')}" if holder.get("host") else ""
    return f"{run.get('operator') or 'somebody'}{where}, since {holder.get('since') or run.get('started_at')}"


def begin_run(
    run_id: str, wanted: Wanted, holder: Mapping[str, Any], operator: str, objectives: Mapping[str, Any], now: str
) -> Run:
    """A run that has done nothing yet."""
    return {
        "format": FORMAT,
        "id": run_id,
        "scenario": wanted.scenario,
        "mode": wanted.mode,
        "subject": dict(wanted.subject),
        "operator": operator,
        "holder": dict(holder),
        "started_at": now,
        "ended_at": None,
        "outcome": None,
        "waiting": None,
        "stages": [],
        "facts": {},
        "notes": [],
        "objectives": dict(objectives),
        "measured": {},
        "verdict": None,
    }


def judge(run: Run, wanted: Wanted, me: Mapping[str, Any], gone: bool) -> str:
    """What a start does with a run of its mode that is open: ``resume``, ``rollback``, or ``abandon`` it and begin anew.

    ``gone``: the run's holder is known to have ended.

    Raises:
        UnderWay: somebody is at it, or may be.
        BadOption: it has to be said whether it is gone on with, or it cannot be.
    """
    held = run.get("holder") is not None and not same_holder(run["holder"], me) and not gone
    if held and wanted.take_over != run["id"]:
        raise UnderWay(
            f"The runbook {run['scenario']} of this server is under way ({run['id']}, {told(run)}): {holds(run)}. Nothing was done. Wait for its "
            f"end, or talk to who runs it. If that run is surely dead, say so by take_over: {run['id']}.",
            run["holder"],
        )
    if run["mode"] == REHEARSE:
        return (
            "abandon"  # nothing of production was touched, and what it left in scratch directories the next one removes
        )
    if wanted.go_on is None:
        raise BadOption(
            "continue",
            "",
            f"has to be given: the run {run['id']} of {run['scenario']} by {run.get('operator')} was not brought to its end ({told(run)})",
            f"Say continue: {RESUME} to go on with {_next(run)}, or continue: {ROLLBACK} to take it back. Nothing was done.",
        )
    if run["scenario"] != wanted.scenario or run["subject"] != dict(wanted.subject):
        differing = sorted(
            name for name in {*run["subject"], *wanted.subject} if run["subject"].get(name) != wanted.subject.get(name)
        )
        what = (
            "another runbook" if run["scenario"] != wanted.scenario else f"of something else ({', '.join(differing)})"
        )
        raise BadOption(
            "continue",
            wanted.go_on,
            f"would go on with a run that is {what}: {run['id']} of {run['scenario']}, {run['subject']}",
            "Start that runbook, with its own variables, and end it first."
            + (
                " Where its host is gone for good, give the new one that name in the inventory."
                if "host" in differing and what != "another runbook"
                else ""
            ),
        )
    if wanted.go_on == ROLLBACK and state_of(run, "cut_over") is not None:
        raise BadOption(
            "continue",
            wanted.go_on,
            f"cannot take back the run {run['id']}: its cut over was begun ({told(run)}), so that production may be the restored one already",
            f"Say continue: {RESUME}, which ends it. What was there before is kept ({kept(run)}), and is put back by hand.",
        )
    return wanted.go_on


def kept(run: Mapping[str, Any]) -> str:
    """Where the broken state is, as far as the run knows."""
    return str((run.get("facts") or {}).get("kept") or "the result of the stage cut_over says where")


def told(run: Mapping[str, Any]) -> str:
    """How far it is, in words."""
    if run.get("waiting"):
        return f"it waits at {run['waiting']}"
    if not run["stages"]:
        return "no stage was begun"
    last = run["stages"][-1]
    said = {BEGUN: "was begun and not ended", FAILED: "failed", DONE: "is done", UNDONE: "was taken back"}[
        last["state"]
    ]
    return f"the stage {last['name']} {said}"


def _next(run: Mapping[str, Any]) -> str:
    return next((name for name in stages_of(run["mode"]) if state_of(run, name) != DONE), "its end")


def state_of(run: Mapping[str, Any], stage: str) -> Optional[str]:
    """The last state of a stage; None: it was never begun."""
    return next((item["state"] for item in reversed(run["stages"]) if item["name"] == stage), None)


def todo(run: Mapping[str, Any]) -> list[str]:
    """The stages that are left, in order. What only reads is done again until the cut over is done, as what it found then may not hold now; and the
    last one, which closes the run."""
    again = ("record",) if state_of(run, "cut_over") == DONE else ("assess", "plan", "record")
    done = [name for name in stages_of(run["mode"]) if state_of(run, name) == DONE]
    return [name for name in stages_of(run["mode"]) if name in again or name not in done]


def to_take_back(run: Mapping[str, Any]) -> list[str]:
    """The stages that a rollback takes back, the last first."""
    return [name for name in reversed(STAGES) if name in TAKEN_BACK and state_of(run, name) in (BEGUN, DONE, FAILED)]


def begin(run: Run, stage: str, now: str) -> Run:
    """A stage begins. Raises BadOption: it is none of this mode's, or its predecessor is not done."""
    order = stages_of(run["mode"])
    if stage not in order:
        raise BadOption("stage", stage, f"is no stage of the mode {run['mode']}", f"Its stages are {', '.join(order)}.")
    lacking = [name for name in order[: order.index(stage)] if state_of(run, name) != DONE]
    if lacking:
        raise BadOption("stage", stage, f"cannot begin: {', '.join(lacking)} is not done", "Do it first.")
    entry = {"name": stage, "state": BEGUN, "started_at": now, "ended_at": None, "error": None}
    return {**run, "waiting": None, "stages": [*run["stages"], entry]}


def close(
    run: Run,
    stage: str,
    state: str,
    now: str,
    facts: Mapping[str, Any],
    notes: Sequence[str] = (),
    error: Optional[str] = None,
) -> Run:
    """A stage that was begun ends so. One that failed ends the play, so that nobody is at the run from then on, and whoever goes on with it may do so
    from another controller (each job of AWX is one). Raises BadOption: it was not begun."""
    if not run["stages"] or run["stages"][-1]["name"] != stage or run["stages"][-1]["state"] != BEGUN:
        raise BadOption("stage", stage, "was not begun in this run", "Begin it first.")
    ended = {**run["stages"][-1], "state": state, "ended_at": now, "error": error}
    return {
        **run,
        "holder": None if state == FAILED else run["holder"],
        "stages": [*run["stages"][:-1], ended],
        "facts": {**run["facts"], **facts},
        "notes": list(dict.fromkeys([*run["notes"], *notes])),
    }


def take_back(run: Run, stage: str, now: str, notes: Sequence[str] = ()) -> Run:
    """A stage was taken back."""
    entry = {"name": stage, "state": UNDONE, "started_at": now, "ended_at": now, "error": None}
    return {**run, "stages": [*run["stages"], entry], "notes": list(dict.fromkeys([*run["notes"], *notes]))}


def wait(run: Run, gate: str) -> Run:
    """It waits at a gate, and nobody holds it: whoever approves goes on."""
    return {**run, "waiting": gate, "holder": None}


def end(run: Run, outcome: str, now: str, rpo_seconds: Optional[float] = None, verdict: Optional[str] = None) -> Run:
    """It has come to its end. ``verdict``: of the drill in it; it is at best ``missed`` where an objective was not met."""
    measured = {"rto_seconds": rto_seconds(run), "rpo_seconds": rpo_seconds}
    found = verdict
    if outcome == "done" and verdict in (None, "pass"):
        over = [
            name
            for name in ("rto_seconds", "rpo_seconds")
            if measured[name] is not None
            and run["objectives"].get(name) is not None
            and float(measured[name] or 0) > float(run["objectives"][name])
        ]
        found = "missed" if over else "pass"
    return {
        **run,
        "holder": None,
        "waiting": None,
        "ended_at": now,
        "outcome": outcome,
        "measured": measured,
        "verdict": found if outcome == "done" else None,
    }


def rto_seconds(run: Mapping[str, Any]) -> Optional[float]:
    """Seconds from the decision until there is a server that serves: in a rehearsal to the end of ``validate``, else to that of ``cut_over``. What people
    thought at gates, and what passed before a killed run was gone on with, is in it, as applications waited for that too. None: it did not come so far."""
    last = "cut_over" if run["mode"] == REAL else "validate"
    ended = next(
        (item["ended_at"] for item in reversed(run["stages"]) if item["name"] == last and item["state"] == DONE), None
    )
    if ended is None:
        return None
    return round((parse_time(ended, "ended_at") - parse_time(run["started_at"], "started_at")).total_seconds(), 3)


def damage(content: Any, run_id: str) -> Optional[str]:
    """What is wrong with a record, beside its sum; None: nothing."""
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        return "is no record of a runbook"
    if content["format"] > FORMAT:
        return f"has format {content['format']}, and this version of holdfast.postgres reads up to {FORMAT}"
    if content.get("id") != run_id:
        return f"says of itself that it is {content.get('id')!r}"
    wrong = [name for name, kind in _SHAPE.items() if not isinstance(content.get(name), kind)]
    if content.get("mode") not in MODES or any(
        not isinstance(item, dict) or item.get("name") not in STAGES for item in content.get("stages") or []
    ):
        wrong.append("stages")
    return f"lacks what it has to have ({', '.join(wrong)})" if wrong else None


_SHAPE: dict[str, Any] = {
    "scenario": str, "mode": str, "subject": dict, "started_at": str, "stages": list, "facts": dict, "notes": list, "objectives": dict,
}  # fmt: skip
