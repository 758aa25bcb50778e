#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_job
short_description: Run a playbook of this collection in a Kubernetes Job
version_added: 0.1.0
description:
  - Makes a Job that runs a playbook on itself, beside the server and its volumes, and follows it to its end. Nothing large passes through here,
    and the run goes on if whoever started it goes away.
  - The Job's name is O(name) and a digest of all that is asked for. The same task finds the same Job again. One that runs is followed, one that
    ended well is left as it is (nothing is run, and C(changed) is false) until it is gone (O(keep)) or O(force) says so, one that failed is
    made anew.
  - Its result is what the run itself left as it ended, and with O(repository) its whole record, proven by its sha256. The log is shown as
    progress, and nothing is read out of it.
  - What keeps a run from starting is told at once. An image that cannot be pulled, a pod that fits on no node, a claim or Secret that is missing, a
    quota. The Job then stays until it is mended, or until its O(deadline).
  - In check mode the API server does all but keep what would be made, so that rights, quotas and admission have spoken.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.kubernetes
  - holdfast.postgres.k8s_pod
  - holdfast.postgres.k8s_run
  - holdfast.postgres.repository.record
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
    description:
      - Name of the task, of which the Job's is made. Small letters, digits and C(-), 52 at most.
      - Needed unless O(from_cron_job) is given.
    type: str
  state:
    description:
      - V(present) runs it, and waits for its end.
      - V(suspended) makes it and lets it wait, or ends the pod of one that runs. V(released) lets go the one that was made with the same options.
      - V(absent) deletes every Job of O(name), whatever its options were, and waits until its pods have ended.
    type: str
    choices: [present, absent, suspended, released]
    default: present
  from_cron_job:
    description:
      - Run this CronJob now, by its own template. One that was begun by hand and is not over is followed, and no second one begun.
    type: str
  check:
    description:
      - Run the playbook in check mode, in which it reads all that a run reads, and says what it would do. The Job itself is made.
    type: bool
    default: false
  force:
    description: Run it although the Job of the same options ended well already. One that is not over is followed all the same.
    type: bool
    default: false
  wait:
    description: Whether it is followed to its end.
    type: bool
    default: true
  keep:
    description: How long the Job stays after its end, with its log.
    type: str
    default: 7d
  service_account:
    description: The pod's service account. By default the namespace's own. Its token is mounted with O(api_access) alone.
    type: str
  api_access:
    description: Whether the run gets the service account's token. A backup needs none.
    type: bool
    default: false
  node_of:
    description:
      - Run on the node of this pod. A claim that only one node may mount, and that is in use, pins the Job to its node by itself.
    type: str
seealso:
  - module: holdfast.postgres.k8s_cron_job
notes:
  - This module does not connect to PostgreSQL. The run does, in the cluster.
"""

EXAMPLES = r"""
- name: Back a StatefulSet's server up, into a claim and into S3, with one read
  holdfast.postgres.k8s_job:
    kubernetes:
      namespace: shop
    name: backup-before-upgrade
    image: registry.example.org/holdfast:1.0
    server_name: shop
    claims:
      backups: /backups
    variables:
      holdfast_login_host: postgres
      holdfast_login_user: postgres
      holdfast_repositories:
        - name: near
          path: /backups
          retention: {keep_within: 7d}
        - name: far
          type: s3
          bucket: backups
          access_key: "{{ vault_key }}"
          secret_key: "{{ vault_secret }}"
          retention: {keep_within: 30d}
    variables_from:
      - variable: holdfast_login_password
        secret: postgres
        key: postgres-password
  register: run

- name: Run a schedule now
  holdfast.postgres.k8s_job:
    kubernetes:
      namespace: shop
    from_cron_job: holdfast-backup-shop
"""

RETURN = r"""
job:
  description: Name of the Job; null where there is none.
  returned: always
  type: str
run:
  description:
    - How the run ended, with C(job), C(pod), C(status) (V(ok), V(failed), V(stopped)), C(line) (one line on it), C(changed) (of the run itself), and C(key)
      and C(sha256) of its record; with O(check) also the C(consent), options that a run would have to be given, as it destroys something.
      Null where it was not followed, or did not run.
  returned: always
  type: dict
