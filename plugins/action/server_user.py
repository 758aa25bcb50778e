# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_user is this action plugin alone: one line of shell on the host, and no module is sent there."""

from __future__ import annotations

import shlex
from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.holdfast.postgres.plugins.plugin_utils import run_as


class ActionModule(ActionBase):  # type: ignore[misc]
    """server_user"""

    def run(self, tmp: Any = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(
            argument_spec={
                "become_user": {"type": "str"},
                "login_host": {"type": "str"},
                "login_unix_socket": {"type": "str"},
                "login_port": {"type": "int"},
                "data_directory": {"type": "str"},
            }
        )
        directories, port = run_as.arguments(given)
        asked = self._low_level_execute_command(run_as.question(directories, port, given["data_directory"]))
        seen = run_as.read(asked["stdout"])
        if not seen.user:
            said = " ".join(f"{asked['stdout']} {asked['stderr']}".split())
            raise AnsibleActionFail(f"The host did not say who we are there: {said or 'no answer'}.")
        try:
            chosen = run_as.decide(
                seen, given["become_user"], run_as.is_local(given["login_host"]), bool(self._connection.become)
            )
        except run_as.Unclear as exc:
            raise AnsibleActionFail(str(exc))
        # In a container the user may be a number that no file knows: who we are needs no name.
        nameless = chosen.user == seen.user and chosen.user.isdigit()
        about = self._low_level_execute_command(
            'id -gn 2>/dev/null; echo "${HOME:-/}"'
            if nameless
            else f"id -gn {shlex.quote(chosen.user)} && getent passwd {shlex.quote(chosen.user)} | cut -d: -f6"
        )
        lines = [line.strip() for line in about["stdout"].splitlines() if line.strip()]
        if about["rc"] != 0 or len(lines) < 2:
            raise AnsibleActionFail(
                f"{run_as.VARIABLE} is {chosen.user!r}, and there is no such user on this host. Name the one who owns the server."
            )
        method = chosen.method or (task_vars or {}).get("ansible_become_method") or self._play_context.become_method
        return {
            "changed": False,
            "user": chosen.user,
            "become": chosen.become,
            "root": seen.root,
            "method": method or "sudo",
            "group": lines[-2],
            "home": lines[-1],
            "service": run_as.unit(seen) if run_as.is_local(given["login_host"]) else None,
        }
