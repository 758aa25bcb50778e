# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The landing of a promotion: writes end, and what they write is archived.

A server that was promoted answers at once, and may be of no use: each commit waits for synchronous standbys that follow nobody, or
its archive_command fails on this host, so that the new timeline cannot be restored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts, wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_ARCHIVER = (
    "SELECT current_setting('archive_mode') AS mode, current_setting('archive_command') AS command,"
    " coalesce(current_setting('archive_library', true), '') AS library, last_archived_wal, last_failed_wal, failed_count,"
    " last_failed_time > coalesce(last_archived_time, '-infinity') AS failing FROM pg_stat_archiver"
)
_LETS_REPLICATE = (
    "SELECT 1 FROM pg_hba_file_rules WHERE 'replication' = ANY(database) AND type LIKE 'host%' AND auth_method <> 'reject'"
    " AND coalesce(address, '') NOT IN ('127.0.0.1', '::1', 'samehost') AND error IS NULL LIMIT 1"
)
_WAIT = 30.0  # seconds for the archiver, which looks for work each minute at most and is woken by a promotion


def needed(names: str) -> tuple[int, list[str]]:
    """How many standbys a commit waits for, and which may be these (small letters; ``*``: any). Pure.
    Source: https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES"""
    found = re.fullmatch(r"\s*(?:(?:FIRST\s+|ANY\s+)?(\d+)\s*\((.*)\)|(.*))\s*", names, re.IGNORECASE | re.DOTALL)
    if not names.strip() or found is None:
        return 0, []
    listed = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', found[2] or found[3] or "")
    return int(found[1] or 1), [(quoted.replace('""', '"') or plain).lower() for quoted, plain in listed]


def lacking(connection: Connection) -> Optional[str]:
    """What every commit would wait for, or waits for already; None: for nothing that is not there."""
    names = facts.setting(connection, "synchronous_standby_names") or ""
    count, listed = needed(names)
    if not count:
        return None
    rows = facts.rows(connection, "SELECT lower(application_name) AS name FROM pg_stat_replication")
    there = [row["name"] for row in rows if "*" in listed or row["name"] in listed]
    if len(there) >= count:
        return None
    return f"synchronous_standby_names is {names!r}, and {len(there)} of the {count} standbys that it wants follow this server"


def look(connection: Connection, timeline: int, write: bool) -> Proof:
    """Look at a primary. ``write``: do one write, and follow it into the archive; otherwise nothing is written. What is in
    ``missing`` makes it no primary that one can rely on."""
    proof = Proof()
    waits = lacking(connection)
    if waits is not None:
        proof.missing.append(
            f"Every write waits: {waits}. Let them follow it (state: present on each), or give up what they are for: ALTER SYSTEM SET "
            "synchronous_standby_names = ''; SELECT pg_reload_conf()."
        )
    segment = _write(connection, proof) if write else None
    _archived(connection, timeline, segment, proof)
    lets_in = facts.attempt(connection, _LETS_REPLICATE, [], "pg_hba.conf")
    if lets_in is not None and not lets_in:
        proof.unproven.append(
            "No line of pg_hba.conf on this server lets anybody replicate from another host (database replication): no standby can follow it, "
            "and no copy of it be taken over the network."
        )
    if facts.setting(connection, "default_transaction_read_only") == "on":
        proof.unproven.append("default_transaction_read_only is on: transactions write nothing unless they ask for it.")
    return proof


def _write(connection: Connection, proof: Proof) -> Optional[str]:
    """The segment that a transaction of ours was written to, closed so that it is archived; None: it could not be."""
    import psycopg2

    try:
        with connection.cursor() as cursor:
            # The commit does not wait for standbys: whether they are there was looked at, and this must not hang.
            cursor.execute("SET synchronous_commit = local")
            cursor.execute("SELECT pg_logical_emit_message(true, 'holdfast.postgres', 'promoted')::text")
            cursor.execute("RESET synchronous_commit")
    except psycopg2.Error as exc:
        proof.missing.append(f"A transaction could not be written: {' '.join(str(exc).split())}.")
        return None
    proof.proven.append("A transaction was written.")
    try:
        return wal_end.switch(connection).segment
    except psycopg2.Error:  # the role may not
        return None


def _archived(connection: Connection, timeline: int, segment: Optional[str], proof: Proof) -> None:
    before = facts.rows(connection, _ARCHIVER)[0]
    if before["mode"] == "off":
        proof.unproven.append("archive_mode is off on this server: nothing that it writes is archived.")
        return
    if not before["command"] and not before["library"]:
        proof.missing.append(
            "archive_mode is on, and archive_command is empty on this server: WAL is kept until the disk is full, and none is archived."
        )
        return
    wanted = [history_name(timeline)] if segment and timeline > 1 else []
    wanted += [segment] if segment else []

    def done() -> Optional[bool]:
        return None if _unarchived(connection, wanted) else True

    def failing() -> Optional[dict[str, Any]]:
        """One failure may be a hiccup: the archiver tries again after a second."""
        row = facts.rows(connection, _ARCHIVER)[0]
        return row if row["failing"] and (not segment or row["failed_count"] >= before["failed_count"] + 2) else None

    seen = Waiter(_WAIT if segment else 0).until({"done": done, "failing": failing})
    # Without a write of ours nothing need be waiting, and a failure that no success followed counts all the same.
    failed = seen.value if seen is not None and seen.name == "failing" else None if segment else failing()
    if isinstance(failed, dict):
        proof.missing.append(
            f"Archiving fails on this server: {failed['last_failed_wal']} could not be archived ({failed['failed_count']} failures). "
            "What is written from now on cannot be restored from the archive, and WAL fills the disk. The server's log says why; the role "
            "archive sets archiving up on this host."
        )
    elif segment and seen is not None:
        proof.proven.append(f"{' and '.join(wanted)} {'was' if len(wanted) == 1 else 'were'} archived.")
    elif segment:
        proof.unproven.append(
            f"{' and '.join(_unarchived(connection, wanted))} not archived within {_WAIT:g} seconds, without a failure so far. Look again "
            "by the role archive (state: verified)."
        )


def _unarchived(connection: Connection, names: list[str]) -> list[str]:
    """Which of these files are not archived yet."""
    found = facts.attempt(connection, "SELECT name FROM pg_ls_archive_statusdir()", [], "the archive's state")
    if found is None:  # the role may not see it; files are archived in the order of their names, histories first
        last = facts.rows(connection, _ARCHIVER)[0]["last_archived_wal"] or ""
        return [name for name in names if name[:24] > last[:24]]
    there = {row["name"] for row in found}
    return [name for name in names if f"{name}.ready" in there or (len(name) != 24 and f"{name}.done" not in there)]
