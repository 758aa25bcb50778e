#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pvc_snapshot
short_description: Snapshot the volumes of a PostgreSQL server in Kubernetes, and restore them
version_added: 0.1.0
description:
  - Makes VolumeSnapshots of the claims that a server lies on, as a backup with a record beside all others in a repository, deletes it, and
    prunes by the same retention; and restores one into new claims.
  - A snapshot takes seconds, whatever the size of the server, and is as near to it as its disk. It lies in the same storage and goes with it, so
    that it takes the place of no other backup.
  - What a snapshot is worth depends on how the server lies on its volumes and on what the driver does. What would start and be corrupt is refused,
    with the reason.
  - A backup exists exactly when its manifest does. What a run that died left in the cluster is known by its labels, is no backup, and is deleted
    by the next run.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository
  - holdfast.postgres.repository.retention
  - holdfast.postgres.backup
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.kubernetes
  - holdfast.postgres.run.lock
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
    details: Does every read that the run does, lets the API server try the snapshots (dry run), and returns what would happen as RV(plan).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: A snapshot is made each time, unless O(max_age) or O(backup_id) says when there is enough.
options:
  state:
    description:
      - V(present) makes a backup of snapshots, and prunes by O(retention).
      - V(absent) deletes the one named by O(backup_id), its snapshots and what they are in the storage.
      - V(restored) makes new claims of the one named by O(backup_id) (V(latest) is the newest), in the namespace of the snapshots, and makes the data
        directory on them ready for its first start, by a Job of the server's image. The server, and its claims, are as before.
      - With O(in_place) these claims take the place of those of O(stateful_set) then. V(rolled_back) gives the old volumes their names back, and
        V(confirmed) lets them go.
      - V(pruned) prunes by O(retention), without making one, and deletes what runs that died left.
      - That deletes snapshots of a class with C(deletionPolicy) V(Retain) in the storage, too.
    type: str
    choices: [present, absent, restored, rolled_back, confirmed, pruned]
    default: present
  stateful_set:
    description:
      - The StatefulSet that is the server. All claims that its container mounts are snapshotted, of the primary's pod, which is found by its labels,
        by the server's own address, or as it is the only one.
    type: str
  pod:
    description: The pod that is the server.
    type: str
  selector:
    description: Labels of the server's pods, such as V(app.kubernetes.io/instance=shop).
    type: str
  claims:
    description:
      - Names of the claims that hold the server. Where a pod uses them, all that its container mounts have to be named here, or in O(exclude_claims).
    type: list
    elements: str
    default: []
  exclude_claims:
    description: Claims that the server's container mounts, and that hold nothing of the server, such as one for dumps.
    type: list
    elements: str
    default: []
  consistency:
    description:
      - How the snapshots are made such that a server can be started from them.
      - V(checkpoint), after a checkpoint, and V(none) are right where all of the server lies on one claim, and the driver's snapshot is of one moment. What is
        started from them recovers as after a loss of power, and needs no archive.
      - V(backup_mode) is right for every layout, and needs an archive of WAL. A session of this module holds it until the storage has made the snapshots, and
        C(backup_label) and C(tablespace_map) are kept in the record. Without them the restored server would start, and be corrupt.
      - V(stopped) is right for every layout, while no pod uses the claims, and no node has them attached.
      - By default V(stopped) where no pod uses the claims, V(checkpoint) for one claim of a driver that is atomic, and V(backup_mode) for all else.
      - The server has to be the primary for V(checkpoint) and V(backup_mode), and is connected to by the options C(login_*).
    type: str
    choices: [backup_mode, checkpoint, stopped, none]
  atomic:
    description:
      - Whether a snapshot of one volume is of one moment. By default that is assumed (and said in RV(proof)), but of drivers that are known to copy
        files (C(hostpath.csi.k8s.io), C(nfs.csi.k8s.io), C(smb.csi.k8s.io)).
    type: bool
  snapshot_class:
    description:
      - The VolumeSnapshotClass. By default the driver's default one, else its only one. Where there is none, or nothing says which, the module fails,
        as the snapshot would stay for ever, and never be made.
    type: str
  timeout:
    description: How long the snapshots may take until they are ready to use. Then the module fails, deletes them, and says what the driver said last.
    type: str
    default: 10min
  wal_timeout:
    description: How long the WAL that V(backup_mode) needs may take to be archived, such as V(10min).
    type: str
    default: 10min
  new_claims:
    description:
      - Names of the claims that V(state=restored) makes, by the names of those that were snapshotted. By default these with C(-restored) behind.
      - One that is there already, and is not of this backup, is an error.
    type: dict
    default: {}
  size:
    description: Size of each new claim, such as V(20Gi), at least that of the snapshot. By default what the driver says it needs, and what the claim had.
    type: str
  storage_class:
    description: Class of the new claims, of the driver that made the snapshots. By default that of the claims that were snapshotted.
    type: str
  image:
    description: Image of the Job that makes the data directory ready; it needs a shell alone. By default the server's, as it was.
    type: str
  settings:
    description:
      - Settings of PostgreSQL that are appended to C(postgresql.auto.conf) of what is restored. With C(restore_command) it is made to recover
        (C(recovery.signal)), which a backup in V(backup_mode) needs, and to C(recovery_target_time) and the like, where these are given.
      - C(archive_mode) is V(off) unless it is said otherwise, so that two servers do not archive into one place.
      - They stand in the Job until it has ended; they are no place for secrets.
    type: dict
    default: {}
  awaits_recovery:
    description:
      - Leave the recovery of a backup in V(backup_mode) to M(holdfast.postgres.pg_recover) with O(holdfast.postgres.pg_recover#module:snapshots=laid_out),
        which fetches the WAL up to a moment. C(backup_label) is laid in, and PostgreSQL refuses to start there until that was done.
    type: bool
    default: false
  accept_unsigned:
    description:
      - Restore a backup whose record a passphrase encrypts though its manifest is not signed by it. Without this it is refused, as who may write
        into the repository could have put another backup's in the place of its own.
    type: bool
    default: false
  in_place:
    description:
      - With V(state=restored), give the restored volumes the names of the claims of O(stateful_set). It is scaled to 0, each claim is made anew on
        the restored volume, and it is scaled up again and waited for. Needs O(force) and O(confirm).
      - The old volumes are kept, whatever their class says (C(Retain)), until V(state=confirmed) lets them go; V(state=rolled_back) gives them
        their names back. What was restored is in its own claims then, as before.
      - When anything fails, the server that does not become ready among it, they are given back at once. What is under way stands in an annotation
        of the StatefulSet, so that a run that was killed is gone on with by the same run again, and taken back by any other; it says which.
      - A StatefulSet with several pods, with C(whenScaled) V(Delete), or whose claims others use is refused.
    type: bool
    default: false
  on_managed:
    description:
      - What is done where somebody would scale the StatefulSet up again meanwhile, as of M(holdfast.postgres.k8s_apps).
    type: str
    choices: [refuse, pause, ignore]
    default: refuse
  argocd_namespace:
    description: The namespace of Argo CD's applications that name none.
    type: str
    default: argocd
  force:
    description: Give the claims other volumes. Needs O(confirm).
    type: bool
    default: false
  confirm:
    description: The StatefulSet as C(namespace/name), so that O(force) and V(state=confirmed) cannot be meant by mistake.
    type: list
    elements: str
    default: []
  max_age:
    description:
      - When a backup of the same server and consistency is younger than this, such as V(20h), and all of its snapshots are there and ready to use,
        nothing is done.
    type: str
  accept_new_server:
    description: Whether another server than the one whose backups are there is meant (another system identifier). Set it for one run.
    type: bool
    default: false
notes:
  - O(encryption) encrypts what lies in the repository (what the claims were like, C(backup_label)). The snapshots themselves are encrypted by their storage,
    or are not. Give it where base backups and WAL of the repository are encrypted, as M(holdfast.postgres.pg_recover) takes nothing plain beside them.
  - The rights that it needs are in docs/kubernetes.md, C(snapshot), and C(snapshot_restore) for V(state=restored), with C(snapshot_swap) on top of that for
    O(in_place), V(state=rolled_back) and V(state=confirmed).
  - Snapshots of several claims are made one after the other. VolumeGroupSnapshots are not used.
  - M(holdfast.postgres.backup_facts) looks at the snapshots themselves where its option O(holdfast.postgres.backup_facts#module:kubernetes) is given.
seealso:
  - module: holdfast.postgres.pg_backup
  - module: holdfast.postgres.backup_facts
  - module: holdfast.postgres.k8s_server_info
"""

EXAMPLES = r"""
- name: Snapshot a server, nightly, for a week
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    stateful_set: pg
    login_host: pg.shop.svc
    login_user: postgres
    login_password: "{{ vault_password }}"
    server_name: shop
    repository:
      path: /backups
    retention:
      keep_daily: 7
    max_age: 20h

- name: Before a risky change, kept until somebody deletes it
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    stateful_set: pg
    login_host: pg.shop.svc
    login_user: postgres
    login_password: "{{ vault_password }}"
    server_name: shop
    repository:
      path: /backups
    backup_id: before-release-42
    pinned: true
    annotations:
      ticket: OPS-1234

- name: A server with its WAL on a claim of its own, which needs backup mode and an archive of WAL
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    stateful_set: pg
    exclude_claims: [dumps-pg-0]
    consistency: backup_mode
    login_host: pg.shop.svc
    login_user: postgres
    login_password: "{{ vault_password }}"
    server_name: shop
    repository:
      type: s3
      bucket: backups
      region: eu-central-1

- name: A server that was scaled to 0
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    claims: [data-pg-0]
    consistency: stopped
    server_name: shop
    repository:
      path: /backups

- name: Delete one, with its snapshots
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    backup_id: before-release-42
    state: absent

- name: Restore the newest into claims of their own, beside the server
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    backup_id: latest
    new_claims:
      data-pg-0: data-again
    state: restored

- name: Restore one that was made in backup mode, to a moment after it
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    backup_id: before-release-42
    settings:
      restore_command: cp /archive/%f %p
      recovery_target_time: "2026-11-21 03:00:00+00"
    state: restored

- name: Restore the newest in the place of what is there
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    stateful_set: pg
    server_name: shop
    repository:
      path: /backups
    backup_id: latest
    state: restored
    in_place: true
    force: true
    confirm: [shop/pg]

- name: It was the wrong one; the old volumes again
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    stateful_set: pg
    server_name: shop
    repository:
      path: /backups
    state: rolled_back

- name: It is right, and the old volumes are not needed any more
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    stateful_set: pg
    server_name: shop
    repository:
      path: /backups
    state: confirmed
    confirm: [shop/pg]

- name: What retention would delete, and what runs that died have left
  holdfast.postgres.pvc_snapshot:
    kubernetes: {namespace: shop}
    server_name: shop
    repository:
      path: /backups
    retention:
      keep_daily: 7
      keep_weekly: 4
    state: pruned
  check_mode: true
"""

RETURN = r"""
backup:
  description:
    - The record of the backup that was made, or that is enough. Its form is that of the manifest, its engine C(volume_snapshot), and
      C(consistency.snapshots) has each VolumeSnapshot.
  returned: when there is one
  type: dict
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
claims:
  description: The new claims, by the names of those that were snapshotted.
  returned: when state is restored
  type: dict
  sample: {data-pg-0: data-again}
pod:
  description:
    - What a pod needs to have the new claims where the server had its own. C(claims) has their paths, C(null) where no mount of a whole volume is the
      same (C(subPath)); C(data_directory), C(run_as_user) and C(fs_group) are the server's, C(null) where they are not known.
  returned: when state is restored
  type: dict
  sample: {claims: {data-again: /var/lib/postgresql/data}, data_directory: /var/lib/postgresql/data/pgdata, run_as_user: 26, fs_group: 26}
resumed:
  description: Whether it goes, or in check mode would go, on with a run that was killed.
  returned: when state is restored, with in_place
  type: bool
kept:
  description: The volumes that the claims had before, by the names of the claims. Empty where none was replaced yet.
  returned: when state is restored, with in_place
  type: dict
  sample: {data-pg-0: pvc-1f2e}
rolled_back:
  description: That it failed, and the old volumes serve again.
  returned: when a restore in place failed, and was taken back
  type: bool
consent:
  description: The options that this waits for, with the values that agree to it. A plan needs none of them.
  returned: in check mode, when something is missing
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.module import CREATED_BY, execute
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import run
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import CONSISTENCIES

WORK = {
    "present": run.present,
    "absent": run.absent,
    "restored": run.restored,
    "rolled_back": run.rolled_back,
    "confirmed": run.confirmed,
    "pruned": run.pruned,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORY,
            **argspec.RETENTION,
            **argspec.BACKUP,
            **argspec.ENCRYPTION,
            **argspec.KUBERNETES,
            **argspec.LOCK,
            **argspec.PROGRESS,
            "state": {"type": "str", "choices": list(WORK), "default": "present"},
            "stateful_set": {"type": "str"},
            "pod": {"type": "str"},
            "selector": {"type": "str"},
            "claims": {"type": "list", "elements": "str", "default": []},
            "exclude_claims": {"type": "list", "elements": "str", "default": []},
            "consistency": {"type": "str", "choices": list(CONSISTENCIES)},
            "atomic": {"type": "bool"},
            "snapshot_class": {"type": "str"},
            "timeout": {"type": "str", "default": "10min"},
            "wal_timeout": {"type": "str", "default": "10min"},
            "new_claims": {"type": "dict", "default": {}},
            "size": {"type": "str"},
            "storage_class": {"type": "str"},
            "image": {"type": "str"},
            "settings": {"type": "dict", "default": {}},
            "awaits_recovery": {"type": "bool", "default": False},
            "accept_unsigned": {"type": "bool", "default": False},
            "in_place": {"type": "bool", "default": False},
            "on_managed": {"type": "str", "choices": ["refuse", "pause", "ignore"], "default": "refuse"},
            "argocd_namespace": {"type": "str", "default": "argocd"},
            "force": {"type": "bool", "default": False},
            "confirm": {"type": "list", "elements": "str", "default": []},
            "accept_new_server": {"type": "bool", "default": False},
        },
        required_if=[
            ("state", "absent", ["backup_id"]),
            ("state", "restored", ["backup_id"]),
            ("state", "pruned", ["retention"]),
            ("state", "rolled_back", ["stateful_set"]),
            ("state", "confirmed", ["stateful_set"]),
        ],
        mutually_exclusive=[("stateful_set", "pod", "selector")],
        supports_check_mode=True,
    )
    work = WORK[module.params["state"]]
    cluster = Cluster(access(module))
    execute(
        module,
        lambda _module, warnings: work(
            module.params, cluster, run.Context(module.check_mode, bool(module._diff), CREATED_BY), warnings
        ),
        psycopg2=run.connects(module.params),
        kubernetes=True,
    )


if __name__ == "__main__":
    main()
