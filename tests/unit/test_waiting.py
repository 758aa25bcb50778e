# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wait ends: by a condition, at its deadline, or when the log says that the server gave up."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Seen, ServerLog, Waiter


def test_the_first_condition_that_is_true_ends_it() -> None:
    asked: list[str] = []

    def later() -> str | None:
        asked.append("later")
        return "here" if len(asked) == 3 else None

    assert Waiter(5, pause=0).until({"never": lambda: None, "later": later}) == Seen("later", "here")
    assert Waiter(0).until({"now": lambda: False}) == Seen("now", False)
    assert Waiter(0).until({"never": lambda: None}) is None


def test_it_ends_at_its_deadline_whatever_is_asked() -> None:
    """An empty table was waited for without an end: only an answer moved the clock."""
    waiter = Waiter(0.02, pause=0.001)
    assert waiter.until({}) is None and 0.02 <= waiter.seconds < 5
    assert waiter.until({"never": lambda: None}) is None and 0.02 <= waiter.seconds < 5


@pytest.mark.parametrize(
    "line, ends",
    [
        ("2026-11-25 UTC [7] FATAL:  the database system is starting up", None),
        ("2026-11-25 UTC [7] FATAL:  the database system is not accepting connections", None),
        ("FATAL:  terminating connection due to administrator command", None),
        ("FATAL:  could not connect to the primary server: connection refused", None),
        ("LOG:  a client wrote that something was FATAL:  no", None),
        ('2026-11-25 UTC [7] FATAL:  role "postgres" does not exist', 'role "postgres" does not exist'),
        ('FATAL:  role "dba" is not permitted to log in', 'role "dba" is not permitted to log in'),
        ('FATAL:  database "template1" is not currently accepting connections', "accepting connections"),
        ("PANIC:  could not locate a valid checkpoint record", "could not locate"),
        ("LOG:  redo done at 0/3000028", None),
    ],
)
def test_the_log_ends_it(tmp_path: Path, line: str, ends: str | None) -> None:
    path = tmp_path / "log"
    path.write_text("FATAL:  of an earlier start\n")
    log = ServerLog(str(path))
    with path.open("a") as stream:
        stream.write(line[:5])
        stream.flush()
        assert log.fatal() is None  # no whole line yet
        stream.write(line[5:] + "\n")
    waiter = Waiter(0, log=log)
    if ends is None:
        assert waiter.until({"never": lambda: None}) is None
        return
    with pytest.raises(ServerError, match=ends):
        waiter.until({"never": lambda: None})


def test_a_condition_counts_before_what_the_log_says(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = ServerLog(str(path))
    path.write_text("FATAL:  recovery ended before configured recovery target was reached\n")
    assert Waiter(0, log=log).until({"ended": lambda: 1}) == Seen("ended", 1)
