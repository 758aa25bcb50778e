# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind: a segment that is waited for and never comes, as its name was taken from a position exactly between two segments, which PostgreSQL 17
and later call by the next one. Members: a switch where nothing was written since the last one; a restore point whose record ends there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.server import wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from lab.servers import Server

SEGMENT = 16 * 1024 * 1024


@pytest.mark.parametrize("major", [15, 18])
def test_what_ends_between_two_segments(server_factory: Callable[..., Server], major: int) -> None:
    server = server_factory(major)
    server.query("ALTER SYSTEM SET autovacuum = off")
    server.query("SELECT pg_reload_conf()")
    with contextlib.closing(server.connect()) as connection:
        connection.autocommit = True
        wal_end.restore_point(connection, "something to end")
        first = wal_end.switch(connection)
        again = wal_end.switch(connection)
        assert again.segment == first.segment and Lsn.parse(again.lsn, "lsn") % SEGMENT == 0
        for _attempt in range(20):
            at = fill(server)
            point = wal_end.restore_point(connection, "on the boundary")
            end = Lsn.parse(point.lsn, "lsn")
            if end % SEGMENT == 0:
                assert int(point.segment[8:16], 16) * 256 + int(point.segment[16:], 16) == end // SEGMENT - 1
                named = server.query("SELECT pg_walfile_name(%s)", values=[point.lsn])[0][0]
                assert (named == point.segment) == (major < 17)
                break
            assert end > at
        else:
            pytest.fail("no restore point ended on the boundary")


def position(server: Server) -> int:
    return int(server.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])


def fill(server: Server) -> int:
    """Write until nothing but the record of a restore point has room in the segment: 104 bytes of it."""
    message = "SELECT pg_logical_emit_message(false, 'x', repeat('x', %s))"
    while (room := SEGMENT - position(server) % SEGMENT) > 3 * 8192:
        server.query(message, values=[room * 99 // 100 - 2 * 8192])  # each page has a header
    # On the last page: a message of n bytes takes what one of 64 took, and n - 64 more, in steps of 8.
    while SEGMENT - position(server) % SEGMENT > 8192 - 64:
        server.query(message, values=[1024])
    before = position(server)
    server.query(message, values=[64])
    overhead = position(server) - before - 64
    room = SEGMENT - position(server) % SEGMENT
    server.query(message, values=[room - 104 - overhead])
    return position(server)
