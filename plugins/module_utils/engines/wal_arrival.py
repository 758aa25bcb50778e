# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server's WAL arrives where a backup's is looked for: asked before the backup, while it waits, and after it.

A backup without its WAL cannot be restored, and that an archive_command is set, or that a program ended well, says nothing of where the
WAL goes. So nothing is reported as done, and nothing deleted, before the segments of the backup itself are in this very archive.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archive_command import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import (
    archiver_state,
    archiver_words,
    running_command,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import SEGMENT, classify
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: seconds for which nothing of a backup's WAL may arrive, while the archiver does not fail; where the user says nothing else
WAL_TIMEOUT = 600
_RECOVERS = 10.0  # seconds that an archiver which failed gets to do better, before anything is begun
_STUCK = 60.0  # seconds that a backup waits for its WAL while the archiver fails
_LOOK = 5.0  # seconds between looks at the archiver
_SAID = 5.0  # seconds of waiting that need no word


def needed_segments(record: Record, size: SegmentSize) -> list[str]:
    """The names of the segments that make a backup consistent, first to last; nothing where its positions are not known."""
    return _between(record.server.get("timeline"), record.start_lsn, record.stop_lsn, size)


def _between(timeline: Optional[int], start: Optional[str], stop: Optional[str], size: SegmentSize) -> list[str]:
    if timeline is None or not start or not stop:
        return []
    first = size.containing(timeline, Lsn.parse(start, "start_lsn"))
    last = size.before(timeline, Lsn.parse(stop, "stop_lsn"))
    return [size.name(first._replace(number=number)) for number in range(first.number, last.number + 1)]


def missing_segments(wal: WalArchive, needed: list[str], size: SegmentSize) -> list[str]:
    """Those of ``needed`` (sorted, of one timeline) that are not in the archive. Raises HoldfastError: it cannot be read."""
    if not needed:
        return []
    first = size.parse(needed[0], "segment")
    there = set()
    for name in wal.names(size.name(first.previous()) if first.number else None):
        file = classify(name, size)
        if file.kind == SEGMENT:
            if name[:24] > needed[-1]:
                break  # names come sorted
            there.add(name[:24])
    return [name for name in needed if name not in there]


def _has(wal: WalArchive, name: str) -> bool:
    """Whether a segment, or another file that was archived, is in the archive."""
    # Names come sorted, and histories always.
    return any(found.startswith(name[:24]) for found in wal.names(name[:23]))


class Archiving:
    """The archiving of the server behind a connection, into the archive ``wal``; where that is None, nothing is asked for.

    ``slot``: that of a receiver, which fills the archive instead of the server while it reads from it. ``timeout``: seconds for which
    nothing of the WAL that is waited for may arrive; a slow archive, which still takes one segment after the other, is waited for.
    """

    def __init__(
        self,
        connection: Connection,
        wal: Optional[WalArchive],
        slot: Optional[str] = None,
        timeout: float = WAL_TIMEOUT,
    ) -> None:
        self._connection, self._wal, self._slot = connection, wal, slot
        #: seconds, for a program that waits by itself
        self.timeout = timeout
        self._size = SegmentSize(facts.wal_segment_size(connection))
        self._looked, self._well, self._came = 0.0, 0.0, 0.0
        self._last: Optional[tuple[object, object]] = None

    def before(self, check: bool = False) -> list[str]:
        """Look whether WAL can be expected to arrive. Returns warnings. ``check``: touch nothing, and do not wait.

        Raises:
            ServerError: the server does not archive, archives elsewhere, or fails to.
        """
        if self._wal is None:
            return []
        if facts.identify(self._connection).in_recovery and facts.setting(self._connection, "archive_mode") != "always":
            return []  # what archives is the primary's; whether it does so here, is seen by the segments that arrive
        if self._slot and any(slot["name"] == self._slot and slot["active"] for slot in facts.slots(self._connection)):
            return []
        if facts.setting(self._connection, "archive_mode") == "off":
            raise ServerError(
                "The server does not archive its WAL (archive_mode is off), and this backup could not be restored without it. Set "
                "archiving up first (wal_archive, playbook setup.yml), and restart the server."
            )
        warnings = self._compare_command(self._wal)
        self._check_failing(check)
        self._check_hanging()
        return warnings

    def _compare_command(self, wal: WalArchive) -> list[str]:
        command = running_command(self._connection)
        if wal.is_own(command):
            return []
        library = facts.setting(self._connection, "archive_library")
        # Who may not see the command has what arrived to go by.
        hidden = facts.setting(self._connection, "archive_command") is None
        how = f"archive_library {library!r}" if library else f"archive_command {command or ''!r}"
        how = "archive_command, which this role may not see," if hidden else how
        problems = [] if library or hidden else judge(command or "")
        if problems:
            raise ServerError(
                f"The server's {how} does not keep its WAL: {'; '.join(problems)}. This backup could not be restored. Set archiving up "
                "(wal_archive, playbook setup.yml)."
            )
        last = archiver_state(self._connection)["last_archived"]
        if last is None or not _has(wal, last):
            raise ServerError(
                f"The server archives its WAL elsewhere: its {how} is not the one that writes into {wal.description}, and "
                f"{f'the last segment that it archived, {last}, is not there' if last else 'it has archived nothing yet'}. This backup "
                "could not be restored from there. Check server_name and the repository, or set archiving up for them (wal_archive)."
            )
        return [f"The server's {how} is not the one that wal_archive sets; it does archive into {wal.description}."]

    def _failing(self) -> bool:
        """Whether the archiver's last attempt failed, and its segment is not in the archive all the same: of several repositories one may
        be out of reach, and the others have it."""
        state = archiver_state(self._connection)
        segment = state["failing_segment"]
        return bool(state["failing"]) and not (self._wal and segment and _has(self._wal, segment))

    def _check_failing(self, check: bool) -> None:
        """One that failed once may do better: PostgreSQL tries again soon when there is something new."""
        began = time.monotonic()
        while self._failing():
            if check or time.monotonic() - began >= _RECOVERS:
                raise ServerError(
                    f"This backup could not be restored without the WAL of its time. {archiver_words(self._connection)}"
                )
            facts.attempt(self._connection, "SELECT pg_switch_wal()::text", [], "A new segment")
            time.sleep(0.5)

    def _check_hanging(self) -> None:
        """One that has hung since before the backup begins, by what the server says of it: the backup would be copied for nothing."""
        state = archiver_state(self._connection)
        age = state["waiting_age"]
        if state["ready"] and age is not None and age >= self.timeout:
            raise ServerError(
                f"This backup could not be restored without the WAL of its time. {self._hangs(age, state['oldest_ready'])}"
            )

    def watch(self) -> None:
        """While PostgreSQL waits for the WAL of a backup, which it does without an end: called often.

        Raises:
            ServerError: the archiver has failed for a minute, or has archived nothing for ``timeout`` seconds.
        """
        if not self._is_due():
            return
        state = archiver_state(self._connection)
        self._note(state)
        idle = self._looked - self._came
        if idle >= self.timeout:
            raise ServerError(
                f"The backup waits for its WAL, and cannot be restored without it. {self._hangs(idle, state['oldest_ready'])}"
            )
        self._check_stuck()

    def _is_due(self) -> bool:
        """Whether it is time for a look at the archiver; a wait begins with the first one after a while."""
        now = time.monotonic()
        if now - self._looked < min(_LOOK, self.timeout / 4):
            return False
        if now - self._looked > 10 * _LOOK:
            self._well, self._came, self._last = now, now, None
        self._looked = now
        return True

    def _note(self, state: Mapping[str, Any]) -> None:
        last = (state["last_archived"], state["last_archived_at"])
        if self._last != last:
            self._last, self._came = last, self._looked

    def _check_stuck(self) -> None:
        if not self._failing():
            self._well = self._looked
        elif self._looked - self._well >= _STUCK:
            raise ServerError(
                f"The server has failed to archive for {_STUCK:g} seconds, and a backup without its WAL cannot be restored. "
                f"{archiver_words(self._connection)}"
            )

    def _hangs(self, seconds: float, segment: Optional[str]) -> str:
        library = facts.setting(self._connection, "archive_library")
        what = f"archive_library {library!r}" if library else "archive_command"
        return (
            f"The server has archived nothing for {seconds:.0f} seconds (wal_timeout: {self.timeout:g}), and reports no failure: its {what} "
            f"does not come back{f', and {segment} waits first' if segment else ''}. Look at what it waits for (a store or a mount that does "
            "not answer), and end that process: PostgreSQL tries again. Nothing is lost while pg_wal has room."
        )

    def after(self, record: Record, progress: Progress) -> None:
        """Wait until the WAL of a backup is in the archive.

        Raises:
            HoldfastError: the archive cannot be read.
            ServerError: the WAL did not arrive.
        """
        self.arrived(record.server.get("timeline"), record.start_lsn, record.stop_lsn, progress)

    def arrived(self, timeline: Optional[int], start: Optional[str], stop: Optional[str], progress: Progress) -> None:
        """The same for the WAL of a timeline between two positions."""
        if self._wal is None:
            return
        needed = _between(timeline, start, stop, self._size)
        began, pause, said = time.monotonic(), 0.05, False
        came, before, self._looked = began, len(needed), 0.0
        while missing := missing_segments(self._wal, needed, self._size):
            now = time.monotonic()
            if len(missing) < before or self._is_on_its_way(missing[-1]):
                came, before = now, len(missing)
            if now - came >= self.timeout:
                raise ServerError(
                    f"{missing[-1]}, which the backup needs, was not in {self._wal.description} after {now - began:.0f} seconds "
                    f"(wal_timeout: {self.timeout:g}). {self._why()}"
                )
            if not said and now - began >= _SAID:
                said = True
                progress.step(f"waiting for {missing[-1]} in the WAL archive{self._who()}")
            progress.tell(None, None)
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def _is_on_its_way(self, segment: str) -> bool:
        """Whether the archiver has gone on since the last look, and has not come to a segment yet. Raises ServerError: it fails."""
        if not self._is_due():
            return False
        before = self._last
        state = archiver_state(self._connection)
        self._note(state)
        self._check_stuck()
        return before not in (None, self._last) and str(state["last_archived"])[:24] < segment

    def _standby(self) -> bool:
        with contextlib.suppress(HoldfastError):
            return facts.identify(self._connection).in_recovery
        return False

    def _who(self) -> str:
        return ", which the primary archives when it is full or archive_timeout passes" if self._standby() else ""

    def _why(self) -> str:
        if self._standby():
            return (
                "The primary archives it, when the segment is full, or archive_timeout passes (1min is reasonable): an idle one "
                "without that never does. Ask there: wal_archive with state: verified."
            )
        return archiver_words(self._connection)
