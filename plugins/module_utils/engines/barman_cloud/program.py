# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running barman-cloud's programs as the user who owns the server."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import IO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import guard
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.listing import told
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.said import Said
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import waiting_for
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account, as_user

OLDEST = (3, 12)  # from here on its list of backups has times with an offset
_GET = (
    "Install barman-cli-cloud (Debian, Red Hat: from PostgreSQL's own repositories) or, by pip, barman[cloud], "
    f"{'.'.join(map(str, OLDEST))} or newer, or name where it is by program."
)
_PAUSE = 0.5  # seconds between looks at a running program
_GRACE = 5.0  # seconds to mark a backup as failed


def find(program: Optional[str]) -> str:
    """The directory of the programs. ``program``: that directory, or one of them; None: they are in PATH.

    Raises:
        ToolError: they are not there.
    """
    name = "barman-cloud-wal-archive"
    if program and os.path.isdir(program):
        program = os.path.join(program, name)
    found = shutil.which(program or name, path=None if program else f"{os.environ.get('PATH', '')}:/usr/local/bin")
    if found is None or shutil.which(name, path=os.path.dirname(found)) is None:
        raise ToolError(f"There is no {program or f'{name} in PATH'}. {_GET}")
    return os.path.dirname(os.path.abspath(found))


class Barman:
    """The programs in a directory, run by a user.

    ``environment`` is what says where the store is and how to get in. Variables of our own environment that say so too are
    taken away, as PostgreSQL, which runs the same programs, does not have them; unless ``ambient``: then the host's own
    credentials are to be used, which may be there.
    """

    def __init__(self, directory: str, owner: str, environment: Mapping[str, str], ambient: bool) -> None:
        self.directory, self._owner = directory, owner
        strange = "PG|BARMAN_" if ambient else "PG|BARMAN_|AWS_|AZURE_|GOOGLE_"
        inherited = {name: value for name, value in os.environ.items() if not re.match(strange, name)}
        home = account(owner).pw_dir
        self._environment = {**inherited, "HOME": home, "LC_ALL": "C", **environment}
        self.help = cache(self._help)

    def version(self) -> str:
        """Its version. Raises ToolError: it is too old, or it is not Barman's."""
        said = self.run("wal-archive", "--version", timeout=60)
        found = re.search(r"\b(\d+)\.(\d+)\S*", said.output)
        if found is None:
            program = f"{self.directory}/barman-cloud-wal-archive"
            message = f"{program} says no version: {said.output.strip()!r}. {_GET}"
            raise ToolError(message, [program, "--version"], said.code, said.output)
        if (int(found[1]), int(found[2])) < OLDEST:
            raise ToolError(f"barman-cloud in {self.directory} is {found[0]}, which is too old. {_GET}")
        return found[0]

    def _help(self, program: str) -> str:
        return self.run(program, "--help", timeout=60).output

    def demand(self, program: str, word: str, option: str) -> None:
        """Raise ToolError: this version of a program does not have the word that an option needs."""
        if not re.search(rf"{re.escape(word)}\b", self.help(program)):
            raise ToolError(
                f"barman-cloud-{program} in {self.directory} has no {word}, which {option} needs. Update it."
            )

    def can_import(self, module: str) -> Optional[bool]:
        """Whether the Python that runs the programs has a module; None when it cannot be told which Python that is."""
        with open(os.path.join(self.directory, "barman-cloud-wal-archive"), "rb") as stream:
            head = stream.read(2048).decode("utf-8", "replace").splitlines()[:2]
        # In a directory with a long name, pip has a shell find it.
        found = re.match(r"#! ?(\S*python[\w.]*)", head[0]) or re.match(
            r"'''exec' \"?([^\" ]+python[\w.]*)\"?", head[-1]
        )
        if found is None:
            return None
        argv = [found[1], "-c", f"import {module}"]
        done = subprocess.run(
            argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", env=self._environment,
            **as_user(self._owner),
        )  # fmt: skip
        return done.returncode == 0

    def run(
        self,
        program: str,
        *arguments: str,
        ok: tuple[int, ...] = (0,),
        environment: Optional[Mapping[str, str]] = None,
        watch: Callable[[str], None] = lambda messages: None,
        timeout: Optional[float] = None,
    ) -> Said:
        """Run one to its end. ``watch`` gets its log so far, about twice a second, and at its end.

        Raises:
            ToolError: it failed, other than by an exit code in ``ok``, or took longer than ``timeout`` seconds.
        """
        argv = [os.path.join(self.directory, f"barman-cloud-{program}"), *arguments]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    cwd="/",
                    env={**self._environment, **(environment or {})},
                    start_new_session=True,
                    **as_user(self._owner),
                )
                guard.note(process, group=True)
            except OSError as exc:
                raise ToolError.not_started(argv, exc, _GET) from exc
            try:
                asked = waiting_for(f"barman-cloud-{program}") if program != "backup" else contextlib.nullcontext()
                with asked:
                    _wait(process, timeout, lambda: watch(_read(log)))
            except subprocess.TimeoutExpired as exc:
                messages = _read(log)
                raise ToolError.too_slow(
                    argv, exc.timeout if timeout is None else timeout, messages, _last(messages)
                ) from exc
            finally:
                _end(process)
            said = Said(process.returncode, _read(output), _read(log))
        watch(said.messages)
        if said.code not in ok:
            messages = said.messages or said.output
            raise ToolError.failed(argv, said.code, messages, _last(messages))
        return said


def _wait(process: subprocess.Popen[bytes], timeout: Optional[float], look: Callable[[], None]) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            process.wait(_PAUSE)
            return
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() > deadline:
                raise
        look()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End one that still runs, with what it started. By SIGINT barman-cloud-backup marks its backup as failed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    guard.forget(process, group=True)


def _read(stream: IO[bytes]) -> str:
    # By position: the program writes where the file's own offset is.
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode("utf-8", "replace")


def _last(messages: str) -> str:
    """Its last words: the errors of its log, or, where it has none, the end."""
    errors = told(messages, "ERROR", "CRITICAL")
    return " / ".join(errors or [line.strip() for line in messages.splitlines() if line.strip()][-12:])
