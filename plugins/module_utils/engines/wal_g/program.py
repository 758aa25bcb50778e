# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running WAL-G as the user who owns the server."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.said import Said
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

OLDEST = 2  # WALG_PREVENT_WAL_OVERWRITE, delete garbage and detailed listings are all there
_GET = f"Install wal-g {OLDEST}.0 or newer (https://github.com/wal-g/wal-g/releases), or name where it is by program."


def find(program: Optional[str]) -> str:
    """The program's path, absolute. Raises ToolError: it is not there."""
    found = shutil.which(program or "wal-g", path=None if program else f"{os.environ.get('PATH', '')}:/usr/local/bin")
    if found is None:
        raise ToolError(f"There is no {program or 'wal-g in PATH'}. {_GET}")
    return os.path.abspath(found)


def version(path: str, owner: str) -> str:
    """The version that a program says; ``devel`` of one that was built without saying. Raises ToolError: it is too old, or no
    WAL-G for PostgreSQL."""
    done = run_as(owner, [path, "--version"], timeout=60)
    found = re.search(r"version\s+v?(\S+)", done.stdout)
    if done.returncode or found is None or "PostgreSQL" not in done.stdout:
        said = " ".join(done.stdout.split())[:300]
        message = f"{path} is no WAL-G for PostgreSQL: asked for its version, it said {said!r}. {_GET}"
        raise ToolError(message, done.args, done.returncode, done.stdout)
    number = re.match(r"\d+", found[1])
    if number and int(number[0]) < OLDEST:
        raise ToolError(f"{path} is WAL-G {found[1]}, which is too old. {_GET}")
    return found[1]


class Program:
    """WAL-G with a configuration file.

    ``settings`` are what that file says: a variable of our own environment by one of their names would take precedence over it, and
    PostgreSQL, which runs the same program with the same file, does not have it. So it is taken away, as are all that WAL-G
    and libpq know.
    """

    def __init__(self, path: str, configuration: str, owner: str, settings: Mapping[str, str]) -> None:
        self.path, self.configuration, self._owner = path, configuration, owner
        strange = [name for name in os.environ if name in settings or re.match("WAL[EG]_|PG[A-Z]", name)]
        # WAL-G takes an empty variable for none. What we read of its log must be there, in the log.
        self._environment = {
            **dict.fromkeys(strange, ""),
            "HOME": account(owner).pw_dir,
            "WALG_LOG_LEVEL": "NORMAL",
            "WALG_LOG_DESTINATION": "stderr",
        }

    def run(self, *arguments: str, ok: tuple[int, ...] = (0,), environment: Optional[Mapping[str, str]] = None) -> Said:
        """Run it to its end. Raises ToolError, with the end of its log: it failed, other than by an exit code in ``ok``."""
        with Chain([self._command(arguments, ok, environment or {})]) as chain:
            output = chain.output.read().decode("utf-8", "replace")
            chain.finish()
            return Said(chain.processes[0].returncode, output, chain.messages(0, 64 * 1024 * 1024))

    def follow(
        self,
        progress: Progress,
        *arguments: str,
        environment: Optional[Mapping[str, str]] = None,
        on_log: Callable[[str], None] = lambda log: None,
    ) -> str:
        """Run what takes long, and return its log. WAL-G does not say how far it is, only that it goes on. ``on_log`` gets the end of
        the log, about twice a second. Raises ToolError, and what that raises."""
        command = self._command(arguments, (0,), environment or {})
        with Chain([command], subprocess.DEVNULL, subprocess.DEVNULL) as chain:
            process = chain.processes[0]
            while process.poll() is None:
                progress.tell(None, None)
                on_log(chain.messages(0, 4096))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
            chain.finish()
            return chain.messages(0, 1024 * 1024)

    def _command(self, arguments: tuple[str, ...], ok: tuple[int, ...], environment: Mapping[str, str]) -> Command:
        argv = [self.path, "--config", self.configuration, *arguments]
        return Command(argv, {**self._environment, **environment}, ok=ok, user=self._owner)
