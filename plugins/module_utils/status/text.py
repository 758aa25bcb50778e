# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a server's backups as one screen. Pure. What is not known is said to be so."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.described import encryption, stored_size
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import Alert
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule
from ansible_collections.holdfast.postgres.plugins.module_utils.units import (
    age,
    ago,
    count,
    known_time,
    listing,
    moment,
    size,
    table,
    when,
)


def of_backups(number: Optional[int], good: Optional[Record], where: Sequence[str], now: datetime.datetime) -> str:
    """3 backups, the newest good one of 4 h ago … ``number`` None: nothing could be read."""
    if number is None:
        return "How many backups there are is not known"
    head = count(number, "backup")
    if good is None:
        return f"{head}, none of them good" if number else head
    record = good.to_dict()
    stored = stored_size(record)
    return ", ".join(
        [
            head,
            f"the newest good one of {ago(good.stopped_at, now)}",
            "stored size unknown" if stored is None else size(stored),
            encryption(record),
            f"in {listing(where)}",
            f"verified {ago(good.verified_at, now)}"
            if good.verified_at
            else "not verified (its engine reads nothing back)",
        ]
    )


def of_window(wal: Optional[Mapping[str, Any]], now: datetime.datetime, unread: bool = False) -> str:
    """any moment from 21 Nov 02:31 UTC to 40 s ago. ``unread``: there may be an archive that could not be looked into."""
    if wal is None and unread:
        return "which moments can be reached is not known"
    if wal is None:
        return "no WAL archive was found: the moments of the backups, and nothing between them"
    stretch = last_stretch(wal)
    if stretch is None:
        return "WAL is archived, and no backup leads to it: no moment can be reached"
    start, end = known_time(stretch["start"]), known_time(stretch["end"])
    text = f"any moment from {moment(start, now) if start else 'an unknown time'} to "
    if end is not None:
        text += age((now - end).total_seconds())
    elif (
        stretch["last_segment"]
        and stretch["last_segment"] == wal.get("last_segment")
        and wal.get("last_segment_age") is not None
    ):
        text += f"the end of the last segment, which arrived {age(wal['last_segment_age'])}"
    else:
        text += "the end of its WAL, at a time that is not known"
    if stretch["missing"]:
        text += ", where the archive has a gap"
    return text


def last_stretch(wal: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
    """What can be reached without a gap, on the newest timeline that a backup leads to, up to its end."""
    reached = [window for window in wal["windows"] if window["stretches"]]
    if not reached:
        return None
    found: Mapping[str, Any] = max(reached, key=lambda entry: entry["timeline"])["stretches"][-1]
    return found


def window(wal: Optional[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    """From when to when, for programs."""
    stretch = last_stretch(wal) if wal else None
    return {"start": stretch["start"], "end": stretch["end"], "gap": bool(stretch["missing"])} if stretch else None


def of_schedules(schedules: Sequence[Schedule], unknown: Optional[str], now: datetime.datetime) -> str:
    """next run 26 Nov 02:30 UTC"""
    schedules = [schedule for schedule in schedules if not schedule.goes_on]
    if not schedules:
        return f"next run not known: {unknown}" if unknown else "no schedule on this host"
    times = [schedule.next_run for schedule in schedules if schedule.next_run]
    if times:
        return f"next run {moment(min(times), now)}"
    if all(schedule.idle for schedule in schedules):
        return "no run is going to start"
    return f"next run by {listing([schedule.by for schedule in schedules])}, at a time that is not known"


def of_alerts(alerts: Sequence[Alert]) -> list[str]:
    """The worst first, each with what to do."""
    order = sorted(alerts, key=lambda alert: alert.severity != "critical")
    return [f"{alert.severity}: {' '.join(filter(None, [alert.text, alert.remedy]))}" for alert in order]


def in_short(alerts: Sequence[Alert]) -> str:
    """2 critical, 1 warning"""
    critical = sum(1 for alert in alerts if alert.severity == "critical")
    warnings = len(alerts) - critical
    said = [f"{critical} critical"] * bool(critical) + [count(warnings, "warning")] * bool(warnings)
    return ", ".join(said) or "no warnings"


def of_each(records: Sequence[Mapping[str, Any]], now: datetime.datetime) -> list[str]:
    """A table of backups, the newest first."""
    rows = [("when", "age", "kind", "stored", "where", "encryption", "verified", "drilled", "id")]
    for record in reversed(records):
        stored = stored_size(record)
        rows.append(
            (
                when(record["stopped_at"], now),
                ago(record["stopped_at"], now),
                "dump" if record.get("kind") == "logical" else str(record.get("kind")),
                "unknown" if stored is None else size(stored),
                ", ".join(record.get("tiers") or []),
                (record.get("encryption") or {}).get("method", "unknown"),
                ago(record["verified_at"], now) if record.get("verified_at") else "no",
                _drilled(record, now),
                str(record["id"]) + (" (pinned)" if record.get("pinned") else ""),
            )
        )
    return table(rows)


def _drilled(record: Mapping[str, Any], now: datetime.datetime) -> str:
    """When a drill last proved it; what the last one said, where that is nothing good."""
    verdict = record.get("drill_verdict")
    if verdict == "fail":
        return "FAILED"
    if record.get("drilled_at"):
        return ago(record["drilled_at"], now)
    return str(verdict) if verdict else "no"
