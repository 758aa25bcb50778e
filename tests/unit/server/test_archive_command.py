# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen in the text of an archive_command."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import archive_command
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archive_command import engine_of, judge

GOOD = [
    archive_command("/archive", "", ""),
    archive_command("/arch ive", "zstd -q -1", ".zst"),
    "test ! -f /archive/%f && cp %p /archive/%f && sync /archive/%f",
    "[ ! -e /archive/%f ] && dd if=%p of=/archive/%f conv=fsync",
    "rsync --ignore-existing --fsync -a %p backup@elsewhere:/archive/%f",
    "pgbackrest --stanza=main archive-push %p",
    "/usr/bin/pgbackrest --config=/etc/pgb.conf --stanza=main archive-push %p",
    "barman-cloud-wal-archive --cloud-provider aws-s3 s3://bucket main %p",
    "envdir /etc/wal-g.d/env wal-g wal-push %p",
    "/usr/local/bin/our-own-archiver %p %f",
]
# A command, and a word of each thing that is wrong with it.
BAD = [
    ("", ["piles up"]),
    ("   ", ["piles up"]),
    ("true", ["archives nothing"]),
    ("/bin/true", ["archives nothing"]),
    ("/usr/bin/true ", ["archives nothing"]),
    (":", ["archives nothing"]),
    ("exit 0", ["archives nothing"]),
    ("cd .", ["archives nothing"]),
    ("echo archived %f", ["archives nothing"]),
    ("cp %p /archive/%f", ["overwrites", "flush"]),
    ("cp -i %p /archive/%f", ["report success", "flush"]),
    ("cp -n %p /archive/%f && sync", ["report success"]),
    ("test ! -f /archive/%f && cp %p /archive/%f", ["flush"]),
    ("test ! -f /archive/%f && cp %p /archive/", ["flush"]),
    ("gzip < %p > /archive/%f.gz", ["overwrites", "flush"]),
    ("rsync -a %p backup@elsewhere:/archive/%f", ["overwrites", "flush"]),
    ("aws s3 cp %p s3://bucket/%f", ["overwrites", "flush"]),
    ("our-own-archiver %p", ["no %f"]),
    ("our-own-archiver %f", ["no %p"]),
    ("our-own-archiver %p %f || true", ["whatever happened"]),
    ("our-own-archiver %p %f; exit 0", ["whatever happened"]),
    ("pgbackrest --stanza=main archive-push %p || true", ["whatever happened"]),
]


@pytest.mark.parametrize("command", GOOD)
def test_nothing_is_wrong(command: str) -> None:
    assert judge(command) == []


@pytest.mark.parametrize(("command", "words"), BAD)
def test_what_loses_data(command: str, words: list[str]) -> None:
    problems = judge(command)
    assert len(problems) == len(words), problems
    for word, problem in zip(words, problems):
        assert word in problem


@pytest.mark.parametrize(
    ("command", "engine"),
    [
        ("pgbackrest --stanza=x archive-push %p", "pgbackrest"),
        ("nice /opt/bin/pgbackrest --config=x archive-push %p", "pgbackrest"),
        ("barman-cloud-wal-archive s3://x y %p", "barman_cloud"),
        ("barman-wal-archive host server %p", "barman_cloud"),
        ("wal-g --config /etc/wal-g.json wal-push %p", "wal_g"),
        ("cp %p /pgbackrest/%f", ""),
        ("pgbackrest --version", ""),
        ("", ""),
    ],
)
def test_whose_command_it_is(command: str, engine: str) -> None:
    assert engine_of(command) == engine
