#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup
short_description: Back up a PostgreSQL server
version_added: 0.1.0
description:
  - Makes a verified backup of one, several or all databases of a server in a repository, or deletes one.
  - A backup is a folder C(<server_name>/<id>) with compressed and possibly encrypted artifacts that stock tools read, a
    C(RESTORE.txt) with the commands to do so, and a C(manifest.json), which is written last. A backup exists exactly
    when its manifest does.
  - Beside the dumps it holds roles and tablespaces, and a record of what dumps leave out and a disaster needs, such as
    settings, C(pg_hba) rules, extensions with versions, replication slots, and the number of rows of each table.
  - When the task is run with a terminal that shows it, its progress is printed every few seconds.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.repository.retention
  - holdfast.postgres.backup
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
    details: Does every read that the run does, and returns what would happen as RV(plan).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: A backup is made each time, unless O(max_age) or O(backup_id) says when there is enough.
options:
  state:
    description:
      - V(present) makes a backup. V(absent) deletes the one named by O(backup_id), or what is left of it; one whose
        manifest is damaged too, with a warning.
    type: str
    choices: [present, absent]
    default: present
  engine:
    description:
      - The program that copies. V(pg_dump) dumps databases; V(pg_basebackup) copies the whole server, file by file, from
        which any later moment can be reached where its WAL is archived (M(holdfast.postgres.wal_archive)).
      - V(pgbackrest), V(barman_cloud) and V(wal_g) copy it too, into a repository of their own format, which their own programs
        read. They have to be installed, and this is run on the database host.
    type: str
    choices: [pg_dump, pg_basebackup, pgbackrest, barman_cloud, wal_g]
    default: pg_dump
  max_age:
    description:
      - When a verified backup of the same scope is younger than this, such as V(20h), nothing is done. It has to be encrypted for every
        recipient that O(encryption) names now.
    type: str
  databases:
    description: Names of the databases. By default all but templates.
    type: list
    elements: str
    default: []
  format:
    description: Format of the dumps, as pg_dump names it.
    type: str
    choices: [custom, directory, plain, tar]
    default: custom
  jobs:
    description: Tables dumped at the same time, with O(format=directory).
    type: int
    default: 1
  staging_limit:
    description:
      - Bytes of a dump that lie in C(TMPDIR) at most, with O(format=directory), whose files pg_dump writes there. They are read while
        they grow, and what was read is given back. When the repository is slower than the dump, pg_dump is stopped at half of it
        until there is room; the other half is for what it writes within a moment.
      - By default 1 GiB, and never more than half of what is free there.
    type: int
    default: 1073741824
  lock_wait_timeout:
    description:
      - How long the dump of a database waits for tables that others have locked (V(30min), V(2h)). Who holds them is shown meanwhile, and
        named in the error. The other databases are backed up. V(0) waits without limit.
    type: str
    default: 1h
  schema_only:
    description: Dump definitions alone.
    type: bool
    default: false
  data_only:
    description: Dump data alone.
    type: bool
    default: false
  schemas:
    description: Only these schemas (patterns as pg_dump takes them).
    type: list
    elements: str
    default: []
  exclude_schemas:
    description: Not these schemas (patterns).
    type: list
    elements: str
    default: []
  tables:
    description: Only these tables (patterns).
    type: list
    elements: str
    default: []
  exclude_tables:
    description: Not these tables (patterns).
    type: list
    elements: str
    default: []
  exclude_table_data:
    description: These tables' definitions without their rows (patterns).
    type: list
    elements: str
    default: []
  large_objects:
    description: Whether large objects are dumped. By default as pg_dump does, when nothing is selected.
    type: bool
  globals:
    description: Whether roles and tablespaces are dumped too.
    type: bool
    default: true
  role_passwords:
    description:
      - Whether the roles' password hashes are dumped. They are secrets.
      - By default they are when the backup is encrypted and the role may read them, and they are not otherwise.
    type: bool
  row_counts:
    description:
      - Whether the rows of each table are counted, in the very snapshot of the dump, so that a restore can be compared.
    type: bool
    default: true
  kind:
    description:
      - V(full) copies everything, which is the default; V(incremental) what has changed since the last backup (V(pg_basebackup)
        of PostgreSQL 17 and newer, with C(summarize_wal) on, V(pgbackrest), V(wal_g)). Where there is none to build upon, a full one is made, with a
        warning.
      - V(differential) copies what has changed since the last full one (V(pgbackrest)).
    type: str
    choices: [full, differential, incremental]
  include_wal:
    description: Whether the WAL that makes the copy consistent goes into the backup, so that it needs no archive (V(pg_basebackup)).
    type: bool
    default: true
  wal_timeout:
    description:
      - For how long nothing of the WAL that a backup waits for may be archived, such as V(10min), before the backup is given up. A slow
        archive, which still takes one segment after the other, is waited for; V(pgbackrest) counts the whole of its wait.
      - PostgreSQL itself waits without an end for an C(archive_command) or C(archive_library) that does not come back.
    type: str
    default: 10min
  checkpoint:
    description: Whether the checkpoint that the copy begins with is V(fast), or V(spread) to spare the disk (V(pg_basebackup)).
    type: str
    choices: [fast, spread]
    default: fast
  max_rate:
    description: Bytes per second that are read from the server at most (V(pg_basebackup)).
    type: int
  compression_at:
    description:
      - Where the copy is compressed, by a program here or by the server, which spares the network between them
        (V(pg_basebackup)).
    type: str
    choices: [client, server]
    default: client
  compression:
    description:
      - How artifacts are compressed, by the stock program of that name. By default V(zstd), and V(gzip) with V(barman_cloud), whose
        backups know no zstd.
    type: str
    choices: [zstd, gzip, lz4, none]
  compression_level:
    description:
      - Level of the compression. By default 1 for V(zstd) when a repository is an object store, else -1 (C(--fast=1), which is
        faster still, and larger), 1 for V(lz4), 6 for V(gzip).
    type: int
