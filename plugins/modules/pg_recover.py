#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_recover
short_description: Bring a whole PostgreSQL server back to a moment
version_added: 0.1.0
description:
  - Restores a whole server from a physical backup, and lets it recover from its WAL archive to the moment that O(recovery_target) names.
  - The way there is proven first, which backup, and that every segment is there.
  - The server recovers in private beside what is there, and takes its place only when it is where it should be; what was there is moved
    aside, and comes back if anything fails.
  - Runs on the server's host, as root or as the user who owns the server. Databases of a dump are restored by
    M(holdfast.postgres.pg_restore).
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.archiver
  - holdfast.postgres.archiver.reading
  - holdfast.postgres.directory
  - holdfast.postgres.recovery.target_and_action
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
      - holdfast.postgres.engine
  check_mode:
    support: full
    details: Does every read that the run does, and returns what would happen as RV(plan).
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - What the directory was recovered to is remembered in it. When the same is asked for again, and nothing was written since, nothing
        is done.
options:
  login_user:
    description: A superuser in the restored server. By default V(postgres).
    type: str
  bin_dir:
    description: Directory of the server's programs. By default those of the backup's major version are looked for.
    type: path
  backup_id:
    description: Id of the backup, or V(latest) for the newest one that leads to the target.
    type: str
    default: latest
  data_directory:
    description:
      - The server's data directory. It is empty or not there; or what is in it is replaced, with O(force) and O(confirm) naming it.
    type: path
    required: true
  engine:
    description: The engine that made the physical backup. By default the one that keeps the server's archive in the repository.
    type: str
    choices: [pg_basebackup, pgbackrest, barman_cloud, wal_g]
  prepare:
    description:
      - Lay the server out with all WAL that it needs, and leave its recovery to whoever starts it, such as a pod of the server's own image. Nothing is
        proven of what comes of it, and O(start) has no effect.
      - It is for an engine whose WAL is fetched ahead (V(pg_basebackup) from a store), as a C(restore_command) of this host would mean nothing there.
    type: bool
    default: false
  snapshots:
    description:
      - What becomes of backups that are volume snapshots in backup mode (M(holdfast.postgres.pvc_snapshot)). Their files are in the storage of a
        cluster; WAL leads on from them as from any other.
      - V(pass_over) takes none of them, as nothing lays them out here, and says so where one would be nearer.
      - V(choose) chooses among all backups, for a plan (check mode). Where the one in RV(backup) has the C(engine) C(volume_snapshot), restore it
        into new claims by M(holdfast.postgres.pvc_snapshot), with O(holdfast.postgres.pvc_snapshot#module:state=restored) and
        O(holdfast.postgres.pvc_snapshot#module:awaits_recovery=true).
      - V(laid_out) takes the one that O(backup_id) names as it lies in O(data_directory), with each of those claims mounted where the server had
        it. Needs O(prepare). Nothing is moved. With O(in_place) it is to take the place of the server that it comes from, and is not kept
        to itself.
    type: str
    choices: [pass_over, choose, laid_out]
    default: pass_over
  in_place:
    description:
      - What is laid out with O(prepare) is to take the place of the server that the backup is of, elsewhere, so that it is kept from nothing that its
        own configuration reaches (but for archiving, see O(keep_archiving)). By default it is a server beside, which is.
    type: bool
    default: false
  start:
    description: Whether the server is started in the end.
    type: bool
    default: true
  service:
    description:
      - The systemd unit by which it is stopped and started. By default the unit by which the server that is there was started, as far as root
        can tell; else C(pg_ctl) does it.
    type: str
  stop_server:
    description: Stop the server that runs in O(data_directory). It serves until the backup is unpacked beside it.
    type: bool
    default: false
  accept_unsigned:
    description:
      - Take a backup of pg_basebackup that a passphrase encrypts though its manifest is not signed by it. Without this it is refused,
        as who may write into the repository could have put artifacts of another backup in the place of its own.
      - What is signed, and is not what was signed, is always refused.
    type: bool
    default: false
  keep_archiving:
    description:
      - Let the restored server archive as the old one did, on its new timeline. By default C(archive_mode) is off in it, so that
        it cannot write into the old one's archive.
    type: bool
    default: false
  tablespace_locations:
    description: Other directories for tablespaces, by their names or former paths.
    type: dict
    default: {}
  force:
    description: Replace what is in O(data_directory). Needs O(confirm).
    type: bool
    default: false
  confirm:
    description: The O(data_directory), so that O(force) cannot be meant by mistake.
    type: list
    elements: str
    default: []
  wal_timeout:
    description:
      - For how long the archive may take to bring one file, such as V(10min), before the recovery is given up, and what was there is put back.
        What is being waited for is shown after ten seconds.
      - PostgreSQL itself waits without an end for a C(restore_command) that does not come back.
    type: str
    default: 10min
  jobs:
    description: Processes that fetch files at the same time, where the engine does that.
    type: int
    default: 1
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.pg_restore
  - module: holdfast.postgres.pg_restore_point
"""

EXAMPLES = r"""
- name: Undo a DROP TABLE, in place, to the second before
  holdfast.postgres.pg_recover:
    repository:
      path: /backups
    data_directory: /var/lib/postgresql/15/main
    recovery_target:
      time: "2026-11-21T02:59:00+01:00"
    stop_server: true
    force: true
    confirm: [/var/lib/postgresql/15/main]

- name: Look at the state before a release, beside the live server
  holdfast.postgres.pg_recover:
    repository:
      path: /backups
    data_directory: /var/lib/postgresql/before_release
    owner: postgres
    recovery_target:
      name: before_release_42
      action: pause
    settings:
      port: 5433

- name: Fetch the WAL up to a moment to a volume snapshot that was restored into claims, for a pod of the server's own image (in a Job)
  holdfast.postgres.pg_recover:
    repository:
      type: s3
      bucket: backups
      region: eu-central-1
    server_name: shop
    data_directory: /var/lib/postgresql/data/pgdata
    backup_id: 20261121T020000Z-1f2e
    recovery_target:
      time: "2026-11-21T02:59:00+01:00"
    snapshots: laid_out
    prepare: true
"""

RETURN = r"""
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
  returned: when something was, or would be, restored
  type: dict
recovery:
  description:
    - Where the recovery landed, with C(state), C(timeline), C(lsn), C(commit_time) of the last transaction that was replayed (null,
      none was), C(seconds) and the server's own C(messages); the C(backup) that was used and C(why); and where the old
      directories are now (C(kept)).
    - C(isolated) has what the server is kept from, each with C(what), its C(value) now, C(why), and how to C(switch_on) it again.
      C(next_steps) are sentences about what is to be done now; the last one says whether it archives.
  returned: success
  type: dict
proof:
  description:
    - What was looked at after the recovery, before anybody else could connect. C(proven), C(unproven) and C(lost) are lists of
      sentences; what had to be there and was not is an error.
  returned: success
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import PHYSICAL
from ansible_collections.holdfast.postgres.plugins.module_utils.files import temporary_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import options as recovery_options
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.run import RecoverRun
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import data_owner
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import config_dir
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def recover(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """A whole server, to a moment."""
    params = module.params
    progress = Progress(None if module.check_mode else params["progress_file"])
    wanted = recovery_options.request(params)
    with contextlib.ExitStack() as stack:
        space = stack.enter_context(workspace())
        secrets = Secrets(params["encryption"] or {}, space)
        try:
            owner = data_owner(params["data_directory"], params["owner"])
            directory = config_dir(params, owner)
            if module.check_mode:
                directory = stack.enter_context(temporary_directory(owner))
            source = recovery_options.source(params, secrets, directory)
            run = RecoverRun(source, wanted, space, progress)
            try:
                recovered = run.run(module.check_mode)
            finally:
                warnings.extend(run.result.warnings)
        finally:
            secrets.close()
            progress.finish()
    result: dict[str, Any] = {"changed": recovered.changed, "plan": recovered.plan}
    if recovered.record:
        result["backup"] = recovered.record.to_dict()
    result["proof"] = recovered.proof.describe()
    result["recovery"] = {
        **(asdict(recovered.landing) if recovered.landing else {}),
        "backup": recovered.record.id if recovered.record else None,
        "why": recovered.choice.why if recovered.choice else None,
        "kept": recovered.kept,
        "isolated": [measure.describe() for measure in recovered.isolated],
        "next_steps": recovered.next_steps,
    }
    if recovered.consent:
        result["consent"] = recovered.consent
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in recovered.plan)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "login_user": argspec.CONNECTION["login_user"],
            "bin_dir": argspec.CONNECTION["bin_dir"],
            **argspec.REPOSITORY,
            **argspec.ENCRYPTION,
            **argspec.ARCHIVER,
            **argspec.READING,
            **argspec.DIRECTORY,
            **argspec.PROGRESS,
            **argspec.RECOVERY,
            "engine": {"type": "str", "choices": PHYSICAL},
            "backup_id": {"type": "str", "default": "latest"},
            "tablespace_locations": {"type": "dict", "default": {}},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "list", "elements": "str", "default": []},
            "wal_timeout": {"type": "str", "default": "10min"},
            "jobs": {"type": "int", "default": 1},
        },
        supports_check_mode=True,
    )
    execute(module, recover, psycopg2=True)


if __name__ == "__main__":
    main()
