# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in archives, as PostgreSQL, pgBackRest, Barman and WAL-G name it."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import WalName, classify, history_name
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, Segment, SegmentSize

SIZE = SegmentSize()
SHA1 = "c6da8d5a5d2ab5ce2b7d29d5eb4c3b8a3a6dcf5d"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("000000010000000000000003", WalName("segment", 1, 3)),
        ("0000000A00000016000000B3", WalName("segment", 10, 5811)),
        ("000000010000000000000003.gz", WalName("segment", 1, 3, None, ".gz")),
        ("wal_005/000000010000000000000003.lz4", WalName("segment", 1, 3, None, ".lz4")),
        ("wals/0000000100000000/000000010000000000000003.snappy", WalName("segment", 1, 3, None, ".snappy")),
        ("000000010000000000000003.zst.gpg", WalName("segment", 1, 3, None, ".zst.gpg")),
        (f"0000000100000000/000000010000000000000003-{SHA1}", WalName("segment", 1, 3, SHA1)),
        (f"000000010000000000000003-{SHA1}.zst", WalName("segment", 1, 3, SHA1, ".zst")),
        ("000000010000000000000003.partial", WalName("partial", 1, 3)),
        ("000000010000000000000003.partial.gz", WalName("partial", 1, 3, None, ".gz")),
        (f"000000010000000000000003.partial-{SHA1}.gz", WalName("partial", 1, 3, SHA1, ".gz")),
        ("000000010000000000000002.00000028.backup", WalName("backup", 1, 2, None, "", 0x28)),
        ("000000010000000000000002.00D11048.backup.br", WalName("backup", 1, 2, None, ".br", 0xD11048)),
        ("00000002.history", WalName("history", 2)),
        ("0000001F.history.xz", WalName("history", 31, 0, None, ".xz")),
        ("wal_005/000000010000000000000000_delta.lzma", WalName("note", 1, 0, None, ".lzma")),
    ]
    + [
        (name, WalName("foreign"))
        for name in (
            "",
            "README",
            ".000000010000000000000003.tmp",
            "000000010000000000000003.tmp",
            "000000010000000000000003.gz.tmp",
            "000000010000000000000003.zip",
            "000000010000000000000003-abc.gz",
            "000000010000000000000003 (1)",
            "000000010000000000000003\n",
            "00000001000000000000003",
            "0000000a0000000000000003",
            "000000000000000000000003",
            "00000000.history",
            "00000001.history",
            "2.history",
            "xlog.db",
            "archive.info",
            "000000010000000000000003/",
            "000000010000000000000003/other",
        )
    ],
)
def test_names(name: str, expected: WalName) -> None:
    assert classify(name, SIZE) == expected


def test_the_segment_of_a_name() -> None:
    assert classify("0000000200000001000000FF.00000028.backup", SIZE).segment == Segment(2, 511)
    assert history_name(31) == "0000001F.history"


@pytest.mark.parametrize(
    ("megabytes", "name", "kind", "number"),
    [
        (1, "000000010000000100000FFF", "segment", 8191),
        (16, "000000010000000100000FFF", "foreign", 0),
        (16, "0000000100000001000000FF", "segment", 511),
        (64, "0000000100000001000000FF", "foreign", 0),
        (64, "00000001000000010000003F", "segment", 127),
    ],
)
def test_names_of_another_segment_size_are_foreign(megabytes: int, name: str, kind: str, number: int) -> None:
    found = classify(name, SegmentSize(megabytes * MEGABYTE))
    assert (found.kind, found.number) == (kind, number)
