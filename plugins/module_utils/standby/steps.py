# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would be done for a standby, and in sentences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import neutral
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import (
    OLD_SIGNAL,
    SIGNAL,
    differing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import (
    BACKUP,
    COPY,
    FOLLOW,
    REWIND,
    Decision,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.following import Following
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.own import OwnConfiguration
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest, StandbyResult
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run


@dataclass
class StandbyPlan:
    """What would be done. ``local`` None: the directory is empty. ``slot``: create, replace, or None: nothing. ``record``: the backup
    that it is made from. ``spaces``: the tablespaces' rows (oid, name, location) by oid; ``wanted``: its recovery settings, None: not
    set. ``view``: whom it follows now, None: it does not run; ``follows``: the
    primary that is named. ``idle_slots``: slots of its own that are dropped once it follows."""

    local: Optional[Local]
    slot: Optional[str]
    decision: Decision
    configuration: Optional[str]
    directories: Directories
    record: Optional[Record]
    spaces: dict[str, dict[str, str]]
    wanted: dict[str, Optional[str]]
    new_passfile: bool
    follows: bool
    view: Optional[Following]
    steps: list[str] = field(default_factory=list)
    idle_slots: list[str] = field(default_factory=list)
    #: WAL that is fetched from a store before it starts
    fetch: Sequence[Run] = ()


def describe(
    made: StandbyPlan, request: StandbyRequest, upstream: Upstream, passfile: str, result: StandbyResult
) -> list[str]:
    """The steps, in order. ``result`` gets the names of the settings that change, and whether a restart is required."""
    plan: list[str] = []
    wanted, method, local, directories = made.wanted, made.decision.method, made.local, made.directories
    directory = directories.data
    own = OwnConfiguration(directory, request.owner)
    if local is not None and own.left:
        plan.append(f"put back the configuration that an interrupted run left in {own.kept}")
    if made.slot == "replace":
        plan.append(f"drop the replication slot {request.slot!r} of {upstream}, which lost its WAL")
    if made.slot:
        plan.append(f"create the replication slot {request.slot!r} on {upstream}")
    if made.new_passfile:
        plan.append(f"write the password for the primary to {passfile}, mode 0600")
    if method in (COPY, BACKUP):
        plan += [f"remove {path}, which an interrupted run left" for path in directories.leftovers()]
        staged = directories.staged(directories.data)
        if made.record is not None:
            plan.append(f"restore the backup {made.record.id} ({made.record.stopped_at}) into {staged}")
            if made.fetch:
                plan.append(
                    f"fetch {sum(run.length for run in made.fetch)} segments of WAL, which the primary no longer has, from the repository"
                )
        else:
            size = upstream.size()
            plan.append(f"copy {upstream}{'' if size is None else f' ({size} bytes)'} by pg_basebackup into {staged}")
        plan += [
            f"put its tablespace {made.spaces[oid]['name']!r} into {path}"
            for oid, path in directories.tablespaces.items()
        ]
    if local is not None and local.running and method != FOLLOW:
        plan.append(f"stop the server in {directory}")
    if method == REWIND:
        plan.append(f"rewind {directory} by pg_rewind, or copy the primary if that fails: {made.decision.why}")
    if local is not None and method in (COPY, BACKUP):
        plan.append(f"move {directory} aside, to a name with {directories.aside}: {made.decision.why}")
    if local is not None and method != FOLLOW:
        plan.append(f"keep the configuration, certificates and keys of the server in {directory}")
    if local is not None and method == FOLLOW and os.path.lexists(os.path.join(directory, OLD_SIGNAL)):
        plan.append(f"rename {OLD_SIGNAL}, with which no server since 12 starts, to {OLD_SIGNAL}.old")
    current = local.settings() if local is not None and method == FOLLOW else {}
    names = (
        differing(current, wanted, upstream.kinds(list(wanted)))
        if method == FOLLOW
        else sorted(n for n in wanted if wanted[n] is not None)
    )
    result.settings = names
    steers = neutral(upstream.identity.version_num // 10000)
    quiet = [name for name in names if name in steers and wanted.get(name) == steers[name]]
    if quiet:
        plan.append(f"neutralise what would steer its recovery ({', '.join(quiet)})")
    plan += [
        f"set {name} to {wanted[name]!r}" if wanted.get(name) is not None else f"take {name} out"
        for name in names
        if name not in quiet
    ]
    if local is None or not local.is_standby:
        plan.append(f"make it a standby ({SIGNAL})")
    if local is None or not local.running or method != FOLLOW:
        by = f"by the service {request.service}" if request.service else f"as {request.owner}"
        plan.append(f"start it {by}, and wait until it streams")
    elif names:
        # A target that would stop it has not done so, unless it stands.
        stands = made.view is not None and made.view.paused
        telling = names if stands else [name for name in names if name not in quiet]
        result.restart_required = bool(upstream.restarting(telling))
        plan.append("reload its configuration")
    if made.idle_slots:
        plan.append(
            f"drop the replication slots of the server in {directory} that are for nobody: {', '.join(made.idle_slots)}"
        )
    return plan
