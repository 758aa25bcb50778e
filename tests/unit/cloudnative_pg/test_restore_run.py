# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first backup of a recovered Cluster, in a run after the one that made it: an operator in memory, and a store in a directory. On a real one:
kubernetes/test_cnpg_restore.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import new_cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import HEALTHY, cluster_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.reached import Reached, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_request import (
    RestoreResult,
    request_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_run import Restore
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import parse_history

from .test_new_cluster import backup, params
from .test_restore_plan import STORE, plan, put, recovery, snapshot, source

Object = dict[str, Any]
REQUEST = request_of(params())


class Operator:
    """The new Cluster, and Backups by name; one that is made is completed at once, and of the store's newest."""

    namespace = "shops"

    def __init__(self, backup: Object, *backups: Object) -> None:
        noted = {"backup": {"id": "b"}, "archive_as": "new", "timeline": 1, "target": {"latest": True}}
        annotations = {
            new_cluster.RECOVERY: REQUEST.digest(self.namespace),
            new_cluster.RECOVERY_PLAN: json.dumps(noted),
        }
        status = {"phase": HEALTHY, "readyInstances": 1, "conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": "new", "namespace": "shops", "annotations": annotations}
        self.cluster: Any = {"metadata": metadata, "spec": {"instances": 1, "backup": backup}, "status": status}
        self.backups = {one["metadata"]["name"]: one for one in backups}

    def get(self, kind: str, name: str, namespace: Any = None) -> Any:
        return self.cluster if kind.endswith("/Cluster") else self.backups.get(name)

    def list(self, kind: str, **_more: Any) -> list[Object]:
        return list(self.backups.values()) if kind.endswith("/Backup") else []

    def create(self, manifest: Object) -> None:
        status = {"phase": "completed", "backupId": "20261124T030000"}
        self.backups[manifest["metadata"]["name"]] = {**manifest, "status": status}

    def events(self, *_which: str) -> list[Object]:
        return []


def failed(name: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {"cluster": {"name": "new"}},
        "status": {"phase": "failed", "error": "no space"},
    }


def restore(operator: Operator, scratch: Path, check: bool) -> Restore:
    any_operator: Any = operator
    return Restore(any_operator, REQUEST, None, check, str(scratch), Progress(None), [])


def test_snapshots_alone_have_no_target(tmp_path: Path) -> None:
    """The operator was told of none, and so PostgreSQL writes of none where the new one archives: what was asked for."""
    there = {
        ("Cluster", "shop"): source(backup={"volumeSnapshot": {"className": "c"}}),
        ("VolumeSnapshot", "s"): snapshot(),
        ("Backup", "b"): backup(snapshotBackupStatus={"elements": [{"name": "s", "type": "PG_DATA"}]}),
    }
    spec = {"backup": {"barmanObjectStore": STORE}}
    made = plan(tmp_path, there, method="volume_snapshot", recovery_target={"immediate": True}, spec=spec)
    assert made.store is not None and "recoveryTarget" not in recovery(made)
    annotations = restore(Operator({}), tmp_path, False)._annotated(made)["metadata"]["annotations"]
    noted = json.loads(annotations[new_cluster.RECOVERY_PLAN])
    history = parse_history("1\t0/4000138\tno recovery target specified\n", 2)
    assert not compare(Target.from_option(noted["target"]), noted["timeline"], Reached.of(2, history)).missing


def test_a_first_backup_that_failed_is_made_again(tmp_path: Path) -> None:
    """Its object stays failed for ever, and each run would end there."""
    operator = Operator({"barmanObjectStore": STORE}, failed("new-first"))
    archive, result = StoreArchive(FileRepository(str(tmp_path)), "new"), RestoreResult()

    def create(manifest: Object) -> None:
        Operator.create(operator, manifest)
        put(tmp_path, "new", (4,))

    operator.create = create  # type: ignore[method-assign]
    run = restore(operator, tmp_path, False)
    run._first_backup(cluster_of(operator.cluster), archive, result)
    assert (
        result.changed and result.first_backup is not None and result.first_backup["name"].startswith("new-holdfast-")
    )
    again = RestoreResult()
    run._first_backup(cluster_of(operator.cluster), archive, again)
    assert not again.changed and again.proof.proven == ["It has backups of its own."]


@pytest.mark.parametrize(
    ("backup", "makes"), [({"barmanObjectStore": STORE}, True), ({"volumeSnapshot": {"className": "c"}}, False)]
)
def test_check_mode_says_what_a_run_does(backup: Object, makes: bool, tmp_path: Path) -> None:
    """Without a store none is made, though volume snapshots could be: so none is announced, in each check again."""
    done = restore(Operator(backup), tmp_path, True).run()
    assert done.changed is makes and bool(done.plan) is makes
