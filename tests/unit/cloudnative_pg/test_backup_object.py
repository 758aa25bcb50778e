# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of the operator: as they are made, found again, and told."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import backup_object
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions

NOW = datetime.datetime(2026, 11, 26, 17, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
SNAPSHOT = BackupOptions("volume_snapshot", online=True, immediate_checkpoint=True)
STORE = BackupOptions("barman_object_store", "primary")


def made(
    number: int, phase: str | None, ours: bool = True, options: BackupOptions = STORE, **metadata: Any
) -> dict[str, Any]:
    found = backup_object.manifest(f"b{number}", "shops", "shop", options)
    found["metadata"].update({"creationTimestamp": f"2026-11-26T16:00:0{number}Z", **metadata})
    if not ours:
        found["metadata"]["labels"] = {"cnpg.io/cluster": "shop"}
    if phase is not None:
        found["status"] = {"phase": phase}
    return found


def test_what_is_made() -> None:
    assert backup_object.name_of("shop", NOW) == "shop-holdfast-20261126160000"
    assert len(backup_object.name_of("s" * 300, NOW)) <= 253
    assert backup_object.spec_of("shop", STORE) == {
        "cluster": {"name": "shop"}, "method": "barmanObjectStore", "target": "primary"
    }  # fmt: skip
    assert backup_object.spec_of("shop", BackupOptions("plugin"))["pluginConfiguration"] == {
        "name": "barman-cloud.cloudnative-pg.io"
    }
    spec = backup_object.spec_of("shop", SNAPSHOT)
    assert spec["online"] is True and spec["onlineConfiguration"] == {
        "immediateCheckpoint": True,
        "waitForArchive": True,
    }
    assert "online" not in backup_object.spec_of("shop", BackupOptions("volume_snapshot"))


@pytest.mark.parametrize(
    ("backups", "found"),
    [
        ([], None),
        ([made(1, None)], "b1"),
        ([made(1, "pending")], "b1"),
        ([made(1, "running")], "b1"),
        ([made(1, "walArchivingFailing")], "b1"),
        ([made(1, "completed")], "b1"),
        ([made(1, "completed", annotations={backup_object.CLOSED: "0001"})], None),
        ([made(1, "completed", creationTimestamp="2026-11-26T14:00:00Z")], None),
        ([made(1, "running", creationTimestamp="2026-11-26T14:00:00Z")], "b1"),
        ([made(1, "failed")], None),
        ([made(1, "invalid backup definition")], None),
        ([made(1, "running", ours=False)], None),
        ([made(1, "running"), made(2, "failed")], None),
        ([made(2, "running"), made(1, "completed")], "b2"),
        ([made(1, "running", options=SNAPSHOT)], None),
        ([made(1, "running", deletionTimestamp="2026-11-26T16:00:09Z")], None),
        ([made(1, "running", options=BackupOptions("barman_object_store", "prefer-standby"))], None),
    ],
)
def test_what_a_run_that_was_killed_has_left(backups: list[dict[str, Any]], found: str | None) -> None:
    """The last one of ours, as it is asked for now; what has failed, is of somebody else, or is done is not gone on with."""
    left = backup_object.unfinished(backup_object.of_cluster(backups, "shop"), "shop", STORE, NOW)
    assert (left["metadata"]["name"] if left else None) == found


def test_whose_they_are() -> None:
    other = made(3, "running", ours=False)
    other["spec"]["cluster"]["name"] = "another"
    backups = [made(2, "running", ours=False), other, made(1, "completed", ours=False)]
    mine = backup_object.of_cluster(backups, "shop")
    assert [one["metadata"]["name"] for one in mine] == ["b1", "b2"]
    assert backup_object.running_of_others(mine) == ["b2"]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"phase": "completed"}, None),
        ({"phase": "running", "error": "an older one"}, None),
        ({"phase": "failed", "error": "can't  execute:\nexit 1."}, "can't execute: exit 1"),
        ({"phase": "failed", "error": "exit 1", "commandError": "no bucket"}, "exit 1. no bucket"),
        ({"phase": "failed"}, "it does not say why"),
        ({"phase": "invalid backup definition", "error": "no such cluster"}, "no such cluster"),
    ],
)
def test_why_one_failed(status: dict[str, Any], why: str | None) -> None:
    assert backup_object.why_failed({"status": status}) == why


def test_what_is_said_meanwhile() -> None:
    assert "waiting for the operator" in backup_object.said(made(1, None))
    running = made(1, "running")
    running["status"]["instanceID"] = {"podName": "shop-2"}
    assert backup_object.said(running) == "the server is being copied (on shop-2)"
    assert backup_object.said(made(1, "a new one")) == "the operator says a new one"
