# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a recovery begins with, where exactly it ends, and what the WAL in between would do. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup, survey, with_commits
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.points import RestorePoint
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import PASS_OVER
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.wal_ahead import (
    Ahead,
    Landmark,
    WalReader,
    look_ahead,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.choose import Choice, choose, rival
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.plan import LATEST_INSTEAD
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import (
    IMMEDIATE,
    LATEST,
    LSN,
    NAME,
    TIME,
    XID,
    Target,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

_NAMED = 5  # backups that an error names
_HOW = "pvc_snapshot (state: restored, awaits_recovery: true) brings it into new claims, and snapshots: laid_out recovers there"
_POINT = 256  # bytes that a restore point's record has at most, a page's head in it


@dataclass(frozen=True)
class Chosen:
    """``target`` is the one that PostgreSQL is told, which is the user's, or has the same rows; ``ahead`` None: the WAL could not be
    read, or none is replayed from an archive."""

    choice: Choice
    record: Record
    target: Target
    archive: Archive
    ahead: Optional[Ahead]


class Wanted(Protocol):
    """What a recovery is asked for, as far as it is chosen by that."""

    @property
    def target(self) -> Target: ...

    @property
    def backup_id(self) -> str: ...

    @property
    def snapshots(self) -> str: ...

    @property
    def bin_dir(self) -> Optional[str]: ...


class Chooser:
    """Chooses for one recovery. ``scratch`` is a private directory; ``warnings`` takes what the user should know. ``programs``: where PostgreSQL's are,
    by its version; by default the server's own, without which nothing recovers here."""

    def __init__(
        self,
        source: PhysicalSource,
        request: Wanted,
        scratch: str,
        progress: Progress,
        warnings: list[str],
        programs: Optional[Callable[[int], str]] = None,
    ) -> None:
        self._source, self._request, self._scratch, self._progress = source, request, scratch, progress
        self._warnings = warnings
        self._programs = programs or (lambda version: server_programs(version, request.bin_dir))
        self._records: dict[str, Record] = {}
        self._archive: Archive = Archive(Coverage(), Timelines({}))

    def choose(self) -> Chosen:
        """Raises HoldfastError: nothing leads there, or nobody can tell."""
        problems: list[str] = []
        records = self._source.records(problems)
        self._warnings += problems
        if self._request.snapshots != PASS_OVER:
            records = sorted([*records, *self._source.snapshots()], key=lambda record: record.stopped_at)
        wanted = self._request.backup_id
        there = ", ".join(record.id for record in records[-_NAMED:])
        if wanted != "latest":
            records = [record for record in records if record.id == wanted]
        if not records:
            elsewhere = [one.id for one in self._source.snapshots()] if self._request.snapshots == PASS_OVER else []
            if wanted != "latest":
                elsewhere = [one for one in elsewhere if one == wanted]
            if elsewhere:
                problems.append(
                    f"The volume snapshot {elsewhere[-1]} is there, and can be restored in its cluster alone: {_HOW}."
                )
            which = "no backup of a whole server" if wanted == "latest" else f"no physical backup {wanted!r}"
            raise CatalogError(
                f"There is {which} in {self._source.name} that could be restored. {f'The newest are {there}. ' if there else ''}{' '.join(problems)} "
                "The module holdfast.postgres.backup_facts lists those that are there."
            )
        self._records = {record.id: record for record in records}
        self._read_archive(max(records, key=lambda record: record.stopped_at))
        backups = [backup for backup in map(as_backup, records) if backup is not None]
        target = self._request.target
        if self._source.wal is None and target.kind == LATEST:
            raise WalError(
                f"How far {self._source.name} leads is not known: no WAL archive is with it, so only a backup's own end can be "
                "reached, and what was written since is not in it. To have that moment, say recovery_target: {immediate: true}. To "
                "come further, name the repository that the WAL goes to (the one of wal_archive)."
            )
        points = self._points(target, records)
        # Several are told apart where the WAL is read: which of them a recovery passes depends on its way.
        at = points[0].lsn if len(points) == 1 else None
        try:
            choice = choose(target, backups, self._archive, at)
        except WalError as exc:
            raise WalError(f"{exc}{_written(points)}{self._snapshot_instead(target, backups, at)}") from exc
        if passed := self._passed_over(target, backups, at, choice):
            self._warnings.append(passed)
        ahead = self._look_ahead(target, choice)
        second = rival(target, choice, self._archive, ahead.stop if ahead else None)
        if second is not None:
            raise WalError(second)
        if target.kind in (NAME, XID):
            choice = choose(target, backups, self._archive, self._landmark(target, choice, ahead, points))
        if ahead is not None and target.kind == TIME and ahead.stop is None:
            raise WalError(
                f"No transaction after {target.describe()} is in the WAL from the backup {choice.backup.id} on, up to the end of what is "
                f"archived, and a recovery to a time needs one to stop at. Nothing was touched. {LATEST_INSTEAD}."
            )
        if ahead is not None and ahead.minimal is not None:
            raise WalError(
                f"At {ahead.minimal} the server was started with wal_level = minimal, and its WAL from there on cannot be recovered from. "
                "Nothing was touched. Choose a target before that, or a backup that was taken since, with wal_level at least replica."
            )
        if ahead is not None:
            ahead.tablespaces = [made for made in ahead.tablespaces if made.lsn >= choice.backup.start_lsn]
            target = self._whole(target, choice, ahead)
        # Without its tablespaces an engine would restore them where the old server has its own.
        return Chosen(choice, self._source.detail(self._records[choice.backup.id]), target, self._archive, ahead)

    def _with_snapshots(self, target: Target, backups: Sequence[Backup], at: Optional[Lsn]) -> Optional[str]:
        """The volume snapshot that would be chosen, where snapshots are passed over; None: none would."""
        if self._request.snapshots != PASS_OVER or self._request.backup_id != "latest":
            return None
        snapshots = [backup for backup in map(as_backup, self._source.snapshots()) if backup is not None]
        if not snapshots:
            return None
        try:
            best = choose(target, [*backups, *snapshots], self._archive, at).backup
        except WalError:
            return None
        return best.id if best in snapshots else None

    def _snapshot_instead(self, target: Target, backups: Sequence[Backup], at: Optional[Lsn]) -> str:
        """What leads there all the same, as a sentence behind another one."""
        found = self._with_snapshots(target, backups, at)
        return (
            f" The volume snapshot {found} leads there, and can be restored in its cluster alone: {_HOW}."
            if found
            else ""
        )

    def _passed_over(
        self, target: Target, backups: Sequence[Backup], at: Optional[Lsn], choice: Choice
    ) -> Optional[str]:
        found = self._with_snapshots(target, backups, at)
        if found is None:
            return None
        return (
            f"The volume snapshot {found} would be a nearer base than {choice.backup.id}, and is passed over, as its files are in the storage of its "
            f"cluster, where this run lays nothing out: {_HOW}."
        )

    def _look_ahead(self, target: Target, choice: Choice) -> Optional[Ahead]:
        """What the WAL up to the target would do; None: it cannot be read here, which is said."""
        wal, programs = self._source.wal, self._programs(self._version(choice))
        reader = WalReader(programs, self._scratch, self._progress)
        if wal is None or not choice.runs:
            return None
        if not reader.works:
            self._warnings.append(
                f"There is no pg_waldump in {programs or 'PATH'}: whether the WAL makes tablespaces, which would be written to wherever this "
                "server runs, is not known. Install the server's package."
            )
            return None
        records = reader.archived(wal, choice.runs, self._archive.size)
        return look_ahead(records, target, choice.backup.archive_from)

    def _version(self, choice: Choice) -> int:
        return int(self._records[choice.backup.id].server["version_num"])

    def _points(self, target: Target, records: Sequence[Record]) -> list[RestorePoint]:
        """The restore points that are meant, as far as they were written down."""
        ids = {str(record.server["system_id"]) for record in records if record.server.get("system_id")}
        if target.kind != NAME or target.name is None:
            return []
        return self._source.points(target.name, ids.pop() if len(ids) == 1 else None)

    def _landmark(self, target: Target, choice: Choice, ahead: Optional[Ahead], points: Sequence[RestorePoint]) -> Lsn:
        """Where a restore point or transaction lies. Raises WalError: nowhere, in several positions, or nobody can tell."""
        what = f"{target.describe()[0].upper()}{target.describe()[1:]}"
        if ahead is None:
            if len(points) == 1:
                return points[0].lsn
            raise WalError(
                f"Where {target.describe()} is cannot be told: the WAL cannot be read here, and {_told(points)}. Nothing was touched. "
                "Install the server's package, which has pg_waldump, or name the position: recovery_target: {lsn: ...}."
            )
        if not ahead.landmarks:
            raise WalError(
                f"{what} is not in the WAL from the backup {choice.backup.id} on, up to the end of what is archived on the way to timeline "
                f"{choice.timeline}.{_written(points)} Nothing was touched. Was it made later, on another timeline (recovery_target.timeline), or "
                "under another name?"
            )
        if len(ahead.landmarks) > 1 and target.kind == NAME:
            positions = "; ".join(_place(mark, points) for mark in ahead.landmarks)
            raise WalError(
                f"There are {len(ahead.landmarks)} restore points {target.name!r}: at {positions}. PostgreSQL would stop at the "
                "oldest. Nothing was touched. Name the one that is meant by its position: recovery_target: {lsn: ...}."
            )
        return ahead.landmarks[0].lsn

    def _whole(self, target: Target, choice: Choice, ahead: Ahead) -> Target:
        """The target, or where a DROP DATABASE is under way there, the end of the last transaction before it: the same rows, and no
        database whose files are gone already."""
        if not ahead.removing:
            return target
        said = (
            f"At {target.describe()} a DROP DATABASE or DROP TABLESPACE was under way: its files are gone then ({ahead.removing[0]}), and it "
            "is not committed. The recovery stops after the last transaction before it, which has the same rows"
        )
        if ahead.last is None or ahead.last < choice.backup.stop_lsn:
            self._warnings.append(f"{said}: at the backup's own end.")
            return Target(IMMEDIATE, timeline=target.timeline)
        self._warnings.append(f"{said}: at {ahead.last}.")
        return Target(LSN, lsn=ahead.last, timeline=target.timeline)

    def _read_archive(self, newest: Record) -> None:
        size = SegmentSize(int(newest.server.get("wal_segment_size") or 16 * 1024 * 1024))
        inventory = Inventory(size)
        self._archive = Archive(inventory.coverage, Timelines({}), size)
        if self._source.wal is None:
            return
        self._progress.step("reading the WAL archive")
        inventory.read(self._source.wal.names())
        programs = self._programs(int(newest.server["version_num"]))
        self._archive = survey(self._source.wal, inventory, self._scratch)
        self._archive = with_commits(self._archive, self._source.wal, programs, self._scratch)


def _told(points: Sequence[RestorePoint]) -> str:
    if not points:
        return "no record of it is in the repository"
    return f"{len(points)} of that name were written down ({'; '.join(point.describe() for point in points)})"


def _written(points: Sequence[RestorePoint]) -> str:
    """What was written down of the points that are meant, as a sentence behind another one."""
    return f" It was written down: {'; '.join(point.describe() for point in points)}." if points else ""


def _place(mark: Landmark, points: Sequence[RestorePoint]) -> str:
    """A restore point in the WAL, with what is known of its time. Its record begins where the WAL says, and ends where we wrote down."""
    for point in points:
        if mark.lsn < point.lsn <= mark.lsn + _POINT:
            return f"{mark.lsn} (made {format_time(point.time)})"
    return f"{mark.lsn}" + (f" (the last commit before it is of {format_time(mark.after)})" if mark.after else "")
