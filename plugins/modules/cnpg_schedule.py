#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cnpg_schedule
short_description: Have CloudNativePG back a cluster up by a calendar
version_added: 0.1.0
description:
  - Makes, suspends or deletes a ScheduledBackup of the operator, by the calendar that cron has.
  - The operator's calendars have six fields, with seconds in front. Five are taken otherwise, so that V(30 2 * * *) would run each hour. They are
    translated here, and it is said.
  - What the operator makes by itself is called completed before its last segment is in the store. M(holdfast.postgres.backup_facts) with
    O(holdfast.postgres.backup_facts#module:engine=cnpg) says which can be restored. M(holdfast.postgres.cnpg_backup) in a CronJob closes each.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.kubernetes
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: By the API server's own dry run, so that admission has spoken.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the ScheduledBackup. One that this collection did not make, or that backs up another Cluster, is left alone.
    type: str
    required: true
  state:
    description: V(suspended) makes it, and it does not run. With V(absent) the Backups that it made stay, unless they are its own (O(owner=self)).
    type: str
    choices: [present, suspended, absent]
    default: present
  cluster:
    description: Name of the Cluster. Needed unless O(state=absent).
    type: str
  schedule:
    description: Five fields of cron, a word such as V(@daily), or the operator's six fields, with one second in front. In UTC.
    type: str
    default: 30 2 * * *
  time_zone:
    description: Any other than V(Etc/UTC) is refused, as a ScheduledBackup has none.
    type: str
    default: Etc/UTC
  method:
    description: As in M(holdfast.postgres.cnpg_backup).
    type: str
    choices: [plugin, barman_object_store, volume_snapshot]
  target:
    description: As in M(holdfast.postgres.cnpg_backup).
    type: str
    choices: [primary, prefer-standby]
  online:
    description: As in M(holdfast.postgres.cnpg_backup).
    type: bool
  owner:
    description: With whom the Backups it makes are deleted, with the ScheduledBackup (V(self)), with the Cluster, or with neither.
    type: str
    choices: [none, self, cluster]
    default: none
  beside:
    description: Names of other schedules of the Cluster that are known, and not returned in RV(others).
    type: list
    elements: str
    default: []
  force:
    description: Take fields over that another manager has set.
    type: bool
    default: false
notes:
  - The rights that it needs are in docs/kubernetes.md, C(cnpg_schedule).
seealso:
  - module: holdfast.postgres.cnpg_backup
  - module: holdfast.postgres.k8s_cron_job
"""

EXAMPLES = r"""
- name: Each night at half past two, UTC
  holdfast.postgres.cnpg_schedule:
    kubernetes: {namespace: shop}
    name: nightly
    cluster: shop
    schedule: 30 2 * * *

- name: Snapshots each Sunday
  holdfast.postgres.cnpg_schedule:
    kubernetes: {namespace: shop}
    name: weekly
    cluster: shop
    schedule: 0 4 * * 0
    method: volume_snapshot
"""

RETURN = r"""
plan:
  description: What is made, changed or deleted, or in check mode would be.
  returned: always
  type: list
  elements: str
others:
  description: Other ScheduledBackups of the Cluster.
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
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import KUBERNETES
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import scheduled
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import METHODS
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan by dry runs, and unless in check mode apply."""
    params = module.params
    cluster = Cluster(access(module))
    if params["state"] == "absent":
        change = scheduled.absent(cluster, params["name"], module.check_mode)
    else:
        request = scheduled.ScheduledRequest(
            params["name"],
            params["cluster"],
            params["schedule"],
            params["method"],
            params["target"],
            params["online"],
            params["state"] == "suspended",
            params["owner"],
            params["time_zone"],
        )
        change = scheduled.present(cluster, request, module.check_mode, params["force"], params["beside"], warnings)
    result: dict[str, Any] = {"changed": bool(change.plan), "plan": change.plan, "others": change.others}
    if module._diff:
        result["diff"] = {"before": change.before, "after": change.after}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **KUBERNETES,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "suspended", "absent"], "default": "present"},
            "cluster": {"type": "str"},
            "schedule": {"type": "str", "default": "30 2 * * *"},
            "time_zone": {"type": "str", "default": "Etc/UTC"},
            "method": {"type": "str", "choices": list(METHODS)},
            "target": {"type": "str", "choices": ["primary", "prefer-standby"]},
            "online": {"type": "bool"},
            "owner": {"type": "str", "choices": ["none", "self", "cluster"], "default": "none"},
            "beside": {"type": "list", "elements": "str", "default": []},
            "force": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["cluster"]), ("state", "suspended", ["cluster"])],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False, kubernetes=True)


if __name__ == "__main__":
    main()
