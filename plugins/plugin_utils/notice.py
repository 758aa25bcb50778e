# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody is to be told how the backups stand, and in which shape a webhook takes it. Pure.

A notice is due when the status changes, or a rule is broken that was not told of since it did; never for the same again, or a fault would cry each hour
until nobody reads it. That all is well is told once, after something was wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

SHAPES = ("generic", "slack", "teams")
OK = "ok"
_MOST = 10  # alerts in one message
_LONGEST = 500  # characters of one; Teams takes 28 KB


def notice(health: Mapping[str, Any], told: str, server_name: str, shape: str) -> dict[str, Any]:
    """What to do: ``due``, the ``body`` of the message, and ``state``, which is to be kept once it was taken.

    ``health``: what ``backup_health`` returned. ``told``: the state that was kept, as JSON; what is none is as if nobody was told yet.
    """
    before = _understood(told)
    now = {"status": health["status"], "rules": sorted({alert["code"] for alert in health["alerts"]})}
    same = before is not None and before["status"] == now["status"]
    known = set(before["rules"]) if same and before else set()
    due = now["status"] != OK if before is None else not same or bool(set(now["rules"]) - known)
    # What comes and goes while the status stays is told once.
    state = {"status": now["status"], "rules": sorted({*now["rules"], *known})}
    body = _BODIES[shape](health, server_name, before["status"] if before else None)
    return {"due": due, "body": body, "state": state}


def _understood(told: str) -> Optional[dict[str, Any]]:
    try:
        found = json.loads(told)
    except ValueError:
        return None
    good = (
        isinstance(found, dict)
        and isinstance(found.get("status"), str)
        and isinstance(found.get("rules"), list)
        and all(isinstance(rule, str) for rule in found["rules"])
    )
    return found if good else None


def _head(health: Mapping[str, Any], server_name: str) -> str:
    status = health["status"]
    return f"Backups of {server_name}: {'resolved, all is well' if status == OK else status}"


def _sentences(alerts: Sequence[Mapping[str, Any]]) -> list[str]:
    told = [
        f"{alert['severity'].upper()}: {_cut(alert['text'])}"
        + (f" {_cut(alert['remedy'])}" if alert.get("remedy") else "")
        for alert in alerts[:_MOST]
    ]
    return told + ([f"And {len(alerts) - _MOST} more: the playbook health says all."] if len(alerts) > _MOST else [])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _generic(health: Mapping[str, Any], server_name: str, before: Optional[str]) -> dict[str, Any]:
    alerts = health["alerts"]
    return {
        "source": "holdfast.postgres",
        "server_name": server_name,
        "status": health["status"],
        "previous": before,
        "resolved": health["status"] == OK,
        "summary": _head(health, server_name),
        "alerts": [{**alert, "text": _cut(alert["text"])} for alert in alerts[:_MOST]],
        "more": max(0, len(alerts) - _MOST),
    }


def _slack(health: Mapping[str, Any], server_name: str, _before: Optional[str]) -> dict[str, Any]:
    """docs.slack.dev, incoming webhooks: ``text``, in which three characters are escaped."""
    lines = [f"*{_plain(_head(health, server_name))}*", *(f"• {_plain(line)}" for line in _sentences(health["alerts"]))]
    return {"text": "\n".join(lines)}


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(health: Mapping[str, Any], server_name: str, _before: Optional[str]) -> dict[str, Any]:
    """What Teams' workflows take ("when a webhook request is received"): an adaptive card."""
    colour = {OK: "good", "warning": "warning"}.get(health["status"], "attention")
    head = {"type": "TextBlock", "size": "medium", "weight": "bolder", "color": colour, "wrap": True}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {**head, "text": _head(health, server_name)},
            *({"type": "TextBlock", "wrap": True, "text": line} for line in _sentences(health["alerts"])),
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


_BODIES = {"generic": _generic, "slack": _slack, "teams": _teams}
