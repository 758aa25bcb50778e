# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VolumeSnapshots as objects: what is made, and what of them is written down (pure).

https://kubernetes.io/docs/concepts/storage/volume-snapshots/, and the types of kubernetes-csi/external-snapshotter, v1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX, SERVER, label, labels
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import (
    Progress,
    is_cut,
    progress_of,
)

REPOSITORY, BACKUP, COMPLETE, CLAIM = (f"{PREFIX}{name}" for name in ("repository", "backup", "complete", "claim"))
#: annotation with the id as it is: a label cannot have every one
BACKUP_ID = f"{PREFIX}backup-id"
_DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
_LONGEST = 63
_DIGEST = 8
# What a cluster writes onto claims by itself, and must not be taken over to another one.
_OF_CLUSTER = re.compile(
    r"^(pv\.kubernetes\.io|volume\.(beta\.)?kubernetes\.io|kubectl\.kubernetes\.io|holdfast\.postgres)/"
)
API_VERSION = "snapshot.storage.k8s.io/v1"


def name_of_snapshot(repository: str, server_name: str, backup_id: str, claim: str) -> str:
    """The name of a snapshot: told apart from that of any other backup, server and repository."""
    mark = hashlib.sha256("\n".join((repository, server_name, backup_id, claim)).encode()).hexdigest()[:_DIGEST]
    begin = re.sub(r"[^a-z0-9]+", "-", f"{backup_id}-{claim}".lower()).strip("-")[: _LONGEST - 1 - _DIGEST].strip("-")
    return f"{begin}-{mark}"


def selector(repository: str, server_name: str, backup_id: Optional[str] = None) -> str:
    """Labels of all snapshots of a server's backups in a repository, or of one of them."""
    one = f",{BACKUP}={label(backup_id)}" if backup_id else ""
    return f"{REPOSITORY}={repository},{SERVER}={label(server_name)}{one}"


def manifest(
    name: str,
    namespace: str,
    claim: str,
    snapshot_class: Optional[str],
    repository: str,
    server_name: str,
    backup_id: str,
) -> Manifest:
    """A snapshot that is to be made. It is marked as incomplete until its backup exists."""
    spec: Manifest = {"source": {"persistentVolumeClaimName": claim}}
    if snapshot_class:
        spec["volumeSnapshotClassName"] = snapshot_class
    return {
        "apiVersion": API_VERSION,
        "kind": "VolumeSnapshot",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                **labels(server_name),
                REPOSITORY: repository,
                BACKUP: label(backup_id),
                CLAIM: label(claim),
                COMPLETE: "false",
            },
            "annotations": {BACKUP_ID: backup_id},
        },
        "spec": spec,
    }


def cut(found: Manifest) -> Progress:
    """Of a snapshot: whether it is of a moment that has passed. The driver may still copy it elsewhere, which takes long."""
    said = progress_of(found)
    return Progress("done") if not said.failed and is_cut(found) else said


def class_of(driver: str, classes: Manifests, wanted: Optional[str]) -> tuple[Optional[str], str]:
    """The snapshot class to name (None: the driver's default one), and its deletionPolicy.

    Raises:
        BadOption: there is none, it is another driver's, or nothing says which one of several. The controller would leave the snapshot
            as it is for ever.
    """
    mine = [one for one in classes if one.get("driver") == driver]
    names = ", ".join(sorted(meta(one)["name"] for one in mine))
    if wanted:
        found = next((one for one in classes if meta(one)["name"] == wanted), None)
        if found is None:
            raise BadOption(
                "snapshot_class", wanted, "is not there", f"Of the driver {driver} there is: {names or 'none'}."
            )
        if found.get("driver") != driver:
            raise BadOption(
                "snapshot_class", wanted, f"is of the driver {found.get('driver')}, and the claim is of {driver}",
                f"Of {driver} there is: {names or 'none'}.",
            )  # fmt: skip
        return wanted, _policy(found)
    default = [one for one in mine if (meta(one).get("annotations") or {}).get(_DEFAULT_CLASS) == "true"]
    if len(default) > 1:
        both = ", ".join(sorted(meta(one)["name"] for one in default))
        raise BadOption(
            "snapshot_class",
            None,
            f"is not given, and the driver {driver} has several default ones ({both})",
            "Name the one to use.",
        )
    if default:
        return None, _policy(default[0])
    if len(mine) != 1:
        why = f"the driver {driver} has {'several, none of which is the default one' if mine else 'none'}"
        rest = (
            f"Name one of {names}."
            if mine
            else "Install a VolumeSnapshotClass of that driver, if it can make snapshots."
        )
        raise BadOption("snapshot_class", None, f"is not given, and {why}", rest)
    return meta(mine[0])["name"], _policy(mine[0])


