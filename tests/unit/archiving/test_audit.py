# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit of a WAL archive may remove: what is known to be needed by nobody."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.audit import inspect, removable

NAMES = [f"00000001000000000000000{number}" for number in range(1, 10)]


class Wal:
    def names(self, after: Any = None) -> Iterator[str]:
        return iter(NAMES)


class Record:
    """As much of a manifest as matters here."""

    def __init__(self, name: str, start: Any, stop: Any) -> None:
        self.id, self.start_lsn, self.stop_lsn = name, start, stop
        self.server = {"timeline": 1, "wal_segment_size": 16 * 1024 * 1024}
        self.consistency = {"self_contained": False, "reached_at": "2026-11-25T02:00:00Z"}
        self.stopped_at = datetime.datetime(2026, 11, 25, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("older", "gone"),
    [([], NAMES[:4]), ([Record("old", "0/2000028", "0/2000100")], NAMES[:1]), ([Record("old", None, None)], [])],
)
def test_wal_of_a_backup_that_does_not_say_what_it_needs_stays(
    tmp_path: Any, older: list[Any], gone: list[str]
) -> None:
    wal: Any = Wal()
    records: Any = [*older, Record("new", "0/5000028", "0/5000100")]
    report = inspect(wal, records, str(tmp_path))
    assert [item.name for item in removable(report, wal)] == gone


def test_what_was_deleted_since_the_last_audit_is_missed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments in the middle, at the beginning and at the end: an audit took what an earlier one had seen for what is there, and named windows
    that nothing leads through any more."""
    wal: Any = Wal()
    records: Any = [Record("only", "0/2000028", "0/2000100")]
    ends = []
    for gone in ([], [5], [2], [8, 9]):
        left = [name for name in NAMES if int(name[-1]) not in gone]
        monkeypatch.setattr(Wal, "names", lambda self, after=None, left=left: iter(left))
        report = inspect(wal, records, str(tmp_path))
        ends.append(report.windows[0].to_dict()["last_segment"])
        assert report.looked_at == len(left)
    assert ends == [NAMES[8], NAMES[3], None, NAMES[6]]
