# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a Cluster of CloudNativePG, out of objects in memory and a store in a directory (tests/kubernetes has the real ones)."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import reading
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.status import cnpg
from ansible_collections.holdfast.postgres.plugins.modules import backup_facts

Object = dict[str, Any]
NOW = datetime.datetime(2026, 11, 26, 20, 0, tzinfo=datetime.timezone.utc)
LABEL = "20261126T160000"
INFO = f"""backup_label='BACKUP FROM: primary\\n'
backup_name=backup-{LABEL}
begin_time=2026-11-26 16:00:00+00:00
begin_xlog=0/5000028
end_time=2026-11-26 16:00:02+00:00
end_xlog=0/5000138
status=DONE
systemid=7
timeline=1
version=150014
"""
PARAMS: Object = {"server_name": "shop", "repository": None, "details": False, "limit": None}


class Objects:
    """What there is, by kind and name."""

    namespace = "shops"

    def __init__(self, *objects: Object) -> None:
        self._objects = objects

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        return next((one for one in self.list(kind) if one["metadata"]["name"] == name), None)

    def list(self, kind: str, **_more: Any) -> list[Object]:
        return [one for one in self._objects if one["kind"] == kind.rpartition("/")[2]]


def cluster(archiving: str = "True", **status: Any) -> Object:
    conditions = [{"type": "Ready", "status": "True"}]
    conditions.append(
        {
            "type": "ContinuousArchiving",
            "status": archiving,
            "message": "no bucket",
            "lastTransitionTime": "2026-11-26T12:00:00Z",
        }
    )
    return {
        "kind": "Cluster",
        "metadata": {"name": "shop", "namespace": "shops", "uid": "u"},
        "spec": {"backup": {"barmanObjectStore": {"destinationPath": "s3://b/p"}}},
        "status": {"phase": "Cluster in healthy state", "currentPrimary": "shop-1", "systemID": "7", "conditions": conditions, **status},
    }  # fmt: skip


