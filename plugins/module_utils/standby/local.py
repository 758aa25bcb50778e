# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data directory of a standby on this host: who it is, how far it came, and what it is told."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import AUTO
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import SIGNAL, read
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

# A record's length as it is stored, padding aside, and where it begins; a shutdown's checkpoint needs no more than that.
_RECORD = re.compile(r"len \(rec/tot\):\s*\d+/\s*(\d+),.*lsn: ([0-9A-F]+/[0-9A-F]+),")
_SHUTDOWN = 256

RECOVERING = ("in archive recovery", "shut down in recovery")


class Local:
    """The server of a data directory that is not empty.

    Raises:
        BadOption: there are files in it, and no server.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance, self.directory = instance, instance.directory
        version = os.path.join(self.directory, "PG_VERSION")
        if not os.path.exists(version):
            raise BadOption("data_directory", self.directory, "holds files, and no server", "Name another directory.")
        with open(version, encoding="ascii") as stream:
            self.major = int(stream.read())

    @property
    def running(self) -> bool:
        return self.instance.pid() is not None

    @property
    def is_standby(self) -> bool:
        """Whether it recovers, or would when it is started."""
        return os.path.exists(os.path.join(self.directory, SIGNAL))

    def slots(self) -> list[str]:
        """The names of its replication slots, as its files tell."""
        with contextlib.suppress(OSError):
            return sorted(os.listdir(os.path.join(self.directory, "pg_replslot")))
        return []

    def system_id(self) -> str:
        """Raises ServerError."""
        return self.instance.control()["Database system identifier"]

    def settings(self) -> dict[str, str]:
        """What its postgresql.auto.conf says."""
        path = os.path.join(self.directory, AUTO)
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return read(stream.read())
        return {}

    def started(self) -> Optional[tuple[int, int]]:
        """Port, and the second when it was started, as Upstream.started tells; None when it does not run."""
        lines = self._postmaster()
        return (int(lines[3]), int(lines[2])) if len(lines) > 3 and self.running else None

    def socket(self) -> Optional[tuple[str, int]]:
        """Directory and port of its socket; None when it does not run."""
        lines = self._postmaster()
        return (lines[4], int(lines[3])) if len(lines) > 4 and self.running else None

    def _postmaster(self) -> list[str]:
        path = os.path.join(self.directory, "postmaster.pid")
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
            return [line.strip() for line in stream]
        return []

    def tells_changes(self) -> bool:
        """Whether its WAL tells of each page that changed, which pg_rewind needs. Raises ServerError."""
        control = self.instance.control()
        return control["wal_log_hints setting"] == "on" or control["Data page checksum version"] != "0"

    def position(self) -> Position:
        """The end of the WAL in it, which a start would replay. Raises HoldfastError."""
        control = self.instance.control()
        timeline = int(control["Latest checkpoint's TimeLineID"])
        start = Lsn.parse(control["Latest checkpoint location"], "checkpoint")
        reached = Lsn.parse(control["Minimum recovery ending location"], "position")
        if reached > start and int(control["Min recovery ending loc's timeline"]) > timeline:
            timeline, start = int(control["Min recovery ending loc's timeline"]), reached
        end = max(self._end_of_wal(timeline, start) or start, reached)
        return Position(timeline, end, control["Database cluster state"] in RECOVERING)

    def _end_of_wal(self, timeline: int, start: Lsn) -> Optional[Lsn]:
        """Where the last whole record ends; None when there is no WAL from there on."""
        directory = os.path.join(self.directory, "pg_wal")
        argv = [self.instance.program("pg_waldump"), "-p", directory, "-t", str(timeline), "-s", str(start), "--stats"]
        found = re.search(
            r"between ([0-9A-F]+/[0-9A-F]+) and ([0-9A-F]+/[0-9A-F]+)", run_as(self.instance.owner, argv).stdout
        )
        end = Lsn.parse(found[2], "position") if found else None
        return end or None

    def ended_cleanly(self, replayed: Lsn) -> Optional[int]:
        """Where the last record of its WAL tells that the primary was shut down in order, which it does only after its standbys had
        everything: the bytes that are not replayed yet, of all that the primary wrote until then. None: it does not tell."""
        size = SegmentSize(int(self.instance.control()["Bytes per WAL segment"]))
        folder = os.path.join(self.directory, "pg_wal")
        # The record may begin in the segment before the one where it ends; the newest timeline that has it counts.
        wanted = size.containing(1, max(replayed - _SHUTDOWN, size.bytes))
        found = [name for name in os.listdir(folder) if len(name) == 24 and name[8:] == size.name(wanted)[8:]]
        if not found:
            return None
        argv = [self.instance.program("pg_waldump"), "-p", folder, "-t", str(int(max(found)[:8], 16))]
        lines = run_as(self.instance.owner, [*argv, "-s", str(size.start(wanted))]).stdout.splitlines()
        records = [line for line in lines if line.startswith("rmgr:")]
        last = _RECORD.search(records[-1]) if records else None
        if last is None or "CHECKPOINT_SHUTDOWN" not in records[-1]:
            return None
        return max(Lsn.parse(last[2], "position") + int(last[1]) - replayed, 0)

    def refuse_self(self, upstream: tuple[int, int]) -> None:
        """Raises ServerError: the primary that is named is this very server."""
        mine = self.started()
        if mine is not None and mine[0] == upstream[0] and abs(mine[1] - upstream[1]) <= 2:
            raise ServerError(
                f"The primary that is named is the server in {self.directory} itself. Name the server that it is to follow."
            )
