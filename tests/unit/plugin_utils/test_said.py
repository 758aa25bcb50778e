# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: the last line of a play says nothing, a raw dictionary, or more than is known.

Members: each role, changed and not, in check mode, with what an engine does not tell (sizes, whether it was verified), with nothing at all.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils import said as sayings
from ansible_collections.holdfast.postgres.plugins.plugin_utils.said import said
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import ROLES

NOW = datetime.datetime(2026, 11, 21, 6, 0, tzinfo=datetime.timezone.utc)
DUMP: dict[str, Any] = {
    "id": "20261121T014512Z-3f9a1c", "engine": "pg_dump", "kind": "logical", "size": 118 << 20, "raw_size": 600 << 20,
    "databases": [{"name": "shop", "size": 500 << 20}, {"name": "blog", "size": 112 << 20}], "stopped_at": "2026-11-21T02:00:00.000Z",
    "verified_at": "2026-11-21T02:00:10Z", "encryption": {"method": "aes256", "recipients": []}, "scope": {},
}  # fmt: skip
# Barman tells no size before compression, and reads nothing back.
SERVER: dict[str, Any] = {
    **DUMP, "engine": "barman_cloud", "kind": "full", "size": 0, "raw_size": None, "databases": [], "verified_at": None,
    "encryption": {"method": "none"}, "scope": {"stored": None},
}  # fmt: skip
TIERS = [{"name": "disk", "backup": DUMP["id"]}, {"name": "s3", "backup": DUMP["id"]}, {"name": "far", "backup": None}]
PROOF = {
    "proven": ["All was read back"],
    "unproven": ["That it can be restored: only a restore proves that."],
    "lost": [],
}


