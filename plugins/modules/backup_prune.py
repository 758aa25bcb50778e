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
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.retention
  - holdfast.postgres.run.lock
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
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
      - One with a repository of its own (V(pgbackrest), V(barman_cloud), V(wal_g)) is refused, as nothing of it would be seen here; so is a
        repository that has nothing but such backups, whether it is named or not, and beside others they are told of. Its
        retention is carried out by M(holdfast.postgres.pg_backup) with O(retention), after a backup that was made and looked at.
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

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import clean, plan_prune, prune
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import NAME, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ENGINES, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import engines_keeping
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

_WAY_OUT = (
    "The retention of an engine with a repository of its own is carried out by pg_backup (playbook backup) with that engine and the same "
    "retention, after each backup; check mode shows what would go."
)


@dataclass
class Pruned:
    """What went from one repository, or would go."""

    plan: list[str]
    gone: list[dict[str, Any]]
    decisions: list[Decision]


def say_whose(shelf: Shelf, ours: bool, warnings: list[str]) -> None:
    """Tell of backups that an engine keeps beside ours, in a form that is not pruned here.

    Raises:
        BadOption: there are no others, so that "nothing to delete" would be no answer.
    """
    others = [name for name in engines_keeping(shelf.repository, shelf.name) if name in WITH_REPOSITORY]
    if not others:
        return
    names = " and ".join(others)
    if not ours:
        raise BadOption(
            "engine", None, f"is not said, and what is in {shelf.repository.description} is kept by {names}", _WAY_OUT
        )
    warnings.append(
        f"{shelf.repository.description} has backups of {shelf.name} by {names}, too, which this does not prune. {_WAY_OUT}"
    )


def prune_one(shelf: Shelf, policy: Policy, module: AnsibleModule, warnings: list[str]) -> Pruned:
    """Decide for one repository, and unless in check mode delete."""
    shelf.repository.check(write=not module.check_mode)
    with shelf.lock("a prune", warnings) as lock:
        if not module.check_mode:
            lock.acquire(module.params["lock_wait"])
        listing = look(shelf)
        say_whose(shelf, bool(listing.records), warnings)
        if not listing.records and (unknown := shelf.say_if_unknown()):
            warnings.append(unknown)
        decisions = plan_prune(listing, policy, warnings)
        leftovers: Sequence[str] = listing.leftovers
        gone = [asdict(decision) for decision in decisions if not decision.keep]
        if not module.check_mode:
            gone = prune(shelf, decisions, warnings, lock.beat)
            refresh(shelf.repository, shelf.name, NAME)
            leftovers = clean(shelf, leftovers, warnings)
    plan = [f"remove what the interrupted run {leftover} left" for leftover in leftovers]
    plan += [f"delete {entry['id']}: {'; '.join(entry['reasons'])}" for entry in gone]
    return Pruned(plan, gone, decisions)


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Each repository by its own policy."""
    params = module.params
    if params["engine"] in WITH_REPOSITORY:
        raise BadOption(
            "engine", params["engine"], "keeps a repository of its own, in which this module sees nothing", _WAY_OUT
        )
    done: list[Pruned] = []
    errors: list[str] = []
    named = named_repositories(params)
    for name, options, where in named:
        shelf = Shelf(open_repository(options, where), params["server_name"])
        policy = Policy.from_option(options.get("retention") or params["retention"])
        try:
            done.append(prune_one(shelf, policy, module, warnings))
        except HoldfastError as exc:
            if len(named) == 1:
                raise
            errors.append(f"{name} failed: {exc}")
    if errors:
        raise HoldfastError(
            f"{len(errors)} of {len(named)} repositories failed. {' '.join(errors)} The others were pruned."
        )
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
            **argspec.REPOSITORIES,
            **argspec.RETENTION,
            **argspec.LOCK,
            "engine": {"type": "str", "choices": list(ENGINES)},
            **argspec.PROGRESS,
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
