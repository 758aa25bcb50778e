# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight says of a server in a cluster, before anybody relies on it (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Finding:
    """``level``: error, warning or fine, as the preflight of a repository has it."""

    level: str
    message: str


def findings(
    info: dict[str, Any], replication: Optional[str] = None, snapshots_known: bool = True
) -> dict[str, list[str]]:
    """``errors``, ``warnings`` and ``fine`` of what ``describe`` says. ``replication``: why it is refused, empty where it is not, None where
    that was not looked at. ``snapshots_known``: the snapshot classes could be read. What is not known is never fine."""
    found = [
        *_data(info),
        *_retention(info),
        *_snapshots(info, snapshots_known),
        *_replication(replication, info["hba_file"]),
        *_image(info),
        *_keepers(info),
    ]
    return {
        name: [one.message for one in found if one.level == level]
        for name, level in (("errors", "error"), ("warnings", "warning"), ("fine", "fine"))
    }


def _data(info: dict[str, Any]) -> Iterator[Finding]:
    data = info["data"]
    if info["container"] is None:
        yield Finding("warning", "which container is PostgreSQL's cannot be told: name it by container")
    elif data["directory"] is None:
        yield Finding(
            "warning",
            "where PGDATA is cannot be told: neither a variable nor an argument of the container says it. With login_* options the server is asked",
        )
    elif data["source"] == "imageVolume":
        known = data["persistent"] is False
        yield Finding(
            "error" if known else "warning",
            f"PGDATA ({data['directory']}) {'lies' if known else 'may lie'} on no persistent volume: {'the' if known else 'an'} image declares a volume of "
            f"its own there, which is empty with each new pod, and hides the claim {data['claim']} that is mounted above it, at {data['mount_path']}. "
            "Look whether the claim has any data before the pod is made anew; then mount it where the image wants it",
        )
    elif data["persistent"]:
        where = "the volume's own top" if data["at_volume_root"] else f"{data['path_in_volume']} in the volume"
        yield Finding("fine", f"PGDATA ({data['directory']}) lies on the claim {data['claim']}, at {where}")
    else:
        what = {
            "container": "the container's own file system",
            "emptyDir": "an emptyDir",
            "ephemeral": "an ephemeral volume, whose claim is deleted with the pod",
            "hostPath": "a directory of the node (hostPath)",
        }.get(data["source"], f"a volume of the kind {data['source']}")
        consequence = (
            "on another node the server finds nothing"
            if data["source"] == "hostPath"
            else "the data are gone when the pod is"
        )
        yield Finding(
            "error", f"PGDATA ({data['directory']}) lies on no persistent volume, but on {what}: {consequence}"
        )
    for claim in info["claims"]:
        if claim["phase"] not in ("Bound", None):
            yield Finding("error", f"the claim {claim['name']} is {claim['phase']}")


def _retention(info: dict[str, Any]) -> Iterator[Finding]:
    policy = info["claim_retention"]
    if policy is None:
        return
    if policy["when_scaled"] == "Delete":
        yield Finding(
            "error",
            "persistentVolumeClaimRetentionPolicy.whenScaled is Delete: scaling the StatefulSet down, as for a restore, deletes the data. Set it to Retain",
        )
    if policy["when_deleted"] == "Delete":
        yield Finding(
            "warning",
            "persistentVolumeClaimRetentionPolicy.whenDeleted is Delete: who deletes the StatefulSet deletes the data. Set it to Retain",
        )
    if policy == {"when_scaled": "Retain", "when_deleted": "Retain"}:
        yield Finding("fine", "its claims stay when the StatefulSet is scaled down or deleted")


def _snapshots(info: dict[str, Any], known: bool) -> Iterator[Finding]:
    if not known:
        return
    for claim in info["claims"]:
        if claim["driver"] is None:
            continue
        if claim["snapshot_class"]:
            yield Finding(
                "fine",
                f"the driver of {claim['name']} ({claim['driver']}) has the snapshot class {claim['snapshot_class']}",
            )
        else:
            yield Finding(
                "warning",
                f"the driver of {claim['name']} ({claim['driver']}) has no snapshot class, or several and none is the default: no volume snapshot of it "
                "is made without one that is named",
            )


def where_rules_are(hba_file: dict[str, Any]) -> str:
    """In which object the line for pg_hba.conf belongs, as a sentence; empty where that is not known."""
    path, name, inside = hba_file["path"], hba_file["name"], hba_file["path_in_volume"]
    if path is None:
        return ""
    if hba_file["source"] in ("configMap", "secret"):
        kind = "ConfigMap" if hba_file["source"] == "configMap" else "Secret"
        return (
            f"That file is {path}, out of the {kind} {name} ({inside}): change it there, or in the values of the chart that makes it. What is mounted "
            "by subPath is seen by the next pod alone"
        )
    if hba_file["source"] == "persistentVolumeClaim":
        return f"That file is {path}, on the claim {name} ({inside} in the volume): add the line in the server's pod"
    return f"That file is {path}, which is on no persistent volume: it comes from the image, or from what starts it"


def _replication(refused: Optional[str], hba_file: dict[str, Any]) -> Iterator[Finding]:
    if refused is None:
        return
    if refused:
        where = where_rules_are(hba_file) if "pg_hba.conf" in refused else ""
        yield Finding(
            "warning",
            "no replication connection is let in, so that neither base backups nor WAL can be received: "
            + ". ".join(filter(None, (refused, where))),
        )
    else:
        yield Finding("fine", "a replication connection is let in")


def _image(info: dict[str, Any]) -> Iterator[Finding]:
    if info["libc"] == "musl":
        yield Finding(
            "warning",
            f"the image {info['image']} has musl: it sorts text otherwise than our images, which have glibc. A server that is recovered elsewhere must be "
            "run by an image with musl too, or its text indexes be rebuilt; databases restored from a dump are not concerned",
        )


def _keepers(info: dict[str, Any]) -> Iterator[Finding]:
    gitops, operator = info["gitops"], info["operator"]
    if gitops:
        yield Finding(
            "warning",
            f"{gitops['tool']} keeps it ({gitops['name']}): what is changed here, such as scaling it to 0, is taken back by that unless it is paused",
        )
    if operator and operator["kind"] not in ("StatefulSet", "ReplicaSet"):
        yield Finding(
            "warning",
            f"{operator['kind']} {operator['name']} keeps it: its operator takes back what is changed here; change that object instead",
        )
    for name in info["autoscalers"] or ():
        yield Finding(
            "warning",
            f"the HorizontalPodAutoscaler {name} scales it: scaled to 0 it stays disabled until somebody scales it up again",
        )
    for name in info["keda"] or ():
        yield Finding("warning", f"KEDA's ScaledObject {name} scales it, also from 0: pause it before a restore")
