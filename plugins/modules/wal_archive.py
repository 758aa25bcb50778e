#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive
short_description: Set up, check or take down continuous archiving of a PostgreSQL server
version_added: 0.1.0
description:
  - Continuous archiving keeps each segment of the write-ahead log (WAL). With a backup of the whole server
    (M(holdfast.postgres.pg_backup) with a physical engine) it brings the server back to any later moment.
  - Compares the server's effective settings, changes what differs by C(ALTER SYSTEM), and reloads. It never restarts the
    server; RV(restart_required) says when that has to be done.
  - Runs on the database host, as root or the owner of the data directory, and connects as a superuser.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.archiver
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
      - holdfast.postgres.engine
  check_mode:
    support: full
    details: V(state=verified) only says what it would do, as it writes into the log.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: V(state=verified) makes a restore point each time, and reports no change.
options:
  state:
    description:
      - V(present) sets archiving up. V(absent) turns it off with the next restart, and leaves the archive as it is.
      - V(verified) proves it. It makes a restore point, switches the segment, and waits until that very segment is in the
        archive and, read back, has the restore point.
    type: str
    choices: [present, absent, verified]
    default: present
  engine:
    description:
      - What archives. V(pg_basebackup) is PostgreSQL's own way, a shell command that puts segments into a directory of this
        host (O(repository.type=file)); the others are programs that have to be installed.
      - By default the one that keeps an archive of the server there already; else V(pg_basebackup) for one directory, and V(pgbackrest)
        for stores and several repositories.
    type: str
    choices: [pg_basebackup, pgbackrest, barman_cloud, wal_g]
  streaming:
    description:
      - Have C(pg_receivewal) stream the WAL into the directory (V(engine=pg_basebackup)), instead of the server's
        C(archive_command). That needs no restart, and what arrives is at most seconds behind the server.
      - The module makes the replication slot, and returns the command in RV(receiver), for a service to run; the role
        P(holdfast.postgres.archive#role) installs one. As long as that does not run, the server keeps its WAL, so
        set O(max_slot_wal_keep_size).
    type: bool
    default: false
  wal_directory:
    description:
      - The directory of this host that WAL comes into (V(engine=pg_basebackup)), as C(SERVER_NAME/_wal) below it, where the repositories are
        stores. M(holdfast.postgres.wal_ship) brings it from there to all of them, encrypted where O(encryption) says so, and the role
        P(holdfast.postgres.ship#role) installs a service for that.
      - By default it is the repository of type V(file); with others beside it, they get the second copy.
    type: path
  archive_timeout:
    description:
      - How long a segment may wait to be full before it is archived, as PostgreSQL writes it. What was committed later is lost
        with the server's disk.
    type: str
    default: 1min
  max_slot_wal_keep_size:
    description: How much WAL a replication slot may hold back, such as V(20GB). By default it is left as it is.
    type: str
  summarize_wal:
    description: Whether the server summarizes WAL, which incremental backups need (PostgreSQL 17 and newer). By default as it is.
    type: bool
  archive_command:
    description: A command of your own instead of the engine's. It is refused when it loses data, as far as that can be seen.
    type: str
  accept_unsafe:
    description: Take O(archive_command) although it is refused.
    type: bool
    default: false
  replace:
    description: Replace what archives already, by another engine or a command of somebody's own.
    type: bool
    default: false
  compression:
    description:
      - How segments are compressed. By default V(zstd), V(gzip) with V(barman_cloud), whose backups know no other, and V(none)
        with O(streaming), which knows no V(zstd), and whose last segment can be restored unfinished only when it is not compressed.
    type: str
    choices: [zstd, gzip, lz4, none]
  compression_level:
    description: Level of the compression. By default the lowest.
    type: int
  jobs:
    description: Processes that archive at the same time, where the engine does that.
    type: int
    default: 1
  set_aside:
    description:
      - What lies in the directory of a life that the server left (a recovery in place, and that taken back) is in C(pg_receivewal)'s way, which would
        go on behind it, and receive nothing ever again. By default that is refused (O(streaming)).
      - With this it is set aside. Whole segments are packed, so that what ships and restores them goes on as it did; what is not whole stays in
        the directory under a name that begins with C(.left.). Nothing is deleted.
      - What a server writes that was left, and comes back by mistake, is received as well then, under its own timeline.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the segment (V(state=verified)).
    type: float
    default: 60
  recoverable:
    description:
      - Fail unless a backup is there from which the segment can be recovered, with all WAL between them (V(state=verified)). Without it that
        is a warning, as before the first backup.
    type: bool
    default: false
  patroni:
    description:
      - The REST API of the Patroni that manages the server. It is recognised by its files in the data directory, and settings then
        go through its dynamic configuration, which is that of all members, as it would overwrite others.
    type: dict
    default: {}
    suboptions:
      url:
        description: Where it is, on this host.
        type: str
        default: http://127.0.0.1:8008
      username:
        description: User of its REST API, where it wants one for changes.
        type: str
      password:
        description: Password of O(patroni.username).
        type: str
      validate_certs:
        description: Whether its certificate is checked.
        type: bool
        default: true
      ca_cert:
        description: File of the CA that signed it.
        type: path
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.pg_restore
  - name: Continuous archiving
    description: PostgreSQL's own message.
    link: https://www.postgresql.org/docs/current/continuous-archiving.html
"""

EXAMPLES = r"""
- name: Archive into a directory
  holdfast.postgres.wal_archive:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
  register: archiving

- name: Prove that segments arrive
  holdfast.postgres.wal_archive:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
    state: verified
  when: not archiving.restart_required

- name: Stream into a directory, at most seconds behind
  holdfast.postgres.wal_archive:
    login_unix_socket: /var/run/postgresql
    repository:
      path: /backups
    streaming: true
    max_slot_wal_keep_size: 20GB
  register: streaming

- name: Stream into a directory of this host, from where wal_ship brings it into a bucket
  holdfast.postgres.wal_archive:
    login_unix_socket: /var/run/postgresql
    server_name: shop
    engine: pg_basebackup
    streaming: true
    wal_directory: /var/lib/postgresql/wal
    repository:
      type: s3
      bucket: backups
      region: eu-central-1

- name: Archive into a bucket by pgBackRest
  holdfast.postgres.wal_archive:
    login_unix_socket: /var/run/postgresql
    server_name: shop
    engine: pgbackrest
    repository:
      type: s3
      bucket: backups
      region: eu-central-1
      access_key: "{{ vault_access_key }}"
      secret_key: "{{ vault_secret_key }}"
    archive_timeout: 1min
"""

RETURN = r"""
plan:
  description: What was, or in check mode would be, done.
  returned: always
  type: list
  elements: str
consent:
  description: The options that this waits for, with the values that agree to it. A plan needs none of them.
  returned: in check mode, when something is missing
  type: dict
engine:
  description: What archives.
  returned: success
  type: str
restart_required:
  description: Whether settings wait for a restart of the server.
  returned: success
  type: bool
waiting:
  description: Settings that wait for it.
  returned: success
  type: list
  elements: str
members:
  description: Patroni's members that wait for a restart. Each archives nothing when it becomes the leader before that.
  returned: success
  type: list
  elements: str
patroni:
  description: Whether Patroni manages the server.
  returned: success
  type: bool
settings:
  description: Settings that differ, each with C(before) and C(after).
  returned: when O(state) is V(present) or V(absent)
  type: dict
archive:
  description: Where the segments go.
  returned: success
  type: str
archive_command:
  description: The command.
  returned: unless O(streaming=true)
  type: str
restore_command:
  description: What a server that recovers from the archive needs.
  returned: success
  type: str
receiver:
  description: >-
    The C(command) that receives WAL, as a list of arguments, the C(user) to run it as, its replication C(slot), and the server that it receives
    from, by its C(system_id).
  returned: when O(streaming=true)
  type: dict
canary:
  description:
    - The segment that was seen to arrive, the restore point in it, and the latency in seconds.
    - C(backup) is the one by which a recovery to it would begin, with all WAL between them there. Where it is null, C(unreachable) says why.
  returned: when O(state=verified)
  type: dict
  sample:
    segment: 000000010000000000000003
    restore_point: holdfast_canary_1234_1
    lsn: 0/3000090
    seconds: 0.12
    bytes: 16777216
    backup: 20261121T023000Z-8f31c2
    unreachable:
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.canary import prove
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.setup import (
    ArchivingRequest,
    ArchivingResult,
    check_members,
    set_up,
    take_down,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ARCHIVING
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import keep_password, open_archiver
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import (
    Ownership,
    telling_of_interrupted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import physical_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import running_command
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import identify
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import Patroni, recognise
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import waiting_for_restart
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Whatever ``state`` asks for."""
    params = module.params
    with workspace() as space:
        with telling_of_interrupted(params):
            connection = Address(params, space).connect()
        word = interrupted.of_connection(connection)
        warnings.extend([word] if word else [])
        # What pg_receivewal receives may come over the network: from a pod, for one.
        elsewhere = params["streaming"] and bool(params["login_host"])
        host = Host.running(connection, params, elsewhere)
        archiver = open_archiver(physical_engine(params, running_command(connection)), params, host)
        patroni = Patroni(params["patroni"]) if recognise(host.data_directory) else None
        result: dict[str, Any] = {"engine": archiver.name, "archive": archiver.wal.description}
        done = ArchivingResult()
        owned = Ownership(params, host)
        consent = Consent(looking=module.check_mode)
        # A shell command, and pg_receivewal without a password, are configured by their text alone.
        owns = archiver.has_configuration or (archiver.connects and host.passfile is not None)
        if params["state"] == "present":
            request = ArchivingRequest(
                params["archive_timeout"],
                params["max_slot_wal_keep_size"],
                params["summarize_wal"],
                params["archive_command"],
                params["accept_unsafe"],
                params["replace"],
            )
            if owns:
                owned.check(params["accept_new_server"], params["replace"], consent)

            def before() -> list[Step]:
                return keep_password(params, host, module.check_mode) + owned.claim(module.check_mode) if owns else []

            try:
                done = set_up(connection, archiver, host, request, module.check_mode, before, patroni, consent)
            except HoldfastError as exc:
                if consent.refusal is None:
                    raise
                # Without what is missing no plan can be made (another key): that is what has to be said.
                raise consent.refusal from exc
            done.plan += consent.steps()
            if consent.missing:
                result["consent"] = consent.missing
        elif params["state"] == "absent":
            done = take_down(connection, archiver, params["archive_command"], module.check_mode, patroni)
            ended = owned.end(module.check_mode) if owns else []
            done.plan += [step.message for step in ended]
            done.changed = done.changed or bool(ended)
        else:
            done.plan = ["make a restore point, switch the segment, and wait for it in the archive"]
            done.waiting = waiting_for_restart(connection)
            done.restart_required = bool(done.waiting)
            if patroni is not None:
                check_members(connection, patroni)
            if patroni is not None and identify(connection).in_recovery:
                done.plan = [
                    f"nothing here: the leader proves that segments arrive, and {host.data_directory} is a replica's"
                ]
            elif not module.check_mode:
                canary = prove(connection, archiver, params["timeout"], space)
                result["canary"] = asdict(canary)
                if canary.backup is None:
                    message = (
                        f"The segment {canary.segment} arrived, and no backup leads to it yet. {canary.unreachable}"
                    )
                    if params["recoverable"]:
                        raise WalError(message)
                    warnings.append(message)
        warnings.extend(done.warnings)
        unshipped = archiver.unshipped if params["state"] != "absent" else None
        warnings.extend([unshipped] if unshipped else [])
        result.update(archiver.describe())
        if archiver.by_command and params["archive_command"]:
            result["archive_command"] = params["archive_command"]
        result["restore_command"] = archiver.wal.restore_command()
        result["patroni"] = patroni is not None
    result.update({name: getattr(done, name) for name in ("changed", "plan", "restart_required", "waiting", "members")})
    if params["state"] != "verified":
        result["settings"] = done.settings
    if module._diff:
        result["diff"] = {
            "before": "".join(f"{name} = {values['before']!r}\n" for name, values in done.settings.items()),
            "after": "".join(f"{name} = {values['after']!r}\n" for name, values in done.settings.items()),
        }
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.ARCHIVER,
            "state": {"type": "str", "choices": ["present", "absent", "verified"], "default": "present"},
            "engine": {"type": "str", "choices": ARCHIVING},
            "streaming": {"type": "bool", "default": False},
            "wal_directory": {"type": "path"},
            "archive_timeout": {"type": "str", "default": "1min"},
            "max_slot_wal_keep_size": {"type": "str"},
            "summarize_wal": {"type": "bool"},
            "archive_command": {"type": "str"},
            "accept_unsafe": {"type": "bool", "default": False},
            "replace": {"type": "bool", "default": False},
            "compression": {"type": "str", "choices": ["zstd", "gzip", "lz4", "none"]},
            "compression_level": {"type": "int"},
            "jobs": {"type": "int", "default": 1},
            "set_aside": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 60},
            "recoverable": {"type": "bool", "default": False},
            "patroni": {
                "type": "dict",
                "default": {},
                "options": {
                    "url": {"type": "str", "default": "http://127.0.0.1:8008"},
                    "username": {"type": "str"},
                    "password": {"type": "str", "no_log": True},
                    "validate_certs": {"type": "bool", "default": True},
                    "ca_cert": {"type": "path"},
                },
            },
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=True)


if __name__ == "__main__":
    main()
