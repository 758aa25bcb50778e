# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other servers of this host use may not be moved for this one's sake."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories, is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.server.neighbours import (
    running_servers,
    tablespaces,
    user_of,
)


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


def check_late(directories: Directories, replaces: bool) -> None:
    """Raises BadOption: replaying would make a tablespace in a directory of somebody else. ``replaces``: the server of the data directory
    is replaced, and what is its own goes aside."""
    own = tablespaces(directories.data)
    mine = {os.path.realpath(found) for found in own.values()} if replaces else set()
    servers = running_servers()
    for oid, path in directories.late.items():
        if is_empty(path):
            continue
        if path not in mine or user_of(path, servers, directories.data):
            raise BadOption(
                "data_directory",
                directories.data,
                f"cannot be recovered to there on this host: a tablespace was made after the backup, or while the backup was taken (CREATE "
                f"TABLESPACE, oid {oid}), and replaying writes into {path}, which has files of another server in it",
                "Use a backup made after it (backup_id), an earlier target, or another host. Nothing was touched.",
            )
