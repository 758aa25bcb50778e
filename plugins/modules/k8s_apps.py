#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_apps
short_description: Stop applications in Kubernetes, such as for a restore, and start them again
version_added: 0.1.0
description:
  - Scales Deployments and StatefulSets to 0 and suspends CronJobs, waits until their pods have ended, and starts them again to the very same
    counts.
  - What each had is written on the object itself, as the annotation C(holdfast.postgres/replicas) (C(holdfast.postgres/suspend) of a CronJob), in the
    same request that stops it; with O(repository) also beside the backups of O(server_name).
  - Only what this module stopped is started, and once. What was at 0 already stays so; what somebody started meanwhile stays as it is, and is
    named in RV(left).
  - All are stopped first, and then waited for together. Runs of a CronJob that are under way are waited for, not ended.
  - A run that was killed is gone on with by the next one, whichever state it is asked for.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository
  - holdfast.postgres.kubernetes
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
      - holdfast.postgres.kubernetes
  check_mode:
    support: full
    details: Each change is sent as a dry run, so that rights and admission have spoken. Pods are not waited for.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(stopped) stops them.
      - V(started) starts what was stopped by this module.
    type: str
    choices: [stopped, started]
    required: true
  applications:
    description: The applications by name. Exactly one of this and O(selector) is needed.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the object.
        type: str
        required: true
      kind:
        description: Its kind.
        type: str
        choices: [Deployment, StatefulSet, CronJob]
        default: Deployment
      namespace:
        description: Its namespace. By default that of O(kubernetes).
        type: str
  selector:
    description:
      - Labels of the objects (not of their pods), such as V(app.kubernetes.io/part-of=shop,tier!=database).
      - A StatefulSet that runs PostgreSQL and is selected as well is an error.
    type: str
  namespaces:
    description: Where O(selector) looks. By default in that of O(kubernetes).
    type: list
    elements: str
    default: []
  kinds:
    description: Which kinds O(selector) selects.
    type: list
    elements: str
    choices: [Deployment, StatefulSet, CronJob]
    default: [Deployment, StatefulSet, CronJob]
  on_managed:
    description:
      - What is done about applications that somebody would start again in the middle. These are recognised - Argo CD and Flux by their labels and
        annotations, KEDA by its ScaledObjects, operators as owners, HorizontalPodAutoscalers with C(minReplicas) 0. An autoscaler with another minimum
        leaves alone what is at 0, and needs nothing.
      - V(refuse) stops nothing, and names them. Whoever does not act now (C(suspend), no C(automated) sync, C(paused-replicas)) is none.
      - V(pause) pauses them until the last application that they were paused for is started - C(spec.suspend) of Flux,
        C(spec.syncPolicy.automated) of Argo CD, C(autoscaling.keda.sh/paused-replicas) of KEDA. What they had is written on their own objects.
      - V(ignore) does not look.
      - Whichever it is, an application that comes back while its pods are waited for is an error that says who did it.
    type: str
    choices: [refuse, pause, ignore]
    default: refuse
  argocd_namespace:
    description: Where Argo CD's Applications are, where the application itself does not say.
    type: str
    default: argocd
  wait:
    description: Whether pods are waited for, until they have ended (O(state=stopped)), or serve (O(state=started)).
    type: bool
    default: true
  timeout:
    description: How long they are waited for.
    type: str
    default: 5min
  repository:
    description: The store in which is written down what was stopped, for the case that somebody takes the annotations away.
    required: false
  login_host:
    description:
      - Host of the server. With this, O(login_unix_socket) or O(connect_params) the server is asked, once all pods have ended, who is still
        connected. Without any of them it is not.
    type: str
seealso:
  - module: holdfast.postgres.k8s_server_info
  - module: holdfast.postgres.pg_restore
notes:
  - docs/kubernetes.md has the rights that it needs (C(applications), C(applications_by_selector), C(applications_managed)).
"""

EXAMPLES = r"""
- name: Nobody writes while the database is restored
  holdfast.postgres.k8s_apps:
    kubernetes:
      namespace: shop
    state: stopped
    applications:
      - name: web
      - name: worker
      - name: nightly-report
        kind: CronJob
        namespace: reports
    login_host: postgresql.database.svc
    login_user: postgres
    login_password: "{{ postgres_password }}"

- name: The same by labels, and Flux is suspended meanwhile
  holdfast.postgres.k8s_apps:
    state: stopped
    selector: app.kubernetes.io/part-of=shop
    namespaces: [shop, reports]
    on_managed: pause
    repository:
      path: /backups
    server_name: primary

- name: All of it is back as it was
  holdfast.postgres.k8s_apps:
    state: started
    selector: app.kubernetes.io/part-of=shop
    namespaces: [shop, reports]
    repository:
      path: /backups
    server_name: primary
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: success
  type: list
  elements: str
  sample:
    - pause Kustomization flux-system/shop
    - stop Deployment shop/web (3 pods)
