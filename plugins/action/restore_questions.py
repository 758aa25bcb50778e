# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore_questions is this action plugin alone: it asks at the controller's terminal, and has backup_facts look on the host."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import as_list, is_given
from ansible_collections.holdfast.postgres.plugins.plugin_utils.restore_dialogue import (
    Dialogue,
    GivenUp,
    Known,
    NotFound,
    consents,
)
from ansible_collections.holdfast.postgres.plugins.plugin_utils.role_action import RoleAction

NO_TERMINAL = (
    "Nobody can be asked here: there is no terminal, or holdfast_interactive is false. Nothing was done. Set {missing}."
)


class ActionModule(RoleAction):
    """restore_questions"""

    def run_module(self, tmp: Any, task_vars: dict[str, Any]) -> dict[str, Any]:
        given = self._task.args
        problem, answers, agreed = "", {}, False
        try:
            if "plan" in given:
                plan = [str(step) for step in given["plan"]]
                agreed = consents(self._ask, plan, given.get("consent") or {})
                problem = "" if agreed else "That was no consent. Nothing was done."
            else:
                answers = self._answers(given, task_vars)
        except (NotFound, GivenUp) as exc:
            problem = str(exc)
        except AnsiblePromptInterrupt:
            problem = "Stopped at a question. Nothing was done."
        except AnsiblePromptNoninteractive:
            problem = NO_TERMINAL.format(missing=_missing(given))
        # Not a failure of this task: its result has secrets, and is not shown. The role says it by the next one.
        return {"changed": False, "problem": problem, "answers": answers, "agreed": agreed}

    def _answers(self, given: Mapping[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        databases = given.get("databases")
        known = Known(
            repository=given.get("repository"),
            server_name=str(given.get("server_name", "")),
            backup_id=given.get("backup_id"),
            databases=as_list(databases) if isinstance(databases, str) else databases,
            target_db=given.get("target_db"),
            encryption=given.get("encryption"),
        )

        def look(repository: Mapping[str, Any], server: str) -> Mapping[str, Any]:
            result = self._execute_module(
                module_name="holdfast.postgres.backup_facts",
                module_args={"repository": dict(repository), "server_name": server},
                task_vars=task_vars,
            )
            if result.get("failed"):
                raise NotFound(str(result.get("msg", "The repository cannot be read.")))
            facts: Mapping[str, Any] = result["ansible_facts"]["holdfast_backups"]
            return facts

        return Dialogue(self._ask, look, datetime.datetime.now(datetime.timezone.utc)).answers(known)

    def _ask(self, prompt: str, secret: bool) -> str:
        said = Display().prompt_until(f"{prompt}:", private=secret)
        return bytes(said).decode(errors="replace")


def _missing(given: Mapping[str, Any]) -> str:
    """The variables that the questions would have been about."""
    wanted = {
        "repository": "holdfast_repository (or holdfast_repositories)",
        "backup_id": "holdfast_restore_backup_id (or latest)",
        "databases": "holdfast_restore_databases, where not all are meant",
    }
    missing = [text for name, text in wanted.items() if not is_given(given.get(name))]
    if "plan" in given:
        missing = ["holdfast_restore_force and holdfast_restore_confirm"]
    return ", ".join(missing) or "holdfast_interactive: false"
