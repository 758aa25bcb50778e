# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Cluster of CloudNativePG, read into what the rest works with. Pure.

Fields: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/cluster_types.go
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import (
    BarmanStore,
    store_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

API = "postgresql.cnpg.io/v1"
CLUSTER, BACKUP, SCHEDULED_BACKUP = f"{API}/Cluster", f"{API}/Backup", f"{API}/ScheduledBackup"
OBJECT_STORE = "barmancloud.cnpg.io/v1/ObjectStore"
#: the plugin that archives into object stores
BARMAN_PLUGIN = "barman-cloud.cloudnative-pg.io"
HEALTHY = "Cluster in healthy state"
UNKNOWN_PLUGIN = "Cluster cannot proceed to reconciliation due to an unknown plugin being required"
#: the first release of the operator without spec.backup.barmanObjectStore
WITHOUT_IN_TREE = (1, 31)

# Ways to back up, by our names, and what the operator calls them.
PLUGIN, BARMAN_OBJECT_STORE, VOLUME_SNAPSHOT = "plugin", "barman_object_store", "volume_snapshot"
METHODS: Mapping[str, str] = {
    PLUGIN: "plugin",
    BARMAN_OBJECT_STORE: "barmanObjectStore",
    VOLUME_SNAPSHOT: "volumeSnapshot",
}


@dataclass(frozen=True)
class Condition:
    """One of ``status.conditions``: ``status`` is True, False or Unknown; ``since`` ISO 8601."""

    status: str
    reason: str = ""
    message: str = ""
    since: str = ""

    @property
    def holds(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True)
class Plugin:
    """An enabled plugin of the Cluster. ``version``: as the operator has found it; None: it has not."""

    name: str
    archives_wal: bool
    parameters: Mapping[str, str]
    version: Optional[str] = None


@dataclass(frozen=True)
class CnpgCluster:
    """A Cluster as it was read. What its status does not say yet is None or empty.

    ``major_version``: of PostgreSQL, by the status, else by the image's tag. ``store``: where it archives in-tree
    (``spec.backup.barmanObjectStore``); for the plugin's see ``reading.store``. ``fenced``: names of instances, ``*`` for all.
    """

    name: str
    namespace: str
    uid: str
    phase: str
    phase_reason: str
    conditions: Mapping[str, Condition]
    #: wanted, and ready
    instances: int
    ready_instances: int
    primary: Optional[str]
    target_primary: Optional[str]
    image: Optional[str]
    major_version: Optional[int]
    system_id: Optional[str]
    timeline: Optional[int]
    plugins: tuple[Plugin, ...]
    store: Optional[BarmanStore]
    has_snapshots: bool
    #: where its own backups are made: primary or prefer-standby (the operator's default)
    backup_target: str
    hibernated: bool
    fenced: tuple[str, ...]
    is_replica: bool
    deleted: bool
    manifest: Manifest

    @property
    def healthy(self) -> bool:
        return self.phase == HEALTHY and self.is_true("Ready")

    @property
    def archiver(self) -> Optional[Plugin]:
        """The plugin that archives its WAL, where one does."""
        return next((one for one in self.plugins if one.archives_wal), None)

    @property
    def methods(self) -> tuple[str, ...]:
        """How it can be backed up, as it is configured; the first is what it is by default."""
        found = [PLUGIN] if any(one.name == BARMAN_PLUGIN for one in self.plugins) else []
        found += [BARMAN_OBJECT_STORE] if self.store else []
        return (*found, VOLUME_SNAPSHOT) if self.has_snapshots else tuple(found)

    def is_true(self, condition: str) -> bool:
        return condition in self.conditions and self.conditions[condition].holds

    def __str__(self) -> str:
        return f"the Cluster {self.namespace}/{self.name}"


def cluster_of(manifest: Manifest) -> CnpgCluster:
    """Read one. Raises BadOption: its destinationPath is none that is known."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    annotations = metadata.get("annotations") or {}
    backup = spec.get("backup") or {}
    image = status.get("image") or spec.get("imageName")
    in_tree = backup.get("barmanObjectStore")
    return CnpgCluster(
        name=metadata["name"],
        namespace=str(metadata.get("namespace") or ""),
        uid=str(metadata.get("uid") or ""),
        phase=str(status.get("phase") or ""),
        phase_reason=str(status.get("phaseReason") or ""),
        conditions={str(one["type"]): _condition(one) for one in status.get("conditions") or ()},
        instances=int(spec.get("instances") or 1),
        ready_instances=int(status.get("readyInstances") or 0),
        primary=status.get("currentPrimary") or None,
        target_primary=status.get("targetPrimary") or None,
        image=image,
        major_version=(status.get("pgDataImageInfo") or {}).get("majorVersion") or _major(image),
        system_id=status.get("systemID") or None,
        timeline=status.get("timelineID") or None,
        plugins=_plugins(spec, status),
        store=store_of(in_tree, metadata["name"]) if in_tree else None,
        has_snapshots=bool(backup.get("volumeSnapshot")),
        backup_target=str(backup.get("target") or "prefer-standby"),
        hibernated=annotations.get("cnpg.io/hibernation") == "on",
        fenced=_fenced(annotations.get("cnpg.io/fencedInstances")),
        is_replica=_is_replica(spec.get("replica") or {}, metadata["name"]),
        deleted=bool(metadata.get("deletionTimestamp")),
        manifest=manifest,
    )


def _condition(given: Mapping[str, Any]) -> Condition:
    message = " ".join(str(given.get("message") or "").split())
    return Condition(
        str(given.get("status")), str(given.get("reason") or ""), message, str(given.get("lastTransitionTime") or "")
    )


def _plugins(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Plugin, ...]:
    versions = {one.get("name"): one.get("version") for one in status.get("pluginStatus") or ()}
    return tuple(
        Plugin(one["name"], bool(one.get("isWALArchiver")), one.get("parameters") or {}, versions.get(one["name"]))
        for one in spec.get("plugins") or ()
        if one.get("enabled", True)
    )


def _major(image: Optional[str]) -> Optional[int]:
    """``…/postgresql:16.4-bookworm@sha256:…`` is 16."""
    found = re.search(r":(\d+)[^/]*$", (image or "").partition("@")[0])
    return int(found[1]) if found else None


def _fenced(given: Optional[str]) -> tuple[str, ...]:
    try:
        names = json.loads(given or "[]")
    except ValueError:
        return ()
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _is_replica(replica: Mapping[str, Any], name: str) -> bool:
    """Of a primary elsewhere: by ``enabled``, or in a distributed topology by who the primary is."""
    if replica.get("enabled") is not None:
        return bool(replica["enabled"])
    return bool(replica.get("primary")) and replica["primary"] != (replica.get("self") or name)
