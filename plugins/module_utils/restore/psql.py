# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts run by psql with nothing but SQL allowed to them, and every error heard, in whatever language it is said.

psql is restricted (``\\restrict`` with a key that no script can know), so a meta-command that we had missed is refused by it; where we
are root it runs as a user who owns nothing.
Source: https://www.postgresql.org/docs/current/app-psql.html
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command, OnBytes
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.edit import (
    Rendering,
    edited,
    stop_at_copies,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import Script
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.understand import understand
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

# A severity in the server's language, and a code that is the same in all. psql's own errors have no code.
_FAILURE = re.compile(r"^psql:[^:\n]*:(\d+): (?:[^:\n]{1,40}: +([0-9A-Z]{5}): *|error: *)(.*)$", re.MULTILINE)
_NO_FAILURE = (
    "00",
    "01",
    "02",
)  # classes of success, warnings and no data: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TOLD = 1024 * 1024  # bytes of messages that are read
_UIDS = range(61184, 65520)  # that systemd gives to services for a while: https://systemd.io/UIDS-GIDS/


@dataclass(frozen=True)
class Failure:
    """A statement that failed. ``sqlstate`` None: psql itself did."""

    line: int
    sqlstate: Optional[str]
    message: str

    def __str__(self) -> str:
        return f"{self.sqlstate}: {self.message}" if self.sqlstate else self.message


def check_restricted(tools: Tools) -> None:
    """Raise ToolError where psql cannot be restricted."""
    told = subprocess.run([tools.path("psql"), "--help=commands"], check=False, capture_output=True)
    if b"\\restrict" not in told.stdout:
        raise ToolError(
            f"psql {tools.version} in {tools.directory} has no \\restrict, without which a script could run programs on this host. Update "
            "the PostgreSQL client programs (13.22, 14.19, 15.14, 16.10, 17.6 and newer have it), name others by bin_dir, or use a dump in "
            "custom format, which needs no psql."
        )


#: how the note begins on a script that no other user than root could run
AS_ROOT = "The script was run by psql as root"


class Player:
    """Runs scripts in databases of one server."""

    def __init__(self, address: Address, tools: Tools) -> None:
        self._address, self._tools = address, tools
        #: what is to be said of how scripts were run
        self.notes: list[str] = []

    def play(
        self,
        stream: Stream,
        script: Script,
        database: str,
        stop: bool,
        on_bytes: OnBytes = lambda made, out: None,
    ) -> list[Failure]:
        """Run a script that was understood. ``stop``: at the first error; else at a failing COPY alone, as its rows would be
        taken for statements.

        Raises:
            ToolError: psql, or a program that unpacks the script, failed as such.
        """
        check_restricted(self._tools)
        key = secrets.token_hex(24)
        rendering = Rendering(key, database, _PREAMBLE)
        edits = [*script.edits, *([] if stop else stop_at_copies(script, key))]
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(stream.open())
            read: Callable[[int], bytes] = source.read
            chain: Optional[Chain] = None
            if stream.filters:
                chain = stack.enter_context(Chain(stream.filters, source))
                read = chain.output.read
            text = edited(read, edits, rendering)
            failures = self._run(text, key, database, stop, on_bytes, stack)
            if chain is not None and not failures:
                while chain.output.read(1 << 20):
                    pass
                chain.finish()
        return failures

    def play_text(self, text: str, database: str, stop: bool) -> list[Failure]:
        """Run a script of our own programs, or of ours. Raises ToolError; also for one that holds commands to psql."""
        data = text.encode("utf-8", "surrogateescape")
        script = understand(BytesIO(data).read, whole=False)
        if script.problems:
            raise ToolError(f"What was to be restored cannot be: {'; '.join(script.problems)}.")
        return self.play(Stream(lambda: BytesIO(data), []), script, database, stop)

    def _run(
        self, text: Iterator[bytes], key: str, database: str, stop: bool, on_bytes: OnBytes, stack: contextlib.ExitStack
    ) -> list[Failure]:
        conninfo, runner = self._address.conninfo(database), None
        if os.geteuid() == 0:
            connection = self._address.connect(database)
            user = connection.info.user
            connection.close()
            conninfo, runner = stack.enter_context(self._as_nobody(conninfo, user))
        reading, writing = os.pipe()
        try:
            chain = stack.enter_context(Chain([self._command(conninfo, stop, runner)], reading))
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            _feed(text, pipe, on_bytes)
        ended = key.encode() in chain.output.read()
        chain.finish()
        messages = chain.messages(0, _TOLD)
        failures = failures_in(messages, _PREAMBLE_LINES)
        if not failures and (chain.processes[0].returncode or not ended):
            failures = [Failure(0, None, " ".join(messages.split()[-60:]) or "psql did not run the script to its end")]
        return failures

    def _command(self, conninfo: str, stop: bool, runner: Optional[int]) -> Command:
        argv = [self._tools.path("psql"), "--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"]
        argv += [f"--set=ON_ERROR_STOP={int(stop)}", "--set=VERBOSITY=verbose", "--file=-", f"--dbname={conninfo}"]
        # Where a script does not say its encoding, it is UTF-8.
        env = {"PGCLIENTENCODING": "UTF8"}
        return Command(argv, env, ok=(0, 3), uid=runner)

    @contextlib.contextmanager
    def _as_nobody(self, conninfo: str, user: str) -> Iterator[tuple[str, Optional[int]]]:
        """A connection string and a user id for a psql that is not root's; root's own where that one may not log in."""
        import psycopg2.extensions

        parts = psycopg2.extensions.parse_dsn(conninfo)
        passfile = parts.get("passfile") or os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
        uid = _free_uid()
        with workspace("/tmp") as space:
            os.chmod(space, 0o711)
            if os.path.exists(passfile):
                parts["passfile"] = shutil.copyfile(passfile, os.path.join(space, "pgpass"))
                os.chmod(parts["passfile"], 0o600)
                os.chown(parts["passfile"], uid, uid)
            parts.setdefault("user", user)
            mine = str(psycopg2.extensions.make_dsn(**parts))
            probe = [self._tools.path("psql"), "--no-psqlrc", "--no-password", "--command=SELECT 1", f"--dbname={mine}"]
            try:
                with Chain([Command(probe, uid=uid)]) as chain:
                    chain.output.read()
                    chain.finish()
            except ToolError as exc:
                note = f"{AS_ROOT}, in restricted mode: as another user it could not log in. ({exc})"
                self.notes += [] if note in self.notes else [note]
                yield conninfo, None
                return
            yield mine, uid


# Of each session, a cluster's script has many; what a server or role sets against idlers would end it half-way. Who may, has messages
# in English, for those who read them. (No options of the connection: poolers take none.)
_PREAMBLE = (
    "SELECT pg_catalog.set_config('lc_messages', 'C', false) FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper; "
    "SET client_min_messages = error; SET standard_conforming_strings = on; SET default_transaction_read_only = off; "
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', "
    "'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout');"
)
_PREAMBLE_LINES = 2


def failures_in(messages: str, lines: int = 0) -> list[Failure]:
    """The failures that psql told of with VERBOSITY=verbose, in any language; ``lines`` came before the script."""
    return [
        Failure(max(1, int(line) - lines), code or None, text.strip())
        for line, code, text in _FAILURE.findall(messages)
        if not code or code[:2] not in _NO_FAILURE
    ]


def _feed(text: Iterator[bytes], pipe: object, on_bytes: OnBytes) -> None:
    """Write all of it, or until psql is gone (its messages say why)."""
    fd, told, count = pipe.fileno(), time.monotonic(), 0  # type: ignore[attr-defined]
    for part in text:
        view = memoryview(part)
        while view:
            try:
                written = os.write(fd, view[: 1 << 18])
            except BrokenPipeError:
                return
            view = view[written:]
            count += written
        if time.monotonic() - told > 0.5:
            on_bytes(count, 0)
            told = time.monotonic()


def _free_uid() -> int:
    """A user id that nobody has. Raises ServerError."""
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # it has just ended
            taken.add(os.stat(f"/proc/{name}").st_uid)
    for _attempt in range(1000):
        uid = _UIDS[secrets.randbelow(len(_UIDS))]
        if uid not in taken:
            return uid
    raise ServerError("There is no user id left on this host under which a script could be run.")
