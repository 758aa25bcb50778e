# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes extensions/awx/job_templates.yml: a template of AWX for each playbook, with a survey of what its role may be told.

PYTHONPATH=.work/collections python tests/tools/awx_templates.py

A survey asks for what a run is told: what is no shared variable, and what is required. Where the server and its backups are stands in the
inventory; whatever else there is can be given as extra variables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import SHARED

TOP = Path(__file__).resolve().parents[2]
PATH = TOP / "extensions/awx/job_templates.yml"
HEAD = "---\n# Made by tests/tools/awx_templates.py of a checkout, from meta/argument_specs.yml of each role.\n"

# Shared variables that a run is told, not the inventory; and those of runbooks, by their beginning.
OF_A_RUN = ("holdfast_recovery_target", "holdfast_many")
OF_A_RUNBOOK = "holdfast_dr_"
# What is asked first, by the ends of the variables' names; the rest in the role's own order.
FIRST = (
    "_backup_id",
    "_databases",
    "holdfast_recovery_target",
    "_target_db",
    "_kind",
    "_in_place",
    "_force",
    "_confirm",
)
KINDS = {"int": "integer", "float": "float", "list": "textarea", "dict": "textarea", "raw": "textarea"}
HOW = {
    "list": "Separated by commas, or a list in YAML.",
    "list of dict": "A list in YAML.",
    "dict": "A dictionary in YAML.",
}


class _Wide(yaml.SafeDumper):
    """Lists below their keys, as yamllint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def plain(text: str) -> str:
    """Ansible's markup as text."""
    text = re.sub(r"\b[OVCMP]\(([^()#]*)(?:#\w+)?\)", r"\1", text)
    return " ".join(text.split())


def question(variable: str, option: dict[str, Any], role: str) -> dict[str, Any]:
    """One question of a survey. There are no defaults: a question that nobody answers is as if it were not there."""
    kind = "list of dict" if option.get("elements") == "dict" else option["type"]
    description = option["description"]
    said = plain(" ".join([description] if isinstance(description, str) else description))
    asked = {
        "question_name": variable.removeprefix("holdfast_").removeprefix(f"{role}_").replace("_", " ").capitalize(),
        "question_description": " ".join([said, *([HOW[kind]] if kind in HOW else [])]),
        "variable": variable,
        "type": "password" if option.get("no_log") else KINDS.get(option["type"], "text"),
        "required": bool(option.get("required", False)),
    }
    choices = ["true", "false"] if option["type"] == "bool" else option.get("choices")
    if choices:
        asked |= {"type": "multiplechoice", "choices": [str(choice) for choice in choices]}
    return asked


def survey(role: str) -> list[dict[str, Any]]:
    text = (TOP / "roles" / role / "meta/argument_specs.yml").read_text()
    options = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    many = {
        "type": "bool",
        "description": "Whether a run that changes servers may change several. Without it exactly one.",
    }
    if "one_unless_many" in (TOP / "roles" / role / "tasks/main.yml").read_text():
        options["holdfast_many"] = many
    names = [
        name
        for name, option in options.items()
        if name.removeprefix("holdfast_") not in SHARED
        or name in OF_A_RUN
        or name.startswith(OF_A_RUNBOOK)
        or option.get("required")
    ]
    # The repository is the inventory's, also where a role requires it.
    names = [name for name in names if name != "holdfast_repository"]

    def order(name: str) -> int:
        ends = [place for place, end in enumerate(FIRST) if name.endswith(end)]
        return ends[0] if ends else len(FIRST)

    return [question(name, options[name], role) for name in sorted(names, key=order)]


def template(playbook: Path) -> dict[str, Any]:
    text = playbook.read_text()
    (play,) = yaml.safe_load(text)
    role = playbook.stem
    return {
        "name": f"holdfast {role}",
        "description": play["name"],
        "organization": "{{ holdfast_awx_is.organization }}",
        "project": "{{ holdfast_awx_is.project }}",
        "playbook": f"playbooks/{playbook.name}",
        "inventory": "{{ holdfast_awx_is.inventory }}",
        "execution_environment": "{{ holdfast_awx_is.execution_environment }}",
        "credentials": "{{ holdfast_awx_is.credentials }}",
        "job_type": "run",
        "become_enabled": " -b " in text.partition("# To copy:")[2],
        "allow_simultaneous": False,
        "diff_mode": True,
        "ask_job_type_on_launch": True,
        "ask_limit_on_launch": True,
        "ask_variables_on_launch": True,
        "ask_diff_mode_on_launch": True,
        "notification_templates_error": "{{ holdfast_awx_is.notifications }}",
        "survey_enabled": True,
        "survey_spec": {"name": f"holdfast {role}", "description": play["name"], "spec": survey(role)},
    }


def made() -> str:
    roles = {path.name for path in (TOP / "roles").iterdir()}
    playbooks = [path for path in sorted((TOP / "playbooks").glob("*.yml")) if path.stem in roles]
    data = {"controller_templates": [template(path) for path in playbooks]}
    return HEAD + yaml.dump(data, Dumper=_Wide, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    PATH.write_text(made())
