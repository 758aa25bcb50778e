# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: fresh that is not restorable. Members: the newest lost an artifact, its full backup, was never verified, is from the future; an
engine that reads nothing back; clocks that disagree with the server's own positions."""

from __future__ import annotations

import datetime
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import LISTED_WHOLE
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import judge

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.timezone.utc)
HOUR = 3600


def backup(name: str, age: float, lsn: Optional[str] = None, **changes: Any) -> Record:
    moment = (NOW - datetime.timedelta(hours=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    values: dict[str, Any] = {
        "id": name, "engine": "pg_basebackup", "kind": "full", "engine_version": "16", "started_at": moment, "stopped_at": moment,
        "server": {"name": "main", "system_id": "7", "timeline": 1}, "start_lsn": lsn, "stop_lsn": lsn, "scope": {},
        "consistency": {}, "databases": [], "compression": {}, "encryption": {}, "artifacts": [], "created_by": "",
        "verified_at": moment, **changes,
    }  # fmt: skip
    return Record(**values)


def well(record: Record) -> None:
    return None


def test_the_newest_good_one_counts() -> None:
    old, new = backup("old", 30), backup("new", 2)
    found = judge([old, new], 25 * HOUR, NOW, well)
    assert (found.last_good, found.overdue, found.damaged) == (new, False, {})
    assert judge([old, new], None, NOW, well).overdue is None
    assert judge([], 25 * HOUR, NOW, well).overdue is True
    assert judge([], 25 * HOUR, NOW, well).last_success is None


def test_what_is_damaged_is_not_fresh() -> None:
    old, new = backup("old", 30), backup("new", 2)
    found = judge([old, new], 25 * HOUR, NOW, lambda record: "base.tar is missing" if record is new else None)
    assert (found.last_good, found.overdue) == (old, True)
    assert found.damaged == {"new": "base.tar is missing"}


def test_a_chain_is_as_good_as_its_full_backup() -> None:
    full, other = backup("full", 30), backup("other", 40)
    link = backup("link", 2, kind="incremental", parent="full")
    assert judge([other, full, link], 25 * HOUR, NOW, well).last_good is link
    assert judge([other, link], 25 * HOUR, NOW, well).overdue is True
    assert judge([other, link], 25 * HOUR, NOW, well).last_good is other
    lost = judge([other, full, link], 25 * HOUR, NOW, lambda record: "gone" if record is full else None)
    assert (lost.last_good, lost.overdue) == (other, True)


def test_what_was_never_verified_counts_where_the_engine_can_do_no_more() -> None:
    new = backup("new", 2, engine="wal_g", verified_at=None)
    assert judge([new], 25 * HOUR, NOW, well).overdue is True
    found = judge([new], 25 * HOUR, NOW, well, ["wal_g"])
    assert found.last_good is new
    assert found.overdue is False
    assert new.verified_at is None


def test_one_that_could_have_been_verified_and_was_not_does_not_count() -> None:
    """Found: those of pgBackRest that somebody else's cron job makes were a success, though the engine can read them back; a run of ours
    never took them for fresh."""
    assert set(LISTED_WHOLE) == {"barman_cloud", "wal_g"}
    old, older = backup("old", 30), backup("theirs", 4, engine="pgbackrest", verified_at=None)
    new = backup("newest", 2, engine="pgbackrest", verified_at=None)
    found = judge([old, older, new], 25 * HOUR, NOW, well, LISTED_WHOLE)
    assert (found.last_good, found.overdue, found.unverified) == (old, True, ["newest", "theirs"])
    new.verified_at = new.stopped_at
    assert judge([old, older, new], 25 * HOUR, NOW, well, LISTED_WHOLE).unverified == []


def test_the_future_says_nothing_of_last_night() -> None:
    future, old = backup("future", -100, lsn="0/10"), backup("old", 30, lsn="0/20")
    found = judge([future, old], 25 * HOUR, NOW, well)
    assert (found.last_good, found.overdue) == (old, True)


def test_objects_of_a_cluster_are_no_backup_of_the_data() -> None:
    """One that is newer than every backup makes none of them fresh, and is no success by itself."""
    old, objects = backup("old", 30), backup("objects", 1, engine="kubernetes_objects", kind="objects")
    found = judge([old, objects], 25 * HOUR, NOW, well)
    assert (found.last_good, found.overdue) == (old, True)
    assert judge([objects], None, NOW, well).last_success is None
