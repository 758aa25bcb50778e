#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_recover
short_description: Bring a whole PostgreSQL server in Kubernetes back to a moment, in its own volume
version_added: 0.1.0
description:
  - Brings the server of a StatefulSet back to a moment, in the volume that it has. A Job of ours lays a backup out beside the old data, the server's own
    image recovers it where nobody can reach it, it is looked at, and only then takes the old data's place.
  - While the server still serves, another Job proves that the backup, its WAL and the room lead there. What it refuses, stops nothing.
  - Whatever fails after that, at any step, the old data serves again, by itself. It is kept in a hidden directory of the volume until
    O(state=confirmed), and O(state=rolled_back) brings it back until then.
  - Each step is written down on the StatefulSet, in the annotation C(holdfast.postgres/recovery), before it is begun. A run that was killed is gone on with by
    the next that asks for the same.
  - For a server of one pod whose data directory, with WAL and tablespaces, is on one claim. Backups are those of V(pg_basebackup) in a store that WAL is
    shipped to.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.kubernetes
  - holdfast.postgres.repository
  - holdfast.postgres.pod_of_ours.laying_out
  - holdfast.postgres.recovery.target
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: Reads what is in the cluster, and runs no pod. Backup, WAL and room are proven by the first step of the run, before anything is stopped.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: The same recovery is not done again while its old data is kept. Whether something was written since is not looked at.
options:
  stateful_set:
    description: Name of the StatefulSet, of 32 characters at most.
    type: str
    required: true
  state:
    description:
      - V(recovered) brings the server back, or goes on with that.
      - V(rolled_back) lets the data serve again that was there before, also where a recovery is done, or was killed half-way.
      - V(confirmed) removes that data.
    type: str
    choices: [recovered, rolled_back, confirmed]
    default: recovered
  container:
    description: Name of PostgreSQL's container, where a pod has several and it cannot be told by variables, ports and image.
    type: str
    default: ''
  repository:
    description: Where the backups are, as pods reach it. One that is mounted from a claim or NFS is a C(path) of what O(pod) mounts.
    required: false
  backup_id:
    description: Id of the backup, or V(latest) for the newest one that leads to the target.
    type: str
    default: latest
  force:
    description: Agree that the server's data is replaced. Needs O(confirm).
    type: bool
    default: false
  confirm:
    description: The server whose data may be replaced, as C(namespace/statefulset).
    type: list
    elements: str
    default: []
  login_host:
    description:
      - The server's Service. With this, O(login_unix_socket) or O(connect_params) the server is asked for its last WAL before it is stopped, and its arrival
        in the archive is waited for; and what serves afterwards is compared with what was recovered.
    type: str
  login_user:
    description: A superuser, in the server and in the restored one. By default in the latter what the container's environment names, else V(postgres).
    type: str
  settings:
    description: Settings for the restored server, written into its C(postgresql.auto.conf).
    type: dict
    default: {}
  keep_archiving:
    description: Let the restored server archive by its own C(archive_command), on its new timeline. By default C(archive_mode) is off in it.
    type: bool
    default: false
  accept_unsigned:
    description: Take a backup that a passphrase encrypts though its manifest is not signed by it.
    type: bool
    default: false
  amcheck:
    description:
      - How thoroughly the server's own extension amcheck looks through what was recovered, before it takes the old data's place. V(quick), each table and
        index by itself; V(heapallindexed), also whether every row is in its indexes; V(parent), also how the pages of an index go with each other.
      - What is corrupt is not used, and the old data serves again. Nothing of it stays in the server, which needs not have the extension installed.
      - Where its image has no amcheck, or PostgreSQL is older than 14 (indexes alone), RV(proof) says so.
    type: str
    choices: [none, quick, heapallindexed, parent]
    default: quick
  check_time:
    description: For how long it may look, while nobody is served. What is not done then was not checked, and RV(proof) says so.
    type: str
    default: 5min
  on_managed:
    description:
      - What is done about whoever would scale the StatefulSet up again in the middle (Argo CD, Flux, KEDA, an operator), as M(holdfast.postgres.k8s_apps)
        has it.
    type: str
    choices: [refuse, pause, ignore]
    default: refuse
  argocd_namespace:
    description: Where Argo CD's Applications are, where the StatefulSet itself does not say.
    type: str
    default: argocd
  timeout:
    description: How long the server may take to end, and to be ready again.
    type: str
    default: 10min
  deadline:
    description: How long one Job may take, such as the one that lays the backup out.
    type: str
    default: 6h
