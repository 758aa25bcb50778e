# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first sentence of a server: to which moments it can be brought back, what was proven of that, and when. Pure. A proof that is not there, or
is old, or that a later drill speaks against, is said as that."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.units import ago, count, duration, known_time, when

Report = Mapping[str, Any]
#: of a server's proof: there is one that holds; it is too old; a later drill failed; there never was one; nobody knows
PROVEN, OLD, REFUTED, NEVER, UNKNOWN = "proven", "old", "refuted", "never", "unknown"


@dataclass(frozen=True)
class Proven:
    """What drills say of a server. ``last``: the last drill that proved a restore; ``newest``: the last one of all."""

    state: str
    last: Optional[Mapping[str, Any]]
    newest: Optional[Mapping[str, Any]]

    @property
    def rto(self) -> Optional[float]:
        """Seconds that the restore took, where its evidence was read."""
        found: Optional[float] = _of(self.last, "rto_seconds")
        return found

    @property
    def rpo(self) -> Optional[float]:
        """Seconds that were lost."""
        found: Optional[float] = _of(self.last, "rpo_seconds")
        return found

    def objective(self, name: str) -> Optional[float]:
        """``rto`` or ``rpo`` as that drill had it, in seconds."""
        objectives = _of(self.last, "objectives")
        found: Optional[float] = (objectives or {}).get(name)
        return found


def _of(drill: Optional[Mapping[str, Any]], name: str) -> Any:
    return ((drill or {}).get("evidence") or {}).get(name)


def proven(report: Report) -> Proven:
    """What the drills of a report say, whatever period is shown."""
    drills = sorted(report["drills"], key=lambda drill: str(drill["at"]))
    last = next((drill for drill in reversed(drills) if drill["proves"]), None)
    newest = drills[-1] if drills else None
    if not report["known"]:
        return Proven(UNKNOWN, last, newest)
    if last is None:
        # Where evidence could not be read, nobody knows that there was none.
        unread = any("is not known" in sentence for sentence in report["chain"])
        return Proven(UNKNOWN if unread and not drills else NEVER, None, newest)
    after = [drill for drill in drills if str(drill["at"]) > str(last["at"])]
    if any(drill["verdict"] == "fail" or drill["wrong"] for drill in after):
        return Proven(REFUTED, last, newest)
    old = any(row["rule"] == "drilled" and row["severity"] != "ok" for row in report["rules"])
    return Proven(OLD if old else PROVEN, last, newest)


def sentence(report: Report) -> str:
    """Any moment from 21 Nov 02:31 UTC to 26 Nov 11:58 UTC (2 min ago); proven 3 days ago in 12 min 04 s; objective 1 h 00 min, met."""
    now = known_time(report["looked_at"])
    if now is None:
        raise ValueError(f"a report without a time: {report['looked_at']!r}")
    seen = proven(report)
    parts = [reach(report, now), proof(seen, now), objective(seen)]
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}."


def reach(report: Report, now: datetime.datetime) -> str:
    """What can be brought back."""
    found = report["reach"]
    if found["kind"] == "unknown":
        return "what can be brought back is not known"
    if found["kind"] == "nothing":
        return "nothing can be brought back: there is no good backup"
    if found["kind"] == "backups":
        what = (
            "the moment of its one good backup"
            if found["count"] == 1
            else f"the moments of its {found['count']} good backups"
        )
        behind = (
            "what lies between them is not known"
            if found["wal_unread"]
            else "no backup leads to the archived WAL"
            if found["wal"]
            else "and nothing between them"
            if found["count"] > 1
            else "and nothing after it"
        )
        return f"{what} alone, the newest of {when(found['end'], now)} ({ago(found['end'], now)}), {behind}"
    text = f"any moment from {when(found['start'], now)} to "
    text += (
        f"{when(found['end'], now)} ({ago(found['end'], now)})"
        if found["end"]
        else "the end of its WAL, at a time that is not known"
    )
    if found["gap"]:
        text += ", where the archive has a gap"
    if found["earlier"]:
        text += f", and {count(found['earlier'], 'stretch', 'stretches')} before it with gaps between"
    return text


def proof(seen: Proven, now: datetime.datetime) -> str:
    """What was proven of it, and when."""
    if seen.state == UNKNOWN:
        return "what was proven is not known"
    if seen.last is None:
        if seen.newest is None:
            return "no restore of it was ever proven"
        how = "its evidence cannot be relied on" if seen.newest["wrong"] else _ended(seen.newest)
        return f"no restore of it was ever proven, and the last drill, {ago(seen.newest['at'], now)}, {how}"
    text = f"proven {ago(seen.last['at'], now)}" + (f" in {duration(seen.rto)}" if seen.rto is not None else "")
    if seen.state == OLD:
        text += ", which is too long ago"
    if seen.newest is not None and seen.newest is not seen.last:
        how = "left evidence that cannot be relied on" if seen.newest["wrong"] else _ended(seen.newest)
        text += f", and the last drill, {ago(seen.newest['at'], now)}, {how}"
        if seen.state == REFUTED and how == _ended({"verdict": "partial"}):
            text += " after one that failed"
    return text


def _ended(drill: Mapping[str, Any]) -> str:
    return {"fail": "failed", "partial": "could not make all checks"}.get(drill["verdict"], "proved it")


def objective(seen: Proven) -> str:
    """Whether what the last proof measured is what was asked for."""
    if seen.last is None:
        return ""
    told = []
    for name, measured in (("rto", seen.rto), ("rpo", seen.rpo)):
        limit = seen.objective(name)
        if limit is not None:
            met = "not measured" if measured is None else "met" if measured <= limit else "missed"
            label = "objective" if name == "rto" else "objective for what may be lost"
            told.append(f"{label} {duration(limit)}, {met}")
    if not told:
        return "no objective was set" if seen.last.get("evidence") else ""
    return "; ".join(told)
