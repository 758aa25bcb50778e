# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a standby follows: its receiver, its lag, and what its primary holds for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_LOCAL = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_receive_lsn()::text AS received_lsn,
       pg_last_wal_replay_lsn()::text AS replayed_lsn,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS replay,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float AS age,
       current_setting('primary_conninfo') <> '' AS connects, current_setting('primary_slot_name') AS slot_name,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline
"""
_RECEIVER = (
    "SELECT status, received_tli AS timeline, slot_name, sender_host AS host, sender_port AS port,"
    " latest_end_lsn::text AS latest_end_lsn,"
    " extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float AS silent_seconds FROM pg_stat_wal_receiver"
)

# No standby replays with less of these than its primary has.
# Source: https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN
AT_LEAST = (
    "max_connections",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
    "max_worker_processes",
)
_CLOCKS = 2.0  # seconds by which the clocks of two hosts may differ
# Seconds without a word, after which nothing is known of the primary any more: twice its keepalive's default period.
_SILENT = 120


def observe(connection: Connection, upstream: Optional[Upstream]) -> dict[str, Any]:
    """What is to see of a standby, as the module returns it. ``lag_bytes`` is what it has not replayed of what the primary wrote:
    asked of the primary, else as the primary told its receiver while they are connected; otherwise nobody knows (None).
    ``lag_seconds`` is 0 when that is nothing, else the age of the last transaction that it replayed, which is the most that it can
    lag. Unknown is None."""
    row = facts.rows(connection, _LOCAL)[0]
    receivers = facts.rows(connection, _RECEIVER)
    seen: dict[str, Any] = {
        "in_recovery": row["in_recovery"],
        "timeline": receivers[0]["timeline"] if receivers and receivers[0]["timeline"] else row["timeline"],
        "replay": row["replay"],
        "received_lsn": row["received_lsn"],
        "replayed_lsn": row["replayed_lsn"],
        "connects": row["connects"],
        "receiver": receivers[0] if receivers else None,
        "lag_bytes": _behind(connection, told(receivers[0] if receivers else None), row["replayed_lsn"]),
        "slot": None,
    }
    if upstream is not None and row["in_recovery"]:
        now = str(upstream.position().lsn)
        seen["primary_lsn"] = now
        seen["smaller"] = [
            name for name in AT_LEAST if int(facts.setting(connection, name) or 0) < int(upstream.setting(name) or 0)
        ]
        seen["lag_bytes"] = _behind(connection, now, row["replayed_lsn"])
        if row["slot_name"]:
            seen["slot"] = upstream.slot(row["slot_name"]) or {"name": row["slot_name"], "wal_status": "missing"}
    seen["lag_seconds"] = 0.0 if seen["lag_bytes"] == 0 else age_of(row["age"])
    return seen


def age_of(seconds: Optional[float]) -> Optional[float]:
    """The age of the last transaction that it replayed, by this host's clock; None: unknown, as when it would lie in the future, because
    the clocks of the two hosts differ by more than those that are kept do. Pure."""
    return None if seconds is None or seconds < -_CLOCKS else max(seconds, 0.0)


def told(receiver: Optional[Mapping[str, Any]]) -> Optional[str]:
    """How far the primary has come, as it told the receiver not long ago; None: nobody told. Pure."""
    if receiver is None or receiver["status"] != "streaming" or receiver.get("silent_seconds") is None:
        return None
    lsn: Optional[str] = receiver["latest_end_lsn"] if receiver["silent_seconds"] <= _SILENT else None
    return lsn


def _behind(connection: Connection, lsn: Optional[str], replayed: Optional[str]) -> Optional[int]:
    """Bytes; None: unknown."""
    if lsn is None or replayed is None:
        return None
    found: int = facts.value(connection, "SELECT greatest(pg_wal_lsn_diff(%s, %s), 0)::bigint", [lsn, replayed])
    return found


def problems(
    seen: Mapping[str, Any], max_bytes: Optional[int], max_seconds: Optional[float], accept_unknown: bool = False
) -> list[str]:
    """What is wrong with a standby that was observed, in words. Pure."""
    if not seen["in_recovery"]:
        return ["it is no standby: it is not in recovery"]
    found = []
    receiver = seen["receiver"]
    if seen["connects"] and receiver is None:
        found.append("it receives nothing: there is no WAL receiver, so the primary is not reached, or refuses")
    elif receiver is not None and receiver["status"] not in (None, "streaming"):
        found.append(f"its WAL receiver is not streaming, but {receiver['status']}")
    if seen["replay"] in ("paused", "pause requested"):
        found.append(_paused(seen.get("smaller") or ()))
    slot = seen["slot"]
    if slot is not None and slot["wal_status"] == "missing":
        found.append(f"its replication slot {slot['name']!r} is not on the primary")
    elif slot is not None and slot["wal_status"] in ("lost", "unreserved"):
        found.append(f"its replication slot {slot['name']!r} on the primary has wal_status {slot['wal_status']}")
    return found + lagging(seen, max_bytes, max_seconds, accept_unknown)


def _paused(smaller: Sequence[str]) -> str:
    if smaller:
        return (
            f"its replay stands, as it has less than the primary of {', '.join(smaller)}: raise that, and restart it (pg_wal_replay_resume() "
            "would shut it down)"
        )
    return "its replay is paused (pg_wal_replay_resume() goes on; its log says whether it stopped by itself, for a setting that is too small)"


def lagging(
    seen: Mapping[str, Any], max_bytes: Optional[int], max_seconds: Optional[float], accept_unknown: bool = False
) -> list[str]:
    """How it lags more than is allowed. What is not known is more, unless ``accept_unknown``. Pure."""
    found = []
    for limit, key, unit in ((max_bytes, "lag_bytes", "bytes"), (max_seconds, "lag_seconds", "seconds")):
        if limit is not None and (not accept_unknown if seen[key] is None else seen[key] > limit):
            value = "by an unknown number of" if seen[key] is None else f"by {seen[key]:.0f}"
            found.append(f"it lags {value} {unit}, and {limit:g} are allowed")
    return found
