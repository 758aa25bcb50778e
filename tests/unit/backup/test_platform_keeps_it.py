# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine whose backup is a thing that a platform keeps, such as a snapshot of a volume, goes through a run like any other.

The kind: a run that takes an engine's backup for a stream of bytes with WAL. What is here is a stand-in, made as CONTRIBUTING.md says of
such an engine: its artifacts are what belongs to the snapshot (``backup_label``), the record names the snapshot, and it has positions in
the WAL where it was taken in backup mode, and none where the server was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import FolderMaker
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest, BackupResult
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.run import BackupRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import schema
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import (
    Draft,
    Folder,
    FolderEngine,
    Plan,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

QUIET = Progress(None)
SERVER = {"name": "db1", "system_id": "7301", "timeline": 1}


class Snapshots(FolderEngine):
    """``positions``: of the WAL, where it was taken while the server ran."""

    name, kind, version = "volume_snapshot", "full", "1"

    def __init__(self, positions: Optional[tuple[str, str]]) -> None:
        self._positions = positions

    def plan(self) -> Plan:
        return Plan(["take a snapshot of the claim data-db1-0"], dict(SERVER), {"cluster": True})

    def back_up(self, folder: Folder) -> Draft:
        folder.put("cluster.json", "cluster", b"{}")
        if self._positions:
            folder.put("backup_label", "label", b"START WAL LOCATION: 0/2000028", compress=False)
        start, stop = self._positions or (None, None)
        scope = {"cluster": True, "snapshots": [{"claim": "data-db1-0", "content": "snapcontent-1"}]}
        return Draft(start, stop, {"self_contained": self._positions is None}, [], scope=scope)


@pytest.mark.parametrize("positions", [("0/2000028", "0/2000138"), None], ids=["with WAL beside", "stopped"])
def test_one_that_copies_nothing(
    positions: Optional[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "FIELDS", {**schema.FIELDS, "engine": lambda value: value == "volume_snapshot"})
    shelf = Shelf(FileRepository(str(tmp_path)), "db1")
    made = []
    for _run in range(2):
        result = BackupResult()
        request = BackupRequest(
            "volume_snapshot", {"cluster": True}, {"method": "none"}, ("full",), "me", annotations={"why": "a release"}
        )
        tier = FolderTier("disk", shelf, Policy(keep_last=1, min_keep=1), result.warnings)
        maker = FolderMaker(
            lambda listings: Snapshots(positions),
            lambda: Present("7301", 1, None),
            request,
            Compression("zstd"),
            Encryption(None, str(tmp_path / "space")),
            lambda record: "How to restore it: by the platform's own means.\n",
            QUIET,
            result,
        )
        BackupRun([tier], maker, request, QUIET, result).run(False)
        assert result.record is not None
        made.append(result.record.id)
    (record,) = shelf.records([])  # the older one went by the policy
    assert record.id == made[1] != made[0]
    assert record.verified_at is not None
    assert record.annotations == {"why": "a release"}
    assert record.scope["snapshots"] == [{"claim": "data-db1-0", "content": "snapcontent-1"}]
    assert (record.start_lsn, record.stop_lsn) == (positions or (None, None))