seealso:
  - module: holdfast.postgres.pg_restore
  - module: holdfast.postgres.backup_prune
  - module: holdfast.postgres.backup_facts
"""

EXAMPLES = r"""
- name: Back up every database into a directory
  holdfast.postgres.pg_backup:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups

- name: A nightly backup, encrypted, that keeps two weeks and a year of months
  holdfast.postgres.pg_backup:
    login_host: db.example.com
    login_user: backup
    login_password: "{{ vault_backup_password }}"
    server_name: shop
    repository:
      path: /mnt/backups
    encryption:
      method: aes256
      passphrase_file: /etc/holdfast/passphrase
    retention:
      keep_daily: 14
      keep_monthly: 12
    max_age: 20h

- name: Straight into a bucket, without touching the host's disk
  holdfast.postgres.pg_backup:
    login_unix_socket: /var/run/postgresql
    repository:
      type: s3
      bucket: acme-backups
      prefix: postgres
      region: eu-central-1
      access_key: "{{ vault_access_key }}"
      secret_key: "{{ vault_secret_key }}"

- name: A week on the disk, a month elsewhere, and the server read once
  holdfast.postgres.pg_backup:
    login_unix_socket: /var/run/postgresql
    repositories:
      - name: disk
        path: /backups
        retention:
          keep_within: 7d
      - name: azure
        type: azure
        container: postgres
        connection_string: "{{ vault_connection_string }}"
        retention:
          keep_within: 30d
    max_age: 20h

- name: A pinned backup of one database before a risky change
  holdfast.postgres.pg_backup:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
    databases: [shop]
    backup_id: before-release-42
    pinned: true
    annotations:
      ticket: OPS-1234

- name: Delete one backup
  holdfast.postgres.pg_backup:
    repository:
      path: /backups
    backup_id: before-release-42
    state: absent
"""

RETURN = r"""
backup:
  description: The record of the backup that was made, or that is enough. Its form is that of the manifest.
  returned: when there is one
  type: dict
  sample:
    id: 20261121T014512Z-3f9a1c
    engine: pg_dump
    kind: logical
    size: 518723012
    verified_at: "2026-11-21T01:45:20Z"
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
consent:
  description: The options that this waits for, with the values that agree to it. A plan needs none of them.
  returned: in check mode, when something is missing
  type: dict
proof:
  description:
    - What was proven of the backup that was made (C(proven)), and what was not (C(unproven)), in sentences.
  returned: unless state is absent
  type: dict
retention:
  description: For each backup whether it stays, and why.
  returned: when retention has a rule
  type: list
  elements: dict
tiers:
  description: Each repository of the run, with the id of the backup that it has now, and what was pruned there.
  returned: unless state is absent
  type: list
  elements: dict
  sample:
    - name: disk
      repository: the repository /backups
      backup: 20261121T014512Z-3f9a1c
      error: null
      pruned: []
pruned:
  description: Backups that were deleted, each with its reasons.
  returned: always
  type: list
  elements: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
