# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an object is, as a table: what is old news is no news, and nothing is done because a field is not there yet."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import (
    DONE,
    FAILED,
    WAITING,
    ended,
    is_cut,
    progress_of,
    started,
    succeeded,
)


def thing(kind: str, status: Any = None, spec: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "x", **metadata}, "spec": spec or {}, "status": status or {}}


def having(*conditions: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, **more} for kind, status in conditions]}


TABLE = [
    (thing("Job"), WAITING, "0 of its pods"),
    (thing("Job", having(("Complete", "True"))), DONE, ""),
    (thing("Job", having(("SuccessCriteriaMet", "True"))), WAITING, ""),
    (
        thing("Job", having(("Failed", "True"), reason="DeadlineExceeded", message="too\nlong")),
        FAILED,
        "DeadlineExceeded: too long",
    ),
    (thing("Job", having(("FailureTarget", "True"), reason="BackoffLimitExceeded")), WAITING, "it has failed"),
    (thing("Job", having(("Failed", "False"))), WAITING, ""),
    (thing("Job", {}, {"suspend": True}), WAITING, "suspended"),
    (thing("Pod"), WAITING, "not yet seen"),
    (thing("Pod", {"phase": "Running", **having(("Ready", "False"))}), WAITING, "not ready"),
    (thing("Pod", {"phase": "Running", **having(("Ready", "True"))}), DONE, ""),
    (thing("Pod", {"phase": "Succeeded"}), DONE, ""),
    (thing("Pod", {"phase": "Failed", "reason": "Evicted", "message": "disk"}), FAILED, "Evicted: disk"),
    (thing("Pod", {"phase": "Running", **having(("Ready", "True"))}, deletionTimestamp="now"), FAILED, "being deleted"),
    # readiness of the generation before says nothing
    (
        thing(
            "StatefulSet",
            {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1},
            {"replicas": 1},
            generation=2,
        ),
        WAITING,
        "not seen",
    ),
    (
        thing(
            "StatefulSet",
            {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1},
            {"replicas": 1},
            generation=2,
        ),
        DONE,
        "",
    ),
    (
        thing("StatefulSet", {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 0}, {"replicas": 1}),
        WAITING,
        "0 of 1 pods are of the last revision",
    ),
    (
        thing(
            "StatefulSet", {"replicas": 1, "readyReplicas": 1}, {"replicas": 1, "updateStrategy": {"type": "OnDelete"}}
        ),
        DONE,
        "",
    ),
    (
        thing(
            "StatefulSet",
            {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1},
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
        ),
        DONE,
        "",
    ),
    (thing("StatefulSet", {"replicas": 1}, {"replicas": 0}), WAITING, "1 are there"),
    (thing("StatefulSet", {"replicas": 0}, {"replicas": 0}), DONE, ""),
    (
        thing("Deployment", {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, {"replicas": 1}),
        WAITING,
        "former revision",
    ),
    (thing("Deployment", {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, {"replicas": 1}), DONE, ""),
    (
        thing("Deployment", having(("Progressing", "False"), reason="ProgressDeadlineExceeded"), {"replicas": 1}),
        FAILED,
        "ProgressDeadlineExceeded",
    ),
    (thing("PersistentVolumeClaim", {"phase": "Pending"}), WAITING, "Pending"),
    (thing("PersistentVolumeClaim", {"phase": "Bound"}), DONE, ""),
    (thing("PersistentVolumeClaim", {"phase": "Lost"}), FAILED, "gone"),
    (thing("VolumeSnapshot"), WAITING, "no snapshot controller"),
    (
        thing("VolumeSnapshot", {"readyToUse": False, "error": {"message": "busy"}}),
        WAITING,
        "the driver's last error: busy",
    ),
    (thing("VolumeSnapshot", {"boundVolumeSnapshotContentName": "c", "creationTime": "t"}), WAITING, "the cut is made"),
    (thing("VolumeSnapshot", {"readyToUse": True, "error": {"message": "left over"}}), DONE, ""),
    (thing("Backup", {"phase": "running"}), WAITING, "running"),
    (thing("Backup", {"phase": "completed"}), DONE, ""),
    (thing("Backup", {"phase": "failed", "error": "no archive"}), FAILED, "no archive"),
    (thing("Cluster", {}), DONE, ""),
    (thing("Cluster", having(("Ready", "False"), message="two of three")), WAITING, "two of three"),
    (thing("Cluster", having(("Ready", "True"), observedGeneration=1), generation=2), WAITING, "older generation"),
    (thing("Namespace", {"phase": "Terminating"}), FAILED, "deleted"),
]


@pytest.mark.parametrize(
    ("one", "state", "message"), TABLE, ids=lambda value: value["kind"] if isinstance(value, dict) else None
)
def test_how_far_an_object_is(one: dict[str, Any], state: str, message: str) -> None:
    found = progress_of(one)
    assert found.state == state and message in found.message, found


def test_other_predicates() -> None:
    running = thing("Pod", {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]})
    assert progress_of(running, started).state == WAITING  # a state that says nothing yet
    running["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = "t"
    assert progress_of(running, started).done and not progress_of(running, ended).done
    assert progress_of(thing("Pod", {"phase": "Failed"}), ended).done
    assert progress_of(thing("Pod", {"phase": "Failed"}), succeeded).failed and not progress_of(running, succeeded).done


def test_a_cut_is_made_before_a_snapshot_is_ready() -> None:
    assert is_cut(
        thing("VolumeSnapshot", {"boundVolumeSnapshotContentName": "c", "creationTime": "t", "readyToUse": False})
    )
    assert not is_cut(thing("VolumeSnapshot", {"boundVolumeSnapshotContentName": "c"}))
    assert not is_cut(
        thing("VolumeSnapshot", {"boundVolumeSnapshotContentName": "c", "creationTime": "t", "error": {"message": "x"}})
    )
