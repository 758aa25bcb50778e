#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_report
short_description: Gather what a report shows of a server's backups
version_added: 0.1.0
description:
  - Looks at all that M(holdfast.postgres.backup_health) looks at, judges it by the same rules, and adds each backup, the moments that can be
    reached, the drills with the evidence of the last ones, and what the retention would take next.
  - M(holdfast.postgres.report_file) makes one page of what this found on each host, on the controller. The role
    P(holdfast.postgres.report#role) does both.
  - It only reads manifests, listings and evidence, never a backup's content.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.retention
  - holdfast.postgres.archiver
  - holdfast.postgres.archiver.reading
  - holdfast.postgres.look
  - holdfast.postgres.look.schedules
  - holdfast.postgres.kubernetes
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  rules:
    description: What is to be other than usual, as in M(holdfast.postgres.backup_health).
    type: dict
    default: {}
  evidence:
    description: Of so many of the last drills of each repository the evidence is read. Of the others their names tell when, of what, and the verdict.
    type: int
    default: 12
seealso:
  - module: holdfast.postgres.report_file
  - module: holdfast.postgres.backup_health
"""

EXAMPLES = r"""
- name: Look at the backups of each server
  holdfast.postgres.backup_report:
    repository:
      path: /backups
    server_name: "{{ inventory_hostname }}"
    retention:
      keep_daily: 7
  register: looked

- name: Make one page of it, on the controller
  holdfast.postgres.report_file:
    dest: [backups.html]
    variable: looked
  run_once: true
"""

RETURN = r"""
report:
  description:
    - What there is, with C(server_name), C(looked_at), C(known) (whether anything could be read), C(status), C(alerts), C(rules), C(reach) (what can
      be brought back), C(backups), C(tiers), C(windows), C(drills) and C(chain) (what is wrong with the evidence).
  returned: always
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.status.report import look
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Look."""
    params = module.params
    every: Optional[int] = None
    if params["expected_every"]:
        every = parse_duration(params["expected_every"], "expected_every")
    if params["evidence"] < 0:
        raise BadOption("evidence", params["evidence"], "is no number of drills", "Use 0 or more.")
    with workspace() as space:
        return {"changed": False, "report": look(params, every, space, utcnow())}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.LOOK,
            **argspec.SCHEDULES,
            **argspec.RETENTION,
            "rules": {"type": "dict", "default": {}},
            "evidence": {"type": "int", "default": 12},
        },
        **argspec.LOOK_RULES,
    )
    execute(module, work, psycopg2=module.params["archiving"])


if __name__ == "__main__":
    main()
