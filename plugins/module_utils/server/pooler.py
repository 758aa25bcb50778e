# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom one talks to: the server itself, or a pooler that gives each transaction another of its sessions.

Through such a pooler nothing that belongs to a session holds: snapshots, advisory locks and settings go to whoever comes next, and
what pg_dump sets for itself (an empty search_path) stays on sessions of the application after the backup has ended.
Source: https://www.pgbouncer.org/features.html (the table of features by pool mode)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def is_proxied(connection: Connection) -> bool:
    """Whether something between us and the server keeps its own sessions: it told another process id at the start than the server
    tells now. (A plain forwarder, such as HAProxy or a port-forward, tells the server's own.)"""
    return _pid(connection) != connection.info.backend_pid


def refuse_pooler(first: Connection, connect: Callable[[], Connection], where: str) -> None:
    """Refuse a pooler by transaction or by statement, before anything is set, locked or read.

    Two sessions that both live never have one server process between them, and neither ever changes its own; each asks a few times
    in turn, as a pooler hands out its sessions by last use or one after another. Nothing is set: that would stay there.

    ``first`` is a connection in autocommit mode, ``connect`` makes another one like it. Where no second one is to be had (limits),
    the first alone is asked.

    Raises:
        ServerError: it is one.
    """
    seen: tuple[set[int], set[int]] = ({_pid(first)}, set())
    with contextlib.ExitStack() as stack:
        both = [first]
        with contextlib.suppress(ServerError):
            both.append(stack.enter_context(contextlib.closing(connect())))
        for which in (0, 1, 0, 1, 1, 0):
            if which < len(both):
                seen[which].add(_pid(both[which]))
        pooled = len(seen[0]) > 1 or len(seen[1]) > 1 or bool(seen[0] & seen[1])
        if not pooled and len(both) == 2 and is_proxied(first):
            pooled = _holds_one_back(both[1], first)
    if pooled:
        raise ServerError(
            f"{where} is a connection pooler in transaction or statement mode (PgBouncer, Odyssey, PgCat, Supavisor and their like), "
            "not the server: its sessions change between two statements, so no backup or restore through it could be relied upon, "
            "and settings of ours would stay on the application's sessions. Nothing was done. Name the server itself by login_host "
            "and login_port (often port 5432 behind the pooler's 6432), or a pool in session mode."
        )


def _holds_one_back(holding: Connection, asking: Connection) -> bool:
    """While one session is inside a transaction, a pooler has to give the other one another process than before."""
    before = _pid(asking)
    with holding.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            return _pid(holding) == before or _pid(asking) != before
        finally:
            cursor.execute("ROLLBACK")


def _pid(connection: Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        found: int = cursor.fetchone()[0]  # type: ignore[index]
        return found
