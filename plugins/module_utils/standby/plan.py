# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a standby on this host needs: what there is is looked at, a way is chosen, and what forbids it is found. Reads only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories, is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import DATA, PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.takeover import START_LOG
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import (
    Instance,
    configuration_of,
    last_words,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_standby
from ansible_collections.holdfast.postgres.plugins.module_utils.server.space import Need, check_space
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import (
    SIGNAL,
    conninfo,
    differing,
    passline,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import (
    BACKUP,
    COPY,
    FOLLOW,
    REWIND,
    Decision,
    Found,
    decide,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import compare
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest, StandbyResult
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn


@dataclass
class StandbyPlan:
    """What would be done. ``local`` None: the directory is empty. ``slot``: create, replace, or None: nothing. ``record``: the backup
    that it is made from. ``spaces``: the tablespaces' rows (oid, name, location) by oid; ``wanted``: its recovery settings, None: not
    set."""

    local: Optional[Local]
    slot: Optional[str]
    decision: Decision
    configuration: Optional[str]
    directories: Directories
    record: Optional[Record]
    spaces: dict[str, dict[str, str]]
    wanted: dict[str, Optional[str]]
    new_passfile: bool
    steps: list[str] = field(default_factory=list)


class StandbyPlanner:
    """Plans one standby. ``source`` None: its files come from the primary itself."""

    def __init__(
        self, request: StandbyRequest, upstream: Upstream, source: Optional[PhysicalSource], result: StandbyResult
    ) -> None:
        self._request, self._upstream, self._source, self._result = request, upstream, source, result
        self._directory = os.path.abspath(request.data_directory)
        self.programs = server_programs(upstream.identity.version_num, request.bin_dir)
        self.passfile = os.path.join(request.config_dir, f"{request.name}.primary.pgpass")

    def plan(self) -> StandbyPlan:
        """Raises HoldfastError: it cannot be done, or must not."""
        local = self._local()
        slot = self._slot(local)
        decision = self._decide(local)
        configuration = self._configuration(local, decision)
        record = self._choose() if decision.method == BACKUP else None
        rows = list((record.server.get("tablespaces") if record else None) or ())
        if decision.method == COPY:
            rows = self._upstream.tablespaces()
        spaces = {str(row["oid"]): row for row in rows}
        directories = self.directories(spaces)
        if decision.method in (COPY, BACKUP):
            self._refuse(local, decision, directories)
            self._check_space(record, directories, spaces)
        elif decision.method == REWIND:
            self._consent(local, decision)
        made = StandbyPlan(
            local, slot, decision, configuration, directories, record, spaces, self._wanted(), self._passfile_differs()
        )
        self._steps(made)
        return made

    def directories(self, spaces: dict[str, dict[str, str]]) -> Directories:
        """Where its files go, its tablespaces among them."""
        chosen = self._request.tablespaces
        return Directories(
            self._directory,
            {oid: chosen.get(row["name"], chosen.get(row["location"], row["location"])) for oid, row in spaces.items()},
            f".before-{utcnow():%Y%m%dT%H%M%SZ}",
        )

    def log_words(self) -> str:
        """The end of its log, where we started it ourselves."""
        log = os.path.join(self._directory, START_LOG)
        return last_words(log) if os.path.exists(log) else "Its log says why."

    # What there is

    def _local(self) -> Optional[Local]:
        if is_empty(self._directory):
            return None
        refuse_standby(self._directory)
        instance = Instance(
            self._directory,
            self.programs,
            self._request.owner,
            self._request.config_file or configuration_of(self._directory),
        )
        local = Local(instance)
        if local.major != self._upstream.identity.version_num // 10000:
            raise ServerError(
                f"{self._directory} is of PostgreSQL {local.major}, the primary of {self._upstream.identity.version}. Name another "
                "directory."
            )
        there = local.system_id()
        if there == self._upstream.system_id:
            local.refuse_self(self._upstream.started())
            if self._upstream.identity.in_recovery and not local.is_standby:
                raise ServerError(
                    f"{self._upstream} is itself a standby, and the server in {self._directory} was a primary: if it followed, there would be "
                    "no primary at all. Promote that one first (state: promoted, on its host)."
                )
        return local

    def state(self, local: Optional[Local]) -> Optional[str]:
        """What the primary says of it; None: nothing follows under its name."""
        if local is None or not local.running or not local.is_standby:
            return None
        row = self._upstream.replica(self._request.name)
        return None if row is None else row["state"] or "streaming"

    def _slot(self, local: Optional[Local]) -> Optional[str]:
        """What has to be done about the slot: create, or replace one that lost its WAL; None: nothing. Raises ServerError."""
        name = self._request.slot
        if name is None:
            return None
        slot = self._upstream.slot(name)
        if slot is None:
            return "create"
        if slot["kind"] != "physical":
            raise ServerError(
                f"The replication slot {name!r} on {self._upstream} is a logical one. Choose another slot_name."
            )
        if slot["active"] and (local is None or not local.running):
            raise ServerError(
                f"The replication slot {name!r} on {self._upstream} is used by another standby. Choose another slot_name, or stop "
                "that standby."
            )
        return "replace" if slot["wal_status"] == "lost" else None

    def _decide(self, local: Optional[Local]) -> Decision:
        made = COPY if self._source is None else BACKUP
        return decide(self._found(local), made, self._request.rewind)

    def _found(self, local: Optional[Local]) -> Found:
        """Asked only as far as an answer still matters."""
        mine, archive = self._upstream.system_id, self._request.restore_command is not None
        if local is None or local.system_id() != mine:
            return Found(mine, local.system_id() if local else None)
        if self.state(local) is not None:
            return Found(mine, mine, streams=True)
        position = local.position()
        now = self._upstream.position()
        verdict = compare(position, now, self._upstream.history(now.timeline))
        return Found(
            mine,
            mine,
            verdict=verdict,
            tells_changes=not verdict.follows and local.tells_changes(),
            lets_rewind=not verdict.follows and self._upstream.lets_rewind(),
            position=position.lsn,
            kept=self._upstream.keeps(position.lsn) if verdict.follows and not archive else None,
            archive=archive,
        )

    def _configuration(self, local: Optional[Local], decision: Decision) -> Optional[str]:
        found = self._request.config_file or (local.instance.configuration if local else None)
        if found is None and decision.method == COPY and self._upstream.configured_outside():
            raise BadOption(
                "config_file",
                None,
                "is missing, and the primary's configuration is not in its data directory, so that no copy has it",
                "Name the standby's own. On Debian: make a cluster by pg_createcluster, and name its postgresql.conf; its data "
                "directory is then replaced (force and confirm).",
            )
        return found

    def _choose(self) -> Record:
        """The backup that it is made from. Raises HoldfastError."""
        source = self._source
        if source is None:
            raise AssertionError("there is no source of backups")
        problems: list[str] = []
        wanted = self._request.backup_id
        records = [record for record in source.records(problems) if wanted in ("latest", record.id)]
        self._result.warnings += problems
        mine = [record for record in records if record.server.get("system_id") in (None, self._upstream.system_id)]
        if not mine:
            which = "no backup of this server" if wanted == "latest" else f"no backup {wanted!r} of this server"
            raise CatalogError(
                f"There is {which} (system identifier {self._upstream.system_id}) in {source.name}. Use source: primary."
            )
        record = max(mine, key=lambda record: record.stopped_at)
        start = Lsn.parse(record.start_lsn, "start_lsn") if record.start_lsn else None
        if start is not None and self._request.restore_command is None and self._upstream.keeps(start) is False:
            raise CatalogError(
                f"The backup {record.id} needs the WAL from {start} on, which the primary no longer has, and there is no WAL archive. "
                "Use source: primary."
            )
        return record

    # What forbids it

    def _refuse(self, local: Optional[Local], decision: Decision, directories: Directories) -> None:
        full = [path for path in directories.all if not is_empty(path)]
        if local is None:
            if full:
                raise BadOption(
                    "tablespace_locations", full, "has files in it", "Name empty directories for these tablespaces."
                )
            return
        self._consent(local, decision)
        directories.check()
        if local.system_id() != self._upstream.system_id and not self._request.accept_new_server:
            raise ServerError(
                f"{self._directory} is another server (system identifier {local.system_id()}) than the primary "
                f"({self._upstream.system_id}). If it is to be replaced nevertheless, set accept_new_server: true."
            )

    def _consent(self, local: Optional[Local], decision: Decision) -> None:
        if local is None:
            return
        if not self._request.force or self._directory not in self._request.confirm:
            fate = (
                "What is only here would be taken back by pg_rewind, and is lost"
                if decision.method == REWIND
                else "A new copy would take its place; what is here is kept beside, under another name"
            )
            raise BadOption(
                "data_directory",
                self._directory,
                f"cannot follow the primary as it is: {decision.why}",
                f"{fate}. If that is right, set force: true and confirm: [{self._directory}].",
            )
        if local.running and not self._request.stop_server:
            raise ServerError(
                f"A server is running in {self._directory} (process {local.instance.pid()}), and cannot follow: {decision.why}. "
                "Stop it, or let this be done with stop_server: true."
            )

    def _check_space(
        self, record: Optional[Record], directories: Directories, spaces: dict[str, dict[str, str]]
    ) -> None:
        if record is not None and self._source is not None:
            sizes = {oid: size or 0 for oid, size in self._source.sizes(record).items()}
        else:
            sizes = {oid: int(row["size"]) for oid, row in spaces.items()}
            sizes[DATA] = self._upstream.size() - sum(sizes.values())
        needs = [Need(directories.staged(directories.data), sizes.get(DATA, 0), "the standby")]
        needs += [
            Need(directories.staged(path), sizes.get(oid, 0), f"its tablespace {spaces[oid]['name']!r}")
            for oid, path in directories.tablespaces.items()
        ]
        check_space(needs, "Free some space, or put it on another disk (data_directory, tablespace_locations).")

    # The plan

    def _wanted(self) -> dict[str, Optional[str]]:
        parts = {**self._request.link, "application_name": self._request.name}
        if self._request.password:
            parts["passfile"] = self.passfile
        return {
            **self._request.settings,
            "primary_conninfo": conninfo(parts),
            "primary_slot_name": self._request.slot,
            "restore_command": self._request.restore_command,
            "recovery_target_timeline": "latest",
        }

    def _passfile_differs(self) -> bool:
        if not self._request.password:
            return False
        try:
            with open(self.passfile, encoding="utf-8") as stream:
                mode = os.fstat(stream.fileno()).st_mode & 0o777
                return stream.read() != passline(self._request.password) or mode != 0o600
        except OSError:
            return True

    def _steps(self, made: StandbyPlan) -> None:
        plan, wanted, method = made.steps, made.wanted, made.decision.method
        request, local, directories = self._request, made.local, made.directories
        if made.slot == "replace":
            plan.append(f"drop the replication slot {request.slot!r} of {self._upstream}, which lost its WAL")
        if made.slot:
            plan.append(f"create the replication slot {request.slot!r} on {self._upstream}")
        if made.new_passfile:
            plan.append(f"write the password for the primary to {self.passfile}, mode 0600")
        if method in (COPY, BACKUP):
            plan += [f"remove {path}, which an interrupted run left" for path in directories.leftovers()]
            staged = directories.staged(directories.data)
            if made.record is not None:
                plan.append(f"restore the backup {made.record.id} ({made.record.stopped_at}) into {staged}")
            else:
                plan.append(f"copy {self._upstream} ({self._upstream.size()} bytes) by pg_basebackup into {staged}")
            plan += [
                f"put its tablespace {made.spaces[oid]['name']!r} into {path}"
                for oid, path in directories.tablespaces.items()
            ]
        if local is not None and local.running and method != FOLLOW:
            plan.append(f"stop the server in {self._directory}")
        if method == REWIND:
            plan.append(
                f"rewind {self._directory} by pg_rewind, or copy the primary if that fails: {made.decision.why}"
            )
        if local is not None and method in (COPY, BACKUP):
            plan.append(f"move {self._directory} aside, to a name with {directories.aside}: {made.decision.why}")
        current = local.settings() if local is not None and method == FOLLOW else {}
        names = differing(current, wanted) if method == FOLLOW else sorted(n for n in wanted if wanted[n] is not None)
        self._result.settings = names
        plan += [
            f"set {name} to {wanted[name]!r}" if wanted.get(name) is not None else f"take {name} out" for name in names
        ]
        if local is None or not local.is_standby:
            plan.append(f"make it a standby ({SIGNAL})")
        if local is None or not local.running or method != FOLLOW:
            by = f"by the service {request.service}" if request.service else f"as {request.owner}"
            plan.append(f"start it {by}, and wait until it streams")
        elif names:
            self._result.restart_required = bool(self._upstream.restarting(names))
            plan.append("reload its configuration")
        elif not plan and self.state(local) is None:
            raise ServerError(
                f"The standby in {self._directory} is set up as wanted and runs, and does not stream from {self._upstream}. "
                f"{self.log_words()} Give it time, if it still reads WAL from an archive."
            )
        self._result.state = self.state(local)
