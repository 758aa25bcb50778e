# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All servers of a report, as pages show them: the worst first, and what is not proven by itself. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.units import count, known_time
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report import sentence as said
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.period import Period
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.timeline import Bars, Line, bars, timeline

STATUSES = ("unknown", "critical", "warning", "ok")
#: rows of backups on a page, for all servers together, and of each at least and at most; what is older is told by months
_ROWS, _LEAST, _MOST = 3000, 15, 400
#: the same of drills whose evidence is shown
_EVIDENCE, _LEAST_EVIDENCE, _MOST_EVIDENCE = 400, 2, 12
#: stretches of one server that are shown, the newest: an archive full of holes has thousands
_STRETCHES = 50


@dataclass(frozen=True)
class Looked:
    """What came of one host: its ``report``, or ``error``, why there is none."""

    host: str
    report: Optional[Mapping[str, Any]] = None
    error: Optional[str] = None


@dataclass(frozen=True)
class Month:
    """Backups of one month: how many, how many of them read back, drilled, and wrong; bytes of those whose size is known."""

    name: str
    count: int
    verified: int
    drilled: int
    wrong: int
    size: int


@dataclass(frozen=True)
class Server:
    """One server, as a page shows it. ``now``: when it was looked at. ``drills`` and ``backups`` are of the period, the newest first; ``settled``
    has for a failed drill when a later one proved the server."""

    number: int
    host: str
    name: str
    status: str
    sentence: str
    proof: str
    unproven: str
    error: Optional[str] = None
    now: Optional[datetime.datetime] = None
    report: Mapping[str, Any] = field(default_factory=dict)
    proven: Optional[said.Proven] = None
    line: Optional[Line] = None
    sizes: Optional[Bars] = None
    durations: Optional[Bars] = None
    backups: Sequence[Mapping[str, Any]] = ()
    months: Sequence[Month] = ()
    total: int = 0
    drills: Sequence[Mapping[str, Any]] = ()
    drills_total: int = 0
    stretches: Sequence[tuple[int, Mapping[str, Any]]] = ()
    stretches_total: int = 0
    settled: Mapping[str, str] = field(default_factory=dict)
    evidence: int = 0
    goes: int = 0


@dataclass(frozen=True)
class Fleet:
    """All of them, the worst first. ``now``: when the last one was looked at; None: none was."""

    title: str
    servers: Sequence[Server]
    period: Period
    now: Optional[datetime.datetime]

    @property
    def unproven(self) -> list[Server]:
        """Those of which nobody can say that they can be brought back."""
        return [server for server in self.servers if server.unproven]

    def of_status(self, status: str) -> int:
        """How many are so."""
        return sum(1 for server in self.servers if server.status == status)

    def in_short(self) -> str:
        """3 servers: 1 critical, 2 ok; 1 without a proof"""
        parts = [f"{self.of_status(status)} {status}" for status in STATUSES if self.of_status(status)]
        without = f"; {len(self.unproven)} without a proof that holds" if self.unproven else ""
        return f"{count(len(self.servers), 'server')}: {', '.join(parts) or 'none'}{without}"


def fleet(title: str, looked: Sequence[Looked], since: Optional[str], until: Optional[str]) -> Fleet:
    """Raises BadOption: no such period."""
    times = [known_time(one.report["looked_at"]) for one in looked if one.report is not None]
    now = max((one for one in times if one is not None), default=None)
    period = Period.of(since, until, now or datetime.datetime.now(datetime.timezone.utc))
    seen = [server(one, period, len(looked)) for one in looked]
    order = sorted(seen, key=lambda one: (STATUSES.index(one.status), not one.unproven, one.name, one.host))
    return Fleet(title, [_numbered(one, number) for number, one in enumerate(order, 1)], period, now)


def _numbered(one: Server, number: int) -> Server:
    return Server(**{**vars(one), "number": number})


def server(looked: Looked, period: Period, of: int) -> Server:
    """One of so many."""
    report = looked.report
    if report is None:
        why = looked.error or "nothing came of it"
        return Server(
            0, looked.host, looked.host, "unknown", f"What can be brought back is not known: {why}",
            "unknown", "it could not be looked at", error=why,
        )  # fmt: skip
    now = known_time(report["looked_at"])
    if now is None:
        raise ValueError(f"a report without a time: {report['looked_at']!r}")
    proven = said.proven(report)
    backups = [entry for entry in report["backups"] if period.has(entry["stopped_at"])][::-1]
    drills = [drill for drill in report["drills"] if period.has(drill["at"])][::-1]
    rows = min(max(_ROWS // max(of, 1), _LEAST), _MOST)
    stretches = [(window["timeline"], one) for window in report["windows"] for one in window["stretches"]]
    with_data = [entry for entry in reversed(backups) if entry["data"]]
    return Server(
        number=0,
        host=looked.host,
        name=report["server_name"],
        status=report["status"] if report["known"] else "unknown",
        sentence=said.sentence(report),
        proof=proven.state,
        unproven="" if proven.state == said.PROVEN else said.proof(proven, now),
        now=now,
        report=report,
        proven=proven,
        line=timeline(backups, drills, report["windows"], period.since, min(now, period.until or now)),
        sizes=bars((entry["size"], entry["kind"] != "incr") for entry in with_data),
        durations=bars((seconds(entry), entry["kind"] != "incr") for entry in with_data),
        backups=backups[:rows],
        months=months(backups[rows:]),
        total=len(backups),
        drills=drills[:rows],
        drills_total=len(drills),
        stretches=stretches[-_STRETCHES:],
        stretches_total=len(stretches),
        settled=settled(report["drills"]),
        evidence=min(max(_EVIDENCE // max(of, 1), _LEAST_EVIDENCE), _MOST_EVIDENCE),
        goes=sum(1 for entry in report["backups"] if entry["goes"]),
    )


def seconds(entry: Mapping[str, Any]) -> Optional[float]:
    """How long a backup took; None: not known."""
    began, ended = known_time(entry["started_at"]), known_time(entry["stopped_at"])
    return max((ended - began).total_seconds(), 0.0) if began and ended else None


def months(backups: Iterable[Mapping[str, Any]]) -> list[Month]:
    """In the order that they come."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in backups:
        found.setdefault(str(entry["stopped_at"])[:7], []).append(entry)
    return [
        Month(
            name,
            len(entries),
            sum(1 for entry in entries if entry["verified_at"]),
            sum(1 for entry in entries if entry["drilled_at"]),
            sum(1 for entry in entries if entry["wrong"]),
            sum(entry["size"] or 0 for entry in entries),
        )
        for name, entries in found.items()
    ]


def settled(drills: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """For each drill that failed, when a later one proved the server; those that nothing settles are not in it."""
    found: dict[str, str] = {}
    later: Optional[str] = None
    for drill in sorted(drills, key=lambda one: str(one["at"]), reverse=True):
        if drill["proves"]:
            later = str(drill["at"])
        elif later is not None:
            found[str(drill["tier"]) + "/" + str(drill["id"])] = later
    return found
