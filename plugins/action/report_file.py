# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""report_file is this action plugin alone: it makes files on the controller of what the hosts of the play returned."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import REPORT_FILE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import arguments
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.files import make
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.hosts import looked

ASKED = ("report", "failed", "unreachable", "skipped", "msg")


class ActionModule(ActionBase):  # type: ignore[misc]
    """report_file"""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task.args = arguments(self._task.args, {"dest"})
        _validation, given = self.validate_argument_spec(argument_spec=REPORT_FILE)
        told = task_vars or {}
        hosts, known = told.get("ansible_play_hosts_all") or [told["inventory_hostname"]], told["hostvars"]
        # Not as a template would have it: what servers are called is nobody's template, and of hundreds it would take minutes.
        results = {str(host): _plain(known.raw_get(host).get(given["variable"])) for host in hosts}
        try:
            paths = [os.path.abspath(path) for path in given["dest"]]
            seen, files = make(
                given["title"], looked(results), given["since"], given["until"], paths, self._task.check_mode
            )
        except HoldfastError as exc:
            raise AnsibleActionFail(str(exc))
        return {
            "changed": any(one["changed"] for one in files),
            "files": files,
            "summary": seen.in_short(),
            "servers": [
                {
                    "host": one.host,
                    "name": one.name,
                    "status": one.status,
                    "proven": not one.unproven,
                    "sentence": one.sentence,
                }
                for one in seen.servers
            ],
        }


def _plain(result: Any) -> Any:
    """What is asked of a result, without what Ansible adds to it and to its texts."""
    if not isinstance(result, Mapping):
        return None
    return json.loads(json.dumps({name: result[name] for name in ASKED if name in result}, default=str))
