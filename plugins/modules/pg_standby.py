#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_standby
short_description: Build, rebuild, check and promote a PostgreSQL standby
version_added: 0.1.0
description:
  - Makes this host a standby of a primary, by a copy over the network or from a backup, with a replication slot, a passfile of
    mode 0600 and C(standby.signal), and waits until it streams.
  - A standby of that primary that streams and is set up so already stays as it is.
  - A server that has diverged, such as the old primary after a failover, is rewound by C(pg_rewind) where that can be done,
    and copied anew otherwise. Both want O(force) and O(confirm), as what is only here is given up. Either way the server keeps its own
    configuration, certificates and keys, also those in its data directory; C(postgresql.auto.conf) is one of them.
  - Promotes a standby, once it is certain that it lags no more than allowed and that no primary is alive. Then a transaction is
    written, and it is watched until it is archived with the history of the new timeline. A promoted server on which writes wait or
    archiving fails is an error, which says what is missing.
  - Runs on the standby's host, as root or as the user who owns the server.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.archiver
  - holdfast.postgres.archiver.reading
  - holdfast.postgres.directory
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
      - holdfast.postgres.engine
  check_mode:
    support: full
    details: All is looked at, on both servers, and O(ignore:plan) says what would be done.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) makes this host a standby of the primary, and has it stream.
      - V(promoted) makes the standby a primary.
      - V(verified) looks whether the standby follows, and fails when it does not, or lags more than O(max_lag_bytes) or
        O(max_lag_seconds).
    type: str
    choices: [present, promoted, verified]
    default: present
  data_directory:
    description:
      - The standby's data directory. For O(state=present) it is by default that of the host's one server in C(/etc/postgresql), or of the one
        there that has O(login_port); otherwise it tells where the standby's socket is.
    type: path
  login_port:
    description: Port of the standby. By default the one that the O(data_directory) tells of, else V(5432).
    type: int
    default: null
  primary_host:
    description:
      - Host of the primary, or of the standby to cascade from; also the directory of a socket. Needed for O(state=present).
      - Of several, separated by commas, the one that is the primary (C(target_session_attrs) in O(connect_params) says otherwise); the standby
        goes by the same list.
      - For V(promoted), the one of the standby's C(primary_conninfo) is asked whether it runs too.
    type: str
  primary_port:
    description: Port of the primary.
    type: int
    default: 5432
  primary_user:
    description:
      - Role to connect to the primary as. It needs C(REPLICATION), for slots and copies.
      - C(pg_rewind) needs a superuser, or the rights that its documentation names.
    type: str
  primary_password:
    description: Password of O(primary_user).
    type: str
  primary_db:
    description: Database of the primary to connect to.
    type: str
    default: postgres
  replication_user:
    description: Role that the standby replicates as. By default O(primary_user).
    type: str
  replication_password:
    description: Password of O(replication_user).
    type: str
  slot_name:
    description:
      - Physical replication slot on the primary, made when it is missing. It is the standby's C(application_name) too.
      - By default C(standby_), the host's name, and a part that tells its data directories, and hosts of one name, apart.
      - V(none) does without a slot; then C(wal_keep_size) or an archive has to keep WAL.
    type: str
  drop_slots:
    description:
      - Replication slots of the server in O(data_directory) itself that are for nobody any more, such as the old primary's for the standby
        that was promoted. They are dropped once it follows, unless somebody reads from them.
      - Those that are left are named in a warning, as they keep WAL until the disk is full.
    type: list
    elements: str
    default: []
  source:
    description: Where a new standby's files come from. A backup is cheaper for the primary; the archive or it has the rest.
    type: str
    choices: [primary, backup]
    default: primary
  repository:
    description:
      - Where backups and WAL are kept. With one, the standby gets a C(restore_command), by which it fetches WAL that the primary no
        longer has.
    required: false
  engine:
    description: The engine that archives. By default the one that keeps the server's archive in the repository.
    type: str
    choices: [pg_basebackup, pgbackrest, barman_cloud, wal_g]
  backup_id:
    description: The backup, for O(source=backup).
    type: str
    default: latest
  tablespace_locations:
    description:
      - Other directories for tablespaces, by their name or former path. By default those where the server in O(data_directory) has them,
        else the same ones as on the primary.
      - Only directories that the server in O(data_directory) uses itself are replaced, and none that another running server uses.
    type: dict
    default: {}
  rewind:
    description: Whether C(pg_rewind) is tried before a new copy is made. It needs C(wal_log_hints) or data checksums.
    type: bool
    default: true
  max_rate:
    description: Kilobytes per second that a copy takes from the primary at most.
    type: int
  stop_server:
    description: Whether a server that runs in O(data_directory), and cannot follow, may be stopped.
    type: bool
    default: false
  accept_unsigned:
    description:
      - With O(source=backup), take a backup that a passphrase encrypts though its manifest is not signed by it. Without this it is refused, as
        who may write into the repository could have put artifacts of another backup in the place of its own.
      - What is signed, and is not what was signed, is always refused.
    type: bool
    default: false
  force:
    description:
      - Replace, or rewind, what is in O(data_directory) and cannot follow the primary. A new copy leaves the old directory beside.
      - Also to have a standby leave a living server that it follows for another one.
      - For V(promoted), promote although a primary is alive, whether it answers, or the standby's WAL receiver is connected to it.
    type: bool
    default: false
  confirm:
    description:
      - What is meant by O(force), so that it cannot be meant by mistake. The O(data_directory), or, for V(promoted), the primary
        as C(host:port), as the message that refuses it names it.
    type: list
    elements: str
    default: []
  max_lag_bytes:
    description:
      - Bytes of WAL that the standby may lag behind (V(promoted), V(verified)).
      - They are known while the primary is asked (O(primary_host)) or the standby is connected to it, and when the standby's WAL tells
        that the primary was shut down in order. Otherwise nobody knows them, and that is more than any limit.
    type: int
  max_lag_seconds:
    description:
      - Seconds that the standby may lag behind (V(promoted), V(verified)). A standby that has replayed all lags by none, any other one
        by no more than the age of the last transaction that it replayed.
    type: float
  accept_unknown_lag:
    description: Whether a lag that nobody knows is allowed by O(max_lag_bytes) and O(max_lag_seconds), as when the primary has crashed.
    type: bool
    default: false
  synchronous_standbys:
    description:
      - What V(promoted) does where C(synchronous_standby_names) is set on the standby, as every write of the new primary waits for them.
      - V(required) promotes only if they follow this server already.
      - V(later) promotes, and says that writes wait until they follow.
      - V(removed) promotes, and empties that setting.
    type: str
    choices: [required, later, removed]
    default: required
  timeout:
    description: Seconds to wait until it streams, or is a primary.
    type: int
    default: 60
