# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the steps into each page of docs/runbooks/, from what the role runbook does: its scenarios, stages and steps, in roles/runbook/vars/main.yml.

python tests/tools/runbook_docs.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]
PAGES = TOP / "docs/runbooks"
HEADING, NEXT = "## Steps\n", "\n## Verification\n"
#: which modes come through a stage, and what it is for
MODES = {
    "assess": "plan, rehearse, real", "plan": "plan, rehearse, real", "gate_begin": "real", "protect": "rehearse (in check mode), real", "isolate": "real",
    "recover": "rehearse, real", "validate": "rehearse, real", "gate_cut_over": "real", "cut_over": "real", "reopen": "real", "record": "rehearse, real",
}  # fmt: skip
GATE = "Asks by `holdfast_dr_gates`: `auto` goes on, `pause` asks at the terminal, `approve` ends the play until it is started again with "
RECORD = "What was measured is held against the objectives, and the record beside the backups is closed."


def variables() -> dict[str, Any]:
    """What the role is made of."""
    found: dict[str, Any] = yaml.safe_load((TOP / "roles/runbook/vars/main.yml").read_text())
    return found


def consent(scenario: dict[str, Any]) -> str:
    """The variable that has to name what is replaced, with an example."""
    what = "shop" if scenario["confirm"] == "holdfast_restore_confirm" else "/var/lib/postgresql/15/main"
    return f'-e \'{{"{scenario["confirm"]}": ["{what}"]}}\''


def given(scenario: dict[str, Any]) -> str:
    """What the scenario has to be told, as an example."""
    examples = {
        "holdfast_restore_databases": "-e holdfast_restore_databases=shop",
        "holdfast_restore_tables": "-e holdfast_restore_tables=orders",
        "holdfast_data_directory": "-e holdfast_data_directory=/var/lib/postgresql/15/main",
    }
    return " ".join(examples[name] for name in scenario["required"])


def steps(name: str) -> str:
    """The part of a page that is made, from its heading on."""
    role = variables()
    scenario = role["holdfast_runbook_scenarios"][name]
    call = f"ansible-playbook -i inventory holdfast.postgres.dr.{name} -b -e @vars.yml --limit db1 {given(scenario)}"
    lines = [
        f"{HEADING}\nMade by `tests/tools/runbook_docs.py` from what the role does. Objectives: RTO {scenario['rto']}, RPO {scenario['rpo']} "
        "(`holdfast_dr_rto`, `holdfast_dr_rpo`).\n\n"
        f"```sh\n{call}\n{call} -e holdfast_dr_mode=rehearse\n{call} \\\n  -e holdfast_dr_mode=real {consent(scenario)}\n```\n\n"
        "The first line only plans. Variables that have to be given: " + ", ".join(f"`{one}`" for one in scenario["required"]) + ".\n\n"
        "| | stage | in the modes | |\n| --- | --- | --- | --- |\n"
    ]  # fmt: skip
    for number, stage in enumerate(role["holdfast_runbook_stages"], start=1):
        done = scenario["stages"].get(stage, [])
        if stage in role["holdfast_runbook_gates"]:
            text = f"{GATE}`holdfast_dr_continue: resume` and `{stage}` in `holdfast_dr_approved`."
        elif stage == "record":
            text = RECORD
        elif not done:
            text = "Nothing here."
        else:
            text = " ".join(" ".join(role["holdfast_runbook_steps"][step].split()) for step in done)
        lines.append(f"| {number} | {stage} | {MODES[stage]} | {text} |\n")
    lines.append(
        "\nIf it ends in the middle: the same call with `-e holdfast_dr_continue=resume` goes on after the last good stage, and\n"
        "`-e holdfast_dr_continue=rollback` takes it back, until the cut over was begun. Without either it is refused, and says how far it came.\n"
    )
    return "".join(lines)


def page(name: str) -> str:
    """The whole page, what was written by hand before and behind as it is."""
    text = (PAGES / f"{name}.md").read_text()
    before, _heading, rest = text.partition(HEADING)
    return before + steps(name) + NEXT + rest.partition(NEXT)[2]


def main() -> None:
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(page(path.stem))


if __name__ == "__main__":
    main()
