# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod refers to in its namespace: each kind, with the dictionary and key that have the name, to read or to change (pure).

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ has all fields.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

Reference = tuple[str, Manifest, str]


def of_pod(pod: Manifest) -> Iterator[Reference]:
    """All of a pod's specification."""
    yield from read_by_containers(pod)
    for volume in pod.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"], "claimName"
    yield from (("Secret", one, "name") for one in pod.get("imagePullSecrets") or () if one.get("name"))
    if pod.get("serviceAccountName"):
        yield "ServiceAccount", pod, "serviceAccountName"


def read_by_containers(pod: Manifest) -> Iterator[Reference]:
    """ConfigMaps and Secrets of volumes and variables."""
    for volume in pod.get("volumes") or ():
        if str(volume.get("name")).startswith("kube-api-access-"):  # put into each pod by the API server
            continue
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            if source.get("configMap"):
                yield "ConfigMap", source["configMap"], "name"
            if source.get("secret"):
                yield "Secret", source["secret"], "secretName" if "secretName" in source["secret"] else "name"
        for source in (one for one in volume.values() if isinstance(one, dict)):
            # azureFile; cephfs, iscsi, rbd, …; csi
            if source.get("secretName") and source is not volume.get("secret"):
                yield "Secret", source, "secretName"
            for name in ("secretRef", "nodePublishSecretRef"):
                if (source.get(name) or {}).get("name"):
                    yield "Secret", source[name], "name"
    for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
        for entry in (
            *(container.get("envFrom") or ()),
            *(one.get("valueFrom") or {} for one in container.get("env") or ()),
        ):
            for name, kind in _VARIABLES:
                if (entry.get(name) or {}).get("name"):
                    yield kind, entry[name], "name"


_VARIABLES = (
    ("configMapRef", "ConfigMap"), ("secretRef", "Secret"), ("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")
)  # fmt: skip
