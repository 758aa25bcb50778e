# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that run on this host, and the directories that they use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Optional


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
    """Where a data directory's own links lead, by oid; links in the data directory alone. A tablespace that is a directory there has none."""
    folder, found = os.path.join(directory, "pg_tblspc"), {}
    with contextlib.suppress(OSError):
        for oid in os.listdir(folder):
            with contextlib.suppress(OSError):
                found[oid] = os.path.join(folder, os.readlink(os.path.join(folder, oid)))
    return found


def user_of(path: str, servers: Iterable[str], but: str) -> Optional[str]:
    """Which of the servers (but that in the data directory ``but``) uses a directory, for itself, its WAL or a tablespace; None: none."""
    wanted = os.path.realpath(path)
    for server in servers:
        if os.path.realpath(server) == os.path.realpath(but):
            continue
        used = [server, os.path.join(server, "pg_wal"), *tablespaces(server).values()]
        if any(wanted == os.path.realpath(other) for other in used):
            return server
    return None
