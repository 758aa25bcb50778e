#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Read backups back, and say whether they are good
version_added: 0.1.0
description:
  - Reads the backups of a server back from where they are kept, and checks them without restoring them, as closely as O(level) says.
  - A run takes what is due (O(max_age)), the oldest proof first, as long as its budget lasts (O(budget_time), O(budget_bytes)); of several
    repositories one after the other. The next run goes on where this one ended, so a short one each night comes round to all.
  - What was found is written down beside the backups (C(_verified.json)), never in their manifests. M(holdfast.postgres.backup_facts) and
    M(holdfast.postgres.backup_status) show it as C(verified_at).
  - A backup that is not good is marked, and stays. A retention counts it as no backup, which displaces none, and a restore of the latest passes it
    over. A later verification of at least the same level that finds it good takes the mark away.
  - A store that does not answer, another passphrase, or a program that is missing say nothing against a backup. The module fails then, and marks
    nothing.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.archiver
  - holdfast.postgres.archiver.reading
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
      - holdfast.postgres.engine
  check_mode:
    support: full
    details: It looks at what there is, and says what would be read, how much, and in which order.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  level:
    description:
      - V(presence) sees whether the manifest can be read, whether each part is there in its size, and each segment of WAL that makes a whole server's
        copy consistent. It reads nothing of them.
      - V(checksum) reads all parts back and compares their sha256.
      - V(content) also compares the signature, decrypts and unpacks each part to its end, has C(pg_restore) read or list each dump, looks for the last line
        of each plain one, compares the files in a copy of a server with the list that PostgreSQL made of them, and reads that WAL.
      - V(engine) also unpacks a copy of a server by C(pg_basebackup) into O(scratch_dir), and has C(pg_verifybackup) compare every file.
      - Of an engine with a repository of its own, V(presence) is a look at what is there, and all others are what it can itself. pgBackRest reads all
        of a backup back. Barman and WAL-G read nothing back, so that only V(presence) is reached, as C(proof) says.
    type: str
    choices: [presence, checksum, content, engine]
    default: content
  backup_id:
    description: Only this one, or V(latest). By default all.
    type: str
  full:
    description: Verify whatever was proven before, and however recently.
    type: bool
    default: false
  max_age:
    description:
      - What was found good at O(level), or a higher one, within this time is not read again.
      - Who made a backup read it back; that counts as V(checksum).
    type: str
    default: 7d
  budget_time:
    description:
      - No further backup is begun that would not end within this time, such as V(2h), at the rate so far. At least one is read.
    type: str
  budget_bytes:
    description: So many bytes are read at most, in whole backups, and at least one.
    type: int
  engine:
    description:
      - The engine that the server's backups are made by. Those of V(pg_dump) and V(pg_basebackup) lie in our folders, and both are verified,
        whichever is named. One with a repository of its own is named.
    type: str
    choices: [pg_dump, pg_basebackup, pgbackrest, barman_cloud, wal_g]
  engine_config:
    description:
      - The configuration file of a V(pgbackrest) that somebody else set up, which is used as it is; O(server_name) is its stanza. What is found is
        written down only where O(repository) is said too.
    type: path
  scratch_dir:
    description: Where a copy of a server is unpacked at the level V(engine). By default the system's temporary directory.
    type: path
  bin_dir:
    description: Directory of PostgreSQL's programs. By default they are looked for, in the version of the backup.
    type: path
seealso:
  - module: holdfast.postgres.backup_status
  - module: holdfast.postgres.backup_facts
"""

EXAMPLES = r"""
- name: Come round to all backups, an hour a night
  holdfast.postgres.backup_verify:
    repository:
      path: /backups
    server_name: db1
    encryption:
      method: aes256
      passphrase_file: /etc/holdfast/passphrase
    max_age: 30d
    budget_time: 1h

- name: What would be read?
  holdfast.postgres.backup_verify:
    repository:
      path: /backups
    server_name: db1
    level: checksum
  check_mode: true

- name: One of them, as closely as can be, whatever was proven before
  holdfast.postgres.backup_verify:
    repository:
      type: s3
      bucket: acme-backups
    server_name: db1
    backup_id: latest
    level: engine
    full: true
    scratch_dir: /var/tmp

- name: What pgBackRest keeps
  holdfast.postgres.backup_verify:
    engine: pgbackrest
    repository:
      path: /backups
    server_name: db1
  become: true
  become_user: postgres
"""

RETURN = r"""
verified:
  description: The backups that were found good, each with C(id), C(tier), C(level), C(bytes) that were read, C(seconds), and whether that
    C(cleared) the mark of a failure.
  returned: always
  type: list
  elements: dict
damaged:
  description: Those that are not, each with C(id), C(tier), the C(level) at which it was seen, and what is wrong (C(text)). They are C(kept).
  returned: always
  type: list
  elements: dict
unknown:
  description: Those that could not be looked at, with the reason (C(text)). Nothing was marked.
  returned: always
  type: list
  elements: dict
left:
  description: What is due, and is left for the next run.
  returned: always
  type: list
  elements: dict
fresh:
  description: How many were proven within O(max_age).
  returned: always
  type: int
bytes:
  description: Bytes that were read.
  returned: always
  type: int
proof:
  description: What was C(proven) and what was not (C(unproven)), a sentence each.
  returned: always
  type: dict
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.verifications import LEVELS
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import COPYING
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.open import request_of, tiers_of
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.run import VerifyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Verify what is due."""
    params = module.params
    request = request_of(params)
    progress = Progress(None if module.check_mode else params["progress_file"])
    with workspace() as space, workspace(params["scratch_dir"]) as scratch:
        secrets = Secrets(params["encryption"] or {}, space)
        try:
            tiers = tiers_of(params, secrets, space, scratch)
            result = VerifyRun(tiers, request, progress, warnings).run(module.check_mode).describe()
        finally:
            secrets.close()
            progress.finish()
    if module._diff:
        result["diff"] = {"prepared": "".join(f"- {step}\n" for step in result["plan"])}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.ARCHIVER,
            **argspec.READING,
            "engine": {"type": "str", "choices": COPYING},
            "engine_config": {"type": "path"},
            "level": {"type": "str", "choices": list(LEVELS), "default": "content"},
            "backup_id": {"type": "str"},
            "full": {"type": "bool", "default": False},
            "max_age": {"type": "str", "default": "7d"},
            "budget_time": {"type": "str"},
            "budget_bytes": {"type": "int"},
            "scratch_dir": {"type": "path"},
            "bin_dir": {"type": "path"},
            **argspec.PROGRESS,
        },
        required_one_of=[("repository", "repositories", "engine_config")],
        required_by={"engine_config": "engine"},
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
