# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recovery landed, and whether the files of every relation are there."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import missing_files, where_it_landed
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive, Commit
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Coverage, Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines

RUNS = (Run(1, 2, 5),)  # 16 MB each: the last one begins at 0/5000000
NEWEST = Commit(1, Lsn(0x5000100), datetime.datetime(2026, 11, 25, 10, tzinfo=datetime.timezone.utc), last=True)
ARCHIVE = Archive(Coverage(RUNS), Timelines({}), commits=(NEWEST,))


@pytest.mark.parametrize(
    "target, lsn, commit, missing, proven",
    [
        ({}, "0/5000150", None, None, "the end of what is archived"),
        ({}, "0/5000100", None, "with a commit at 0/5000100", None),
        ({}, "0/4FFFFFF", None, "the archive goes on to 000000010000000000000005", None),
        ({"lsn": "0/3000000"}, "0/3000060", None, None, "past the target"),
        ({"lsn": "0/3000000"}, "0/2000060", None, "the target is 0/3000000", None),
        ({"lsn": "0/3000028", "inclusive": False}, "0/3000000", None, None, "not what begins at"),
        ({"time": "2026-11-25T10:00:00Z"}, "0/3000060", "2026-11-25T09:59:59Z", None, "not after"),
        ({"time": "2026-11-25T10:00:00Z"}, "0/3000060", "2026-11-25T10:00:01Z", "after the target", None),
    ],
)
def test_where_it_landed(
    target: dict[str, object], lsn: str, commit: str | None, missing: str | None, proven: str | None
) -> None:
    proof = where_it_landed(lsn, commit, Target.from_option(target), RUNS, ARCHIVE)
    assert (missing is None and not proof.missing) or missing in " ".join(proof.missing)  # type: ignore[operator]
    assert (proven is None and not proof.proven) or proven in " ".join(proof.proven)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("target", "runs", "told"),
    [
        ({"name": "mine"}, RUNS, "restore point 'mine' is the server's own word"),
        ({"xid": 700}, RUNS, "transaction 700 is the server's own word"),
        ({"immediate": True}, RUNS, "a backup's own end is the server's own word"),
        ({"time": "2026-11-25T10:00:00Z"}, RUNS, "no transaction that it replayed"),
        ({}, (), "no archived WAL was found"),
    ],
)
def test_what_nobody_compared_is_not_proven(target: dict[str, object], runs: tuple[Run, ...], told: str) -> None:
    """Kind: an ok that nobody earned. Found: "by the server's own word" stood in what was proven, and of a time without a commit, or an archive
    without WAL, nothing was said."""
    proof = where_it_landed("0/5000150", None, Target.from_option(target), runs, ARCHIVE)
    assert told in " ".join(proof.unproven)
    assert not proof.proven
    assert not proof.missing


def test_files_of_relations(tmp_path: Path) -> None:
    folder = tmp_path / "base" / "5"
    folder.mkdir(parents=True)
    for name in ("1", "1_fsm", "2", "2.1", "2.3", "4_init"):
        (folder / name).touch()
    relations = [{"path": f"base/5/{number}", "name": f"t{number}"} for number in (1, 2, 3, 4)]
    assert missing_files(relations, str(tmp_path)) == [
        "t2 lacks a part between base/5/2 and base/5/2.3",
        "t3 has no file base/5/3",
        "t4 has no file base/5/4",
    ]
    assert missing_files([{"path": "pg_tblspc/1/PG/5/1", "name": "far"}], str(tmp_path))
