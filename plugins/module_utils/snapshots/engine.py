# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine that copies nothing: the storage keeps what was on the server's volumes at a moment, and our folder says what that is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import (
    Draft,
    Folder,
    FolderEngine,
    Plan,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import progress_of
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import objects, source
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.cluster import await_snapshot, content_of
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import (
    BACKUP_MODE,
    CHECKPOINT,
    STOPPED,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.session import (
    BackupMode,
    Ended,
    checkpoint,
    wait_for_archiver,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.subject import Subject
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time, utcnow

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

ENGINE = "volume_snapshot"
SNAPSHOTS, LABEL, MAP = "snapshots.json", "backup_label", "tablespace_map"


@dataclass(frozen=True)
class Means:
    """What a run works with. ``number``: of the repository, which it is given when it is first asked for; ``timeout``: seconds for the
    snapshots; ``wal_timeout``: seconds for the WAL."""

    cluster: Cluster
    connection: Optional[Connection]
    archiving: Optional[Archiving]
    number: Callable[[], str]
    server_name: str
    backup_id: str
    timeout: float
    wal_timeout: float


class SnapshotEngine(FolderEngine):
    """VolumeSnapshots of all claims of a server. What fails leaves the objects to the tier, which forgets the backup."""

    name = ENGINE
    kind = "full"

    def __init__(self, subject: Subject, means: Means, proof: Proof, progress: Progress) -> None:
        self._subject, self._means, self._proof, self._progress = subject, means, proof, progress
        self.version = f"{objects.API_VERSION}, {subject.volumes.driver}"
        self._deadline = 0.0

    def plan(self) -> Plan:
        subject, means = self._subject, self._means
        warnings = means.archiving.before(check=True) if self._needs_wal and means.archiving else []
        claims = list(subject.volumes.claims)
        for claim in claims:
            # Admission, quotas and the rules of the API have spoken before backup mode is entered.
            means.cluster.create(self._manifest(claim, "0"), dry_run=True)
        how = {
            BACKUP_MODE: "in backup mode, held by a session of this run",
            CHECKPOINT: "after a checkpoint",
            STOPPED: "while no pod uses them",
        }.get(subject.consistency, "as they are")
        steps = [f"snapshot {', '.join(claims)} of namespace {means.cluster.namespace}, {how}"]
        if self._needs_wal:
            steps.append("wait for the WAL up to the end of the backup in its archive")
        return Plan(steps, subject.server, subject.scope(means.cluster.namespace), warnings)

    def back_up(self, folder: Folder) -> Draft:
        subject, means = self._subject, self._means
        number, before = means.number(), None
        if self._needs_wal and means.archiving:
            means.archiving.before()
        self._deadline = time.monotonic() + means.timeout
        ended: Optional[Ended] = None
        made: dict[str, Manifest]
        if subject.consistency == BACKUP_MODE and means.connection is not None:
            with BackupMode(means.connection, f"holdfast {means.backup_id}") as mode:
                made = self._cut(number, mode.check)
                ended = mode.stop()
        else:
            if subject.consistency == CHECKPOINT and means.connection is not None:
                self._progress.step("writing a checkpoint")
                before = checkpoint(means.connection)
            self._check_unused()
            made = self._cut(number)
            self._check_unused()
        stopped = utcnow()
        if ended is not None:
            self._await_wal(ended)
        kept = self._ready(made)
        self._put(folder, kept, ended)
        moments = [parse_time(str(one["created_at"]), "creationTime") for one in kept if one["created_at"]]
        reached = stopped if ended or not moments else max(moments)
        return Draft(
            ended.start_lsn if ended else None,
            ended.stop_lsn if ended else before,
            {
                **consistency_of_a_copy(reached, ended is None),
                "mode": subject.consistency,
                "snapshots": kept,
            },
            [],
            server={"timeline": ended.timeline} if ended else {},
        )

    @property
    def _needs_wal(self) -> bool:
        return self._subject.consistency == BACKUP_MODE

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 1.0)

    def _manifest(self, claim: str, number: str) -> Manifest:
        means = self._means
        name = objects.name_of_snapshot(number, means.server_name, means.backup_id, claim)
        return objects.manifest(
            name,
            means.cluster.namespace,
            claim,
            self._subject.snapshot_class,
            number,
            means.server_name,
            means.backup_id,
        )

    def _cut(self, number: str, check: Callable[[], None] = lambda: None) -> dict[str, Manifest]:
        """Make a snapshot of each claim, and wait until each is of a moment that has passed: backup mode is held no longer."""
        cluster = self._means.cluster
        self._progress.step("making the snapshots")
        made = {claim: cluster.create(self._manifest(claim, number)) for claim in self._subject.volumes.claims}
        for claim, one in made.items():
            made[claim] = await_snapshot(cluster, meta(one)["name"], self._left(), self._watched(check), self._tell)
        return made

    def _watched(self, check: Callable[[], None]) -> Callable[[Manifest], Any]:
        def look(found: Manifest) -> Any:
            check()
            self._progress.tell(None, None)
            return objects.cut(found)

        return look

    def _tell(self, message: str) -> None:
        self._progress.step(message)

    def _check_unused(self) -> None:
        """Raise KubernetesError where somebody uses what has to be still."""
        if self._subject.consistency != STOPPED:
            return
        cluster, volumes = self._means.cluster, self._subject.volumes
        if used := source.users(cluster, list(volumes.claims)):
            raise KubernetesError(
                f"{', '.join(used)} uses {', '.join(volumes.claims)} again, so that a snapshot of them is of no one moment. Was it scaled up "
                "meanwhile (an operator, GitOps, an autoscaler)?"
            )
        if still := source.attached(cluster, volumes.volumes):
            raise KubernetesError(
                f"The volume {', '.join(still)} is still attached to its node, so that what was written there may not be on it yet. Run it again "
                "when it is not: that takes seconds, or a node that is gone."
            )

    def _await_wal(self, ended: Ended) -> None:
        means = self._means
        if means.archiving is not None:
            means.archiving.arrived(ended.timeline, ended.start_lsn, ended.stop_lsn, self._progress)
            self._proof.proven.append(
                f"The WAL from {ended.start_lsn} to {ended.stop_lsn}, without which the snapshots cannot be restored, is in the repository."
            )
        elif means.connection is not None:
            self._progress.step(f"waiting for {ended.last_segment} to be archived")
            wait_for_archiver(
                means.connection, ended.last_segment, means.wal_timeout, lambda: self._progress.tell(None, None)
            )
            self._proof.unproven.append(
                f"That the WAL from {ended.start_lsn} to {ended.stop_lsn} can be read: the server says that it has archived {ended.last_segment}, and "
                "the repository has no WAL of it that could be looked at."
            )

    def _ready(self, made: dict[str, Manifest]) -> list[dict[str, Any]]:
        """Wait until each can be used, and see that it is what it says."""
        cluster, kept = self._means.cluster, []
        self._progress.step("waiting until the snapshots are ready to use")
        for claim, one in made.items():
            name = meta(one)["name"]

            def look(found: Manifest) -> Any:
                self._progress.tell(None, None)
                return progress_of(found)

            found = await_snapshot(cluster, name, self._left(), look, self._tell)
            content = content_of(cluster, found)
            if wrong := objects.check_binding(found, content):
                raise KubernetesError(f"The VolumeSnapshot {name} cannot be relied on: {wrong}.")
            kept.append(objects.described(claim, found, content, self._subject.deletion_policy))
        names = ", ".join(f"{one['name']} of {one['claim']}" for one in kept)
        self._proof.proven.append(
            f"Each VolumeSnapshot is ready to use, as its driver says, and bound both ways: {names}."
        )
        self._proof.unproven += [
            "That what the storage keeps can be read: nothing of it was. A snapshot lies in the same storage as the volume, and goes with it.",
            *self._subject.doubts,
        ]
        return kept

    def _put(self, folder: Folder, kept: list[dict[str, Any]], ended: Optional[Ended]) -> None:
        volumes = self._subject.volumes
        claims = [objects.claim_as_kept(claim, volumes.volumes.get(name)) for name, claim in volumes.claims.items()]
        content = {
            "namespace": self._means.cluster.namespace,
            "claims": claims,
            "snapshots": kept,
            "data": self._subject.data,
            "pod": volumes.described(),
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        folder.put(SNAPSHOTS, "snapshots", text.encode(), compress=False)
        if ended is not None:
            folder.put(LABEL, LABEL, ended.label.encode(), compress=False)
            if ended.map:
                folder.put(MAP, MAP, ended.map.encode(), compress=False)
