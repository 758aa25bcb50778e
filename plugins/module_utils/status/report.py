# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report shows of one server: what can be brought back, what was proven of it, what is wrong, and what goes next. ``look`` reads; the rest
is pure. The page itself is made on the controller (plugin_utils/report)."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.open import policy_of
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import candidate, in_sequence
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.described import stored_size
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import (
    PROVING,
    broken_links,
    contents,
    drills,
    missing_numbers,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import LISTED_WHOLE, WITHOUT_DATA
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import named_repositories
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import decide
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import level
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health, counts
from ansible_collections.holdfast.postgres.plugins.module_utils.status.judged import of_rows, see
from ansible_collections.holdfast.postgres.plugins.module_utils.status.text import last_stretch
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time

FORMAT = 1
#: what a report shows of a piece of evidence; the whole of it lies in the repository
_SAID = ("id", "started_at", "stopped_at", "operator", "trigger", "scenario", "sha256")
_PHASE = ("name", "seconds", "ok", "error")
_CHECK = ("name", "scope", "expected", "found", "ok", "detail")
_ASSERTION = ("name", "database", "operator", "expected", "found", "ok", "detail")


def look(params: Mapping[str, Any], every: Optional[int], space: str, now: datetime.datetime) -> dict[str, Any]:
    """Look at everything that the options name. ``every``: seconds in which a good backup is expected; None: as the schedules say.

    Raises:
        BadOption: an option is wrong, so that nobody knows what was asked for.
    """
    own = Policy.from_option(params["retention"])
    seen, dummy, rows = see(params, every, space, now)
    alerts = of_rows(rows)
    told: dict[str, Any] = {
        "format": FORMAT,
        "server_name": seen.server_name,
        "looked_at": format_time(now),
        "known": seen.found is not None,
        "status": level(alerts),
        "rules": [vars(row) for row in rows],
        "alerts": [alert.describe() for alert in alerts],
        "reach": {"kind": "unknown"},
        "backups": [],
        "tiers": [],
        "windows": [],
        "drills": [],
        "chain": [],
    }
    found, health = seen.found, seen.health
    if found is None or health is None:
        return told
    going = _going(params, own, found, now)
    told["backups"] = [
        backup(record, found, health, going.get(record.id)) for record in in_order(found.records.values())
    ]
    told["reach"] = reach(found, health, now)
    told["tiers"] = [
        {
            "name": tier.name,
            "repository": tier.repository,
            "count": tier.count,
            "size": tier.total_size,
            "last_success": tier.last_success,
            "error": tier.error,
        }
        for tier in found.tiers
    ]
    told["windows"] = (found.wal or {}).get("windows", [])
    for name, shelf in found.shelves.items():
        rows_of, chain = _drills(name, shelf, params["evidence"])
        told["drills"] += rows_of
        told["chain"] += [f"{name}: {sentence}" for sentence in chain]
    told["drills"].sort(key=lambda drill: str(drill["at"]))
    return told


def backup(record: Record, found: Gathered, health: Health, goes: Optional[str]) -> dict[str, Any]:
    """One backup. Pure."""
    drill = found.drills.get(record.id)
    return {
        "id": record.id,
        "engine": record.engine,
        "kind": record.kind,
        "data": record.engine not in WITHOUT_DATA,
        "started_at": record.started_at,
        "stopped_at": record.stopped_at,
        "size": stored_size(record.to_dict()),
        "encryption": record.encryption.get("method"),
        "verified_at": record.verified_at,
        "wrong": health.damaged.get(record.id) or found.failures().get(record.id),
        "drilled_at": record.drilled_at,
        "drill_verdict": drill.verdict if drill else None,
        "tiers": found.where.get(record.id, []),
        "pinned": record.pinned,
        "goes": goes,
    }


def reach(found: Gathered, health: Health, now: datetime.datetime) -> dict[str, Any]:
    """What can be brought back. ``kind``: ``window`` (any moment from ``start`` to ``end``, None: not known when; ``gap``: what is missing
    behind it; ``earlier``: so many stretches before it, with gaps between), ``backups`` (their moments alone, ``count`` good ones), ``nothing``, or
    ``unknown``. Pure."""
    stretch = last_stretch(found.wal) if found.wal else None
    if stretch is not None and found.wal is not None:
        end, arrived = stretch["end"], found.wal.get("last_segment_age")
        by = "commit" if end else None
        newest = stretch["last_segment"] and stretch["last_segment"] == found.wal.get("last_segment")
        if not end and newest and arrived is not None:
            end, by = format_time(now - datetime.timedelta(seconds=arrived)), "arrival"
        window = max((one for one in found.wal["windows"] if one["stretches"]), key=lambda one: int(one["timeline"]))
        return {
            "kind": "window",
            "start": stretch["start"],
            "end": end,
            "end_by": by,
            "gap": stretch["missing"],
            "earlier": len(window["stretches"]) - 1,
        }
    good = [
        record
        for record in in_order(found.records.values())
        if record.engine not in WITHOUT_DATA and counts(record, LISTED_WHOLE) and record.id not in health.damaged
    ]
    if health.last_good is not None:
        return {
            "kind": "backups",
            "count": len(good),
            "start": (good[0] if good else health.last_good).stopped_at,
            "end": health.last_good.stopped_at,
            "wal": found.wal is not None,
            "wal_unread": found.wal is None and bool(found.unread),
        }
    unread = bool(found.unread) or any(tier.error for tier in found.tiers)
    return {"kind": "unknown" if unread else "nothing"}


def evidence_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a report shows of a piece of evidence, whatever somebody wrote there: texts, numbers, and lists of rows. Pure."""
    measured, objectives = _fields(content.get("measured")), _fields(content.get("objectives"))
    host, target = _fields(content.get("host")), _fields(content.get("target"))
    return {
        **{name: _text(content.get(name)) for name in _SAID},
        "host": {name: _text(host.get(name)) for name in ("name", "os", "cores")} if host else None,
        "target": {name: _text(target.get(name)) for name in ("asked", "reached")} if target else None,
        "reasons": [str(one) for one in _list(content.get("reasons"))],
        "notes": [str(one) for one in _list(content.get("notes"))],
        "objectives": {name: _number(objectives.get(name)) for name in ("rto", "rpo")},
        "rto_seconds": _number(measured.get("rto_seconds")),
        "rpo_seconds": _number(measured.get("rpo_seconds")),
        "phases": _rows(content.get("phases"), _PHASE),
        "checks": _rows(content.get("checks"), _CHECK),
        "assertions": _rows(content.get("assertions"), _ASSERTION),
    }


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> Optional[str]:
    return None if value is None else str(value)


def _number(value: Any) -> Optional[float]:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12 else None


def _rows(rows: Any, names: Collection[str]) -> list[dict[str, Any]]:
    """``ok`` is true, false or null; whatever else there is a text."""
    return [
        {
            name: (row.get(name) if row.get(name) in (True, False) else None) if name == "ok" else _text(row.get(name))
            for name in names
        }
        for row in _list(rows)
        if isinstance(row, Mapping)
    ]


def _going(params: Mapping[str, Any], own: Policy, found: Gathered, now: datetime.datetime) -> dict[str, Optional[str]]:
    """Why the next prune would delete a backup from some repository, by its id: by its record, as nothing is read for it."""
    policies = {}
    for name, options, _where in named_repositories(params) if params["repository"] or params["repositories"] else ():
        policies[name] = policy_of(options, params)
    going: dict[str, list[str]] = {}
    for tier in sorted({name for names in found.where.values() for name in names}):
        records = [record for record in found.records.values() if tier in found.where[record.id]]
        for name, why in would_go(records, policies.get(tier, own), found, tier, now).items():
            going.setdefault(name, []).append(f"{tier}: {why}")
    return {name: "; ".join(why) for name, why in going.items()}


def would_go(
    records: Sequence[Record], policy: Policy, found: Gathered, tier: str, now: datetime.datetime
) -> dict[str, str]:
    """Why a prune would delete these backups of one repository, by id. Pure."""
    moments = in_sequence(records, now)
    listed_whole = [record.id for record in records if record.engine in LISTED_WHOLE]
    candidates = []
    for record in records:
        wrong = found.hurt.get((record.id, tier)) or found.failed.get((record.id, tier))
        one = replace(candidate(record, wrong), stopped_at=moments[record.id])
        candidates.append(replace(one, verified=True) if record.id in listed_whole and wrong is None else one)
    return {item.id: "; ".join(item.reasons) for item in decide(candidates, policy, now) if not item.keep}


def _drills(tier: str, shelf: Shelf, most: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The drills of one repository, with the evidence of the newest ``most``, and what is wrong with their chain."""
    try:
        known = drills(shelf)
    except HoldfastError as exc:
        return [], [f"Which drills there were is not known: {exc}"]
    read = contents(shelf, known[-most:] if most else [])
    told = {name: (found, wrong) for name, found, wrong in read}
    rows = []
    for drill in known:
        found, wrong = told.get(drill.id, (None, None))
        rows.append(
            {
                "id": drill.id,
                "at": drill.at,
                "verdict": drill.verdict,
                "backup": drill.backup,
                "tier": tier,
                # Its name says that it proved something; what it says is no evidence.
                "proves": drill.verdict in PROVING and wrong is None,
                "wrong": wrong,
                "evidence": evidence_of(found) if found else None,
            }
        )
    return rows, missing_numbers(known) + broken_links(read)