@pytest.mark.parametrize(
    "job, result, check, line",
    [
        (
            "backup", {"changed": True, "backup": DUMP, "tiers": TIERS, "elapsed": 14.0, "pruned": [{"id": "a"}, {"id": "b"}], "proof": PROOF}, False,
            "Backup 20261121T014512Z-3f9a1c of 2 databases, 612 MiB on the server, 118 MiB stored, 14 s (44 MiB/s), in disk and s3, encrypted "
            "(aes256), verified. Deleted 2 older backups. Proven: All was read back. Not proven: That it can be restored: only a restore proves "
            "that.",
        ),
        (
            "backup", {"changed": False, "backup": DUMP, "tiers": [{"name": "the repository", "backup": "x"}], "elapsed": 0.2}, False,
            "Nothing to do: the backup 20261121T014512Z-3f9a1c is of 4 h ago, 612 MiB on the server, 118 MiB stored, encrypted (aes256), verified.",
        ),
        (
            "backup", {"changed": True, "backup": SERVER, "elapsed": 3.21}, False,
            "Full backup 20261121T014512Z-3f9a1c, stored size unknown, 3.2 s, not encrypted, not verified.",
        ),
        ("backup", {"changed": True, "plan": ["dump shop", "delete x."]}, True, "Check mode, nothing was done. It would: dump shop; delete x."),
        ("backup", {"changed": False, "plan": [], "backup": DUMP}, True, "Nothing to do."),
        ("backup", {}, False, "There is no backup."),
        (
            "restore",
            {
                "changed": True, "backup": {**DUMP, "databases": DUMP["databases"][:1]}, "elapsed": 10.0, "unchanged": ["blog"],
                "restored": [{"database": "shop", "from": "the backup x", "old_database": "shop_old"}],
                "proof": {"proven": ["a", "b", "c", "d", "e"], "unproven": [], "lost": ["A slot"]},
            }, False,
            "Restored shop from the backup x, 500 MiB when it was backed up, 10 s (50 MiB/s), encrypted (aes256). Unchanged since they were "
            "restored: blog. What was there is kept as shop_old. Proven: a. b. c. And 2 more. Lost: A slot.",
        ),
        (
            "restore", {"changed": False, "restored": [], "unchanged": ["shop", "blog"]}, False,
            "Nothing to do: shop and blog are restored already, and unchanged since.",
        ),
        ("restore", {"changed": False, "restored": [], "unchanged": [], "plan": ["read it"]}, False, "read it."),
        (
            "recover",
            {
                "changed": True, "backup": DUMP, "elapsed": 2.0, "recovery": {
                    "backup": "b1", "lsn": "0/5000028", "timeline": 2, "commit_time": "2026-11-21T05:59:00Z", "kept": ["/data.old"],
                    "isolated": [{"what": "archive_mode"}], "next_steps": ["It does not archive."],
                },
            }, False,
            "Recovered from the backup b1 to 0/5000028 on timeline 2, the last transaction is of 21 Nov 05:59 UTC, 118 MiB read, 2.0 s "
            "(59 MiB/s), encrypted (aes256). What was there is in /data.old. 1 setting keeps it to itself (recovery.isolated). It does not archive.",
        ),
        (
            "recover", {"changed": False, "recovery": {}}, False,
            "Nothing to do: the server was recovered so already, and nothing was written since.",
        ),
        (
            "copy", {"changed": True, "copied": ["a"], "objects": 12, "size": 100 << 20, "elapsed": 2.0, "copied_by_store": 3}, False,
            "Copied 1 backup, 12 objects, 100 MiB, 2.0 s (50 MiB/s), 3 of them by the store itself. All of it was verified in the target.",
        ),
        ("copy", {"changed": False}, False, "Nothing to do: all is there."),
        (
            "prune", {"pruned": [{"id": "a"}], "retention": [{"keep": True}, {"keep": True}, {"keep": False}]}, False,
            "Deleted 1 backup: a. 2 backups stay.",
        ),
        ("prune", {"pruned": [], "retention": []}, False, "Nothing to delete."),
        (
            "check", {"repositories": [{"repository": "the repository s3://b", "errors": [], "warnings": ["versioning is off"], "fine": ["a", "b"]}]},
            True, "The repository s3://b: 2 things fine, 1 doubt: versioning is off.",
        ),
        ("check", {"repositories": [{"repository": "the repository /b", "fine": ["a"]}]}, False, "The repository /b: 1 thing fine."),
        (
            "archive", {"changed": True, "engine": "pgbackrest", "archive": "s3://b", "archive_command": "x", "waiting": ["archive_mode"]}, False,
            "pgbackrest archives into s3://b. archive_mode take effect with the server's next restart.",
        ),
        ("archive", {"changed": False, "archive": "/a", "engine": "x", "receiver": {"slot": "s"}}, False, "Nothing to do: x archives into /a."),
        ("archive", {"changed": True, "plan": ["reset archive_command"]}, False, "Done: reset archive_command."),
        ("canary", {"canary": {"seconds": 0.12, "backup": "b"}}, False, "A segment arrived within 0.1 s; a recovery up to it begins with the backup b."),
        (
            "canary", {"canary": {"seconds": 0.12, "backup": None, "unreachable": "A segment is missing."}}, False,
            "A segment arrived within 0.1 s. No recovery leads to it: A segment is missing.",
        ),
        ("canary", {"skipped": True}, False, "That segments arrive was not looked at."),
        (
            "audit", {"findings": [{"level": "error", "text": "3 segments are missing"}, {"level": "fine", "text": "x"}], "looked_at": 40}, False,
            "40 names read. error: 3 segments are missing.",
        ),
        ("audit", {"skipped": True}, False, "The archive is its engine's, and was not read here."),
        (
            "standby", {"changed": True, "standby": {"method": "rewind", "state": "streaming", "kept": ["/old"]}}, False,
            "It follows (streaming), made by pg_rewind. What was there is in /old.",
        ),
        ("standby", {"changed": False, "standby": {"method": "follow", "state": "streaming"}}, False, "It follows (streaming), as it did."),
        (
            "standby", {"standby": {"timeline": 1, "lag_bytes": None, "lag_seconds": None}}, False,
            "It follows on timeline 1, how far behind is not known, how old that is is not known.",
        ),
        ("promote", {"changed": True, "standby": {"timeline": 2}, "elapsed": 3.0}, False, "A primary, on timeline 2, 3.0 s."),
        ("promote", {"changed": False, "standby": {"timeline": 2}}, False, "Nothing to do: a primary, on timeline 2."),
        (
            "restore_point", {"restore_point": {"name": "before", "lsn": "0/3", "segment": "0001"}}, False,
            "The restore point before is at 0/3, in the segment 0001.",
        ),
        ("rotate_credentials", {"changed": False, "expires_at": "2026-12-01T00:00:00Z"}, False, "Nothing to do. Valid until 1 Dec 00:00 UTC."),
        (
            "rotate_passphrase", {"changed": True, "passphrase": "abc", "former_path": "/p.until-x"}, False,
            "The new passphrase is abc (printed this once). Keep a copy elsewhere: without it no backup that it encrypted can be restored. The "
            "backups so far need the former one, which is in /p.until-x.",
        ),
        ("rotate_passphrase", {"changed": False}, False, "Nothing to do: the passphrase is there, and not due."),
        ("rotate_credentials", {"changed": False, "expires_at": None}, False, "Nothing to do. Valid until an unknown time."),
    ],
)  # fmt: skip
def test_a_line_for_people(job: str, result: dict[str, Any], check: bool, line: str) -> None:
    assert said(result, job, check, NOW) == line


