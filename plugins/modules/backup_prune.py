#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_prune
short_description: Delete backups by a retention policy
version_added: 0.1.0
description:
  - Deletes the backups of a server that a retention policy no longer wants, without making one.
  - Backups that were interrupted are cleaned up too.
  - In the repository of an engine that keeps one (O(engine)), the engine's own deletion carries the policy out, on the server's host, by the
    configuration that archives there.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.repository.retention
  - holdfast.postgres.archiver
  - holdfast.postgres.run.lock
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
      - holdfast.postgres.engine
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  engine:
    description:
      - The engine that the server's backups are made by. Those of V(pg_dump) and V(pg_basebackup) lie in our folders, and both are pruned
        by this module, whichever is named.
      - One with a repository of its own (V(pgbackrest), V(barman_cloud), V(wal_g)) is named, on the host where M(holdfast.postgres.wal_archive)
        set it up, and the server is connected to (O(login_host), O(login_unix_socket)), as whose host's lock keeps backups away meanwhile.
        Where it is not named, a repository that has nothing but its backups is refused, and beside ours they are told of.
      - O(encryption), O(engine_program), O(engine_options), O(config_dir) and O(accept_new_server) are of such an engine alone, and as
        the module that set it up had them.
    type: str
    choices: [pg_dump, pg_basebackup, pgbackrest, barman_cloud, wal_g]
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: Show what would go, and why
  holdfast.postgres.backup_prune:
    repository:
      path: /backups
    retention:
      keep_daily: 7
      keep_weekly: 4
  check_mode: true
  diff: true

- name: At most ten, and none older than a month
  holdfast.postgres.backup_prune:
    repository:
      path: /backups
    retention:
      count: 10
      max_age: 30d

- name: Each tier by its own policy
  holdfast.postgres.backup_prune:
    repositories:
      - name: disk
        path: /backups
        retention:
          keep_within: 7d
      - name: bucket
        type: gcs
        bucket: acme-backups
        retention:
          keep_within: 30d
          keep_monthly: 12

- name: What pgBackRest keeps, on the server's host
  holdfast.postgres.backup_prune:
    engine: pgbackrest
    repository:
      path: /backups
    retention:
      keep_last: 2
  become: true
  become_user: postgres
"""

RETURN = r"""
retention:
  description: For each backup whether it stays, and why.
  returned: always
  type: list
  elements: dict
pruned:
  description: Backups that were, or in check mode would be, deleted.
  returned: always
  type: list
  elements: dict
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune_run import prune_all
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import COPYING, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Each repository by its own policy."""
    done = prune_all(module.params, module.check_mode, warnings)
    plan = [step for one in done for step in one.plan]
    decisions = [decision for one in done for decision in one.decisions]
    result: dict[str, Any] = {
        "changed": bool(plan),
        "plan": plan,
        "pruned": [entry for one in done for entry in one.gone],
        "retention": [asdict(decision) for decision in decisions],
    }
    if module._diff:
        keeps = "".join(f"  keep {item.id}: {'; '.join(item.reasons)}\n" for item in decisions if item.keep)
        result["diff"] = {"prepared": keeps + "".join(f"- {step}\n" for step in plan)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.RETENTION,
            **argspec.ARCHIVER,
            **argspec.LOCK,
            "engine": {"type": "str", "choices": COPYING},
            **argspec.PROGRESS,
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    # Our folders are pruned from wherever they can be reached; an engine's repository beside its server alone.
    execute(module, work, psycopg2=module.params["engine"] in WITH_REPOSITORY)


if __name__ == "__main__":
    main()
