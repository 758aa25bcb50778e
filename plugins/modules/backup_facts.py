#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_facts
short_description: Show the backups of a server
version_added: 0.1.0
description:
  - Returns, as facts, every backup of a server in a repository, with the newest, the oldest, their total size, the lock,
    what interrupted runs left, what is wrong, and whether a scheduled run was missed.
  - Where WAL is archived too, it tells from when to when the server can be brought back, and what is missing; and with
    O(archiving) what the server itself says of its archiving, and of slots that hold WAL back.
  - Where O(kubernetes) says something, such as the namespace, it tells of the server's CronJobs there, which of them is suspended, has
    missed runs, or failed last, and why. That needs the verb list on cronjobs, jobs and pods.
  - With O(engine=cnpg) it tells of a Cluster of CloudNativePG, called O(server_name). What its store has, looked at there, beside what the operator says
    (C(cnpg)), its Backups and ScheduledBackups.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.attributes.facts
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
  - holdfast.postgres.archiver
  - holdfast.postgres.archiver.reading
  - holdfast.postgres.look
  - holdfast.postgres.kubernetes
  - holdfast.postgres.run.progress
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
  engine:
    description:
      - The engine whose own repository is looked into as well, such as V(pgbackrest). Nothing is changed there. By default none is.
      - V(cnpg) is CloudNativePG's operator. Its store is the Cluster's, reached as its Secrets say, or by O(repository). O(repositories),
        O(archiving), O(engine_config) and O(wal_directory) would have no effect, and are refused. Rights are in docs/kubernetes.md,
        C(cnpg_status).
    choices: [pgbackrest, barman_cloud, wal_g, cnpg]
  details:
    description: Whether each record lists its artifacts and databases; many backups are listed faster without.
    type: bool
    default: true
  limit:
    description: List only so many of the newest. Counts and sizes are of all.
    type: int
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.wal_archive
"""

EXAMPLES = r"""
- name: What backups are there?
  holdfast.postgres.backup_facts:
    repository:
      path: /backups
    expected_every: 25h

- name: What has a pgBackRest that somebody else set up?
  holdfast.postgres.backup_facts:
    engine: pgbackrest
    engine_config: /etc/pgbackrest.conf
    server_name: main

- name: Fail when last night's backup did not happen
  ansible.builtin.assert:
    that: not ansible_facts.holdfast_backups.overdue
    fail_msg: "The last backup is of {{ ansible_facts.holdfast_backups.last_success | default('never', true) }}"

- name: Which backup lies where?
  holdfast.postgres.backup_facts:
    repositories:
      - name: disk
        path: /backups
      - name: bucket
        type: s3
        bucket: acme-backups
        region: eu-central-1
    details: false

- name: Say it
  ansible.builtin.debug:
    msg: "{{ ansible_facts.holdfast_backups.backups | items2dict(key_name='id', value_name='tiers') }}"

- name: Show the backups of a Cluster of CloudNativePG, by its store and by the operator
  holdfast.postgres.backup_facts:
    engine: cnpg
    server_name: shop
    kubernetes: {namespace: shop}
    expected_every: 25h