def pod() -> Object:
    return {"kind": "Pod", "metadata": {"name": "shop-1", "annotations": {"cnpg.io/operatorVersion": "1.30.0"}}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "store"
    for name, content in (
        (f"base/{LABEL}/backup.info", INFO),
        (f"base/{LABEL}/data.tar.gz", "x" * 100),
        ("wals/0000000100000000/000000010000000000000005.gz", "x"),
        ("wals/0000000100000000/000000010000000000000006.gz", "x"),
    ):
        path = root / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(reading, "open_store", lambda *_arguments: FileRepository(str(root)))
    return root


def facts(tmp_path: Path, *objects: Object, every: int | None = None) -> Object:
    return cnpg.facts(Objects(*objects), PARAMS, every, NOW, str(tmp_path))  # type: ignore[arg-type]


def test_the_module_takes_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a repository, as the Cluster names its own; any other engine wants one."""
    taken: list[Object] = []

    class Module:
        params: ClassVar[Object] = {"engine": "cnpg", "archiving": False}

        def __init__(self, **options: Any) -> None:
            taken.append(options)

    monkeypatch.setattr(backup_facts, "AnsibleModule", Module)
    monkeypatch.setattr(
        backup_facts, "execute", lambda module, work, psycopg2, kubernetes: taken.append({"kubernetes": kubernetes})
    )
    backup_facts.main()
    assert "cnpg" in taken[0]["argument_spec"]["engine"]["choices"] and "required_one_of" not in taken[0]
    assert taken[1] == {"kubernetes": True}


@pytest.mark.parametrize("name", ["repositories", "archiving", "engine_config", "wal_directory"])
def test_what_would_have_no_effect_is_refused(name: str) -> None:
    class Module:
        params: ClassVar[Object] = {
            "engine": "cnpg",
            "expected_every": None,
            **dict.fromkeys(("repositories", "archiving", "engine_config", "wal_directory")),
        }

    module: Any = Module()
    module.params = {**Module.params, name: [{"path": "/b"}]}
    with pytest.raises(BadOption, match=f"{name}.*has no effect with engine: cnpg"):
        backup_facts.work(module, [])


def test_the_store_and_the_operator_agree(store: Path, tmp_path: Path) -> None:
    said = {"firstRecoverabilityPoint": "2026-11-26T16:00:02Z", "lastSuccessfulBackup": "2026-11-26T16:00:02Z"}
    found = facts(tmp_path, cluster(**said), pod(), every=86400)
    assert (found["count"], found["newest"], found["last_success"], found["overdue"]) == (
        1,
        LABEL,
        "2026-11-26T16:00:02Z",
        False,
    )
    assert found["wal"]["windows"][0]["stretches"][0]["start"] == "2026-11-26T16:00:02Z"
    assert (
        found["cnpg"]["operator_version"] == "1.30.0"
        and found["cnpg"]["archiving"]
        and found["cnpg"]["store"] == "s3://b/p/shop"
    )
    (problem,) = found["problems"]
    assert "gone in CloudNativePG 1.31" in problem


def test_a_segment_that_is_not_there(store: Path, tmp_path: Path) -> None:
    """The operator's word stands against it; nothing counts as a success."""
    (store / "shop/wals/0000000100000000/000000010000000000000005.gz").unlink()
    found = facts(tmp_path, cluster(lastSuccessfulBackup="2026-11-26T16:00:02Z"), pod(), every=86400)
    assert found["last_success"] is None and found["overdue"] is True
    told = " ".join(found["problems"])
    assert (
        "without which it cannot be restored" in told and "the newest in the store that can be restored is none" in told
    )


def test_what_the_cluster_says_of_itself(store: Path, tmp_path: Path) -> None:
    """Archiving that fails, a phase that is none of health, a status without a word of the backup that is there."""
    found = facts(tmp_path, cluster("False", phase="Failing over"), pod())
    told = " ".join(found["problems"])
    for said in ("ContinuousArchiving is False", "no bucket", "is not healthy (Failing over)", "says of none"):
        assert said in told, told


def test_schedules_and_backups(store: Path, tmp_path: Path) -> None:
    """Those of this Cluster; five fields are told; a Backup of snapshots that are gone is no backup, one whose are there is."""
    of_shop = {"cluster": {"name": "shop"}}
    nightly = {
        "kind": "ScheduledBackup",
        "metadata": {"name": "nightly"},
        "spec": {**of_shop, "schedule": "30 2 * * *"},
    }
    others = {
        "kind": "ScheduledBackup",
        "metadata": {"name": "others"},
        "spec": {"cluster": {"name": "another"}, "schedule": "x"},
    }
    backups = [
        {
            "kind": "Backup", "metadata": {"name": name, "creationTimestamp": "2026-11-26T17:00:00Z"}, "spec": {**of_shop, "method": "volumeSnapshot"},
            "status": {
                "phase": "completed", "method": "volumeSnapshot", "online": False,
                "snapshotBackupStatus": {"elements": [{"name": f"{name}-data", "type": "PG_DATA"}]},
            },
        }
        for name in ("there", "gone")
    ]  # fmt: skip
    snapshot = {"kind": "VolumeSnapshot", "metadata": {"name": "there-data"}, "status": {"readyToUse": True}}
    found = facts(tmp_path, cluster(), pod(), nightly, others, *backups, snapshot)
    assert [one["id"] for one in found["backups"]] == [LABEL, "there"] and found[
        "last_success"
    ] == "2026-11-26T17:00:00Z"
    assert [one["name"] for one in found["schedules"]] == ["nightly"] and len(found["cnpg"]["backups"]) == 2
    told = " ".join(found["problems"])
    assert "takes the first for seconds" in told and "gone-data (PG_DATA) is not there" in told


def test_what_another_server_has_left(store: Path, tmp_path: Path) -> None:
    """A Cluster that was made anew: under its name lie the backups of the former one, in its store and as snapshots. They are shown, and none is its."""
    made = cluster(systemID="8")
    made["metadata"]["creationTimestamp"] = "2026-11-26T18:00:00Z"
    status = {
        "phase": "completed",
        "method": "volumeSnapshot",
        "snapshotBackupStatus": {"elements": [{"name": "s", "type": "PG_DATA"}]},
    }
    former = {
        "kind": "Backup",
        "metadata": {"name": "former", "creationTimestamp": "2026-11-26T17:00:00Z"},
        "spec": {"cluster": {"name": "shop"}},
        "status": status,
    }
    snapshot = {"kind": "VolumeSnapshot", "metadata": {"name": "s"}, "status": {"readyToUse": True}}
    found = facts(tmp_path, made, pod(), former, snapshot, every=86400)
    assert found["last_success"] is None and found["overdue"] is True and found["newest"] == LABEL
    told = " ".join(found["problems"])
    assert "is of another server (system identifier 7)" in told and "The Backup former by volume snapshots" in told


def test_a_store_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told, with all that the cluster says; there is no backup that anybody knows of."""

    def refuse(*_arguments: Any) -> Any:
        raise RepositoryError("s3://b: the key is wrong.")

    monkeypatch.setattr(reading, "open_store", refuse)
    found = facts(tmp_path, cluster(), pod())
    assert found["count"] == 0 and "the key is wrong" in " ".join(found["problems"])


def test_a_plugin_whose_store_says_its_window(store: Path, tmp_path: Path) -> None:
    """The Cluster's own status is empty then, and not looked at."""
    made = cluster()
    parameters = {"barmanObjectName": "s"}
    made["spec"] = {
        "plugins": [{"name": "barman-cloud.cloudnative-pg.io", "isWALArchiver": True, "parameters": parameters}]
    }
    window = {
        "shop": {"firstRecoverabilityPoint": "2026-11-26T15:00:00Z", "lastSuccessfulBackupTime": "2026-11-26T16:00:02Z"}
    }
    object_store = {
        "kind": "ObjectStore", "metadata": {"name": "s"}, "spec": {"configuration": {"destinationPath": "s3://b/p"}},
        "status": {"serverRecoveryWindow": window},
    }  # fmt: skip
    found = facts(tmp_path, made, pod(), object_store)
    assert found["cnpg"]["said"]["by"] == "the ObjectStore s"
    (problem,) = found["problems"]
    assert "brought back to 2026-11-26T15:00:00Z, and by the store nothing before 2026-11-26T16:00:02Z" in problem
    gone = facts(tmp_path, made, pod())
    assert "The ObjectStore s, into which" in " ".join(gone["problems"])
