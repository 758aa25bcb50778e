# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a promotion would end, replay or lose that nobody asked for: looked at before it is promoted, in check mode too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# A server before 17 knows no slots that are synchronised, so each column is asked for by name.
_LOGICAL = (
    "SELECT slot_name AS name, coalesce((to_jsonb(s)->>'synced')::bool, false) AS synced, temporary,"
    " coalesce(to_jsonb(s)->>'invalidation_reason', '') AS invalid FROM pg_replication_slots s WHERE slot_type = 'logical' ORDER BY 1"
)
_BEHIND = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint"


def look(connection: Connection, upstream: Optional[Upstream], seen: dict[str, Any]) -> list[str]:
    """Warnings. ``upstream``: the primary, where it can be asked; ``seen``: what was observed of the standby.

    Raises:
        ServerError: it may not be promoted as it is, or not by this role.
    """
    if not facts.value(connection, "SELECT has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE')"):
        raise ServerError(
            "The role may not promote the standby. Log in as a superuser, or there: GRANT EXECUTE ON FUNCTION pg_promote TO the role (on the "
            "primary, whose roles the standby has)."
        )
    behind = facts.value(connection, _BEHIND)
    if seen["replay"] in ("paused", "pause requested"):
        raise ServerError(
            f"The standby is not promoted: its replay was paused, at {seen['replayed_lsn']}, and a promotion replays all that it has received "
            f"({'an unknown number of' if behind is None else behind} bytes more), with what it may have been paused for. To have that: SELECT "
            "pg_wal_replay_resume(), and run this again. To keep the moment where it stands, recover a backup to it (holdfast.postgres.recover)."
        )
    return _delay(connection, behind) + _copies(connection) + _slots(connection, upstream)


def _delay(connection: Connection, behind: Optional[int]) -> list[str]:
    delay = facts.setting(connection, "recovery_min_apply_delay")
    if delay in (None, "0") or behind == 0:
        return []
    return [
        f"It replays {delay} later than its primary (recovery_min_apply_delay). A promotion replays at once all that it has received, "
        f"{'an unknown number of' if behind is None else behind} bytes more: a mistake of that time too."
    ]


def _copies(connection: Connection) -> list[str]:
    count = facts.value(connection, "SELECT count(*) FROM pg_stat_progress_basebackup")
    if not count:
        return []
    return [
        f"{count} base backup{'s are' if count > 1 else ' is'} being taken from this standby. A promotion makes that fail; take it again."
    ]


def _slots(connection: Connection, upstream: Optional[Upstream]) -> list[str]:
    """What becomes of the consumers of logical slots."""
    here = {row["name"]: row for row in facts.rows(connection, _LOGICAL)}
    found = [
        f"The logical slot {name!r} is of no use after the promotion: {reason}. Its consumer has to begin anew."
        for name, row in here.items()
        for reason in [_useless(row)]
        if reason
    ]
    theirs = facts.rows(upstream.connection, _LOGICAL) if upstream is not None else []
    gone = [row["name"] for row in theirs if row["name"] not in here and not row["temporary"]]
    if gone:
        found.append(
            f"The logical slots of the primary that are not on this standby are lost with it: {', '.join(gone)}. Their consumers begin anew, or "
            "miss what was changed until then. From PostgreSQL 17 on, slots with failover = true and sync_replication_slots = on are kept."
        )
    return found


def _useless(row: dict[str, Any]) -> Optional[str]:
    if row["invalid"]:
        return f"it is invalid ({row['invalid']})"
    return (
        "it was not yet synchronised to a moment that can be gone on from"
        if row["synced"] and row["temporary"]
        else None
    )
