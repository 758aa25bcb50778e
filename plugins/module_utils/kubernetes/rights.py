# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rights each job needs, in one table, as rules of a Role (pure). docs/kubernetes.md has the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

# These are asked of all objects of a kind: no name can narrow them.
# https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
WITHOUT_NAMES = frozenset({"create", "list", "watch", "deletecollection"})


@dataclass(frozen=True)
class Rule:
    """``verbs`` on ``resource`` (``jobs``, ``pods/log``) of an API ``group`` (empty: the core's); ``names``: on these objects alone."""

    resource: str
    verbs: tuple[str, ...]
    group: str = ""
    names: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        """As it stands in ``rules`` of a Role."""
        rule: dict[str, Any] = {"apiGroups": [self.group], "resources": [self.resource], "verbs": list(self.verbs)}
        if self.names:
            rule["resourceNames"] = list(self.names)
        return rule

    def line(self) -> str:
        """To paste into ``rules`` of a Role."""
        group = self.group or '""'
        names = f", resourceNames: [{', '.join(self.names)}]" if self.names else ""
        verbs = ", ".join(self.verbs)
        return f"- {{apiGroups: [{group}], resources: [{self.resource}], verbs: [{verbs}]{names}}}"


def rule_for(verb: str, resource: str, group: str = "", name: str = "") -> Rule:
    """What a refused request lacked."""
    return Rule(resource, (verb,), group, (name,) if name and verb not in WITHOUT_NAMES else ())


@dataclass(frozen=True)
class Rights:
    """What a job needs: the rules of a Role of the namespace, and those of a ClusterRole, for what is in no namespace."""

    rules: tuple[Rule, ...] = ()
    cluster: tuple[Rule, ...] = ()


_APPS, _BATCH, _STORAGE = "apps", "batch", "storage.k8s.io"
_SNAPSHOT, _RBAC = "snapshot.storage.k8s.io", "rbac.authorization.k8s.io"
_CNPG, _BARMAN = "postgresql.cnpg.io", "barmancloud.cnpg.io"
_READ = ("get",)

#: of a pod that is followed: its state, its log, and why it does not start
_FOLLOW = (Rule("pods", ("list",)), Rule("pods/log", _READ), Rule("events", ("list",)))
_NAMED = ("get", "patch", "delete")
_CHANGE = ("get", "patch")
#: of applications that are stopped: their pods, runs of CronJobs, who scales them, and why one does not start again
_ENDING = (
    Rule("pods", ("list",)),
    Rule("jobs", ("list",), _BATCH),
    Rule("horizontalpodautoscalers", ("list",), "autoscaling"),
    Rule("scaledobjects", ("list",), "keda.sh"),
    Rule("events", ("list",)),
)