@pytest.mark.parametrize("job", sorted(sayings._JOBS))
@pytest.mark.parametrize(
    "result",
    [{}, {"changed": True}, {"changed": True, "elapsed": 1.0, "proof": PROOF, "plan": ["a"]}, {"skipped": True}],
)
@pytest.mark.parametrize("check", [True, False])
def test_nothing_raw_whatever_is_missing(job: str, result: dict[str, Any], check: bool) -> None:
    line = said(result, job, check, NOW)
    assert line and "{" not in line and "[" not in line and "None" not in line


def test_every_role_that_does_something_ends_with_it() -> None:
    for role in sorted({path.name for path in ROLES.iterdir()} - {"setup", "schedule"}):
        texts = "".join(path.read_text() for path in (ROLES / role).glob("*/main.yml"))
        assert f"holdfast.postgres.said('{role}'" in texts or role in ("status", "health", "report"), role


def test_a_runbook() -> None:
    run = {
        "scenario": "cluster_loss", "mode": "rehearse", "id": "r1", "outcome": "done", "verdict": "missed", "notes": ["No restore point."],
        "measured": {"rto_seconds": 90.0, "rpo_seconds": None}, "objectives": {"rto_seconds": 60, "rpo_seconds": 900},
    }  # fmt: skip
    line = said({"changed": True, "run": run}, "runbook", False, NOW)
    assert (
        line == "cluster_loss, rehearse (r1): missed, RTO 1 min 30 s of 1 min 00 s, RPO not measured. No restore point."
    )
    taken = said({"changed": True, "run": {**run, "outcome": "rolled_back"}}, "runbook", False, NOW)
    assert "taken back. Nothing of production had been replaced." in taken


def test_a_task_that_alone_is_in_check_mode() -> None:
    """Its role does not know; a line that says what was done would be untrue."""
    done = {"changed": True, "plan": ["stop the server"], "recovery": {}, "check_mode": True}
    assert said(done, "recover", False, NOW) == "Check mode, nothing was done. It would: stop the server."


def test_a_verification() -> None:
    good = {"id": "b1", "level": "content", "cleared": True}
    result = {
        "verified": [good],
        "bytes": 2048,
        "elapsed": 2.0,
        "fresh": 3,
        "left": [{"id": "b2"}],
        "proof": {"proven": ["All."]},
    }
    assert said(result, "verify") == (
        "1 backup good by content, 2.0 KiB read, 2.0 s (1.0 KiB/s). Good again: b1. 3 others were proven before. 1 backup left for the next run. Proven: All."
    )
    assert said({"verified": [], "fresh": 2}, "verify") == "Nothing to do: 2 backups are proven already."
    assert said({"plan": ["verify b1"]}, "verify", True) == "Check mode, nothing was done. It would: verify b1."


def test_metrics() -> None:
    there = {"path": "/m/holdfast_db1.prom", "written": True, "changed": False}
    assert said(there, "monitor") == "/m/holdfast_db1.prom is written, and says the same as before."
    assert said({**there, "changed": True}, "monitor").endswith("something else than before.")
    assert said({**there, "written": False, "changed": True}, "monitor") == "/m/holdfast_db1.prom is gone."
    assert said({**there, "plan": ["write /m"]}, "monitor", True) == "Check mode, nothing was done. It would: write /m."
