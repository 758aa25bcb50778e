# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first third of a recovery: which backup, which way, which directories, and the proof that it can be done. Reads only."""

from __future__ import annotations

import os
import pwd
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup, survey, with_commits
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import (
    Directories,
    is_empty,
    read_marker,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import DATA, PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import data_owner
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, configuration_of
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_restore
from ansible_collections.holdfast.postgres.plugins.module_utils.server.space import Need, check_space
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.users import as_user
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.choose import Choice, choose
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import IMMEDIATE, LATEST, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines


@dataclass
class RecoveryPlan:
    """What would be done, all of it proven as far as that can be without doing it.

    ``old``: the server that is in the directory now, None when there is none. ``stands``: this very recovery was done before,
    and nothing has to be. ``steps`` are sentences for people; ``mark`` is what tells this recovery from another one.
    """

    choice: Choice
    record: Record
    target: Target
    archive: Archive
    directories: Directories
    old: Optional[Instance]
    owner: str
    programs: str
    mark: dict[str, Any]
    steps: list[str] = field(default_factory=list)


class Planner:
    """Plans one recovery. ``scratch`` is a private directory; ``warnings`` takes what the user should know."""

    def __init__(
        self, source: PhysicalSource, request: RecoveryRequest, scratch: str, progress: Progress, warnings: list[str]
    ) -> None:
        self._source, self._request, self._scratch, self._progress = source, request, scratch, progress
        self._directory = os.path.abspath(request.data_directory)
        self._warnings = warnings
        self._records: dict[str, Record] = {}
        self._archive: Archive = Archive(Coverage(), Timelines({}))

    def plan(self) -> RecoveryPlan:
        """Raises HoldfastError: it cannot be done, or must not."""
        choice, record, target = self._choose()
        programs = server_programs(int(record.server["version_num"]), self._request.bin_dir)
        owner = self._owner()
        directories = self._directories(record)
        old = self._old_server(record, programs, owner, directories)
        self._check_space(record, directories)
        self._source.prove(record)
        made = RecoveryPlan(choice, record, target, self._archive, directories, old, owner, programs, self.mark())
        made.steps = self._steps(made)
        self._warnings += choice.notes
        return made

    def stands(self) -> bool:
        """Whether this very recovery was done already."""
        marker = read_marker(self._directory)
        mine = self.mark()
        if marker is None or any(marker.get(key) != value for key, value in mine.items()):
            return False
        self._warnings.append(
            f"{self._directory} was restored so at {marker.get('at')}, from {marker.get('used')}. To do it once more, delete "
            "the file holdfast.restore.json in it."
        )
        return True

    def mark(self) -> dict[str, Any]:
        """What tells this recovery from another one into the same directory."""
        target = asdict(self._request.target)
        return {
            "source": self._source.name,
            "backup": self._request.backup_id,
            "target": {name: str(value) for name, value in sorted(target.items()) if value is not None},
            "action": self._request.action,
        }

    def _choose(self) -> tuple[Choice, Record, Target]:
        problems: list[str] = []
        records = self._source.records(problems)
        self._warnings += problems
        wanted = self._request.backup_id
        if wanted != "latest":
            records = [record for record in records if record.id == wanted]
        if not records:
            which = "no backup of a whole server" if wanted == "latest" else f"no physical backup {wanted!r}"
            raise CatalogError(
                f"There is {which} in {self._source.name} that could be restored. {' '.join(problems)} "
                "The module holdfast.postgres.backup_facts lists those that are there."
            )
        self._records = {record.id: record for record in records}
        self._read_archive(max(records, key=lambda record: record.stopped_at))
        backups = [backup for backup in map(as_backup, records) if backup is not None]
        target = self._request.target
        if self._source.wal is None and target.kind == LATEST:
            target = Target(IMMEDIATE, timeline=target.timeline)
        choice = choose(target, backups, self._archive)
        # Without its tablespaces an engine would restore them where the old server has its own.
        return choice, self._source.detail(self._records[choice.backup.id]), target

    def _read_archive(self, newest: Record) -> None:
        size = SegmentSize(int(newest.server.get("wal_segment_size") or 16 * 1024 * 1024))
        inventory = Inventory(size)
        self._archive = Archive(inventory.coverage, Timelines({}), size)
        if self._source.wal is None:
            return
        self._progress.step("reading the WAL archive")
        inventory.read(self._source.wal.names())
        programs = server_programs(int(newest.server["version_num"]), self._request.bin_dir)
        self._archive = survey(self._source.wal, inventory, self._scratch)
        self._archive = with_commits(self._archive, self._source.wal, programs, self._scratch)

    def _owner(self) -> str:
        name = data_owner(self._directory, self._request.owner)
        as_user(name)  # it refuses who is nobody here
        if pwd.getpwnam(name).pw_uid == 0:
            raise BadOption(
                "owner", self._request.owner, "means root, as whom PostgreSQL does not run",
                "Name the user who is to own the server.",
            )  # fmt: skip
        return name

    def _directories(self, record: Record) -> Directories:
        known = {str(row["oid"]): row for row in record.server.get("tablespaces") or ()}
        names = {row["name"] for row in known.values()} | {row["location"] for row in known.values()}
        wanted = self._request.tablespaces
        unknown = set(wanted) - names
        if unknown:
            raise BadOption(
                "tablespace_locations", sorted(unknown), f"is no tablespace of {record.id}", f"It has: {sorted(names)}."
            )
        chosen = {
            oid: wanted.get(row["name"], wanted.get(row["location"], row["location"])) for oid, row in known.items()
        }
        return Directories(self._directory, chosen, f".before-{utcnow():%Y%m%dT%H%M%SZ}")

    def _old_server(self, record: Record, programs: str, owner: str, directories: Directories) -> Optional[Instance]:
        """The server that is in the directory now; None when there is none. Raises what forbids to replace it."""
        directories.check()
        full = [path for path in directories.all if not is_empty(path)]
        if self._directory not in full:
            if full:
                raise BadOption(
                    "tablespace_locations", full, "has files in it", "Name empty directories for these tablespaces."
                )
            return None
        refuse_restore(self._directory)
        if not self._request.force or self._directory not in self._request.confirm:
            raise BadOption(
                "data_directory",
                self._directory,
                "is not empty",
                f"To replace what is in it (it is kept beside, under another name), set force: true and confirm: "
                f"[{self._directory}]. Or name an empty directory.",
            )
        instance = Instance(
            self._directory, programs, owner, self._request.config_file or configuration_of(self._directory)
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
        if mine and not self._request.accept_new_server:
            self._check_same(instance, str(mine))
        if instance.pid() is not None and not self._request.stop_server:
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

    def _check_space(self, record: Record, directories: Directories) -> None:
        """What is not known is not asked for: the disk may fill up then, and the old server is as it was."""
        sizes = self._source.sizes(record)
        needs = [Need(directories.staged(directories.data), sizes.get(DATA) or 0, "the restored server")]
        needs += [
            Need(directories.staged(path), sizes.get(oid) or 0, f"its tablespace {oid}")
            for oid, path in directories.tablespaces.items()
        ]
        check_space(needs, "Free some space, or restore to another disk (data_directory, tablespace_locations).")

    def _steps(self, plan: RecoveryPlan) -> list[str]:
        request, record, choice, directories = self._request, plan.record, plan.choice, plan.directories
        steps = [
            f"remove {path}, which an interrupted restore left, and begin anew" for path in directories.leftovers()
        ]
        steps.append(
            f"restore the backup {record.id} ({record.stopped_at}) into {directories.staged(directories.data)}: {choice.why}"
        )
        row = {str(item["oid"]): item for item in record.server.get("tablespaces") or ()}
        steps += [
            f"restore its tablespace {row[oid]['name']!r} to {path}" for oid, path in directories.tablespaces.items()
        ]
        if plan.old is not None and plan.old.pid() is not None:
            steps.append(f"stop the server in {self._directory}")
        count = sum(run.last - run.first + 1 for run in choice.runs)
        steps.append(
            f"recover in private to {plan.target.words()} on timeline {choice.timeline}, with {count} segments of WAL, all of "
            f"them there, then {request.action}"
        )
        if plan.old is not None:
            steps.append(
                f"move {self._directory} to {self._directory}{directories.aside}, and the restored one in its place"
            )
        steps.append("let it archive on" if request.keep_archiving else "turn archive_mode off in it")
        if request.start and request.action != "shutdown":
            steps.append(
                f"start it by the service {request.service}" if request.service else f"start it, as {plan.owner}"
            )
        return steps
