# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a recovery into a new Cluster, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import API
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.new_cluster import LONGEST_NAME
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import CHOOSE
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import IMMEDIATE, LATEST, Target

SNAPSHOTS = "volume_snapshot"
LATEST_BACKUP = "latest"


@dataclass(frozen=True)
class RestoreRequest:
    """``cluster``: the source; ``manifest``: it, where it is gone; ``new_name``: of what is made; ``backup``: a Backup object; ``backup_id``: in the
    store; ``archive_as``: the new server's name in the store; ``repository``: the store, for who reaches it
    otherwise than pods do; ``timeout``: seconds."""

    cluster: str
    manifest: Optional[Mapping[str, Any]]
    new_name: str
    method: str
    backup: Optional[str]
    backup_id: str
    target: Target
    option: Mapping[str, Any]
    archive_as: Optional[str]
    database: Optional[str]
    owner: Optional[str]
    secret: Optional[str]
    spec: Mapping[str, Any]
    repository: Optional[Mapping[str, Any]]
    first_backup: bool
    timeout: float
    bin_dir: Optional[str]
    #: volume snapshots are chosen as any backup, where they are what is chosen from
    snapshots: str = CHOOSE

    def digest(self, namespace: str) -> str:
        """Tells one recovery from another. How the store is reached from here, and for how long it is waited, is no part of that."""
        content = {
            name: getattr(self, name)
            for name in ("cluster", "method", "backup", "backup_id", "archive_as", "database", "owner", "secret")
        }
        return names.digest(f"{namespace}/{self.new_name}", {**content, "target": self.option, "spec": self.spec})


@dataclass
class RestoreResult:
    """What was done, or would be. ``cluster``: the new one, by name, server name in the store, phase; ``backup``: what it began with;
    ``reached``: where the recovery ended; ``first_backup``: of the new one."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    cluster: dict[str, Any] = field(default_factory=dict)
    backup: dict[str, Any] = field(default_factory=dict)
    reached: Optional[dict[str, Any]] = None
    first_backup: Optional[dict[str, Any]] = None
    proof: Proof = field(default_factory=Proof)
    next_steps: list[str] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        found = {name: value for name, value in vars(self).items() if name != "proof"}
        return {**found, "proof": self.proof.describe()}


def request_of(params: Mapping[str, Any]) -> RestoreRequest:
    """Raises BadOption."""
    option = {name: value for name, value in (params["recovery_target"] or {}).items() if value is not None}
    names.check_name("name", params["name"], LONGEST_NAME)
    manifest = params["manifest"] or None
    if manifest is not None and (
        manifest.get("apiVersion") != API or manifest.get("kind") != "Cluster" or not manifest.get("spec")
    ):
        raise BadOption(
            "manifest", f"{manifest.get('apiVersion')} {manifest.get('kind')}", "is no Cluster of CloudNativePG with a spec",
            "Give the source's own manifest, as it is in Git, or as k8s_capture or kubectl wrote it.",
        )  # fmt: skip
    source = params["cluster"] or ((manifest or {}).get("metadata") or {}).get("name")
    if not source:
        raise BadOption("cluster", source, "is missing", "Name the Cluster whose backups they are.")
    if source == params["name"]:
        raise BadOption(
            "name", params["name"], "is the source's own name, and the source is never touched", "Give the new one another name."
        )  # fmt: skip
    target = Target.from_option(option, "recovery_target")
    if params["method"] == SNAPSHOTS and params["backup_id"] != LATEST_BACKUP:
        raise BadOption(
            "backup_id", params["backup_id"], "is of a backup in the store", "Name a Backup object by backup, or leave it out."
        )  # fmt: skip
    if params["backup"] and params["backup_id"] != LATEST_BACKUP:
        raise BadOption("backup_id", params["backup_id"], "is given together with backup", "Give one of them.")
    return RestoreRequest(
        cluster=str(source),
        manifest=manifest,
        new_name=params["name"],
        method=params["method"],
        backup=params["backup"] or None,
        backup_id=params["backup_id"],
        target=target,
        option=option,
        archive_as=params["archive_as"] or None,
        database=params["database"] or None,
        owner=params["owner"] or None,
        secret=params["secret"] or None,
        spec=params["spec"] or {},
        repository=params["repository"],
        first_backup=params["first_backup"],
        timeout=float(parse_duration(params["timeout"], "timeout")),
        bin_dir=params["bin_dir"],
    )


def without_wal(target: Target) -> bool:
    """Whether a backup alone leads there, without WAL behind it."""
    return target.kind in (IMMEDIATE, LATEST)
