#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_clone
short_description: A PostgreSQL server in Kubernetes as another one beside it, as it was at a moment
version_added: 0.1.0
description:
  - Makes a second StatefulSet of a server's, in the same or another namespace, with claims, Services, ConfigMaps and Secrets of its own. A Job lays a backup
    out in its volume, the server's own image recovers it where nobody can reach it, it is looked at, and only then its pod is started.
  - Of the server that it comes from everything is only read. The clone has labels by which nothing that is there selects it, its Services lead to it alone,
    it archives nothing, follows nobody, waits for nobody, and has no rights in the cluster's API.
  - Left out are CronJobs, autoscalers, disruption budgets, Roles, addresses and ports of Services that are seen from outside, marks of GitOps and Helm, and
    containers beside PostgreSQL's, as each would act on the server, or be taken for it.
  - Each step is written down on the clone's StatefulSet, in the annotation C(holdfast.postgres/clone-run), before it is begun. A run that failed, or was
    killed, is gone on with by the next that asks for the same. Until the data is there, another O(recovery_target) or O(backup_id) may be asked for.
  - Servers that Patroni, repmgr or an operator keeps are refused, as a copy would join their cluster.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.kubernetes
  - holdfast.postgres.repository
  - holdfast.postgres.pod_of_ours.cloning
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
    details: Reads what is in the cluster, has the API server try each object (dry run), and runs no pod. Backup and WAL are proven by the run's first Job.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A clone that is there is left as it is. Whether something was written to it since is not looked at.
