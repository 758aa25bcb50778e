# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that run on this host, and the directories that they use: none of them may be moved for another one's sake."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import WAL, Directories, is_empty


def running_servers() -> list[str]:
    """The data directories of the servers that run here, as far as who runs this may see them. A postmaster works in its own."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            directory = os.readlink(f"/proc/{name}/cwd")
            with open(os.path.join(directory, "postmaster.pid"), encoding="utf-8") as stream:
                if int(stream.readline()) == int(name):
                    found.append(directory)
    return sorted(found)


def tablespaces(directory: str) -> dict[str, str]:
    """Where a data directory's own links lead, by oid; links in the data directory alone."""
    folder, found = os.path.join(directory, "pg_tblspc"), {}
    with contextlib.suppress(OSError):
        for oid in os.listdir(folder):
            with contextlib.suppress(OSError):
                found[oid] = os.readlink(os.path.join(folder, oid))
    return found


def user_of(path: str, servers: Iterable[str], but: str) -> Optional[str]:
    """Which of the servers (but that in the data directory ``but``) uses a directory, for itself, its WAL or a tablespace; None: none."""
    wanted = os.path.realpath(path)
    for server in servers:
        if os.path.realpath(server) == os.path.realpath(but):
            continue
        used = [server, os.path.join(server, WAL), *tablespaces(server).values()]
        if any(wanted == os.path.realpath(other) for other in used):
            return server
    return None


def check_tablespaces(directories: Directories, replaces: bool) -> None:
    """What is confirmed is the data directory: of others only those go with it that its own links name.

    Raises:
        BadOption: a tablespace would take the place of anything else.
    """
    own = {os.path.realpath(path) for path in tablespaces(directories.data).values()}
    servers = running_servers()
    _check_wal(directories, servers)
    for path in directories.tablespaces.values():
        user = user_of(path, servers, directories.data)
        if user is not None:
            raise BadOption(
                "tablespace_locations",
                path,
                f"is used by the server that runs in {user}",
                "Name another directory for this tablespace.",
            )
        if replaces and not is_empty(path) and os.path.realpath(path) not in own:
            raise BadOption(
                "tablespace_locations",
                path,
                f"has files in it, and is no tablespace of the server in {directories.data}, which alone is replaced",
                "Name an empty directory for this tablespace.",
            )


def _check_wal(directories: Directories, servers: Iterable[str]) -> None:
    """Raises BadOption: pg_wal is a link into another server's, as in a data directory that was copied with its links."""
    user = user_of(directories.wal, servers, directories.data) if directories.wal else None
    if user is not None:
        raise BadOption(
            "data_directory",
            directories.data,
            f"has a pg_wal that leads to {directories.wal}, which the server that runs in {user} uses",
            "Take that link away first.",
        )
