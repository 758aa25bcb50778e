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
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.facts
  - holdfast.postgres.repository
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  details:
    description: Whether each record lists its artifacts and databases; many backups are listed faster without.
    type: bool
    default: true
  limit:
    description: List only so many of the newest. Counts and sizes are of all.
    type: int
  expected_every:
    description:
      - A backup is expected at least this often, such as V(25h). When the newest verified one is older,
        C(overdue) is true.
    type: str
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: What backups are there?
  holdfast.postgres.backup_facts:
    repository:
      path: /backups
    expected_every: 25h

- name: Fail when last night's backup did not happen
  ansible.builtin.assert:
    that: not ansible_facts.holdfast_backups.overdue
    fail_msg: "The last backup is of {{ ansible_facts.holdfast_backups.last_success | default('never', true) }}"
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
          description: Their records, oldest first.
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
          description: When the newest verified backup ended; null when there is none.
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
          description: Manifests that cannot be used, in words.
          returned: always
          type: list
          elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import datetime
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import holder, is_dead
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ObjectMissing
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow

CLOCKS_DIFFER = datetime.timedelta(minutes=1)


def lock_state(shelf: Shelf) -> Optional[dict[str, Any]]:
    """Who holds the lock; None when nobody does."""
    try:
        data = shelf.repository.read(f"{shelf.name}/lock.json")
    except ObjectMissing:
        return None
    return {**holder(data), "dead": is_dead(data)}


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """List."""
    params = module.params
    shelf = Shelf(open_repository(params["repository"]), params["server_name"])
    shelf.repository.check(write=False)
    every = parse_duration(params["expected_every"], "expected_every") if params["expected_every"] else None
    problems: list[str] = []
    leftovers: list[str] = []
    backups: list[tuple[str, dict[str, Any]]] = []
    total, last_success, believed, now = 0, None, None, utcnow()
    for record in shelf.records(problems, leftovers):
        total += record.size
        if record.verified_at:
            last_success = max(last_success or "", record.stopped_at)
            if parse_time(record.stopped_at, "stopped_at") <= now + CLOCKS_DIFFER:
                believed = max(believed or "", record.stopped_at)
        shown = record.to_dict()
        if not params["details"]:
            del shown["artifacts"], shown["databases"]
        backups.append((record.stopped_at, shown))
    backups.sort(key=lambda entry: entry[0])
    overdue = None
    if every is not None:
        # One from the future, taken while a clock was wrong, says nothing about last night.
        overdue = believed is None or (now - parse_time(believed, "stopped_at")).total_seconds() > every
    shown_from = -params["limit"] if params["limit"] else 0
    facts = {
        "server_name": shelf.name,
        "backups": [entry for _time, entry in backups[shown_from:]],
        "count": len(backups),
        "newest": backups[-1][1]["id"] if backups else None,
        "oldest": backups[0][1]["id"] if backups else None,
        "total_size": total,
        "last_success": last_success,
        "overdue": overdue,
        "lock": lock_state(shelf),
        "leftovers": leftovers,
        "problems": problems,
    }
    return {"changed": False, "ansible_facts": {"holdfast_backups": facts}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORY,
            "details": {"type": "bool", "default": True},
            "limit": {"type": "int"},
            "expected_every": {"type": "str"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
