# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report for programs and auditors: JSON has all that was found in the period, CSV a row for each backup, drill and alert. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.fleet import Fleet, Server, seconds

FORMAT = 1
COLUMNS = (
    "server", "host", "what", "time", "result", "id", "backup", "engine", "kind", "repository", "encryption", "bytes", "seconds", "verified_at",
    "drilled_at", "rto_seconds", "rto_objective_seconds", "rpo_seconds", "rpo_objective_seconds", "operator", "settled_at", "sha256", "text", "remedy",
)  # fmt: skip
#: a spreadsheet takes for a formula what begins so
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def content(fleet: Fleet) -> dict[str, Any]:
    """What JSON has."""
    return {"format": FORMAT, **fleet.period.describe(), "servers": [_server(one, fleet) for one in fleet.servers]}


def _server(one: Server, fleet: Fleet) -> dict[str, Any]:
    told = {
        "host": one.host,
        "server_name": one.name,
        "status": one.status,
        "proof": one.proof,
        "sentence": one.sentence,
        "error": one.error,
    }
    if not one.report:
        return told
    rest = {name: value for name, value in one.report.items() if name not in told and name != "format"}
    drills = [
        {**drill, "settled_at": one.settled.get(f"{drill['tier']}/{drill['id']}")}
        for drill in one.report["drills"]
        if fleet.period.has(drill["at"])
    ]
    backups = [entry for entry in one.report["backups"] if fleet.period.has(entry["stopped_at"])]
    return {**told, **rest, "backups": backups, "drills": drills}


def as_json(fleet: Fleet) -> str:
    """Raises no error for what is no Unicode: it is replaced where it is written."""
    return json.dumps(content(fleet), indent=1, sort_keys=True) + "\n"


def as_csv(fleet: Fleet) -> str:
    """By RFC 4180, with a line of heads."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for one in fleet.servers:
        for row in _rows(one, fleet):
            writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _rows(one: Server, fleet: Fleet) -> Iterator[Mapping[str, Any]]:
    of = {"server": one.name, "host": one.host}
    looked_at = one.report.get("looked_at")
    yield {
        **of,
        "what": "server",
        # With a time each run would write another file.
        "result": one.status,
        "text": one.error or f"proof: {one.proof}",
    }
    if looked_at is None:
        return
    for entry in one.report["backups"]:
        if fleet.period.has(entry["stopped_at"]):
            yield {
                **of,
                "what": "backup",
                "time": entry["stopped_at"],
                "result": "bad" if entry["wrong"] else "good" if entry["verified_at"] else "not verified",
                "id": entry["id"],
                "engine": entry["engine"],
                "kind": entry["kind"],
                "repository": ", ".join(entry["tiers"]),
                "encryption": entry["encryption"],
                "bytes": entry["size"],
                "seconds": seconds(entry),
                "verified_at": entry["verified_at"],
                "drilled_at": entry["drilled_at"],
                "text": entry["wrong"],
            }
    for drill in one.report["drills"]:
        if not fleet.period.has(drill["at"]):
            continue
        evidence = drill["evidence"] or {}
        objectives = evidence.get("objectives") or {}
        yield {
            **of,
            "what": "drill",
            "time": drill["at"],
            "result": "unreliable" if drill["wrong"] else drill["verdict"],
            "id": drill["id"],
            "backup": drill["backup"],
            "repository": drill["tier"],
            "rto_seconds": evidence.get("rto_seconds"),
            "rto_objective_seconds": objectives.get("rto"),
            "rpo_seconds": evidence.get("rpo_seconds"),
            "rpo_objective_seconds": objectives.get("rpo"),
            "operator": evidence.get("operator"),
            "settled_at": one.settled.get(f"{drill['tier']}/{drill['id']}"),
            "sha256": evidence.get("sha256"),
            "text": drill["wrong"] or " ".join(evidence.get("reasons") or ()),
        }
    for alert in one.report["alerts"]:
        yield {
            **of,
            "what": "alert",
            "result": alert["severity"],
            "id": alert["code"],
            "text": alert["text"],
            "remedy": alert["remedy"],
        }
