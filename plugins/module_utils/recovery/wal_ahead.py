# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the WAL between a backup and the target would do, read before it is replayed: directories elsewhere that it would make or
write to, where it removes files, and where the target lies in it."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LSN, NAME, TIME, XID, Target

_BATCH = 16  # segments that lie in the scratch directory at once
_LINE = re.compile(r"rmgr: (\w+) .*?tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+),.*? desc: (.*)")
_TIME = re.compile(r"(?:COMMIT|ABORT)\w* (?:xid \d+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_PREPARED = re.compile(r"_PREPARED xid (\d+)")
_CREATE = re.compile(r'CREATE (\d+) "(.*)"')
_PARAMETERS = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
_MANAGERS = ("Tablespace", "Database", "Transaction", "XLOG")


@dataclass(frozen=True)
class NewTablespace:
    """A tablespace that replaying makes: its ``location`` is written to wherever the server runs."""

    oid: str
    location: str
    lsn: Lsn


@dataclass(frozen=True)
class Landmark:
    """A restore point or a transaction: where its record begins, and the last commit before it (None: there was none)."""

    lsn: Lsn
    after: Optional[datetime.datetime]


@dataclass
class Ahead:
    """What was found. ``stop``: the first record that a recovery to the target does not replay, where that is known. ``last``: the last
    end of a transaction before it. ``removing``: records that remove files between ``last`` and ``stop``: of a DROP DATABASE whose
    commit is not replayed. ``landmarks``: where the target lies, if it is a restore point or a transaction. ``needed``: what settings
    have to be at least, for queries to be answered on the way. ``minimal``: where the server began to write too little to recover."""

    tablespaces: list[NewTablespace] = field(default_factory=list)
    landmarks: list[Landmark] = field(default_factory=list)
    stop: Optional[Lsn] = None
    last: Optional[Lsn] = None
    removing: list[Lsn] = field(default_factory=list)
    needed: dict[str, int] = field(default_factory=dict)
    minimal: Optional[Lsn] = None


@dataclass(frozen=True)
class Record:
    """A line of pg_waldump."""

    manager: str
    xid: int
    lsn: Lsn
    text: str


def read_records(lines: Iterable[str]) -> Iterator[Record]:
    """The records of pg_waldump's output that matter here. Pure."""
    for line in lines:
        found = _LINE.match(line)
        if found and found[1] in _MANAGERS:
            yield Record(found[1], int(found[2]), Lsn.parse(found[3], "lsn"), found[4].rstrip())


def look_ahead(records: Iterable[Record], target: Target, since: Lsn) -> Ahead:
    """Read on until the target, or to the end. ``since``: where the records begin to count. Pure."""
    found, time = Ahead(), None
    for record in records:
        if record.lsn < since:
            continue
        moment = _moment(record)
        if found.stop is None and _stops(target, record, moment):
            found.stop = record.lsn
            if target.kind not in (NAME, XID):
                break
        if target.kind == NAME and record.manager == "XLOG" and record.text == f"RESTORE_POINT {target.name}":
            found.landmarks.append(Landmark(record.lsn, time))
        if target.kind == XID and moment is not None and _ends(target, record):
            found.landmarks.append(Landmark(record.lsn, moment))
        created = _CREATE.match(record.text) if record.manager == "Tablespace" else None
        if created and created[2]:
            found.tablespaces.append(NewTablespace(created[1], created[2], record.lsn))
        if found.stop is not None:
            continue
        if record.manager == "XLOG" and record.text.startswith("PARAMETER_CHANGE"):
            _parameters(record, found)
        if record.manager in ("Database", "Tablespace") and record.text.startswith("DROP"):
            found.removing.append(record.lsn)
        if moment is not None:
            found.last, found.removing, time = record.lsn, [], moment
    return found


def _parameters(record: Record, found: Ahead) -> None:
    """The server was started with other settings. Source: CheckRequiredParameterValues in xlogrecovery.c"""
    told = dict(re.findall(r"(\w+)=(\w+)", record.text))
    for short, name in _PARAMETERS.items():
        if told.get(short, "").isdigit():
            found.needed[name] = max(found.needed.get(name, 0), int(told[short]))
    if told.get("wal_level") == "minimal" and found.minimal is None:
        found.minimal = record.lsn


def _moment(record: Record) -> Optional[datetime.datetime]:
    """When a transaction ended; None: the record is no end of one."""
    told = _TIME.match(record.text) if record.manager == "Transaction" else None
    return None if told is None else datetime.datetime.fromisoformat(told[1]).replace(tzinfo=datetime.timezone.utc)


def _ends(target: Target, record: Record) -> bool:
    """Whether a record is the end of the transaction that is meant. Ids have 32 bits in the WAL."""
    prepared = _PREPARED.search(record.text)
    return target.xid is not None and (int(prepared[1]) if prepared else record.xid) == target.xid % (1 << 32)


def _stops(target: Target, record: Record, moment: Optional[datetime.datetime]) -> bool:
    """Whether PostgreSQL would stop before this record. Source: recoveryStopsBefore in xlogrecovery.c"""
    if target.kind == TIME and target.time is not None:
        return moment is not None and (moment > target.time or (moment == target.time and not target.inclusive))
    if target.kind == LSN and target.lsn is not None:
        return record.lsn > target.lsn or (record.lsn == target.lsn and not target.inclusive)
    if target.kind == XID:
        return moment is not None and not target.inclusive and _ends(target, record)
    return target.kind == NAME and record.manager == "XLOG" and record.text == f"RESTORE_POINT {target.name}"


class WalReader:
    """Reads WAL by the server's own pg_waldump. ``scratch`` is a private directory with room for some segments."""

    def __init__(self, programs: str, scratch: str, progress: Progress) -> None:
        self._program = os.path.join(programs, "pg_waldump")
        self._scratch, self._progress = os.path.join(scratch, "ahead"), progress

    @property
    def works(self) -> bool:
        """Whether the program is there."""
        return os.access(self._program, os.X_OK)

    def archived(self, wal: WalArchive, runs: Sequence[Run], size: SegmentSize) -> Iterator[Record]:
        """The records of segments in an archive, in order.

        Raises:
            WalError: a segment is not there, or cannot be read.
        """
        total = sum(run.length for run in runs) * size.bytes
        self._progress.step("reading what the WAL would do", total)
        done = 0
        for run in runs:
            # A record that begins in a batch's last segment may end in the next one: batches share a segment.
            for first in range(run.first, run.last + 1, _BATCH):
                last = min(first + _BATCH, run.last)
                names = [size.name(Segment(run.timeline, number)) for number in range(first, last + 1)]
                stop = size.end(Segment(run.timeline, min(first + _BATCH - 1, run.last)))
                yield from (record for record in self._batch(wal, names) if record.lsn < stop)
                done += len(names) * size.bytes
                self._progress.tell(done, None)

    def _batch(self, wal: WalArchive, names: Sequence[str]) -> Iterator[Record]:
        os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        try:
            with threads(wal.fetches) as pool:
                there = list(pool.map(lambda name: wal.fetch(name, os.path.join(self._scratch, name)), names))
            for name, found in zip(names, there):
                if not found:
                    raise WalError(f"The segment {name} was in {wal.description} a moment ago, and cannot be fetched.")
            yield from self.directory(self._scratch, names[0], names[-1])
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def directory(self, path: str, first: str, last: str) -> Iterator[Record]:
        """The records of segments that lie in a directory, as far as they are whole."""
        # It ends with an error where the valid records do, which is all that there is to read.
        with subprocess.Popen(
            [self._program, "--path", path, first, last],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
            text=True,
            errors="surrogateescape",
        ) as process:
            try:
                if process.stdout is not None:
                    yield from read_records(process.stdout)
            finally:
                process.kill()
