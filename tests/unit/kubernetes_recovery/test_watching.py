# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a recovery that was found wanting, and is taken when the same is run again; one that is waited for though it never answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.watching import Watch
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import fetched
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target


def test_what_had_ended_its_recovery_before_is_not_taken(tmp_path: Path) -> None:
    """Found: it had stopped before the end of the archive, which was an error; started once more it replayed nothing, and where it ended was then merely
    not known. PostgreSQL says no position where it replayed none."""
    (tmp_path / fetched.DIRECTORY).mkdir()
    (tmp_path / fetched.DIRECTORY / "000000010000000000000005").write_bytes(b"")
    watch = Watch(str(tmp_path), str(tmp_path), ["postgres"], Target.from_option({"latest": True}, "recovery_target"))
    watch._size = SegmentSize(16 * MEGABYTE)
    with pytest.raises(ServerError, match="laid out anew"):
        watch._look({"lsn": None, "time": None})


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ({"postgres": 'role "postgres" does not exist'}, True),
        ({"postgres": "the database system is not yet accepting connections"}, False),
        ({"admin": 'database "template1" is not currently accepting connections', "postgres": 'role "postgres" does not exist'}, False),
    ],
    ids=["no such role", "it recovers", "one of several"],
)  # fmt: skip
def test_a_superuser_of_another_name_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], ends: bool
) -> None:
    """Found: POSTGRES_USER in a Secret, which is not read, and the server was down until the Job's deadline, six hours later."""
    watch = Watch(str(tmp_path), str(tmp_path), list(said), Target.from_option({"latest": True}, "recovery_target"))

    def connection(user: str, _database: str) -> Any:
        raise psycopg2.OperationalError(f"FATAL:  {said[user]}\n")

    monkeypatch.setattr(watch, "_connection", connection)
    if ends:
        with pytest.raises(ServerError, match=r"has no role postgres, .*\(login_user\)"):
            watch._ask()
    else:
        assert watch._ask() is None
