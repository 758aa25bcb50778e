# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""extensions/eda: what an alert may start by itself. Kind: an alert that changes data, one that starts the same run each minute, one that no rule
of ours is for, a template that is not there. That the rules fire is integration/test_eda.py's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]
((RULESET),) = yaml.safe_load((TOP / "extensions/eda/rulebooks/holdfast.yml").read_text())
RULES: list[dict[str, Any]] = RULESET["rules"]
MAY_START = {"holdfast drill", "holdfast verify", "holdfast audit", "holdfast report"}


def test_only_what_looks_is_started() -> None:
    templates = yaml.safe_load((TOP / "extensions/awx/job_templates.yml").read_text())["controller_templates"]
    started = [rule["action"]["run_job_template"] for rule in RULES]
    assert {one["name"] for one in started} == MAY_START <= {template["name"] for template in templates}
    # A server alone, but for the page of all of them.
    assert all("limit" in one.get("job_args", {}) for one in started if one["name"] != "holdfast report")


def test_nothing_is_started_again_and_again() -> None:
    for rule in RULES:
        assert rule["throttle"]["group_by_attributes"] == ["event.alert.labels.server_name"]
        assert 'event.alert.status == "firing"' in rule["condition"]


def test_the_alerts_are_ours_and_answered_once() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((TOP / "extensions/monitoring/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    named = [name for rule in RULES for name in re.findall(r'"(Holdfast\w+)"', rule["condition"])]
    assert len(set(named)) == len(named) and set(named) <= alerts