def _policy(snapshot_class: Manifest) -> str:
    return str(snapshot_class.get("deletionPolicy") or "Delete")


def check_binding(snapshot: Manifest, content: Optional[Manifest]) -> Optional[str]:
    """Why a snapshot and the content that it names are not each other's; None: they are. Who can make objects could otherwise hand us
    another volume's."""
    if content is None:
        return "the VolumeSnapshotContent that it names is not there"
    reference = spec_of(content).get("volumeSnapshotRef") or {}
    own = meta(snapshot)
    wanted = {"namespace": own.get("namespace"), "name": own["name"], "uid": own.get("uid")}
    if any(reference.get(key) != value for key, value in wanted.items()):
        return (
            f"{meta(content)['name']}, which it names, belongs to {reference.get('namespace')}/{reference.get('name')}"
        )
    return None


def described(claim: str, snapshot: Manifest, content: Optional[Manifest], policy: str) -> dict[str, Any]:
    """What a record says of a snapshot. ``restore_size``: as the API writes quantities; None: the driver does not say."""
    status = snapshot.get("status") or {}
    spec = spec_of(content or {})
    return {
        "claim": claim,
        "name": meta(snapshot)["name"],
        "namespace": meta(snapshot).get("namespace"),
        "uid": meta(snapshot).get("uid"),
        "content": status.get("boundVolumeSnapshotContentName"),
        "handle": ((content or {}).get("status") or {}).get("snapshotHandle"),
        "driver": spec.get("driver"),
        "deletion_policy": spec.get("deletionPolicy") or policy,
        "volume_mode": spec.get("sourceVolumeMode"),
        "created_at": status.get("creationTime"),
        "restore_size": status.get("restoreSize"),
    }


def claim_as_kept(claim: Manifest, volume: Optional[Manifest]) -> dict[str, Any]:
    """What is to know of a claim to make another one like it."""
    metadata, spec, status = meta(claim), spec_of(claim), claim.get("status") or {}
    return {
        "name": metadata["name"],
        "labels": dict(metadata.get("labels") or {}),
        "annotations": {
            key: value for key, value in (metadata.get("annotations") or {}).items() if not is_of_cluster(key)
        },
        "access_modes": list(spec.get("accessModes") or ()),
        "storage_class": spec.get("storageClassName"),
        "volume_mode": spec.get("volumeMode") or "Filesystem",
        "request": ((spec.get("resources") or {}).get("requests") or {}).get("storage"),
        "capacity": (status.get("capacity") or {}).get("storage"),
        "driver": (spec_of(volume or {}).get("csi") or {}).get("driver"),
        "node_affinity": spec_of(volume or {}).get("nodeAffinity"),
    }


def is_of_cluster(annotation: str) -> bool:
    """Whether the cluster wrote it onto a claim by itself, or we did: it means nothing on another one."""
    return bool(_OF_CLUSTER.match(annotation))


def snapshots_of(consistency: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The snapshots that a record names."""
    found = consistency.get("snapshots")
    return [one for one in found if isinstance(one, dict) and one.get("name")] if isinstance(found, list) else []
