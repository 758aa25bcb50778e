# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a server back to a moment: planned and proven before anything is touched, recovered beside the old one in private,
and put in its place only when it is where it should be."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup, survey, with_commits
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.files import give, make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import (
    Places,
    alone,
    is_empty,
    read_marker,
    write_marker,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import (
    AUTO,
    SIGNAL,
    included_directories,
    quoted,
    rewrite,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import (
    Landing,
    PrivateServer,
    end_interrupted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import data_owner
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import (
    Instance,
    configuration_of,
    service,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_restore
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.users import as_user
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.choose import Choice, choose
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import IMMEDIATE, LATEST, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines


@dataclass
class Wish:
    """What the user wants. ``settings`` are for the restored server (its port, when it stands beside the old one);
    ``tablespaces`` maps names or places of tablespaces to places."""

    data_directory: str
    target: Target
    action: str
    backup_id: str
    owner: Optional[str]
    user: str
    bin_dir: Optional[str]
    config_file: Optional[str]
    settings: Mapping[str, str]
    tablespaces: Mapping[str, str]
    start: bool
    service: Optional[str]
    stop_server: bool
    keep_archiving: bool
    force: bool
    confirm: tuple[str, ...]
    accept_new_server: bool


@dataclass
class Outcome:
    """What a run did, or would do."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    record: Optional[Record] = None
    choice: Optional[Choice] = None
    landing: Optional[Landing] = None
    kept: list[str] = field(default_factory=list)


class RecoverRun:
    """A point-in-time recovery of one server. ``scratch`` is a private directory."""

    def __init__(self, source: PhysicalSource, wish: Wish, scratch: str, progress: Progress) -> None:
        self._source, self._wish, self._scratch, self._progress = source, wish, scratch, progress
        self._directory = os.path.abspath(wish.data_directory)
        self._records: dict[str, Record] = {}
        self._archive: Archive = Archive(Coverage(), Timelines({}))
        self.outcome = Outcome()

    def run(self, check: bool) -> Outcome:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user. What was there before is as it was, and runs if it ran.
        """
        if self._stands():
            return self.outcome
        choice, record = self._choose()
        programs = server_programs(int(record.server["version_num"]), self._wish.bin_dir)
        owner = self._owner()
        places = self._places(record)
        old = self._old_server(record, programs, owner, places)
        self._check_space(record, places)
        self._source.prove(record)
        self.outcome.changed = True
        self._plan(choice, record, places, old, owner)
        if check:
            return self.outcome
        make_directory(os.path.dirname(self._directory), owner)
        with alone(self._directory):
            self._act(choice, record, places, old, owner, programs)
        return self.outcome

    # What to do

    def _mark(self) -> dict[str, Any]:
        target = asdict(self._wish.target)
        return {
            "source": self._source.name,
            "backup": self._wish.backup_id,
            "target": {name: str(value) for name, value in sorted(target.items()) if value is not None},
            "action": self._wish.action,
        }

    def _stands(self) -> bool:
        """Whether this very restore was done already."""
        marker = read_marker(self._directory)
        mine = self._mark()
        if marker is None or any(marker.get(key) != value for key, value in mine.items()):
            return False
        self.outcome.warnings.append(
            f"{self._directory} was restored so at {marker.get('at')}, from {marker.get('used')}. To do it once more, delete "
            "the file holdfast.restore.json in it."
        )
        return True

    def _choose(self) -> tuple[Choice, Record]:
        problems: list[str] = []
        records = self._source.records(problems)
        self.outcome.warnings += problems
        wanted = self._wish.backup_id
        if wanted != "latest":
            records = [record for record in records if record.id == wanted]
        if not records:
            which = "no backup of a whole server" if wanted == "latest" else f"no physical backup {wanted!r}"
            raise CatalogError(
                f"There is {which} in {self._source.name} that could be restored. {' '.join(problems)} "
                "The module holdfast.postgres.backup_facts lists those that are there."
            )
        self._records = {record.id: record for record in records}
        newest = max(records, key=lambda record: record.stopped_at)
        size = SegmentSize(int(newest.server.get("wal_segment_size") or 16 * 1024 * 1024))
        inventory = Inventory(size)
        self._archive = Archive(inventory.coverage, Timelines({}), size)
        if self._source.wal is not None:
            self._progress.step("reading the WAL archive")
            inventory.read(self._source.wal.names())
            programs = server_programs(int(newest.server["version_num"]), self._wish.bin_dir)
            self._archive = survey(self._source.wal, inventory, self._scratch)
            self._archive = with_commits(self._archive, self._source.wal, programs, self._scratch)
        backups = [backup for backup in map(as_backup, records) if backup is not None]
        target = self._wish.target
        if self._source.wal is None and target.kind == LATEST:
            target = Target(IMMEDIATE, timeline=target.timeline)
        choice = choose(target, backups, self._archive)
        self._target = target
        # Without its tablespaces an engine would restore them where the old server has its own.
        return choice, self._source.detail(self._records[choice.backup.id])

    def _owner(self) -> str:
        name = data_owner(self._directory, self._wish.owner)
        as_user(name)  # it refuses who is nobody here
        if pwd.getpwnam(name).pw_uid == 0:
            raise BadOption(
                "owner", self._wish.owner, "means root, as whom PostgreSQL does not run",
                "Name the user who is to own the server.",
            )  # fmt: skip
        return name

    def _places(self, record: Record) -> Places:
        known = {str(row["oid"]): row for row in record.server.get("tablespaces") or ()}
        names = {row["name"] for row in known.values()} | {row["location"] for row in known.values()}
        unknown = set(self._wish.tablespaces) - names
        if unknown:
            raise BadOption(
                "tablespace_locations", sorted(unknown), f"is no tablespace of {record.id}", f"It has: {sorted(names)}."
            )
        chosen = {
            oid: self._wish.tablespaces.get(row["name"], self._wish.tablespaces.get(row["location"], row["location"]))
            for oid, row in known.items()
        }
        return Places(self._directory, chosen, f".before-{utcnow():%Y%m%dT%H%M%SZ}")

    def _old_server(self, record: Record, programs: str, owner: str, places: Places) -> Optional[Instance]:
        """The server that is in the directory now; None when there is none. Raises what forbids to replace it."""
        places.check()
        full = [path for path in places.all if not is_empty(path)]
        if self._directory not in full:
            if full:
                raise BadOption(
                    "tablespace_locations", full, "has files in it", "Name empty directories for these tablespaces."
                )
            return None
        refuse_restore(self._directory)
        if not self._wish.force or self._directory not in self._wish.confirm:
            raise BadOption(
                "data_directory",
                self._directory,
                "is not empty",
                f"To replace what is in it (it is kept beside, under another name), set force: true and confirm: "
                f"[{self._directory}]. Or name an empty directory.",
            )
        instance = Instance(
            self._directory, programs, owner, self._wish.config_file or configuration_of(self._directory)
        )
        version = os.path.join(self._directory, "PG_VERSION")
        if not os.path.exists(version):
            raise BadOption("data_directory", self._directory, "holds files, and no server", "Name another directory.")
        with open(version, encoding="ascii") as stream:
            major = stream.read().strip()
        if major != str(int(record.server["version_num"]) // 10000):
            raise ServerError(
                f"{self._directory} is of PostgreSQL {major}, the backup {record.id} of {record.server['version']}. Restore into "
                "an empty directory."
            )
        mine = record.server.get("system_id")
        if mine and not self._wish.accept_new_server:
            self._check_same(instance, str(mine))
        if instance.pid() is not None and not self._wish.stop_server:
            raise ServerError(
                f"A server is running in {self._directory} (process {instance.pid()}). Stop it, or let this be done with "
                "stop_server: true."
            )
        return instance

    def _check_same(self, instance: Instance, mine: str) -> None:
        """Raises ServerError: another server is in the directory, or one so damaged that it does not tell."""
        way_out = "If it is to be replaced nevertheless, set accept_new_server: true."
        try:
            there = instance.control().get("Database system identifier")
        except ServerError as exc:
            raise ServerError(f"Which server it is that is to be replaced cannot be told: {exc}. {way_out}") from exc
        if there != mine:
            raise ServerError(
                f"{self._directory} is another server (system identifier {there}) than the backup's ({mine}). {way_out}"
            )

    def _check_space(self, record: Record, places: Places) -> None:
        sizes = [record.raw_size] if record.artifacts else [record.scope.get("size")]
        parent = os.path.dirname(places.data)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        status = os.statvfs(parent)
        free = status.f_bavail * status.f_frsize
        if sizes[0] is not None and sizes[0] > free:
            raise ToolError(
                f"The restored server takes {sizes[0]} bytes and its WAL, and {parent} has {free} left. Free some space, or restore "
                "to another disk."
            )

    def _plan(self, choice: Choice, record: Record, places: Places, old: Optional[Instance], owner: str) -> None:
        plan = self.outcome.plan
        self.outcome.choice, self.outcome.record = choice, record
        plan += [f"remove {path}, which an interrupted restore left, and begin anew" for path in places.leftovers()]
        plan.append(
            f"restore the backup {record.id} ({record.stopped_at}) into {places.staged(places.data)}: {choice.why}"
        )
        row = {str(item["oid"]): item for item in record.server.get("tablespaces") or ()}
        plan += [f"restore its tablespace {row[oid]['name']!r} to {place}" for oid, place in places.tablespaces.items()]
        if old is not None and old.pid() is not None:
            plan.append(f"stop the server in {self._directory}")
        count = sum(run.last - run.first + 1 for run in choice.runs)
        plan.append(
            f"recover in private to {self._target.words()} on timeline {choice.timeline}, with {count} segments of WAL, all of "
            f"them there, then {self._wish.action}"
        )
        if old is not None:
            plan.append(f"move {self._directory} to {self._directory}{places.aside}, and the restored one in its place")
        plan.append("let it archive on" if self._wish.keep_archiving else "turn archive_mode off in it")
        if self._wish.start and self._wish.action != "shutdown":
            plan.append(
                f"start it by the service {self._wish.service}" if self._wish.service else f"start it, as {owner}"
            )
        self.outcome.warnings += choice.notes

    # Doing it

    def _act(
        self, choice: Choice, record: Record, places: Places, old: Optional[Instance], owner: str, programs: str
    ) -> None:
        stopped = False
        staged = places.staged(places.data)
        end_interrupted(Instance(staged, programs, owner))
        places.clear()
        try:
            self._source.lay_out(
                record,
                staged,
                {oid: places.staged(place) for oid, place in places.tablespaces.items()},
                owner,
                programs,
                self._progress,
            )
            configuration = self._configure(choice, record, staged, old, owner, programs)
            if old is not None and old.pid() is not None:
                self._progress.step("stopping the server")
                self._stop(old)
                stopped = True
            instance = Instance(staged, programs, owner, configuration)
            self.outcome.landing = self._recover(choice, instance)
            write_marker(
                staged,
                owner,
                {
                    **self._mark(),
                    "used": record.id,
                    "at": format_time(utcnow()),
                    "landing": asdict(self.outcome.landing),
                },
            )
            places.swap(owner)
        except BaseException as exc:
            places.clear()
            words = ""
            if stopped and old is not None:
                words = self._start_again(old)
            if isinstance(exc, HoldfastError) and words:
                raise ServerError(f"{exc} {words}") from exc
            raise
        if self._wish.start and self._wish.action != "shutdown":
            self._start(Instance(self._directory, programs, owner, configuration), places, old)
        self.outcome.kept = places.kept

    def _configure(
        self, choice: Choice, record: Record, staged: str, old: Optional[Instance], owner: str, programs: str
    ) -> Optional[str]:
        """Write what the recovery needs. Returns the configuration file, when it is not in the directory."""
        outside = self._wish.config_file or (old.configuration if old else None)
        if outside is None and not os.path.exists(os.path.join(staged, "postgresql.conf")):
            self._bring_configuration(record, staged, owner, programs)
        wanted: dict[str, Optional[str]] = {**self._wish.settings, **self._target.settings()}
        if self._source.wal is not None:
            wanted["restore_command"] = self._source.wal.restore_command()
            wanted["recovery_target_timeline"] = choice.target_timeline
        if self._target.kind != LATEST:
            wanted["recovery_target_action"] = self._wish.action
        if not self._wish.keep_archiving:
            wanted["archive_mode"] = "off"
        self._write(staged, owner, wanted)
        for name in ("standby.signal", "recovery.done", "postmaster.pid", "postmaster.opts"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(staged, name))
        if self._source.wal is not None:
            put(os.path.join(staged, SIGNAL), "", owner)
        return outside

    def _bring_configuration(self, record: Record, staged: str, owner: str, programs: str) -> None:
        """The old configuration lay elsewhere, and is brought into the data directory, without what points elsewhere."""
        place = os.path.join(staged, "holdfast_configuration")
        found = self._source.configuration(record, place, owner, programs)
        main = next((path for path in found if os.path.basename(path) == "postgresql.conf"), None)
        if main is None:
            self.outcome.warnings.append(
                "The backup has no postgresql.conf: the server starts with defaults, and lets in who is local. Name config_file."
            )
            put(os.path.join(staged, "postgresql.conf"), "", owner)
            put(os.path.join(staged, "pg_hba.conf"), "local all all peer\n", owner)
            put(os.path.join(staged, "pg_ident.conf"), "", owner)
            return
        with open(main, encoding="utf-8", errors="surrogateescape") as stream:
            for name in included_directories(stream.read()):
                make_directory(os.path.join(staged, name), owner)  # also when there was nothing in it
        for path in found:
            if os.path.dirname(path).startswith(os.path.dirname(main)):
                inner = os.path.relpath(path, os.path.dirname(main))
                target = os.path.join(staged, inner)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(path, target)
                give(target, owner)
                give(os.path.dirname(target), owner)
        shutil.rmtree(place, ignore_errors=True)
        with open(os.path.join(staged, "postgresql.conf"), "a", encoding="utf-8") as stream:
            stream.write("\n# Brought here by a restore: the files lie in the data directory now.\n")
            for name, value in (
                ("data_directory", self._directory),
                ("hba_file", f"{self._directory}/pg_hba.conf"),
                ("ident_file", f"{self._directory}/pg_ident.conf"),
                ("external_pid_file", ""),
            ):
                stream.write(f"{name} = {quoted(value)}\n")

    def _write(self, directory: str, owner: str, wanted: Mapping[str, Optional[str]]) -> None:
        path = os.path.join(directory, AUTO)
        text = ""
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            text = stream.read()
        put(path, rewrite(text, wanted), owner)

    def _recover(self, choice: Choice, instance: Instance) -> Landing:
        action = "promote" if self._target.kind == LATEST else self._wish.action
        end: Optional[Lsn] = None
        if choice.runs:
            last = choice.runs[-1]
            end = self._archive.size.end(Segment(last.timeline, last.last))
        with PrivateServer(instance, self._wish.user, _free_port()) as server:
            server.start(action == "pause", self._wish.keep_archiving)
            landing = server.follow(action, choice.backup.start_lsn, end, self._archive.size, self._progress)
            self._progress.step("stopping, to start it for all")
            server.stop()
        if action == "promote":
            # What steered the recovery has done its work, and would steer the next one.
            keep: dict[str, Optional[str]] = dict(self._wish.settings)
            keep["archive_mode"] = None if self._wish.keep_archiving else "off"
            self._write(instance.directory, instance.owner, keep)
        return landing

    # The server for all

    def _stop(self, instance: Instance) -> None:
        if self._wish.service:
            service("stop", self._wish.service)
        if instance.pid() is not None:
            instance.stop()

    def _start_again(self, old: Instance) -> str:
        try:
            if self._wish.service:
                service("start", self._wish.service)
            else:
                old.start(os.path.join(old.directory, "holdfast-start.log"))
        except HoldfastError as exc:
            return f"The old server is as it was, and did not start again: {exc}"
        return "The old server is as it was, and runs again."

    def _start(self, instance: Instance, places: Places, old: Optional[Instance]) -> None:
        self._progress.step("starting the server")
        try:
            if self._wish.service:
                service("start", self._wish.service)
            else:
                instance.start(os.path.join(instance.directory, "holdfast-start.log"))
        except HoldfastError as exc:
            # It recovered, and does not start as it is configured: the old one comes back, the new one stays beside.
            places.undo(instance.owner)
            words = self._start_again(old) if old is not None else f"It lies in {places.staged(places.data)}."
            raise ServerError(f"The restored server recovered, and could not be started: {exc} {words}") from exc


def _free_port() -> int:
    """A number for the private socket's name, which nobody else has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
