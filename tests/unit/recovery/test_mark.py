# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mark holds only while nothing was written since: what pg_waldump shows, by what it means."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.mark import written


def line(manager: str, lsn: str, text: str) -> str:
    return (
        f"rmgr: {manager:<11} len (rec/tot):    114/   114, tx:          0, lsn: {lsn}, prev 0/06000028, desc: {text}"
    )


SHUTDOWN = line("XLOG", "0/06000060", "CHECKPOINT_SHUTDOWN redo 0/6000060; tli 2")


@pytest.mark.parametrize(
    "lines, doubt",
    [
        ([SHUTDOWN], None),
        ([SHUTDOWN, line("Standby", "0/060000D8", "RUNNING_XACTS nextXid 740"), line("XLOG", "0/06000100", "FPI_FOR_HINT")], None),
        ([SHUTDOWN, line("Heap2", "0/060000D8", "PRUNE snapshotConflictHorizon: 5")], None),
        ([SHUTDOWN, line("Heap", "0/060000D8", "INSERT off 1")], "record Heap INSERT at 0/060000D8"),
        ([SHUTDOWN, line("Transaction", "0/060000D8", "COMMIT 2026-11-25")], "Transaction COMMIT"),
        ([SHUTDOWN, line("Sequence", "0/060000D8", "LOG rel 1663/5/16384")], "Sequence LOG"),
        ([SHUTDOWN, line("Database", "0/060000D8", "DROP dir 1663/16390")], "Database DROP"),
        ([line("XLOG", "0/06000200", "CHECKPOINT_ONLINE redo")], "not in its WAL any more"),
        ([], "not in its WAL any more"),
        (["pg_waldump: error: could not find a valid record after 0/6000060"], "not in its WAL any more"),
    ],
)  # fmt: skip
def test_written(lines: list[str], doubt: str | None) -> None:
    found = written(lines, "0/6000060", "0/6000060")
    assert found is None if doubt is None else doubt in (found or "")


@pytest.mark.parametrize(
    ("checkpoint", "doubt"), [("0/060000D8", None), ("0/7000028", "cannot be read"), ("1/28", "cannot be read")]
)
def test_wal_that_cannot_be_read_to_its_end_proves_nothing(checkpoint: str, doubt: str | None) -> None:
    """A segment that is missing or damaged ends the reading without a sign, and what came after it would be unseen."""
    found = written([SHUTDOWN, line("Standby", "0/060000D8", "RUNNING_XACTS nextXid 740")], "0/6000060", checkpoint)
    assert found is None if doubt is None else doubt in (found or "")
