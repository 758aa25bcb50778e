#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cnpg_cluster
short_description: Hibernate, wake, fence or let go a Cluster of CloudNativePG, with the last of its WAL in the store
version_added: 0.1.0
description:
  - Asks CloudNativePG's operator to hibernate a Cluster or to fence its instances. Before that the open segment of its WAL is ended by a restore point,
    and the object store itself is looked at until that very segment is there. The operator archives the segments that are full when it stops a server,
    and not the open one, so that a restore elsewhere would lack the last of what was written.
  - What comes of it is looked at in the pods, and not in a status.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.record
  - holdfast.postgres.kubernetes
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: Reads all that a run reads, logs in, and has the API server try the change. No segment is ended.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  cluster:
    description: Name of the Cluster.
    type: str
    required: true
  state:
    description:
      - V(hibernated), its pods are gone, and its volumes stay. V(running) wakes it.
      - V(fenced), PostgreSQL is stopped in O(instances), whose pods stay. V(unfenced) lets them go.
    type: str
    required: true
    choices: [hibernated, running, fenced, unfenced]
  instances:
    description: Names of the instances that are fenced or let go, such as V(shop-1). By default all.
    type: list
    elements: str
    default: []
  force:
    description:
      - Stop it though nobody knows whether the last of what was written is in a store, as it archives nowhere, its archiving fails, or no login is given. It
        stays on the volume.
    type: bool
    default: false
  repository:
    description:
      - How the object store is reached from here, where that is otherwise than from the pods. Place and prefix have to be those of the Cluster. By default it
        is what the Cluster says, with credentials from the Secrets that it names.
    required: false
  timeout:
    description: How long the operator may take.
    type: str
    default: 10min
  wal_timeout:
    description: How long the segment may take to be in the store.
    type: str
    default: 10min
notes:
  - The login (O(login_user), O(login_password)) is of a role that may call C(pg_create_restore_point) and C(pg_switch_wal), such as one that
    C(GRANT EXECUTE ON FUNCTION) was given for; a superuser is not needed. O(login_host) is by default the Service C(<cluster>-rw.<namespace>.svc),
    which is reached in the cluster.
  - Applications that go on writing until the server is stopped write more than what was seen in the store. Stop them first (M(holdfast.postgres.k8s_apps)).
  - The rights that it needs are in docs/kubernetes.md, C(cnpg_cluster).
seealso:
  - module: holdfast.postgres.cnpg_backup
  - module: holdfast.postgres.cnpg_restore
  - module: holdfast.postgres.k8s_apps
"""

EXAMPLES = r"""
- name: The shop sleeps, and nothing of it is on its volume alone
  holdfast.postgres.cnpg_cluster:
    kubernetes:
      namespace: shop
    cluster: shop
    state: hibernated
    login_user: closer
    login_password: "{{ vault_closer }}"

- name: Awake again
  holdfast.postgres.cnpg_cluster:
    kubernetes:
      namespace: shop
    cluster: shop
    state: running

- name: Stop PostgreSQL in one instance
  holdfast.postgres.cnpg_cluster:
    kubernetes:
      namespace: shop
    cluster: shop
    state: fenced
    instances: [shop-2]
"""

RETURN = r"""
plan:
  description: What was done, or in check mode would be done, step by step. Empty where it is so already.
  returned: success
  type: list
  elements: str
segment:
  description: The last segment, which was seen in the store; null where nothing was stopped, or it is not known.
  returned: success
  type: str
restore_point:
  description: The restore point in it, to which a recovery can go (C(recovery_target.name)); null as well.
  returned: success
  type: str
proof:
  description: What was looked at, with C(proven), C(unproven) and C(lost), each a list of sentences.
  returned: success
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import reading, run
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster_state import (
    STATES,
    ClusterState,
    StateRequest,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

#: seconds that an API server which is away is waited for
PATIENCE = 600.0


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Look, and unless in check mode act."""
    params = module.params
    progress = Progress(None if module.check_mode else params["progress_file"], "looking")
    request = StateRequest(
        params["cluster"],
        params["state"],
        tuple(params["instances"]),
        params["force"],
        float(parse_duration(params["timeout"], "timeout")),
        float(parse_duration(params["wal_timeout"], "wal_timeout")),
    )
    cluster = Cluster(access(module), PATIENCE)
    cluster.tell = progress.step
    with contextlib.ExitStack() as stack:
        space = stack.enter_context(workspace())

        def connect() -> Optional[Any]:
            return stack.enter_context(run.connection(params, cluster, space))

        def opened(store: BarmanStore) -> StoreArchive:
            return StoreArchive(reading.open_as(params["repository"], cluster, store, space), store.server_name)

        done = ClusterState(cluster, request, connect, opened, progress.step, warnings).run(module.check_mode)
    result: dict[str, Any] = {
        "changed": done.changed,
        "plan": done.plan,
        "segment": done.segment,
        "restore_point": done.restore_point,
        "proof": done.proof.describe(),
    }
    if module._diff:
        result["diff"] = {"before": done.before, "after": done.after}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.KUBERNETES,
            **argspec.PROGRESS,
            "cluster": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": list(STATES)},
            "instances": {"type": "list", "elements": "str", "default": []},
            "force": {"type": "bool", "default": False},
            "repository": {"type": "dict", "options": STORE},
            "timeout": {"type": "str", "default": "10min"},
            "wal_timeout": {"type": "str", "default": "10min"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=run.connects(module.params), kubernetes=True)


if __name__ == "__main__":
    main()
