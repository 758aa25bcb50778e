# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""extensions/awx/job_templates.yml is made from the roles; what configure_awx is told is one list. The rest: integration/test_awx.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import OF_AWX
from tools.awx_templates import PATH, made, survey

TOP = Path(__file__).resolve().parents[2]


def test_the_templates_are_those_of_the_roles() -> None:
    assert PATH.read_text() == made(), "run tests/tools/awx_templates.py"


def test_what_the_playbook_is_told_is_what_its_files_read() -> None:
    texts = [path.read_text() for path in (TOP / "extensions/awx").glob("*.yml")]
    head = (TOP / "playbooks/configure_awx.yml").read_text().partition("\n- name:")[0]
    made_here = {"awx_is", "awx_place", "awx_secrets", "awx_from_credentials"}
    read = {name for text in texts for name in re.findall(r"\bholdfast_(awx_\w+)", text)} - made_here
    assert read == OF_AWX
    assert set(re.findall(r"\bholdfast_(awx_\w+)", head)) == OF_AWX
    page = (TOP / "docs/awx.md").read_text()
    assert set(re.findall(r"^\| `holdfast_(awx_\w+)`", page, re.MULTILINE)) == OF_AWX


def test_each_file_has_variables_of_its_own() -> None:
    """They are read one after another: of two of one name the last would win."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
    names = [
        name
        for path in sorted((TOP / "extensions/awx").glob("*.yml"))
        for name in yaml.load(path.read_text(), Loader=Loader)
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("role", "first"),
    [
        ("restore", ["holdfast_restore_backup_id", "holdfast_restore_databases", "holdfast_restore_target_db"]),
        ("runbook", ["holdfast_restore_backup_id", "holdfast_recover_backup_id", "holdfast_restore_databases"]),
        ("recover", ["holdfast_recover_backup_id", "holdfast_recovery_target", "holdfast_recover_in_place"]),
    ],
)
def test_what_matters_is_asked_first(role: str, first: list[str]) -> None:
    asked = [question["variable"] for question in survey(role)]
    assert asked[:3] == first
    confirms = [name for name in asked if name.endswith("_confirm")]
    assert confirms and set(confirms) <= set(asked[:8])


def test_a_runbook_is_asked_how_far_it_goes() -> None:
    asked = {question["variable"] for question in survey("runbook")}
    assert {"holdfast_runbook_scenario", "holdfast_dr_mode", "holdfast_dr_gates", "holdfast_recover_confirm"} <= asked