seealso:
  - module: holdfast.postgres.pg_restore
  - module: holdfast.postgres.wal_archive
"""

EXAMPLES = r"""
- name: A standby of db1, with its own slot
  holdfast.postgres.pg_standby:
    data_directory: /var/lib/postgresql/17/main
    config_file: /etc/postgresql/17/main/postgresql.conf
    owner: postgres
    primary_host: db1
    primary_user: replicator
    primary_password: "{{ vault_replicator }}"
    slot_name: standby_db2

- name: The old primary follows the new one, rewound if it can be
  holdfast.postgres.pg_standby:
    data_directory: /var/lib/pgsql/17/data
    primary_host: db2
    primary_user: postgres
    primary_password: "{{ vault_postgres }}"
    service: postgresql-17
    stop_server: true
    force: true
    confirm: [/var/lib/pgsql/17/data]

- name: Fail when it does not follow closely
  holdfast.postgres.pg_standby:
    state: verified
    login_unix_socket: /var/run/postgresql
    max_lag_bytes: 67108864
    max_lag_seconds: 30

- name: Failover
  holdfast.postgres.pg_standby:
    state: promoted
    login_unix_socket: /var/run/postgresql
    max_lag_bytes: 0
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
standby:
  description: The standby.
  returned: success
  type: dict
  contains:
    method:
      description: How it came to be, C(follow), C(rewind), C(copy) or C(backup).
      returned: when O(state=present)
      type: str
    why:
      description: Why it could not just follow.
      returned: when O(state=present)
      type: str
    state:
      description:
        - C(streaming) when the standby itself says that it recovers, receives from the primary, and has replayed what that had when the
          wait began; C(catchup) when it receives, and has not come so far within O(timeout).
      returned: when O(state=present)
      type: str
    settings:
      description: The settings that were changed.
      returned: when O(state=present)
      type: list
      elements: str
    restart_required:
      description: Whether one of them takes effect only at a restart, which is never done unasked.
      returned: when O(state=present)
      type: bool
    kept:
      description: Where the old directories are now.
      returned: when O(state=present)
      type: list
      elements: str
    timeline:
      description: The timeline that it is on; after a promotion the new one.
      returned: when O(state) is V(promoted) or V(verified)
      type: int
    lag_bytes:
      description: Bytes of WAL that it has not replayed, of what the primary wrote. Null when nobody knows.
      returned: when O(state) is V(promoted) or V(verified)
      type: int
    lag_seconds:
      description: 0 when it replayed all, else the age of the last transaction that it replayed. Null when nobody knows.
      returned: when O(state) is V(promoted) or V(verified)
      type: float
    receiver:
      description: Its WAL receiver, with its C(status), or none.
      returned: when O(state) is V(promoted) or V(verified)
      type: dict
    slot:
      description: Its slot on the primary, with C(wal_status) and C(held_bytes), when the primary was asked.
      returned: when O(state) is V(promoted) or V(verified)
      type: dict