from dataclasses import asdict
from typing import Any, Union

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.engine_tier import (
    ENOUGH,
    EngineMaker,
    EngineTier,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import FolderMaker
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.open import (
    engine_tier,
    folder_tiers,
    present,
    request_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupResult
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.run import BackupRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import COPYING, ENGINES
from ansible_collections.holdfast.postgres.plugins.module_utils.engines import silence
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import SPEC, check_options, choose
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import telling_of_interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.module import CREATED_BY, execute
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def delete(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """state: absent"""
    params, check = module.params, module.check_mode
    if params["repositories"]:
        raise BadOption("repositories", "(several)", "does not go with state: absent", "Name one repository.")
    if ENGINES[params["engine"]].has_repository:
        with workspace() as space, contextlib.closing(Address(params, space).connect()) as connection:
            tier = engine_tier(params, connection, warnings)
            with tier.lock("a deletion") as lock:
                if not check:
                    lock.acquire(params["lock_wait"])
                gone = tier.delete_one(params["backup_id"], check)
    else:
        backup_id = check_name("backup_id", params["backup_id"])
        (folder,) = folder_tiers(params, warnings)
        folder.repository.check(write=True)
        with folder.lock("a deletion") as lock:
            if not check:
                lock.acquire(params["lock_wait"])
            gone = [backup_id] if delete_one(folder.shelf, backup_id, check, warnings) else []
    return {
        "changed": bool(gone),
        "plan": [f"delete {name}" for name in gone],
        "pruned": [{"id": name, "reasons": ["asked for"]} for name in gone],
    }


def run_of_engine(params: dict[str, Any], work: Workplace) -> BackupRun[EngineTier]:
    """By an engine with a repository of its own."""
    for name in ("backup_id", "pinned"):
        if params[name]:
            raise BadOption(name, params[name], f"cannot be given to {params['engine']}, which names its backups itself",
                            "Pin one by its own label: retention.pins.")  # fmt: skip
    check_options(params["engine"], params)
    kind = params["kind"] or "full"
    method = (params["encryption"] or {}).get("method") or "none"
    request = request_of(params, params["engine"], {"cluster": True}, ENOUGH[kind], {"method": method}, CREATED_BY)
    connection = work.connect()
    tier = engine_tier(params, connection, work.result.warnings)
    archiving = tier.engine.archiving(connection, parse_duration(params["wal_timeout"], "wal_timeout"))
    maker = EngineMaker(tier.engine, kind, lambda: present(connection), archiving, request, work.progress, work.result)
    return BackupRun([tier], maker, request, work.progress, work.result)


def run_of_folders(params: dict[str, Any], work: Workplace) -> BackupRun[FolderTier]:
    """By an engine that writes into our folders."""
    encryption = Encryption(params["encryption"], work.space)
    work.stack.callback(encryption.close)
    tiers = folder_tiers(params, work.result.warnings, encryption)
    remote = any(tier.repository.remote for tier in tiers)
    compression = Compression(params["compression"] or "zstd", params["compression_level"], remote)
    engine = choose(params, work.space, encryption)
    encryption.check(encrypting=True)
    request = request_of(params, engine.name, engine.scope, engine.enough, encryption.describe(), CREATED_BY)
    maker = FolderMaker(
        engine.make,
        lambda: present(work.connect()),
        request,
        compression,
        encryption,
        engine.instructions,
        work.progress,
        work.result,
    )
    return BackupRun(tiers, maker, request, work.progress, work.result)


class Workplace:
    """What a run has for as long as it lasts: a private directory, progress, what it says."""

    def __init__(self, module: AnsibleModule, warnings: list[str], stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.progress = Progress(None if module.check_mode else module.params["progress_file"])
        self.result = BackupResult(warnings=warnings)
        self.space = stack.enter_context(workspace())
        stack.callback(self.progress.finish)
        self._params = module.params

    def connect(self) -> Any:
        """A connection that lasts as long as the run."""
        with telling_of_interrupted(self._params):
            connection = Address(self._params, self.space).connect()
        words = (interrupted.of_connection(connection), silence.of_connection(connection, self._params))
        self.result.warnings += [word for word in words if word]
        return self.stack.enter_context(contextlib.closing(connection))


def back_up(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """state: present"""
    params = module.params
    with contextlib.ExitStack() as stack:
        work = Workplace(module, warnings, stack)
        run: Union[BackupRun[EngineTier], BackupRun[FolderTier]]
        run = (run_of_engine if ENGINES[params["engine"]].has_repository else run_of_folders)(params, work)
        done = run.run(module.check_mode)
    result: dict[str, Any] = {
        "changed": done.changed,
        "plan": done.plan,
        "pruned": [entry for tier in run.tiers for entry in tier.pruned],
        "tiers": [tier.describe() for tier in run.tiers],
        "proof": done.proof.describe(),
    }
    if done.record:
        result["backup"] = done.record.to_dict()
    if any(tier.decisions for tier in run.tiers):
        result["retention"] = [asdict(decision) for tier in run.tiers for decision in tier.decisions]
    if done.consent:
        result["consent"] = done.consent
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in done.plan)}
    run.check_complete(result)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.RETENTION,
            **argspec.BACKUP,
            **argspec.ARCHIVER,
            **argspec.LOCK,
            **argspec.PROGRESS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "engine": {"type": "str", "choices": COPYING, "default": "pg_dump"},
            **SPEC,
            "jobs": {"type": "int", "default": 1},
            "compression": {"type": "str", "choices": ["zstd", "gzip", "lz4", "none"]},
            "compression_level": {"type": "int"},
        },
        required_if=[("state", "absent", ["backup_id"])],
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    if module.params["state"] == "absent":
        execute(module, delete, psycopg2=ENGINES[module.params["engine"]].has_repository)
    execute(module, back_up, psycopg2=True)


if __name__ == "__main__":
    main()
