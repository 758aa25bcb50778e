#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_status
short_description: Say on one screen how a server's backups stand
version_added: 0.1.0
description:
  - Says how many backups there are, how old the newest good one is, where it lies, whether it is encrypted and verified, which moments can
    be reached, when the next run is, and what is wrong.
  - Where O(kubernetes) says something, such as the namespace, the server's CronJobs there are looked at too, which needs the verb list on
    cronjobs, jobs and pods.
  - It only reads, and does not fail because of what it finds; C(status) says how bad that is. What cannot be looked at is said to be
    unknown, and is critical.
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
  limit:
    description: List only so many of the newest backups; C(count) is of all.
    type: int
    default: 20
seealso:
  - module: holdfast.postgres.backup_facts
"""

EXAMPLES = r"""
- name: How do the backups stand?
  holdfast.postgres.backup_status:
    repository:
      path: /backups
    server_name: db1
    expected_every: 25h
  register: backups

- name: Say it
  ansible.builtin.debug:
    msg: "{{ backups.lines }}"

- name: Stop here when they are not well
  ansible.builtin.assert:
    that: backups.status != 'critical'
    fail_msg: "{{ backups.summary }}"
"""

RETURN = r"""
status:
  description: V(ok), V(warning) or V(critical), as the worst of C(alerts).
  returned: success
  type: str
summary:
  description: All of it in one line.
  returned: success
  type: str
  sample: >-
    db1: 3 backups, the newest good one of 4 h ago, 118 MiB, encrypted (aes256), in disk and s3, verified 4 h ago; any moment from
    21 Nov 02:31 UTC to 40 s ago; next run 22 Nov 02:30 UTC; no warnings
lines:
  description: The same as one screen, with what is wrong, and the backups as a table, the newest first.
  returned: success
  type: list
  elements: str
alerts:
  description: What is wrong, each with C(severity) (V(warning), V(critical)), C(code), C(text) and C(remedy).
  returned: success
  type: list
  elements: dict
count:
  description: How many backups there are; null when nothing could be read.
  returned: success
  type: int
last_good:
  description: Id of the newest backup that can be restored, as far as one knows without reading it; null when there is none.
  returned: success
  type: str
last_success:
  description: When it ended.
  returned: success
  type: str
overdue:
  description:
    - Whether the newest good one is older than O(expected_every). Where that was not said, than the runs of the schedule on this host that makes
      backups most often, and an hour; null where there is none.
  returned: success
  type: bool
backups:
  description: The newest O(limit), the newest first, each with C(id), C(kind), C(engine), C(stopped_at), C(size), C(encryption),
    C(verified_at), C(drilled_at), C(drill_verdict), C(pinned) and C(tiers).
  returned: success
  type: list
  elements: dict
window:
  description: From when (C(start)) to when (C(end), null when that is not known) the server can be brought back; null without an archive.
  returned: success
  type: dict
schedules:
  description: The schedules of this server on this host, and in the namespace of O(kubernetes), with C(name), C(by), C(next_run), how the last
    run C(failed), why it is C(idle), and which runs it C(missed).
  returned: success
  type: list
  elements: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.status.overview import look
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, _warnings: list[str]) -> dict[str, Any]:
    """Look."""
    params = module.params
    every: Optional[int] = None
    if params["expected_every"]:
        every = parse_duration(params["expected_every"], "expected_every")
    with workspace() as space:
        return {"changed": False, **look(params, every, space, utcnow()).describe(params["limit"])}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.LOOK,
            **argspec.SCHEDULES,
            "limit": {"type": "int", "default": 20},
        },
        **argspec.LOOK_RULES,
    )
    execute(module, work, psycopg2=module.params["archiving"])


if __name__ == "__main__":
    main()
