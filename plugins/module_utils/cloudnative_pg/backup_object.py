# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's Backup objects: made of what is asked for, found again, and what their status says in words. Pure.

Phases: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/backup_types.go
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    API,
    BARMAN_PLUGIN,
    METHODS,
    PLUGIN,
    VOLUME_SNAPSHOT,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.own_objects import is_ours
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time

#: on a Backup that we made, when its window was closed: the last segment that was seen in the store
CLOSED = "holdfast.postgres/closed"
COMPLETED, FAILED, INVALID = "completed", "failed", "invalid backup definition"
ARCHIVING_FAILS = "walArchivingFailing"
_ENDED = (COMPLETED, FAILED, INVALID)
_LONGEST = 253  # of a name in the API
_GONE_ON_WITH = 3600  # seconds
_SAID = {
    "": "waiting for the operator to see the Backup",
    "pending": "waiting until the operator begins (it makes one backup after the other, and waits for a pod that is ready)",
    "started": "the operator has begun",
    "running": "the server is being copied",
    "finalizing": "the snapshots are made, and not ready to use yet",
    ARCHIVING_FAILS: "the operator waits, as the server's WAL is not being archived",
}


@dataclass(frozen=True)
class BackupOptions:
    """What is asked for. None: as the Cluster says. ``online`` and ``immediate_checkpoint`` are of volume snapshots alone."""

    method: str
    target: Optional[str] = None
    online: Optional[bool] = None
    immediate_checkpoint: Optional[bool] = None


def name_of(cluster: str, now: datetime.datetime) -> str:
    """As the operator's own are named, by the cluster and the time in UTC: ``shop-holdfast-20261126160000``."""
    stamp = now.astimezone(datetime.timezone.utc).strftime("%Y%m%d%H%M%S")
    return f"{cluster[: _LONGEST - 24]}-holdfast-{stamp}"


def spec_of(cluster: str, options: BackupOptions) -> dict[str, Any]:
    """The ``spec`` of a Backup."""
    spec: dict[str, Any] = {"cluster": {"name": cluster}, "method": METHODS[options.method]}
    if options.target:
        spec["target"] = options.target
    if options.method == PLUGIN:
        spec["pluginConfiguration"] = {"name": BARMAN_PLUGIN}
    if options.method == VOLUME_SNAPSHOT:
        if options.online is not None:
            spec["online"] = options.online
        if options.immediate_checkpoint is not None:
            # Its other field has a default of its own, which is what is needed: to wait for the archive.
            spec["onlineConfiguration"] = {
                "immediateCheckpoint": options.immediate_checkpoint,
                "waitForArchive": True,
            }
    return spec


def manifest(name: str, namespace: str, cluster: str, options: BackupOptions) -> Manifest:
    """A Backup. Nobody owns it, so that it outlives its Cluster."""
    return {
        "apiVersion": API,
        "kind": "Backup",
        "metadata": {"name": name, "namespace": namespace, "labels": {**names.MANAGED_BY, "cnpg.io/cluster": cluster}},
        "spec": spec_of(cluster, options),
    }


def phase_of(backup: Manifest) -> str:
    return str((backup.get("status") or {}).get("phase") or "")


def is_running(backup: Manifest) -> bool:
    """Whether it may still become a backup."""
    return phase_of(backup) not in _ENDED and not backup["metadata"].get("deletionTimestamp")


def of_cluster(backups: Iterable[Manifest], cluster: str) -> Manifests:
    """Those of a Cluster, oldest first."""
    mine = [one for one in backups if ((one.get("spec") or {}).get("cluster") or {}).get("name") == cluster]
    return sorted(mine, key=lambda one: (str(one["metadata"].get("creationTimestamp") or ""), one["metadata"]["name"]))


def unfinished(backups: Manifests, cluster: str, options: BackupOptions, now: datetime.datetime) -> Optional[Manifest]:
    """The one that a run before has left to be gone on with: ours, the last one, as it is asked for now; that runs, or was completed within the last
    hour and not seen in the store. An older one is not what is asked for today. ``backups``: of the Cluster, oldest first."""
    mine = [one for one in backups if is_ours(one) and not one["metadata"].get("deletionTimestamp")]
    if not mine:
        return None
    last, wanted = mine[-1], spec_of(cluster, options)
    if any((last.get("spec") or {}).get(key) != value for key, value in wanted.items()):
        return None
    if is_running(last):
        return last
    closed = (last["metadata"].get("annotations") or {}).get(CLOSED)
    if phase_of(last) != COMPLETED or closed:
        return None
    status = last.get("status") or {}
    ended = status.get("stoppedAt") or status.get("reconciliationTerminatedAt")
    ended = ended or last["metadata"].get("creationTimestamp")
    if not ended or (now - parse_time(str(ended), "stoppedAt")).total_seconds() > _GONE_ON_WITH:
        return None
    return last


def running_of_others(backups: Manifests) -> list[str]:
    """Names of those that somebody else has asked for, and that ours waits for."""
    return [one["metadata"]["name"] for one in backups if is_running(one) and not is_ours(one)]


def said(backup: Manifest) -> str:
    """What is going on, by its phase."""
    phase = phase_of(backup)
    pod = ((backup.get("status") or {}).get("instanceID") or {}).get("podName")
    words = _SAID.get(phase, f"the operator says {phase}")
    return words + (f" (on {pod})" if pod and phase in ("started", "running") else "")


def why_failed(backup: Manifest) -> Optional[str]:
    """Why it is none, in the operator's words; None: it has not failed."""
    status = backup.get("status") or {}
    if phase_of(backup) not in (FAILED, INVALID):
        return None
    told = [_line(status.get(name)) for name in ("error", "commandError")]
    return ". ".join(dict.fromkeys(one for one in told if one)) or "it does not say why"


def _line(text: Any) -> str:
    return " ".join(re.sub(r"\s+", " ", str(text or "")).split()).rstrip(".")[:2000]
