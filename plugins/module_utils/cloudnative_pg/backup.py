# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup by the operator, asked for, followed, and seen in the store before it is called one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import is_of, is_recent
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import newest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    backup_object,
    preflight,
    reading,
    snapshot_record,
    window,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BACKUP,
    VOLUME_SNAPSHOT,
    CnpgCluster,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.follow import follow
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    AlreadyThere,
    Denied,
    KubernetesError,
    Missing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

ENGINE_OF_SNAPSHOTS = "volume_snapshot"

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class CnpgRequest:
    """``max_age``: seconds within which one that is there is enough. ``deadline``: seconds for the operator; ``wal_timeout``: for the WAL."""

    cluster: str
    method: Optional[str] = None
    target: Optional[str] = None
    online: Optional[bool] = None
    immediate_checkpoint: Optional[bool] = None
    max_age: Optional[float] = None
    deadline: float = 21600.0
    wal_timeout: float = 600.0


@dataclass
class CnpgResult:
    changed: bool = False
    plan: list[str] = field(default_factory=list)
    record: Optional[Record] = None
    #: the operator's object; None: the backup is of another one, or none was made yet
    name: Optional[str] = None
    point: Optional[window.Point] = None
    proof: Proof = field(default_factory=Proof)


class CnpgBackup:
    """One run. ``connection``: to the primary, where there is a login. ``opened``: opens the store."""

    def __init__(
        self,
        cluster: Cluster,
        request: CnpgRequest,
        connection: Optional[Connection],
        opened: Callable[[BarmanStore], StoreArchive],
        progress: Progress,
        warnings: list[str],
    ) -> None:
        self._cluster, self._request, self._connection = cluster, request, connection
        self._opened, self._progress, self._warnings = opened, progress, warnings
        self.result = CnpgResult()

    def run(self, check: bool) -> CnpgResult:
        """Raises HoldfastError."""
        request, result = self._request, self.result
        self._progress.step(f"looking at the Cluster {request.cluster}")
        cnpg = self._cnpg = reading.read(self._cluster, request.cluster)
        self._options = options = self._settle(cnpg)
        self._needs_wal = preflight.needs_wal(cnpg, options)
        preflight.check_cluster(cnpg, self._needs_wal)
        store = reading.store(self._cluster, cnpg)
        self._archive = self._look(cnpg, store) if store is not None else None
        self._warnings += preflight.lints(cnpg, reading.operator_version(self._cluster, cnpg) if cnpg.store else None)
        if self._needs_wal and self._archive is None:
            archiver = cnpg.archiver.name if cnpg.archiver else "something"
            raise ServerError(
                f"{cnpg} archives by {archiver}, and where that puts WAL is not known here, so that nothing could be shown. Nothing was asked of the operator."
            )
        if self._connection is not None and self._needs_wal:
            window.check_login(self._connection, cnpg)
        backups = backup_object.of_cluster(self._cluster.list(BACKUP), cnpg.name)
        enough = self._enough(backups)
        if enough is not None:
            result.record = enough
            return result
        self._make(backups, check)
        return result

    def _settle(self, cnpg: CnpgCluster) -> BackupOptions:
        request = self._request
        method = preflight.method_of(cnpg, request.method)
        options = BackupOptions(method, request.target, request.online, request.immediate_checkpoint)
        preflight.check_options(options)
        if options.target is None and self._connection is None and preflight.needs_wal(cnpg, options):
            # A primary closes the segment itself when the backup stops; a standby's is closed by nobody.
            options = replace(options, target="primary")
        return options

    def _look(self, cnpg: CnpgCluster, store: BarmanStore) -> StoreArchive:
        """The store, and that it is this server's alone."""
        self._progress.step(f"looking into {store}")
        others, everywhere = reading.stores_of_others(self._cluster, cnpg)
        if not everywhere:
            self.result.proof.unproven.append(
                f"That no Cluster of another namespace archives into the same place: only those of {self._cluster.namespace} may be listed."
            )
        preflight.check_shared(cnpg, store, others)
        archive = self._opened(store)
        archive.repository.check(write=False)
        problems: list[str] = []
        self._records = archive.records(problems)
        preflight.check_owner(cnpg, archive.description, self._records)
        return archive

    # Whether there is enough

    def _enough(self, backups: list[Manifest]) -> Optional[Record]:
        if self._request.max_age is None:
            return None
        record = self._newest_snapshot(backups) if self._options.method == VOLUME_SNAPSHOT else self._newest_in_store()
        if record is None or not is_recent(record, self._request.max_age, utcnow()):
            return None
        if self._needs_wal and not record.stop_lsn:
            self._warnings.append(
                f"The backup {record.id} is young enough, and its status does not say which WAL it needs. Another one is made."
            )
            return None
        if self._archive is not None and record.stop_lsn:
            missing = self._archive.missing_of(record)
            if missing:
                self._warnings.append(
                    f"The backup {record.id} is young enough, and cannot be restored: {missing[0]} is not in {self._archive.description}. Another one is "
                    "made."
                )
                return None
        return record

    def _newest_in_store(self) -> Optional[Record]:
        return newest([one for one in self._records if is_of(one, self._cnpg.system_id)], utcnow())

    def _newest_snapshot(self, backups: list[Manifest]) -> Optional[Record]:
        method = backup_object.spec_of(self._cnpg.name, self._options)["method"]
        for backup in reversed(backups):
            status = backup.get("status") or {}
            if status.get("phase") != backup_object.COMPLETED or (status.get("method") or "") != method:
                continue
            if not snapshot_record.is_of(backup, self._cnpg):
                continue
            if snapshot_record.is_online(backup, self._cnpg) is not self._needs_wal:
                continue  # of a server that went on, where one that is stopped is asked for, or the other way round
            with contextlib.suppress(ServerError):
                return self._record_of_snapshots(backup)
        return None

    # Making one

    def _make(self, backups: list[Manifest], check: bool) -> None:
        result, cnpg, options = self.result, self._cnpg, self._options
        left = backup_object.unfinished(backups, cnpg.name, options, utcnow())
        if left is not None and not backup_object.is_running(left) and self._is_lost(left):
            left = None
        if left is not None:
            name = result.name = left["metadata"]["name"]
            going = "runs" if backup_object.is_running(left) else "is completed, and was not seen in the store"
            result.plan.append(f"go on with the Backup {name} of a run before, which {going}")
        else:
            name = result.name = backup_object.name_of(cnpg.name, utcnow())
            made = backup_object.manifest(name, self._cluster.namespace, cnpg.name, options)
            target = f" of the {options.target}" if options.target else ""
            result.plan.append(f"make a Backup by {options.method}{target}")
            others = backup_object.running_of_others(backups)
            if others:
                result.plan.append(f"wait for {', '.join(others)}, which the operator makes before")
            self._create(made, dry_run=True)
            if not check:
                self._create(made, dry_run=False)
        result.plan += self._plan_of_the_window()
        result.changed = True
        if check:
            result.name = name if left is not None else None
            return
        done = follow(self._cluster, name, self._request.deadline, self._progress)
        record = result.record = self._record(done)
        self._close(name, record)

    def _is_lost(self, left: Manifest) -> bool:
        """Whether one that the operator calls completed can never become a backup: then another one is made, and not waited for it for ever."""
        name = left["metadata"]["name"]
        try:
            record = self._find(left)
        except ServerError as exc:
            self._warnings.append(f"Of a run before: {exc} Another one is made.")
            return True
        missing = self._archive.missing_of(record) if self._archive is not None and record.stop_lsn else []
        if not missing or self._archive is None:
            return False
        size = SegmentSize(int(record.server["wal_segment_size"]))
        after = size.name(size.parse(missing[-1], "segment").next())
        if self._archive.missing([after], size):
            return False  # nothing later is there either: it may still come
        self._warnings.append(
            f"The Backup {name} of a run before cannot be restored: {missing[0]} is not in {self._archive.description}, and a later one is. Another one is "
            "made."
        )
        return True

    def _create(self, made: Manifest, dry_run: bool) -> None:
        try:
            self._cluster.create(made, dry_run=dry_run)
        except AlreadyThere:
            # Two runs within a second: the same Backup is both's.
            there = self._cluster.get(BACKUP, made["metadata"]["name"]) or {}
            if any((there.get("spec") or {}).get(key) != value for key, value in made["spec"].items()):
                raise
        except Denied as exc:
            raise KubernetesError(f"{exc} No Backup was made. Does CloudNativePG's operator run?") from exc

    def _plan_of_the_window(self) -> list[str]:
        if not self._needs_wal or self._archive is None:
            return []
        if self._connection is not None:
            return [
                f"make a restore point, switch the segment, and see both and all before them in {self._archive.description}"
            ]
        closes = "the primary closes the segment itself when its backup stops"
        if self._options.target == "prefer-standby":
            closes = "nobody closes the segment of a standby's backup, and an idle server's never comes"
        return [
            f"see the WAL of the backup in {self._archive.description} (without a login no restore point is made: {closes})"
        ]

    def _record(self, done: Manifest) -> Record:
        """Of what the operator calls completed. Raises ServerError: it is not there, or not whole."""
        record, proof = self._find(done), self.result.proof
        if record.engine == ENGINE_OF_SNAPSHOTS:
            proof.proven.append(
                f"The VolumeSnapshots of {record.id} are there and ready to use: {', '.join(snapshot_record.names_of(done))}."
            )
            proof.unproven.append("That what the storage keeps can be read: nothing of it was.")
        elif self._archive is not None:
            preflight.check_owner(self._cnpg, self._archive.description, [record])
            proof.proven.append(
                f"The backup {record.id} is in {self._archive.description}, with all its archives, as Barman's own backup.info says."
            )
            proof.unproven.append("That the copy can be read and started: nothing was restored from it.")
        return record

    def _find(self, done: Manifest) -> Record:
        if self._options.method == VOLUME_SNAPSHOT:
            return self._record_of_snapshots(done)
        name, label = done["metadata"]["name"], str((done.get("status") or {}).get("backupId") or "")
        if self._archive is None:
            raise ServerError(f"The Backup {name} is completed, and there is no store to look for it.")
        problems: list[str] = []
        record = next((one for one in self._archive.records(problems) if one.id == label), None)
        if record is None:
            why = "".join(f" {problem}" for problem in problems if label and label in problem)
            raise ServerError(
                f"The operator says that the Backup {name} is completed (Barman's {label or 'unknown'}), and {self._archive.description} has no such "
                f"backup.{why} Do not rely on it."
            )
        return record

    def _record_of_snapshots(self, backup: Manifest) -> Record:
        found = {name: self._cluster.get("VolumeSnapshot", name) for name in snapshot_record.names_of(backup)}
        return snapshot_record.record_of(backup, self._cnpg, found)

    def _close(self, name: str, record: Record) -> None:
        """See that the WAL is there, and note it on the Backup."""
        archive, proof = self._archive, self.result.proof
        if self._needs_wal and archive is not None:
            size = SegmentSize(int(record.server["wal_segment_size"]))
            point = self.result.point = self._point(name)
            segments = window.wanted_segments(record, point, size)
            if not segments:
                raise ServerError(
                    f"The Backup {name} is completed, and its status does not say which WAL it needs. Do not rely on it."
                )
            store = window.Store(
                archive,
                size,
                lambda: reading.read(self._cluster, self._request.cluster),
                self._request.wal_timeout,
                self._progress,
            )
            seconds = store.wait(segments, self._hint(record))
            timeline = int(segments[-1][:8], 16)
            if timeline > 1:
                store.wait_for_history(timeline, lambda: archive.history(timeline) is not None)
            told = f"The WAL from {segments[0]} to {segments[-1]} is in {archive.description}"
            if segments[0][:8] != segments[-1][:8]:
                # The server has changed to another timeline in between.
                told = f"{', '.join(segments)} are in {archive.description}"
                proof.unproven.append(
                    f"That all WAL between {segments[-2]} and {segments[-1]}, which is of a later timeline, is there."
                )
            if point is not None:
                told += f", the restore point {point.name} ({point.lsn}) in the last one; that took {format_duration(seconds)}"
            else:
                proof.unproven.append(
                    "That WAL after the backup is archived: no login was given, so that no restore point was made and no segment switched."
                )
            proof.proven.append(f"{told}.")
        with self._noted():
            closed = {"metadata": {"annotations": {backup_object.CLOSED: self._closed_by(record)}}}
            self._cluster.patch(BACKUP, name, closed)

    @contextlib.contextmanager
    def _noted(self) -> Any:
        """What cannot be written down makes the backup no worse."""
        try:
            yield
        except (KubernetesError, Missing) as exc:
            self._warnings.append(f"That the backup was seen in the store could not be written onto its Backup: {exc}")

    def _closed_by(self, record: Record) -> str:
        point = self.result.point
        return point.segment if point is not None else str(record.stop_lsn or "stopped")

    def _point(self, name: str) -> Optional[window.Point]:
        if self._connection is None:
            return None
        self._progress.step("making a restore point, and closing its segment")
        return window.make_point(self._connection, name[-63:])

    def _hint(self, record: Record) -> str:
        if self._connection is not None:
            return "Its segment was switched: look at the operator's and the pod's log for what archiving says."
        if record.server.get("in_recovery"):
            return (
                "A standby was copied, and an idle primary closes no segment: give login_user and login_password of a role that may call "
                "pg_switch_wal, or ask for target: primary."
            )
        return "Look at the pod's log for what archiving says."
