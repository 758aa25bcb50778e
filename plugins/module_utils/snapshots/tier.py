# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository whose backups are snapshots elsewhere: what goes here goes there, and what is gone there is no backup here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.identity import Identity
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import Each, FolderMaker, MakingPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import clean, plan_prune
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import cluster as snapshots
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.engine import ENGINE
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.objects import COMPLETE, snapshots_of


class SnapshotTier(FolderTier):
    """Our folder in a repository, and the snapshots in a cluster that its records name. The manifest goes first: what a run that dies
    between leaves are snapshots that no backup has, which the next one knows by their labels."""

    def __init__(
        self,
        name: str,
        shelf: Shelf,
        policy: Policy,
        warnings: list[str],
        identity: Identity,
        accept_new_repository: bool,
        cluster: Cluster,
    ) -> None:
        super().__init__(name, shelf, policy, warnings, identity, accept_new_repository)
        self._cluster, self._own = cluster, identity
        #: snapshots that no backup has, by the id of the backup that they were made for
        self.strays: dict[str, Manifests] = {}
        self._folders: Sequence[str] = ()

    def open_by(self, encryption: Encryption) -> None:
        """What is to open a backup that makes another one needless."""
        self._encryption = encryption

    def look(self, request: BackupRequest, present: Present) -> None:
        super().look(request, present)
        self.find_strays()

    def find_strays(self) -> None:
        """What runs that died left in the cluster. Raises KubernetesError."""
        number = self._own.number()
        # What may be a backup's, whose manifest cannot be read, is none.
        known = {record.id for record in self.known} | {*self.listing.lost, *self.listing.unread}
        self.strays = snapshots.strays(self._cluster, number, self.shelf.name, known) if number else {}
        self._folders = self.listing.leftovers
        self.leftovers = sorted({*self._folders, *self.strays})

    def doubt(self, record: Record) -> Optional[str]:
        return super().doubt(record) or self.beyond(record)

    def beyond(self, record: Record) -> Optional[str]:
        if record.engine != ENGINE:
            return None
        try:
            return snapshots.lacking(self._cluster, record)
        except HoldfastError as exc:
            return f"whether its snapshots are there is not known: {exc}"

    def clean(self) -> None:
        clean(self.shelf, self._folders, self.warnings)
        self.remove_strays(self.strays)

    def remove_strays(self, strays: Mapping[str, Manifests]) -> None:
        """Delete snapshots that no backup has. What stays is said."""
        for found in strays.values():
            snapshots.remove_found(self._cluster, found, self.warnings)

    def plan_prune_of(self, engine: str) -> None:
        """Decide for all backups of an engine, whatever their scope."""
        mine = {record.id for record in self.known if record.engine == engine}
        decisions = plan_prune(self.listing, self.policy, self.warnings, None, self.beyond)
        self.decisions = [decision for decision in decisions if decision.id in mine]

    def prune(self, beat: Callable[[], None]) -> None:
        super().prune(beat)
        records = {record.id: record for record in self.known}
        for gone in self.pruned:
            self.remove_snapshots(records[gone["id"]])

    def remove_snapshots(self, record: Record) -> None:
        """Of a backup that is none any more. What stays is said."""
        snapshots.remove_all(self._cluster, snapshots_of(record.consistency), self.warnings)

    def forget(self, backup_id: str) -> bool:
        gone = super().forget(backup_id)
        number = self._own.number()
        try:
            found = snapshots.of_backups(self._cluster, number, self.shelf.name, backup_id) if number else {}
            said: list[str] = []
            snapshots.remove_found(self._cluster, found.get(backup_id, []), said)
        except HoldfastError:
            return False
        self._warn(said)
        return gone and not said

    def remember(self) -> None:
        super().remember()
        if self.record is not None:
            snapshots.mark_complete(self._cluster, snapshots_of(self.record.consistency), COMPLETE)


class SnapshotMaker(FolderMaker):
    """A maker whose engine is told the backup's id, as the snapshots are called after it."""

    backup_id = ""

    def plan(self, backup_id: str, tiers: Sequence[Any], each: Each[FolderTier], check: bool) -> MakingPlan:
        self.backup_id = backup_id
        return super().plan(backup_id, tiers, each, check)