options:
  stateful_set:
    description: Name of the StatefulSet that is cloned, in the namespace of O(kubernetes).
    type: str
    required: true
  name:
    description: Name of the clone's StatefulSet, of 32 characters at most. Other objects have it in their names in place of the former one, or at their end.
    type: str
    required: true
  namespace:
    description: The clone's namespace, which has to be there. By default that of the server.
    type: str
  container:
    description: Name of PostgreSQL's container, where a pod has several and it cannot be told by variables, ports and image.
    type: str
    default: ''
  keep_containers:
    description: Containers that run beside PostgreSQL's in the clone too. What archives or backs up must not be among them.
    type: list
    elements: str
    default: []
  names:
    description: Names of the clone's other objects, by C(Kind/name) as the server has them, such as V(again-config) for C(ConfigMap/pg-config).
    type: dict
    default: {}
  secrets:
    description:
      - V(own) gives the clone copies of the Secrets that the server uses.
      - V(shared) has it refer to those of the same names, in its own namespace, so that none has to be read.
    type: str
    choices: [own, shared]
    default: own
  storage_class:
    description: Storage class of the claim with the data. By default the one that the server has.
    type: str
  size:
    description: Size of that claim, such as V(20Gi). By default what the server's asks for.
    type: str
  data:
    description:
      - V(backup) is a backup in O(repository), with WAL up to O(recovery_target).
      - V(claims) is what lies on claims that have the names of the clone's (C(data-again-0) for a clone V(again)), as M(holdfast.postgres.pvc_snapshot)
        restores them with O(holdfast.postgres.pvc_snapshot#module:new_claims). The server's own image starts it in private, as it is or to where a run of
        the playbook C(recover) has prepared it. Check mode does not need them yet.
    type: str
    choices: [backup, claims]
    default: backup
  repository:
    description: Where the backups are, as pods reach it. One that is mounted from a claim or NFS is a C(path) of what O(pod) mounts.
    required: false
  backup_id:
    description: Id of the backup, or V(latest) for the newest one that leads to the target.
    type: str
    default: latest
  login_host:
    description:
      - The clone's Service. With this, O(login_unix_socket) or O(connect_params) what serves is compared with what was recovered, and asked whether it
        archives.
    type: str
  login_user:
    description: A superuser. By default what the container's environment names, else V(postgres).
    type: str
  settings:
    description: Settings for the clone, written into its C(postgresql.auto.conf). Without one of that name C(listen_addresses) is V(*).
    type: dict
    default: {}
  accept_unsigned:
    description: Take a backup that a passphrase encrypts though its manifest is not signed by it.
    type: bool
    default: false
  timeout:
    description: How long the clone may take to be ready.
    type: str
    default: 10min
  deadline:
    description: How long one Job may take, such as the one that lays the backup out.
    type: str
    default: 6h
seealso:
  - module: holdfast.postgres.k8s_recover
  - module: holdfast.postgres.pvc_snapshot
notes:
  - docs/kubernetes.md has the rights that it needs (C(clone_source) and C(clone)).
  - RV(next_steps) has the command that removes the clone with its data.
"""

EXAMPLES = r"""
- name: The shop as it was this morning, beside the one that serves
  holdfast.postgres.k8s_clone:
    kubernetes:
      namespace: shop
    stateful_set: pg
    name: again
    server_name: shop
    repository:
      type: s3
      bucket: backups
      access_key: "{{ vault_key }}"
      secret_key: "{{ vault_secret }}"
    recovery_target:
      time: "2026-11-21T08:00:00+01:00"
    pod:
      image: registry.example.org/holdfast:1.0

- name: The newest there is, for those who test
  holdfast.postgres.k8s_clone:
    kubernetes:
      namespace: shop
    stateful_set: pg
    name: pg
    namespace: shop-test
    server_name: shop
    repository:
      path: /backups
    pod:
      image: registry.example.org/holdfast:1.0
      claims:
        backups: /backups
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step; empty where the clone is there.
  returned: success
  type: list
  elements: str
step:
  description: Where the clone stands then, V(done) once it serves.
  returned: success
  type: str
claims:
  description: The clone's claims, by those of the server.
  returned: success
  type: dict
recovery:
  description: Where it landed, with C(target), C(began), C(lsn), C(timeline), C(commit_time) (of the last transaction) and C(system_id).
  returned: success
  type: dict
isolated:
  description: What was switched off in its data, so that it reaches nothing of the server that it comes from, a sentence each.
  returned: success
  type: list
  elements: str
proof:
  description: What was looked at, with C(proven), C(unproven) and C(lost), each a list of sentences.
  returned: success
  type: dict
next_steps:
  description: What is to be known or done now, a sentence each, and last how it is removed.
  returned: success
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import options
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.request import clone_request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.run import Clone
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
    progress = Progress(None if module.check_mode else params["progress_file"], "cloning")
    request = clone_request_of(params)
    source = Cluster(access(module), PATIENCE)
    target = Cluster(replace(source.access, namespace=request.namespace or source.namespace), PATIENCE)
    run = Clone(source, target, request, Serving(params, warnings), module.check_mode, progress.step, warnings)
    done = run.present()
    result = {
        "changed": done.changed,
        "plan": done.plan,
        "step": done.step,
        "claims": run.claims,
        "recovery": done.recovery,
        "isolated": done.isolated,
        "proof": done.proof.describe(),
        "next_steps": done.next_steps,
    }
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in done.plan)}
    return result


def main() -> None:
    pod = argspec.pod(*argspec.LAYING_OUT, "run_as_user")
    pod["pod"]["options"]["fs_group"] = {"type": "int"}  # by default as the server's pod has it
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.KUBERNETES,
            **argspec.REPOSITORY,
            **pod,
            **argspec.TARGET,
            **argspec.PROGRESS,
            "repository": {"type": "dict", "options": STORE},
            "stateful_set": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "container": {"type": "str", "default": ""},
            "keep_containers": {"type": "list", "elements": "str", "default": []},
            "names": {"type": "dict", "default": {}},
            "secrets": {"type": "str", "choices": ["own", "shared"], "default": "own", "no_log": False},
            "storage_class": {"type": "str"},
            "size": {"type": "str"},
            "data": {"type": "str", "choices": ["backup", "claims"], "default": "backup"},
            "backup_id": {"type": "str", "default": "latest"},
            "settings": {"type": "dict", "default": {}},
            "accept_unsigned": {"type": "bool", "default": False},
            "timeout": {"type": "str", "default": "10min"},
            "deadline": {"type": "str", "default": "6h"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=is_given(module.params), kubernetes=True)


if __name__ == "__main__":
    main()