applications:
  description: The applications, each with what it is now.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Its kind.
      returned: always
      type: str
    namespace:
      description: Its namespace.
      returned: always
      type: str
    name:
      description: Its name.
      returned: always
      type: str
    state:
      description:
        - V(stopped) by this module, V(was_stopped) by somebody else before; V(started), or V(was_started) by somebody else meanwhile.
      returned: always
      type: str
    replicas:
      description: How many pods it had, and has again (1 and 0 for a CronJob that is not suspended, or is).
      returned: always
      type: int
left:
  description: What was left as it is, and why, a sentence each.
  returned: success
  type: list
  elements: str
managed:
  description: Who keeps which application as it is, where O(on_managed) looks.
  returned: success
  type: list
  elements: str
  sample:
    - "Deployment shop/web: Kustomization flux-system/shop"
sessions:
  description: Who is still connected to the server after all were stopped; null where the server was not asked.
  returned: success
  type: list
  elements: dict
  sample:
    - {database: shop, user: web, application_name: psql, client: 10.0.3.7, state: idle, count: 2}
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.applications import StoppedApplications
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import KINDS
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Selection,
    Settings,
    targets_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.start_applications import Start
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.stop_applications import Stop
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.sessions import sessions
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

# Seconds in which a server notices that a client is gone.
_NOTICED = 3.0


def asks_server(params: dict[str, Any]) -> bool:
    """Whether the server is asked who is still connected."""
    return any(params[name] for name in ("login_host", "login_unix_socket", "connect_params"))


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Stop or start them; in check mode by dry runs."""
    params = module.params
    cluster = Cluster(access(module))
    selection = _selection(params, cluster)
    timeout = parse_duration(params["timeout"], "timeout")
    settings = Settings(params["on_managed"], params["argocd_namespace"], params["wait"], timeout, module.check_mode)
    book = None
    if params["repository"] is not None:
        shelf = Shelf(open_repository(params["repository"]), params["server_name"])
        shelf.repository.check(write=not module.check_mode)
        book = StoppedApplications(shelf)
    run = Stop if params["state"] == "stopped" else Start
    change = run(cluster, selection, settings, book, warnings.append).run()
    left = _sessions(params, warnings) if asks_server(params) and not module.check_mode else None
    result: dict[str, Any] = {**change.result(), "sessions": left}
    warnings.extend(change.left)
    if module._diff:
        result["diff"] = {"before": change.before, "after": change.after}
    return result


def _selection(params: dict[str, Any], cluster: Cluster) -> Selection:
    if params["selector"] is not None and not params["selector"].strip():
        raise BadOption("selector", params["selector"], "would select all that there is", "Name labels.")
    if params["applications"] is not None:
        targets = tuple(dict.fromkeys(targets_of(params["applications"], lambda: cluster.namespace)))
        if not targets:
            raise BadOption("applications", [], "names nothing", "Name at least one, or give a selector.")
        return Selection(targets)
    namespaces = tuple(dict.fromkeys(params["namespaces"])) or (cluster.namespace,)
    return Selection((), params["selector"], namespaces, tuple(dict.fromkeys(params["kinds"])))


def _sessions(params: dict[str, Any], warnings: list[str]) -> Optional[list[dict[str, Any]]]:
    """Those that are left once the server had time to notice that clients are gone. Applications that were started have sessions."""
    if params["state"] != "stopped":
        return None
    with workspace() as space, contextlib.closing(Address(params, space).connect()) as connection:
        connection.autocommit = True
        last: list[dict[str, Any]] = []

        def none() -> Optional[bool]:
            last[:] = sessions(connection)
            return None if last else True

        Waiter(_NOTICED, pause=0.2).until({"none": none})
    if last:
        who = "; ".join(
            f"{one['count']} of {one['user']} in {one['database']} from {one['client'] or 'the host itself'} ({one['application_name'] or 'no name'})"
            for one in last[:10]
        )
        warnings.append(
            f"All were stopped, and these sessions are still there: {who}. They are not of what was stopped."
        )
    return last


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORY,
            **argspec.KUBERNETES,
            "repository": {"type": "dict", "options": STORE},
            "state": {"type": "str", "choices": ["stopped", "started"], "required": True},
            "applications": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "kind": {"type": "str", "choices": list(KINDS), "default": "Deployment"},
                    "namespace": {"type": "str"},
                },
            },
            "selector": {"type": "str"},
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "kinds": {"type": "list", "elements": "str", "choices": list(KINDS), "default": list(KINDS)},
            "on_managed": {"type": "str", "choices": ["refuse", "pause", "ignore"], "default": "refuse"},
            "argocd_namespace": {"type": "str", "default": "argocd"},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "str", "default": "5min"},
        },
        required_one_of=[("applications", "selector")],
        mutually_exclusive=[("applications", "selector")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=asks_server(module.params), kubernetes=True)


if __name__ == "__main__":
    main()
