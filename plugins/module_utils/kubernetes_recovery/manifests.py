# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of a recovery beside the one of our playbook (pure): a script beside the data, and the server's own image that recovers in private."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import MANAGED_BY, RECOVERY
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import MESSAGE
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.scripts import SERVER
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import PRIVATE

SHARED = "/holdfast"
#: where an image may have this collection
_COLLECTIONS = "/usr/share/ansible/collections:/home/runner/.ansible/collections:/root/.ansible/collections"
_WATCH = (
    'PYTHONPATH="${ANSIBLE_COLLECTIONS_PATH:-' + _COLLECTIONS + '}" exec python3 -m '
    "ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.watching"
)

#: What would begin to work by itself finds no worker. As it answers only when it has ended the recovery, it needs no more connections than it has.
IN_A_POD = {
    **PRIVATE,
    "port": "5432",  # names the socket
    "hot_standby": "off",
    "max_worker_processes": "0",
}


def script_job(
    name: str,
    place: Place,
    script: str,
    variables: Mapping[str, str],
    image: str,
    user: Optional[int],
    group: Optional[int],
    deadline: int,
    node: Optional[str] = None,
    pull_secrets: tuple[str, ...] = (),
    pull_policy: Optional[str] = None,
) -> Manifest:
    """A Job of our image, with the volume where the server's pod has it."""
    mount: Manifest = {"name": "data", "mountPath": place.mount}
    if place.sub_path:
        mount["subPath"] = place.sub_path
    container = _container(
        "script", image, ["sh", "-c", script], variables, [mount, _mount("tmp", "/tmp")], pull_policy
    )
    container["securityContext"]["readOnlyRootFilesystem"] = True
    volumes = [_claim(place), {"name": "tmp", "emptyDir": {}}]
    return _job(name, place, [container], volumes, user, group, deadline, node, pull_secrets)


def private_job(
    name: str,
    place: Place,
    directory: str,
    user: int,
    group: int,
    image: str,
    variables: Mapping[str, str],
    deadline: int,
    pull_secrets: tuple[str, ...] = (),
    pull_policy: Optional[str] = None,
) -> Manifest:
    """A Job in which the server's own image recovers what is laid out in ``directory``, at the very path that it will have, and ours watches."""
    data: Manifest = {"name": "data", "mountPath": place.data}
    if place.in_volume(directory):
        data["subPath"] = place.in_volume(directory)
    shared = _mount("shared", SHARED)
    told = {"PGDATA": place.data, "SHARED": SHARED}
    arguments = [part for key, value in IN_A_POD.items() for part in ("-c", f"{key}={value}")]
    mounts, own = _configuration(place)
    server = _container(
        "server", place.image, ["sh", "-c", SERVER, "sh", *arguments], told, [data, shared, *mounts],
        place.container.get("imagePullPolicy"),
    )  # fmt: skip
    if place.container.get("resources"):
        server["resources"] = dict(place.container["resources"])
    watch = _container(
        "holdfast", image, ["sh", "-c", _WATCH], {**told, "HOME": "/tmp", "SUPERUSERS": " ".join(place.superusers), **variables},
        [data, shared, _mount("tmp", "/tmp")], pull_policy,
    )  # fmt: skip
    volumes = [_claim(place), {"name": "shared", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, *own]
    return _job(name, place, [watch, server], volumes, user, group, deadline, None, pull_secrets)


def _configuration(place: Place) -> tuple[list[Manifest], list[Manifest]]:
    """Mounts and volumes of what the server's configuration may read beside the data: ConfigMaps, Secrets and their like."""
    kinds = ("configMap", "secret", "projected", "downwardAPI")
    volumes = {one["name"]: one for one in place.template.get("volumes") or () if any(one.get(kind) for kind in kinds)}
    mounts = [
        {**one, "name": f"own-{one['name']}"[:63]}
        for one in place.container.get("volumeMounts") or ()
        if one["name"] in volumes and not one.get("subPathExpr")
    ]
    used = {one["name"] for one in place.container.get("volumeMounts") or ()}
    return mounts, [{**one, "name": f"own-{name}"[:63]} for name, one in volumes.items() if name in used]


def _mount(name: str, path: str) -> Manifest:
    return {"name": name, "mountPath": path}


def _claim(place: Place) -> Manifest:
    return {"name": "data", "persistentVolumeClaim": {"claimName": place.claim}}


def _container(
    name: str,
    image: str,
    command: list[str],
    variables: Mapping[str, str],
    mounts: list[Manifest],
    pull_policy: Optional[str],
) -> Manifest:
    made: Manifest = {
        "name": name,
        "image": image,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": MESSAGE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    if pull_policy:
        made["imagePullPolicy"] = pull_policy
    return made


def _job(
    name: str,
    place: Place,
    containers: list[Manifest],
    volumes: list[Manifest],
    user: Optional[int],
    group: Optional[int],
    deadline: int,
    node: Optional[str],
    pull_secrets: tuple[str, ...],
) -> Manifest:
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if user is not None:
        context["runAsUser"] = user
    if group is not None:
        context["runAsGroup"] = group
    if place.fs_group is not None:
        context.update(fsGroup=place.fs_group, fsGroupChangePolicy="OnRootMismatch")
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": context,
        "containers": containers,
        "volumes": volumes,
    }
    for key in ("nodeSelector", "tolerations"):
        if place.template.get(key):
            spec[key] = place.template[key]
    # The server's image is pulled as the server pulls it.
    secrets = dict.fromkeys(
        [*pull_secrets, *(str(one.get("name")) for one in place.template.get("imagePullSecrets") or ())]
    )
    if secrets:
        spec["imagePullSecrets"] = [{"name": one} for one in secrets]
    if node:
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
        spec["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        }
    labels = {**MANAGED_BY, RECOVERY: place.stateful_set}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": place.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",  # no second pod while the first one still ends
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": 7 * 86400,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
