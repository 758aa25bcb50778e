#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_drill
short_description: Prove a backup by restoring it
version_added: 0.1.0
description:
  - Restores a real backup by its real engine out of its real repository into a scratch server on this host, looks at it from all sides, tears it
    down, and writes what came of it beside the backups, as evidence.
  - The scratch server has a directory and a socket of its own, listens on no network, archives nothing, and where this host lets root make a network
    namespace it has no network either. Its jobs, subscriptions, foreign servers and event triggers are quiet. Tablespaces lie in its directory.
  - A dump is drilled in a server that is made for it, of the version that was dumped. A copy of a whole server is recovered to O(target).
  - The drill fails, and says the step and the file, where the backup cannot be restored, a check does not hold, or an assertion is refuted. The evidence
    is kept all the same.
  - Runs on a host with PostgreSQL's programs of the server's version, as root or as the user who is to own the scratch server.
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
    details: Says which backup would be drilled, from where, to which target, and what space that takes. Nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: With O(max_age) nothing is done while a drill that passed is recent enough. Else each run is a drill.
options:
  engine:
    description: Drill the backups of this engine alone. By default those of all engines are candidates.
    type: str
    choices: [pg_dump, pg_basebackup, pgbackrest, barman_cloud, wal_g]
  select:
    description:
      - Which backup is drilled. V(latest), V(random), V(oldest_unproven) (the oldest that no drill has proven; when all are, the one whose drill is the
        longest ago), or an id.
    type: str
    default: latest
  target:
    description:
      - How far a whole server is recovered. V(end), as far as the archive reaches; V(random), to a moment by chance between the backup and the last
        archived transaction; or a dictionary as O(holdfast.postgres.pg_recover#module:recovery_target) has it, with C(time), C(lsn), C(xid), C(name),
        C(immediate), C(latest), C(inclusive) and C(timeline).
      - A dump has no other moment than its own.
    type: raw
    default: end
  tier:
    description:
      - Name of the one of O(repositories) that the backup is taken from, or V(rotate) for each in its turn. By default the first.
    type: str
  max_age:
    description: Do nothing while the last drill passed, and is younger than this, such as V(7d).
    type: str
  scratch_dir:
    description:
      - Directory in which the scratch server is made, with room for the whole of it. What a killed drill left there is removed by the next.
    type: path
    default: /var/tmp
  owner:
    description: The user of the host who owns the scratch server. By default who runs this; for root the user of PostgreSQL's packages.
    type: str
  login_user:
    description: A superuser in a copy of a whole server. By default V(postgres), or the owner's name.
    type: str
  bin_dir:
    description: Directory of the server's programs. By default those of the backup's major version are looked for.
    type: path
  port:
    description:
      - The number in the name of the scratch server's socket, in a directory of its own. It listens on no network. By default a free one.
    type: int
  memory:
    description: C(shared_buffers) of the scratch server.
    type: str
    default: 128MB
  low_priority:
    description: Whether the drill comes after everybody else for processors (C(nice)) and disks (C(ionice)).
    type: bool
    default: true
  keep:
    description:
      - Let the scratch server run on after a drill, to be looked at (RV(server)). The next drill of the server removes it.
    type: bool
    default: false
  jobs:
    description: Processes that restore, and that check, at the same time.
    type: int
    default: 1
  wal_timeout:
    description: For how long the archive may take to bring one file.
    type: str
    default: 10min
  accept_unsigned:
    description: Take a backup that a passphrase encrypts though its manifest is not signed by it.
    type: bool
    default: false
  amcheck:
    description:
      - How thoroughly C(pg_amcheck) looks at tables and indexes. V(quick), each by itself; V(heapallindexed), also whether every row is in its indexes;
        V(parent), also how the pages of an index go with each other.
      - Where the extension amcheck is not on the host, the drill is V(partial), and says so.
    type: str
    choices: [none, quick, heapallindexed, parent]
    default: heapallindexed
  check_time:
    description: For how long the checks that read everything may run together. What is not done then was not checked, and the drill is V(partial).
    type: str
    default: 1h
  assertions:
    description:
      - What has to hold of the data. Each is a statement that gives one value, which is compared with what is expected.
      - A statement that fails, gives no row, several rows, several columns or NULL, or does not end in time, does not hold.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called in the evidence, which has no statement in it.
        type: str
        required: true
      database:
        description: The database that is asked.
        type: str
        required: true
      sql:
        description: The statement. It runs read-only.
        type: str
        required: true
      expect:
        description: What it has to give. By default V(true).
        type: raw
      operator:
        description: How what is found is compared with O(assertions[].expect). Numbers as numbers, moments as moments, all else as texts.
        type: str
        choices: ['==', '!=', '<', '<=', '>', '>=', matches]
        default: '=='
      timeout:
        description: For how long the statement may run.
        type: str
        default: 1min
      role:
        description: The role that asks. By default a superuser.
        type: str
  marker:
    description:
      - A statement that gives the moment (timestamptz) of the newest row of a table that is written to again and again, such as a heartbeat. It has to be
        after the backup's end, and not after the target, so that what was replayed is proven by data.
    type: dict
    suboptions:
      database:
        description: The database that is asked.
        type: str
        required: true
      sql:
        description: The statement.
        type: str
        required: true
      timeout:
        description: For how long the statement may run.
        type: str
        default: 1min
      role:
        description: The role that asks. By default a superuser.
        type: str
  rto:
    description:
      - The objective for the time from the decision to restore until an ordinary role has written, such as V(1h). A longer one is V(missed).
    type: str
  rpo:
    description:
      - The objective for what would be lost, from the decision back to the last transaction that was found. It is measured where all that there is was
        restored (a dump, or O(target=end)). On a server that nobody writes to it is the age of the last transaction.
    type: str
  fail_on:
    description: Verdicts that the module fails on, beside V(fail).
    type: list
    elements: str
    choices: [fail, partial, missed]
    default: [fail]
  sign_key:
    description:
      - The key (its id, fingerprint or address) by which C(gpg) signs the evidence, out of O(encryption.gpg_home) or the user's keyring. It has no
        passphrase, or an agent knows it.
    type: str
  operator:
    description: Who drills, for the evidence. By default the user of the host who runs this.
    type: str
  trigger:
    description: Why it is drilled, for the evidence.
    type: str
    choices: [schedule, manual, runbook]
    default: manual
  scenario:
    description: What is rehearsed, for the evidence.
    type: str
  state_dir:
    description: Directory on this host for evidence that no repository took.
    type: path
    default: ~/.local/state/holdfast
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.pg_recover
  - module: holdfast.postgres.backup_facts
"""

EXAMPLES = r"""
- name: Prove the newest backup, to the end of what is archived
  holdfast.postgres.pg_drill:
    repository:
      path: /backups
    server_name: db1
    rto: 1h
    rpo: 15min

- name: Prove each tier in its turn, at a moment by chance, with what the shop's owner expects
  holdfast.postgres.pg_drill:
    repositories:
      - name: disk
        path: /backups
      - name: s3
        type: s3
        bucket: backups
    server_name: db1
    tier: rotate
    select: random
    target: random
    marker:
      database: shop
      sql: SELECT max(at) FROM heartbeat
    assertions:
      - name: orders are there
        database: shop
        sql: SELECT count(*) FROM orders
        operator: '>'
        expect: 100000
"""

RETURN = r"""
verdict:
  description:
    - V(pass), all checks were made and held, and the objectives were met; V(missed), the data is good and an objective was not met; V(partial), a check
      could not be made; V(fail).
  returned: when a drill was done
  type: str
evidence:
  description:
    - What the drill found, as it lies beside the backups. C(phases) with their seconds, C(measured) with C(rto_seconds) and C(rpo_seconds),
      C(objectives), C(checks), C(assertions), C(target), C(environment), C(isolation), C(teardown), C(reasons), and the C(sha256) of it and of the one
      before (C(previous)).
  returned: when a drill was done
  type: dict
evidence_at:
  description: Where it lies. Beside it, with the ending C(.md), is a page for people, and with C(.json.asc) the signature.
  returned: when a drill was done
  type: str
backup:
  description: The record of the backup.
  returned: when one was chosen
  type: dict
plan:
  description: In check mode, what would be done, step by step.
  returned: always
  type: list
  elements: str
server:
  description: How the scratch server is reached, with O(keep). C(login_unix_socket), C(login_port), C(login_user) and C(data_directory).
  returned: when it was kept
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.assertions import OPERATORS
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.course import About
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import DrillRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.run import DrillRun
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.sign import signer
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.tiers import open_tiers
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import COPYING
from ansible_collections.holdfast.postgres.plugins.module_utils.files import temporary_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.module import VERSION, execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import data_owner
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def drill(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """One drill, or in check mode what it would be."""
    params = module.params
    request = DrillRequest.from_params(params)
    progress = Progress(None if module.check_mode else params["progress_file"])
    owner = data_owner(os.path.join(params["scratch_dir"], "holdfast-drill"), params["owner"])
    with contextlib.ExitStack() as stack:
        space, room = stack.enter_context(workspace()), stack.enter_context(workspace(params["scratch_dir"]))
        config_dir = stack.enter_context(temporary_directory(owner))
        secrets = Secrets(params["encryption"] or {}, space)
        try:
            sign = signer(request.sign_key, (params["encryption"] or {}).get("gpg_home"))
            about = About(VERSION, str(module.ansible_version), sign, params["state_dir"])
            tiers = open_tiers(params)
            run = DrillRun(params, request, tiers, secrets, owner, space, room, config_dir, about, progress)
            try:
                run.run(module.check_mode)
            finally:
                warnings.extend(run.result.warnings)
        finally:
            secrets.close()
            progress.finish()
    return run.describe()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "login_user": argspec.CONNECTION["login_user"],
            "bin_dir": argspec.CONNECTION["bin_dir"],
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.ARCHIVER,
            **argspec.READING,
            **argspec.PROGRESS,
            "engine": {"type": "str", "choices": COPYING},
            "select": {"type": "str", "default": "latest"},
            "target": {"type": "raw", "default": "end"},
            "tier": {"type": "str"},
            "max_age": {"type": "str"},
            "scratch_dir": {"type": "path", "default": "/var/tmp"},
            "owner": {"type": "str"},
            "port": {"type": "int"},
            "memory": {"type": "str", "default": "128MB"},
            "low_priority": {"type": "bool", "default": True},
            "keep": {"type": "bool", "default": False},
            "jobs": {"type": "int", "default": 1},
            "wal_timeout": {"type": "str", "default": "10min"},
            "accept_unsigned": {"type": "bool", "default": False},
            "amcheck": {
                "type": "str",
                "choices": ["none", "quick", "heapallindexed", "parent"],
                "default": "heapallindexed",
            },
            "check_time": {"type": "str", "default": "1h"},
            "assertions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "database": {"type": "str", "required": True},
                    "sql": {"type": "str", "required": True},
                    "expect": {"type": "raw"},
                    "operator": {"type": "str", "choices": list(OPERATORS), "default": "=="},
                    "timeout": {"type": "str", "default": "1min"},
                    "role": {"type": "str"},
                },
            },
            "marker": {
                "type": "dict",
                "options": {
                    "database": {"type": "str", "required": True},
                    "sql": {"type": "str", "required": True},
                    "timeout": {"type": "str", "default": "1min"},
                    "role": {"type": "str"},
                },
            },
            "rto": {"type": "str"},
            "rpo": {"type": "str"},
            "fail_on": {
                "type": "list",
                "elements": "str",
                "choices": ["fail", "partial", "missed"],
                "default": ["fail"],
            },
            "sign_key": {"type": "str", "no_log": False},
            "operator": {"type": "str"},
            "trigger": {"type": "str", "choices": ["schedule", "manual", "runbook"], "default": "manual"},
            "scenario": {"type": "str"},
            "state_dir": {"type": "path", "default": "~/.local/state/holdfast"},
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, drill, psycopg2=True)


if __name__ == "__main__":
    main()
