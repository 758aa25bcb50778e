# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first third of a recovery: which backup, which way, which directories, and the proof that it can be done. Reads only."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    ServerError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import fetched, laid_out, mark
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.agreed import need_signatures
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.choosing import Chooser, Chosen
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import (
    Directories,
    is_empty,
    read_marker,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.links import WAL
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.neighbours import check_late, check_tablespaces
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import LAID_OUT, RecoveryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import DATA, PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.wal_ahead import Ahead
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import data_owner
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import (
    Instance,
    configuration_of,
    own_unit,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.neighbours import (
    tablespaces,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_restore
from ansible_collections.holdfast.postgres.plugins.module_utils.server.space import Need, check_space
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account, as_user


@dataclass
class RecoveryPlan:
    """What would be done, all of it proven as far as that can be without doing it.

    ``old``: the server that is in the directory now, None when there is none. ``steps`` are sentences for people; ``interrupted`` is what a killed run left.
    ``service``: the systemd unit by which servers are stopped and started here; None: pg_ctl does it.
    """

    chosen: Chosen
    directories: Directories
    old: Optional[Instance]
    owner: str
    programs: str
    interrupted: Optional[interrupted.Interrupted]
    service: Optional[str]
    steps: list[str] = field(default_factory=list)
    #: it is to take the place of the server that it comes from, and is not kept to itself
    in_place: bool = False


class Planner:
    """Plans one recovery. ``scratch`` is a private directory; ``warnings`` takes what the user should know."""

    def __init__(
        self, source: PhysicalSource, request: RecoveryRequest, scratch: str, progress: Progress, warnings: list[str]
    ) -> None:
        self._source, self._request = source, request
        # A link stays one: what it leads to is replaced, on the disk where that is.
        self._directory = os.path.realpath(request.data_directory)
        self._warnings = warnings
        #: what is in the directory, once the plan has looked
        self.here: Optional[Instance] = None
        #: what the user has yet to agree to: known after a plan that was made to be looked at
        self.consent = Consent()
        self._chooser = Chooser(source, request, scratch, progress, warnings)

    @property
    def directories(self) -> Directories:
        """The data directory alone: what a killed run left there is asked before anything is planned."""
        return Directories(self._directory, {}, "")

    def take_back(self) -> None:
        """Undo what a killed run moved."""
        self.directories.take_back(self._owner())

    def plan(self, looking: bool = False) -> Optional[RecoveryPlan]:
        """None: this very recovery was done before, and nothing was written to the server since.

        A plan that is made to be looked at (``looking``) needs no consent: it says which one it would.

        Raises:
            HoldfastError: it cannot be done, or must not. Of a run that was killed before it is told how its server is started.
        """
        self.consent = Consent(looking)
        try:
            return self._plan()
        except HoldfastError as exc:
            found = self.directories.interrupted()
            if found is not None and found.ran and Instance(self._directory, "", "").pid() is None:
                raise ServerError(f"{exc} {interrupted.way_back(found, self._directory)}") from exc
            raise

    def _plan(self) -> Optional[RecoveryPlan]:
        try:
            chosen = self._chooser.choose()
        except WalError:
            if self._stands_alone():
                return None
            raise
        record = chosen.record
        programs = server_programs(int(record.server["version_num"]), self._request.bin_dir)
        owner = self._owner()
        if self._stands(chosen, programs, owner):
            return None
        directories = self._directories(record, chosen.ahead)
        if self._request.snapshots == LAID_OUT:
            laid_out.check(record, self._source.label(record), Instance(self._directory, programs, owner))
            check_late(directories, replaces=False)
            old = None
        else:
            old = self._old_server(record, programs, owner, directories)
        service = own_unit(old.pid() if old is not None else None, self._request.service)
        self._check_space(
            record, directories, fetched.size_of(self._source.wal, chosen.choice.runs, chosen.archive.size)
        )
        need_signatures(self._source.prove(record), self._request, self.consent, self._warnings)
        made = RecoveryPlan(chosen, directories, old, owner, programs, directories.interrupted(), service)
        made.in_place = old is not None or self._request.in_place
        made.steps = self._steps(made)
        self._warnings += chosen.choice.notes
        return made

    def _stands(self, chosen: Chosen, programs: str, owner: str) -> bool:
        """Whether this very recovery was done already, and is still all that there is."""
        marker = read_marker(self._directory)
        here = self.here = Instance(
            self._directory, programs, owner, self._request.config_file or configuration_of(self._directory)
        )
        doubt = mark.doubt(marker, self._request, self._source.name, chosen, here)
        if marker is None or doubt == "":
            return False
        done = f"{self._directory} was restored so at {marker.get('at')}, from {marker.get('used')}"
        if doubt is None:
            self._warnings.append(f"{done}, and nothing was written to it since.")
            return True
        self._warnings.append(f"{done}. It is done again: {doubt}.")
        return False

    def _stands_alone(self) -> bool:
        """Whether it was done already, though nothing leads there any more."""
        marker = read_marker(self._directory)
        if marker is None or not self._request.keep_archiving:
            return False
        with open(os.path.join(self._directory, "PG_VERSION"), encoding="ascii") as stream:
            programs = server_programs(int(stream.read()) * 10000, self._request.bin_dir)
        here = Instance(self._directory, programs, self._owner())
        if not mark.stands_alone(marker, self._request, self._source.name, here):
            return False
        self.here = here
        self._warnings.append(
            f"{self._directory} was restored so at {marker.get('at')}, from {marker.get('used')}, and nothing was written to it since."
        )
        return True

    def _owner(self) -> str:
        name = data_owner(self._directory, self._request.owner)
        as_user(name)  # it refuses who is nobody here
        if account(name).pw_uid == 0:
            raise BadOption(
                "owner", self._request.owner, "means root, as whom PostgreSQL does not run",
                "Name the user who is to own the server.",
            )  # fmt: skip
        return name

    def _directories(self, record: Record, ahead: Optional[Ahead]) -> Directories:
        if self._request.snapshots == LAID_OUT:
            made = ahead.tablespaces if ahead else ()
            return laid_out.InPlace(
                self._directory, {}, "", late={one.oid: os.path.realpath(one.location) for one in made}
            )
        known = {str(row["oid"]): row for row in record.server.get("tablespaces") or ()}
        names = {row["name"] for row in known.values()} | {row["location"] for row in known.values()}
        late = {made.oid: made.location for made in (ahead.tablespaces if ahead else ())}
        wanted = self._request.tablespaces
        unknown = set(wanted) - names
        refuse_moved(record, late, wanted)
        if unknown:
            raise BadOption(
                "tablespace_locations", sorted(unknown), f"is no tablespace of {record.id}", f"It has: {sorted(names)}."
            )
        # Those of the server that is replaced stay where they are: where the backup has them, another one's may be.
        own = tablespaces(self._directory)
        chosen = {
            oid: wanted.get(row["name"], wanted.get(row["location"], own.get(oid, row["location"])))
            for oid, row in known.items()
        }
        below = self._request.tablespaces_below
        chosen = {oid: os.path.join(below, oid) if below else path for oid, path in chosen.items()}
        texts = {oid: path for oid, path in chosen.items() if os.path.realpath(path) != path}
        wal = os.path.join(self._directory, WAL)
        if os.path.islink(wal):
            texts[WAL] = os.readlink(wal)
        return Directories(
            self._directory,
            {oid: os.path.realpath(path) for oid, path in chosen.items()},
            f".before-{utcnow():%Y%m%dT%H%M%SZ}",
            os.path.realpath(wal) if os.path.islink(wal) else None,
            texts,
            {oid: os.path.realpath(path) for oid, path in late.items()},
        )

    def _old_server(self, record: Record, programs: str, owner: str, directories: Directories) -> Optional[Instance]:
        """The server that is in the directory now; None when there is none. Raises what forbids to replace it."""
        directories.check()
        full = [path for path in directories.all if not is_empty(path)]
        if self._directory not in full:
            if full:
                raise BadOption(
                    "tablespace_locations", full, "has files in it", "Name empty directories for these tablespaces."
                )
            check_tablespaces(directories, replaces=False)
            check_late(directories, replaces=False)
            return None
        refuse_restore(self._directory)
        needs: list[tuple[HoldfastError, dict[str, Any]]] = []
        confirmed = {self._directory, os.path.abspath(self._request.data_directory)} & set(self._request.confirm)
        if not self._request.force or not confirmed:
            refusal = BadOption(
                "data_directory",
                self._request.data_directory,
                "is not empty",
                f"To replace what is in it (it is kept beside, under another name), set force: true and confirm: "
                f"[{self._request.data_directory}]. Or name an empty directory.",
            )
            needs.append((refusal, {"force": True, "confirm": [self._request.data_directory]}))
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
        check_tablespaces(directories, replaces=True)
        check_late(directories, replaces=True)
        mine = record.server.get("system_id")
        another = self._another(instance, str(mine)) if mine and not self._request.accept_new_server else None
        if another is not None:
            needs.append((another, {"accept_new_server": True}))
        if instance.pid() is not None and not self._request.stop_server:
            refusal_to_stop = ServerError(
                f"A server is running in {self._directory} (process {instance.pid()}). Stop it, or let this be done with "
                "stop_server: true."
            )
            needs.append((refusal_to_stop, {"stop_server": True}))
        self.consent.need_all(needs)
        return instance

    def _another(self, instance: Instance, mine: str) -> Optional[ServerError]:
        """That another server is in the directory, or one so damaged that it does not tell; None: it is the backup's."""
        way_out = "If it is to be replaced nevertheless, set accept_new_server: true."
        try:
            there = instance.control().get("Database system identifier")
        except ServerError as exc:
            return ServerError(f"Which server it is that is to be replaced cannot be told: {exc}. {way_out}")
        if there == mine:
            return None
        return ServerError(
            f"{self._directory} is another server (system identifier {there}) than the backup's ({mine}). {way_out}"
        )

    def _check_space(self, record: Record, directories: Directories, wal: int) -> None:
        """What is not known is not asked for: the disk may fill up then, and the old server is as it was."""
        sizes = self._source.sizes(record)
        needs = [Need(directories.staged(directories.data), sizes.get(DATA) or 0, "the restored server")]
        needs += [
            Need(directories.staged(path), sizes.get(oid) or 0, f"its tablespace {oid}")
            for oid, path in directories.tablespaces.items()
        ]
        needs += [Need(directories.staged(directories.data), wal, "the WAL that is fetched for it")] if wal else []
        check_space(needs, "Free some space, or restore to another disk (data_directory, tablespace_locations).")

    def _base(self, record: Record, directories: Directories, why: str) -> str:
        what = f"the backup {record.id} ({record.stopped_at})"
        if self._request.snapshots == LAID_OUT:
            return f"take the volume snapshot of {what} as it lies in {directories.data}: {why}"
        if record.engine in ELSEWHERE:
            return f"restore the volume snapshots of {what} into new claims (pvc_snapshot, state: restored): {why}"
        return f"restore {what} into {directories.staged(directories.data)}: {why}"

    def _steps(self, plan: RecoveryPlan) -> list[str]:
        request, directories = self._request, plan.directories
        record, choice = plan.chosen.record, plan.chosen.choice
        steps = interrupted.steps(plan.interrupted, plan.directories.data)
        steps += [
            f"remove {path}, which an interrupted restore left, and begin anew" for path in directories.leftovers()
        ]
        steps.append(self._base(record, directories, choice.why))
        row = {str(item["oid"]): item for item in record.server.get("tablespaces") or ()}
        steps += [
            f"restore its tablespace {row[oid]['name']!r} to {path}" for oid, path in directories.tablespaces.items()
        ]
        if plan.old is not None and plan.old.pid() is not None:
            steps.append(f"stop the server in {self._directory}")
        steps += [
            f"let replaying make the tablespace of {path}, made after the backup"
            + ("" if is_empty(path) else f", and move what is there to {path}{directories.aside} before")
            for path in directories.late.values()
        ]
        count = sum(run.last - run.first + 1 for run in choice.runs)
        if self._source.wal is not None and self._source.wal.fetched_ahead:
            steps.append(f"fetch {count} segments from {self._source.wal.description}")
        way = f"to {plan.chosen.target.describe()} on timeline {choice.timeline}, with {count} segments of WAL, all of them there, then {request.action}"
        steps.append(
            f"leave it to whoever starts it to recover {way}" if request.prepare else f"recover in private {way}"
        )
        if plan.old is not None:
            steps.append(
                f"move {self._directory} to {self._directory}{directories.aside}, and the restored one in its place"
            )
        steps.append("let it archive on" if request.keep_archiving else "turn archive_mode off in it")
        steps.append(
            "take from its own configuration nothing that steers a recovery (targets, restore_command, archive_cleanup_command, "
            "recovery_end_command, primary_conninfo, …), wherever it stands; wait for no synchronous standbys"
        )
        if not plan.in_place:
            steps.append(
                "keep it to itself: it listens on localhost, its subscriptions are disabled, libraries that act by themselves (pg_cron "
                "and its like) are not loaded, and its log and pid files are its own, unless settings say otherwise"
            )
        if request.start and request.action != "shutdown":
            steps.append(f"start it by the service {plan.service}" if plan.service else f"start it, as {plan.owner}")
        if plan.old is not None:
            steps.append(
                f"lose nothing of {self._directory}{directories.aside}, but what was committed after {plan.chosen.target.describe()} is there "
                f"alone{_written_until(plan.old)}"
            )
        return steps + self.consent.steps()


def refuse_moved(record: Record, late: Mapping[str, str], wanted: Collection[str]) -> None:
    """Raises BadOption: of the tablespaces that replaying makes, by oid, one is ``wanted`` (by its name or location) elsewhere."""
    names = {str(row["oid"]): row["name"] for row in record.server.get("tablespaces") or ()}
    moved = sorted({path for oid, path in late.items() if {path, names.get(oid)} & set(wanted)})
    if moved:
        raise BadOption(
            "tablespace_locations", moved, f"was made after the backup {record.id}, or while the backup was taken",
            "Replayed WAL makes it where it was, and nowhere else: leave it out, use a backup made after it, or an earlier target.",
        )  # fmt: skip


def _written_until(old: Instance) -> str:
    """What the server that is there tells of its last checkpoint."""
    try:
        at = old.control().get("Time of latest checkpoint")
    except HoldfastError:
        at = None
    return f" (its last checkpoint was at {at})" if at else ""
