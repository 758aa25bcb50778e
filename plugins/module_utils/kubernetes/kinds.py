# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of objects, with where the API has them: what is well known is not asked for (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: an object, as the API writes it
Manifest = dict[str, Any]
Manifests = list[Manifest]


@dataclass(frozen=True)
class Kind:
    """A kind: its ``name`` (``StatefulSet``), ``api_version`` (``apps/v1``), and ``plural``, by which URLs and rights name it."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def root(self) -> str:
        """Where the API has this group and version."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of an object, or of all of a namespace; without one, of all namespaces."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, *filter(None, (self.plural, name, subresource))])


_CORE, _APPS, _BATCH = "v1", "apps/v1", "batch/v1"
_RBAC, _STORAGE = "rbac.authorization.k8s.io/v1", "storage.k8s.io/v1"
_SNAPSHOT = "snapshot.storage.k8s.io/v1"

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("Namespace", _CORE, "namespaces", False),
        Kind("Node", _CORE, "nodes", False),
        Kind("PersistentVolume", _CORE, "persistentvolumes", False),
        Kind("ConfigMap", _CORE, "configmaps"),
        Kind("Event", _CORE, "events"),
        Kind("PersistentVolumeClaim", _CORE, "persistentvolumeclaims"),
        Kind("Pod", _CORE, "pods"),
        Kind("ResourceQuota", _CORE, "resourcequotas"),
        Kind("Secret", _CORE, "secrets"),
        Kind("Service", _CORE, "services"),
        Kind("ServiceAccount", _CORE, "serviceaccounts"),
        Kind("ControllerRevision", _APPS, "controllerrevisions"),
        Kind("DaemonSet", _APPS, "daemonsets"),
        Kind("Deployment", _APPS, "deployments"),
        Kind("ReplicaSet", _APPS, "replicasets"),
        Kind("StatefulSet", _APPS, "statefulsets"),
        Kind("CronJob", _BATCH, "cronjobs"),
        Kind("Job", _BATCH, "jobs"),
        Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
        Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
        Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
        Kind("Lease", "coordination.k8s.io/v1", "leases"),
        Kind("Role", _RBAC, "roles"),
        Kind("RoleBinding", _RBAC, "rolebindings"),
        Kind("ClusterRole", _RBAC, "clusterroles", False),
        Kind("ClusterRoleBinding", _RBAC, "clusterrolebindings", False),
        Kind("StorageClass", _STORAGE, "storageclasses", False),
        Kind("VolumeAttachment", _STORAGE, "volumeattachments", False),
        Kind("VolumeSnapshot", _SNAPSHOT, "volumesnapshots"),
        Kind("VolumeSnapshotContent", _SNAPSHOT, "volumesnapshotcontents", False),
        Kind("VolumeSnapshotClass", _SNAPSHOT, "volumesnapshotclasses", False),
        Kind("ScaledObject", "keda.sh/v1alpha1", "scaledobjects"),
        Kind("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions", False),
        Kind("SelfSubjectAccessReview", "authorization.k8s.io/v1", "selfsubjectaccessreviews", False),
    )
}


def kind_of(manifest: Manifest) -> str:
    """An object's kind, as a Cluster takes it: ``Job``, or ``group/version/Kind`` of what is not known here."""
    name, api_version = manifest["kind"], manifest["apiVersion"]
    return name if name in KINDS and KINDS[name].api_version == api_version else f"{api_version}/{name}"


def name_of(manifest: Manifest) -> str:
    """An object as people call it: ``Job shop/backup``."""
    metadata = manifest.get("metadata") or {}
    names = [metadata.get("namespace"), metadata.get("name") or metadata.get("generateName")]
    return f"{manifest.get('kind', 'object')} {'/'.join(filter(None, names))}"
