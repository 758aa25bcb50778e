# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be snapshotted, and how, settled before anything is made: the server's claims, who it is, which consistency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archive_command import judge, keeps_nothing
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import layout, source
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import BACKUP_MODE, CHECKPOINT, Layout
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.objects import class_of
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.source import ServerVolumes, Wanted

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_TABLESPACES = (
    "SELECT oid::bigint AS oid, spcname AS name, pg_tablespace_location(oid) AS location FROM pg_tablespace"
    " WHERE pg_tablespace_location(oid) <> '' ORDER BY oid"
)
_WHO = "SELECT host(inet_server_addr()) AS address, current_setting('data_directory', true) AS directory"
_LOCAL = ("127.0.0.1", "::1")


@dataclass
class Subject:
    """``server``: as the record has it; ``data``: where the data directory lies; ``doubts``: what was not proven of the layout."""

    volumes: ServerVolumes
    layout: Layout
    consistency: str
    snapshot_class: Optional[str]
    deletion_policy: str
    server: dict[str, Any]
    data: dict[str, Any]
    doubts: list[str]

    def scope(self, namespace: str) -> dict[str, Any]:
        """What has the same scope can stand in for each other."""
        return {
            "cluster": True,
            "namespace": namespace,
            "workload": self.volumes.workload,
            "consistency": self.consistency,
        }


def settle(
    cluster: Cluster,
    wanted: Wanted,
    connection: Optional[Connection],
    archiving: Optional[Archiving],
    consistency: Optional[str],
    atomic: Optional[bool],
    snapshot_class: Optional[str],
) -> Subject:
    """Look at cluster and server. ``archiving``: into the repository, where that has the server's WAL.

    Raises:
        BadOption: it would make nothing that could be relied on, and why.
        HoldfastError: something cannot be looked at.
    """
    who = facts.rows(connection, _WHO)[0] if connection else {"address": None, "directory": None}
    volumes = source.find(cluster, wanted, who["address"])
    doubts: list[str] = []
    if connection is not None:
        _check_same(volumes, who, doubts)
    used_by = source.users(cluster, list(volumes.claims))
    asked = consistency in (None, BACKUP_MODE) and connection is not None
    found = Layout(
        tuple(volumes.claims),
        layout.is_atomic(volumes.driver, atomic),
        bool(used_by),
        _archives(connection, archiving, doubts) if asked and connection is not None else None,
    )
    chosen = layout.choose(found, consistency)
    server: dict[str, Any] = {
        "system_id": None, "timeline": None, "version": None, "version_num": None, "in_recovery": None
    }  # fmt: skip
    directory = who["directory"] or volumes.directory
    if connection is not None:
        server = _server(connection)
        _check_on_claims(volumes, directory, server["tablespaces"])
    if chosen in (CHECKPOINT, BACKUP_MODE):
        if connection is None:
            raise BadOption(
                "login_host", None, f"is not given, and consistency: {chosen} speaks with the server",
                "Say how it is connected to (login_host, login_user, login_password), or use consistency: none."
                if found.one_moment else "Say how it is connected to (login_host, login_user, login_password).",
            )  # fmt: skip
        if server["in_recovery"]:
            raise BadOption(
                "consistency", chosen, "is asked of a standby, whose snapshot may be corrupt (full pages are the primary's to write)",
                "Connect to the primary; a standby is snapshotted with consistency: stopped.",
            )  # fmt: skip
    if volumes.directory is None and not directory:
        doubts.append(
            "Which claim has the data directory: nothing in the cluster says so, and the server was not asked."
        )
    if found.atomic and atomic is None:
        doubts.append(
            f"That a snapshot by {volumes.driver} is of one moment: that is not known of this driver, and was assumed (atomic: false where it copies files)."
        )
    name, policy = class_of(volumes.driver, cluster.list("VolumeSnapshotClass"), snapshot_class)
    data = volumes.where(directory)
    return Subject(volumes, found, chosen, name, policy, server, data, doubts)


def _check_same(volumes: ServerVolumes, who: dict[str, Any], doubts: list[str]) -> None:
    """That the server that is asked is the one on these claims. Raises BadOption."""
    address = who["address"]
    if address is None or address in _LOCAL:
        doubts.append("That the server that was connected to is the one on these claims: its address does not tell.")
        return
    name = volumes.addresses.get(address)
    if volumes.pod is None or name != meta(volumes.pod)["name"]:
        pods = ", ".join(f"{pod} has {one}" for one, pod in volumes.addresses.items()) or "no pod of it runs"
        raise BadOption(
            "login_host", address, f"is not the server on {', '.join(volumes.claims)}: {pods}",
            "Connect to the server that is to be snapshotted, at its Service, and not by way of a pooler.",
        )  # fmt: skip


def _check_on_claims(volumes: ServerVolumes, directory: Optional[str], tablespaces: list[dict[str, Any]]) -> None:
    """That all that the server says of its directories lies on claims that are snapshotted. Raises BadOption."""
    for what, path in [("data directory", directory), *(("tablespace", one["location"]) for one in tablespaces)]:
        mount = discover.mount_of(path, volumes.mounts) if path else None
        if path is None or not volumes.mounts or (mount is not None and mount.claim in volumes.claims):
            continue
        if what == "tablespace" and directory and discover.below(path, directory):
            continue  # allow_in_place_tablespaces
        if not path.startswith("/"):
            continue
        on = f"{mount.source} {mount.claim or mount.volume}" if mount else "no volume"
        raise BadOption(
            "exclude_claims", None, f"or the pod leaves out the {what} {path}, which lies on {on}",
            "A snapshot of the others would lack it. It has to lie on a claim that is snapshotted.",
        )  # fmt: skip


def _archives(connection: Connection, archiving: Optional[Archiving], doubts: list[str]) -> bool:
    """Whether the server's WAL goes to an archive, as far as it says."""
    if archiving is not None:
        return True  # that it works is looked at before the backup (Archiving.before)
    if facts.setting(connection, "archive_mode") in (None, "off"):
        return False
    command, library = facts.setting(connection, "archive_command"), facts.setting(connection, "archive_library")
    # Who may not see the command has what arrives to go by.
    if library or command is None:
        return True
    if command == "(disabled)" or keeps_nothing(command):
        return False
    doubts += [
        f"That what the server archives is kept: of its archive_command is to be said that {problem}."
        for problem in judge(command)
    ]
    return True


def _server(connection: Connection) -> dict[str, Any]:
    identity = facts.identify(connection)
    return {
        "system_id": identity.system_id,
        "timeline": identity.timeline,
        "version": identity.version,
        "version_num": identity.version_num,
        "in_recovery": identity.in_recovery,
        "wal_segment_size": facts.wal_segment_size(connection),
        "data_directory": facts.setting(connection, "data_directory"),
        "tablespaces": facts.rows(connection, _TABLESPACES),
    }
