# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery that is followed, with an API server that answers from a script: what cannot mend itself ends it at once, with the reason from the pod's
log; what may pass is given a second attempt; what the log of a pod that succeeded says is kept, as the operator removes that pod."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import HEALTHY
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.restore_follow import RestoreFollower
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError


def cluster(phase: str, reason: str = "", ready: int = 0) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": phase, "phaseReason": reason, "readyInstances": ready, "conditions": conditions}
    return {"metadata": {"name": "new", "namespace": "n"}, "spec": {"instances": 1}, "status": status}


def pod(phase: str, uid: str = "1") -> dict[str, Any]:
    labels = {"cnpg.io/jobRole": "full-recovery"}
    return {"kind": "Pod", "metadata": {"name": f"new-{uid}", "uid": uid, "labels": labels}, "status": {"phase": phase}}


class Api:
    """``script``: of each look the Cluster, and its pods; the last one stays. ``logs``: by a pod's name."""

    namespace = "n"

    def __init__(self, script: list[tuple[Any, list[dict[str, Any]]]], logs: dict[str, list[str]]) -> None:
        self.script, self.log = script, logs
        self.read: list[str] = []
        self.now: tuple[Any, list[dict[str, Any]]] = (None, [])

    def get(self, kind: str, name: str, namespace: Any = None) -> Any:
        self.now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return self.now[0]

    def list(self, kind: str, selector: str = "", fields: str = "", namespace: Any = None) -> list[dict[str, Any]]:
        return self.now[1] if kind == "Pod" else []

    def events(self, kind: str, name: str, namespace: Any = None) -> list[dict[str, Any]]:
        return []

    def logs(self, name: str, **more: Any) -> list[str]:
        self.read.append(name)
        return self.log.get(name, [])


def follower(script: list[tuple[Any, list[dict[str, Any]]]], logs: dict[str, list[str]] | None = None) -> Any:
    api: Any = Api(script, logs or {})
    return RestoreFollower(api, "new", lambda message: None)


def fatal(message: str) -> list[str]:
    return [json.dumps({"msg": "record", "record": {"error_severity": "FATAL", "message": message}})]


def test_until_it_serves() -> None:
    stopped = [
        json.dumps({"record": {"error_severity": "LOG", "message": "recovery stopping after reaching consistency"}})
    ]
    followed = follower(
        [
            (cluster("Setting up primary"), [pod("Running")]),
            (cluster("Setting up primary"), [pod("Succeeded")]),
            (cluster("Setting up primary"), [pod("Succeeded")]),
            # Healthy before its condition says so.
            (cluster(HEALTHY), []),
            (cluster(HEALTHY, ready=1), []),
        ],
        {"new-1": stopped},
    )
    assert followed.until_it_serves(30).healthy
    assert followed.ended.stopped == "after reaching consistency" and followed.cluster.read == ["new-1"]


def test_what_cannot_mend_itself_ends_it_at_once() -> None:
    followed = follower(
        [(cluster("Setting up primary"), [pod("Failed")])],
        {"new-1": fatal("recovery ended before configured recovery target was reached")},
    )
    with pytest.raises(KubernetesError, match=r"latest: true.*source was not touched.*kubectl delete cluster new"):
        followed.until_it_serves(30)


def test_what_may_pass_is_given_a_second_attempt() -> None:
    away = [json.dumps({"level": "error", "msg": "x", "error": "Could not connect to the endpoint URL"})]
    first = (cluster("Setting up primary"), [pod("Failed", "1")])
    again = (cluster("Setting up primary"), [pod("Failed", "1"), pod("Running", "2")])
    well = follower([first, again, (cluster(HEALTHY, ready=1), [])], {"new-1": away})
    assert well.until_it_serves(30).healthy
    still = (cluster("Setting up primary"), [pod("Failed", "1"), pod("Failed", "2")])
    with pytest.raises(KubernetesError, match="not reached from the pod"):
        follower([first, again, still], {"new-1": away, "new-2": away}).until_it_serves(30)


def test_what_the_operator_gives_up() -> None:
    reason = "Instance creation failed for the following jobs: new-1-full-recovery"
    stuck = cluster("Cluster is unrecoverable and needs manual intervention", reason)
    with pytest.raises(KubernetesError, match=f"unrecoverable.*{reason}"):
        follower([(stuck, [])]).until_it_serves(30)


def test_deleted_and_late() -> None:
    with pytest.raises(KubernetesError, match="deleted while it was followed"):
        follower([(None, [])]).until_it_serves(30)
    with pytest.raises(KubernetesError, match=r"calls it Setting up primary.*run this again"):
        follower([(cluster("Setting up primary"), [])]).until_it_serves(0.01)
