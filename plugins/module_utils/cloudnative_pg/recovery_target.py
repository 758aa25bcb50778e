# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recovery ends, as a Cluster says it (``spec.bootstrap.recovery.recoveryTarget``). Pure.

Fields: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/cluster_types.go; what is refused there: cluster_webhook.go
"""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import (
    CURRENT_TIMELINE,
    IMMEDIATE,
    LSN,
    NAME,
    TIME,
    XID,
    Target,
)


def recovery_target(target: Target, timeline: str, backup_id: Optional[str]) -> dict[str, Any]:
    """``timeline``: as PostgreSQL's recovery_target_timeline has it (a number, ``latest`` or ``current``). ``backup_id``: the base backup in
    the store; None: the base are volume snapshots, beside which the operator takes none. It is always named where there is one: the operator
    wants it for a transaction, a restore point and the end of a backup, chooses by itself for the others, and with a timeline among the
    backups of that very timeline alone.

    Raises:
        BadOption: the operator takes no such name.
    """
    found: dict[str, Any] = {"backupID": backup_id} if backup_id else {}
    # It knows no "current". Where that was meant no history file leads away from the backup's timeline, so that PostgreSQL stays on it.
    if timeline != CURRENT_TIMELINE:
        found["targetTLI"] = timeline
    if target.kind == TIME and target.time is not None:
        found["targetTime"] = f"{target.time:%Y-%m-%dT%H:%M:%S.%f}Z"
    elif target.kind == LSN:
        found["targetLSN"] = str(target.lsn)
    elif target.kind == XID and target.xid is not None:
        # Of 64 bits, as pg_current_xact_id() tells it, the WAL has the lower 32.
        found["targetXID"] = str(target.xid & 0xFFFFFFFF)
    elif target.kind == NAME and target.name is not None:
        if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in target.name):
            raise BadOption(
                "recovery_target.name", target.name, "has a control character, which CloudNativePG takes in no name",
                "Name the position of that restore point: recovery_target: {lsn: ...}.",
            )  # fmt: skip
        found["targetName"] = target.name
    elif target.kind == IMMEDIATE:
        found["targetImmediate"] = True
    if not target.inclusive:
        found["exclusive"] = True
    return found
