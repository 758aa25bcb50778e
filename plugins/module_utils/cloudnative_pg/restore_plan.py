# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery into a new Cluster would do, or why it cannot be: reads, and asks the API server by its own dry run. Nothing is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    new_cluster,
    reading,
    restore_names,
    snapshot_backups,
    snapshot_record,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore, store_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BACKUP,
    CLUSTER,
    CnpgCluster,
    cluster_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.new_cluster import Beginning, Snapshots
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.recovery_target import recovery_target
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_request import (
    LATEST_BACKUP,
    SNAPSHOTS,
    RestoreRequest,
    without_wal,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.store_source import StoreSource
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Missing
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.choosing import Chooser, Chosen
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import CURRENT_TIMELINE, Target

# What of a Backup's status says where it lies; the rest of a store's configuration (compression, how many at once) is the Cluster's.
_WHERE = ("destinationPath", "endpointURL", "endpointCA", "s3Credentials", "azureCredentials", "googleCredentials")


@dataclass(frozen=True)
class Plan:
    """``manifest``: of the new Cluster; ``record``: the backup that it begins with; ``target``: as PostgreSQL is told it; ``timeline``: the one
    that it is to follow (None: the backup's); ``notes``: what is not proven; ``store``: where it archives (None: nowhere that is known)."""

    manifest: Manifest
    record: Optional[Record]
    backup: Mapping[str, Any]
    target: Target
    timeline: Optional[int]
    notes: tuple[str, ...]
    store: Optional[BarmanStore]
    archive_as: Optional[str]
    warnings: tuple[str, ...]


class Planner:
    """Plans one. ``scratch``: a private directory; ``open_store``: opens what a Cluster archives to, as a repository."""

    def __init__(
        self,
        cluster: Cluster,
        request: RestoreRequest,
        scratch: str,
        open_store: Callable[[BarmanStore], Repository],
        tell: Callable[[str], None],
    ) -> None:
        self._cluster, self._request, self._scratch, self._open, self._tell = (
            cluster,
            request,
            scratch,
            open_store,
            tell,
        )
        self._warnings: list[str] = []

    def plan(self) -> Plan:
        """Raises HoldfastError: it cannot be done, with the way out."""
        request = self._request
        source = self._source()
        backup = self._backup_object()
        store = self._store_of(source, backup)
        chosen, shots, record = self._choose(source, store, backup)
        target = chosen.target if chosen else request.target
        setting = chosen.choice.target_timeline if chosen else CURRENT_TIMELINE
        told = recovery_target(target, setting, None if shots else (record.id if record else None)) if chosen else {}
        beginning = Beginning(source.name, store, told, shots)
        spec = self._with_image(source)
        application = new_cluster.compared(
            new_cluster.application(spec), request.database, request.owner, request.secret
        )
        made = self._manifest(spec, beginning, request.archive_as or request.new_name, application, self._warnings)
        destination = reading.store(self._cluster, cluster_of(made))
        archive_as = self._archive_as(destination, store)
        if archive_as and archive_as != (request.archive_as or request.new_name):
            made = self._manifest(spec, beginning, archive_as, application, [])
        self._major(made, record)
        restore_names.refuse_what_is_taken(self._cluster, made)
        if shots:
            restore_names.refuse_small_volumes(self._cluster, made, shots)
        restore_names.refuse_over_quota(self._cluster, made)
        self._cluster.create(made, dry_run=True)
        return Plan(
            made,
            record,
            self._described(record, backup, shots),
            target,
            chosen.choice.timeline if chosen else None,
            chosen.choice.notes if chosen else (),
            reading.store(self._cluster, cluster_of(made)) if archive_as else None,
            archive_as,
            tuple(self._warnings),
        )

    # What follows is how.

    def _source(self) -> CnpgCluster:
        """The source as it is, else as the manifest says it was."""
        found = self._cluster.get(CLUSTER, self._request.cluster)
        if found is not None:
            return cluster_of(found)
        if self._request.manifest is None:
            raise Missing(
                f"There is no Cluster {self._request.cluster} in the namespace {self._cluster.namespace}. If it is gone, give its manifest by the option "
                "manifest, as it is in Git, or as k8s_capture kept it: where its backups lie, and what the server was like, stands there alone."
            )
        given = dict(self._request.manifest)
        metadata = {
            **(given.get("metadata") or {}),
            "name": self._request.cluster,
            "namespace": self._cluster.namespace,
        }
        return cluster_of({**given, "metadata": metadata, "status": given.get("status") or {}})

    def _backup_object(self) -> Optional[Manifest]:
        name = self._request.backup
        if name is None:
            return None
        found = self._cluster.get(BACKUP, name)
        if found is None:
            raise Missing(f"There is no Backup {name} in the namespace {self._cluster.namespace}.")
        of = ((found.get("spec") or {}).get("cluster") or {}).get("name")
        if of != self._request.cluster:
            raise BadOption(
                "backup", name, f"is of the Cluster {of}, not of {self._request.cluster}", "Name that Cluster."
            )
        phase = (found.get("status") or {}).get("phase")
        if phase != "completed":
            error = (found.get("status") or {}).get("error")
            raise CatalogError(
                f"The Backup {name} is {phase or 'not begun'}{f' ({error})' if error else ''}, so that nothing can be restored from it. Choose another one."
            )
        return found

    def _store_of(self, source: CnpgCluster, backup: Optional[Manifest]) -> Optional[BarmanStore]:
        """Where the backups and the WAL lie: as the Backup says, which may be older than the Cluster's present store."""
        status = (backup or {}).get("status") or {}
        if backup is not None and not snapshot_backups.is_snapshot(backup) and status.get("destinationPath"):
            where = {key: status[key] for key in _WHERE if status.get(key)}
            of = source.store.configuration if source.store else {}
            return store_of({**of, **where}, source.name, status.get("serverName"))
        return reading.store(self._cluster, source)

    def _choose(
        self, source: CnpgCluster, store: Optional[BarmanStore], backup: Optional[Manifest]
    ) -> tuple[Optional[Chosen], Optional[Snapshots], Optional[Record]]:
        request = self._request
        archive = StoreArchive(self._open(store), store.server_name) if store else None
        if request.method == SNAPSHOTS or (backup is not None and snapshot_backups.is_snapshot(backup)):
            return self._of_snapshots(source, archive, backup)
        if archive is None:
            raise CatalogError(
                f"{source} archives to no object store, so that no backup lies in one. Restore its volume snapshots: method: volume_snapshot."
            )
        wanted = request.backup_id if backup is None else str(backup["status"].get("backupId") or "")
        if not wanted:
            raise CatalogError(
                f"The Backup {request.backup} does not say which one of the store it is (status.backupId). Name that by backup_id."
            )
        chosen = self._chosen(StoreSource(archive), wanted)
        return chosen, None, chosen.record

    def _of_snapshots(
        self, source: CnpgCluster, archive: Optional[StoreArchive], backup: Optional[Manifest]
    ) -> tuple[Optional[Chosen], Snapshots, Optional[Record]]:
        objects = [backup] if backup else self._cluster.list(BACKUP)
        usable = {one["metadata"]["name"]: one for one in snapshot_backups.completed(objects, source.name)}
        if not usable:
            raise CatalogError(
                f"There is no completed Backup of {source} by volume snapshots in the namespace {self._cluster.namespace}."
            )
        chosen: Optional[Chosen] = None
        record: Optional[Record] = None
        if archive is not None:
            records = [made for one in usable.values() if (made := snapshot_backups.record(one)) is not None]
            chosen = self._chosen(StoreSource(archive, records), LATEST_BACKUP)
            record, found = chosen.record, usable[chosen.record.id]
        else:
            if not without_wal(self._request.target):
                raise WalError(
                    f"{source} archives no WAL, so that a snapshot leads to its own moment alone, and not to {self._request.target.describe()}. To have "
                    "that moment, say recovery_target: {immediate: true}."
                )
            found = list(usable.values())[-1]
            record = snapshot_backups.record(found)
        shots = snapshot_backups.snapshots(found)
        if shots is None:
            raise CatalogError(f"The Backup {found['metadata']['name']} names no VolumeSnapshot of the data directory.")
        if archive is None and snapshot_record.is_online(found, source) and len(shots.names) > 1:
            raise CatalogError(
                f"The Backup {found['metadata']['name']} was taken while PostgreSQL wrote, from {len(shots.names)} volumes one after another, and there is no "
                "archived WAL that could make them one moment: what was restored of them might be damaged without a word. Take a cold one (online: false)."
            )
        return chosen, shots, record

    def _chosen(self, source: StoreSource, backup_id: str) -> Chosen:
        wanted = _Wanted(self._request.target, backup_id, self._request.snapshots, self._request.bin_dir)
        progress = Progress(None, "looking")
        return Chooser(source, wanted, self._scratch, progress, self._warnings, self._programs).choose()

    def _programs(self, version: int) -> str:
        """PostgreSQL recovers in the cluster: here its programs only read WAL, and need not be there."""
        try:
            return server_programs(version, self._request.bin_dir)
        except ToolError:
            return ""

    def _with_image(self, source: CnpgCluster) -> Mapping[str, Any]:
        """The specification, with the image that the source has: the operator's own default may be of another major version."""
        spec: Mapping[str, Any] = source.manifest.get("spec") or {}
        if source.image and not spec.get("imageName") and not spec.get("imageCatalogRef"):
            return {**spec, "imageName": source.image}
        return spec

    def _manifest(
        self,
        spec: Mapping[str, Any],
        beginning: Beginning,
        archive_as: str,
        application: new_cluster.Application,
        notes: list[str],
    ) -> Manifest:
        request = self._request
        return new_cluster.manifest(
            request.new_name, self._cluster.namespace, spec, beginning, archive_as, application, request.spec, notes
        )

    def _archive_as(self, destination: Optional[BarmanStore], source: Optional[BarmanStore]) -> Optional[str]:
        """The name that it archives under, which nothing lies under and nobody else uses; None: it archives nowhere. Raises BadOption."""
        if destination is None:
            self._warnings.append(
                f"The Cluster {self._request.new_name} archives no WAL: what is written in it is in no backup. Give it a store (spec: {{backup: ...}})."
            )
            return None
        taken = self._why_taken(destination, source)
        if taken is None:
            return destination.server_name
        proposed = new_cluster.new_name(self._request.new_name, utcnow())
        if self._request.archive_as:
            raise BadOption(
                "archive_as", self._request.archive_as, f"cannot be used: {taken}. The operator would refuse it (Expected empty archive)",
                f"Leave it out, or use {proposed}.",
            )  # fmt: skip
        self._warnings.append(f"The new Cluster archives as {proposed}, as of its own name {taken}.")
        return proposed

    def _why_taken(self, destination: BarmanStore, source: Optional[BarmanStore]) -> Optional[str]:
        if source is not None and destination.is_same(source):
            return f"{destination} is where the source's own backups lie"
        for other, theirs in reading.stores_of_others(self._cluster)[0]:
            if theirs is not None and theirs.is_same(destination):
                return f"{destination} is where {other} archives to"
        archive = StoreArchive(self._open(destination), destination.server_name)
        if not archive.is_empty() or archive.records([]):
            return f"backups or WAL of another server lie in {destination}"
        return None

    def _major(self, made: Manifest, record: Optional[Record]) -> None:
        """Raises BadOption: PostgreSQL does not read the files of another major version."""
        spec = made["spec"]
        major = (spec.get("imageCatalogRef") or {}).get("major") or cluster_of(made).major_version
        of = int(record.server.get("version_num") or 0) // 10000 if record else 0
        if not major or not of:
            self._warnings.append(
                "Whether the image is of the backup's major version of PostgreSQL is not known: its tag does not say."
            )
            return
        if major != of:
            raise BadOption(
                "spec", spec.get("imageName") or spec.get("imageCatalogRef"), f"is PostgreSQL {major}, and the backup is of PostgreSQL {of}",
                f"A backup is restored by its own major version: spec: {{imageName: ...:{of}}}. Upgrade afterwards.",
            )  # fmt: skip

    @staticmethod
    def _described(record: Optional[Record], backup: Optional[Manifest], shots: Optional[Snapshots]) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": record.id if record else None,
            "stopped_at": record.stopped_at if record else None,
            "system_id": record.server.get("system_id") if record else None,
        }
        if backup is not None:
            found["object"] = backup["metadata"]["name"]
        if shots is not None:
            found["snapshots"] = list(shots.names)
        return found


@dataclass(frozen=True)
class _Wanted:
    target: Target
    backup_id: str
    snapshots: str
    bin_dir: Optional[str]
