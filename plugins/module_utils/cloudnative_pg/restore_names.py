# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a new Cluster's names are free, its volumes large enough, and its storage within the quota: asked before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.new_cluster import Snapshots, claims
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    AlreadyThere,
    KubernetesError,
    Missing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.restore_objects import bytes_of


def refuse_what_is_taken(cluster: Cluster, made: Manifest) -> None:
    """Raise BadOption: an object of a name that the operator would use is there."""
    name = made["metadata"]["name"]
    application = (made["spec"]["bootstrap"]["recovery"]).get("secret") is None
    wanted = [("Service", f"{name}-{kind}") for kind in ("rw", "ro", "r")]
    wanted += [("PersistentVolumeClaim", f"{name}-1{suffix}") for suffix, _storage in claims(made["spec"])]
    wanted += [("Secret", f"{name}-app")] if application else []
    taken = [f"{kind} {one}" for kind, one in wanted if cluster.get(kind, one) is not None]
    if taken:
        raise BadOption(
            "name", name, f"would need names that are taken: there is the {', the '.join(taken)} in the namespace {cluster.namespace}",
            "Give the new Cluster another name, or remove what an earlier one of that name left.",
        )  # fmt: skip


def refuse_small_volumes(cluster: Cluster, made: Manifest, shots: Snapshots) -> None:
    """Raise BadOption or Missing: a snapshot is not there, cannot be used, or does not fit into the volume that is asked for."""
    sizes = dict(claims(made["spec"]))
    of = {"": shots.data, **({"-wal": shots.wal} if shots.wal else {})}
    of.update({f"-tbs-{space.replace('_', '-')}": name for space, name in shots.tablespaces.items()})
    for suffix, name in of.items():
        found = cluster.get("VolumeSnapshot", name)
        status = (found or {}).get("status") or {}
        if found is None or not status.get("readyToUse"):
            what = "is not there any more" if found is None else "cannot be used yet"
            raise Missing(
                f"The VolumeSnapshot {name} {what}: the backup cannot be restored. Choose another one (backup)."
            )
        if suffix not in sizes:
            raise BadOption(
                "spec", suffix.lstrip("-"), f"is no volume of the new Cluster, and the snapshot {name} is of one",
                "Give it walStorage or tablespaces as the source had them.",
            )  # fmt: skip
        asked, needed = bytes_of(_size(sizes[suffix])), bytes_of(status.get("restoreSize"))
        if asked and asked < needed:
            raise BadOption(
                "spec", _size(sizes[suffix]), f"is smaller than the snapshot {name} ({status['restoreSize']}), and no volume would be made of it",
                f"Ask for at least that: spec: {{storage: {{size: {status['restoreSize']}}}}}.",
            )  # fmt: skip


def refuse_over_quota(cluster: Cluster, made: Manifest) -> None:
    """Have the API server try the claims of the first instance, and keep none: quota, limits and policies have spoken then.

    Raises:
        KubernetesError: they refuse it.
    """
    name, namespace = made["metadata"]["name"], made["metadata"]["namespace"]
    for suffix, storage in claims(made["spec"]):
        template = storage.get("pvcTemplate") or {}
        spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], **template}
        size = _size(storage)
        if size:
            spec["resources"] = {"requests": {"storage": size}}
        if storage.get("storageClass"):
            spec["storageClassName"] = storage["storageClass"]
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"{name}-1{suffix}", "namespace": namespace},
            "spec": spec,
        }
        try:
            cluster.create(claim, dry_run=True)
        except AlreadyThere:
            continue
        except KubernetesError as exc:
            raise KubernetesError(
                f"The new Cluster would get no volume {name}-1{suffix}: {exc} Nothing was made."
            ) from exc


def _size(storage: Mapping[str, Any]) -> Optional[str]:
    template = ((storage.get("pvcTemplate") or {}).get("resources") or {}).get("requests") or {}
    return storage.get("size") or template.get("storage")
