# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module run as ever, which ends when the controller does. Within a role of ours, what is empty is not given, and a message names
the role's variables instead of the module's options."""

from __future__ import annotations

import sys
from typing import Any, Optional

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.holdfast.postgres.plugins.plugin_utils.ansible_messages import in_role_words
from ansible_collections.holdfast.postgres.plugins.plugin_utils.command_line import command_line
from ansible_collections.holdfast.postgres.plugins.plugin_utils.controller import ends_with_the_controller
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import arguments
from ansible_collections.holdfast.postgres.plugins.plugin_utils.hosts import with_host
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import (
    in_variables,
    option_names,
    role_options,
    variable,
)

COLLECTION = "holdfast.postgres."

# The Python environment that setup makes, and where modules look for one that has what they need (module_utils/interpreter.py).
PYTHON_VENV = "holdfast_python_venv"

# Options that a message may speak of, although the task does not give them: defaults of an action group, and what consents.
CONSENT = (
    "force", "confirm", "accept_new_server", "stop_server", "terminate_sessions", "replace", "lock_wait", "engine", "engine_program",
    "engine_options", "config_dir", "encryption", "repository", "data_directory", "service", "owner", "config_file",
    "continue", "take_over",
)  # fmt: skip


class RoleAction(NormalAction):  # type: ignore[misc]
    """The action plugin of each module that a role calls."""

    def run(self, tmp: Any = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        full = self._task._role.get_name() if self._task._role else ""
        ours, role = full.startswith(COLLECTION), full[len(COLLECTION) :]
        if ours:
            # A role hands on what its user said; where that is an empty answer of a survey, it is the module's default. Of a list's text Ansible
            # would make one by commas alone, brackets and all.
            spec = role_options(role)
            lists = {one for one in self._task.args if spec.get(variable(role, one), {}).get("type") == "list"}
            self._task.args = arguments(self._task.args, lists)
        environment = self._templar.template((task_vars or {}).get(PYTHON_VENV, None))
        if environment:
            self._task.environment = [*(self._task.environment or []), {"HOLDFAST_PYTHON_VENV": str(environment)}]
        with ends_with_the_controller():
            result: dict[str, Any] = self.run_module(tmp, task_vars or {})
        if self._task.check_mode:
            result["check_mode"] = True  # also where the task alone is in it, which its role cannot see
        if ours and result.get("consent"):
            host = str((task_vars or {}).get("inventory_hostname", ""))
            self._say_what_to_type(result, role, host)
        if ours and result.get("failed") and isinstance(result.get("msg"), str):
            said = in_role_words(result["msg"], role, {*self._task.args, *CONSENT}, option_names())
            if said != result["msg"]:
                result["msg"] = said
                # From 2.19 on the console shows what is in here, with the module's own words; without it, the message.
                result.pop("exception", None)
        return result

    def _say_what_to_type(self, result: dict[str, Any], role: str, host: str) -> None:
        """The plan in the role's words, and in ``to_confirm`` the line that carries it out: this command, without check mode, with consent."""
        options = option_names()
        result["plan"] = [in_variables(step, role, result["consent"], options) for step in result.get("plan", [])]
        agreed = {**result["consent"]}
        if "confirm" in agreed:
            agreed["confirm"] = with_host(agreed["confirm"], host)
        result["to_confirm"] = command_line(sys.argv, {variable(role, name): value for name, value in agreed.items()})

    def run_module(self, tmp: Any, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module itself."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result