proof:
  description: What was proven of the new primary (C(proven)), and what could not be (C(unproven)).
  returned: when O(state) is V(promoted) or V(verified)
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import PHYSICAL
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.standby import options as standby_options
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.promote import (
    LATER,
    REMOVED,
    REQUIRED,
    check_standby,
    promote,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.run import StandbyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def build(module: AnsibleModule, space: str, warnings: list[str]) -> dict[str, Any]:
    """A standby that streams."""
    params = standby_options.with_directory(module.params)
    standby_options.check_options(params)
    primary = standby_options.upstream(params, space)
    secrets = Secrets(params["encryption"] or {}, space)
    try:
        wal = standby_options.archive(params, module.check_mode)
        backups = (
            standby_options.backups(params, secrets, space if module.check_mode else None)
            if params["source"] == "backup"
            else None
        )
        wanted = standby_options.request(params, None if wal is None or wal.fetched_ahead else wal.restore_command())
        run = StandbyRun(wanted, primary, backups, Progress(None), *standby_options.asker(params, space))
        try:
            outcome = run.run(module.check_mode)
        finally:
            warnings.extend(run.result.warnings)
    finally:
        secrets.close()
    names = ("method", "why", "state", "settings", "restart_required", "kept")
    return {
        "changed": outcome.changed,
        "plan": outcome.plan,
        "standby": {"slot_name": wanted.slot, **{name: getattr(outcome, name) for name in names}},
        **({"consent": outcome.consent} if outcome.consent else {}),
    }


def observe(module: AnsibleModule, space: str, warnings: list[str]) -> dict[str, Any]:
    """A standby that is looked at, and promoted."""
    params = module.params
    connection = standby_options.connect(params, space)
    word = interrupted.of_connection(connection)
    warnings.extend([word] if word else [])
    if params["state"] == "verified":
        primary = standby_options.upstream(params, space) if params["primary_host"] else None
        outcome = check_standby(connection, primary, standby_options.limits(params))
    else:
        outcome = promote(connection, standby_options.promotion(params, space, connection), module.check_mode)
    warnings.extend(outcome.warnings)
    return outcome.describe()


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Whatever ``state`` asks for."""
    with workspace() as space:
        result = (build if module.params["state"] == "present" else observe)(module, space, warnings)
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in result["plan"])}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            "login_port": {"type": "int"},
            **argspec.REPOSITORY,
            "repository": {**argspec.REPOSITORY["repository"], "required": False},
            **argspec.ENCRYPTION,
            **argspec.ARCHIVER,
            **argspec.READING,
            **argspec.DIRECTORY,
            "state": {"type": "str", "choices": ["present", "promoted", "verified"], "default": "present"},
            "data_directory": {"type": "path"},
            "primary_host": {"type": "str"},
            "primary_port": {"type": "int", "default": 5432},
            "primary_user": {"type": "str"},
            "primary_password": {"type": "str", "no_log": True},
            "primary_db": {"type": "str", "default": "postgres"},
            "replication_user": {"type": "str"},
            "replication_password": {"type": "str", "no_log": True},
            "slot_name": {"type": "str"},
            "drop_slots": {"type": "list", "elements": "str", "default": []},
            "source": {"type": "str", "choices": ["primary", "backup"], "default": "primary"},
            "engine": {"type": "str", "choices": PHYSICAL},
            "backup_id": {"type": "str", "default": "latest"},
            "tablespace_locations": {"type": "dict", "default": {}},
            "rewind": {"type": "bool", "default": True},
            "max_rate": {"type": "int"},
            "stop_server": {"type": "bool", "default": False},
            "accept_unsigned": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "list", "elements": "str", "default": []},
            "max_lag_bytes": {"type": "int"},
            "max_lag_seconds": {"type": "float"},
            "accept_unknown_lag": {"type": "bool", "default": False},
            "synchronous_standbys": {"type": "str", "choices": [REQUIRED, LATER, REMOVED], "default": REQUIRED},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=True)


if __name__ == "__main__":
    main()
