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
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.attributes.facts
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
  - holdfast.postgres.archiver
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
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
  archiving:
    description: Whether the server is asked too, by the C(login_*) options.
    type: bool
    default: false
  engine:
    description:
      - The engine whose own repository is looked into as well, such as V(pgbackrest). Nothing is changed there. By default none is.
    type: str
    choices: [pgbackrest, barman_cloud, wal_g]
  engine_config:
    description:
      - The configuration file of a V(pgbackrest) that somebody else set up, which is looked into as it is; O(server_name) is its stanza.
        No repository is needed then.
    type: path
  encryption:
    description: How the engine encrypts, where that is needed to list its repository. As in M(holdfast.postgres.pg_backup).
    type: dict
    suboptions:
      method:
        description: V(aes256) by a passphrase, V(pgp) by keys.
        type: str
        choices: [none, aes256, pgp]
        default: none
      passphrase:
        description: The passphrase.
        type: str
      passphrase_file:
        description: File of mode 0600 whose first line is the passphrase.
        type: path
      recipients:
        description: Keys.
        type: list
        elements: str
        default: []
      gpg_home:
        description: C(GNUPGHOME).
        type: path
  compression:
    description: How the engine compresses, where it has to know (V(barman_cloud)).
    type: str
    choices: [zstd, gzip, lz4, none]
  compression_level:
    description: Its level.
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
          description: Manifests that cannot be used, and why.
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
        wal:
          description:
            - What the WAL archive makes reachable. C(archive) names it; C(windows) has for each timeline from when to when the server
              can be brought back, in C(stretches) without a gap; C(last_segment), its C(last_segment_age) in seconds; C(findings)
              of the audit. Null without an archive.
          returned: always
          type: dict
        archiver:
          description:
            - What the server says, with O(archiving). C(failing), C(failing_since), C(last_archived), C(last_archived_age), C(ready)
              segments that wait, C(lag_bytes); C(slots) with the bytes that each holds back. Null when it was not asked.
          returned: always
          type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.audit import describe, inspect
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look as listing_of
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import WITH_REPOSITORY, open_to_read
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FOLDER, FileWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import keeping_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import (
    named_repositories,
    open_repository,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import archiver_state
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address, workspace
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import slots
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow

CLOCKS_DIFFER = 60  # seconds


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


def look(
    tier: Tier, shelf: Shelf, details: bool, found: dict[str, dict[str, Any]], physical: dict[str, Record]
) -> None:
    """Add a repository's backups to those that were ``found``, by id. Raises HoldfastError."""
    shelf.repository.check(write=False)
    listing = listing_of(shelf)
    tier.problems, tier.leftovers = listing.problems, listing.leftovers
    for record in listing.records:
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
        if record.kind != "logical":
            physical[record.id] = record
        shown["verified_at"] = shown["verified_at"] or record.verified_at
    tier.lock = lock.state(shelf.repository, f"{shelf.name}/lock.json")


def look_into_engine(
    name: str, params: dict[str, Any], physical: dict[str, Record], space: str, problems: list[str]
) -> Optional[WalArchive]:
    """The WAL archive of an engine with a repository of its own, whose backups are added to ``physical``. One that was not named, and
    cannot be looked into from here, is a problem and no error."""
    try:
        engine = open_to_read(name, params, space)
        physical.update((record.id, record) for record in engine.backups(problems))
    except HoldfastError as exc:
        if params["engine"]:
            raise
        problems.append(f"{name} keeps an archive of {params['server_name']} here, which cannot be looked into: {exc}")
        return None
    return engine.wal


def look_at_wal(
    params: dict[str, Any], physical: dict[str, Record], space: str, unread: list[str]
) -> Optional[dict[str, Any]]:
    """What the archive makes reachable; the engine's own backups are added to ``physical``, and what cannot be read to ``unread``. Raises
    HoldfastError."""
    wal: Optional[WalArchive] = None
    problems: list[str] = []
    name = params["engine"]
    try:
        name = name or keeping_engine(params)
    except BadOption as exc:
        problems.append(str(exc))
    if name in WITH_REPOSITORY:
        wal = look_into_engine(str(name), params, physical, space, problems)
    else:
        for _name, options, _where in named_repositories(params):
            directory = os.path.join(options.get("path") or "", params["server_name"], FOLDER)
            if options["type"] == "file" and os.path.isdir(directory):
                wal = FileWal(directory, Compression("none"))
                break
    if wal is None:
        unread += problems
        return None
    report = inspect(wal, physical.values(), space)
    return {
        "archive": wal.description,
        "windows": [window.to_dict() for window in report.windows],
        "last_segment": report.last_segment(),
        "last_segment_age": wal.age(report.last_segment()),
        "findings": [describe(finding) for finding in report.findings],
        "problems": problems,
    }


def ask_server(params: dict[str, Any], space: str) -> dict[str, Any]:
    """What the server says of its archiving. Raises ServerError."""
    with contextlib.closing(Address(params, space).connect()) as connection:
        return {**archiver_state(connection), "slots": slots(connection)}


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """List."""
    params = module.params
    every = parse_duration(params["expected_every"], "expected_every") if params["expected_every"] else None
    found: dict[str, dict[str, Any]] = {}
    physical: dict[str, Record] = {}
    tiers = []
    errors: list[HoldfastError] = []
    ours = named_repositories(params) if params["repository"] or params["repositories"] else []
    for name, options, where in ours:
        shelf = Shelf(open_repository(options, where), params["server_name"])
        tiers.append(Tier(name, shelf.repository.description))
        try:
            look(tiers[-1], shelf, params["details"], found, physical)
        except HoldfastError as exc:
            tiers[-1].error = str(exc)
            errors.append(exc)
    if errors and len(errors) == len(tiers):
        raise errors[0]
    with workspace() as space:
        archiver = ask_server(params, space) if params["archiving"] else None
        unread: list[str] = []
        wal = look_at_wal(params, physical, space, unread)
    for record in physical.values():
        # Those of an engine's own repository are in no tier of ours.
        if record.id not in found:
            found[record.id] = {**record.to_dict(), "tiers": [record.engine]}
    backups = sorted(found.values(), key=lambda entry: (entry["stopped_at"], entry["id"]))
    # An engine with a repository of its own checks what it copies, and lists only what succeeded.
    good = [entry["stopped_at"] for entry in backups if entry["verified_at"] or entry["engine"] in WITH_REPOSITORY]
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
        "total_size": sum(tier.total_size for tier in tiers)
        + sum(entry["scope"].get("stored") or 0 for entry in found.values() if entry["engine"] in WITH_REPOSITORY),
        "last_success": good[-1] if good else None,
        "overdue": overdue,
        "lock": next((tier.lock for tier in tiers if tier.lock), None),
        "leftovers": [leftover for tier in tiers for leftover in tier.leftovers],
        "problems": [words for tier in tiers for words in (*tier.problems, *([tier.error] if tier.error else []))]
        + unread,
        "tiers": [asdict(tier) for tier in tiers],
        "wal": wal,
        "archiver": archiver,
    }
    return {"changed": False, "ansible_facts": {"holdfast_backups": facts}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.ARCHIVER,
            "archiving": {"type": "bool", "default": False},
            "engine": {"type": "str", "choices": WITH_REPOSITORY},
            "engine_config": {"type": "path"},
            "compression": {"type": "str", "choices": ["zstd", "gzip", "lz4", "none"]},
            "compression_level": {"type": "int"},
            "details": {"type": "bool", "default": True},
            "limit": {"type": "int"},
            "expected_every": {"type": "str"},
        },
        required_one_of=[("repository", "repositories", "engine_config")],
        required_by={"engine_config": "engine"},
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=module.params["archiving"])


if __name__ == "__main__":
    main()
