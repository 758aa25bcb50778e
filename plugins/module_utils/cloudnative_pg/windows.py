# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator says can be reached, beside what the store has. Pure.

With the plugin ``status.firstRecoverabilityPoint`` of the Cluster and its metrics stay empty for ever, and old alerts go blind; the ObjectStore says it
then (``status.serverRecoveryWindow``). Neither knows whether a segment is missing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time

#: seconds by which a status may be behind: the plugin looks every half an hour
_BEHIND = 2400


@dataclass(frozen=True)
class SaidWindow:
    """Times in ISO 8601; None: it does not say. ``by``: whose status."""

    by: str
    first: Optional[str] = None
    last_success: Optional[str] = None
    last_failure: Optional[str] = None

    def describe(self) -> dict[str, Optional[str]]:
        return {
            "by": self.by,
            "first_recoverability_point": self.first,
            "last_successful_backup": self.last_success,
            "last_failed_backup": self.last_failure,
        }


def of_cluster(manifest: Manifest) -> SaidWindow:
    status = manifest.get("status") or {}
    return SaidWindow(
        f"the Cluster {manifest['metadata']['name']}",
        *(_time(status.get(name)) for name in ("firstRecoverabilityPoint", "lastSuccessfulBackup", "lastFailedBackup")),
    )


def of_object_store(manifest: Manifest, server_name: str) -> SaidWindow:
    windows = (manifest.get("status") or {}).get("serverRecoveryWindow") or {}
    found: Mapping[str, Any] = windows.get(server_name) or {}
    return SaidWindow(
        f"the ObjectStore {manifest['metadata']['name']}",
        *(
            _time(found.get(name))
            for name in ("firstRecoverabilityPoint", "lastSuccessfulBackupTime", "lastFailedBackupTime")
        ),
    )


def compare(said: SaidWindow, first: Optional[str], last: Optional[str], now: datetime.datetime) -> list[str]:
    """What does not agree, a sentence each. ``first``: the earliest moment that the store makes reachable; ``last``: when the newest backup there that
    can be restored ended."""
    told = []
    if said.first and (first is None or _seconds(first, said.first) > 1):
        reachable = f"nothing before {first}" if first else "nothing"
        told.append(
            f"{said.by[0].upper()}{said.by[1:]} says that the server can be brought back to {said.first}, and by the store {reachable} can be reached."
        )
    if last and not said.last_success and _age(last, now) > _BEHIND:
        told.append(
            f"The store has a backup of {last}, and {said.by} says of none: do not alert on its status, nor on metrics that are made of it."
        )
    if said.last_success and (last is None or _seconds(last, said.last_success) < -1):
        told.append(
            f"{said.by[0].upper()}{said.by[1:]} says that the last good backup is of {said.last_success}, and the newest in the store that can be restored "
            f"is {f'of {last}' if last else 'none'}."
        )
    if said.last_failure and (not said.last_success or _seconds(said.last_failure, said.last_success) > 0):
        told.append(f"The last backup failed, at {said.last_failure}, as {said.by} says.")
    return told


def _time(given: Any) -> Optional[str]:
    try:
        return format_time(parse_time(str(given), "status")) if given else None
    except BadOption:
        return None


def _seconds(later: str, earlier: str) -> float:
    return (parse_time(later, "status") - parse_time(earlier, "status")).total_seconds()


def _age(moment: str, now: datetime.datetime) -> float:
    return (now - parse_time(moment, "status")).total_seconds()
