#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_cron_job
short_description: Run a playbook of this collection on a calendar, in a Kubernetes cluster
version_added: 0.1.0
description:
  - Makes a CronJob whose runs are what M(holdfast.postgres.k8s_job) runs, with a Secret that has the variables, and a ServiceAccount. A Role and a
    RoleBinding are made only where O(rules) says so. A backup needs no right of the API.
  - Runs never overlap (C(concurrencyPolicy) V(Forbid)). One that cannot begin within O(starting_deadline) is left out, so that a controller that was
    away for long does not give up for good.
  - Objects are applied by the API server under the manager C(holdfast). What others set on them stays, and where they set the same field, that
    is an error that names them.
  - A schedule of the same server that is the same in all but its name is the former one, and is removed.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.kubernetes
  - holdfast.postgres.k8s_pod
  - holdfast.postgres.k8s_run
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the CronJob, and of what belongs to it. Small letters, digits and C(-), 52 at most, as Kubernetes appends to it.
    type: str
    required: true
  state:
    description:
      - V(present) has it run, V(suspended) has it there and begin no further run. One that is under way goes on.
      - V(absent) removes it, with its Jobs, its Secret and its ServiceAccount.
    type: str
    choices: [present, absent, suspended]
    default: present
  schedule:
    description: When, in cron's five fields. Sunday is V(0).
    type: str
    default: 30 2 * * *
  time_zone:
    description: Of O(schedule), by its name in the tz database.
    type: str
    default: Etc/UTC
  starting_deadline:
    description: How late a run may begin.
    type: str
    default: 1h
  keep_successful:
    description: So many Jobs that ended well stay, with their logs.
    type: int
    default: 3
  keep_failed:
    description: So many that failed stay.
    type: int
    default: 3
  service_account:
    description: The runs' service account. By default one of the name O(name) is made.
    type: str
  rules:
    description:
      - Rules of a Role for the runs, as Kubernetes writes them. With them the service account's token is mounted. docs/kubernetes.md has what each
        playbook needs.
    type: list
    elements: dict
    default: []
  beside:
    description: Names of schedules that stay, though they are the same as this one in all.
    type: list
    elements: str
    default: []
  force:
    description: Take fields from whoever else manages them.
    type: bool
    default: false
seealso:
  - module: holdfast.postgres.k8s_job
notes:
  - This module does not connect to PostgreSQL. The runs do, in the cluster.
"""

EXAMPLES = r"""
- name: A backup each night, near for a week and in Azure for a month, out of one read
  holdfast.postgres.k8s_cron_job:
    kubernetes:
      namespace: database
    name: holdfast-backup-primary
    schedule: 0 2 * * *
    time_zone: Europe/Berlin
    image: registry.example.org/holdfast:1.0
    server_name: primary
    claims:
      backups: /backups
    secrets:
      postgresql-backup-azure-secret: /run/azure
    variables:
      holdfast_login_host: postgresql-primary
      holdfast_login_user: postgres
      holdfast_repositories:
        - name: near
          path: /backups
          retention: {keep_within: 7d}
        - name: far
          type: azure
          account: primaryst01
          container: postgresql-backups
          sas_token_file: /run/azure/sas-token
          retention: {keep_within: 30d}
    variables_from:
      - variable: holdfast_login_password
        secret: postgresql
        key: postgres-password
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
others:
  description: Other schedules of the same server in the namespace, which were left as they are.
  returned: always
  type: list
  elements: str
next_run:
  description: When it is due next; null when it is not, or when this host does not know the time zone.
  returned: always
  type: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import IN_CLUSTER, KUBERNETES
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import options, run_schedule
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.calendar import Calendar
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.cron_job import ScheduleRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan by dry runs, and unless in check mode apply."""
    params = module.params
    options.show_what_is_no_secret(module.params, module.no_log_values)
    cluster = Cluster(access(module))
    next_run = None
    if params["state"] == "absent":
        change = run_schedule.absent(cluster, params["name"], module.check_mode)
    else:
        request = _request(params, cluster.namespace)
        change = run_schedule.present(cluster, request, module.check_mode, params["force"], params["beside"])
        if params["state"] == "present":
            next_run = Calendar.parse(request.cron, request.time_zone).next(utcnow())
    result: dict[str, Any] = {
        "changed": bool(change.plan),
        "plan": change.plan,
        "others": change.others,
        "next_run": format_time(next_run) if next_run else None,
    }
    if module._diff:
        result["diff"] = {"before": change.before, "after": change.after}
    return result


def _request(params: dict[str, Any], namespace: str) -> ScheduleRequest:
    if not params["image"]:
        raise BadOption("image", params["image"], "is missing", "Name the collection's image, as the cluster pulls it.")
    given = {
        **params,
        "service_account": params["service_account"] or params["name"],
        "api_access": bool(params["rules"]),
    }
    return ScheduleRequest(
        name=params["name"],
        run=options.request(given, namespace),
        cron=params["schedule"],
        time_zone=params["time_zone"],
        late=parse_duration(params["starting_deadline"], "starting_deadline"),
        suspended=params["state"] == "suspended",
        keep_successful=params["keep_successful"],
        keep_failed=params["keep_failed"],
        rules=params["rules"],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **KUBERNETES,
            **IN_CLUSTER,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "suspended"], "default": "present"},
            "schedule": {"type": "str", "default": "30 2 * * *"},
            "time_zone": {"type": "str", "default": "Etc/UTC"},
            "starting_deadline": {"type": "str", "default": "1h"},
            "keep_successful": {"type": "int", "default": 3},
            "keep_failed": {"type": "int", "default": 3},
            "service_account": {"type": "str"},
            "rules": {"type": "list", "elements": "dict", "default": []},
            "beside": {"type": "list", "elements": "str", "default": []},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False, kubernetes=True)


if __name__ == "__main__":
    main()
