# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module runbook_record, for the ansible-playbook that is at the run: only the controller knows it, and whether another one still lives."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import (
    Here,
    by_process,
    myself,
    started,
)
from ansible_collections.holdfast.postgres.plugins.plugin_utils.controller import process
from ansible_collections.holdfast.postgres.plugins.plugin_utils.role_action import RoleAction


def controller() -> dict[str, Any]:
    """What a record says of its holder: the ansible-playbook, and not the process of this task."""
    pid = process()
    return {**myself("runbook"), "pid": pid, "process_started": started(pid)}


class ActionModule(RoleAction):
    """runbook_record"""

    def run_module(self, tmp: Any, task_vars: dict[str, Any]) -> dict[str, Any]:
        self._task.args = {**self._task.args, "holder": controller()}
        result = super().run_module(tmp, task_vars)
        held = result.get("held_by")
        if self._task.args.get("state") != "started" or not held:
            return result
        # One that died here is known to be dead; of one elsewhere nobody can say it, and the refusal stands.
        if by_process(json.dumps(held).encode(), Here.look()):
            self._task.args["gone"] = held
            return super().run_module(tmp, task_vars)
        return result
