# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``k8s_server_info`` returns, from the objects that were read and what the server itself said (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover, images
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import Mount, Objects, meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests

_DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class Asked:
    """What the server itself said, where it was asked: its address as it sees it, whether it is a standby, and where things lie.
    ``replication``: why a replication connection is refused, empty where it is not, None where that was not tried."""

    address: Optional[str] = None
    in_recovery: Optional[bool] = None
    version_num: Optional[int] = None
    data_directory: Optional[str] = None
    wal_directory: Optional[str] = None
    tablespaces: tuple[str, ...] = ()
    replication: Optional[str] = None
    hba_file: Optional[str] = None


def describe(found: Objects, container_name: str = "", asked: Optional[Asked] = None) -> dict[str, Any]:
    """All that is to know. What is not known is None."""
    asked = asked or Asked()
    top = found.stateful_set
    controller = top or found.deployment
    container = discover.server_container(found.template, container_name)
    variables = discover.environment(container, found.config_maps) if container else {}
    primary, by = discover.primary(found.pods, asked.address if asked.in_recovery is False else None)
    pod = next((one for one in found.pods if meta(one)["name"] == primary), found.pods[0] if found.pods else None)
    pod_spec = spec_of(pod) if pod else found.template
    labels = meta(pod or spec_of(top or {}).get("template") or {}).get("labels") or {}
    image = str(container.get("image") or "") if container else ""
    used = discover.references(found.template, container, variables)
    services = (
        None
        if found.services is None
        else discover.services(found.services, labels, str(spec_of(top or {}).get("serviceName") or ""))
    )
    mounts = _mounts(found, container, pod)
    data = _data(found, container, variables, mounts, asked)
    return {
        "stateful_set": meta(top)["name"] if top else None,
        "deployment": meta(found.deployment)["name"] if found.deployment else None,
        "replicas": spec_of(controller).get("replicas", 1) if controller else None,
        "pods": [_pod(one) for one in found.pods],
        "primary": primary,
        "primary_by": by,
        "container": container.get("name") if container else None,
        "image": image or None,
        "major_version": asked.version_num // 10000 if asked.version_num else images.major(image) if image else None,
        "libc": images.libc(image) if image else None,
        **_ids(pod_spec, container or {}),
        "service": services[0]["name"] if services else None,
        "services": services,
        "data": data,
        "hba_file": _hba_file(container, data["directory"], mounts, asked),
        "claims": [_claim(name, found, mounts, asked) for name in found.claims],
        "config_maps": list(used.config_maps),
        "secrets": list(used.secrets),
        "pull_secrets": list(used.pull_secrets),
        "password": used.password,
        "service_account": pod_spec.get("serviceAccountName"),
        **_keepers(found, controller or pod or {}),
    }


def _pod(pod: Manifest) -> dict[str, Any]:
    status = pod.get("status") or {}
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
    return {
        "name": meta(pod)["name"],
        "node": spec_of(pod).get("nodeName"),
        "address": status.get("podIP"),
        "phase": status.get("phase"),
        "ready": ready,
    }


def _ids(pod_spec: Manifest, container: Manifest) -> dict[str, Any]:
    """Numbers that a Job beside the server's volume needs; None: the image's own."""
    of_pod, own = pod_spec.get("securityContext") or {}, container.get("securityContext") or {}
    return {
        "run_as_user": own.get("runAsUser", of_pod.get("runAsUser")),
        "run_as_group": own.get("runAsGroup", of_pod.get("runAsGroup")),
        "fs_group": of_pod.get("fsGroup"),
        "fs_group_change_policy": of_pod.get("fsGroupChangePolicy"),
    }


def _mounts(found: Objects, container: Optional[Manifest], pod: Optional[Manifest]) -> list[Mount]:
    if container is None:
        return []
    made: dict[str, str] = {}
    if found.stateful_set is not None and pod is None:
        made = discover.claims_of(
            found.stateful_set, (spec_of(found.stateful_set).get("ordinals") or {}).get("start") or 0
        )
    spec = spec_of(pod) if pod else found.template
    mounts = discover.mounts(spec, container, made)
    if pod is None:
        return mounts
    name = meta(pod)["name"]
    return [replace(one, claim=f"{name}-{one.volume}") if one.source == "ephemeral" else one for one in mounts]


