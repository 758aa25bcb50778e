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
  - holdfast.postgres.repository.several
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
          description: Their records, oldest first, each with the names of the C(tiers) that have it.
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
        tiers:
          description:
            - Each repository, with its count, total size, last success, lock, leftovers, problems, and the error when it could
              not be read. The module fails only when none could.
          returned: always
          type: list
          elements: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import holder, is_dead
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ObjectMissing
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories import named_repositories, open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow

CLOCKS_DIFFER = 60  # seconds


def lock_state(shelf: Shelf) -> Optional[dict[str, Any]]:
    """Who holds the lock; None when nobody does."""
    try:
        data = shelf.repository.read(f"{shelf.name}/lock.json")
    except ObjectMissing:
        return None
    return {**holder(data), "dead": is_dead(data)}


@dataclass
class Tier:
    """What one repository has."""

    name: str
    repository: str
    count: int = 0
    total_size: int = 0
    last_success: Optional[str] = None
    lock: Optional[dict[str, Any]] = None
    leftovers: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    error: Optional[str] = None


def look(tier: Tier, shelf: Shelf, details: bool, found: dict[str, dict[str, Any]]) -> None:
    """Add a repository's backups to those that were ``found``, by id. Raises HoldfastError."""
    shelf.repository.check(write=False)
    for record in shelf.records(tier.problems, tier.leftovers):
        tier.count += 1
        tier.total_size += record.size
        if record.verified_at:
            tier.last_success = max(tier.last_success or "", record.stopped_at)
        shown = found.get(record.id)
        if shown is None:
            shown = found[record.id] = {**record.to_dict(), "tiers": []}
            if not details:
                del shown["artifacts"], shown["databases"]
        shown["tiers"].append(tier.name)
        shown["verified_at"] = shown["verified_at"] or record.verified_at
    tier.lock = lock_state(shelf)


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """List."""
    params = module.params
    every = parse_duration(params["expected_every"], "expected_every") if params["expected_every"] else None
    found: dict[str, dict[str, Any]] = {}
    tiers = []
    errors: list[HoldfastError] = []
    for name, options, where in named_repositories(params):
        shelf = Shelf(open_repository(options, where), params["server_name"])
        tiers.append(Tier(name, shelf.repository.description))
        try:
            look(tiers[-1], shelf, params["details"], found)
        except HoldfastError as exc:
            tiers[-1].error = str(exc)
            errors.append(exc)
    if len(errors) == len(tiers):
        raise errors[0]
    backups = sorted(found.values(), key=lambda entry: (entry["stopped_at"], entry["id"]))
    good = [entry["stopped_at"] for entry in backups if entry["verified_at"]]
    overdue = None
    if every is not None:
        # One from the future, taken while a clock was wrong, says nothing about last night.
        now = utcnow()
        ages = [(now - parse_time(moment, "stopped_at")).total_seconds() for moment in good]
        overdue = not any(-CLOCKS_DIFFER <= age <= every for age in ages)
    facts = {
        "server_name": params["server_name"],
        "backups": backups[-params["limit"] if params["limit"] else 0 :],
        "count": len(backups),
        "newest": backups[-1]["id"] if backups else None,
        "oldest": backups[0]["id"] if backups else None,
        "total_size": sum(tier.total_size for tier in tiers),
        "last_success": good[-1] if good else None,
        "overdue": overdue,
        "lock": next((tier.lock for tier in tiers if tier.lock), None),
        "leftovers": [leftover for tier in tiers for leftover in tier.leftovers],
        "problems": [words for tier in tiers for words in (*tier.problems, *([tier.error] if tier.error else []))],
        "tiers": [asdict(tier) for tier in tiers],
    }
    return {"changed": False, "ansible_facts": {"holdfast_backups": facts}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORIES,
            "details": {"type": "bool", "default": True},
            "limit": {"type": "int"},
            "expected_every": {"type": "str"},
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
