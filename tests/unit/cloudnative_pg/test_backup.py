# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run with an operator in memory and a store in a directory: what it calls completed, and what is made of that."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import (
    backup as module,
    backup_object,
    snapshot_record,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup import CnpgBackup, CnpgRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.backup_object import BackupOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import AlreadyThere
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

from .test_preflight import BACKUP, SNAPSHOT, cluster

Object = dict[str, Any]
NOW = datetime.datetime(2026, 11, 26, 16, 5, tzinfo=datetime.timezone.utc)
INFO = """begin_time=2026-11-26 16:00:00+00:00
begin_xlog=0/5000028
end_time=2026-11-26 16:00:02+00:00
end_xlog=0/6000138
backup_label='BACKUP FROM: primary\\n'
status=DONE
systemid=7
timeline=1
version=150014
"""
FIVE, SIX, SEVEN = (f"00000001000000000000000{number}" for number in (5, 6, 7))


class Operator:
    """The objects of a namespace; a Backup is completed once it is made, and `makes` puts into the store what it has made."""

    namespace = "shops"

    def __init__(self, makes: Callable[[], None] = lambda: None) -> None:
        self.makes = makes
        self.backups: dict[str, Object] = {}
        self.created: list[str] = []

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        if kind.endswith("/Cluster"):
            return {
                "metadata": {"name": "shop", "namespace": "shops", "uid": "u"},
                "spec": {"backup": {"barmanObjectStore": {"destinationPath": "s3://b/p"}}},
                "status": {
                    "currentPrimary": "shop-1", "systemID": "7", "phase": "Cluster in healthy state",
                    "conditions": [{"type": "ContinuousArchiving", "status": "True"}],
                },
            }  # fmt: skip
        return copy.deepcopy(self.backups.get(name))

    def list(self, kind: str, **_more: Any) -> list[Object]:
        return [copy.deepcopy(one) for one in self.backups.values()] if kind.endswith("/Backup") else []

    def create(self, manifest: Object, dry_run: bool) -> Object:
        name = manifest["metadata"]["name"]
        if dry_run:
            return manifest
        if name in self.backups:
            raise AlreadyThere(name)
        self.created.append(name)
        self.put(manifest)
        self.makes()
        return manifest

    def put(self, manifest: Object, ended: str = "2026-11-26T16:00:02Z") -> None:
        status = {"phase": "completed", "backupId": "20261126T160000", "stoppedAt": ended}
        self.backups[manifest["metadata"]["name"]] = {**copy.deepcopy(manifest), "kind": "Backup", "status": status}

    def patch(self, kind: str, name: str, body: Object) -> None:
        self.backups[name]["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])

    def events(self, *_which: str) -> list[Object]:
        return []


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "utcnow", lambda: NOW)


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(INFO if name.endswith("backup.info") else "x" * 100)


def made(root: Path, *segments: str) -> Callable[[], None]:
    base = "base/20261126T160000"
    wals = [f"wals/{name[:16]}/{name}.gz" for name in segments]
    return lambda: put(root, f"{base}/backup.info", f"{base}/data.tar.gz", *wals)


def run(
    operator: Operator, root: Path, check: bool = False, max_age: float | None = None
) -> tuple[CnpgBackup, list[str]]:
    warnings: list[str] = []
    root.mkdir(exist_ok=True)
    request = CnpgRequest("shop", max_age=max_age, deadline=5, wal_timeout=0.5)
    archive = StoreArchive(FileRepository(str(root)), "shop")
    backup = CnpgBackup(operator, request, None, lambda store: archive, Progress(None), warnings)  # type: ignore[arg-type]
    backup.run(check)
    return backup, warnings


def left(operator: Operator, ended: str) -> None:
    options = BackupOptions("barman_object_store", "primary")
    operator.put(backup_object.manifest("left", "shops", "shop", options), ended)


def test_one_that_is_in_the_store(tmp_path: Path) -> None:
    """Check mode says the same, and makes none; the second run finds it enough."""
    operator = Operator(made(tmp_path / "store", FIVE, SIX))
    tried = run(operator, tmp_path / "store", check=True)[0].result
    assert tried.changed and not operator.created
    done = run(operator, tmp_path / "store")[0].result
    assert done.plan == tried.plan and done.record is not None and done.record.id == "20261126T160000"
    assert backup_object.CLOSED in operator.backups[operator.created[0]]["metadata"]["annotations"]
    again = run(operator, tmp_path / "store", max_age=3600)[0].result
    assert not again.changed and again.record is not None and len(operator.created) == 1


