# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others refer to is made first, and nothing starts before the data is back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.order import (
    held,
    in_order,
    is_held,
    waits,
    with_count_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.strip import strip

Object = dict[str, Any]


def of(kind: str, name: str = "pg", **spec: Any) -> Object:
    return {"apiVersion": "x", "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_the_order() -> None:
    kinds = [
        "ScaledObject", "HorizontalPodAutoscaler", "CronJob", "Deployment", "StatefulSet", "Cluster", "PodDisruptionBudget", "NetworkPolicy",
        "Service", "PersistentVolumeClaim", "ConfigMap", "Secret", "RoleBinding", "Role", "ServiceAccount",
    ]  # fmt: skip
    assert [one["kind"] for one in in_order(of(kind) for kind in kinds)] == kinds[::-1]
    assert [one["metadata"]["name"] for one in in_order([of("Secret", "b"), of("Secret", "a")])] == ["a", "b"]


@pytest.mark.parametrize(
    ("manifest", "spec", "note"),
    [
        (of("StatefulSet", replicas=3), {"replicas": 0}, {"holdfast.postgres/replicas": "3"}),
        (of("StatefulSet"), {"replicas": 0}, {"holdfast.postgres/replicas": "1"}),
        (of("Deployment", replicas=0), {"replicas": 0}, None),
        (of("CronJob", suspend=False), {"suspend": True}, {"holdfast.postgres/suspend": "false"}),
        (of("CronJob", suspend=True), {"suspend": True}, None),
        (of("Service", ports=[]), {"ports": []}, None),
    ],
)
def test_what_runs_pods_is_made_standing_still(manifest: Object, spec: Object, note: Object | None) -> None:
    found = held(manifest)
    assert found["spec"] == spec and found["metadata"].get("annotations") == note
    assert is_held(found) == (note is not None)
    # Captured in that state, it is what it was.
    if note is not None:
        assert strip(found)["spec"].get("replicas", 1) == manifest["spec"].get("replicas", 1)
        assert not is_held(manifest)


@pytest.mark.parametrize(
    ("kind", "late"),
    [
        ("HorizontalPodAutoscaler", True),
        ("ScaledObject", True),
        ("Cluster", True),
        ("postgresql", True),
        ("StatefulSet", False),
        ("CronJob", False),
        ("Secret", False),
    ],
)
def test_what_would_start_a_server_by_itself_waits(kind: str, late: bool) -> None:
    """An operator that finds its object makes an empty server of it."""
    assert (waits(of(kind)) is not None) == late


def test_what_is_there_keeps_its_count() -> None:
    assert with_count_of(of("StatefulSet", replicas=3, x=1), of("StatefulSet", replicas=5))["spec"] == {
        "replicas": 5,
        "x": 1,
    }
    assert with_count_of(of("CronJob", suspend=False), of("CronJob", suspend=True))["spec"] == {"suspend": True}
    assert with_count_of(of("Service", x=1), of("Service", x=2))["spec"] == {"x": 1}
