# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runbook is told in five places: the role's data, its steps, its playbook, the choices of a variable, and the page. They say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runbook
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import known_names, option_names, role_options
from tools.runbook_docs import MODES, page, variables

TOP = Path(__file__).resolve().parents[2]
ROLE = variables()
SCENARIOS = sorted(ROLE["holdfast_runbook_scenarios"])


def test_each_scenario_has_a_playbook_and_a_page() -> None:
    assert sorted(path.stem for path in (TOP / "playbooks/dr").glob("*")) == SCENARIOS
    assert sorted(path.stem for path in (TOP / "docs/runbooks").glob("*")) == SCENARIOS
    assert sorted(role_options("runbook")["holdfast_runbook_scenario"]["choices"]) == SCENARIOS
    assert tuple(ROLE["holdfast_runbook_stages"]) == runbook.STAGES == tuple(MODES)
    assert tuple(ROLE["holdfast_runbook_gates"]) == runbook.GATES


def test_what_a_page_says_of_modes_is_what_the_core_does() -> None:
    for mode in runbook.MODES:
        assert [stage for stage, said in MODES.items() if mode in said] == runbook.stages_of(mode)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_whole(name: str) -> None:
    scenario = ROLE["holdfast_runbook_scenarios"][name]
    assert parse_duration(scenario["rto"], "rto") and parse_duration(scenario["rpo"], "rpo")
    assert {*scenario["required"], scenario["confirm"]} <= option_names()
    assert set(scenario["stages"]) <= set(runbook.STAGES) - set(runbook.GATES) - {"record"}
    (play,) = yaml.safe_load((TOP / "playbooks/dr" / f"{name}.yml").read_text())
    (task,) = play["tasks"]
    assert task["vars"] == {"holdfast_runbook_scenario": name}
    assert task["ansible.builtin.import_role"] == {"name": "holdfast.postgres.runbook", "rolespec_validate": False}


def test_each_step_is_a_file_with_words_and_has_a_use() -> None:
    used = {
        step
        for one in ROLE["holdfast_runbook_scenarios"].values()
        for steps in one["stages"].values()
        for step in steps
    }
    files = {path.stem.removeprefix("step_") for path in (TOP / "roles/runbook/tasks").glob("step_*.yml")}
    assert used == files == set(ROLE["holdfast_runbook_steps"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_page_has_the_steps_of_the_role(name: str) -> None:
    text = (TOP / "docs/runbooks" / f"{name}.md").read_text()
    assert text == page(name), "run tests/tools/runbook_docs.py"
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Symptoms", "Preflight", "Steps", "Verification", "Rollback", "Afterwards"]
    assert set(re.findall(r"\bholdfast_[a-z_]+[a-z]", text)) <= known_names()
    for link in re.findall(r"\]\(([\w/.]+)\)", text):
        assert (TOP / "docs/runbooks" / link).exists(), link