record:
  description: The run's whole record, with the results of its modules in C(tasks).
  returned: when O(repository) is given, and the run has one
  type: dict
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

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import IN_CLUSTER, KUBERNETES, PROGRESS
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import runs
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runs import RunKey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import options, run_job
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.follow import Ended, Follower
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.run_job import JobRun, Step
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE

#: seconds that an API server which is away is waited for: the run does not need it
PATIENCE = 600.0
#: seconds beyond a Job's own deadline, for its pod to end
BEYOND = 180.0


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode act, and follow."""
    params = module.params
    options.show_what_is_no_secret(module.params, module.no_log_values)
    cluster = Cluster(access(module), PATIENCE)
    name, steps, follows = _planned(cluster, params, warnings)
    plan = run_job.carry_out(steps, module.check_mode)
    result: dict[str, Any] = {"changed": bool(plan), "job": name, "run": None, "plan": plan}
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in plan)}
    if not follows:
        return result
    if module.check_mode:
        plan.append(f"follow the Job {name} to its end")
        return result
    ended = _follow(cluster, str(name), params, bool(plan))
    result["run"] = ended.describe()
    if params["repository"] and ended.key:
        shelf = Shelf(open_repository(params["repository"]), params["server_name"])
        result["record"] = runs.read(shelf, RunKey(ended.key, str(ended.sha256)))
    return result


def _planned(cluster: Cluster, params: dict[str, Any], warnings: list[str]) -> tuple[Optional[str], list[Step], bool]:
    """The Job's name, the steps, and whether it is followed then."""
    state = params["state"]
    if params["from_cron_job"]:
        if state != "present":
            raise BadOption(
                "state", state, "does not go with from_cron_job", "A run by hand begins at once: state: present."
            )
        name, steps = run_job.by_hand(cluster, params["from_cron_job"])
        return name, steps, params["wait"]
    if not params["name"]:
        raise BadOption("name", params["name"], "is missing", "Name the task, of which the Job's name is made.")
    if state != "absent" and not params["image"]:
        raise BadOption("image", params["image"], "is missing", "Name the collection's image, as the cluster pulls it.")
    node = None
    if state in ("present", "suspended"):
        node = _node(cluster, params)
    request = options.request(params, cluster.namespace, node)
    run = JobRun(cluster, params["name"], request, parse_duration(params["keep"], "keep"), params["force"], warnings)
    before = run.status
    steps = getattr(run, state)()
    follows = (
        state in ("present", "released")
        and params["wait"]
        and (before == "Complete" or before == "running" or bool(steps))
    )
    return (None if state == "absent" else run.name), steps, follows


def _node(cluster: Cluster, params: dict[str, Any]) -> Optional[str]:
    if params["node_of"]:
        found = cluster.get("Pod", params["node_of"])
        node = found["spec"].get("nodeName") if found else None
        if not node:
            what = "has no node yet" if found else "is not there"
            raise KubernetesError(f"node_of names the pod {params['node_of']}, which {what}. Nothing was begun.")
        return str(node)
    return run_job.node_of_claims(cluster, list(params["claims"]))


def _follow(cluster: Cluster, name: str, params: dict[str, Any], began: bool) -> Ended:
    progress = Progress(params["progress_file"], f"following the Job {name}")
    seconds = parse_duration(params["deadline"], "deadline") + BEYOND
    with stopping.remains(f"The Job {name} goes on in the cluster: the same task finds it, and follows it.", began):
        return Follower(cluster, name, progress.step).to_the_end(seconds)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **KUBERNETES,
            **IN_CLUSTER,
            **PROGRESS,
            "name": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["present", "absent", "suspended", "released"],
                "default": "present",
            },
            "from_cron_job": {"type": "str"},
            "check": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "keep": {"type": "str", "default": "7d"},
            "service_account": {"type": "str"},
            "api_access": {"type": "bool", "default": False},
            "node_of": {"type": "str"},
            "repository": {"type": "dict", "options": STORE},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False, kubernetes=True)


if __name__ == "__main__":
    main()