@pytest.mark.parametrize(
    ("segments", "said"),
    [((FIVE,), f"{SIX}, which a restore of it needs, was not in"), ((SIX,), f"{FIVE}, which a restore")],
)
def test_completed_and_a_segment_is_not_there(tmp_path: Path, segments: tuple[str, ...], said: str) -> None:
    with pytest.raises(ServerError, match=said):
        run(Operator(made(tmp_path / "store", *segments)), tmp_path / "store")


def test_completed_and_not_in_the_store(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="has no such backup.*Do not rely on it"):
        run(Operator(), tmp_path / "store")


def test_what_a_run_has_left_is_gone_on_with(tmp_path: Path) -> None:
    """Its last segment has come meanwhile."""
    operator = Operator()
    left(operator, "2026-11-26T16:00:02Z")
    made(tmp_path / "store", FIVE, SIX)()
    done = run(operator, tmp_path / "store")[0].result
    assert done.name == "left" and not operator.created and "was not seen in the store" in done.plan[0]


@pytest.mark.parametrize("segments", [(FIVE, SEVEN), ()])
def test_what_is_lost_is_not_waited_for_in_each_run(tmp_path: Path, segments: tuple[str, ...]) -> None:
    """A segment that was passed over, or a backup that somebody deleted: another one is made, and it is said. One whose segment may still come is
    gone on with."""
    store = tmp_path / "store"
    operator = Operator(made(store, FIVE, SIX))
    left(operator, "2026-11-26T16:00:02Z")
    if segments:
        made(store, *segments)()
    backup, warnings = run(operator, store)
    assert backup.result.name == operator.created[0] and "Another one is made" in " ".join(warnings)
    waiting = Operator()
    left(waiting, "2026-11-26T16:00:02Z")
    (store / "shop/wals" / SIX[:16] / f"{SIX}.gz").unlink()
    (store / "shop/wals" / SEVEN[:16] / f"{SEVEN}.gz").unlink(missing_ok=True)
    assert run(waiting, store, check=True)[0].result.name == "left"


def test_one_of_yesterday_is_not_what_is_asked_for_today(tmp_path: Path) -> None:
    operator = Operator(made(tmp_path / "store", FIVE, SIX))
    left(operator, "2026-11-25T16:00:02Z")
    assert run(operator, tmp_path / "store")[0].result.name != "left"


def test_a_snapshot_that_does_not_say_which_wal_it_needs(tmp_path: Path) -> None:
    """A run that makes one ends with an error then: one that is there is not enough either."""
    operator: Any = Operator()
    warnings: list[str] = []
    request = CnpgRequest("shop", method="volume_snapshot", max_age=3600.0)
    archive = StoreArchive(FileRepository(str(tmp_path)), "shop")
    backup: Any = CnpgBackup(operator, request, None, lambda store: archive, Progress(None), warnings)
    backup._options, backup._needs_wal, backup._archive = BackupOptions("volume_snapshot"), True, archive
    status = {name: value for name, value in BACKUP["status"].items() if name != "endLSN"}
    found = snapshot_record.record_of({**BACKUP, "status": status}, cluster(), {"s": SNAPSHOT, "w": SNAPSHOT})
    backup._newest_snapshot = lambda _backups: found
    assert backup._enough([]) is None and "does not say which WAL" in warnings[0]


def test_two_runs_within_a_second(tmp_path: Path) -> None:
    """Both are of the one Backup of that name, if they ask for the same."""
    store = tmp_path / "store"
    operator = Operator()
    name = backup_object.name_of("shop", NOW)
    real = operator.list

    def blind(kind: str, **more: Any) -> list[Object]:
        return [] if kind.endswith("/Backup") else real(kind, **more)

    operator.list = blind  # type: ignore[method-assign]
    operator.put(backup_object.manifest(name, "shops", "shop", BackupOptions("barman_object_store", "primary")))
    made(store, FIVE, SIX)()
    assert run(operator, store)[0].result.record is not None and not operator.created
    operator.put(backup_object.manifest(name, "shops", "shop", BackupOptions("volume_snapshot")))
    with pytest.raises(AlreadyThere):
        run(operator, store)
