#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_check
short_description: Check whether repositories can be trusted with backups
version_added: 0.1.0
description:
  - Lists, writes a small object, reads it back and deletes it, and asks the store what a user wants to hear before the disaster,
    such as who may read, whether versions are kept, when a token expires, how far the clocks are apart.
  - M(holdfast.postgres.pg_backup) does the same before each backup.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository.several
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
  check_mode:
    support: full
    details: In check mode no object is written.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  retention:
    description: How long backups are to stay, such as V(30d); the store's own rules are compared with it.
    type: str
  strict:
    description: Whether warnings fail the module too.
    type: bool
    default: false
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: Can the bucket be trusted?
  holdfast.postgres.backup_check:
    repository:
      type: s3
      bucket: backups
      region: eu-central-1
    retention: 30d

- name: Fail when there is any doubt about one of the tiers
  holdfast.postgres.backup_check:
    repositories:
      - name: disk
        path: /backups
      - name: azure
        type: azure
        account: acmebackups
        container: postgres
        sas_token_file: /etc/holdfast/sas_token
    strict: true
"""

RETURN = r"""
repositories:
  description: For each repository what is wrong (C(errors)), doubtful (C(warnings)), and C(fine).
  returned: success
  type: list
  elements: dict
  sample:
    - name: the repository
      repository: the repository s3://backups
      errors: []
      warnings:
        - "versioning is off: who has the keys can delete every backup for good"
      fine:
        - it can be listed
        - an object can be written
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.preflight import Report, preflight


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Look at each."""
    params = module.params
    retention = parse_duration(params["retention"], "retention") if params["retention"] else 0
    found = []
    bad: list[str] = []
    for name, options, where in named_repositories(params):
        repository = open_repository(options, where)
        try:
            report = preflight(repository, not module.check_mode, retention)
        except HoldfastError as exc:
            report = Report([str(exc)], [], [])
        found.append({"name": name, "repository": repository.description, **asdict(report)})
        bad += [f"{repository.description}: {message}" for message in report.errors]
        doubts = [f"{repository.description}: {message}" for message in report.warnings]
        bad += doubts if params["strict"] else []
        warnings += doubts
    if bad:
        raise RepositoryError(
            f"{len(bad)} things are wrong. {' '.join(f'({n}) {message}' for n, message in enumerate(bad, 1))}"
        )
    return {"changed": False, "repositories": found}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORIES,
            "retention": {"type": "str"},
            "strict": {"type": "bool", "default": False},
            **argspec.PROGRESS,
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
