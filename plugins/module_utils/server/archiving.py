# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running server says of its archiving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def check_mode_on(connection: Connection) -> None:
    """Raises ServerError: the server archives nothing."""
    if facts.setting(connection, "archive_mode") == "off":
        raise ServerError(
            "Nothing is archived: archive_mode is off. Set it up (state: present), and restart the server."
        )


def running_command(connection: Connection) -> Optional[str]:
    """The ``archive_command`` by which the server archives; None where it archives nothing, or by a library."""
    if facts.setting(connection, "archive_mode") in (None, "off"):
        return None
    command = facts.setting(connection, "archive_command")
    return None if command in (None, "", "(disabled)") else command


def archiver_state(connection: Connection) -> dict[str, Any]:
    """What the server says of its archiving: ``failing`` (since when, which segment), the last one archived and its age in
    seconds, the segments and bytes that wait, the first of them, and for how many seconds the running server has archived none of
    them (``waiting_age``). Unknown is None."""
    row = facts.rows(
        connection,
        "SELECT archived_count, last_archived_wal, last_archived_time, failed_count, last_failed_wal, last_failed_time,"
        " coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) AS failing,"
        " extract(epoch FROM clock_timestamp() - last_archived_time)::float AS age"
        " FROM pg_stat_archiver",
    )[0]
    doubts: list[str] = []
    ready = facts.attempt(
        connection,
        "SELECT count(*) AS count, extract(epoch FROM clock_timestamp() - min(modification))::float AS oldest,"
        " min(regexp_replace(name, '[.]ready$', '')) AS first, extract(epoch FROM clock_timestamp() - greatest(min(modification),"
        " pg_postmaster_start_time(), (SELECT last_archived_time FROM pg_stat_archiver)))::float AS waiting"
        " FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'",
        doubts,
        "Waiting segments",
    )
    size = facts.wal_segment_size(connection)
    waiting = ready[0]["count"] if ready else None
    return {
        "mode": facts.setting(connection, "archive_mode"),
        "command": facts.setting(connection, "archive_command"),
        "failing": row["failing"],
        "failing_segment": row["last_failed_wal"] if row["failing"] else None,
        "failing_since": _iso(row["last_failed_time"]) if row["failing"] else None,
        "failed_count": row["failed_count"],
        "last_archived": row["last_archived_wal"],
        "last_archived_at": _iso(row["last_archived_time"]),
        "last_archived_age": row["age"],
        "ready": waiting,
        "oldest_ready": ready[0]["first"] if ready else None,
        "oldest_ready_age": ready[0]["oldest"] if ready else None,
        "waiting_age": ready[0]["waiting"] if ready else None,
        "lag_bytes": None if waiting is None else waiting * size,
    }


def _iso(moment: Any) -> Optional[str]:
    return None if moment is None else moment.isoformat()


def archiver_words(connection: Connection) -> str:
    """The same for a message."""
    state = archiver_state(connection)
    if state["failing"]:
        return (
            f"The archiver is failing, at {state['failing_segment']}, since {state['failing_since']}, and {state['ready']} segments "
            "wait: the server's log has the command's own words. Nothing is lost while pg_wal has room."
        )
    return (
        f"The archiver does not fail; the last one that it archived is {state['last_archived']}, and {state['ready']} segments wait: "
        "the archive is slow, or the command writes to another place."
    )
