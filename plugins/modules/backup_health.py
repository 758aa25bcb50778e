#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_health
short_description: Judge by rules whether a server's backups are well
version_added: 0.1.0
description:
  - Looks at all that M(holdfast.postgres.backup_status) looks at, and at the room that is left, the copies, the sizes and durations, and what
    stores say of themselves, and judges it by rules. Each has a severity, a sentence, what to do, and limits that can be set; each can be switched off.
  - It only reads. What cannot be looked at is said to be unknown, and is no good.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
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
    description:
      - What is to be other than usual, a dictionary by the rule's name. V(false) switches a rule off; else a dictionary has its C(severity) (V(warning),
        V(critical)), and its limits.
      - C(newest_backup) (C(max_age), 36h, where neither O(expected_every) nor a schedule says how often one is made), C(failed_verification), C(verified)
        (C(max_age), 30d, since a backup was last read back), C(last_drill), C(drilled) (C(max_age), 35d), C(drilled_newest) (C(drills), 3, none of
        which was of an older backup), C(window) (C(promised), for how long back any moment is to be reached), C(wal_lag)
        (C(max_age), 15min),
        C(space) (C(used), 80 percent, and C(backups), 2, so many of the largest of the last have to fit), C(copies) (C(least), 2), C(encrypted),
        C(size_changed) and C(duration_changed) (C(by), 0.5 of the median of those before, and C(backups), 4, without which nothing is compared),
        C(store_settings), C(clocks) and C(one_server).
      - The alerts of M(holdfast.postgres.backup_status) are rules of their own, by their C(code), such as C(archiving_fails) or C(wal_gap).
    type: dict
    default: {}
  metrics:
    description: Whether it is also returned as metrics of Prometheus, for M(holdfast.postgres.backup_metrics).
    type: bool
    default: false
  fail_on:
    description: From which severity on the module fails, with its whole result.
    type: str
    choices: [never, warning, critical]
    default: never
seealso:
  - module: holdfast.postgres.backup_status
  - module: holdfast.postgres.backup_verify
  - module: holdfast.postgres.backup_metrics
"""

EXAMPLES = r"""
- name: Are the backups well?
  holdfast.postgres.backup_health:
    repository:
      path: /backups
    server_name: db1
    rules:
      newest_backup:
        max_age: 25h
      window:
        promised: 14d
      encrypted: false
      copies:
        severity: critical
  register: health

- name: Say it
  ansible.builtin.debug:
    msg: "{{ health.lines }}"

- name: Tell somebody of each
  ansible.builtin.debug:
    msg: "{{ item.severity }}: {{ item.text }} {{ item.remedy }}"
  loop: "{{ health.alerts }}"
"""

RETURN = r"""
status:
  description: V(ok), V(warning) or V(critical), as the worst of C(alerts).
  returned: always
  type: str
summary:
  description: All of it in one line.
  returned: always
  type: str
lines:
  description: A short table, what is wrong first, and what to do.
  returned: always
  type: list
  elements: str
alerts:
  description: What is wrong, the worst first, each with C(severity) (V(warning), V(critical)), C(code) (the rule), C(text) and C(remedy).
  returned: always
  type: list
  elements: dict
rules:
  description: Each rule that had something to say, with C(rule), C(title), C(severity) (V(ok), V(warning), V(critical)), C(text) and C(remedy).
  returned: always
  type: list
  elements: dict
metrics:
  description: The same for Prometheus, in its text format.
  returned: with O(metrics)
  type: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import Incomplete
from ansible_collections.holdfast.postgres.plugins.module_utils.module import VERSION, execute
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import LEVELS
from ansible_collections.holdfast.postgres.plugins.module_utils.status.judged import look
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Look, and judge."""
    params = module.params
    every: Optional[int] = None
    if params["expected_every"]:
        every = parse_duration(params["expected_every"], "expected_every")
    with workspace() as space:
        result = {"changed": False, **look(params, every, space, utcnow(), VERSION)}
    if params["fail_on"] != "never" and LEVELS.index(result["status"]) >= LEVELS.index(params["fail_on"]):
        raise Incomplete(result["summary"], result)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.LOOK,
            **argspec.SCHEDULES,
            "rules": {"type": "dict", "default": {}},
            "metrics": {"type": "bool", "default": False},
            "fail_on": {"type": "str", "choices": ["never", "warning", "critical"], "default": "never"},
        },
        **argspec.LOOK_RULES,
    )
    execute(module, work, psycopg2=module.params["archiving"])


if __name__ == "__main__":
    main()
