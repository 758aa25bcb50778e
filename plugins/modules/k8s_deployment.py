#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_deployment
short_description: Keep playbooks of this collection running in a Kubernetes cluster
version_added: 0.1.0
description:
  - Makes a Deployment of one pod, in which each of O(playbooks) has a container, with the same variables and claims, and a Secret that has the
    variables. The role C(archive) receives and ships WAL by it. It needs no right of the API, and the pod has no token.
  - A playbook that ends is begun anew, with the passwords that the Secrets of O(variables_from) have by then.
  - Waits until it does what it is for, and fails with what its containers said where it does not.
  - Objects are applied by the API server under the manager C(holdfast). What others set on them stays, and where they set the same field, that
    is an error that names them.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.kubernetes
  - holdfast.postgres.k8s_pod
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the Deployment and of its Secret. Small letters, digits and C(-), 52 at most.
    type: str
    required: true
  state:
    description:
      - V(present) has it run. V(suspended) has it there with no pod, and waits until the pod that runs has ended.
      - V(absent) removes it with its Secret, and waits until its pod has ended. Claims stay.
    type: str
    choices: [present, absent, suspended]
    default: present
  playbooks:
    description: The playbooks, by their full names, each of which goes on until it is stopped. Needed unless O(state=absent).
    type: list
    elements: str
    default: []
  service_account:
    description: The pod's service account. By default the namespace's own. Its token is not mounted.
    type: str
  wait_timeout:
    description: How long is waited.
    type: str
    default: 5min
  force:
    description: Take fields from whoever else manages them.
    type: bool
    default: false
seealso:
  - module: holdfast.postgres.k8s_cron_job
  - module: holdfast.postgres.wal_ship
notes:
  - This module does not connect to PostgreSQL. The playbooks do, in the cluster.
"""

EXAMPLES = r"""
- name: Receive WAL into a claim, and ship it into S3
  holdfast.postgres.k8s_deployment:
    kubernetes:
      namespace: shop
    name: holdfast-receive-shop
    image: registry.example.org/holdfast:1.0
    server_name: shop
    playbooks:
      - holdfast.postgres.archive
      - holdfast.postgres.ship
    claims:
      wal: /wal
    variables:
      holdfast_archive_manager: foreground
      holdfast_ship_follow: true
      holdfast_wal_directory: /wal
      holdfast_config_dir: /home/holdfast/servers
      holdfast_login_host: postgres
      holdfast_login_user: postgres
      holdfast_repository:
        type: s3
        bucket: backups
        access_key: "{{ vault_key }}"
        secret_key: "{{ vault_secret }}"
    variables_from:
      - variable: holdfast_login_password
        secret: postgres
        key: postgres-password
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import IN_POD, KUBERNETES, PROGRESS
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import options, run_deployment, run_job
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.deployment import DeploymentRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.own_objects import Change
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan by dry runs, and unless in check mode apply, and wait."""
    params = module.params
    options.show_what_is_no_secret(module.params, module.no_log_values)
    cluster, name = Cluster(access(module)), params["name"]
    timeout = parse_duration(params["wait_timeout"], "wait_timeout")
    gone = params["state"] == "absent"
    change = (
        run_deployment.absent(cluster, name, module.check_mode, timeout) if gone else _present(module, cluster, timeout)
    )
    result: dict[str, Any] = {"changed": bool(change.plan), "plan": change.plan}
    if module._diff:
        result["diff"] = {"before": change.before, "after": change.after}
    return result


def _present(module: AnsibleModule, cluster: Cluster, timeout: float) -> Change:
    params = module.params
    if not params["image"]:
        raise BadOption("image", params["image"], "is missing", "Name the collection's image, as the cluster pulls it.")
    request = DeploymentRequest(
        name=params["name"],
        run=options.request(params, cluster.namespace),
        playbooks=params["playbooks"],
        replicas=0 if params["state"] == "suspended" else 1,
    )
    run_job.node_of_claims(cluster, list(params["claims"]))  # each of them is there
    change = run_deployment.present(cluster, request, module.check_mode, params["force"])
    if not module.check_mode:
        progress = Progress(params["progress_file"], f"waiting for the Deployment {request.name}")
        with stopping.remains(f"The Deployment {request.name} is there, and goes on.", bool(change.plan)):
            run_deployment.settled(cluster, request, timeout, progress.step)
    return change


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **KUBERNETES,
            **IN_POD,
            **PROGRESS,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "suspended"], "default": "present"},
            "playbooks": {"type": "list", "elements": "str", "default": []},
            "service_account": {"type": "str"},
            "wait_timeout": {"type": "str", "default": "5min"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False, kubernetes=True)


if __name__ == "__main__":
    main()
