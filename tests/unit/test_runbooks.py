# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runbook is told in five places: the role's data, its steps, its playbook, the choices of a variable, and the page. They say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runbook
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import given
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import known_names, option_names, role_options
from jinja2.nativetypes import NativeEnvironment
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


def said(name: str, **values: Any) -> Any:
    """What a variable of the role says, where these others say so."""
    environment = NativeEnvironment()
    environment.filters.update({"bool": bool, "holdfast.postgres.given": given})
    return environment.from_string(ROLE[name]).render(**values)


@pytest.mark.parametrize("of_databases", [True, False])
def test_a_run_is_gone_on_with_on_its_own_host(of_databases: bool) -> None:
    """A server_name is that of several hosts, such as a standby's: there nothing was isolated, and nothing proven."""
    known = {"holdfast_runbook_of_databases": of_databases, "holdfast_runbook_databases": ["shop"]}
    one, other = (
        runbook.Wanted(
            "x", "real", said("holdfast_runbook_subject", **known, inventory_hostname=host), runbook.RESUME, None
        )
        for host in ("db1", "db2")
    )
    run = runbook.wait(runbook.begin_run("id", one, {}, "eva", {}, "2026-11-26T12:00:00Z"), "gate_cut_over")
    assert runbook.judge(run, one, {}, False) == runbook.RESUME
    with pytest.raises(BadOption, match=r"of something else \(host\).*db1.*give the new one that name"):
        runbook.judge(run, other, {}, False)


def test_who_is_still_kept_away_is_said() -> None:
    """After a run and after a rollback, where tasks keep applications away, and none let them in again."""
    for given_too, notes in (({}, 1), ({"holdfast_dr_reopen_tasks": "/b.yml"}, 0)):
        assert len(said("holdfast_runbook_still_away", holdfast_dr_isolate_tasks="/a.yml", **given_too)) == notes
    assert said("holdfast_runbook_still_away") == []
    for name in ("step_reopen", "rollback"):
        assert "holdfast_runbook_still_away" in (TOP / "roles/runbook/tasks" / f"{name}.yml").read_text()


@pytest.mark.parametrize(("stage", "back"), [("protect", True), ("cut_over", False), ("reopen", False)])
def test_what_is_said_after_a_failure_can_be_done(stage: str, back: bool) -> None:
    told = said("holdfast_runbook_after_failure", holdfast_runbook_mode="real", holdfast_runbook_stage=stage)
    assert "resume" in told and ("rollback" in told) == back


def test_what_a_step_says_to_a_role_is_heard() -> None:
    """Extra variables take precedence over it: each such name is looked at before anything is done. Of ids the run's own subject tells."""
    told: set[str] = set()
    for path in (TOP / "roles/runbook/tasks").glob("step_*.yml"):
        waiting = yaml.safe_load(path.read_text())
        while waiting:
            task = waiting.pop()
            waiting += [*task.get("block", []), *task.get("rescue", [])]
            told |= set(task.get("vars", {})) if "ansible.builtin.include_role" in task else set()
    chosen = set(ROLE["holdfast_runbook_chooses"])
    assert told - {"holdfast_restore_backup_id", "holdfast_recover_backup_id"} == chosen
    (probes,) = [
        set(task["vars"])
        for task in yaml.safe_load((TOP / "roles/runbook/tasks/refuse.yml").read_text())
        if "vars" in task
    ]
    assert probes - {"holdfast_runbook_deaf"} == chosen


@pytest.mark.parametrize(
    ("mode", "gates", "check", "asks"),
    [("real", "pause", False, True), ("real", "pause", True, False), ("rehearse", "pause", False, False), ("real", "", False, False)],
)  # fmt: skip
def test_who_asks_at_the_terminal_has_one_host(mode: str, gates: str, check: bool, asks: bool) -> None:
    """ansible.builtin.pause asks once for all hosts, and the others hear no answer."""
    given_too = {"holdfast_dr_mode": mode, "holdfast_dr_gates": gates, "ansible_check_mode": check}
    assert said("holdfast_runbook_asks", **given_too) is asks
    assert "hosts='one' if holdfast_runbook_asks" in (TOP / "roles/runbook/tasks/main.yml").read_text()
