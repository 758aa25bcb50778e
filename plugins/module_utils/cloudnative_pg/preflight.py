# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against a backup of a Cluster, before it is asked for: what would be believed, and is none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import BarmanStore
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import (
    BARMAN_OBJECT_STORE,
    BARMAN_PLUGIN,
    PLUGIN,
    UNKNOWN_PLUGIN,
    VOLUME_SNAPSHOT,
    WITHOUT_IN_TREE,
    CnpgCluster,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError

#: the end of what is refused before anything was asked for
NOTHING_ASKED = "Nothing was asked of the operator."
_HOW = {
    PLUGIN: f"spec.plugins has no {BARMAN_PLUGIN}",
    BARMAN_OBJECT_STORE: "spec.backup.barmanObjectStore is not set",
    VOLUME_SNAPSHOT: "spec.backup.volumeSnapshot is not set",
}


def method_of(cluster: CnpgCluster, asked: Optional[str]) -> str:
    """How it is backed up: as asked for, else as it is configured.

    Raises:
        BadOption: it is not configured so.
    """
    if asked is None:
        if not cluster.methods:
            raise BadOption(
                "method", asked, f"is not given, and {cluster} is configured for none",
                f"Give it an object store (the plugin {BARMAN_PLUGIN}), or spec.backup.volumeSnapshot.",
            )  # fmt: skip
        return cluster.methods[0]
    if asked not in cluster.methods:
        known = ", ".join(cluster.methods) or "nothing"
        raise BadOption(
            "method", asked, f"cannot be had: {_HOW[asked]} in {cluster}", f"It is configured for: {known}."
        )
    return asked


def check_options(options: BackupOptions) -> None:
    """Raises BadOption: what is of volume snapshots is asked of another method."""
    if options.method == VOLUME_SNAPSHOT:
        return
    if options.online is not None:
        raise BadOption(
            "online", options.online, f"is of volume snapshots alone, and this is {options.method}", "Leave it out."
        )
    if options.immediate_checkpoint is not None:
        raise BadOption(
            "immediate_checkpoint", options.immediate_checkpoint, f"is of volume snapshots alone, and this is {options.method}",
            "Say it in the store's configuration: data.immediateCheckpoint.",
        )  # fmt: skip


def needs_wal(cluster: CnpgCluster, options: BackupOptions) -> bool:
    """Whether the backup cannot be restored without an archive: all but a snapshot of a server that is stopped for it."""
    if options.method != VOLUME_SNAPSHOT:
        return True
    if options.online is not None:
        return options.online
    snapshot = ((cluster.manifest.get("spec") or {}).get("backup") or {}).get("volumeSnapshot") or {}
    return bool(snapshot.get("online", True))


def check_cluster(cluster: CnpgCluster, wal: bool) -> None:
    """Whether it can be backed up now. ``wal``: the backup needs an archive.

    Raises:
        ServerError: it cannot, and why.
    """
    nothing = NOTHING_ASKED
    if cluster.deleted:
        raise ServerError(f"{cluster} is being deleted. {nothing}")
    if cluster.hibernated:
        raise ServerError(
            f"{cluster} is hibernated: nothing runs that could be backed up. End that first (cnpg.io/hibernation: off). {nothing}"
        )
    if cluster.phase == UNKNOWN_PLUGIN:
        raise ServerError(
            f"The operator does not go on with {cluster}, as a plugin of it is not there: {cluster.phase_reason or 'it does not say which'}. Its WAL "
            f"is not archived as long as that is so. Install the plugin. {nothing}"
        )
    if not cluster.primary:
        raise ServerError(
            f"{cluster} has no primary ({cluster.phase or 'no operator has looked at it'}{': ' if cluster.phase_reason else ''}"
            f"{cluster.phase_reason}). {nothing}"
        )
    fenced = [name for name in cluster.fenced if name in ("*", cluster.primary)]
    if fenced:
        raise ServerError(
            f"The primary of {cluster}, {cluster.primary}, is fenced: PostgreSQL is stopped there. {nothing}"
        )
    if wal:
        _check_archiving(cluster, nothing)


def _check_archiving(cluster: CnpgCluster, nothing: str) -> None:
    if cluster.store is None and cluster.archiver is None:
        raise ServerError(
            f"{cluster} archives no WAL, and this backup could not be restored without it. Give it an object store, or ask for a snapshot with "
            f"online: false. {nothing}"
        )
    condition = cluster.conditions.get("ContinuousArchiving")
    if condition is None:
        raise ServerError(
            f"{cluster} does not say whether its WAL is archived (it has no condition ContinuousArchiving yet): it has just been made, or the "
            f"plugin that archives does not run. {nothing}"
        )
    if not condition.holds:
        raise ServerError(
            f"The WAL of {cluster} is not archived (ContinuousArchiving is {condition.status} since {condition.since or 'some time'}): "
            f"{condition.message or condition.reason or 'it does not say why'}. A backup that is made now could not be restored. Nothing is lost as long "
            f"as its volume has room. {nothing}"
        )


def check_shared(
    cluster: CnpgCluster, store: BarmanStore, others: Iterable[tuple[CnpgCluster, Optional[BarmanStore]]]
) -> None:
    """Whether another Cluster archives into the very same place.

    Raises:
        ServerError: one does: the files of both would be one archive, from which neither can be restored.
    """
    same = sorted(
        f"{other.namespace}/{other.name}"
        for other, theirs in others
        if other.uid != cluster.uid and theirs is not None and store.is_same(theirs)
    )
    if same:
        raise ServerError(
            f"{cluster} and {', '.join(same)} archive into one place, {store}: their WAL is mixed, and neither may be restorable from there. "
            "Give one of them another serverName, and make a base backup of each at once. Nothing was asked of the operator."
        )


def check_owner(cluster: CnpgCluster, where: str, records: Sequence[Record]) -> None:
    """Whether what lies there is this server's.

    Raises:
        ServerError: the newest backup there is of another server, by its system identifier.
    """
    known = [str(record.server["system_id"]) for record in records if record.server.get("system_id")]
    if known and cluster.system_id and known[-1] != cluster.system_id:
        raise ServerError(
            f"The newest backup of {where} is of another server (system identifier {known[-1]}) than {cluster} ({cluster.system_id}): two servers write "
            "there, or it was made anew over another one's archive. Give it a serverName of its own."
        )


def lints(cluster: CnpgCluster, version: Optional[str]) -> list[str]:
    """What works today, and will not. ``version``: the operator's."""
    if cluster.store is None:
        return []
    number = ".".join(map(str, WITHOUT_IN_TREE))
    running = f"; the operator is {version}" if version else ""
    return [
        f"{cluster} archives by spec.backup.barmanObjectStore, which is gone in CloudNativePG {number}{running}: its WAL would not be archived "
        f"after that upgrade. Move it to the plugin {BARMAN_PLUGIN} before, in one change."
    ]
