# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a notice that cries each hour, or none. Members: the first look, well and not; the same again; worse; better; another rule beside it; one that comes
and goes; a state that is damaged; hundreds of alerts; signs that a shape has a meaning for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.notice import SHAPES, notice


def health(status: str, *codes: str, text: str = "It is old.") -> dict[str, Any]:
    severity = "critical" if status == "critical" else "warning"
    return {
        "status": status,
        "alerts": [{"severity": severity, "code": code, "text": text, "remedy": "Run it."} for code in codes],
    }


def state(status: str, *codes: str) -> str:
    return json.dumps({"status": status, "rules": list(codes)})


@pytest.mark.parametrize(
    ("now", "told", "due", "kept"),
    [
        (health("ok"), "", False, []),
        (health("critical", "a"), "", True, ["a"]),
        (health("critical", "a"), state("critical", "a"), False, ["a"]),
        (health("critical", "a", "a"), state("critical", "a"), False, ["a"]),
        (health("critical", "a"), state("warning", "a"), True, ["a"]),
        (health("warning", "b"), state("critical", "a"), True, ["b"]),
        (health("ok"), state("warning", "b"), True, []),
        (health("ok"), state("ok"), False, []),
        (health("critical", "a", "b"), state("critical", "a"), True, ["a", "b"]),
        (health("critical", "a"), state("critical", "a", "b"), False, ["a", "b"]),
        (health("critical", "a", "b"), state("critical", "a", "b"), False, ["a", "b"]),
        (health("warning", "a"), "{", True, ["a"]),
        (health("warning", "a"), "[]", True, ["a"]),
        (health("warning", "a"), '{"status": "warning", "rules": [1]}', True, ["a"]),
        (health("ok"), "null", False, []),
    ],
)  # fmt: skip
def test_when_it_is_due(now: dict[str, Any], told: str, due: bool, kept: list[str]) -> None:
    for shape in SHAPES:
        found = notice(now, told, "db1", shape)
        assert found["due"] is due and found["state"] == {"status": now["status"], "rules": kept}
        assert notice(now, json.dumps(found["state"]), "db1", shape)["due"] is False


def test_generic() -> None:
    assert notice(health("critical", "a"), state("ok"), "db1", "generic")["body"] == {
        "source": "holdfast.postgres", "server_name": "db1", "status": "critical", "previous": "ok", "resolved": False,
        "summary": "Backups of db1: critical",
        "alerts": [{"severity": "critical", "code": "a", "text": "It is old.", "remedy": "Run it."}], "more": 0,
    }  # fmt: skip
    well = notice(health("ok"), state("critical", "a"), "db1", "generic")["body"]
    assert well["resolved"] and well["alerts"] == [] and well["previous"] == "critical"
    assert notice(health("critical", "a"), "", "db1", "generic")["body"]["previous"] is None


def test_slack() -> None:
    body = notice(health("critical", "a", text="<!channel> a & b"), "", "db1", "slack")["body"]
    assert body == {"text": "*Backups of db1: critical*\n• CRITICAL: &lt;!channel&gt; a &amp; b Run it."}
    assert notice(health("ok"), state("warning"), "db1", "slack")["body"] == {
        "text": "*Backups of db1: resolved, all is well*"
    }


@pytest.mark.parametrize(("status", "colour"), [("ok", "good"), ("warning", "warning"), ("critical", "attention")])
def test_teams(status: str, colour: str) -> None:
    body = notice(health(status, *(["a"] if status != "ok" else [])), "", "db1", "teams")["body"]
    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert body["type"] == "message" and attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4") and card["body"][0]["color"] == colour
    assert [line["text"] for line in card["body"][1:]] == (
        [f"{status.upper()}: It is old. Run it."] if status != "ok" else []
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_stays_small(shape: str) -> None:
    body = json.dumps(notice(health("critical", *map(str, range(300)), text="x" * 5000), "", "db1", shape)["body"])
    assert len(body) < 20_000 and "290" in body
