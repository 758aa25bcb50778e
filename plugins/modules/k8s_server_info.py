#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_server_info
short_description: Say what a PostgreSQL server in Kubernetes is made of
version_added: 0.1.0
description:
  - Finds, from a StatefulSet, a pod or labels on, all that a backup or a restore has to know of a server in Kubernetes, and says what of it is
    dangerous.
  - Goes by references alone, such as from the environment of the container to the volume that it is mounted from. Names are never guessed, so that
    it does not matter which chart or operator made the objects. What is not known is null.
  - Works with whatever rights there are. What may not be read is null, and is named in C(not_read) with the line of the Role to add.
  - Changes nothing, and never reads the content of a Secret.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.kubernetes
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  stateful_set:
    description: Name of the StatefulSet. Exactly one of this, O(pod) and O(selector) is needed.
    type: str
  pod:
    description: Name of a pod. The StatefulSet or Deployment is found that it belongs to, if it does.
    type: str
  selector:
    description: Labels of the pods, such as V(app=db,tier=primary). They must be of one owner.
    type: str
  container:
    description: Name of PostgreSQL's container, where a pod has several and it cannot be told by variables, ports and image.
    type: str
    default: ''
  login_host:
    description:
      - Host of the server. With this, O(login_unix_socket) or O(connect_params) the server itself is asked as well, for what the objects do not
        say (PGDATA, the version, whether replication is let in). Without any of them it is not.
    type: str
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: What is the server made of?
  holdfast.postgres.k8s_server_info:
    kubernetes:
      kubeconfig: ~/.kube/config
      context: production
      namespace: shop
    stateful_set: db
  register: server

- name: Stop here if its data are not safe
  ansible.builtin.assert:
    that: server.findings.errors | length == 0
    fail_msg: "{{ server.findings.errors | join('; ') }}"

- name: Back it up over its Service, by the password of its own Secret
  holdfast.postgres.pg_backup:
    login_host: "{{ (server.services | first).host }}"
    login_user: postgres
    login_password: "{{ secret.resources[0].data[server.password.key] | b64decode }}"
    repository:
      type: s3
      bucket: backups
  vars:
    secret: "{{ lookup('kubernetes.core.k8s', kind='Secret', namespace='shop', resource_name=server.password.secret) }}"

- name: In a pod of the cluster, by its own service account, and with the server asked too
  holdfast.postgres.k8s_server_info:
    selector: app.kubernetes.io/instance=shop,app.kubernetes.io/name=postgresql
    login_host: shop-postgresql
    login_user: postgres
    login_password: "{{ password }}"
"""

RETURN = r"""
stateful_set:
  description: Name of the StatefulSet; null where the pods belong to none.
  returned: success
  type: str
deployment:
  description: Name of the Deployment, where it is one's.
  returned: success
  type: str
replicas:
  description: How many pods it is to have.
  returned: success
  type: int
pods:
  description: The pods, each with C(name), C(node), C(address), C(phase) and C(ready).
  returned: success
  type: list
  elements: dict
primary:
  description: Name of the primary's pod; null when nobody says which it is.
  returned: success
  type: str
primary_by:
  description: Who says so, V(server), V(labels), or V(only), as there is one pod alone.
  returned: success
  type: str
container:
  description: Name of PostgreSQL's container.
  returned: success
  type: str
image:
  description: Its image.
  returned: success
  type: str
major_version:
  description: PostgreSQL's major version, as the server says, else by the image's name.
  returned: success
  type: int
libc:
  description: V(glibc) or V(musl), by the image's name; null when that does not tell.
  returned: success
  type: str
run_as_user:
  description: Number of the user that the server runs as; null when it is the image's own.
  returned: success
  type: int
run_as_group:
  description: Number of its group.
  returned: success
  type: int
fs_group:
  description: Number of the group that volumes are given to.
  returned: success
  type: int
fs_group_change_policy:
  description: When that is done.
  returned: success
  type: str
service:
  description: Name of the Service to connect to.
  returned: success
  type: str
services:
  description: All Services that lead to the primary's pod, the one to connect to first, each with C(name), C(host), C(type), C(headless), C(governing),
    C(ports) and C(selector).
  returned: success
  type: list
  elements: dict
data:
  description: Where PGDATA is.
  returned: success
  type: dict
  contains:
    directory:
      description: Its path in the container.
      type: str
    directory_by:
      description: Who says so, V(server), V(environment), V(arguments), or V(image), whose documentation does.
      type: str
    volume:
      description: Name of the pod's volume.
      type: str
    source:
      description: What the volume is, such as V(persistentVolumeClaim) or V(emptyDir); V(container) is the container's own file system, and
        V(imageVolume) one that the image declares, which hides the claim that is mounted above it.
      type: str
    claim:
      description: The claim.
      type: str
    mount_path:
      description: Where it is mounted.
      type: str
    sub_path:
      description: Which directory of it.
      type: str
    path_in_volume:
      description: Where PGDATA is in the volume; empty at its top.
      type: str
    at_volume_root:
      description: Whether it is the volume's own top, so that it cannot be renamed.
      type: bool
    persistent:
      description: Whether it outlives the pod; null when that is not known.
      type: bool
    wal_claim:
      description: The claim of the WAL, where that has a volume of its own.
      type: str
