# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore points that were made by us, beside a server's backups: PostgreSQL itself keeps no list of them, and has no time in its
WAL for them."""

from __future__ import annotations

import contextlib
import datetime
import json
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

FOLDER = "_restore_points"  # no backup's id: that begins with a letter or digit
_LARGEST = 4096  # bytes


@dataclass(frozen=True)
class RestorePoint:
    """``lsn`` is where its record ends, as pg_create_restore_point says; ``system_id``: of the server, None where it is not known."""

    name: str
    lsn: Lsn
    time: datetime.datetime
    timeline: int
    system_id: Optional[str]

    def describe(self) -> str:
        """For messages."""
        return f"{self.lsn} on timeline {self.timeline}, made {format_time(self.time)}"


def remember(shelf: Shelf, point: RestorePoint) -> None:
    """Write it down. Raises HoldfastError."""
    content = {
        "name": point.name,
        "lsn": str(point.lsn),
        "time": format_time(point.time),
        "timeline": point.timeline,
        "system_id": point.system_id,
    }
    key = f"{shelf.name}/{FOLDER}/{point.time:%Y%m%dT%H%M%S}-{point.timeline}-{int(point.lsn):X}.json"
    shelf.repository.write(key, json.dumps(content).encode())


def known(shelf: Shelf, name: str, system_id: Optional[str]) -> list[RestorePoint]:
    """Those of that name, oldest first, of the server (``system_id`` None: of whichever). What cannot be read is passed over: the WAL
    itself is asked too. Raises HoldfastError: the repository cannot be listed."""
    found = []
    for item in shelf.repository.list(f"{shelf.name}/{FOLDER}"):
        with contextlib.suppress(HoldfastError, ValueError, KeyError, TypeError):
            content = bounded.loads(bounded.read(shelf.repository, item.key, _LARGEST))
            point = RestorePoint(
                str(content["name"]),
                Lsn.parse(str(content["lsn"]), "lsn"),
                parse_time(str(content["time"]), "time"),
                int(content["timeline"]),
                content["system_id"],
            )
            if point.name == name and (None in (system_id, point.system_id) or point.system_id == system_id):
                found.append(point)
    return sorted(found, key=lambda point: (point.time, point.lsn))
