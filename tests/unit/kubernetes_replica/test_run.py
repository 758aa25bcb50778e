# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a pod that is made anew and was the primary, or a replica that fails half-way and has neither data.

Members: the primary itself, one above it, a Service that leads elsewhere, tablespaces, a primary that changes in the middle; each step that fails, and in which
the run is killed; no room; no claim; one pod; who keeps replicas himself; a pod that never follows.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Conflict, KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import lease, steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import parse
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.run import TakenBack
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica import actions, run
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.actions import ReplicaActions
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_replica.primary import Asked

Manifest = dict[str, Any]
NOTE = "holdfast.postgres/replica-1"
LAST = {
    steps.PROVING: "look", steps.STOPPING: "stop", steps.LAYING_OUT: "copy", steps.SWAPPING: "swap", steps.STARTING: "start",
}  # fmt: skip


class Killed(BaseException):
    """Nothing after it runs."""


class World:
    """A StatefulSet of three pods, of which the first is the primary."""

    namespace = "shop"

    def __init__(self) -> None:
        container = {
            "name": "pg",
            "image": "postgres:17",
            "env": [{"name": "PGDATA", "value": "/data/pg"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        spec = {
            "replicas": 3,
            "serviceName": "pg",
            "template": {"spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        }
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.put({"kind": "StatefulSet", "metadata": {"name": "pg", "namespace": "shop"}, "spec": spec})
        for number in range(3):
            self.put({"kind": "PersistentVolumeClaim", "metadata": {"name": f"data-pg-{number}"}, "spec": {}})
            self.put({"kind": "Pod", "metadata": {"name": f"pg-{number}"}, "status": {"podIP": f"10.0.0.{number}"}})
        self.done: list[str] = []
        self.warned: list[str] = []
        self.fails: dict[str, HoldfastError] = {}
        self.kills = ""
        self.where = "old"
        self.free = 1 << 40
        self.primary = Asked("10.0.0.0", 5432, "7", 17, 1 << 30, ())
        self.streams = True
        self.exclusive = False
        self.stopped = False

    def put(self, manifest: Manifest) -> Manifest:
        manifest["metadata"].setdefault("resourceVersion", "1")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return manifest

    def get(self, kind: str, name: str, *_more: Any) -> Manifest | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    def list(self, kind: str, *_more: Any, **_most: Any) -> list[Manifest]:
        return [copy.deepcopy(one) for (each, _name), one in self.objects.items() if each == kind]

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest:
        return copy.deepcopy(self.put(copy.deepcopy(manifest)))

    def patch(self, kind: str, name: str, body: Manifest, *_more: Any, **_most: Any) -> Manifest:
        found = self.objects[kind, name]
        notes = found["metadata"].setdefault("annotations", {})
        notes.update((body.get("metadata") or {}).get("annotations") or {})
        for key in [key for key, value in notes.items() if value is None]:
            del notes[key]
        found.setdefault("spec", {}).update(body.get("spec") or {})
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        return copy.deepcopy(found)

    @property
    def step(self) -> str:
        notes = self.objects["StatefulSet", "pg"]["metadata"].get("annotations") or {}
        entry = parse(notes.get(NOTE))
        return entry.step if entry else ""

    def act(self, name: str) -> None:
        if self.kills == name:
            raise Killed(name)
        if name in self.fails:
            raise self.fails[name]
        self.done.append(name)

    # as `Primary`

    def ask(self) -> Asked:
        return self.primary

    def reserve(self, slot: str) -> str:
        self.done.append(f"reserve {slot}")
        return f"The slot {slot} is there on the primary."

    def follows(self, _address: str, _timeout: float) -> int | None:
        return 0 if self.streams else None


class FakeActions(ReplicaActions):
    """In that world."""

    @property
    def world(self) -> World:
        return self.cluster  # type: ignore[return-value]

    def is_exclusive(self) -> bool:
        return self.world.exclusive and not self.world.stopped

    def look(self, _run: str) -> dict[str, list[str]]:
        self.world.act("look")
        return {
            "there": ["yes"], "inside": ["yes"], "user": ["999"], "group": ["999"], "beside": ["yes"], "free": [str(self.world.free)],
            "slot": ["one"], "conninfo": ["yes"], "standby": ["yes"],
        }  # fmt: skip

    def volume(self) -> tuple[str, str]:
        return "volume", "Delete"

    def retain(self, _name: str, _policy: str) -> None:
        pass

    def would_stop(self) -> None:
        pass

    def stop(self) -> list[str]:
        self.world.act("stop")
        self.world.stopped = True
        return []

    def copy(self, *_more: Any) -> None:
        self.world.act("copy")

    def require_stopped(self) -> None:
        pass

    def require_volume(self, _entry: Any) -> None:
        pass

    def clear_jobs(self) -> None:
        pass

    def swap(self, _entry: Any) -> None:
        self.world.where = "between"
        self.world.act("swap")
        self.world.where = "new"

    def start(self) -> list[str]:
        self.world.act("start")
        return []

    def scale_up(self) -> None:
        self.world.act("scale up")

    def move_back(self, _entry: Any) -> None:
        self.world.act("move back")
        self.world.where = "old"

    def remove(self, _entry: Any) -> None:
        self.world.act("remove")

    def release(self, _entry: Any) -> None:
        pass


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(run, "ReplicaActions", FakeActions)
    monkeypatch.setattr(lease, "RENEW", 3600)
    return World()


def replica(world: World, check: bool = False, **more: Any) -> run.Replica:
    params = {
        "stateful_set": "pg", "ordinal": 1, "container": "", "login_user": "postgres", "login_host": "x", "login_unix_socket": None, "connect_params": {},
        "pod": {"image": "holdfast:1", "image_pull_policy": None, "image_pull_secrets": [], "run_as_user": None},
        "force": True, "confirm": ["shop/pg-1"], "on_managed": "refuse", "timeout": "1s", "deadline": "1h", **more,
    }  # fmt: skip
    serving = Serving({**params, "repository": None}, [])
    warned = world.warned = []
    return run.Replica(world, run.replica_request_of(params), world, serving, check, lambda step: None, warned)  # type: ignore[arg-type]


def test_it_goes_through_and_is_kept_until_it_is_confirmed(world: World) -> None:
    plan = replica(world, check=True, force=False, confirm=[]).recovered()
    assert plan.plan[-1].endswith("force: true, confirm: [shop/pg-1]") and world.done == []
    done = replica(world).recovered()
    assert (
        done.step == "done"
        and world.where == "new"
        and done.recovery["slot"] == "one"
        and done.recovery["primary"] == "pg-0"
    )
    assert world.done == ["look", "stop", "reserve one", "copy", "swap", "start"]
    assert not replica(world).recovered().changed
    assert replica(world).confirmed().changed and world.step == ""


@pytest.mark.parametrize(
    "asked, said",
    [
        (Asked("10.0.0.1", 5432, "7", 17, 0, ()), "pg-1 is the primary, by its own word"),
        (Asked("10.0.0.2", 5432, "7", 17, 0, ()), r"cannot be stopped without the primary \(pg-2\)"),
        (Asked("10.9.9.9", 5432, "7", 17, 0, ()), "which is no pod of the StatefulSet pg"),
        (Asked("10.0.0.0", 5432, "7", 17, 0, ("fast",)), r"has tablespaces \(fast\)"),
    ],
)
def test_never_the_primary(world: World, asked: Asked, said: str) -> None:
    world.primary = asked
    for check in (True, False):
        with pytest.raises(KubernetesError, match=said):
            replica(world, check=check).recovered()
    assert world.done == [] and world.step == ""


def test_one_that_is_the_primary_by_now_is_not_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: after a failover to the pod that was made anew, what it had before took the place of the primary's data. With no primary to ask, the old
    data may be all there is."""
    replica(world).recovered()
    world.primary = Asked("10.0.0.1", 5432, "7", 17, 0, ())
    for check in (True, False):
        with pytest.raises(KubernetesError, match="pg-1 is the primary, by its own word"):
            replica(world, check=check).rolled_back()
    assert world.where == "new" and world.step == "done"

    def away(_self: World) -> Asked:
        raise ServerError("The primary could not be asked.")

    monkeypatch.setattr(World, "ask", away)
    assert replica(world).rolled_back().changed and world.where == "old"
    assert "is not known: The primary could not be asked" in world.warned[0]


def test_two_that_are_made_anew_at_once(world: World) -> None:
    """Found: the second one, once done, started the first again with its data half exchanged."""
    world.kills = "swap"
    with pytest.raises(Killed):
        replica(world).recovered()
    world.kills = ""
    with pytest.raises(KubernetesError, match="pg-1 is being made anew .* stands at: swapping"):
        replica(world, ordinal=2, confirm=["shop/pg-2"]).recovered()
    replica(world).recovered()
    assert replica(world, ordinal=2, confirm=["shop/pg-2"]).recovered().step == "done"


def test_a_claim_of_one_pod_at_a_time_is_looked_at_once_it_is_free(world: World) -> None:
    """Found: to scale it down first was asked for, and then it had one pod, which was refused."""
    world.exclusive = True
    assert replica(world).recovered().step == "done"
    assert (
        world.done == ["stop", "look", "reserve one", "copy", "swap", "start"] and "ReadWriteOncePod" in world.warned[0]
    )
    world.stopped = False
    with pytest.raises(KubernetesError, match="Scale the StatefulSet pg to 1, run"):
        replica(world).confirmed()
    world.objects["StatefulSet", "pg"]["spec"]["replicas"] = 1
    world.stopped = True
    assert replica(world).confirmed().changed and world.step == ""


def test_its_controller_writes_between(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: one such write, and the way back had failed, with the pods left down."""
    monkeypatch.setattr(actions, "wait_until_gone", lambda *_more: None)
    done, refused = replica(world), [True, True]
    real = World.patch

    def patch(self: World, kind: str, name: str, body: Manifest, *_more: Any, **_most: Any) -> Manifest:
        if "spec" in body and refused:
            refused.pop()
            raise Conflict("It was changed.")
        return real(self, kind, name, body)

    monkeypatch.setattr(World, "patch", patch)
    found = world.objects["StatefulSet", "pg"]
    ReplicaActions.stop(done._of_replica)
    assert found["spec"]["replicas"] == 1 and found["metadata"]["annotations"] == {actions.COUNT: "3"}
    refused.append(True)
    ReplicaActions.scale_up(done._of_replica)
    assert found["spec"]["replicas"] == 3 and not found["metadata"]["annotations"] and not refused


def test_the_slot_that_stays_is_told(world: World) -> None:
    """The primary's disk becomes full by one that nobody reads."""
    world.fails = {"copy": KubernetesError("It is broken.")}
    with pytest.raises(TakenBack):
        replica(world).recovered()
    assert "pg_drop_replication_slot('one')" in world.warned[0]
    world.fails = {"stop": KubernetesError("It is broken.")}
    with pytest.raises(TakenBack):
        replica(world).recovered()
    assert not world.warned


def test_a_primary_that_changes_in_the_middle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again before anything is exchanged."""

    def copied(self: FakeActions, *_more: Any) -> None:
        self.world.primary = Asked("10.0.0.1", 5432, "7", 17, 0, ())

    monkeypatch.setattr(FakeActions, "copy", copied)
    with pytest.raises(TakenBack, match="pg-1 is the primary"):
        replica(world).recovered()
    assert "swap" not in world.done and world.where == "old" and world.step == ""


@pytest.mark.parametrize("step", list(LAST))
def test_a_step_that_fails_is_taken_back_by_itself(world: World, step: str) -> None:
    world.fails = {LAST[step]: KubernetesError("It is broken.")}
    with pytest.raises(TakenBack, match="It is broken") as caught:
        replica(world).recovered()
    assert world.where == "old" and world.step == ""
    touched = step != steps.PROVING
    assert ("the old data is in its place again" in str(caught.value)) == touched == ("scale up" in world.done)
    assert ("move back" in world.done) == (step in (steps.SWAPPING, steps.STARTING))


def test_one_that_does_not_follow_is_taken_back(world: World) -> None:
    world.streams = False
    with pytest.raises(TakenBack, match="the primary does not stream to it"):
        replica(world).recovered()
    assert world.where == "old"


@pytest.mark.parametrize("step", list(LAST))
def test_a_run_that_is_killed(world: World, step: str) -> None:
    world.kills = LAST[step]
    with pytest.raises(Killed):
        replica(world).recovered()
    assert world.step == step
    world.kills = ""
    assert replica(world, force=False, confirm=[]).recovered().step == "done" and world.where == "new"
    assert replica(world).rolled_back().changed and world.where == "old" and world.step == ""


def test_what_is_no_replica_to_make(world: World) -> None:
    world.free = 1 << 29
    with pytest.raises(TakenBack, match="Make the claim larger"):
        replica(world).recovered()
    with pytest.raises(KubernetesError, match="There is no claim data-pg-7"):
        replica(world, ordinal=7)
    with pytest.raises(BadOption, match="ordinal"):
        replica(world, ordinal=-1)
    spec = world.objects["StatefulSet", "pg"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    container["env"].append({"name": "REPMGR_PARTNER_NODES", "value": "x"})
    with pytest.raises(KubernetesError, match="repmgr standby clone"):
        replica(world)
    container["env"].pop()
    spec["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": "Delete"}
    with pytest.raises(KubernetesError, match="whenScaled"):
        replica(world)
    del spec["persistentVolumeClaimRetentionPolicy"]
    spec["replicas"] = 1
    with pytest.raises(BadOption, match="has 1 pod, and so no replica"):
        replica(world)
