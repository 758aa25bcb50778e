# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate asks a person at a terminal, and takes nothing but a yes for one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from lab.playbooks import environment
from lab.terminal import Terminal

PLAY = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "holdfast_runbook_scenario": "cluster_loss",
            "holdfast_data_directory": "/data",
            "holdfast_dr_gates": "pause",
            "holdfast_runbook_stage": "gate_begin",
        },
        "tasks": [
            {"ansible.builtin.assert": {"that": "query('holdfast.postgres.role_problems', 'runbook', terminal=true) | length == 0"}},
            {"ansible.builtin.include_role": {"name": "holdfast.postgres.runbook", "tasks_from": "gate", "rolespec_validate": False}},
        ],
    }
]  # fmt: skip


@pytest.mark.parametrize("answer, passes", [("yes", True), ("no", False), ("", False)])
def test_a_gate_at_a_terminal(tmp_path: Path, answer: str, passes: bool) -> None:
    play = tmp_path / "play.yml"
    play.write_text(json.dumps(PLAY))
    bindir = Path(sys.executable).parent
    terminal = Terminal(
        [str(bindir / "ansible-playbook"), "-i", "localhost,", str(play)], environment(tmp_path, bindir), tmp_path
    )
    terminal.expect("Type yes to go on")
    terminal.answer(answer)
    assert (terminal.end() == 0) == passes, terminal.seen
    assert passes or "It was not agreed to at gate_begin" in terminal.seen
