# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object as somebody would write it: without what a cluster adds to it (pure).

What a client may write and what servers and controllers fill in is said by the API's reference (kubernetes.io, "Kubernetes API"), per field:
metadata by "Object Meta", addresses and ports of Services by "Service", ``volumeName`` by "Persistent Volumes" (binding), annotations by
"Well-Known Labels, Annotations and Taints", finalizers by "Finalizers", ownerReferences by "Owners and Dependents" (they hold uids, which no other
cluster has, and objects whose owner is not there are deleted), tokens by "Service Accounts".
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import REPLICAS, SUSPEND
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX

#: of metadata, all that a person writes; the rest is the servers' and the controllers'
_METADATA = ("name", "namespace", "labels", "annotations")
#: annotations that servers, controllers and clients leave for themselves
_ANNOTATIONS = re.compile(
    r"kubectl\.kubernetes\.io/last-applied-configuration"
    r"|deployment\.kubernetes\.io/.*"
    r"|pv\.kubernetes\.io/.*"
    r"|volume(\.beta)?\.kubernetes\.io/(storage-provisioner|selected-node|storage-resizer)"
    r"|control-plane\.alpha\.kubernetes\.io/.*"
    r"|autoscaling\.alpha\.kubernetes\.io/.*"
    r"|endpoints\.kubernetes\.io/.*"
    r"|batch\.kubernetes\.io/.*|cronjob\.kubernetes\.io/.*"
    r"|openshift\.io/(internal-registry-.*|token-secret\..*)"
    # what our runs note on what they work at: a recovery, swap, clone or replica that is not ended; all but what tells our own objects
    rf"|{re.escape(PREFIX)}(?!(server|server-name|task|schedule|deployment|digest|rules)$).*"
)
#: fields by kind; ``*`` is each item of a list
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Service": ("spec.healthCheckNodePort",),
    # What it was filled from once: it would be filled from that again, or wait for it for ever.
    "PersistentVolumeClaim": ("spec.volumeName", "spec.dataSource", "spec.dataSourceRef"),
    "StatefulSet": ("spec.volumeClaimTemplates.*.status",),
    "Pod": ("spec.nodeName",),
}
# Made for each namespace, or each account, by controllers.
_OF_EACH_NAMESPACE = {
    ("ConfigMap", "kube-root-ca.crt"),
    ("ConfigMap", "openshift-service-ca.crt"),
    ("ServiceAccount", "default"),
}
_TOKENS = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
_OF_ACCOUNT = re.compile(r".*-(token|dockercfg)-[a-z0-9]{5}")
#: kinds that hold what somebody or something wrote once, so that whoever owns them may not write the same again
_HOLDS = ("Secret", "ConfigMap", "PersistentVolumeClaim")


def made_by_cluster(manifest: Manifest) -> Optional[str]:
    """Why an object is none to keep, as the end of a sentence: the cluster makes it anew; None: nobody would."""
    kind, name = str(manifest.get("kind")), str(meta(manifest).get("name"))
    if (kind, name) in _OF_EACH_NAMESPACE:
        return "is made in every namespace by the cluster itself"
    if kind == "Secret" and manifest.get("type") in _TOKENS:
        return "is a token, which only this cluster takes"
    owner = controller(manifest)
    if owner is not None and (kind not in _HOLDS or owner.get("kind") == "Pod"):
        # A claim of a pod's ephemeral volume that has another owner keeps the pod from starting.
        return f"is made by {owner.get('kind')} {owner.get('name')}, which keeps it"
    return None


def controller(manifest: Manifest) -> Optional[Manifest]:
    """The owner that keeps an object as it is; None: nobody does."""
    owners = meta(manifest).get("ownerReferences") or ()
    return next((one for one in owners if one.get("controller")), None)


def strip(manifest: Manifest) -> Manifest:
    """The object without what the cluster added; what has none of that is as it was."""
    kept: Manifest = {key: copy.deepcopy(value) for key, value in manifest.items() if key not in ("status", "metadata")}
    kept["metadata"] = _metadata(meta(manifest))
    kind = str(manifest.get("kind"))
    for path in _FIELDS.get(kind, ()):
        _drop(kept, path.split("."))
    if kind == "Service" and meta(manifest).get("uid"):  # what has none no server filled in: it was stripped before
        _service(kept, manifest)
    if kind == "ServiceAccount":
        _account(kept)
    _running(kept, manifest)
    _never_created(kept)
    _without_alias(kept)
    return {key: kept[key] for key in ("apiVersion", "kind", "metadata", *sorted(kept)) if key in kept}


