# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots in a cluster: found, waited for, deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import Predicate
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    WaitFailed,
    wait_for,
    wait_until_gone,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.objects import (
    BACKUP_ID,
    selector,
    snapshots_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

SNAPSHOT, CONTENT = "VolumeSnapshot", "VolumeSnapshotContent"
#: seconds that a driver gets to delete a snapshot; it goes on without us
_DELETED = 60.0
#: seconds that a driver gets to end what it is at, before what it makes is deleted
_CUT = 30.0


def await_snapshot(
    cluster: Cluster,
    name: str,
    timeout: float,
    predicate: Optional[Predicate] = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Manifest:
    """Wait until a snapshot is ready to use, or what the predicate says. The driver's last error ends no wait, as it tries again.

    Raises:
        WaitFailed: it is not within ``timeout`` seconds; the message has the driver's last error and what the cluster says of it.
    """
    try:
        return wait_for(cluster, SNAPSHOT, name, timeout, predicate, patience=timeout, tell=tell)
    except WaitFailed as exc:
        raise WaitFailed(f"{exc} {_why(cluster, exc.object)}".rstrip(), exc.object, exc.troubles, exc.late) from exc


def _why(cluster: Cluster, seen: Optional[Manifest]) -> str:
    """What the events of a snapshot and of its content say that its status does not."""
    if seen is None:
        return ""
    status = seen.get("status") or {}
    found = cluster.events(SNAPSHOT, meta(seen)["name"])
    said = [" ".join(str(one.get("message") or "").split()) for one in found if one.get("type") == "Warning"]
    class_name = spec_of(seen).get("volumeSnapshotClassName") or "the driver's default one"
    told = [f"Its snapshot class: {class_name}."]
    if not status:
        told.append("Nothing has written a status yet: does a snapshot-controller run in this cluster?")
    elif not status.get("boundVolumeSnapshotContentName"):
        told.append("It has no VolumeSnapshotContent yet.")
    if said:
        told.append(f"The last event: {said[-1]}")
    return " ".join(told)


def content_of(cluster: Cluster, snapshot: Manifest) -> Optional[Manifest]:
    """The content that a snapshot names; None: there is none."""
    name = (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName")
    return cluster.get(CONTENT, name) if name else None


def of_backups(
    cluster: Cluster, repository: str, server_name: str, backup_id: Optional[str] = None
) -> dict[str, Manifests]:
    """The snapshots that bear our labels of a server in a repository, by the backup's id."""
    found: dict[str, Manifests] = {}
    for one in cluster.list(SNAPSHOT, selector(repository, server_name, backup_id)):
        name = (meta(one).get("annotations") or {}).get(BACKUP_ID)
        if name and (backup_id is None or name == backup_id):
            found.setdefault(str(name), []).append(one)
    return found


def lacking(cluster: Cluster, record: Record) -> Optional[str]:
    """What is wrong with the snapshots of a backup, as the API sees them; None: each is there, the same one, and ready to use."""
    named = snapshots_of(record.consistency)
    if not named:
        return "its record names no VolumeSnapshot"
    for one in named:
        found = cluster.get(SNAPSHOT, str(one["name"]), one.get("namespace"))
        where = f"{one.get('namespace')}/{one['name']}"
        if found is None:
            return f"the VolumeSnapshot {where} is gone"
        if meta(found).get("uid") != one.get("uid"):
            return f"the VolumeSnapshot {where} is another one of that name"
        if meta(found).get("deletionTimestamp"):
            return f"the VolumeSnapshot {where} is being deleted"
        if not (found.get("status") or {}).get("readyToUse"):
            return f"the VolumeSnapshot {where} is not ready to use"
    return None


def remove_all(cluster: Cluster, named: Sequence[Mapping[str, Any]], warnings: list[str]) -> None:
    """Delete the snapshots that a record names, with what they are in the storage. What cannot be deleted is said."""
    for one in named:
        try:
            _remove(
                cluster, str(one["name"]), one.get("namespace"), str(one.get("uid") or ""), one.get("content"), warnings
            )
        except HoldfastError as exc:
            warnings.append(
                f"The VolumeSnapshot {one.get('namespace')}/{one['name']} stays, and costs what it costs: {exc} state: pruned tries again."
            )


def remove_found(cluster: Cluster, found: Manifests, warnings: list[str]) -> None:
    """The same for objects."""
    remove_all(
        cluster,
        [
            {
                "name": meta(one)["name"],
                "namespace": meta(one).get("namespace"),
                "uid": meta(one).get("uid"),
                "content": (one.get("status") or {}).get("boundVolumeSnapshotContentName"),
            }
            for one in found
        ],
        warnings,
    )


def _remove(
    cluster: Cluster, name: str, namespace: Optional[str], uid: str, content_name: Optional[str], warnings: list[str]
) -> None:
    """One snapshot. A class that retains leaves the storage's snapshot behind, which costs and is seen by nobody: so the content is told to
    delete first. What bears the name and is another one stays."""
    there = cluster.get(SNAPSHOT, name, namespace)
    if there is not None and meta(there).get("uid") != uid:
        warnings.append(f"The VolumeSnapshot {namespace}/{name} is another one than the backup's, and stays.")
        there = None
    if there is not None:
        # One that is deleted while the driver makes it stays in deletion until the controller looks again: snapshotter before 8.6.
        Waiter(_CUT, pause=0.2, most=1.0).until({"made": lambda: _settled(cluster.get(SNAPSHOT, name, namespace))})
        there = cluster.get(SNAPSHOT, name, namespace) or there
        content_name = content_name or (there.get("status") or {}).get("boundVolumeSnapshotContentName")
    content = cluster.get(CONTENT, content_name) if content_name else None
    if content is not None and (spec_of(content).get("volumeSnapshotRef") or {}).get("uid") != uid:
        warnings.append(f"The VolumeSnapshotContent {content_name} belongs to another snapshot than {name}, and stays.")
        content = None
    if content is not None and spec_of(content).get("deletionPolicy") != "Delete":
        cluster.patch(CONTENT, meta(content)["name"], {"spec": {"deletionPolicy": "Delete"}})
    if there is not None:
        cluster.delete(SNAPSHOT, name, namespace, uid=uid)
    elif content is not None:
        # Somebody deleted the snapshot, and its class had retained the rest.
        cluster.delete(CONTENT, meta(content)["name"])
    if content is not None:
        wait_until_gone(cluster, CONTENT, meta(content)["name"], _DELETED)
    if there is not None:
        wait_until_gone(cluster, SNAPSHOT, name, _DELETED, namespace, uid)


def _settled(found: Optional[Manifest]) -> Optional[bool]:
    """True when a driver is not at work on a snapshot: it has made it, or failed to, or it is gone."""
    status = (found or {}).get("status") or {}
    return True if found is None or status.get("creationTime") or status.get("error") else None


def strays(cluster: Cluster, repository: str, server_name: str, known: Collection[str]) -> dict[str, Manifests]:
    """Snapshots of runs that died: they bear our labels, and no backup has them."""
    return {name: found for name, found in of_backups(cluster, repository, server_name).items() if name not in known}


def mark_complete(cluster: Cluster, named: Sequence[Mapping[str, Any]], label: str) -> None:
    """Say on the objects that their backup exists. Only for people: what counts is the manifest."""
    for one in named:
        try:
            cluster.patch(SNAPSHOT, str(one["name"]), {"metadata": {"labels": {label: "true"}}}, one.get("namespace"))
        except KubernetesError:
            return
