# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claims that a server lies on, from a StatefulSet, a pod, labels, or their names on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import Mount, meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests


@dataclass(frozen=True)
class ServerVolumes:
    """``workload``: what it was found by, as the record says it; ``pod``: the one that is snapshotted, None where none runs; ``claims``:
    by name, those that hold the server; ``volumes``: theirs; ``driver``; ``mounts``: of its container."""

    workload: str
    pod: Optional[Manifest]
    pods: Manifests
    claims: Mapping[str, Manifest]
    volumes: Mapping[str, Manifest]
    driver: str
    template: Manifest
    mounts: Sequence[Mount]
    directory: Optional[str]

    @property
    def addresses(self) -> dict[str, str]:
        """The pods' names, by their addresses."""
        return {
            str(one.get("ip")): meta(pod)["name"]
            for pod in self.pods
            for one in (pod.get("status") or {}).get("podIPs") or ()
        }

    def where(self, directory: Optional[str]) -> dict[str, Any]:
        """On which claim the data directory lies, and where there; null: it is not known."""
        mount = discover.mount_of(directory, self.mounts) if directory else None
        inside = discover.path_in_volume(directory, mount) if directory and mount else None
        return {"directory": directory, "claim": mount.claim if mount else None, "path_in_volume": inside}

    def described(self) -> dict[str, Any]:
        """What a pod needs that is to use these volumes as the server did."""
        container = discover.server_container(self.template) or {}
        of_pod, own = self.template.get("securityContext") or {}, container.get("securityContext") or {}
        return {
            "image": container.get("image"),
            "run_as_user": own.get("runAsUser", of_pod.get("runAsUser")),
            "run_as_group": own.get("runAsGroup", of_pod.get("runAsGroup")),
            "fs_group": of_pod.get("fsGroup"),
            "pull_secrets": [one.get("name") for one in self.template.get("imagePullSecrets") or ()],
            "mounts": [
                {"path": one.path, "sub_path": one.sub_path or None, "claim": one.claim}
                for one in self.mounts
                if one.claim in self.claims
            ],
        }


@dataclass(frozen=True)
class Wanted:
    """Which server, as the options say it: one of the first four."""

    stateful_set: Optional[str] = None
    pod: Optional[str] = None
    selector: Optional[str] = None
    claims: Sequence[str] = ()
    exclude: Sequence[str] = ()

    @property
    def workload(self) -> str:
        """As the record says it."""
        if self.stateful_set:
            return f"StatefulSet {self.stateful_set}"
        if self.pod:
            return f"Pod {self.pod}"
        return f"pods with {self.selector}" if self.selector else f"claims {', '.join(sorted(self.claims))}"


def find(cluster: Cluster, wanted: Wanted, address: Optional[str] = None) -> ServerVolumes:
    """Look. ``address``: of the server that is connected to, by which the primary's pod is told from others.

    Raises:
        Missing: something of it is not there.
        BadOption: it is not clear what is meant, or a claim cannot be snapshotted.
        KubernetesError: it cannot be looked at.
    """
    top, pods = _pods(cluster, wanted)
    pod = _chosen(wanted, pods, address)
    template = spec_of(pod) if pod else spec_of(spec_of(top or {}).get("template") or {})
    made = discover.claims_of(top, (spec_of(top).get("ordinals") or {}).get("start") or 0) if top and not pod else {}
    container = discover.server_container(template) if template else None
    mounts = discover.mounts(template, container, made) if container else []
    names = _names(wanted, mounts, container is not None or not template)
    claims = {name: _claim(cluster, name) for name in names}
    volumes = {name: _volume(cluster, claim) for name, claim in claims.items()}
    drivers = {str(spec_of(volume)["csi"]["driver"]) for volume in volumes.values()}
    if len(drivers) > 1:
        raise BadOption(
            "claims",
            list(names),
            f"are of several drivers ({', '.join(sorted(drivers))})",
            "A snapshot of one backup is by one driver.",
        )
    directory, _by = (
        discover.data_directory(container, discover.environment(container, {})) if container else (None, None)
    )
    return ServerVolumes(wanted.workload, pod, pods, claims, volumes, drivers.pop(), template, mounts, directory)


def users(cluster: Cluster, claims: Sequence[str]) -> list[str]:
    """The pods that use one of the claims, and have not ended."""
    return sorted(
        meta(pod)["name"]
        for pod in cluster.list("Pod")
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and claims_of_pod(pod) & set(claims)
    )


def ended_users(cluster: Cluster, claims: Sequence[str]) -> Manifests:
    """The pods that have ended, and are there still: a claim that one of them names cannot be deleted either.
    https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection"""
    return [
        pod
        for pod in cluster.list("Pod")
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") and claims_of_pod(pod) & set(claims)
    ]


def attached(cluster: Cluster, volumes: Mapping[str, Manifest]) -> list[str]:
    """The volumes of claims that are still attached to a node: what was written there may not be on them yet."""
    names = {meta(volume)["name"] for volume in volumes.values()}
    return sorted(
        f"{name} to {spec_of(one).get('nodeName')}"
        for one in cluster.list("VolumeAttachment")
        if (name := (spec_of(one).get("source") or {}).get("persistentVolumeName")) in names
    )