seealso:
  - module: holdfast.postgres.pg_recover
  - module: holdfast.postgres.k8s_apps
notes:
  - docs/kubernetes.md has the rights that it needs (C(server_restore)).
  - The probes of the server's pod do not count while it recovers, as that is a pod of its own.
"""

EXAMPLES = r"""
- name: Back to just before the mistake
  holdfast.postgres.k8s_recover:
    kubernetes:
      namespace: shop
    stateful_set: pg
    server_name: shop
    login_host: pg.shop.svc
    login_user: postgres
    login_password: "{{ vault_password }}"
    repository:
      type: s3
      bucket: backups
      access_key: "{{ vault_key }}"
      secret_key: "{{ vault_secret }}"
    recovery_target:
      time: "2026-11-21T02:59:00+01:00"
    pod:
      image: registry.example.org/holdfast:1.0
    force: true
    confirm: [shop/pg]

- name: What is there now is good
  holdfast.postgres.k8s_recover:
    kubernetes:
      namespace: shop
    stateful_set: pg
    state: confirmed
    pod:
      image: registry.example.org/holdfast:1.0
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step; in check mode with the line that agrees to it.
  returned: success
  type: list
  elements: str
step:
  description: Where the recovery stands then, V(done) while the old data is kept, and empty where nothing is kept any more.
  returned: success
  type: str
recovery:
  description: Where it landed, with C(target), C(began), C(lsn), C(timeline), C(commit_time) (of the last transaction) and C(system_id).
  returned: success
  type: dict
kept:
  description: The directory with the old data, as the server's pod sees it; null where none is kept.
  returned: success
  type: str
proof:
  description: What was looked at, with C(proven), C(unproven) and C(lost), each a list of sentences.
  returned: success
  type: dict
next_steps:
  description: What is to be done now, a sentence each.
  returned: success
  type: list
  elements: str
consent:
  description: Options that have yet to agree to it, with their values.
  returned: success
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.corruption import LEVELS
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import options
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.run import Recovery
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving, is_given
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE

#: seconds that an API server which is away is waited for
PATIENCE = 600.0


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode act."""
    params = module.params
    options.show_what_is_no_secret(params["pod"], module.no_log_values)
    progress = Progress(None if module.check_mode else params["progress_file"], "recovering")
    cluster = Cluster(access(module), PATIENCE)
    run = Recovery(cluster, request_of(params), Serving(params, warnings), module.check_mode, progress.step, warnings)
    done = getattr(run, params["state"])()
    result: dict[str, Any] = done.describe()
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in done.plan)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.KUBERNETES,
            **argspec.REPOSITORY,
            **argspec.pod(*argspec.LAYING_OUT),
            **argspec.TARGET,
            **argspec.PROGRESS,
            "repository": {"type": "dict", "options": STORE},
            "stateful_set": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["recovered", "rolled_back", "confirmed"], "default": "recovered"},
            "container": {"type": "str", "default": ""},
            "backup_id": {"type": "str", "default": "latest"},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "list", "elements": "str", "default": []},
            "settings": {"type": "dict", "default": {}},
            "keep_archiving": {"type": "bool", "default": False},
            "accept_unsigned": {"type": "bool", "default": False},
            "amcheck": {"type": "str", "choices": ["none", *LEVELS], "default": "quick"},
            "check_time": {"type": "str", "default": "5min"},
            "on_managed": {"type": "str", "choices": ["refuse", "pause", "ignore"], "default": "refuse"},
            "argocd_namespace": {"type": "str", "default": "argocd"},
            "timeout": {"type": "str", "default": "10min"},
            "deadline": {"type": "str", "default": "6h"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=is_given(module.params), kubernetes=True)


if __name__ == "__main__":
    main()
