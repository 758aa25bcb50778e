# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a WAL archive holds: its names, its timelines, the last commit in it, and the backups that it goes with."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive, Commit
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.backup import Backup
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.choose import Choice, choose
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LSN, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

# An idle server writes segments without a commit: so many are looked at, from the end.
_LOOK_BACK = 16
_COMMIT = re.compile(
    r"lsn: ([0-9A-F]+/[0-9A-F]+),.* desc: (?:COMMIT|ABORT)(?:_PREPARED)? (?:xid \d+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC"
)


def survey(wal: WalArchive, inventory: Inventory, scratch: str) -> Archive:
    """The archive whose names ``inventory`` has read; history files are fetched.

    Raises:
        HoldfastError: a history file cannot be read.
    """
    texts = {}
    for timeline in inventory.histories:
        path = os.path.join(scratch, history_name(timeline))
        if wal.fetch(history_name(timeline), path):
            with open(path, encoding="utf-8") as stream:
                texts[timeline] = stream.read()
    timelines = Timelines.from_texts(texts, inventory.coverage.timelines)
    return Archive(inventory.coverage, timelines, inventory.size)


def leads_to(
    wal: WalArchive, records: Iterable[Record], timeline: int, lsn: Lsn, size: SegmentSize, scratch: str
) -> Choice:
    """The backup by which a recovery to a position of a timeline would begin, with its WAL proven complete.

    Raises:
        WalError: there is none, and why.
        HoldfastError: the archive cannot be read.
    """
    inventory = Inventory(size)
    inventory.read(wal.names())
    backups = [backup for backup in map(as_backup, records) if backup is not None]
    return choose(Target(LSN, lsn=lsn, timeline=timeline), backups, survey(wal, inventory, scratch))


def with_commits(archive: Archive, wal: WalArchive, programs: str, scratch: str) -> Archive:
    """The archive with the last commit of each timeline, as far as it can be found near its end. Where the server's
    pg_waldump is missing, none is known."""
    program = os.path.join(programs, "pg_waldump")
    if not os.access(program, os.X_OK):
        return archive
    commits = [_last_commit(archive, timeline, wal, program, scratch) for timeline in archive.coverage.timelines]
    return replace(archive, commits=tuple(commit for commit in commits if commit is not None))


def _last_commit(archive: Archive, timeline: int, wal: WalArchive, program: str, scratch: str) -> Optional[Commit]:
    last = archive.coverage.last(timeline)
    number = last
    while number is not None and last is not None and last - number < _LOOK_BACK:
        name = archive.size.name(Segment(timeline, number))
        directory = os.path.join(scratch, "waldump")
        os.makedirs(directory, exist_ok=True)
        try:
            if not wal.fetch(name, os.path.join(directory, name)):
                return None
            found = commits_in(os.path.join(directory, name), program)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        if found:
            lsn, time = found[-1]
            return Commit(timeline, lsn, time, last=True)
        number = number - 1 if number else None
    return None


def commits_in(path: str, program: str) -> list[tuple[Lsn, datetime.datetime]]:
    """The ends of transactions that begin in a segment, in order: position, and time in UTC. A recovery to a time stops at a rollback as it
    does at a commit. Source: recoveryStopsBefore in xlogrecovery.c"""
    # It ends with an error where the segment's valid records do, which is all that there is to read.
    done = subprocess.run(
        [program, "--rmgr=Transaction", path],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
    )
    return [
        (Lsn.parse(lsn, "lsn"), datetime.datetime.fromisoformat(time).replace(tzinfo=datetime.timezone.utc))
        for lsn, time in _COMMIT.findall(done.stdout)
    ]


def as_backup(record: Record) -> Optional[Backup]:
    """A record as the planning of a recovery sees it; None where it lacks positions."""
    if not record.start_lsn or not record.stop_lsn:
        return None
    return Backup(
        id=record.id,
        timeline=int(record.server.get("timeline") or 1),
        start_lsn=Lsn.parse(record.start_lsn, "start_lsn"),
        stop_lsn=Lsn.parse(record.stop_lsn, "stop_lsn"),
        stop_time=parse_time(str(record.consistency.get("reached_at") or record.stopped_at), "stopped_at"),
        has_wal=bool(record.consistency.get("self_contained")),
    )