def claims_of_pod(pod: Manifest) -> set[str]:
    """The names of the claims that a pod uses."""
    name = meta(pod)["name"]
    found = set()
    for volume in spec_of(pod).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.add(str(volume["persistentVolumeClaim"]["claimName"]))
        elif volume.get("ephemeral"):
            found.add(f"{name}-{volume['name']}")
    return found


def _pods(cluster: Cluster, wanted: Wanted) -> tuple[Optional[Manifest], Manifests]:
    """The StatefulSet, where one was named, and the pods that may be the server's."""
    where = f"in namespace {cluster.namespace}"
    if wanted.stateful_set:
        top = cluster.get("StatefulSet", wanted.stateful_set)
        if top is None:
            raise Missing(f"There is no StatefulSet {wanted.stateful_set} {where}.")
        uid = meta(top).get("uid")
        mine = [
            pod
            for pod in cluster.list("Pod")
            if any(owner.get("uid") == uid for owner in meta(pod).get("ownerReferences") or ())
        ]
        return top, sorted(mine, key=lambda one: (len(meta(one)["name"]), meta(one)["name"]))
    if wanted.pod:
        found = cluster.get("Pod", wanted.pod)
        if found is None:
            raise Missing(f"There is no pod {wanted.pod} {where}.")
        return None, [found]
    if wanted.selector:
        pods = cluster.list("Pod", wanted.selector)
        if not pods:
            raise Missing(f"No pod {where} has the labels {wanted.selector}.")
        return None, pods
    return None, [pod for pod in cluster.list("Pod") if claims_of_pod(pod) & set(wanted.claims) and not _ended(pod)]


def _ended(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _chosen(wanted: Wanted, pods: Manifests, address: Optional[str]) -> Optional[Manifest]:
    """The primary's pod; None: there is none at all. Raises BadOption: nobody can tell which."""
    if not pods:
        return None
    name, _by = discover.primary(pods, address)
    found = next((pod for pod in pods if meta(pod)["name"] == name), None)
    if found is None:
        names = ", ".join(meta(pod)["name"] for pod in pods)
        option = next(one for one in ("stateful_set", "selector", "claims") if getattr(wanted, one))
        raise BadOption(
            option,
            getattr(wanted, option),
            f"has several pods ({names}), and nothing says which is the primary",
            "Name the pod, or connect to the server (login_*) at its own address.",
        )
    return found


def _names(wanted: Wanted, mounts: Sequence[Mount], known: bool) -> list[str]:
    """The claims to snapshot: all that the server's container mounts, as WAL and tablespaces may be on any. Raises BadOption."""
    mounted = list(dict.fromkeys(one.claim for one in mounts if one.claim))
    if not known:
        raise BadOption(
            "stateful_set"
            if wanted.stateful_set
            else "pod"
            if wanted.pod
            else "selector"
            if wanted.selector
            else "claims",
            wanted.workload,
            "has several containers, and none of them is known as PostgreSQL's",
            "Its container wants the variable PGDATA, or an image that is called after PostgreSQL.",
        )
    strange = [name for name in wanted.exclude if name not in (mounted or wanted.claims)]
    if strange:
        raise BadOption("exclude_claims", strange, "is none of the server's claims", f"It has: {', '.join(mounted)}.")
    if wanted.claims:
        left_out = [name for name in mounted if name not in wanted.claims and name not in wanted.exclude]
        if left_out:
            raise BadOption(
                "claims", list(wanted.claims), f"leaves out {', '.join(left_out)}, on which the server may have WAL or tablespaces",
                "Name it too; or, where it holds nothing of the server, name it in exclude_claims.",
            )  # fmt: skip
    names = [name for name in (wanted.claims or mounted) if name not in wanted.exclude]
    if not names:
        raise BadOption(
            "exclude_claims" if wanted.exclude else "stateful_set", wanted.workload, "lies on no persistent volume claim",
            "There is nothing that a snapshot could be made of.",
        )  # fmt: skip
    return names


def _claim(cluster: Cluster, name: str) -> Manifest:
    found = cluster.get("PersistentVolumeClaim", name)
    if found is None:
        raise Missing(f"There is no claim {name} in namespace {cluster.namespace}.")
    phase = (found.get("status") or {}).get("phase")
    if phase != "Bound":
        raise KubernetesError(
            f"The claim {cluster.namespace}/{name} is {phase or 'not yet seen'}, and has no volume that could be snapshotted."
        )
    return found


def _volume(cluster: Cluster, claim: Manifest) -> Manifest:
    name = str(spec_of(claim).get("volumeName"))
    found = cluster.get("PersistentVolume", name)
    if found is None:
        raise Missing(f"The volume {name} of the claim {meta(claim)['name']} is not there.")
    if not (spec_of(found).get("csi") or {}).get("driver"):
        raise KubernetesError(
            f"The volume {name} of the claim {meta(claim)['name']} is of no CSI driver, so that it cannot be snapshotted: back the server up by "
            "pg_backup (engine: pg_basebackup)."
        )
    return found
