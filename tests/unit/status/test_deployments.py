# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver in the cluster that ends again and again is told of, with what it said: nobody looks at its log, and the server's disk fills."""

from __future__ import annotations

import json
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.status.deployments import of_deployment

LABELS = {"holdfast.postgres/deployment": "receive"}


def deployment(replicas: int = 1, available: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"name": "receive", "namespace": "shop", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS}},
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": available,
        },
    }


def pod(labels: dict[str, str], line: str) -> dict[str, Any]:
    ended = {"exitCode": 2, "reason": "Error", "message": json.dumps({"holdfast": 1, "line": line})}
    status = {
        "name": "archive",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    return {
        "metadata": {"name": "receive-1", "namespace": "shop", "labels": labels},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


@pytest.mark.parametrize(
    ("one", "pods", "failed", "idle"),
    [
        (deployment(), [], None, None),
        (deployment(replicas=0, available=0), [], None, "suspended"),
        (
            deployment(available=0),
            [pod(LABELS, "take a new base backup at once")],
            "take a new base backup at once",
            None,
        ),
        (deployment(available=0), [pod({}, "another one's")], "0 of 1 pods are available", None),
    ],
)
def test_a_receiver(
    one: dict[str, Any], pods: list[dict[str, Any]], failed: Optional[str], idle: Optional[str]
) -> None:
    told = of_deployment(one, pods)
    assert told.in_cluster and told.every is None and told.next_run is None
    assert (failed in told.failed) if failed and told.failed else told.failed is failed is None
    assert (idle in told.idle) if idle and told.idle else told.idle is idle is None
