#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cnpg_restore
short_description: Make a new Cluster of CloudNativePG out of a backup of another one
version_added: 0.1.0
description:
  - Has CloudNativePG's operator make a new Cluster out of a base backup in the object store, or of volume snapshots, recovered to a moment.
    The source is only read, and may be gone (O(manifest)).
  - Everything that would end in a pod that fails for ever is found before anything is made, and refused with the way out. Which backup
    leads to the target is proven from the store itself, where it lies and with its WAL; the image is of the backup's major version; the
    path that the new Cluster archives to is empty (C(Expected empty archive)); names and quota are free. The API server has tried all of it.
  - The operator is followed. A pod that fails is told of at once, with the reason from its log.
  - Where the recovery landed is compared with what was asked for, by the history file that PostgreSQL itself wrote. The new Cluster archives,
    and has a backup of its own, before this is done.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository.record
  - holdfast.postgres.kubernetes
  - holdfast.postgres.recovery.target
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: Reads and proves all that a run does. The API server tries what would be made by its own dry run, with admission, quota and the operator's webhook.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A Cluster that this recovery has made is looked at, and not made again. One of another recovery is refused.
options:
  name:
    description: Name of the new Cluster, of 50 characters at most.
    type: str
    required: true
  cluster:
    description: Name of the Cluster whose backups they are, in the same namespace. By default that of O(manifest).
    type: str
    default: ''
  manifest:
    description:
      - The source as it was, where it is gone, as it is in Git, or as M(holdfast.postgres.k8s_capture) kept it. Where its backups lie, and what the
        server was like, stands there. A Cluster that is there takes precedence.
    type: dict
    default: {}
  method:
    description:
      - What it begins with. V(object_store), a base backup in the store that the source archives to; V(volume_snapshot), the snapshots of a Backup
        object, with the WAL of the store where there is one.
    type: str
    choices: [object_store, volume_snapshot]
    default: object_store
  backup:
    description: Name of a Backup object to begin with, of either method. By default the newest backup that leads to the target.
    type: str
    default: ''
  backup_id:
    description: Id of a base backup in the store, or V(latest) for the newest one that leads to the target.
    type: str
    default: latest
  archive_as:
    description:
      - Server name that the new Cluster archives under, in the same store. Nothing may lie there. By default the new Cluster's name, or where something
        lies there already, that with the time behind it.
    type: str
    default: ''
  database:
    description: Database of the application. By default the source's; another name is refused, as the operator would make an empty one.
    type: str
    default: ''
  owner:
    description: Its owner. By default the source's.
    type: str
    default: ''
  secret:
    description: Secret with the owner's name and password. By default the source's, where somebody made it; else the operator makes a new one.
    type: str
    default: ''
  spec:
    description:
      - 'What is different in the new Cluster, merged into the source''s specification, such as C({instances: 1, storage: {size: 20Gi}}). A null removes
        what is there. The parts C(bootstrap), C(externalClusters) and C(replica) are the module''s own.'
    type: dict
    default: {}
  first_backup:
    description: Whether the new Cluster gets a backup at once, on its new timeline.
    type: bool
    default: true
  repository:
    description:
      - How the object store is reached from where the module runs, where that is otherwise than from the pods (another endpoint, a role of their own).
        Place and prefix have to be those of the Cluster. By default it is what the Cluster says, with credentials from the Secrets that it names.
    required: false
  login_host:
    description:
      - The new server, as it is reached from where the module runs, which asks it then. Without this its own Service C(-rw) is tried, with the Secret
        C(-app) of its application.
    type: str
  timeout:
    description: How long the operator may take until the new Cluster serves.
    type: str
    default: 6h
notes:
  - The rights that it needs are in docs/kubernetes.md, C(cnpg_restore).
  - Where PostgreSQL's programs of the server's major version are there (C(pg_waldump)), the WAL up to the target is read, so that it is known
    beforehand whether the target can be reached. Without them it is known only which segments there are.
seealso:
  - module: holdfast.postgres.cnpg_cluster
  - module: holdfast.postgres.k8s_capture
"""

EXAMPLES = r"""
- name: The shop as it was before the mistake, beside the one that runs
  holdfast.postgres.cnpg_restore:
    kubernetes:
      namespace: shop
    cluster: shop
    name: shop-restored
    recovery_target:
      time: "2026-11-21T02:59:00+01:00"
    spec:
      instances: 1

- name: The Cluster is gone, and its backups are not
  holdfast.postgres.cnpg_restore:
    kubernetes:
      namespace: shop
    manifest: "{{ lookup('ansible.builtin.file', 'shop.yml') | from_yaml }}"
    name: shop-v2

- name: From the volume snapshots of last night
  holdfast.postgres.cnpg_restore:
    kubernetes:
      namespace: shop
    cluster: shop
    name: shop-night
    method: volume_snapshot
    recovery_target:
      immediate: true
"""

RETURN = r"""
plan:
  description: What was done, or in check mode would be done, step by step. Empty where nothing was left to do.
  returned: success
  type: list
  elements: str
cluster:
  description: The new Cluster, with C(name), C(namespace), C(archive_as), C(phase), C(timeline), C(system_id) and C(instances).
  returned: success
  type: dict
backup:
  description: What it began with, C(id), C(stopped_at), C(system_id), and where it was one C(object) (the Backup) and C(snapshots).
  returned: success
  type: dict
reached:
  description:
    - Where the recovery ended, by PostgreSQL's own history file, with C(timeline) (the new one), C(left_timeline), C(lsn), C(reason) and
      C(last_transaction). Null in check mode, and where no WAL is archived.
  returned: success
  type: dict
first_backup:
  description: The first backup of the new Cluster, C(name), C(id) and C(stopped_at); null where none was asked for.
  returned: success
  type: dict
manifest:
  description: The Cluster that was made, or would be. Empty where it is there already.
  returned: success
  type: dict
proof:
  description: What was looked at, with C(proven), C(unproven) and C(lost), each a list of sentences.
  returned: success
  type: dict
next_steps:
  description: What is to be done now, a sentence each.
  returned: success
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_request import request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_run import Restore
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

#: seconds that an API server which is away is waited for
PATIENCE = 600.0


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode act."""
    params = module.params
    progress = Progress(None if module.check_mode else params["progress_file"], "restoring")
    request = request_of(params)
    login = params if params["login_host"] or params["login_unix_socket"] or params["connect_params"] else None
    with workspace() as scratch:
        cluster = Cluster(access(module), PATIENCE)
        done = Restore(cluster, request, login, module.check_mode, scratch, progress, warnings).run()
    result = done.describe()
    if module._diff:
        result["diff"] = {"before": "", "after": json.dumps(done.manifest, indent=2) + "\n" if done.manifest else ""}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.KUBERNETES,
            **argspec.TARGET,
            **argspec.PROGRESS,
            "name": {"type": "str", "required": True},
            "cluster": {"type": "str", "default": ""},
            "manifest": {"type": "dict", "default": {}},
            "method": {"type": "str", "choices": ["object_store", "volume_snapshot"], "default": "object_store"},
            "backup": {"type": "str", "default": ""},
            "backup_id": {"type": "str", "default": "latest"},
            "archive_as": {"type": "str", "default": ""},
            "database": {"type": "str", "default": ""},
            "owner": {"type": "str", "default": ""},
            "secret": {"type": "str", "default": "", "no_log": False},
            "spec": {"type": "dict", "default": {}},
            "first_backup": {"type": "bool", "default": True},
            "repository": {"type": "dict", "options": STORE},
            "timeout": {"type": "str", "default": "6h"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False, kubernetes=True)


if __name__ == "__main__":
    main()
