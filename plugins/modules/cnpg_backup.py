#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cnpg_backup
short_description: Back a CloudNativePG cluster up, and see in the store that it is a backup
version_added: 0.1.0
description:
  - Makes a Backup of the operator, follows its phases, and closes its window. A restore point is made and its segment switched, and the object store
    itself is looked at until all WAL from the backup's begin to that point is there. Only then is it reported as a backup.
  - The operator calls a Backup V(completed) before that. On an idle server the segment of its end may never be archived, and a restore then ends with
    "WAL ends before end of online backup".
  - Refused is what would be believed and is none. That is a Cluster whose WAL is not archived, two Clusters that archive into one place, an archive of
    another server, one whose plugin or ObjectStore is not there, one that is hibernated or fenced.
  - The record that it returns has the form of all others here. Where there is an object store it is read from Barman's own C(backup.info) there, and not
    from a status.
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
    details: Does every read that the run does, lets API server and webhook try the Backup (dry run), and returns what would happen as RV(plan).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: A backup is made each time, unless O(max_age) says when there is enough. One that a run which was killed has left is gone on with.
options:
  cluster:
    description: Name of the Cluster.
    type: str
    required: true
  method:
    description:
      - How the operator makes it. V(plugin) is C(barman-cloud.cloudnative-pg.io), V(barman_object_store) the operator's own C(spec.backup.barmanObjectStore),
        which is gone in CloudNativePG 1.31, V(volume_snapshot) its C(spec.backup.volumeSnapshot).
      - By default the first of these that the Cluster is configured for.
    type: str
    choices: [plugin, barman_object_store, volume_snapshot]
  target:
    description:
      - Which instance is copied. By default what the Cluster says; without a login V(primary), as its stop of the backup closes the segment, which
        nobody does when an idle server's standby is copied.
    type: str
    choices: [primary, prefer-standby]
  online:
    description:
      - Of O(method=volume_snapshot), whether the server goes on meanwhile. By default what the Cluster says. V(false) fences the instance for the time, and
        needs no WAL.
    type: bool
  immediate_checkpoint:
    description:
      - Of O(method=volume_snapshot), whether the checkpoint at its begin is made at once. By default what the Cluster says. For object stores it is
        C(data.immediateCheckpoint) there.
    type: bool
  max_age:
    description:
      - When a backup of this server is younger than this, such as V(20h), nothing is done. It counts only if it, and the WAL without which it cannot be
        restored, are in the store, whoever asked for it; of volume snapshots, if all are ready to use.
    type: str
  deadline:
    description: How long the operator may take, such as V(6h). A Backup that is not completed by then stays, and the next run goes on with it.
    type: str
    default: 6h
  wal_timeout:
    description: How long the WAL may take to be in the store after that.
    type: str
    default: 10min
  repository:
    description:
      - How the object store is reached from here, where that is otherwise than from the pods (another endpoint, a role of their own). Place and prefix have to
        be those of the Cluster. By default it is what the Cluster says, with credentials from the Secrets that it names.
    required: false
notes:
  - The login (O(login_user), O(login_password)) is of a role that may call C(pg_create_restore_point) and C(pg_switch_wal), such as one that
    C(GRANT EXECUTE ON FUNCTION) was given for; a superuser is not needed. O(login_host) is by default the Service C(<cluster>-rw.<namespace>.svc),
    which is reached in the cluster. Without a login no restore point is made, and RV(proof) says so.
  - The rights that it needs are in docs/kubernetes.md, C(cnpg_backup).
  - Barman's files are the operator's, and its retention (C(retentionPolicy)) deletes them.
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.pvc_snapshot
"""

EXAMPLES = r"""
- name: A backup, seen in the store
  holdfast.postgres.cnpg_backup:
    kubernetes: {namespace: shop}
    cluster: shop
    login_host: shop-rw.shop.svc
    login_user: backup
    login_password: "{{ vault_password }}"
    max_age: 20h

- name: From outside the cluster, with other credentials than the pods have
  holdfast.postgres.cnpg_backup:
    kubernetes: {namespace: shop}
    cluster: shop
    method: plugin
    repository:
      type: s3
      bucket: backups
      prefix: shops
      region: eu-central-1
      profile: backups

- name: A snapshot of a server that is stopped for it
  holdfast.postgres.cnpg_backup:
    kubernetes: {namespace: shop}
    cluster: shop
    method: volume_snapshot
    online: false
"""

RETURN = r"""
backup:
  description:
    - The record of the backup that was made, or that is enough, in the form of a manifest. Its engine is C(barman_cloud), or C(volume_snapshot) with the
      snapshots in C(consistency.snapshots). Its C(id) is Barman's, or the name of the Backup.
  returned: when there is one
  type: dict
backup_object:
  description: Name of the Backup of the operator that was made or gone on with.
  returned: when there is one
  type: str
  sample: shop-holdfast-20261126160000
restore_point:
  description: The restore point behind the backup, C(name), C(lsn), C(segment) and C(time). A recovery to it proves the whole window.
  returned: when a login was given and a backup was made
  type: dict
plan:
  description: What is done, or in check mode would be done, step by step. Empty where there is enough.
  returned: always
  type: list
  elements: str
proof:
  description: What was proven of the backup (C(proven)), and what was not (C(unproven)), in sentences.
  returned: always
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import run
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import METHODS
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.KUBERNETES,
            **argspec.PROGRESS,
            "cluster": {"type": "str", "required": True},
            "method": {"type": "str", "choices": list(METHODS)},
            "target": {"type": "str", "choices": ["primary", "prefer-standby"]},
            "online": {"type": "bool"},
            "immediate_checkpoint": {"type": "bool"},
            "max_age": {"type": "str"},
            "deadline": {"type": "str", "default": "6h"},
            "wal_timeout": {"type": "str", "default": "10min"},
            "repository": {"type": "dict", "options": STORE},
        },
        supports_check_mode=True,
    )
    cluster = Cluster(access(module))
    execute(
        module,
        lambda _module, warnings: run.back_up(module.params, cluster, module.check_mode, bool(module._diff), warnings),
        psycopg2=run.connects(module.params),
        kubernetes=True,
    )


if __name__ == "__main__":
    main()
