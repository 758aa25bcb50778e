# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery into a new Cluster: planned, asked of the operator, followed, and looked at. The source is only read.

What the run is at stands on the new Cluster, so that a run that was killed is gone on with by the next, and a second one changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    backup_object,
    follow,
    new_cluster,
    reading,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BACKUP,
    CLUSTER,
    SCHEDULED_BACKUP,
    CnpgCluster,
    cluster_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_follow import RestoreFollower
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_landing import RestoreLanding
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_plan import Plan, Planner
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_request import (
    RestoreRequest,
    RestoreResult,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    AlreadyThere,
    Forbidden,
    KubernetesError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target

_FIRST = "first"  # behind the new Cluster's name, the name of its first backup
_IN_STORE = 120.0  # seconds in which the last WAL of a backup comes into the store


class Restore:
    """One recovery. ``login``: how the new server is reached, None: by its Service and Secret; ``scratch``: a private directory."""

    def __init__(
        self,
        cluster: Cluster,
        request: RestoreRequest,
        login: Optional[Mapping[str, Any]],
        check: bool,
        scratch: str,
        progress: Progress,
        warnings: list[str],
    ) -> None:
        self._cluster, self._request, self._login, self._check = cluster, request, login, check
        self._scratch, self._progress, self._warnings = scratch, progress, warnings
        self._digest = request.digest(cluster.namespace)

    def run(self) -> RestoreResult:
        """Raises HoldfastError."""
        result = RestoreResult()
        there = self._cluster.get(CLUSTER, self._request.new_name)
        if there is None:
            there = self._make(result)
            if there is None:
                return result
        else:
            self._refuse_another(there)
        noted = json.loads(there["metadata"]["annotations"][new_cluster.RECOVERY_PLAN])
        result.backup = noted["backup"]
        if self._check:
            self._planned_on(there, noted, result)
            return result
        self._land(noted, result)
        return result

    # What follows is how.

    def _make(self, result: RestoreResult) -> Optional[Manifest]:
        """Ask the operator for it. None in check mode."""
        self._progress.step("looking at the backups and their WAL")
        planner = Planner(self._cluster, self._request, self._scratch, self._open, self._progress.step)
        plan = planner.plan()
        self._warnings += plan.warnings
        manifest = self._annotated(plan)
        result.changed, result.manifest, result.backup = True, manifest, dict(plan.backup)
        result.plan = self._steps(plan)
        result.proof.unproven += plan.notes
        result.cluster = {
            "name": self._request.new_name,
            "namespace": self._cluster.namespace,
            "archive_as": plan.archive_as,
        }
        if self._check:
            return None
        self._progress.step(f"asking for the Cluster {self._request.new_name}")
        try:
            return self._cluster.create(manifest)
        except AlreadyThere:
            # Somebody else's, of this moment; or ours, of an answer that was lost.
            found = self._cluster.get(CLUSTER, self._request.new_name)
            if found is None:
                raise
            self._refuse_another(found)
            return found

    def _annotated(self, plan: Plan) -> Manifest:
        request = self._request
        # Without a way through an archive the operator is told of no target: it replays what the snapshots have.
        target = plan.target if plan.timeline is not None else Target()
        noted = {
            "target": {key: value for key, value in _option(target).items() if value is not None},
            "timeline": plan.timeline,
            "backup": plan.backup,
            "archive_as": plan.archive_as,
        }
        annotations = {
            new_cluster.RECOVERY: self._digest,
            new_cluster.RECOVERY_OF: f"{request.cluster}, to {request.target.describe()}",
            new_cluster.RECOVERY_PLAN: json.dumps(noted, sort_keys=True),
        }
        metadata = {**plan.manifest["metadata"], "annotations": annotations}
        return {**plan.manifest, "metadata": metadata}

    def _steps(self, plan: Plan) -> list[str]:
        request = self._request
        what = f"the backup {plan.backup.get('id') or plan.backup.get('object')}"
        where = f" on timeline {plan.timeline}" if plan.timeline else ""
        steps = [
            f"make the Cluster {request.new_name} of {what} of {request.cluster}, recovered to {plan.target.describe()}{where}",
        ]
        if plan.archive_as:
            steps.append(f"archive its WAL as {plan.archive_as}")
        steps.append("wait until it serves, and compare where it landed with what was asked for")
        if request.first_backup and plan.store is not None:
            steps.append("make its first backup, on the new timeline")
        return steps

    def _refuse_another(self, there: Manifest) -> None:
        """Raises KubernetesError: the Cluster of that name is not of this recovery."""
        annotations = there["metadata"].get("annotations") or {}
        where = f"in the namespace {self._cluster.namespace}"
        if there["metadata"].get("deletionTimestamp"):
            raise KubernetesError(
                f"The Cluster {self._request.new_name} {where} is being deleted: wait until it is gone."
            )
        if new_cluster.RECOVERY not in annotations or new_cluster.RECOVERY_PLAN not in annotations:
            raise KubernetesError(
                f"There is a Cluster {self._request.new_name} {where}, and this collection did not make it. It was left as it is: choose another name."
            )
        if annotations[new_cluster.RECOVERY] != self._digest:
            raise KubernetesError(
                f"The Cluster {self._request.new_name} {where} is of another recovery ({annotations.get(new_cluster.RECOVERY_OF)}). It was left as it is: "
                "choose another name, or delete that one."
            )

    def _planned_on(self, there: Manifest, noted: Mapping[str, Any], result: RestoreResult) -> None:
        """What a run would still do."""
        now = cluster_of(there)
        result.cluster = self._described(now, noted)
        if not now.healthy:
            result.plan.append(
                f"wait until the Cluster {now.name} serves, and compare where it landed with what was asked for"
            )
            result.changed = True
        archives = reading.store(self._cluster, now) is not None
        if archives and self._wants_backup(now) and not self._has_backup():
            result.plan.append("make its first backup, on the new timeline")
            result.changed = True

    def _land(self, noted: Mapping[str, Any], result: RestoreResult) -> None:
        name = self._request.new_name
        follower = RestoreFollower(self._cluster, name, self._progress.step)
        now = follower.until_it_serves(self._request.timeout)
        store = reading.store(self._cluster, now)
        archive = StoreArchive(self._open(store), store.server_name) if store else None
        landing = RestoreLanding(self._cluster, name, self._scratch, self._login, self._progress.step)
        target = Target.from_option(noted["target"], "recovery_target")
        found = landing.reached(archive, target, noted["timeline"], follower.ended, result.proof)
        result.reached = found.describe() if found else None
        result.proof.require(
            f"The Cluster {name} serves, and is not what was asked for: nobody should use it. The source was not touched."
        )
        if archive is not None:
            landing.archives(result.proof)
        landing.serves(noted["backup"].get("system_id"), result.proof)
        if archive is not None and self._wants_backup(now):
            self._first_backup(now, archive, result)
        result.cluster = self._described(cluster_of(self._cluster.get(CLUSTER, name) or now.manifest), noted)
        result.next_steps = self._next_steps(now)

    def _wants_backup(self, now: CnpgCluster) -> bool:
        return self._request.first_backup and bool(now.methods)

    def _has_backup(self) -> bool:
        """Whether it has one, whoever asked for it: objects of old ones are removed."""
        mine = backup_object.of_cluster(self._cluster.list(BACKUP), self._request.new_name)
        return any(backup_object.phase_of(one) == backup_object.COMPLETED for one in mine)

    def _first_backup(self, now: CnpgCluster, archive: StoreArchive, result: RestoreResult) -> None:
        """Of the primary, whose stop of a backup ends its segment. Raises ServerError: it is none."""
        name = f"{now.name}-{_FIRST}"
        there = self._cluster.get(BACKUP, name)
        if there is not None and backup_object.why_failed(there) is not None:
            there, name = None, backup_object.name_of(now.name, utcnow())  # that one stays failed
        if there is None:
            if self._has_backup() or archive.records([]):
                result.proof.proven.append("It has backups of its own.")
                return
            options = backup_object.BackupOptions(now.methods[0], target="primary")
            made = backup_object.manifest(name, self._cluster.namespace, now.name, options)
            try:
                self._cluster.create(made)
                if not result.plan:
                    result.plan.append("make its first backup, on the new timeline")
                result.changed = True
            except AlreadyThere:
                pass
        found = follow.follow(self._cluster, name, self._request.timeout, self._progress)
        status = found["status"]
        result.first_backup = {"name": name, "id": status.get("backupId"), "stopped_at": status.get("stoppedAt")}

        def whole() -> Optional[bool]:
            record = next((one for one in archive.records([]) if one.id == status.get("backupId")), None)
            return True if record is not None and not archive.missing_of(record) else None

        if Waiter(_IN_STORE, pause=0.5, most=3.0).until({"whole": whole}) is None:
            raise ServerError(
                f"The Cluster {now.name} is recovered and serves. Its first backup ({name}) is completed, as the operator says, and not all of it is in "
                f"{archive.description}: do not rely on it. Make another one (cnpg_backup)."
            )
        result.proof.proven.append(
            f"Its first backup, {status.get('backupId')}, is in the store, with all WAL that it needs."
        )

    def _described(self, now: CnpgCluster, noted: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": now.name,
            "namespace": now.namespace,
            "archive_as": noted["archive_as"],
            "phase": now.phase,
            "timeline": now.timeline,
            "system_id": now.system_id,
            "instances": now.instances,
        }

    def _next_steps(self, now: CnpgCluster) -> list[str]:
        steps = [f"Lead applications to the Service {now.name}-rw."]
        recovery = ((now.manifest.get("spec") or {}).get("bootstrap") or {}).get("recovery") or {}
        if recovery.get("owner") and not recovery.get("secret"):
            steps.append(f"The role {recovery['owner']} has a new password there: it is in the Secret {now.name}-app.")
        try:
            scheduled = [
                one["metadata"]["name"]
                for one in self._cluster.list(SCHEDULED_BACKUP)
                if ((one.get("spec") or {}).get("cluster") or {}).get("name") == self._request.cluster
            ]
        except Forbidden:
            scheduled = []
        if scheduled:
            steps.append(
                f"Backups are scheduled of {self._request.cluster} ({', '.join(sorted(scheduled))}), and not of {now.name}: make a schedule for it."
            )
        return steps

    def _open(self, store: BarmanStore) -> Repository:
        return reading.open_as(self._request.repository, self._cluster, store, self._scratch)


def _option(target: Target) -> dict[str, Any]:
    """A target as its option says it."""
    found: dict[str, Any] = {"timeline": target.timeline}
    if target.kind in ("time", "lsn"):
        found[target.kind] = str(getattr(target, target.kind))
    elif target.kind in ("xid", "name"):
        found[target.kind] = getattr(target, target.kind)
    else:
        found[target.kind] = True
    if not target.inclusive:
        found["inclusive"] = False
    return found
