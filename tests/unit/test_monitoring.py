# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: an alert that can never fire, as what it asks for is not there. Members: a metric or label of a rule, of its tests, or of a dashboard's query that is
none of ours; a rule without a remedy; two of one name; a page that is not there. promtool runs the rules' own tests where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils.status.metrics import FAMILIES

TOP = Path(__file__).resolve().parents[2]
MONITORING = TOP / "extensions/monitoring"
#: those of unit/status/test_metrics, and what Prometheus adds
LABELS = {"server_name", "version", "severity", "rule", "tier", "engine", "kind", "state", "instance", "alertname", "alertstate"}  # fmt: skip
RULES: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PAGES = "https://github.com/holdfast/postgres/blob/main/"


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["query"]["query"] if isinstance(variable["query"], dict) else ""


def labels(expression: str) -> set[str]:
    grouped = re.findall(r"\b(?:by|on|group_left|label_values)\s*\(([^()]*)\)", expression)
    matched = re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    named = {name.strip() for group in grouped for name in group.split(",") if not name.strip().startswith("holdfast_")}
    return {*named, *matched} - {""}


def metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bholdfast_[a-z_]+", expression))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    assert metrics(expression) and metrics(expression) <= set(FAMILIES), expression
    assert labels(expression) <= LABELS, expression
    assert expression.count("(") == expression.count(")") and expression.count("{") == expression.count("}")
    assert rule["labels"]["severity"] in ("warning", "critical") and re.fullmatch(r"Holdfast[A-Za-z]+", rule["alert"])
    told = rule["annotations"]
    assert set(told) == {"summary", "remedy", "runbook_url"} and all(told.values())
    assert set(re.findall(r"\$labels\.([a-z_]+)", told["summary"])) <= LABELS
    page, _mark, heading = told["runbook_url"].removeprefix(PAGES).partition("#")
    headings = re.findall(r"^#+ (.*)$", (TOP / page).read_text(), re.MULTILINE)
    assert not heading or heading in [re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-") for text in headings]


def test_each_has_a_name_of_its_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_what_the_rules_own_tests_ask_for() -> None:
    tests = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())
    assert tests["rule_files"] == ["alerts.yml"]
    text, alerts = (MONITORING / "alerts_test.yml").read_text(), {rule["alert"] for rule in RULES}
    assert metrics(text) <= set(FAMILIES)
    assert set(re.findall(r"\bHoldfast[A-Za-z]+", text)) <= alerts


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_by_promtool() -> None:
    for argv in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *argv], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard() -> None:
    asked = [query for query in queries() if query]
    assert len(asked) > 10
    for query in asked:
        assert metrics(query) and metrics(query) <= set(FAMILIES), query
        assert labels(query) <= LABELS, query
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken)) and max(x for x, _y in taken) < 24, "two panels in one place"