def _data(
    found: Objects,
    container: Optional[Manifest],
    variables: Mapping[str, Optional[str]],
    mounts: list[Mount],
    asked: Asked,
) -> dict[str, Any]:
    """Where PGDATA is."""
    path, by = (asked.data_directory, "server") if asked.data_directory else (None, None)
    if path is None and container is not None:
        path, by = discover.data_directory(container, variables)
    mount = discover.mount_of(path, mounts) if path else None
    source, persistent = _kept(path, mount, str((container or {}).get("image") or ""))
    inside = discover.path_in_volume(path, mount) if path and mount else None
    waldir = asked.wal_directory or variables.get("POSTGRES_INITDB_WALDIR")
    wal = discover.mount_of(waldir or f"{path}/pg_wal", mounts) if path else None
    return {
        "directory": path,
        "directory_by": by,
        "volume": mount.volume if mount else None,
        "source": source if container else None,
        "claim": mount.claim if mount else None,
        "mount_path": mount.path if mount else None,
        "sub_path": mount.sub_path or None if mount else None,
        "path_in_volume": inside,
        "at_volume_root": None if inside is None else inside == "",
        "persistent": persistent if container else None,
        "wal_claim": wal.claim if wal and mount and wal.volume != mount.volume else None,
    }


def _hba_file(container: Optional[Manifest], data: Optional[str], mounts: list[Mount], asked: Asked) -> dict[str, Any]:
    """Where pg_hba.conf is, and in which object."""
    path = discover.rules_file(container, data, asked.hba_file) if container else asked.hba_file
    mount = discover.mount_of(path, mounts) if path else None
    return {
        "path": path,
        "source": (mount.source if mount else "container") if path else None,
        "name": (mount.claim or mount.of) if mount else None,
        "path_in_volume": discover.path_in_volume(path, mount) if path and mount else None,
    }


def _kept(path: Optional[str], mount: Optional[Mount], image: str) -> tuple[Optional[str], Optional[bool]]:
    """What a path lies on, and whether that outlives the pod; None: it is not known."""
    if path is None:
        return None, None
    if mount is None:
        return "container", False
    declared, certain = images.declared_volume(image)
    hidden = declared != mount.path and discover.below(declared, mount.path) and discover.below(path, declared)
    if mount.source == "persistentVolumeClaim" and hidden:
        return "imageVolume", False if certain else None
    return mount.source, mount.source == "persistentVolumeClaim"


def _claim(name: str, found: Objects, mounts: list[Mount], asked: Asked) -> dict[str, Any]:
    claim = found.claims[name]
    spec, status = spec_of(claim), claim.get("status") or {}
    volume = found.volumes.get(str(spec.get("volumeName")))
    storage_class = found.classes.get(str(spec.get("storageClassName")))
    driver = ((spec_of(volume).get("csi") or {}).get("driver") if volume else None) or (storage_class or {}).get(
        "provisioner"
    )
    mine = [one for one in mounts if one.claim == name]
    return {
        "name": name,
        "phase": status.get("phase"),
        "size": (status.get("capacity") or {}).get("storage"),
        "access_modes": spec.get("accessModes"),
        "mounts": [{"path": one.path, "sub_path": one.sub_path or None} for one in mine],
        "tablespaces": [
            path for path in asked.tablespaces if (on := discover.mount_of(path, mounts)) and on.claim == name
        ],
        "volume": spec.get("volumeName"),
        "reclaim_policy": spec_of(volume).get("persistentVolumeReclaimPolicy") if volume else None,
        "storage_class": spec.get("storageClassName"),
        "binding_mode": (storage_class or {}).get("volumeBindingMode"),
        "driver": driver,
        "snapshot_class": snapshot_class(driver, found.snapshot_classes),
    }


def snapshot_class(driver: Optional[str], classes: Optional[Manifests]) -> Optional[str]:
    """The class of snapshots of a driver: its default one, else its only one; None: there is none, or it is not known."""
    mine = [one for one in classes or () if one.get("driver") == driver]
    default = [one for one in mine if (meta(one).get("annotations") or {}).get(_DEFAULT_CLASS) == "true"]
    chosen = default if default else mine
    return meta(chosen[0])["name"] if len(chosen) == 1 else None


def _keepers(found: Objects, top: Manifest) -> dict[str, Any]:
    """Who scales it, keeps it, or takes changes back."""
    name, kind = meta(top).get("name"), top.get("kind")

    def targets(one: Manifest, default: str) -> bool:
        target = spec_of(one).get("scaleTargetRef") or {}
        return bool(target.get("name") == name and target.get("kind", default) == kind)

    # Who scales a pod's Deployment is not known where that could not be looked at.
    hidden = any(
        one.get("kind") == "ReplicaSet" and one.get("controller") for one in meta(top).get("ownerReferences") or ()
    )
    policy = spec_of(top).get("persistentVolumeClaimRetentionPolicy") or {}
    names = {
        "autoscalers": None if hidden else found.autoscalers and [one for one in found.autoscalers if targets(one, "")],
        "keda": None
        if hidden
        else found.scaled_objects and [one for one in found.scaled_objects if targets(one, "Deployment")],
        "disruption_budgets": found.budgets,
    }
    return {
        **{key: None if some is None else [meta(one)["name"] for one in some] for key, some in names.items()},
        "claim_retention": {
            "when_scaled": policy.get("whenScaled", "Retain"),
            "when_deleted": policy.get("whenDeleted", "Retain"),
        }
        if found.stateful_set is not None
        else None,
        **discover.owners(top),
    }
