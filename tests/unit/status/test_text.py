# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: unknown is said as good. Members: nothing could be read; no archive, an archive without a backup, with a gap, whose end nobody knows;
sizes and proofs that an engine does not tell; schedules that this user may not read."""

from __future__ import annotations

import datetime
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.status import text
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import Alert
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule

from .test_health import backup

NOW = datetime.datetime(2026, 11, 21, 6, 0, tzinfo=datetime.timezone.utc)
DUMP: dict[str, Any] = {
    "id": "20261121T014512Z-3f9a1c", "kind": "logical", "size": 118 << 20, "stopped_at": "2026-11-21T02:00:00.000Z",
    "verified_at": "2026-11-21T02:00:10Z", "encryption": {"method": "aes256"}, "scope": {},
}  # fmt: skip
SERVER: dict[str, Any] = {
    **DUMP, "kind": "full", "size": 0, "verified_at": None, "encryption": {"method": "none"}, "scope": {"stored": None},
}  # fmt: skip


def test_backups_are_a_table_the_newest_first() -> None:
    assert text.of_each(
        [
            {**SERVER, "id": "old", "tiers": ["barman"], "drilled_at": "2026-11-20T06:00:00Z", "drill_verdict": "fail"},
            {
                **DUMP,
                "tiers": ["disk", "s3"],
                "pinned": True,
                "drilled_at": "2026-11-21T03:00:00Z",
                "drill_verdict": "pass",
            },
        ],
        NOW,
    ) == [
        "when              age      kind  stored   where     encryption  verified  drilled  id",
        "21 Nov 02:00 UTC  4 h ago  dump  118 MiB  disk, s3  aes256      4 h ago   3 h ago  20261121T014512Z-3f9a1c (pinned)",
        "21 Nov 02:00 UTC  4 h ago  full  unknown  barman    none        no        FAILED   old",
    ]


def test_backups_in_a_line() -> None:
    good = backup(
        "b",
        0,
        verified_at="2026-11-21T02:00:00Z",
        stopped_at="2026-11-21T02:00:00Z",
        encryption={"method": "none"},
        scope={"stored": 5 << 20},
    )
    assert text.of_backups(3, good, ["disk", "s3"], NOW) == (
        "3 backups, the newest good one of 4 h ago, 5.0 MiB, not encrypted, in disk and s3, verified 4 h ago"
    )
    bare = backup("b", 0, verified_at=None, stopped_at="2026-11-21T05:59:30Z", encryption={})
    assert text.of_backups(1, bare, ["barman_cloud"], NOW) == (
        "1 backup, the newest good one of 30 s ago, stored size unknown, encryption unknown, in barman_cloud, not verified "
        "(its engine reads nothing back)"
    )
    assert text.of_backups(2, None, [], NOW) == "2 backups, none of them good"
    assert text.of_backups(0, None, [], NOW) == "no backups"
    assert text.of_backups(None, None, [], NOW) == "How many backups there are is not known"


def wal(
    timeline: int = 1, end: Optional[str] = "2026-11-21T05:59:20Z", missing: Any = None, last: str = "05"
) -> dict[str, Any]:
    stretch = {"start": "2026-11-21T02:31:00Z", "end": end, "last_segment": last, "missing": missing}
    return {"windows": [{"timeline": timeline, "stretches": [stretch]}], "last_segment": "05", "last_segment_age": 12.0}


@pytest.mark.parametrize(
    "found, unread, said",
    [
        (wal(), False, "any moment from 21 Nov 02:31 UTC to 40 s ago"),
        (wal(end=None), False, "any moment from 21 Nov 02:31 UTC to the end of the last segment, which arrived 12 s ago"),
        (wal(end=None, last="04"), False, "any moment from 21 Nov 02:31 UTC to the end of its WAL, at a time that is not known"),
        (wal(missing={"first": "06"}), False, "any moment from 21 Nov 02:31 UTC to 40 s ago, where the archive has a gap"),
        ({"windows": [{"timeline": 1, "stretches": []}]}, False, "WAL is archived, and no backup leads to it: no moment can be reached"),
        (None, False, "no WAL archive was found: the moments of the backups, and nothing between them"),
        (None, True, "which moments can be reached is not known"),
    ],
)  # fmt: skip
def test_what_can_be_reached(found: Any, unread: bool, said: str) -> None:
    assert text.of_window(found, NOW, unread) == said


def test_the_newest_timeline_that_a_backup_leads_to() -> None:
    two = {
        **wal(),
        "windows": [*wal(2)["windows"], *wal(1, "2026-11-21T03:00:00Z")["windows"], {"timeline": 3, "stretches": []}],
    }
    assert text.of_window(two, NOW) == "any moment from 21 Nov 02:31 UTC to 40 s ago"
    assert text.window(two) == {"start": "2026-11-21T02:31:00Z", "end": "2026-11-21T05:59:20Z", "gap": False}
    assert text.window(None) is None and text.window({"windows": []}) is None


@pytest.mark.parametrize(
    "schedules, unknown, said",
    [
        (
            [Schedule("a", "a.timer", NOW), Schedule("b", "b.timer", NOW + datetime.timedelta(hours=1))],
            None,
            "next run 21 Nov 06:00 UTC",
        ),
        ([Schedule("a", "cron (30 2 * * *)")], None, "next run by cron (30 2 * * *), at a time that is not known"),
        ([], None, "no schedule on this host"),
        ([], "it cannot be read", "next run not known: it cannot be read"),
    ],
)
def test_the_next_run(schedules: list[Schedule], unknown: Optional[str], said: str) -> None:
    assert text.of_schedules(schedules, unknown, NOW) == said


def test_the_worst_first() -> None:
    alerts = [Alert("warning", "a", "One."), Alert("critical", "b", "Two.", "Do this.")]
    assert text.of_alerts(alerts) == ["critical: Two. Do this.", "warning: One."]
    assert text.in_short(alerts) == "1 critical, 1 warning" and text.in_short([]) == "no warnings"
