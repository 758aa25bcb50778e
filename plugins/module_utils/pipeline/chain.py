# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chain of programs: ``pg_dump | zstd | gpg``, without a shell and with nothing left unread."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils import guard
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.cause import cause
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Sink
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import held
from ansible_collections.holdfast.postgres.plugins.module_utils.users import as_user

CHUNK = 256 * 1024  # what is on its way between two programs stays in the processor's cache
_F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ is there only from Python 3.10 on

#: called about twice a second with (bytes that went from the first to the second program or None, bytes that came out)
OnBytes = Callable[[Optional[int], int], None]


@dataclass(frozen=True)
class Command:
    """One program of a chain.

    ``secret`` is handed over by an inherited pipe, whose number replaces ``{secret_fd}`` in ``argv``: so a
    passphrase is in no argument list, no environment and no file. ``user`` is the one of this host who runs it, or ``uid``, which
    needs to be nobody's (root alone can do that). With ``session``
    it has a session of its own, so that it can be signalled with all that it starts (``session.Session``).
    """

    argv: Sequence[str]
    env: Optional[dict[str, str]] = None
    secret: Optional[bytes] = None
    ok: tuple[int, ...] = (0,)
    user: Optional[str] = None
    session: bool = False
    uid: Optional[int] = None

    @property
    def name(self) -> str:
        return os.path.basename(self.argv[0])


@dataclass(frozen=True)
class Streamed:
    """What came out of a chain: bytes and sha256 as stored, and the bytes before compression where known; ``said``: what the
    first program told on its standard error, though it succeeded."""

    size: int
    sha256: str
    raw_size: Optional[int]
    said: str = ""


def _as_uid(uid: int) -> dict[str, Any]:
    return {"user": uid, "group": uid, "extra_groups": []}


def _environment(extra: Optional[dict[str, str]]) -> dict[str, str]:
    # Messages are matched and shown: they must not depend on the user's language.
    return {**os.environ, "LC_ALL": "C", **(extra or {})}


class _Counter(threading.Thread):
    """Stands between two programs and counts the bytes that go by. The kernel moves them (splice(2)), where Python is
    3.10 or newer: they are not copied."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._source = source
        self.read_end, self._write_end = os.pipe()
        _widen(self._write_end)
        self.start()

    def run(self) -> None:
        # An error here means that a program is gone; its exit code says why.
        with contextlib.suppress(OSError):
            while True:
                moved = self._move()
                if not moved:
                    break
                self.count += moved
        os.close(self._write_end)
        self._source.close()  # so that the program before sees that its reader is gone

    def _move(self) -> int:
        if sys.version_info >= (3, 10):
            return os.splice(self._source.fileno(), self._write_end, CHUNK)  # novermin
        data = os.read(self._source.fileno(), CHUNK)
        view = memoryview(data)
        while view:
            view = view[os.write(self._write_end, view) :]
        return len(data)


def _widen(pipe: int) -> None:
    """A pipe of 256 KiB instead of 64: fewer switches between programs. More than allowed is no harm."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, CHUNK)


def _message_file() -> IO[bytes]:
    """A file for what a program says: in memory, since a full disk may be what it tells of."""
    try:
        return os.fdopen(os.memfd_create("messages"), "w+b")
    except (AttributeError, OSError):  # an old kernel
        return tempfile.TemporaryFile()


