#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_role
short_description: Make a PostgreSQL role that may back up, and little else
version_added: 0.1.0
description:
  - Makes a role that may log in, read every table past row security, every large object, and every setting; what logical
    backups need, without being a superuser.
  - For PostgreSQL 14 and newer.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the role.
    type: str
    required: true
  password:
    description: Its password when it is made. A role that is there keeps its own.
    type: str
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: A role for backups
  holdfast.postgres.backup_role:
    login_unix_socket: /var/run/postgresql
    name: backup
    password: "{{ vault_backup_password }}"
"""

RETURN = r"""
plan:
  description: What was, or in check mode would be, done.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.server.backup_role import ensure
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Compare, and unless in check mode change."""
    with workspace() as space:
        connection = Address(module.params, space, writes=True).connect()
        plan = ensure(connection, module.params["name"], module.params["password"], module.check_mode)
    result: dict[str, Any] = {"changed": bool(plan), "plan": plan}
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in plan)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=True)


if __name__ == "__main__":
    main()
