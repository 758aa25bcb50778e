# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backup_report returns of a server, made up: as good or as bad as a test wants."""

from __future__ import annotations

import datetime
from typing import Any, Optional

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.timezone.utc)
DAY = 86400


def iso(seconds: float) -> str:
    """So many seconds ago."""
    return (NOW - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def backup(name: str, age: float, **changes: Any) -> dict[str, Any]:
    """A good one of so many seconds ago."""
    return {
        "id": name, "engine": "pg_basebackup", "kind": "full", "data": True, "started_at": iso(age + 312), "stopped_at": iso(age), "size": 431 * 2**20,
        "encryption": "aes256", "verified_at": iso(age), "wrong": None, "drilled_at": None, "drill_verdict": None, "tiers": ["disk", "s3"],
        "pinned": False, "goes": None, **changes,
    }  # fmt: skip


def evidence(rto: Optional[float] = 724, limit: Optional[int] = 3600, **changes: Any) -> dict[str, Any]:
    """What a drill says that took ``rto`` seconds, where ``limit`` was the objective."""
    return {
        "id": "000001-x", "started_at": iso(3 * DAY + 900), "stopped_at": iso(3 * DAY), "operator": "ops", "trigger": "schedule", "scenario": None,
        "host": {"name": "db1", "os": "Debian 12", "cores": 2}, "target": {"asked": "the end", "reached": "0/5000"}, "reasons": [], "notes": [],
        "objectives": {"rto": limit, "rpo": None}, "sha256": "ab" * 32, "rto_seconds": rto, "rpo_seconds": 4.0,
        "phases": [{"name": "restore", "seconds": 9.5, "ok": True, "error": None}],
        "checks": [{"name": "rows", "scope": "shop", "expected": "3", "found": "3", "ok": True, "detail": None}],
        "assertions": [{"name": "orders", "database": "shop", "operator": ">", "expected": "0", "found": "9", "ok": True, "detail": None}],
        **changes,
    }  # fmt: skip


def drill(age: float, verdict: str = "pass", **changes: Any) -> dict[str, Any]:
    """One that ended so many seconds ago."""
    return {
        "id": f"{int(10**6 - age // 60):06d}-x", "at": iso(age), "verdict": verdict, "backup": "b1", "tier": "disk", "proves": verdict in ("pass", "missed"),
        "wrong": None, "evidence": evidence(), **changes,
    }  # fmt: skip


def stretch(start: float, end: Optional[float], missing: Any = None) -> dict[str, Any]:
    """WAL without a gap from so many seconds ago until so many ago."""
    return {
        "start": iso(start), "start_lsn": "0/1", "end": None if end is None else iso(end), "end_lsn": "0/2", "last_segment": "000000010000000000000002",
        "backups": ["b1"], "missing": missing,
    }  # fmt: skip


def window(start: float = 5 * DAY, end: Optional[float] = 120, **changes: Any) -> dict[str, Any]:
    """Any moment, as ``reach``."""
    return {
        "kind": "window", "start": iso(start), "end": None if end is None else iso(end), "end_by": "commit", "gap": None, "earlier": 0, **changes,
    }  # fmt: skip


def report(name: str = "db1", **changes: Any) -> dict[str, Any]:
    """A server that is well."""
    return {
        "format": 1, "server_name": name, "looked_at": iso(0), "known": True, "status": "ok", "rules": [row("drilled", "ok")], "alerts": [],
        "reach": window(), "backups": [backup("b1", 5 * DAY), backup("b2", 1 * DAY)], "windows": [{"timeline": 1, "stretches": [stretch(5 * DAY, 120)]}],
        "tiers": [{"name": "disk", "repository": "the directory /backups", "count": 2, "size": 862 * 2**20, "last_success": iso(DAY), "error": None}],
        "drills": [drill(3 * DAY)], "chain": [], **changes,
    }  # fmt: skip


def row(rule: str, severity: str, text: str = "3 days ago") -> dict[str, Any]:
    """What a rule says."""
    return {"rule": rule, "title": rule.capitalize(), "severity": severity, "text": text, "remedy": ""}


def year(name: str, days: int = 365) -> dict[str, Any]:
    """A year of daily backups, a verification of each, and a drill a month."""
    backups = [
        backup(
            f"20260101T000000Z-{number:04d}",
            (days - number) * DAY,
            size=(400 + number) * 2**20,
            kind="full" if number % 7 == 0 else "incr",
            verified_at=iso((days - number) * DAY - 90000),
            goes="disk: older than keep_within 30d" if number < 30 else None,
        )
        for number in range(days)
    ]
    drills = [drill(age * DAY) for age in range(3, days, 30)]
    stretches = [
        stretch(
            days * DAY, 100 * DAY, {"first": "000000010000000000000009", "last": "00000001000000000000000A", "count": 2}
        )
    ]
    stretches.append(stretch(98 * DAY, 60))
    return report(
        name, backups=backups, drills=drills, windows=[{"timeline": 1, "stretches": stretches}], reach=window(98 * DAY, 60, earlier=1),
        rules=[row(f"rule{number}", "ok") for number in range(16)],
    )  # fmt: skip
