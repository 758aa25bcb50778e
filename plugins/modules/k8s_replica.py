#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_replica
short_description: Make a replica of a PostgreSQL server in Kubernetes anew from its primary
version_added: 0.1.0
description:
  - For one pod of a StatefulSet of several, whose data is broken or lost. The server's own image copies the primary by pg_basebackup beside the old data, in
    the same volume, verifies the copy, and lets it take the old data's place while the pod is stopped. It follows as the old data did, by its
    C(primary_conninfo) and its slot, and the primary has to say that it streams to it.
  - That the pod is not the primary is the primary's own word, asked before anything is done and again before the data is exchanged, and before what was made
    is taken away by O(state=rolled_back). There, one that does not answer is a warning, as the old data may be all there is.
  - Whatever fails, the old data is moved back by itself. It is kept in a hidden directory of the volume until O(state=confirmed).
  - A StatefulSet starts its pods in order, so that pods of higher numbers are stopped meanwhile.
  - For plain streaming replication, with the primary in a pod of a lower number. What Patroni, repmgr or an operator keeps is refused, with their own way.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.kubernetes
  - holdfast.postgres.pod_of_ours.exchanging
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: Reads what is in the cluster, asks the primary, and runs no pod.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: The same replica is not made again while its old data is kept.
options:
  stateful_set:
    description: Name of the StatefulSet, of 32 characters at most.
    type: str
    required: true
  ordinal:
    description: Number of the pod, V(1) for one whose name ends with C(-1).
    type: int
    required: true
  state:
    description:
      - V(recovered) makes it anew, or goes on with that.
      - V(rolled_back) brings the data back that was there before, also where a run was killed half-way.
      - V(confirmed) removes that data.
    type: str
    choices: [recovered, rolled_back, confirmed]
    default: recovered
  container:
    description: Name of PostgreSQL's container, where a pod has several and it cannot be told by variables, ports and image.
    type: str
    default: ''
  force:
    description: Agree that the pod's data is replaced. Needs O(confirm).
    type: bool
    default: false
  confirm:
    description: The pod whose data may be replaced, as C(namespace/pod).
    type: list
    elements: str
    default: []
  login_host:
    description: The Service of the primary. Needed for O(state=recovered), as is O(login_user) of a superuser.
    type: str
  on_managed:
    description: What is done about whoever would scale the StatefulSet in the middle (Argo CD, Flux, KEDA).
    type: str
    choices: [refuse, ignore]
    default: refuse
  timeout:
    description: How long the pod may take to end, to be ready, and to follow.
    type: str
    default: 10min
  deadline:
    description: How long the copy may take.
    type: str
    default: 6h
seealso:
  - module: holdfast.postgres.k8s_recover
  - module: holdfast.postgres.pg_standby
notes:
  - docs/kubernetes.md has the rights that it needs (C(server_restore) and C(replica_restore)).
"""

EXAMPLES = r"""
- name: The replica pg-1 anew, from the primary
  holdfast.postgres.k8s_replica:
    kubernetes:
      namespace: shop
    stateful_set: pg
    ordinal: 1
    login_host: pg.shop.svc
    login_user: postgres
    login_password: "{{ vault_password }}"
    pod:
      image: registry.example.org/holdfast:1.0
    force: true
    confirm: [shop/pg-1]

- name: It follows, and what it had before is not needed any more
  holdfast.postgres.k8s_replica:
    kubernetes:
      namespace: shop
    stateful_set: pg
    ordinal: 1
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
  description: Where it stands then, V(done) while the old data is kept, and empty where nothing is kept any more.
  returned: success
  type: str
recovery:
  description: What it follows, with C(primary) (the pod), C(slot) (empty for none), C(system_id), C(target) and C(began).
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
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving, is_given
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.primary import Primary
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.run import (
    Replica,
    replica_request_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress

#: seconds that an API server which is away is waited for
PATIENCE = 600.0


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode act."""
    params = module.params
    request, primary = replica_request_of(params), Primary(params)
    if params["state"] == "recovered":
        primary.require_given()
    progress = Progress(None if module.check_mode else params["progress_file"], "making the replica anew")
    cluster = Cluster(access(module), PATIENCE)
    serving = Serving({**params, "repository": None}, warnings)
    run = Replica(cluster, request, primary, serving, module.check_mode, progress.step, warnings)
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
            **argspec.pod("image_pull_policy", "image_pull_secrets", "run_as_user"),
            **argspec.PROGRESS,
            "stateful_set": {"type": "str", "required": True},
            "ordinal": {"type": "int", "required": True},
            "state": {"type": "str", "choices": ["recovered", "rolled_back", "confirmed"], "default": "recovered"},
            "container": {"type": "str", "default": ""},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "list", "elements": "str", "default": []},
            "on_managed": {"type": "str", "choices": ["refuse", "ignore"], "default": "refuse"},
            "timeout": {"type": "str", "default": "10min"},
            "deadline": {"type": "str", "default": "6h"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=is_given(module.params), kubernetes=True)


if __name__ == "__main__":
    main()
