#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore
short_description: Restore PostgreSQL databases
version_added: 0.1.0
description:
  - Restores a server's databases, one of them, or parts of one, from a backup that M(holdfast.postgres.pg_backup) made, or
    from dump files that other tools made.
  - Everything is read and judged before anything is touched, artifacts are compared with their checksums, sessions and
    what would be replaced are looked at.
  - A database is restored beside the one of its name, checked, and only then put in its place, in one transaction; where there is
    none, it is made under its own name. Whatever fails before, the database that was there stays as it was.
  - What can only work under its own name (the database of pg_cron; constraints that ask for the database's name) is restored after the
    one that is there has moved aside, and that one comes back if it fails.
  - Afterwards rows are compared with those that the backup recorded, indexes, constraints and sequences are looked at,
    and statistics are gathered.
  - A whole server, from a physical backup, is brought back by M(holdfast.postgres.pg_recover).
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
  check_mode:
    support: full
    details: Does every read that the run does, checksums included, and returns what would happen as RV(plan).
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - What was restored where is remembered below O(server_name) in the repository (for O(source), in
        O(state_dir)). When the same restore is asked for again, and it is proven that no row, definition or property was written
        since, nothing is done. All rows are read for that. Roles, tablespaces, what foreign tables lead to, and rows of materialized views
        are not looked at for that.
      - Adding parts to a database that is there is not remembered by table; it is done once a database and selection.
options:
  repository:
    description: Where backups are kept. Needed without O(source).
    required: false
  backup_id:
    description:
      - Id of the backup, or V(latest) for the newest verified one. What the role P(holdfast.postgres.runbook#role) kept of a broken state is taken by
        its id alone.
    type: str
    default: latest
  before:
    description:
      - Only backups that ended before this moment, such as V(2026-11-21T02:59:00+01:00), so that what went wrong then is in none of them. One that
        O(backup_id) names and that ended later is refused.
    type: str
  source:
    description:
      - Instead of a repository, a dump that another tool made, in any format of pg_dump, compressed by gzip, zstd, lz4, xz or bzip2 or
        not, or a script of pg_dumpall (whole, for a server without databases).
      - Or a folder of such dumps. Of each of O(databases) the file is taken that is called by its name and C(latest), else the one with
        the last moment in its name; here, in C(last), as postgres-backup-local has it, and in a folder of the database's name; where there is none,
        in C(daily), then C(weekly), then C(monthly). A link C(latest.sql) at the top counts for the database whose dump it leads to.
        Names are matched exactly, times of files count for nothing, and where names do not decide nothing is restored. The chosen file is named in
        RV(plan) and RV(restored).
      - A link that is called C(latest) and leads nowhere is an error, as the dump that it means is not there (O(source_choice)).
      - A dump is read to its end before anything is touched, also in check mode. It is refused where it is cut off or damaged, is of
        another database than its file's name says, or holds what reaches beyond the one database that is asked for, commands to psql, roles
        and tablespaces, ALTER SYSTEM, COPY with a program or a file of the server, subscriptions that connect, changes of system catalogs,
        other databases. What C(pg_dump --create) says of its own database goes to the one that is asked for.
      - Extensions that the dump makes and the server's host lacks are told before anything is touched. What C(pg_dump --clean) drops before it
        makes anything is left out, as the database is new, and the schemas of a dump of tables alone are made.
      - A database in several scripts (definitions and rows apart, C(pg_dump --section), Supabase's C(schema.sql) and C(data.sql)) is put into
        one file, one behind the other. Roles are not made from such a script. Hypertables of TimescaleDB are refused, as they come back
        only by hand.
      - Rows are counted in the dump, and compared with those that arrived. Damage that leaves a plain dump's form intact, such as rows that are
        missing in the middle, cannot be known; archives and compressed files have checksums.
      - Scripts run under psql's C(\restrict), which this psql must have, and where the module runs as root, by a user of the host who owns
        nothing. What the dump's SQL does within functions, triggers, views, DO blocks and extensions is not looked into, and runs with the
        rights of O(login_user), which for a superuser includes programs on the server. Restore dumps that you do not trust as a role
        that owns nothing but the new database, or into a server that holds nothing else.
    type: path
  source_choice:
    description:
      - Which dump of a folder is taken. V(latest) is the one that is called so, where there is one; V(newest) the one with the last moment in its name,
        whatever is called C(latest).
    type: str
    choices: [latest, newest]
    default: latest
  databases:
    description:
      - Names of the databases to restore. By default all that the backup has.
      - With a single file as O(source) the name that the database gets, whatever it was called; by default the one that the dump itself tells.
    type: list
    elements: str
    default: []
  target_db:
    description: Restore the one database of O(databases) under this name.
    type: str
  tables:
    description:
      - Only these tables (C(name) or C(schema.name), no patterns), with all that they are made of, partitions, inheritance children,
        indexes, constraints, sequences, triggers, policies and privileges. A name that is in several schemas is refused.
      - They are added to the target database when it is there, or with O(force) put in the place of its own, in one transaction in which
        their rows are compared. What other objects say of them, such as publications, stays; foreign keys that rows of today contradict
        come back as not valid. Into a new database comes also what they need, such as their schema, types and trigger functions.
    type: list
    elements: str
    default: []
  schemas:
    description:
      - Only what is in these schemas, and the schemas themselves. Into a new database comes also what it needs.
    type: list
    elements: str
    default: []
  schema_only:
    description: Only definitions.
    type: bool
    default: false
  data_only:
    description: Only data, into tables that are there.
    type: bool
    default: false
  sections:
    description: Only these sections of the dump.
    type: list
    elements: str
    choices: [pre-data, data, post-data]
    default: []
  jobs:
    description:
      - Tables and indexes restored at the same time. More than one unpacks custom-format dumps into O(scratch_dir) first.
    type: int
    default: 1
  no_owner:
    description: Everything belongs to O(login_user), instead of its former owner.
    type: bool
    default: false
  no_privileges:
    description: Do not restore privileges.
    type: bool
    default: false
  no_tablespaces:
    description: Everything goes into the database's own tablespace, instead of the former ones, which may not be there.
    type: bool
    default: false
  superuser_passwords:
    description:
      - Give the role that is logged in, and superusers that are there already, the passwords and attributes of the source when roles are
        restored. By default they stay as they are, so that nobody is locked out.
    type: bool
    default: false
  role_map:
    description:
      - Other roles for owners and privileges, by the former names. The new ones must be there.
      - Definitions are then restored by one job, and roles and tablespaces only with O(globals=true), with the new names in their owners,
        memberships and privileges.
      - User mappings and settings of roles keep the former names.
    type: dict
    default: {}
  disable_triggers:
    description: Disable triggers while data is restored, with O(data_only=true).
    type: bool
    default: false
  globals:
    description:
      - Whether roles and tablespaces are restored first. By default they are when all databases are restored, and O(role_map) is empty.
      - Roles that are there get the attributes and passwords of the source, but for superusers and the role that is logged in
        (O(superuser_passwords)). An unencrypted backup holds no passwords.
    type: bool
  tablespace_locations:
    description: Directories for tablespaces that the target does not have yet, by their names, instead of the former ones.
    type: dict
    default: {}
  force:
    description: Replace databases that are not empty, or add to them. Needs O(confirm). Check mode shows the plan without either.
    type: bool
    default: false
  confirm:
    description: Names of the databases that O(force) may replace.
    type: list
    elements: str
    default: []
  terminate_sessions:
    description: End the sessions that are connected to a database that is replaced.
    type: bool
    default: false
  keep_old:
    description: Keep the database that was replaced, under the name that RV(restored) tells.
    type: bool
    default: false
  analyze:
    description: Gather statistics afterwards.
    type: bool
    default: true
  fix_sequences:
    description: Set sequences that are behind their columns past them. They are reported either way.
    type: bool
    default: false
  allow_errors:
    description:
      - Statements may fail whose message contains one of these texts; in scripts, and for roles and tablespaces, the message begins with its
        SQLSTATE, such as C(42704), which is the same in each language. They are listed in RV(restored).
      - A COPY that fails ends the restore of a script all the same, as its rows would be taken for statements.
      - A table that is missing, or has another number of rows than was recorded, is an error all the same, unless a failure that was let pass
        speaks of it.
    type: list
    elements: str
    default: []
  break_replication:
    description:
      - Go on although logical replication hangs on what is replaced. Logical slots of the database are then made anew under their names,
        and begin at the restore, so that who reads from them has to copy the tables afresh; subscriptions are taken off their slots,
        and are disabled in the restored database; a subscription of a replaced table receives nothing into the new one until it is
        refreshed.
      - Without it such a restore is refused before anything is touched.
    type: bool
    default: false
  accept_unsigned:
    description:
      - Take a backup that a passphrase encrypts though its manifest is not signed by it. Without this it is refused, as who may write into
        the repository could have put artifacts of another backup in the place of its own.
      - What is signed, and is not what was signed, is always refused.
    type: bool
    default: false
  encoding:
    description: Encoding of the database that is made, instead of the one it had.
    type: str
  locale:
    description:
      - Locale of the database that is made (collation and character types, of the C library), instead of the one it had; such as
        V(C.UTF-8) where the host lacks that one.
    type: str
  template:
    description: The database that the new one is a copy of.
    type: str
    default: template0
  scratch_dir:
    description: Directory for unpacking, where that is needed.
    type: path
    default: /var/tmp
  state_dir:
    description: Directory in which restores from O(source) are remembered. It is made when it is not there.
    type: path
    default: ~/.local/state/holdfast
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.pg_recover
"""

EXAMPLES = r"""
- name: What would a restore of everything do?
  holdfast.postgres.pg_restore:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
  check_mode: true
  diff: true

- name: Bring one database back in place, and keep the broken one
  holdfast.postgres.pg_restore:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
    databases: [shop]
    force: true
    confirm: [shop]
    terminate_sessions: true
    keep_old: true

- name: Look at last night's state beside the live database
  holdfast.postgres.pg_restore:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
    databases: [shop]
    target_db: shop_yesterday

- name: Everything from a bucket, into an empty server
  holdfast.postgres.pg_restore:
    login_unix_socket: /var/run/postgresql
    repository:
      type: gcs
      bucket: acme-backups

- name: A dump that a cron job made
  holdfast.postgres.pg_restore:
    login_unix_socket: /var/run/postgresql
    source: /var/backups/pg
    databases: [shop]
"""

RETURN = r"""
restored:
  description: Each database that was restored, with what was checked.
  returned: always
  type: list
  elements: dict
  sample:
    - database: shop
      from: the backup 20261121T014512Z-3f9a1c
      old_database: null
      seconds: 4.2
      tables_checked: 31
      row_differences: []
      invalid: []
      sequences_behind: []
      unpopulated: []
      allowed_errors: []
proof:
  description:
    - What was looked at in the end, in sentences. V(proven) holds; V(unproven) could not be compared, and why; V(lost) is what the
      source could not bring along, or what does not hang on the restored database any more.
  returned: when something was restored
  type: dict
  sample:
    proven:
      - "The database 'shop' can be connected to."
      - "'shop': 31 tables have as many rows as were recorded."
    unproven: []
    lost: []
unchanged:
  description: Names of databases that had been restored already.
  returned: always
  type: list
  elements: str
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
consent:
  description: The options that this waits for, with the values that agree to it. A plan needs none of them.
  returned: in check mode, when something is missing
  type: dict
backup:
  description: The record of the backup.
  returned: when a repository is used
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
import os
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import RESTORES, Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import not_encrypted
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.log import RestoreLog
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.run import RestoreRun
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.source import from_backup, from_files, select
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def local_log(path: str) -> RestoreLog:
    """Where restores from other tools' files are remembered."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return RestoreLog(FileRepository(path), "restores")


def restore(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode restore."""
    begun: list[RestoreRun] = []
    with remains(lambda: "" if any(run.touched for run in begun) else "Nothing was touched.", changed=False):
        return _restore(module, warnings, begun)


def _restore(module: AnsibleModule, warnings: list[str], begun: list[RestoreRun]) -> dict[str, Any]:
    params = module.params
    options = RestoreOptions.from_params(params, looking=module.check_mode)
    progress = Progress(None if module.check_mode else params["progress_file"])
    if not os.path.isdir(params["scratch_dir"]):
        raise BadOption("scratch_dir", params["scratch_dir"], "is not a directory", "Name one with room for the dumps.")
    record: Optional[Record] = None
    shelf: Optional[Shelf] = None
    secret = dict(params["encryption"] or {})
    if params["source"]:
        secret["method"] = "aes256" if secret.get("passphrase") or secret.get("passphrase_file") else "none"
    else:
        shelf = Shelf(open_repository(params["repository"]), params["server_name"])
        shelf.repository.check(write=False)
        record = select(shelf, params["backup_id"], params["before"], options, warnings)
        if record.encryption["method"] == "none" and Encryption.is_wanted(secret):
            raise not_encrypted(f"the backup {record.id}")
        secret.update(method=record.encryption["method"], recipients=record.encryption["recipients"])
    with contextlib.ExitStack() as stack:
        space = stack.enter_context(workspace())
        scratch = stack.enter_context(workspace(params["scratch_dir"]))
        encryption = Encryption(secret, space)
        try:
            encryption.check()
            if shelf and record:
                if not module.check_mode:
                    stack.enter_context(Reading(shelf, [record.id], "a restore", warnings))
                source = from_backup(shelf, record, encryption, options.databases, params["encryption"] or {})
                log = RestoreLog(shelf.repository, f"{shelf.name}/{RESTORES}")
            else:
                source = from_files(
                    params["source"], options.databases, encryption, params["source_choice"] == "newest"
                )
                log = local_log(params["state_dir"])

            def verify() -> None:
                if shelf and record:
                    shelf.verify(record)

            address = Address(params, space, writes=True)
            run = RestoreRun(source, verify, address, params["bin_dir"], options, log, scratch, progress)
            begun.append(run)
            try:
                outcome = run.run(module.check_mode)
            finally:
                warnings.extend(run.outcome.warnings)
        finally:
            encryption.close()
            progress.finish()
    result: dict[str, Any] = {
        "changed": outcome.changed,
        "plan": outcome.plan,
        "restored": outcome.restored,
        "unchanged": outcome.unchanged,
        "proof": outcome.proof.describe(),
    }
    if record:
        result["backup"] = record.to_dict()
    if outcome.consent:
        result["consent"] = outcome.consent
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in outcome.plan)}
    return result


def main() -> None:
    repository = {**argspec.REPOSITORY, "repository": {**argspec.REPOSITORY["repository"], "required": False}}
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **repository,
            **argspec.ENCRYPTION,
            **argspec.PROGRESS,
            "backup_id": {"type": "str", "default": "latest"},
            "before": {"type": "str"},
            "source": {"type": "path"},
            "source_choice": {"type": "str", "choices": ["latest", "newest"], "default": "latest"},
            "databases": {"type": "list", "elements": "str", "default": []},
            "target_db": {"type": "str"},
            "tables": {"type": "list", "elements": "str", "default": []},
            "schemas": {"type": "list", "elements": "str", "default": []},
            "schema_only": {"type": "bool", "default": False},
            "data_only": {"type": "bool", "default": False},
            "sections": {
                "type": "list",
                "elements": "str",
                "choices": ["pre-data", "data", "post-data"],
                "default": [],
            },
            "jobs": {"type": "int", "default": 1},
            "no_owner": {"type": "bool", "default": False},
            "no_privileges": {"type": "bool", "default": False},
            "no_tablespaces": {"type": "bool", "default": False},
            "superuser_passwords": {"type": "bool", "default": False},
            "role_map": {"type": "dict", "default": {}},
            "disable_triggers": {"type": "bool", "default": False},
            "globals": {"type": "bool"},
            "tablespace_locations": {"type": "dict", "default": {}},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "list", "elements": "str", "default": []},
            "terminate_sessions": {"type": "bool", "default": False},
            "keep_old": {"type": "bool", "default": False},
            "analyze": {"type": "bool", "default": True},
            "fix_sequences": {"type": "bool", "default": False},
            "allow_errors": {"type": "list", "elements": "str", "default": []},
            "break_replication": {"type": "bool", "default": False},
            "accept_unsigned": {"type": "bool", "default": False},
            "encoding": {"type": "str"},
            "locale": {"type": "str"},
            "template": {"type": "str", "default": "template0"},
            "scratch_dir": {"type": "path", "default": "/var/tmp"},
            "state_dir": {"type": "path", "default": "~/.local/state/holdfast"},
        },
        mutually_exclusive=[("repository", "source")],
        required_one_of=[("repository", "source")],
        supports_check_mode=True,
    )
    execute(module, restore, psycopg2=True)


if __name__ == "__main__":
    main()
