# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby made by what PostgreSQL has for it: a new copy of the primary, or the old files rewound."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as


class Maker:
    """Makes a standby's files. ``conninfo`` has no password; ``password`` goes to the programs by their environment."""

    def __init__(self, owner: str, programs: str, conninfo: str, password: Optional[str]) -> None:
        self._owner, self._programs, self._conninfo = owner, programs, conninfo
        self._env = {"PGPASSWORD": password} if password else {}

    def copy(
        self, directory: str, tablespaces: Mapping[str, str], slot: Optional[str], max_rate: Optional[int]
    ) -> None:
        """Copy the running server into ``directory``, which is made. ``tablespaces`` maps their locations there to those here.

        Raises:
            ToolError: in pg_basebackup's words.
        """
        make_directory(directory, self._owner)
        arguments = [f"--pgdata={directory}", f"--dbname={self._conninfo}", "--no-password", "--wal-method=stream"]
        arguments += ["--checkpoint=fast", "--label=holdfast.postgres standby"]
        arguments += [f"--slot={slot}"] if slot else []
        arguments += [f"--max-rate={max_rate}"] if max_rate else []
        for old, new in tablespaces.items():
            make_directory(new, self._owner)
            pair = "=".join(path.replace("=", "\\=") for path in (old, new))
            arguments.append(f"--tablespace-mapping={pair}")
        self._run("pg_basebackup", arguments, "The primary could not be copied")

    def rewind(self, instance: Instance, restore: bool) -> None:
        """Take back what the primary never had, and bring what it has. The server does not run; its configuration becomes the
        primary's, as with a copy.
        ``restore``: WAL that is missing here is fetched by its restore_command.

        Raises:
            ToolError: in pg_rewind's words; the directory may be of no use any more.
        """
        # (Not --no-sync: after a power failure the mark that it was at work would be gone, and its files not written.)
        arguments = [f"--target-pgdata={instance.directory}", f"--source-server={self._conninfo}"]
        arguments += ["--restore-target-wal"] if restore else []
        arguments += [f"--config-file={instance.configuration}"] if instance.configuration else []
        self._run("pg_rewind", arguments, f"{instance.directory} could not be rewound")

    def _run(self, program: str, arguments: Sequence[str], failed: str) -> None:
        path = os.path.join(self._programs, program)
        if not os.access(path, os.X_OK):
            raise ToolError(
                f"There is no {program} in {self._programs}. Install the server's package, or name bin_dir."
            )
        done = run_as(self._owner, [path, *arguments], self._env)
        if done.returncode:
            told = " / ".join(done.stdout.strip().splitlines()[-6:])
            raise ToolError(f"{failed}: {told}", done.args, done.returncode, done.stdout)
