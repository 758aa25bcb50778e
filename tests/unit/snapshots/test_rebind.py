# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims on other volumes, in a cluster of dictionaries: from every state that a killed run can leave, and with what somebody else did meanwhile."""

from __future__ import annotations

import itertools
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.rebind import (
    Rebinding,
    refuse_forgotten,
    refuse_let_go,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap_objects import (
    KEPT_FOR,
    SWAPPING,
    Journal,
    Swapped,
)

Object = dict[str, Any]
LIKE: Object = {"labels": {}, "annotations": {}, "spec": {}}
JOURNAL = Journal(SWAPPING, "b", "t", {"own": Swapped("restored", "old", "Delete", LIKE, "new", "Delete", LIKE)})


class Fake:
    """What Kubernetes does with claims and volumes: a volume whose policy is Delete goes with its claim."""

    namespace = "shop"

    def __init__(self, claims: dict[str, str], policy: str = "Retain") -> None:
        self.uids = itertools.count(1)
        self.claims = {name: self.claim(name, volume) for name, volume in claims.items()}
        self.volumes: dict[str, Object] = {
            name: {"metadata": {"name": name}, "spec": {"persistentVolumeReclaimPolicy": policy}}
            for name in ("old", "new")
        }

    def claim(self, name: str, volume: str) -> Object:
        return {
            "kind": "PersistentVolumeClaim", "metadata": {"name": name, "uid": str(next(self.uids))}, "spec": {"volumeName": volume},
            "status": {"phase": "Bound"},
        }  # fmt: skip

    def get(self, kind: str, name: str, namespace: Optional[str] = None) -> Optional[Object]:
        return {"PersistentVolumeClaim": self.claims, "PersistentVolume": self.volumes}[kind].get(name)

    def list(self, kind: str, *_more: str) -> list[Object]:
        return []

    def delete(self, kind: str, name: str, uid: str = "", **_more: Any) -> bool:
        gone = self.claims.pop(name)
        assert gone["metadata"]["uid"] == uid
        if self.volumes[gone["spec"]["volumeName"]]["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            del self.volumes[gone["spec"]["volumeName"]]
        return True

    def patch(self, kind: str, name: str, body: Object, *_more: str) -> Object:
        self.volumes[name]["spec"].update(body["spec"])
        return self.volumes[name]

    def create(self, body: Object) -> None:
        name, volume = body["metadata"]["name"], body["spec"]["volumeName"]
        reference = self.volumes[volume]["spec"].get("claimRef") or {}
        assert reference.get("name") == name and not reference.get("uid"), "it would stay Pending"
        self.claims[name] = self.claim(name, volume)

    def events(self, *_more: str) -> list[Object]:
        return []


def arranged(fake: Fake, wanted: dict[str, Optional[str]]) -> dict[str, str]:
    work = Rebinding(fake, JOURNAL, 1.0, lambda message: None)  # type: ignore[arg-type]
    work.free(wanted)
    for name, volume in wanted.items():
        if volume is not None:
            work.bind(name, volume)
    return {name: claim["spec"]["volumeName"] for name, claim in fake.claims.items()}


#: which claims a run that was killed may leave, on the way there or back
STATES = [
    {"own": "old", "restored": "new"}, {"own": "old"}, {}, {"own": "new"}, {"restored": "new"}, {"own": "new", "restored": "new"},
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=str)
def test_from_every_state_there_and_back(state: dict[str, str]) -> None:
    assert arranged(Fake(state), JOURNAL.there) == {"own": "new"}
    fake = Fake(state)
    assert arranged(fake, JOURNAL.back) == {"own": "old", "restored": "new"}
    assert set(fake.volumes) == {"old", "new"}


def test_no_claim_takes_its_volume_along() -> None:
    """Somebody has set the policy back to Delete: the claim stays."""
    fake = Fake({"own": "old", "restored": "new"}, policy="Delete")
    with pytest.raises(KubernetesError, match="reclaim policy"):
        arranged(fake, JOURNAL.there)
    assert set(fake.volumes) == {"old", "new"} and set(fake.claims) == {"own", "restored"}


def test_an_empty_claim_that_the_statefulsets_controller_made_is_nobodys_to_delete() -> None:
    """Kind: scaled up by somebody in the middle (an operator, GitOps), while no claim had the name."""
    fake = Fake({"own": "empty"})
    for wanted in (JOURNAL.there, JOURNAL.back):
        with pytest.raises(KubernetesError, match="somebody scaled the StatefulSet up meanwhile"):
            arranged(fake, wanted)
    assert fake.claims["own"]["spec"]["volumeName"] == "empty"


@pytest.mark.parametrize("volume", ["old", "new"])
def test_a_stateful_set_that_lost_its_journal_is_told_from_one_that_had_none(volume: str) -> None:
    """Applied anew (helm upgrade --force), nothing on it said what was in whose place, and rolled_back said that there was nothing to do."""
    fake = Fake({"data-pg-0": volume})
    found = {
        "metadata": {"name": "pg"},
        "spec": {"volumeClaimTemplates": [{"metadata": {"name": name}} for name in ("wal", "data")]},
    }
    refuse_forgotten(fake, found)  # type: ignore[arg-type]
    fake.volumes[volume]["metadata"]["annotations"] = {KEPT_FOR: "shop/restored"}
    with pytest.raises(KubernetesError, match="deleted and applied anew"):
        refuse_forgotten(fake, found)  # type: ignore[arg-type]


def test_a_volume_that_was_let_go_is_not_brought_back() -> None:
    """Found: after a confirmed that was killed in between, the way back was begun, could not go on, and then nothing could be confirmed either."""
    fake = Fake({"own": "new"})
    refuse_let_go(fake, JOURNAL)  # type: ignore[arg-type]
    fake.volumes["old"]["metadata"]["deletionTimestamp"] = "2026-11-21T02:59:00Z"
    for _state in ("going", "gone"):
        with pytest.raises(KubernetesError, match="state: confirmed again ends it"):
            refuse_let_go(fake, JOURNAL)  # type: ignore[arg-type]
        fake.volumes.pop("old", None)