#: For each job what it needs, and nothing else. In ``names`` stands ``{what}`` for the names that ``rights_of`` is given.
RIGHTS: Mapping[str, Rights] = {
    # A backup speaks with the server's Service and with the repository: automountServiceAccountToken: false.
    "backup": Rights(),
    "info": Rights(
        (
            Rule("statefulsets", _READ, _APPS, ("{server}",)),
            Rule("pods", ("get", "list")),
            Rule("services", ("list",)),
            Rule("persistentvolumeclaims", _READ, names=("{claims}",)),
            Rule("configmaps", _READ, names=("{config_maps}",)),  # which PGDATA is from
            Rule("horizontalpodautoscalers", ("list",), "autoscaling"),
            Rule("poddisruptionbudgets", ("list",), "policy"),
            Rule("scaledobjects", ("list",), "keda.sh"),
        ),
        (
            Rule("persistentvolumes", _READ),
            Rule("storageclasses", _READ, _STORAGE),
            Rule("volumesnapshotclasses", ("list",), _SNAPSHOT),
        ),
    ),
    # On top of that, where it is a Deployment's.
    "info_of_deployment": Rights(
        (Rule("replicasets", _READ, _APPS), Rule("deployments", _READ, _APPS, ("{server}",))),
    ),
    # k8s_job. The names of Jobs are made of what is asked for, so that no rule can name them; of Secrets it reads none.
    "job": Rights(
        (
            Rule("jobs", ("create", "get", "list", "patch", "delete"), _BATCH),
            Rule("secrets", ("create",)),
            *_FOLLOW,
            Rule("persistentvolumeclaims", _READ, names=("{claims}",)),
        ),
    ),
    # k8s_job with from_cron_job
    "run_by_hand": Rights(
        (
            Rule("cronjobs", _READ, _BATCH, ("{schedules}",)),
            Rule("jobs", ("create", "get", "list"), _BATCH),
            *_FOLLOW,
        ),
    ),
    # k8s_cron_job, for schedules of these names, former ones too
    "schedule": Rights(
        (
            Rule("cronjobs", ("create", "list"), _BATCH),
            Rule("cronjobs", _NAMED, _BATCH, ("{schedules}",)),
            Rule("secrets", ("create",)),
            Rule("secrets", _NAMED, names=("{schedules}",)),
            Rule("serviceaccounts", ("create",)),
            Rule("serviceaccounts", _NAMED, names=("{schedules}",)),
        ),
    ),
    # k8s_deployment, for Deployments of these names; the role archive needs "job" besides
    "deployment": Rights(
        (
            Rule("deployments", ("create",), _APPS),
            Rule("deployments", _NAMED, _APPS, ("{deployments}",)),
            Rule("secrets", ("create",)),
            Rule("secrets", _NAMED, names=("{deployments}",)),
            Rule("pods", ("get", "list")),
            Rule("events", ("list",)),
        ),
    ),
    # backup_facts and backup_status with kubernetes
    "status": Rights(
        (
            Rule("cronjobs", ("list",), _BATCH),
            Rule("deployments", ("list",), _APPS),
            Rule("jobs", ("list",), _BATCH),
            Rule("pods", ("list",)),
            Rule("volumesnapshots", ("get",), _SNAPSHOT),  # where there are backups of pvc_snapshot
        ),
    ),
    # azure_sas with secret, which is there
    "rotation": Rights((Rule("secrets", ("get", "patch"), names=("{secrets}",)),)),
    # k8s_apps with applications, in each namespace that has some
    "applications": Rights(
        (
            Rule("deployments", _CHANGE, _APPS, ("{deployments}",)),
            Rule("statefulsets", _CHANGE, _APPS, ("{stateful_sets}",)),
            Rule("cronjobs", _CHANGE, _BATCH, ("{cron_jobs}",)),
            *_ENDING,
        ),
    ),
    # k8s_apps with selector: which they are nobody knows beforehand.
    "applications_by_selector": Rights(
        (
            Rule("deployments", ("get", "list", "patch"), _APPS),
            Rule("statefulsets", ("get", "list", "patch"), _APPS),
            Rule("cronjobs", ("get", "list", "patch"), _BATCH),
            *_ENDING,
        ),
    ),
    # On top of either, in the namespace of whoever keeps them: get to look, patch for on_managed: pause.
    "applications_managed": Rights(
        (
            Rule("applications", _CHANGE, "argoproj.io", ("{argocd}",)),
            Rule("kustomizations", _CHANGE, "kustomize.toolkit.fluxcd.io", ("{kustomizations}",)),
            Rule("helmreleases", _CHANGE, "helm.toolkit.fluxcd.io", ("{helm_releases}",)),
            Rule("scaledobjects", _CHANGE, "keda.sh", ("{keda}",)),
        ),
    ),
    # The objects that a server is made of, for the day on which the namespace is gone.
    "capture": Rights(
        (
            Rule("statefulsets", _READ, _APPS, ("{server}",)),
            Rule("configmaps", _READ, names=("{config_maps}",)),
            Rule("secrets", _READ, names=("{secrets}",)),
            Rule("serviceaccounts", _READ, names=("{accounts}",)),
            Rule("persistentvolumeclaims", _READ, names=("{claims}",)),
            Rule("roles", _READ, _RBAC, ("{roles}",)),
            # which select its pods, or name what it uses
            Rule("pods", ("get", "list")),
            Rule("services", ("list",)),
            Rule("rolebindings", ("list",), _RBAC),
            Rule("networkpolicies", ("list",), "networking.k8s.io"),
            Rule("poddisruptionbudgets", ("list",), "policy"),
            Rule("horizontalpodautoscalers", ("list",), "autoscaling"),
            Rule("scaledobjects", ("list",), "keda.sh"),
            Rule("cronjobs", ("list",), _BATCH),
        ),
    ),
    # k8s_capture with state: restored, of objects of these names. Whoever makes a Role has all of its rights, or escalate on it.
    "capture_restore": Rights(
        (
            Rule("serviceaccounts", ("create",)),
            Rule("serviceaccounts", _CHANGE, names=("{accounts}",)),
            Rule("roles", ("create",), _RBAC),
            Rule("roles", ("get", "patch", "escalate", "bind"), _RBAC, ("{roles}",)),
            Rule("rolebindings", ("create",), _RBAC),
            Rule("rolebindings", _CHANGE, _RBAC, ("{bindings}",)),
            Rule("secrets", ("create",)),
            Rule("secrets", _CHANGE, names=("{secrets}",)),
            Rule("configmaps", ("create",)),
            Rule("configmaps", _CHANGE, names=("{config_maps}",)),
            Rule("persistentvolumeclaims", ("create",)),
            Rule("persistentvolumeclaims", _CHANGE, names=("{claims}",)),
            Rule("services", ("create",)),
            Rule("services", _CHANGE, names=("{services}",)),
            Rule("networkpolicies", ("create",), "networking.k8s.io"),
            Rule("networkpolicies", _CHANGE, "networking.k8s.io", ("{network_policies}",)),
            Rule("poddisruptionbudgets", ("create",), "policy"),
            Rule("poddisruptionbudgets", _CHANGE, "policy", ("{budgets}",)),
            Rule("statefulsets", ("create",), _APPS),
            Rule("statefulsets", _CHANGE, _APPS, ("{server}",)),
            Rule("cronjobs", ("create",), _BATCH),
            Rule("cronjobs", _CHANGE, _BATCH, ("{cron_jobs}",)),
            Rule("horizontalpodautoscalers", ("create",), "autoscaling"),
            Rule("horizontalpodautoscalers", _CHANGE, "autoscaling", ("{autoscalers}",)),
        ),
        (
            Rule("storageclasses", _READ, _STORAGE),  # to say that a claim will never be bound
            # with create_namespace
            Rule("namespaces", ("create",)),
            Rule("namespaces", _CHANGE, names=("{namespaces}",)),
        ),
    ),
    # pvc_snapshot, which makes, deletes and prunes
    "snapshot": Rights(
        (
            Rule("statefulsets", _READ, _APPS, ("{server}",)),
            Rule("pods", ("get", "list")),
            Rule("persistentvolumeclaims", _READ, names=("{claims}",)),
            Rule("volumesnapshots", ("create", "get", "list", "patch", "delete"), _SNAPSHOT),
            Rule("events", ("list",)),  # why one is not ready
        ),
        (
            Rule("persistentvolumes", _READ),
            Rule("volumesnapshotclasses", ("list",), _SNAPSHOT),
            Rule("volumesnapshotcontents", _READ, _SNAPSHOT),
            Rule("volumeattachments", ("list",), _STORAGE),  # with consistency: stopped
            # for those alone whose class retains them
            Rule("volumesnapshotcontents", ("patch", "delete"), _SNAPSHOT),
        ),
    ),
    # pvc_snapshot with state: restored, into claims of these names
    "snapshot_restore": Rights(
        (
            Rule("volumesnapshots", _READ, _SNAPSHOT),
            Rule("persistentvolumeclaims", ("create",)),
            Rule("persistentvolumeclaims", ("get", "patch"), names=("{new_claims}",)),
            Rule("jobs", ("create", "get", "delete"), _BATCH),
            Rule("pods", ("list",)),
            Rule("events", ("list",)),
        ),
        (Rule("storageclasses", _READ, _STORAGE),),
    ),
    # On top of that, with in_place; state: rolled_back and confirmed need this alone. Of volumes nobody knows the names beforehand.
    "snapshot_swap": Rights(
        (
            Rule("statefulsets", _CHANGE, _APPS, ("{server}",)),
            Rule("persistentvolumeclaims", ("create",)),
            Rule("persistentvolumeclaims", ("get", "delete"), names=("{claims}", "{new_claims}")),
            Rule("jobs", ("get", "delete"), _BATCH),  # ours that have ended, and whose pods keep a claim
            *_ENDING,
        ),
        (
            Rule("persistentvolumes", _CHANGE),
            Rule("volumeattachments", ("list",), _STORAGE),
        ),
    ),
    # k8s_clone, in the namespace of the server that it comes from
    "clone_source": Rights(
        (
            Rule("statefulsets", _READ, _APPS, ("{server}",)),
            Rule("configmaps", _READ, names=("{config_maps}",)),
            Rule("secrets", _READ, names=("{secrets}",)),  # with secrets: own
            Rule("serviceaccounts", _READ, names=("{accounts}",)),
            Rule("persistentvolumeclaims", _READ, names=("{claims}",)),
            Rule("pods", ("get", "list")),
            Rule("services", ("list",)),
            Rule("networkpolicies", ("list",), "networking.k8s.io"),
        ),
    ),
    # k8s_clone, in the clone's namespace, for objects of these names
    "clone": Rights(
        (
            Rule("statefulsets", ("create",), _APPS),
            Rule("statefulsets", _CHANGE, _APPS, ("{clone}",)),
            Rule("services", ("create", "list")),
            Rule("services", _CHANGE, names=("{services}",)),
            Rule("configmaps", ("create",)),
            Rule("configmaps", _CHANGE, names=("{config_maps}",)),
            Rule("secrets", ("create",)),  # of our Jobs too
            Rule("secrets", _CHANGE, names=("{secrets}",)),
            Rule("serviceaccounts", ("create",)),
            Rule("serviceaccounts", _CHANGE, names=("{accounts}",)),
            Rule("persistentvolumeclaims", ("create",)),
            Rule("persistentvolumeclaims", _CHANGE, names=("{claims}",)),
            Rule("networkpolicies", ("create",), "networking.k8s.io"),
            Rule("networkpolicies", _CHANGE, "networking.k8s.io", ("{network_policies}",)),
            Rule("poddisruptionbudgets", ("list",), "policy"),  # whose labels it must not have
            Rule("leases", ("create",), "coordination.k8s.io"),
            Rule("leases", _CHANGE, "coordination.k8s.io", ("{leases}",)),
            Rule("jobs", ("create", "get", "list", "patch", "delete"), _BATCH),
            *_FOLLOW,
        ),
        (Rule("storageclasses", _READ, _STORAGE),),  # to say that a claim will never be bound
    ),
    # k8s_recover. Of the names of our Jobs no rule can know; leases: those of these servers, holdfast-recovery-<StatefulSet>.
    "server_restore": Rights(
        (
            Rule("statefulsets", _CHANGE, _APPS, ("{server}",)),
            Rule("configmaps", _READ, names=("{config_maps}",)),  # which PGDATA is from
            Rule("persistentvolumeclaims", _READ, names=("{claims}",)),
            Rule("leases", ("create",), "coordination.k8s.io"),
            Rule("leases", _CHANGE, "coordination.k8s.io", ("{leases}",)),
            Rule("jobs", ("create", "get", "list", "patch", "delete"), _BATCH),
            Rule("secrets", ("create",)),
            *_FOLLOW,
            Rule("horizontalpodautoscalers", ("list",), "autoscaling"),
            Rule("scaledobjects", ("list",), "keda.sh"),
        ),
        (Rule("persistentvolumes", _CHANGE, names=("{volumes}",)),),
    ),
    # On top of that for k8s_replica: the pod, and those of higher numbers, which go with it.
    "replica_restore": Rights((Rule("pods", _READ, names=("{pods}",)),)),
    # cnpg_backup of these Clusters; secrets: those that their object stores name; pods: of which the operator's version is read
    "cnpg_backup": Rights(
        (
            Rule("clusters", _READ, _CNPG, ("{clusters}",)),
            Rule("clusters", ("list",), _CNPG),  # that no other one archives into the same place
            Rule("backups", ("create", "get", "list", "patch"), _CNPG),
            Rule("objectstores", _READ, _BARMAN, ("{object_stores}",)),
            Rule("secrets", _READ, names=("{secrets}",)),
            Rule("pods", _READ),
            Rule("volumesnapshots", _READ, _SNAPSHOT),
            Rule("events", ("list",)),  # why one does not begin
        ),
        (Rule("clusters", ("list",), _CNPG),),  # the same, of other namespaces; what lacks it says so
    ),
    # cnpg_restore. clusters: the source and the new one; secrets: those of the store, and the new one's own (<name>-app); services and claims are
    # looked for by the names that the operator will use, and claims tried by a dry run.
    "cnpg_restore": Rights(
        (
            Rule("clusters", ("create", "list"), _CNPG),
            Rule("clusters", _READ, _CNPG, ("{clusters}",)),
            Rule("backups", ("create", "get", "list"), _CNPG),
            Rule("scheduledbackups", ("list",), _CNPG),
            Rule("objectstores", _READ, _BARMAN, ("{object_stores}",)),
            Rule("secrets", _READ, names=("{secrets}",)),
            Rule("services", _READ),
            Rule("persistentvolumeclaims", ("create", "get", "list")),
            Rule("volumesnapshots", _READ, _SNAPSHOT),
            *_FOLLOW,
        ),
    ),
    # cnpg_cluster; secrets: those that its object store names
    "cnpg_cluster": Rights(
        (
            Rule("clusters", _CHANGE, _CNPG, ("{clusters}",)),
            Rule("objectstores", _READ, _BARMAN, ("{object_stores}",)),
            Rule("secrets", _READ, names=("{secrets}",)),
            Rule("pods", ("list",)),
            Rule("persistentvolumeclaims", ("list",)),
        ),
    ),
    # cnpg_schedule, of schedules of these names
    "cnpg_schedule": Rights(
        (
            Rule("clusters", _READ, _CNPG, ("{clusters}",)),
            Rule("scheduledbackups", ("create", "list"), _CNPG),
            Rule("scheduledbackups", _NAMED, _CNPG, ("{schedules}",)),
        ),
    ),
    # backup_facts with engine: cnpg
    "cnpg_status": Rights(
        (
            Rule("clusters", _READ, _CNPG, ("{clusters}",)),
            Rule("backups", ("list",), _CNPG),
            Rule("scheduledbackups", ("list",), _CNPG),
            Rule("objectstores", _READ, _BARMAN, ("{object_stores}",)),
            Rule("secrets", _READ, names=("{secrets}",)),
            Rule("pods", _READ),
            Rule("volumesnapshots", _READ, _SNAPSHOT),
        ),
    ),
}


def rights_of(job: str, **names: Sequence[str]) -> Rights:
    """The rights of one job, for these names: ``rights_of("snapshot_restore", new_claims=["db"])``. A rule for names of which there
    are none is left out, as one without names would be for all.

    Raises:
        KeyError: no such job, or a name that is not given.
    """
    rights = RIGHTS[job]

    def filled(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        made = []
        for rule in rules:
            given = tuple(name for one in rule.names for name in (names[one[1:-1]] if one.startswith("{") else (one,)))
            if given or not rule.names:
                made.append(replace(rule, names=given))
        return tuple(made)

    return Rights(filled(rights.rules), filled(rights.cluster))


def role(name: str, rules: Sequence[Rule], namespace: str = "") -> Manifest:
    """A Role of these rules; without a namespace a ClusterRole."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": metadata,
        "rules": [rule.manifest() for rule in rules],
    }