"""

RETURN = r"""
ansible_facts:
  description: Facts.
  returned: always
  type: complex
  contains:
    holdfast_backups:
      description: The server's backups.
      returned: always
      type: dict
      contains:
        server_name:
          description: Name of the server in the repository.
          returned: always
          type: str
        backups:
          description:
            - Their records, oldest first, each with the names of the C(tiers) that have it, C(drilled_at) (when a drill last proved it) and
              C(drill_verdict) (how the last one ended, null where there was none).
          returned: always
          type: list
          elements: dict
        count:
          description: How many there are.
          returned: always
          type: int
        newest:
          description: Id of the newest; null when there is none.
          returned: always
          type: str
        oldest:
          description: Id of the oldest; null when there is none.
          returned: always
          type: str
        total_size:
          description: Bytes of all.
          returned: always
          type: int
        last_success:
          description:
            - When the newest backup ended that was verified, and is there with all that it is based on; null when there is none.
            - Of an engine that reads nothing back (V(barman_cloud), V(wal_g)), the newest that it lists as whole. One of V(pgbackrest)
              counts once it was verified, which M(holdfast.postgres.pg_backup) does with what it makes; C(problems) says of others.
          returned: always
          type: str
        overdue:
          description: Whether O(expected_every) has passed since the newest verified backup that is not from the future; null when not asked.
          returned: always
          type: bool
        lock:
          description: Who works on the backups, and whether that process is dead; null when nobody does.
          returned: always
          type: dict
        leftovers:
          description: Folders that interrupted runs (or the one that is going on) left; the next run removes them.
          returned: always
          type: list
          elements: str
        problems:
          description: Manifests that cannot be used, and why.
          returned: always
          type: list
          elements: str
        schedules:
          description: The server's CronJobs in the namespace of O(kubernetes), each with C(name), C(by), C(next_run), how the last run C(failed),
            why it is C(idle), and which runs it C(missed).
          returned: always
          type: list
          elements: dict
        cnpg:
          description:
            - With O(engine=cnpg), what the operator says of the Cluster. C(phase), C(healthy), C(conditions), C(archiving), C(instances), C(ready_instances),
              C(primary), C(operator_version), C(methods), the C(store), its Backup objects (C(backups)), and the window that its status claims (C(said)).
              Where that and the store do not agree, C(problems) says so.
          returned: when engine is cnpg
          type: dict
        tiers:
          description:
            - Each repository, with its count, total size, last success, lock, leftovers, problems, and the error when it could
              not be read. The module fails only when none could.
          returned: always
          type: list
          elements: dict
        wal:
          description:
            - What the WAL archive makes reachable. C(archive) names it; C(windows) has for each timeline from when to when the server
              can be brought back, in C(stretches) without a gap; C(last_segment), its C(last_segment_age) in seconds; C(findings)
              of the audit. Of several repositories that have WAL it is the one that leads the furthest (C(tier)), with the findings of all;
              C(archives) has each. Null without an archive.
          returned: always
          type: dict
        archiver:
          description:
            - What the server says, with O(archiving). C(failing), C(failing_since), C(last_archived), C(last_archived_age), C(ready)
              segments that wait, C(lag_bytes); C(slots) with the bytes that each holds back, and C(problems), sentences. Null when it was not asked.
          returned: always
          type: dict
        shipping:
          description:
            - How far WAL is shipped from O(wal_directory); null where none is from this host. C(directory), and C(stores), each with C(name),
              C(last_segment), C(last_at), how many segments are C(waiting) and the oldest since how many C(seconds), and the C(error) of the
              last pass.
          returned: always
          type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import LISTED_WHOLE, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.status import cnpg, cron_jobs
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import of_schedules
from ansible_collections.holdfast.postgres.plugins.module_utils.status.facts import describe
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import gather
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

#: a server that CloudNativePG's operator backs up
CNPG = "cnpg"


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """List."""
    params = module.params
    every = parse_duration(params["expected_every"], "expected_every") if params["expected_every"] else None
    if params["engine"] == CNPG:
        for name in ("repositories", "archiving", "engine_config", "wal_directory"):
            if params[name]:
                raise BadOption(
                    name,
                    "given",
                    "has no effect with engine: cnpg",
                    "The store is the Cluster's own, or repository. Leave it out.",
                )
        with workspace() as space:
            told = cnpg.facts(Cluster(access(module)), params, every, utcnow(), space)
        return {"changed": False, "ansible_facts": {"holdfast_backups": told}}
    with workspace() as space:
        found = gather(params, space)
        # In here: an engine that is asked may have its configuration there.
        health = judge(in_order(found.records.values()), every, utcnow(), found.damage, LISTED_WHOLE, found.failures())
    facts = describe(params["server_name"], found, health, params["details"], params["limit"])
    cluster = access(module)
    scheduled = cron_jobs.look(Cluster(cluster), params["server_name"], utcnow()) if cluster.given else []
    facts["problems"] += [alert.text for alert in of_schedules(scheduled)]
    facts["schedules"] = [schedule.describe() for schedule in scheduled]
    return {"changed": False, "ansible_facts": {"holdfast_backups": facts}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.LOOK,
            "engine": {"type": "str", "choices": [*WITH_REPOSITORY, CNPG]},
            "details": {"type": "bool", "default": True},
            "limit": {"type": "int"},
            **argspec.PROGRESS,
        },
        **{name: rule for name, rule in argspec.LOOK_RULES.items() if name != "required_one_of"},
    )
    wanted = ("repository", "repositories", "engine_config")
    if module.params["engine"] != CNPG and not any(module.params[name] for name in wanted):
        module.fail_json(msg=f"one of the following is required: {', '.join(wanted)}")
    execute(module, work, psycopg2=module.params["archiving"], kubernetes=module.params["engine"] == CNPG)


if __name__ == "__main__":
    main()
