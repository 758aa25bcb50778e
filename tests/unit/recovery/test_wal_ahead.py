# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the WAL ahead would do, read out of pg_waldump's lines."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.wal_ahead import look_ahead, read_records
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target

# A commit, a tablespace, a restore point twice, CREATE and DROP DATABASE whose commit follows, and another commit.
WAL = """\
rmgr: Heap        len (rec/tot):     59/    59, tx:        735, lsn: 0/01000028, prev 0/01000000, desc: INSERT off 1
rmgr: Transaction len (rec/tot):     34/    34, tx:        735, lsn: 0/01000100, prev 0/01000028, desc: COMMIT 2026-11-25 10:00:01.500000 UTC
rmgr: Tablespace  len (rec/tot):     42/    42, tx:        736, lsn: 0/01000200, prev 0/01000100, desc: CREATE 16388 "/a place/b"
rmgr: Tablespace  len (rec/tot):     42/    42, tx:        736, lsn: 0/01000210, prev 0/01000100, desc: CREATE 16389 ""
rmgr: Transaction len (rec/tot):     34/    34, tx:        736, lsn: 0/01000300, prev 0/01000200, desc: COMMIT 2026-11-25 10:00:02.000000 UTC; sync
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/01000400, prev 0/01000300, desc: RESTORE_POINT mine
rmgr: Transaction len (rec/tot):     34/    34, tx:        737, lsn: 0/01000500, prev 0/01000400, desc: ABORT 2026-11-25 10:00:03.000000 UTC
rmgr: Database    len (rec/tot):     38/    38, tx:        738, lsn: 0/01000600, prev 0/01000500, desc: DROP dir 1663/16390
rmgr: Transaction len (rec/tot):     66/    66, tx:        738, lsn: 0/01000700, prev 0/01000600, desc: COMMIT 2026-11-25 10:00:04.000000 UTC; inval
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/01000800, prev 0/01000700, desc: RESTORE_POINT mine
rmgr: Transaction len (rec/tot):     34/    34, tx:          0, lsn: 0/01000900, prev 0/01000800, desc: COMMIT_PREPARED xid 739: 2026-11-25 10:00:05.000000 UTC
pg_waldump: error: error in WAL record at 0/1000900: invalid record length at 0/1000938: wanted 24, got 0
"""
START = Lsn(0x1000000)


@pytest.mark.parametrize(
    "target, stop, last, removing",
    [
        ({"time": "2026-11-25T10:00:03.5Z"}, 0x1000700, 0x1000500, [0x1000600]),  # the DROP is under way
        ({"time": "2026-11-25T10:00:04Z"}, 0x1000900, 0x1000700, []),
        ({"time": "2026-11-25T10:00:04Z", "inclusive": False}, 0x1000700, 0x1000500, [0x1000600]),
        ({"time": "2026-11-25T10:00:02.5Z"}, 0x1000500, 0x1000300, []),
        ({"time": "2026-11-25T11:00:00Z"}, None, 0x1000900, []),
        ({"time": "2026-11-25T09:00:00Z"}, 0x1000100, None, []),
        ({"lsn": "0/1000600"}, 0x1000700, 0x1000500, [0x1000600]),
        ({"lsn": "0/1000700", "inclusive": False}, 0x1000700, 0x1000500, [0x1000600]),
        ({"lsn": "0/1000700"}, 0x1000800, 0x1000700, []),
        ({"xid": 738, "inclusive": False}, 0x1000700, 0x1000500, [0x1000600]),
        ({"latest": True}, None, 0x1000900, []),
    ],
)
def test_where_it_stops(target: dict[str, object], stop: int | None, last: int | None, removing: list[int]) -> None:
    found = look_ahead(read_records(WAL.splitlines()), Target.from_option(target), START)
    assert (found.stop, found.last, found.removing) == (stop, last, removing)


@pytest.mark.parametrize(
    "target, marks",
    [
        ({"name": "mine"}, [0x1000400, 0x1000800]),
        ({"name": "mine too"}, []),
        ({"xid": 736}, [0x1000300]),
        ({"xid": 739}, [0x1000900]),
        ({"xid": (1 << 32) + 739}, [0x1000900]),
        ({"xid": 900}, []),
    ],
)
def test_where_the_target_lies(target: dict[str, object], marks: list[int]) -> None:
    found = look_ahead(read_records(WAL.splitlines()), Target.from_option(target), START)
    assert [mark.lsn for mark in found.landmarks] == marks


def test_tablespaces_that_it_makes_elsewhere() -> None:
    found = look_ahead(read_records(WAL.splitlines()), Target(), START)
    assert [(made.oid, made.location) for made in found.tablespaces] == [("16388", "/a place/b")]
    early = Target.from_option({"lsn": "0/1000150"})
    assert not look_ahead(read_records(WAL.splitlines()), early, START).tablespaces
    assert not look_ahead(read_records(WAL.splitlines()), Target(), Lsn(0x1000300)).tablespaces


def test_what_the_server_was_started_with() -> None:
    lines = [
        "rmgr: XLOG        len (rec/tot):     54/    54, tx:          0, lsn: 0/05000028, prev 0/04000060, desc: PARAMETER_CHANGE "
        "max_connections=60 max_worker_processes=8 max_wal_senders=10 max_prepared_xacts=7 max_locks_per_xact=64 wal_level=replica "
        "wal_log_hints=off track_commit_timestamp=off",
        "rmgr: XLOG        len (rec/tot):     54/    54, tx:          0, lsn: 0/06000028, prev 0/05000060, desc: PARAMETER_CHANGE "
        "max_connections=20 max_worker_processes=8 max_wal_senders=0 max_prepared_xacts=0 max_locks_per_xact=64 wal_level=minimal "
        "wal_log_hints=off track_commit_timestamp=off",
    ]
    found = look_ahead(read_records(lines), Target(), Lsn(0))
    assert found.needed["max_connections"] == 60 and found.needed["max_prepared_transactions"] == 7
    assert found.minimal == Lsn.parse("0/06000028", "lsn")
    before = look_ahead(read_records(lines), Target("lsn", lsn=Lsn.parse("0/05000030", "lsn")), Lsn(0))
    assert before.minimal is None and before.needed["max_connections"] == 60
