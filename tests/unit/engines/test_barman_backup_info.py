# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Barman's backup.info read without barman-cloud: the same record as by its listing."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import backup_info, listing

# As barman 3.19 writes one.
TEXT = r"""backup_label='START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIMELINE: 1\n'
backup_name=backup-20261126160000
begin_offset=40
begin_time=2026-11-26 16:00:00.123456+00:00
begin_wal=000000010000000000000005
begin_xlog=0/5000028
children_backup_ids=None
cluster_size=23000000
compression=gzip
copy_stats={'total_time': 1.5}
end_offset=312
end_time=2026-11-26 16:00:02.500000+00:00
end_wal=000000010000000000000005
end_xlog=0/5000138
error=None
mode=concurrent
parent_backup_id=None
pgdata=/var/lib/postgresql/data/pgdata
server_name=cloud
size=None
snapshots_info=None
status=DONE
systemid=7423456789012345678
tablespaces=[('fast', 16390, '/var/lib/postgresql/tablespaces/fast/data')]
timeline=1
version=150014
xlog_segment_size=16777216
"""
WHOLE = {"data.tar.gz": 3_000_000, "16390.tar.gz": 20_000, "backup.info": len(TEXT)}


def records(text: str, objects: dict[str, int], problems: list[str]) -> list[listing.Record]:
    kept = listing.kept((f"20261126T160000/{name}", size) for name, size in objects.items())
    lost: dict[str, str] = {}
    found = listing.records(backup_info.listing([("20261126T160000", text)], problems), "shop", kept, problems, lost)
    problems += lost.values()
    return found


def test_the_record() -> None:
    problems: list[str] = []
    (record,) = records(TEXT, WHOLE, problems)
    assert not problems
    assert (record.id, record.engine, record.kind) == ("20261126T160000", "barman_cloud", "full")
    assert (record.start_lsn, record.stop_lsn, record.stopped_at) == ("0/5000028", "0/5000138", "2026-11-26T16:00:02Z")
    assert record.server["system_id"] == "7423456789012345678" and record.server["in_recovery"] is False
    assert record.server["tablespaces"][0]["name"] == "fast" and record.compression["method"] == "gzip"
    assert record.annotations == {"name": "backup-20261126160000"}


@pytest.mark.parametrize(
    ("change", "without", "said"),
    [
        (("status=DONE", "status=FAILED\nerror=no space"), (), "no space"),
        (("status=DONE", "status=STARTED"), (), "is not finished"),
        (("status=DONE", ""), (), "it has no status"),
        (("version=150014", "version=fifteen"), (), "cannot be read"),
        (("end_xlog=0/5000138", "end_xlog=None"), (), "cannot be read"),
        (("tablespaces=[(", "tablespaces=[(("), (), "its tablespaces is no literal"),
        (("", ""), ("16390.tar.gz",), "16390 (.tar) of it is not in the store"),
        (("", ""), ("data.tar.gz",), "data (.tar) of it is not in the store"),
    ],
)
def test_what_is_no_backup(change: tuple[str, str], without: tuple[str, ...], said: str) -> None:
    """A note that lacks something, or a backup that does: told, and left out."""
    problems: list[str] = []
    objects = {name: size for name, size in WHOLE.items() if name not in without}
    assert records(TEXT.replace(*change) if change[0] else TEXT, objects, problems) == []
    assert said in problems[0] and "20261126T160000" in problems[0]


def test_what_an_older_barman_left_out() -> None:
    """No size of segments, no name, no size of the server: the defaults, and unknown."""
    lines = [
        line for line in TEXT.splitlines() if not line.startswith(("xlog_segment_size", "backup_name", "cluster_size"))
    ]
    problems: list[str] = []
    (record,) = records("\n".join(lines), WHOLE, problems)
    assert record.server["wal_segment_size"] == 16 << 20 and record.scope["size"] is None and not record.annotations
