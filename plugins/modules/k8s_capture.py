#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_capture
short_description: Back up the Kubernetes objects that a PostgreSQL server is made of, and make them again
version_added: 0.1.0
description:
  - Captures the workload of a server and all that it uses, as a backup with a record beside all others in a repository, deletes one, and makes the
    objects of one again, in the same or another namespace.
  - What a server uses is found by references alone. That is the StatefulSet (or Deployment, or the object of the operator that made it), its claims, the
    ConfigMaps, Secrets and ServiceAccounts that its pods name, the Services and NetworkPolicies that select them, disruption budgets, autoscalers,
    CronJobs that use one of its claims, Secrets or ConfigMaps, and the RoleBindings and Roles of the accounts.
  - Each object is kept without what the cluster adds to it, such as uids, allocated addresses, tokens and status. They lie in one list, C(objects.json),
    that kubectl takes as it is.
  - It has no data. What belongs to the whole cluster (classes, definitions of kinds, ClusterRoles) and the namespace itself are not captured.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.repository.retention
  - holdfast.postgres.backup
  - holdfast.postgres.kubernetes
  - holdfast.postgres.run.lock
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: Does every read that the run does, lets the API server try each change (dry run), and returns what would happen as RV(plan).
  diff_mode:
    support: full
    details: Of Secrets no value is shown.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) captures, and prunes by O(retention). Nothing is done while nothing has changed since the newest capture of the same, unless O(backup_id)
        or O(max_age) is given.
      - V(absent) deletes the one named by O(backup_id).
      - V(restored) makes the objects of the one named by O(backup_id) again, by server-side apply as the field manager C(holdfast). What is there and is what
        was captured is left alone, so that a second run changes nothing.
    type: str
    choices: [present, absent, restored]
    default: present
  stateful_set:
    description: The StatefulSet that is the server.
    type: str
  pod:
    description: A pod of the server, whose StatefulSet, Deployment or operator's object is found by its owners.
    type: str
  selector:
    description: Labels of the server's pods, such as V(app.kubernetes.io/instance=shop).
    type: str
  objects:
    description: What is to be captured besides, or by itself, with all that it refers to. Of an operator's own kinds nobody knows what they refer to.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Its kind.
        type: str
        required: true
      api_version:
        description: Group and version, such as V(postgresql.cnpg.io/v1). Needed for kinds that are not Kubernetes' own.
        type: str
      name:
        description: Its name. Exactly one of this and O(objects[].selector) is needed.
        type: str
      selector:
        description: Labels of all that are meant.
        type: str
  exclude:
    description: What is neither captured nor restored, each as C(Kind) or C(Kind/name), such as V(NetworkPolicy) or V(CronJob/old-backup).
    type: list
    elements: str
    default: []
  include_secrets:
    description:
      - Whether Secrets are captured and restored. They are captured only with O(encryption), else it is an error.
      - Left out, they are not even read, and have to come from elsewhere in a restore.
    type: bool
    default: true
  backup_id:
    description:
      - Id of the backup. By default made of the time and a few random digits; for O(state=restored) V(latest), the newest.
      - When there is one of this id, nothing is captured, but that its pin and annotations follow the options.
    type: str
    aliases: [id]
  names:
    description:
      - New names of objects that O(state=restored) makes, by C(Kind/name) as they were captured, such as V(again) for C(StatefulSet/pg). References
        follow, and so do the claims of a StatefulSet.
      - A workload under a new name in its own namespace is refused while the old one is there, as the Services of either would lead to both.
    type: dict
    default: {}
  hold:
    description:
      - Whether O(state=restored) starts nothing, as the data has to be back first. StatefulSets and Deployments are made with 0 pods and CronJobs suspended,
        with the count that they had written on them as M(holdfast.postgres.k8s_apps) does; autoscalers and an operator's own objects are not made yet.
      - The same task with V(false) then makes what waits, and lets the rest run as it did, but for what was scaled otherwise meanwhile.
      - The count of a workload that was there is never changed.
    type: bool
    default: true
  replace:
    description:
      - Objects, as C(Kind/name), that are there, are not what was captured, and are to be so again.
      - Without, they are an error that names each with the fields in which it differs, and nothing is changed.
    type: list
    elements: str
    default: []
  different:
    description: What is done about objects that differ and are not in O(replace). V(keep) leaves them, and says so.
    type: str
    choices: [refuse, keep]
    default: refuse
  create_namespace:
    description:
      - Whether O(state=restored) makes the namespace where it is not there. It is made bare, so that whoever labels namespaces (Pod Security, an
        operator's scope) has to do so.
      - The namespace is that of O(kubernetes), by default the one that was captured. In another one references to it follow; what speaks of it in a
        text, and cannot be known, is named in RV(proof).
    type: bool
    default: false
  accept_unsigned:
    description: Restore one that a passphrase encrypts and that has no signature, as somebody may have changed its manifest. Set it for one run.
    type: bool
    default: false
  max_age:
    description: When a capture of the same is younger than this, such as V(20h), nothing is done, whatever changed; when none is, one is made.
    type: str
notes:
  - The rights that it needs are in docs/kubernetes.md, C(capture), and C(capture_restore) for V(state=restored).
  - Claims that are there stay as they are. New ones are made empty, or by whoever binds their class.
  - A capture counts for no backup of the data, in M(holdfast.postgres.backup_facts) or anywhere else.
  - What Argo CD or Flux made is restored as it was, and in another namespace without the marks by which they would take it for theirs.
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.pvc_snapshot
  - module: holdfast.postgres.k8s_apps
"""

EXAMPLES = r"""
- name: Capture what a server is made of, each time that something has changed
  holdfast.postgres.k8s_capture:
    kubernetes: {namespace: shop}
    stateful_set: pg
    server_name: shop
    repository:
      path: /backups
    encryption:
      method: aes256
      passphrase_file: /etc/holdfast/passphrase
    retention:
      keep_last: 30

- name: Before a change, with an object of a monitoring operator
  holdfast.postgres.k8s_capture:
    kubernetes: {namespace: shop}
    stateful_set: pg
    objects:
      - kind: ServiceMonitor
        api_version: monitoring.coreos.com/v1
        name: pg
    include_secrets: false
    server_name: shop
    repository:
      path: /backups
    backup_id: before-release-42
    pinned: true

- name: What would be made again, with all differences
  holdfast.postgres.k8s_capture:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    encryption:
      passphrase_file: /etc/holdfast/passphrase
    state: restored
  check_mode: true
  diff: true

- name: One ConfigMap as it was before the change
  holdfast.postgres.k8s_capture:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    backup_id: before-release-42
    replace: [ConfigMap/pg-config]
    different: keep
    state: restored

- name: Everything after the namespace is gone; it runs once its data is back
  holdfast.postgres.k8s_capture:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    encryption:
      passphrase_file: /etc/holdfast/passphrase
    create_namespace: true
    state: restored

- name: The data is back, and all of it runs as it did
  holdfast.postgres.k8s_capture:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    encryption:
      passphrase_file: /etc/holdfast/passphrase
    hold: false
    state: restored
"""

RETURN = r"""
backup:
  description:
    - The record of the backup that was made, that is enough, or that was restored. Its form is that of the manifest, its engine C(kubernetes_objects), and
      C(consistency.objects) has each object.
  returned: when there is one
  type: dict
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
  sample:
    - make the Secret shop/pg
    - make the StatefulSet shop/pg, which starts nothing yet
objects:
  description: Each captured object, and what became of it.
  returned: when state is restored
  type: list
  elements: dict
  contains:
    api_version:
      description: Group and version.
      returned: always
      type: str
    kind:
      description: Its kind.
      returned: always
      type: str
    name:
      description: Its name, as it is called now.
      returned: always
      type: str
    state:
      description: V(made), V(replaced), V(started), V(unchanged), V(left) as it is, or V(waits) for O(hold=false).
      returned: always
      type: str
    fields:
      description: The fields in which it was not what was captured.
      returned: always
      type: list
      elements: str
    why:
      description: Why it was left, or waits; null for all others.
      returned: always
      type: str
left_out:
  description: What the server uses and is not captured, and why, a sentence each.
  returned: when state is present
  type: list
  elements: str
consent:
  description: Options that the plan waits for, with the values that agree.
  returned: when state is present or restored
  type: dict
proof:
  description: What was proven of the backup that was made, or of what was restored (C(proven)), and what was not (C(unproven)), in sentences.
  returned: when state is present or restored
  type: dict
retention:
  description: For each backup whether it stays, and why.
  returned: when retention has a rule
  type: list
  elements: dict
pruned:
  description: Backups that were, or in check mode would be, deleted, each with its reasons.
  returned: always
  type: list
  elements: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.capture import run
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import CREATED_BY, execute

WORK = {"present": run.present, "absent": run.absent, "restored": run.restored}


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Capture, delete, or make again; in check mode by looking and dry runs."""
    context = run.Context(module.check_mode, module._diff, CREATED_BY)
    return WORK[module.params["state"]](module.params, Cluster(access(module)), context, warnings)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORY,
            **argspec.ENCRYPTION,
            **argspec.RETENTION,
            **argspec.BACKUP,
            **argspec.KUBERNETES,
            **argspec.LOCK,
            **argspec.PROGRESS,
            "state": {"type": "str", "choices": list(WORK), "default": "present"},
            "stateful_set": {"type": "str"},
            "pod": {"type": "str"},
            "selector": {"type": "str"},
            "objects": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "kind": {"type": "str", "required": True},
                    "api_version": {"type": "str"},
                    "name": {"type": "str"},
                    "selector": {"type": "str"},
                },
                "required_one_of": [("name", "selector")],
                "mutually_exclusive": [("name", "selector")],
            },
            "exclude": {"type": "list", "elements": "str", "default": []},
            "include_secrets": {"type": "bool", "default": True, "no_log": False},
            "names": {"type": "dict", "default": {}},
            "hold": {"type": "bool", "default": True},
            "replace": {"type": "list", "elements": "str", "default": []},
            "different": {"type": "str", "choices": ["refuse", "keep"], "default": "refuse"},
            "create_namespace": {"type": "bool", "default": False},
            "accept_unsigned": {"type": "bool", "default": False},
        },
        required_if=[("state", "absent", ["backup_id"])],
        mutually_exclusive=[("stateful_set", "pod", "selector")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False, kubernetes=True)


if __name__ == "__main__":
    main()
