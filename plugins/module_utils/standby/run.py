# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby on this host: made, told to follow its primary, and rebuilt where its past is not the primary's."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Places, is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import AUTO, rewrite
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import (
    Instance,
    configuration_of,
    last_words,
    run_as,
    service,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_standby
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import (
    SIGNAL,
    conninfo,
    differing,
    passline,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Verdict, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.maker import Maker
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

# How a standby comes to be: nothing is made anew, or how it is.
FOLLOW, REWIND, COPY, BACKUP = "follow", "rewind", "copy", "backup"


@dataclass(frozen=True)
class Wish:
    """What the user wants. ``link``: the parts of primary_conninfo, without application_name and passfile; ``password`` is its
    password, ``admin_password`` that of the role that copies and rewinds. ``slot`` None: no slot holds WAL back.
    ``settings`` are the standby's own. ``tablespaces`` maps names or places of tablespaces to places."""

    data_directory: str
    owner: str
    bin_dir: Optional[str]
    config_file: Optional[str]
    config_dir: str
    name: str
    slot: Optional[str]
    link: Mapping[str, str]
    password: Optional[str]
    admin_password: Optional[str]
    restore_command: Optional[str]
    settings: Mapping[str, str]
    tablespaces: Mapping[str, str]
    rewind: bool
    max_rate: Optional[int]
    backup_id: str
    service: Optional[str]
    stop_server: bool
    force: bool
    confirm: tuple[str, ...]
    accept_new_server: bool
    timeout: float


@dataclass
class Outcome:
    """What a run did, or would do. ``method``: follow, rewind, copy or backup; ``why`` it has to be made anew; ``state``: the
    primary's word for it (streaming, catchup)."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    method: str = FOLLOW
    why: Optional[str] = None
    state: Optional[str] = None
    kept: list[str] = field(default_factory=list)
    backup: Optional[str] = None
    settings: list[str] = field(default_factory=list)
    restart_required: bool = False


class StandbyRun:
    """One standby. ``source`` None: its files come from the primary itself."""

    def __init__(self, wish: Wish, upstream: Upstream, source: Optional[PhysicalSource], progress: Progress) -> None:
        self._wish, self._upstream, self._source, self._progress = wish, upstream, source, progress
        self._directory = os.path.abspath(wish.data_directory)
        self._programs = server_programs(upstream.identity.version_num, wish.bin_dir)
        self._passfile = os.path.join(wish.config_dir, f"{wish.name}.primary.pgpass")
        self._record: Optional[Record] = None
        self.outcome = Outcome()

    def run(self, check: bool) -> Outcome:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user.
        """
        local = self._local()
        slot = self._slot(local)
        self._method(local)
        configuration = self._configuration(local)
        places = self._places()
        if self.outcome.method in (COPY, BACKUP):
            self._refuse(local, places)
            self._check_space()
        elif self.outcome.method == REWIND:
            self._consent(local)
        self._plan(local, places, slot)
        self.outcome.changed = bool(self.outcome.plan)
        if check or not self.outcome.changed:
            return self.outcome
        self._act(local, places, slot, configuration)
        return self.outcome

    # What there is

    def _local(self) -> Optional[Local]:
        if is_empty(self._directory):
            return None
        refuse_standby(self._directory)
        instance = Instance(
            self._directory,
            self._programs,
            self._wish.owner,
            self._wish.config_file or configuration_of(self._directory),
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

    def _state(self, local: Optional[Local]) -> Optional[str]:
        """What the primary says of it; None: nothing follows under its name."""
        if local is None or not local.running or not local.is_standby:
            return None
        row = self._upstream.replica(self._wish.name)
        return None if row is None else row["state"] or "streaming"

    def _slot(self, local: Optional[Local]) -> Optional[str]:
        """What has to be done about the slot: create, or replace one that lost its WAL; None: nothing. Raises ServerError."""
        name = self._wish.slot
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

    def _method(self, local: Optional[Local]) -> None:
        made = COPY if self._source is None else BACKUP
        if local is None:
            self.outcome.method = made
            return
        if local.system_id() != self._upstream.system_id:
            self._anew(made, f"it is another server (system identifier {local.system_id()})")
            return
        if self._state(local) is not None:
            return
        position = local.position()
        now = self._upstream.position()
        verdict = compare(position, now, self._upstream.history(now.timeline))
        if not verdict.follows:
            self._parted(local, verdict, made)
        elif self._wish.restore_command is None and self._upstream.keeps(position.lsn) is False:
            self._anew(
                made,
                f"the primary no longer has the WAL from {position.lsn} on, and there is no archive to fetch it from",
            )

    def _parted(self, local: Local, verdict: Verdict, made: str) -> None:
        problem = None
        if not verdict.rewindable:
            problem = "there is no fork to go back to"
        elif not local.tells_changes():
            problem = "the server has neither wal_log_hints nor data checksums"
        elif not self._upstream.lets_rewind():
            problem = "the primary's role may not read its files, or full_page_writes is off there"
        if self._wish.rewind and problem is None:
            self._anew(REWIND, verdict.why)
            return
        self._anew(made, verdict.why + (f"; pg_rewind cannot help, as {problem}" if self._wish.rewind else ""))

    def _anew(self, method: str, why: str) -> None:
        self.outcome.method, self.outcome.why = method, why

    def _configuration(self, local: Optional[Local]) -> Optional[str]:
        found = self._wish.config_file or (local.instance.configuration if local else None)
        if found is None and self.outcome.method == COPY and self._upstream.configured_outside():
            raise BadOption(
                "config_file",
                None,
                "is missing, and the primary's configuration is not in its data directory, so that no copy has it",
                "Name the standby's own. On Debian: make a cluster by pg_createcluster, and name its postgresql.conf; its data "
                "directory is then replaced (force and confirm).",
            )
        return found

    def _places(self) -> Places:
        if self.outcome.method == BACKUP:
            self._record = self._choose()
            rows = list(self._record.server.get("tablespaces") or ())
        else:
            rows = self._upstream.tablespaces() if self.outcome.method == COPY else []
        self._rows = {str(row["oid"]): row for row in rows}
        chosen = {
            oid: self._wish.tablespaces.get(row["name"], self._wish.tablespaces.get(row["location"], row["location"]))
            for oid, row in self._rows.items()
        }
        return Places(self._directory, chosen, f".before-{utcnow():%Y%m%dT%H%M%SZ}")

    def _choose(self) -> Record:
        """The backup that it is made from. Raises HoldfastError."""
        source = self._source
        if source is None:
            raise AssertionError("there is no source of backups")
        problems: list[str] = []
        wanted = self._wish.backup_id
        records = [record for record in source.records(problems) if wanted in ("latest", record.id)]
        self.outcome.warnings += problems
        mine = [record for record in records if record.server.get("system_id") in (None, self._upstream.system_id)]
        if not mine:
            which = "no backup of this server" if wanted == "latest" else f"no backup {wanted!r} of this server"
            raise CatalogError(
                f"There is {which} (system identifier {self._upstream.system_id}) in {source.name}. Use source: primary."
            )
        record = max(mine, key=lambda record: record.stopped_at)
        start = Lsn.parse(record.start_lsn, "start_lsn") if record.start_lsn else None
        if start is not None and self._wish.restore_command is None and self._upstream.keeps(start) is False:
            raise CatalogError(
                f"The backup {record.id} needs the WAL from {start} on, which the primary no longer has, and there is no WAL archive. "
                "Use source: primary."
            )
        return record

    # What forbids it

    def _refuse(self, local: Optional[Local], places: Places) -> None:
        full = [path for path in places.all if not is_empty(path)]
        if local is None:
            if full:
                raise BadOption(
                    "tablespace_locations", full, "has files in it", "Name empty directories for these tablespaces."
                )
            return
        self._consent(local)
        places.check()
        if local.system_id() != self._upstream.system_id and not self._wish.accept_new_server:
            raise ServerError(
                f"{self._directory} is another server (system identifier {local.system_id()}) than the primary "
                f"({self._upstream.system_id}). If it is to be replaced nevertheless, set accept_new_server: true."
            )

    def _consent(self, local: Optional[Local]) -> None:
        if local is None:
            return
        if not self._wish.force or self._directory not in self._wish.confirm:
            fate = (
                "What is only here would be taken back by pg_rewind, and is lost"
                if self.outcome.method == REWIND
                else "A new copy would take its place; what is here is kept beside, under another name"
            )
            raise BadOption(
                "data_directory",
                self._directory,
                f"cannot follow the primary as it is: {self.outcome.why}",
                f"{fate}. If that is right, set force: true and confirm: [{self._directory}].",
            )
        if local.running and not self._wish.stop_server:
            raise ServerError(
                f"A server is running in {self._directory} (process {local.instance.pid()}), and cannot follow: {self.outcome.why}. "
                "Stop it, or let this be done with stop_server: true."
            )

    def _check_space(self) -> None:
        needed = self._upstream.size()
        parent = os.path.dirname(self._directory)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        status = os.statvfs(parent)
        free = status.f_bavail * status.f_frsize
        if needed > free:
            raise ToolError(f"The primary has {needed} bytes, and {parent} has {free} left. Free some space.")

    # The plan

    def _wanted(self) -> dict[str, Optional[str]]:
        parts = {**self._wish.link, "application_name": self._wish.name}
        if self._wish.password:
            parts["passfile"] = self._passfile
        return {
            **self._wish.settings,
            "primary_conninfo": conninfo(parts),
            "primary_slot_name": self._wish.slot,
            "restore_command": self._wish.restore_command,
            "recovery_target_timeline": "latest",
        }

    def _passfile_differs(self) -> bool:
        if not self._wish.password:
            return False
        try:
            with open(self._passfile, encoding="utf-8") as stream:
                mode = os.fstat(stream.fileno()).st_mode & 0o777
                return stream.read() != passline(self._wish.password) or mode != 0o600
        except OSError:
            return True

    def _plan(self, local: Optional[Local], places: Places, slot: Optional[str]) -> None:
        plan, outcome, wanted = self.outcome.plan, self.outcome, self._wanted()
        method = outcome.method
        if slot == "replace":
            plan.append(f"drop the replication slot {self._wish.slot!r} of {self._upstream}, which lost its WAL")
        if slot:
            plan.append(f"create the replication slot {self._wish.slot!r} on {self._upstream}")
        if self._passfile_differs():
            plan.append(f"write the password for the primary to {self._passfile}, mode 0600")
        if method in (COPY, BACKUP):
            plan += [f"remove {path}, which an interrupted run left" for path in places.leftovers()]
            staged = places.staged(places.data)
            if self._record is not None:
                plan.append(f"restore the backup {self._record.id} ({self._record.stopped_at}) into {staged}")
            else:
                plan.append(f"copy {self._upstream} ({self._upstream.size()} bytes) by pg_basebackup into {staged}")
            plan += [
                f"put its tablespace {self._rows[oid]['name']!r} into {place}"
                for oid, place in places.tablespaces.items()
            ]
        if local is not None and local.running and method != FOLLOW:
            plan.append(f"stop the server in {self._directory}")
        if method == REWIND:
            plan.append(f"rewind {self._directory} by pg_rewind, or copy the primary if that fails: {outcome.why}")
        if local is not None and method in (COPY, BACKUP):
            plan.append(f"move {self._directory} aside, to a name with {places.aside}: {outcome.why}")
        current = local.settings() if local is not None and method == FOLLOW else {}
        names = differing(current, wanted) if method == FOLLOW else sorted(n for n in wanted if wanted[n] is not None)
        outcome.settings = names
        plan += [
            f"set {name} to {wanted[name]!r}" if wanted.get(name) is not None else f"take {name} out" for name in names
        ]
        if local is None or not local.is_standby:
            plan.append(f"make it a standby ({SIGNAL})")
        if local is None or not local.running or method != FOLLOW:
            by = f"by the service {self._wish.service}" if self._wish.service else f"as {self._wish.owner}"
            plan.append(f"start it {by}, and wait until it streams")
        elif names:
            outcome.restart_required = bool(self._upstream.restarting(names))
            plan.append("reload its configuration")
        elif not plan and self._state(local) is None:
            raise ServerError(
                f"The standby in {self._directory} is set up as wanted and runs, and does not stream from {self._upstream}. "
                f"{self._log_words()} Give it time, if it still reads WAL from an archive."
            )
        outcome.state = self._state(local)

    # Doing it

    def _act(self, local: Optional[Local], places: Places, slot: Optional[str], configuration: Optional[str]) -> None:
        wish = self._wish
        if wish.slot and slot == "replace":
            self._upstream.drop_slot(wish.slot)
        if wish.slot and slot:
            self._upstream.create_slot(wish.slot)
        try:
            if wish.password:
                make_directory(wish.config_dir, wish.owner)
                put(self._passfile, passline(wish.password), wish.owner)
            self._make(local, places, configuration)
        except BaseException:
            # A slot that nobody reads from fills the primary's disk.
            if wish.slot and slot == "create":
                with contextlib.suppress(HoldfastError):
                    self._upstream.drop_slot(wish.slot)
            raise
        self._wait()

    def _make(self, local: Optional[Local], places: Places, configuration: Optional[str]) -> None:
        wish, method = self._wish, self.outcome.method
        instance = Instance(self._directory, self._programs, wish.owner, configuration)
        if method == REWIND and local is not None:
            if local.running:
                self._stop(instance)
            if not self._rewound(instance):
                method = self.outcome.method = COPY
                self._rows = {str(row["oid"]): row for row in self._upstream.tablespaces()}
                places.tablespaces.update(
                    {oid: wish.tablespaces.get(row["name"], row["location"]) for oid, row in self._rows.items()}
                )
        if method in (COPY, BACKUP):
            self._replace(local, places, configuration)
            return
        self._write(self._directory)
        if local is not None and local.running and method == FOLLOW:
            done = run_as(wish.owner, [instance.program("pg_ctl"), "-D", self._directory, "reload"])
            if done.returncode:
                raise ServerError(f"The server did not reload its configuration: {' '.join(done.stdout.split())}")
        else:
            self._start(instance)

    def _rewound(self, instance: Instance) -> bool:
        self._progress.step("rewinding")
        self._upstream.checkpoint()
        try:
            self._maker().rewind(instance, "restore_command" in Local(instance).settings())
        except ToolError as exc:
            self.outcome.warnings.append(f"{exc}. The primary is copied instead.")
            return False
        return True

    def _replace(self, local: Optional[Local], places: Places, configuration: Optional[str]) -> None:
        wish, staged = self._wish, places.staged(places.data)
        stopped = False
        places.clear()
        old = local.instance if local is not None else None
        try:
            inner = {oid: places.staged(place) for oid, place in places.tablespaces.items()}
            if self._record is not None and self._source is not None:
                self._source.lay_out(self._record, staged, inner, wish.owner, self._programs, self._progress)
            else:
                self._progress.step("copying the primary", self._upstream.size())
                by_location = {self._rows[oid]["location"]: place for oid, place in inner.items()}
                self._maker().copy(staged, by_location, wish.slot, wish.max_rate)
            self._write(staged)
            if old is not None and old.pid() is not None:
                self._stop(old)
                stopped = True
            places.swap(wish.owner)
        except BaseException:
            places.clear()
            if stopped and old is not None:
                self._start(old)
            raise
        self.outcome.kept = places.kept
        try:
            self._start(Instance(self._directory, self._programs, wish.owner, configuration))
        except HoldfastError as exc:
            words = (
                f"It lies in {self._directory}, and what was there before in {', '.join(places.kept) or 'no place'}."
            )
            raise ServerError(f"The standby was made, and could not be started: {exc} {words}") from exc

    def _maker(self) -> Maker:
        address = self._upstream.address
        return Maker(self._wish.owner, self._programs, address.conninfo(address.db), self._wish.admin_password)

    def _write(self, directory: str) -> None:
        """The settings, and the signal that makes it a standby."""
        path = os.path.join(directory, AUTO)
        text = ""
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            text = stream.read()
        put(path, rewrite(text, self._wanted()), self._wish.owner)
        for name in ("recovery.signal", "backup_label.old", "postmaster.pid", "postmaster.opts"):
            if directory != self._directory or name == "recovery.signal":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))
        put(os.path.join(directory, SIGNAL), "", self._wish.owner)

    def _log(self) -> str:
        return os.path.join(self._directory, "holdfast-start.log")

    def _log_words(self) -> str:
        return last_words(self._log()) if os.path.exists(self._log()) else "Its log says why."

    def _stop(self, instance: Instance) -> None:
        self._progress.step("stopping the server")
        if self._wish.service:
            service("stop", self._wish.service)
        if instance.pid() is not None:
            instance.stop()

    def _start(self, instance: Instance) -> None:
        self._progress.step("starting the standby")
        if self._wish.service:
            service("start", self._wish.service)
        else:
            instance.start(self._log(), timeout=max(60, int(self._wish.timeout)))

    def _wait(self) -> None:
        """Raises ServerError: it does not stream."""
        self._progress.step("waiting until it streams")
        began = time.monotonic()
        while True:
            row = self._upstream.replica(self._wish.name)
            self.outcome.state = None if row is None else row["state"] or "streaming"
            if self.outcome.state == "streaming":
                return
            if time.monotonic() - began > self._wish.timeout:
                break
            time.sleep(0.1)
        if self.outcome.state is not None:
            self.outcome.warnings.append(
                f"The standby follows, and has not caught up within {self._wish.timeout:g} seconds (state {self.outcome.state})."
            )
            return
        raise ServerError(
            f"The standby in {self._directory} was started, and does not stream from {self._upstream} after "
            f"{self._wish.timeout:g} seconds. {self._log_words()}"
        )
