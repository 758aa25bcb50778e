# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered in a recovered server, and whether it still holds: only while it is proven that nothing was written since."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.choosing import Chosen
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import SIGNAL
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import Landing
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import IMMEDIATE, LATEST

#: the state of one that recovers where it is started
PREPARED = "prepared"
_RECORD = re.compile(r"rmgr: (\w+) .*? lsn: ([0-9A-F]+/[0-9A-F]+),.*? desc: (\w+)")
# What a server writes that nobody writes to: checkpoints, its own cleaning up, hints of those who read.
_QUIET = {
    "XLOG": [
        "CHECKPOINT_SHUTDOWN",
        "CHECKPOINT_ONLINE",
        "CHECKPOINT_REDO",
        "SWITCH",
        "FPI",
        "FPI_FOR_HINT",
        "PARAMETER_CHANGE",
        "RESTORE_POINT",
        "NOOP",
        "END_OF_RECOVERY",
        "FPW_CHANGE",
        "BACKUP_END",
    ],
    "Standby": ["RUNNING_XACTS"],
    "Heap2": [
        "PRUNE",
        "PRUNE_ON_ACCESS",
        "PRUNE_VACUUM_SCAN",
        "PRUNE_VACUUM_CLEANUP",
        "VACUUM",
        "VISIBLE",
        "FREEZE_PAGE",
    ],
}


def asked(request: RecoveryRequest, source: str) -> dict[str, Any]:
    """What tells this recovery from another one into the same directory."""
    target = asdict(request.target)
    return {
        "source": source,
        "backup": request.backup_id,
        "target": {name: str(value) for name, value in sorted(target.items()) if value is not None},
        "action": request.action,
    }


def made(
    request: RecoveryRequest, source: str, chosen: Chosen, landing: Optional[Landing], instance: Instance
) -> dict[str, Any]:
    """What is remembered of one that was done, or (without a landing) prepared; its server is stopped. Raises ServerError."""
    control = instance.control()
    return {
        **asked(request, source),
        **_way(request, chosen),
        "used": chosen.record.id,
        "at": format_time(utcnow()),
        "position": control["Latest checkpoint location"],
        "position_timeline": int(control["Latest checkpoint's TimeLineID"]),
        "landing": asdict(landing) if landing is not None else {"state": PREPARED},
    }


def _way(request: RecoveryRequest, chosen: Chosen) -> dict[str, Any]:
    """What the answer depends on, as the repository is now: of the latest moment how far the archive reaches, of a backup's own
    end which backup it is; of every target the timeline that leads there."""
    way: dict[str, Any] = {"followed": chosen.choice.timeline}
    if request.target.kind == LATEST and chosen.choice.runs:
        way["end"] = list(chosen.choice.runs[-1])
        way["end"][1] = 0  # where the run begins depends on the backup alone
    if request.target.kind == IMMEDIATE:
        way["used"] = chosen.record.id
    return way


def doubt(
    marker: Optional[Mapping[str, Any]], request: RecoveryRequest, source: str, chosen: Chosen, instance: Instance
) -> Optional[str]:
    """Why what is remembered does not mean that nothing is to be done; None: it does. An empty text: it is another recovery."""
    mine = asked(request, source)
    if marker is None or any(marker.get(key) != value for key, value in mine.items()):
        return ""
    # Its own new life in the archive is no other moment.
    its_own = own_timeline(marker, request)
    if chosen.choice.timeline != its_own and any(
        marker.get(key) != value for key, value in _way(request, chosen).items()
    ):
        return "the repository leads to another moment now"
    prepared = marker.get("landing", {}).get("state") == PREPARED
    if prepared != request.prepare:
        return "it was prepared, to recover where it is started" if prepared else "it was recovered already"
    try:
        if prepared:
            return _started(marker, instance)
        if request.action != "promote" and request.target.kind != LATEST:
            state = instance.control()["Database cluster state"]
            return None if "recovery" in state else f"it does not recover any more ({state})"
        return _written(marker, instance)
    except (HoldfastError, KeyError):
        return "whether something was written to it since cannot be told"


def own_timeline(marker: Optional[Mapping[str, Any]], request: RecoveryRequest) -> Optional[int]:
    """The timeline that the remembered recovery began, and that is archived since; None: it is in no archive."""
    state = (marker or {}).get("landing", {}).get("state")
    return (marker or {}).get("position_timeline") if request.keep_archiving and state == "promoted" else None


def stands_alone(
    marker: Optional[Mapping[str, Any]], request: RecoveryRequest, source: str, instance: Instance
) -> bool:
    """Whether this very recovery was done, archives since, and nothing was written to it: then a repository in which nothing leads to the
    target any more, as its own timeline goes on past it, does not matter."""
    if marker is None or own_timeline(marker, request) is None:
        return False
    if any(marker.get(key) != value for key, value in asked(request, source).items()):
        return False
    try:
        return _written(marker, instance) is None
    except (HoldfastError, KeyError):
        return False


def _started(marker: Mapping[str, Any], instance: Instance) -> Optional[str]:
    """Of one that was prepared: whether anybody has begun its recovery."""
    control = instance.control()
    same = control["Latest checkpoint location"] == marker["position"]
    if same and os.path.exists(os.path.join(instance.directory, SIGNAL)):
        return None
    return "it was started since, and has recovered, or does"


def _written(marker: Mapping[str, Any], instance: Instance) -> Optional[str]:
    control = instance.control()
    timeline = int(control["Latest checkpoint's TimeLineID"])
    if timeline != int(marker["position_timeline"]):
        return f"it is on timeline {timeline} now, so something may have been written to it since"
    argv = [instance.program("pg_waldump"), "--path", f"{instance.directory}/pg_wal"]
    argv += ["--timeline", str(timeline), "--start", str(marker["position"])]
    lines = run_as(instance.owner, argv).stdout.splitlines()
    found = written(lines, str(marker["position"]), control["Latest checkpoint location"])
    return None if found is None else f"{found}, so something may have been written to it since"


def written(lines: Iterable[str], position: str, checkpoint: str) -> Optional[str]:
    """What pg_waldump shows that somebody wrote, from the checkpoint at a position on; None: nothing. ``checkpoint``: the server's last one,
    up to which at least it has to have read. Pure."""
    at_all, reached = False, False
    for line in lines:
        found = _RECORD.match(line)
        if not found:
            continue
        at = _number(found[2])
        if not at_all and at != _number(position):
            return "the end of the recovery is not in its WAL any more"
        at_all, reached = True, at >= _number(checkpoint)
        if found[3] not in _QUIET.get(found[1], ()):
            return f"its WAL has a record {found[1]} {found[3]} at {found[2]}"
    if not at_all:
        return "the end of the recovery is not in its WAL any more"
    return None if reached else f"its WAL cannot be read up to its last checkpoint, at {checkpoint}"


def _number(lsn: str) -> tuple[int, int]:
    high, low = lsn.split("/")
    return int(high, 16), int(low, 16)
