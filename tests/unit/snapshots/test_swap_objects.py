# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volume each claim is to have, on the way there and back; what a claim on another volume is like; where no node can have both volumes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap_objects import (
    JOURNAL,
    SWAPPING,
    Journal,
    Swapped,
    claim_on,
    elsewhere,
    journal_of,
    kept,
    waiting_for,
)

Object = dict[str, Any]
OLD: Object = {
    "metadata": {
        "name": "data-pg-0",
        "labels": {"app": "pg"},
        "annotations": {"pv.kubernetes.io/bind-completed": "yes", "team": "shop"},
    },
    "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "slow", "volumeMode": "Filesystem",
        "volumeName": "pv-old", "dataSource": {"kind": "VolumeSnapshot", "name": "x"},
    },
}  # fmt: skip
NEW: Object = {
    "metadata": {"name": "data-again", "labels": {}, "annotations": {"holdfast.postgres/restored-from": "b1/s"}},
    "spec": {**OLD["spec"], "resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "fast", "volumeName": "pv-new"},
}  # fmt: skip
ONE = Journal(
    SWAPPING,
    "b1",
    "2026-11-26T12:00:00+00:00",
    {"data-pg-0": Swapped("data-again", "pv-old", "Delete", kept(OLD), "pv-new", "Delete", kept(NEW, ours=True))},
)


def test_there_and_back() -> None:
    assert ONE.there == {"data-pg-0": "pv-new", "data-again": None}
    assert ONE.back == {"data-pg-0": "pv-old", "data-again": "pv-new"}
    assert ONE.volumes == {"pv-old", "pv-new"}


def test_a_claim_on_another_volume_has_its_own_labels_and_the_volumes_size_and_class() -> None:
    there = claim_on("data-pg-0", "shop", ONE, "pv-new")
    assert there["metadata"]["labels"] == {"app": "pg"} and there["metadata"]["annotations"] == {"team": "shop"}
    assert there["spec"]["storageClassName"] == "fast" and there["spec"]["volumeName"] == "pv-new"
    assert there["spec"]["resources"]["requests"]["storage"] == "2Gi" and "dataSource" not in there["spec"]
    back = claim_on("data-pg-0", "shop", ONE, "pv-old")
    assert back["spec"]["storageClassName"] == "slow" and back["spec"]["resources"]["requests"]["storage"] == "1Gi"
    again = claim_on("data-again", "shop", ONE, "pv-new")
    assert again["metadata"]["annotations"] == {"holdfast.postgres/restored-from": "b1/s"}, (
        "it is still known whose it is"
    )


def test_what_a_server_has_run_on_is_no_snapshot_any_more() -> None:
    """Kind: a restore that is rolled back, and done again: with what was written meanwhile."""
    again = claim_on("data-again", "shop", replace(ONE, served=True), "pv-new")
    assert again["metadata"]["annotations"]["holdfast.postgres/served"] == ONE.at
    assert (
        "holdfast.postgres/served"
        not in claim_on("data-pg-0", "shop", replace(ONE, served=True), "pv-new")["metadata"]["annotations"]
    )


def test_a_volume_waits_for_a_name_and_for_no_uid() -> None:
    reference = waiting_for("data-pg-0", "shop")["spec"]["claimRef"]
    assert reference["name"] == "data-pg-0" and reference["uid"] is None and reference["resourceVersion"] is None


def test_what_is_written_down_is_read_again_and_what_somebody_changed_is_an_error() -> None:
    assert journal_of({"metadata": {"name": "pg", "annotations": {JOURNAL: ONE.text()}}}) == ONE
    assert journal_of({"metadata": {"name": "pg"}}) is None
    for text in ("", "{}", "[]", '{"claims": {"a": {}}, "state": "x", "backup_id": "b", "at": "t"}'):
        with pytest.raises(KubernetesError, match="somebody changed it"):
            journal_of({"metadata": {"name": "pg", "annotations": {JOURNAL: text}}})


def volume(name: str, *zones: str, key: str = "topology.kubernetes.io/zone") -> Object:
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": list(zones)}]}] if zones else []
    return {
        "metadata": {"name": name},
        "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}} if terms else {},
    }


@pytest.mark.parametrize(
    ("new", "others", "template", "said"),
    [
        (volume("n", "a"), [], {}, None),
        (volume("n", "a"), [volume("o", "a", "b")], {}, None),
        (volume("n", "a"), [volume("o")], {}, None),
        (volume("n", "a"), [volume("o", "x", key="other")], {}, None),
        (volume("n", "a"), [volume("o", "b")], {}, "n is in topology.kubernetes.io/zone a, and o"),
        (volume("n", "a"), [], {"nodeSelector": {"topology.kubernetes.io/zone": "b"}}, "pods want b"),
        (volume("n", "a"), [], {"nodeSelector": {"topology.kubernetes.io/zone": "a"}}, None),
        (
            volume("n", "a"),
            [],
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": volume("x", "b")["spec"]["nodeAffinity"][
                            "required"
                        ]
                    }
                }
            },
            "pods want b",
        ),
    ],
)
def test_another_zone(new: Object, others: list[Object], template: Object, said: Optional[str]) -> None:
    """Kind: a claim that is bound, and a pod that no node can run."""
    found = elsewhere(new, others, template)
    assert found is None if said is None else said in (found or "")
