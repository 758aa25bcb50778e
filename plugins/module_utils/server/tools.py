# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client programs of the right version: pg_dump must not be older than the server."""

from __future__ import annotations

import glob
import os
import re
import subprocess
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError

# Debian, PGDG on Red Hat, Homebrew, FreeBSD; PATH is looked at last: Debian's there are wrappers.
_DIRECTORIES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
)


class Tools:
    """The programs of one PostgreSQL version. ``major`` and ``version`` are those of its pg_dump."""

    def __init__(self, directory: str, version: str) -> None:
        self.directory = directory
        self.version = version
        self.major = int(version.split(".")[0])

    def path(self, program: str) -> str:
        """A program's path. Raises ToolError when it is not there."""
        path = os.path.join(self.directory, program)
        if not os.access(path, os.X_OK):
            raise ToolError(f"There is no {program} in {self.directory}. {_install(self.major)}")
        return path


def find_tools(server_version_num: int, bin_dir: Optional[str]) -> Tools:
    """The client programs for a server: of its own major version, else of the next newer one.

    Source: https://www.postgresql.org/docs/current/app-pgdump.html ("pg_dump cannot dump from servers newer than
    its own major version").

    Raises:
        ToolError: there are none, or only older ones; both versions and the package are named.
    """
    wanted = server_version_num // 10000
    directories = [bin_dir] if bin_dir else [path for pattern in _DIRECTORIES for path in sorted(glob.glob(pattern))]
    if not bin_dir:
        directories += [path for path in os.environ.get("PATH", "").split(os.pathsep) if path]
    found = [tools for tools in map(_look, directories) if tools]
    if not found:
        raise ToolError(
            f"No pg_dump was found in {bin_dir or 'PATH and the usual places'}. The server is PostgreSQL {wanted}. "
            f"{_install(wanted)} Or name the directory by bin_dir."
        )
    good = sorted((tools for tools in found if tools.major >= wanted), key=lambda tools: tools.major)
    if not good:
        newest = max(found, key=lambda tools: tools.major)
        raise ToolError(
            f"pg_dump {newest.version} in {newest.directory} is older than the server, PostgreSQL {wanted}: it cannot "
            f"dump it. {_install(wanted)}"
        )
    return good[0]


def restore_tools(server_version_num: int, made_by: int, bin_dir: Optional[str]) -> Tools:
    """The client programs for a restore: of the server's version, and new enough for archives that pg_dump ``made_by`` wrote.

    Raises:
        ToolError: there are none; what made the dump, and the package, are named.
    """
    tools = find_tools(server_version_num, bin_dir)
    if tools.major >= made_by:
        return tools
    try:
        return find_tools(made_by * 10000, bin_dir)
    except ToolError as exc:
        raise ToolError(
            f"The dump was made by pg_dump {made_by}, and pg_restore {tools.version} in {tools.directory} cannot read it: archives of newer "
            f"versions have another format. {_install(made_by)} Or name its directory by bin_dir. Nothing was touched."
        ) from exc


def _install(major: int) -> str:
    return f"Install the package postgresql-client-{major} (Debian) or postgresql{major} (Red Hat)."


def _look(directory: str) -> Optional[Tools]:
    path = os.path.join(directory, "pg_dump")
    if not os.access(path, os.X_OK):
        return None
    try:
        output = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"(\d+(?:\.\d+)*)", output)
    return Tools(directory, match.group(1)) if match else None


def server_programs(version_num: int, bin_dir: Optional[str]) -> str:
    """The directory of the server's own programs, of exactly that major version: another one's cannot read its files.

    Raises:
        ToolError: there is none; the package is named.
    """
    major = version_num // 10000
    directories = [bin_dir] if bin_dir else [path for pattern in _DIRECTORIES for path in sorted(glob.glob(pattern))]
    if not bin_dir:
        directories += [path for path in os.environ.get("PATH", "").split(os.pathsep) if path]
    for directory in directories:
        if os.access(os.path.join(directory, "postgres"), os.X_OK):
            output = subprocess.run(
                [os.path.join(directory, "postgres"), "--version"], check=False, capture_output=True, text=True
            ).stdout
            found = re.search(r"(\d+)", output)
            if found and int(found.group(1)) == major:
                return directory
    raise ToolError(
        f"The programs of the server, PostgreSQL {major}, are not in {bin_dir or 'PATH and the usual places'}. Install the "
        f"package postgresql-{major} (Debian) or postgresql{major}-server (Red Hat), or name the directory by bin_dir."
    )