claims:
  description: All claims that the pods use, each with C(name), C(phase), C(size), C(access_modes), C(mounts), C(tablespaces) (those of the server that are
    on it, where it was asked), C(volume), C(reclaim_policy), C(storage_class), C(binding_mode), C(driver) and C(snapshot_class).
  returned: success
  type: list
  elements: dict
config_maps:
  description: ConfigMaps that the pod uses.
  returned: success
  type: list
  elements: str
secrets:
  description: Secrets that the pod uses.
  returned: success
  type: list
  elements: str
pull_secrets:
  description: Secrets by which its images are pulled.
  returned: success
  type: list
  elements: str
password:
  description: Where the superuser's password is, as C(secret), C(key), and the C(variable) that it comes by, with the C(user) that it is of (null where
    that is not known); null when no variable of the container is from a Secret.
  returned: success
  type: dict
  sample: {secret: db, key: postgres-password, variable: POSTGRES_PASSWORD, user: postgres}
hba_file:
  description: Where pg_hba.conf is, as C(path), C(source) (V(configMap), V(secret), V(persistentVolumeClaim), V(container)), the C(name) of that
    object, C(path_in_volume), and C(advice), a sentence on where a line is added. Null each where it is not known.
  returned: success
  type: dict
service_account:
  description: Service account of the pod.
  returned: success
  type: str
autoscalers:
  description: HorizontalPodAutoscalers of it.
  returned: success
  type: list
  elements: str
keda:
  description: ScaledObjects of it.
  returned: success
  type: list
  elements: str
disruption_budgets:
  description: PodDisruptionBudgets of its pods.
  returned: success
  type: list
  elements: str
claim_retention:
  description: C(when_scaled) and C(when_deleted), each V(Retain) or V(Delete).
  returned: success
  type: dict
gitops:
  description: Who takes changes back, as C(tool) (V(argocd), V(flux-kustomize), V(flux-helm)), C(name) and C(namespace).
  returned: success
  type: dict
helm:
  description: The Helm release, as C(release) and C(namespace).
  returned: success
  type: dict
operator:
  description: The object that controls it, as C(kind), C(name) and C(api_version).
  returned: success
  type: dict
findings:
  description: What is wrong (C(errors)), doubtful (C(warnings)), and C(fine).
  returned: success
  type: dict
  sample:
    errors: []
    warnings:
      - "persistentVolumeClaimRetentionPolicy.whenDeleted is Delete: who deletes the StatefulSet deletes the data. Set it to Retain"
    fine:
      - PGDATA (/data/pgdata) lies on the claim data-db-0, at pgdata in the volume
not_read:
  description: What may not be read, each as C(what), the C(rule) that is missing, and C(where) to add it.
  returned: success
  type: list
  elements: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.describe import Asked, describe
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.findings import (
    findings,
    where_rules_are,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.survey import Survey
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.lets_replicate import refused_replication
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

_WHO = "SELECT host(inet_server_addr()) AS address, pg_is_in_recovery() AS in_recovery"
_WHERE = "SELECT current_setting('data_directory') AS path"
_RULES = "SELECT current_setting('hba_file') AS path"
_TABLESPACES = "SELECT pg_tablespace_location(oid) AS path FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"


def asks_server(params: dict[str, Any]) -> bool:
    """Whether the server itself is asked too."""
    return any(params[name] for name in ("login_host", "login_unix_socket", "connect_params"))


def ask(params: dict[str, Any], doubts: list[str]) -> Asked:
    """What the server says. Raises ServerError where it cannot be asked."""
    with workspace() as space:
        address = Address(params, space)
        with contextlib.closing(address.connect()) as connection:
            (who,) = facts.rows(connection, _WHO)
            where = facts.attempt(connection, _WHERE, doubts, "data_directory")
            rules = facts.attempt(connection, _RULES, doubts, "hba_file")
            return Asked(
                who["address"],
                who["in_recovery"],
                connection.server_version,
                where[0]["path"] if where else None,
                None,
                tuple(row["path"] for row in facts.rows(connection, _TABLESPACES)),
                refused_replication(address),
                rules[0]["path"] if rules else None,
            )


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Look."""
    params = module.params
    survey = Survey(Cluster(access(module)))
    found = survey.of(params["stateful_set"], params["pod"], params["selector"])
    asked = ask(params, warnings) if asks_server(params) else Asked()
    info = describe(found, params["container"], asked)
    info["hba_file"]["advice"] = where_rules_are(info["hba_file"]) or None
    return {
        "changed": False,
        **info,
        "findings": findings(info, asked.replication, found.snapshot_classes is not None),
        "not_read": survey.not_read,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.KUBERNETES,
            "stateful_set": {"type": "str"},
            "pod": {"type": "str"},
            "selector": {"type": "str"},
            "container": {"type": "str", "default": ""},
        },
        required_one_of=[("stateful_set", "pod", "selector")],
        mutually_exclusive=[("stateful_set", "pod", "selector")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=asks_server(module.params), kubernetes=True)


if __name__ == "__main__":
    main()
