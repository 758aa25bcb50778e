# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that recovers in private: nobody can reach it, and it can reach nobody, until it is where it should be."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import knows
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import private_settings
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.startup_process import StartupProcess
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, last_words
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account, as_user
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import ServerLog, Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


PREFIX = "holdfast-recovery-"


@dataclass(frozen=True)
class Cell:
    """How a server is shut in. ``before``: the program and arguments that start it there, which become its owner themselves if
    ``becomes_owner``; ``environment``: what it has in its environment."""

    before: Sequence[str] = ()
    becomes_owner: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Landing:
    """Where a recovery ended. ``commit_time``: of the last transaction that was replayed; None: there was none."""

    state: str
    timeline: Optional[int]
    lsn: Optional[str]
    commit_time: Optional[str]
    seconds: float
    #: the server's own words about its end
    messages: list[str]


def end_interrupted(instance: Instance) -> None:
    """Stop a private server that outlived the run that started it, and remove its socket's directory."""
    if instance.pid() is None:
        return
    with open(os.path.join(instance.directory, "postmaster.pid"), encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    instance.stop("immediate")
    directory = lines[4] if len(lines) > 4 else ""
    if os.path.dirname(directory) == "/tmp" and os.path.basename(directory).startswith(PREFIX):
        shutil.rmtree(directory, ignore_errors=True)


class PrivateServer:
    """The server of a data directory, started by us and for us alone. ``users`` may be superusers in it, and ``databases`` may take
    connections: the first of each that does is used."""

    def __init__(self, instance: Instance, users: Sequence[str], databases: Sequence[str], port: int) -> None:
        self._instance, self._port = instance, port
        self._users, self._databases = list(dict.fromkeys(users)), list(dict.fromkeys(databases))
        # A socket's path has at most 107 bytes, and the owner must get there.
        self._directory = tempfile.mkdtemp(prefix=PREFIX, dir="/tmp")
        owner = account(instance.owner)
        hba = os.path.join(self._directory, "hba")
        with open(hba, "w", encoding="utf-8") as stream:
            stream.write("local all all trust\n")
        self.log = os.path.join(self._directory, "log")
        # Made while the directory is ours alone: later its owner could have put a link there.
        self._output: IO[bytes] = open(self.log, "xb")
        for path in (hba, self._directory):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        self._heard = ServerLog(self.log, 0)
        self._hba = hba
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._left = False

    def __enter__(self) -> PrivateServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop("immediate")
        self._output.close()
        if not self._left:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def database(self) -> str:
        """One that takes connections, as far as is known."""
        return self._databases[0]

    @property
    def socket_directory(self) -> str:
        """Where its socket is, for us and its owner alone."""
        return self._directory

    @property
    def port(self) -> int:
        """The number in its socket's name."""
        return self._port

    @property
    def user(self) -> str:
        """A superuser, as far as is known."""
        return self._users[0]

    def leave(self) -> None:
        """It goes on, and is somebody else's to end (``end_interrupted``)."""
        self._process = None
        self._left = True

    def start(
        self,
        reachable: bool,
        keep_archiving: bool,
        libraries: Optional[str],
        major: int,
        cell: Optional[Cell] = None,
        more: Optional[Mapping[str, str]] = None,
    ) -> None:
        """Start it. ``reachable``: it answers us already while it recovers. ``keep_archiving``: it is to archive later.
        ``libraries``: what it loads instead of what it is configured to (None: that). ``cell``: what keeps it from the network;
        ``more``: other settings."""
        settings = private_settings(self._directory, self._hba, keep_archiving)
        # A standby that lacks connections or workers of its primary would wait, rather than recover.
        settings.update(hot_standby="on" if reachable else "off", port=str(self._port))
        settings.update({"shared_preload_libraries": libraries} if libraries is not None else {})
        settings.update({"event_triggers": "off"} if knows("event_triggers", major) else {})
        settings.update(more or {})
        argv = [self._instance.program("postgres"), "-D", self._instance.directory]
        # A configuration that names a data directory names the final one.
        argv += ["-c", f"data_directory={self._instance.directory}"]
        if self._instance.configuration:
            argv += ["-c", f"config_file={self._instance.configuration}"]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(
            [*(cell.before if cell else ()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={
                **os.environ,
                "LC_ALL": "C",
                "HOME": account(self._instance.owner).pw_dir,
                **(cell.environment if cell else {}),
            },
            start_new_session=True,
            **({} if cell and cell.becomes_owner else as_user(self._instance.owner)),
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs. A fast stop takes as long as a checkpoint does."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        try:
            self._process.wait(3600 if mode == "fast" else 30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @contextlib.contextmanager
    def connect(self, database: str) -> Iterator[Connection]:
        """A connection over its private socket, on which neither time limits nor a ban on writes of others count."""
        import psycopg2

        connection = psycopg2.connect(
            host=self._directory,
            port=self._port,
            user=self._users[0],
            dbname=database,
            options="-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off",
        )
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def _try_another(self, message: str) -> None:
        """Whom we came as, or where to, is refused: the next one is tried, where there is one, and the log's word for it is no end."""
        for pattern, candidates in (
            (r'role "(.*)" (?:does not exist|is not permitted to log in)', self._users),
            (r'database "(.*)" (?:does not exist|is not currently accepting connections)', self._databases),
            (r'cannot connect to invalid database "(.*)"', self._databases),
            (r'too many connections for database "(.*)"', self._databases),
        ):
            found = re.search(pattern, message)
            if found and len(candidates) > 1 and candidates[0] == found[1]:
                self._heard.expect(candidates.pop(0))

    def follow(
        self, action: str, start: Lsn, end: Optional[Lsn], size: SegmentSize, wal_timeout: float, progress: Progress
    ) -> Landing:
        """Wait until the recovery has ended as ``action`` says (promote, pause, shutdown), showing how far it is from ``start`` to
        ``end``. ``wal_timeout``: seconds that the archive may take for one file.

        Raises:
            ServerError: it ended otherwise; the server's own words are told.
        """
        progress.step("recovering", None if end is None else max(int(end - start), 0))
        process = self._process
        if process is None:
            raise AssertionError("it was not started")
        startup = StartupProcess(process.pid, wal_timeout)
        conditions: dict[str, Callable[[], Optional[Landing]]] = {
            "ended": lambda: self._ended(process, action),
            "landed": lambda: self._landed(action, start, size, startup, progress),
            "hangs": startup.require_command_ends,
        }
        waiter = Waiter(log=self._heard)
        try:
            with startup:
                seen = waiter.until(conditions)
        except ServerError as exc:
            # It ends, or we can never get in: in both cases waiting on would be for nothing.
            raise ServerError(f"The recovery failed. {exc} {last_words(self.log)}{way_out(self.log)}") from exc
        if seen is None:
            raise AssertionError("there was no deadline")
        return replace(seen.value, seconds=round(waiter.seconds, 3))

    def _ended(self, process: subprocess.Popen[bytes], action: str) -> Optional[Landing]:
        """Where it shut down, as it was to; None while it runs. Raises ServerError: it failed."""
        if process.poll() is None:
            return None
        messages = self.messages()
        if action == "shutdown" and any("shutdown at recovery target" in line for line in messages):
            return Landing("shut down", None, *self._told(messages), 0.0, messages)
        raise ServerError(f"The recovery failed. {last_words(self.log)}{way_out(self.log)}")

    def _landed(
        self, action: str, start: Lsn, size: SegmentSize, startup: StartupProcess, progress: Progress
    ) -> Optional[Landing]:
        """Where it landed, asked of itself; None while it has not."""
        segment = startup.segment()
        if segment is not None:
            progress.tell(max(int(size.start(size.parse(segment, "segment")) - start), 0), None)
        row = self._ask(action)
        if row is None:
            return None
        return Landing(row["state"], row["timeline"], row["lsn"], row["time"], 0.0, self.messages())

    def _ask(self, action: str) -> Optional[dict[str, Any]]:
        """Where it landed; None while it has not."""
        import psycopg2

        try:
            with self.connect(self.database) as connection:
                recovering = facts.value(connection, "SELECT pg_is_in_recovery()")
                if recovering and action != "pause":
                    return None
                if recovering and facts.value(connection, "SELECT pg_get_wal_replay_pause_state()") != "paused":
                    return None
                row = facts.rows(
                    connection,
                    "SELECT pg_last_wal_replay_lsn()::text AS lsn, pg_last_xact_replay_timestamp() AS time,"
                    " CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END AS segment,"
                    " (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline",
                )[0]
        except psycopg2.Error as exc:
            self._try_another(str(exc))
            return None
        moment: Optional[datetime.datetime] = row["time"]
        return {
            "state": "paused" if recovering else "promoted",
            "timeline": int(row["segment"][:8], 16) if row["segment"] else row["timeline"],
            "lsn": row["lsn"],
            "time": None
            if moment is None
            else moment.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z"),
        }

    def messages(self) -> list[str]:
        """What it said about its recovery."""
        with contextlib.suppress(OSError), open(self.log, encoding="utf-8", errors="replace") as stream:
            return [
                line.strip()
                for line in stream
                if re.search(r"recover|redo|timeline|last completed|FATAL|PANIC|restored log file|invalid", line)
                and not re.search(r"restored log file|database system is (starting up|not accepting)", line)
            ][-40:]
        return []

    @staticmethod
    def _told(messages: list[str]) -> tuple[Optional[str], Optional[str]]:
        """LSN and commit time, out of the log."""
        text = "\n".join(messages)
        lsn = re.search(r"redo done at ([0-9A-F]+/[0-9A-F]+)", text)
        moment = re.search(r"last completed transaction was at log time (\S+ \S+?)\+00", text)
        when = None
        if moment:
            parsed = datetime.datetime.fromisoformat(moment.group(1)).replace(tzinfo=datetime.timezone.utc)
            when = format_time(parsed)
        return (lsn.group(1) if lsn else None), when


def way_out(log: str) -> str:
    """What to do about the end of a recovery that this log tells of; empty: it is not known."""
    with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
        for part, hint in (
            (
                "recovery ended before configured recovery target was reached",
                " The archive ends before the target: choose an earlier one, or latest.",
            ),
            (
                "requested recovery stop point is before consistent",
                " The target is before the backup's end: use an older backup.",
            ),
            ("is not compatible with this version", " The files are of another major version: name bin_dir of theirs."),
            (
                "is not permitted to log in",
                " Name a superuser of the restored server who may log in: login_user.",
            ),
            (
                'FATAL:  role "',
                " Name a superuser of the restored server: login_user.",
            ),
            ("No space left on device", " Free some space, and run it again."),
            (
                "could not access file",
                " An extension's library is missing here: install its package (shared_preload_libraries).",
            ),
        ):
            if part in text:
                return hint
    return ""