def _metadata(found: Mapping[str, Any]) -> Manifest:
    kept = {key: copy.deepcopy(found[key]) for key in _METADATA if found.get(key)}
    notes = {key: value for key, value in (kept.get("annotations") or {}).items() if not _ANNOTATIONS.fullmatch(key)}
    kept.pop("annotations", None)
    return {**kept, **({"annotations": notes} if notes else {})}


def _drop(value: Any, path: list[str]) -> None:
    head, rest = path[0], path[1:]
    if head == "*":
        for item in value if isinstance(value, list) else ():
            _drop(item, rest)
    elif isinstance(value, dict) and head in value:
        if rest:
            _drop(value[head], rest)
        else:
            del value[head]


def _service(kept: Manifest, manifest: Manifest) -> None:
    """Addresses and ports that were allocated go; what somebody chose stays: the API server writes down who did."""
    spec = kept.get("spec") or {}
    chosen = json.dumps([entry.get("fieldsV1") for entry in meta(manifest).get("managedFields") or ()])
    if spec.get("clusterIP") != "None" and '"f:clusterIP"' not in chosen:
        spec.pop("clusterIP", None)
    if spec.get("clusterIPs") != ["None"]:
        spec.pop("clusterIPs", None)
    ports = _chosen_ports(manifest)
    for port in spec.get("ports") or ():
        if (port.get("port"), port.get("protocol", "TCP")) not in ports:
            port.pop("nodePort", None)
    if spec.get("ipFamilyPolicy") == "SingleStack" and '"f:ipFamilies"' not in chosen:  # which one, the cluster says
        spec.pop("ipFamilyPolicy")
        spec.pop("ipFamilies", None)


def _chosen_ports(manifest: Manifest) -> set[tuple[Any, Any]]:
    """Ports, with their protocols, whose port of the nodes somebody chose.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management has the form (``k:{"port":5432,"protocol":"TCP"}``).
    """
    found = set()
    for entry in meta(manifest).get("managedFields") or ():
        ports = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:ports") or {}
        for name, fields in ports.items():
            if name.startswith("k:") and "f:nodePort" in fields:
                port = json.loads(name[2:])
                found.add((port.get("port"), port.get("protocol", "TCP")))
    return found


def _account(kept: Manifest) -> None:
    for field in ("secrets", "imagePullSecrets"):
        own = [one for one in kept.get(field) or () if not _OF_ACCOUNT.fullmatch(str(one.get("name")))]
        kept.pop(field, None)
        if own:
            kept[field] = own


def _running(kept: Manifest, manifest: Manifest) -> None:
    """What is stopped for a while (k8s_apps) has the count that it had."""
    notes, spec = meta(manifest).get("annotations") or {}, kept.get("spec")
    if not isinstance(spec, dict):
        return
    if manifest.get("kind") in ("StatefulSet", "Deployment"):
        count = str(notes.get(REPLICAS, ""))
        if count.isdecimal() and not spec.get("replicas"):
            spec["replicas"] = int(count)
    if manifest.get("kind") == "CronJob" and SUSPEND in notes and spec.get("suspend"):
        spec["suspend"] = False


def _never_created(value: Any) -> None:
    """Templates have ``creationTimestamp: null``, as Go writes an empty time."""
    if isinstance(value, dict):
        if "creationTimestamp" in value and value["creationTimestamp"] is None:
            del value["creationTimestamp"]
        for inner in value.values():
            _never_created(inner)
    elif isinstance(value, list):
        for inner in value:
            _never_created(inner)


def _without_alias(manifest: Manifest) -> None:
    """``serviceAccount`` is an old name of ``serviceAccountName``, and both are written."""
    for spec in pod_specs(manifest):
        if "serviceAccountName" in spec:
            spec.pop("serviceAccount", None)


def pod_specs(manifest: Manifest) -> list[Manifest]:
    """The specifications of pods in an object, to read or to change."""
    spec = spec_of(manifest)
    if manifest.get("kind") == "Pod":
        return [spec]
    if manifest.get("kind") == "CronJob":
        spec = spec_of(spec.get("jobTemplate") or {})
    template = spec.get("template") if manifest.get("kind") in _WITH_PODS else None
    return [template["spec"]] if isinstance(template, dict) and isinstance(template.get("spec"), dict) else []


_WITH_PODS = ("StatefulSet", "Deployment", "CronJob", "DaemonSet", "ReplicaSet", "Job")