class Chain:
    """Started programs. Use as a context manager: what still runs at the end is killed."""

    def __init__(
        self,
        commands: Sequence[Command],
        stdin: Union[int, IO[bytes]] = subprocess.DEVNULL,
        stdout: Union[int, IO[bytes]] = subprocess.PIPE,
    ) -> None:
        self.commands = commands
        self.processes: list[subprocess.Popen[bytes]] = []
        self._errors: list[IO[bytes]] = []
        self._counter: Optional[_Counter] = None
        source: Union[int, IO[bytes]] = stdin
        try:
            for number, command in enumerate(commands):
                last = number == len(commands) - 1
                process = self._start(command, source, stdout if last else subprocess.PIPE)
                if number and not isinstance(source, int):
                    source.close()  # else the program before would never see that its reader is gone
                if process.stdout is not None:
                    _widen(process.stdout.fileno())
                    source = process.stdout
                    if number == 0 and not last:
                        self._counter = _Counter(process.stdout)
                        source = open(self._counter.read_end, "rb", buffering=0)
        except BaseException:
            self.kill()
            raise

    def _start(
        self, command: Command, stdin: Union[int, IO[bytes]], stdout: Union[int, IO[bytes]]
    ) -> subprocess.Popen[bytes]:
        errors = _message_file()
        self._errors.append(errors)
        argv, secret_read = list(command.argv), -1
        if command.secret is not None:
            secret_read, secret_write = os.pipe()
            os.write(secret_write, command.secret + b"\n")  # a pipe takes 64 KiB before it blocks
            os.close(secret_write)
            argv = [word.replace("{secret_fd}", str(secret_read)) for word in argv]
        try:
            with held():  # a program that nobody has noted is one that nobody ends
                process = subprocess.Popen(
                    # Names are the server's, in UTF-8, whatever this host's locale is.
                    [word.encode("utf-8", "surrogateescape") for word in argv],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=errors,
                    env=_environment(command.env),
                    pass_fds=() if secret_read < 0 else (secret_read,),
                    start_new_session=command.session,
                    **(as_user(command.user) if command.uid is None else _as_uid(command.uid)),
                )
                self.processes.append(process)
                guard.note(process, command.session)
                return process
        except OSError as exc:
            raise ToolError.not_started(command.argv, exc) from exc
        finally:
            if secret_read >= 0:
                os.close(secret_read)

    def __enter__(self) -> Chain:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End what still runs: a polite signal, two seconds, then the other one."""
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._counter is not None:
            self._counter.join()
        for process, command in zip(self.processes, self.commands):
            guard.forget(process, command.session)
            if process.stdout is not None:
                process.stdout.close()
        for errors in self._errors:
            errors.close()

    def messages(self, number: int, most: int = 16384) -> str:
        """What a program wrote to its standard error: the last ``most`` bytes of it."""
        # By position: the program writes where the file's own offset is.
        fd = self._errors[number].fileno()
        return os.pread(fd, most, max(0, os.fstat(fd).st_size - most)).decode("utf-8", "replace").strip()

    @property
    def output(self) -> IO[bytes]:
        """What the last program writes, when its output is a pipe to us."""
        stream = self.processes[-1].stdout
        if stream is None:
            raise AssertionError("the chain was started with another output")
        return stream

    def made(self) -> Optional[int]:
        """Bytes that the first program has handed to the second so far; None where there is no second."""
        return None if self._counter is None else self._counter.count

    def finish(self, to_the_end: bool = False) -> Optional[int]:
        """Wait for all, and read every exit code. Returns what ``made`` said at the very end. ``to_the_end``: each program must have
        read all that the one before wrote.

        Raises:
            ToolError: a program failed. Where one failing made another fail by a broken pipe, the cause is named.
        """
        failed = []
        for number, process in enumerate(self.processes):
            code = process.wait()
            if code not in self.commands[number].ok:
                failed.append((number, code))
            elif not to_the_end and failed and failed[-1] == (number - 1, -signal.SIGPIPE):
                # It ended well before its input did, as pg_restore does at a tar archive's padding: no harm. What failed by itself did.
                while failed and failed[-1][1] == -signal.SIGPIPE:
                    failed.pop()
        if failed:
            # A program whose reader died ends by a broken pipe: so the cause is the last that failed otherwise.
            number, code = next((item for item in reversed(failed) if item[1] != -signal.SIGPIPE), failed[-1])
            told = cause(self.messages(number, 1024 * 1024))
            raise ToolError.failed(self.commands[number].argv, code, told, told)
        if self._counter is not None:
            self._counter.join()
        return self.made()


def store(
    commands: Sequence[Command],
    sink: Sink,
    on_bytes: OnBytes,
    stdin: Union[int, IO[bytes]] = subprocess.DEVNULL,
) -> Streamed:
    """Run a chain and put what comes out into ``sink``, which is committed only when every program succeeded.

    Memory is bounded by one ``CHUNK`` and the pipes.

    Raises:
        ToolError: a program failed.
        RepositoryError: the store did.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with Chain(commands, stdin) as chain:
            output = chain.output
            told = time.monotonic()
            while True:
                data = os.read(output.fileno(), CHUNK)
                if not data:
                    break
                digest.update(data)
                sink.write(data)
                size += len(data)
                if time.monotonic() - told > 0.5:
                    on_bytes(chain.made(), size)
                    told = time.monotonic()
            made = chain.finish(to_the_end=True)
            said = chain.messages(0)
            on_bytes(made, size)
    except BaseException:
        sink.abort()
        raise
    sink.commit()
    return Streamed(size, digest.hexdigest(), size if len(commands) == 1 else made, said)


def run(commands: Sequence[Command], stdin: Union[int, IO[bytes]] = subprocess.DEVNULL) -> bytes:
    """Run a chain to its end, and return what it wrote (meant for little). Raises ToolError."""
    with Chain(commands, stdin) as chain:
        data = chain.output.read()
        chain.finish()
        return data


def pump(
    commands: Sequence[Command],
    stdin: Union[int, IO[bytes]],
    stdout: Union[int, IO[bytes]],
    on_bytes: OnBytes = lambda made, out: None,
) -> str:
    """Run a chain between two files (or from one into a program that keeps its output), and return the last
    program's messages.

    Raises:
        ToolError: a program failed.
    """
    with Chain(commands, stdin, stdout) as chain:
        while any(process.poll() is None for process in chain.processes[-1:]):
            on_bytes(chain.made(), 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                chain.processes[-1].wait(0.5)
        chain.finish()
        return chain.messages(len(commands) - 1, 1024 * 1024)
