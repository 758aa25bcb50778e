# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pgBackRest as the user who owns the server."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.messages import explain
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.stores import Version
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError, how_it_ended
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

_GET = "Install the package pgbackrest, or name where it is by engine_program."


def find(program: Optional[str]) -> str:
    """The program's path, absolute. Raises ToolError: it is not there."""
    found = shutil.which(program or "pgbackrest")
    if found is None:
        raise ToolError(f"There is no {program or 'pgbackrest in PATH'}. {_GET}")
    return os.path.abspath(found)


def version(path: str, owner: str) -> Version:
    """The program's version. Raises ToolError: it is no pgBackRest."""
    done = run_as(owner, [path, "version"], timeout=60)
    found = re.search(r"pgBackRest (\d+(?:\.\d+)+)", done.stdout)
    if done.returncode or found is None:
        said = " ".join(done.stdout.split())[:300]
        message = f"{path} is no pgBackRest: asked for its version, it said {said!r}. {_GET}"
        raise ToolError(message, done.args, done.returncode, done.stdout)
    return tuple(int(part) for part in found[1].split("."))


class Failed(ToolError):
    """It failed: ``code`` is what it exited with, ``said`` all that it said."""

    def __init__(self, command: str, argv: Sequence[str], code: int, said: str) -> None:
        super().__init__(f"pgbackrest {command} {how_it_ended(code)}. {explain(said)}", argv, code, said)
        self.code, self.said = code, said


class Program:
    """pgBackRest with one configuration and one stanza.

    ``config_options`` are its options that say where the configuration is (none: where it looks by itself); ``patience`` seconds are
    what it may take for a short answer.
    """

    def __init__(
        self, path: str, owner: str, config_options: Sequence[str], stanza: str, env: Mapping[str, str], patience: float
    ) -> None:
        self.path, self.config_options, self.stanza = path, tuple(config_options), stanza
        self._owner, self._patience = owner, patience
        self._env = {**env, "HOME": account(owner).pw_dir, "LC_ALL": "C"}

    def line(self, *arguments: str) -> str:
        """The beginning of a command line for the shell."""
        return " ".join(
            shlex.quote(word) for word in (self.path, *self.config_options, f"--stanza={self.stanza}", *arguments)
        )

    def by_hand(self, *arguments: str) -> str:
        """What a person types, as the owner, to run it as it is run here."""
        known = [f"{name}={shlex.quote(value)}" for name, value in sorted(self._env.items()) if name.startswith("PG")]
        return " ".join([f"sudo -u {shlex.quote(self._owner)} env", *known, self.line(*arguments)])

    def ask(
        self, command: str, *arguments: str, ok: Sequence[int] = (0,), detail: str = "error", patience: float = 0
    ) -> str:
        """Run what answers soon, and return what it said. ``detail`` is the level of its messages.

        Raises:
            Failed: it exited with a code that is not in ``ok``.
            ToolError: it took longer than ``patience`` seconds, besides what an answer may take.
        """
        done = run_as(self._owner, self._argv(command, arguments, detail), self._env, timeout=self._patience + patience)
        if done.returncode not in ok:
            raise Failed(command, done.args, done.returncode, done.stdout)
        return done.stdout

    def follow(self, command: str, *arguments: str, on_line: Callable[[str], None], detail: str = "detail") -> None:
        """Run what takes long. ``on_line`` gets each line that it says, twice a second. Raises Failed."""
        last: list[str] = []
        program = self._command(command, arguments, detail)
        with tempfile.TemporaryFile() as output, Chain([program], stdout=output) as chain:
            process, lines = chain.processes[0], _Lines(output)
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                for line in lines.more():
                    on_line(line)
                    # What follows an error explains it.
                    if last or " ERROR: " in line:
                        last.append(line)
            if process.returncode:
                raise Failed(command, program.argv, process.returncode, "\n".join(last) or chain.messages(0))

    def stream(self, command: str, *arguments: str) -> Command:
        """What writes data, for a chain."""
        return self._command(command, arguments, "off")

    def _command(self, command: str, arguments: Sequence[str], detail: str) -> Command:
        return Command(self._argv(command, arguments, detail), self._env, user=self._owner)

    def _argv(self, command: str, arguments: Sequence[str], detail: str) -> list[str]:
        # The server's archive_command does not have our environment either.
        strange = [word for name in os.environ if name.startswith("PGBACKREST_") for word in ("-u", name)]
        options = [
            *self.config_options,
            f"--stanza={self.stanza}",
            f"--log-level-console={detail}",
            "--log-level-stderr=off",
        ]
        return [*(["env", *strange] if strange else []), self.path, *options, command, *arguments]


class _Lines:
    """What a program has written to a file, line by line, while it goes on writing."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._fd, self._position, self._rest = stream.fileno(), 0, b""

    def more(self) -> list[str]:
        """The lines that are new, whole ones."""
        found: list[str] = []
        # At its own position: the program's is the file's.
        while data := os.pread(self._fd, 1024 * 1024, self._position):
            self._position += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            found += [line.decode("utf-8", "replace") for line in lines]
        return found
