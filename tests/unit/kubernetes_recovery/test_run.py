# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a recovery that fails, or is killed, leaves a server that nobody has again.

Members: each step × it fails, the way back fails at each of its actions, the run is killed (and the next one asks for the same, for another, for
the way back); two runs at once; an annotation that somebody changed, or that went with the StatefulSet (deleted and applied anew, as helm upgrade
--force does); the claim on another volume; a restore of snapshots in place of the same server; a server started while the data is exchanged.
"""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import myself
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Conflict,
    KubernetesError,
    NotLoggedIn,
    Unreachable,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.follow import OutOfSight
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import SWAP
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import actions, lease, run, steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import (
    ANNOTATION,
    Entry,
    Journal,
    parse,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving

Manifest = dict[str, Any]
STEPS = [one for one in steps.STEPS if one != steps.DONE]


class Killed(BaseException):
    """Nothing after it runs."""


class World:
    """A cluster of one StatefulSet, and what was done in it."""

    namespace = "shop"

    def __init__(self) -> None:
        mount = {"name": "data", "mountPath": "/data"}
        container = {
            "name": "pg",
            "image": "postgres:17",
            "env": [{"name": "PGDATA", "value": "/data/pg"}],
            "volumeMounts": [mount],
        }
        claims = [{"metadata": {"name": "data"}}]
        self.objects: dict[tuple[str, str], Manifest] = {}
        self._put(
            {
                "kind": "StatefulSet",
                "metadata": {"name": "pg", "namespace": "shop"},
                "spec": {
                    "replicas": 1,
                    "template": {"spec": {"containers": [container]}},
                    "volumeClaimTemplates": claims,
                },
            }
        )
        self._put({"kind": "PersistentVolumeClaim", "metadata": {"name": "data-pg-0"}, "spec": {}})
        self.done: list[str] = []
        self.fails: set[str] = set()
        self.kills = ""
        self.where = "old"
        self.policy = "Delete"
        self.volume = "volume"
        self.starts_by_itself = False

    def apply_anew(self) -> None:
        """It is deleted, and another one comes in its place, without what was noted on it."""
        self.objects["StatefulSet", "pg"]["metadata"].pop("annotations", None)

    def _put(self, manifest: Manifest) -> Manifest:
        manifest["metadata"].setdefault("resourceVersion", "1")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return manifest

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest:
        return copy.deepcopy(self._put(copy.deepcopy(manifest)))

    def patch(self, kind: str, name: str, body: Manifest, **_more: Any) -> Manifest:
        found = self.objects[kind, name]
        if body["metadata"].get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            raise Conflict(f"{kind} {name} was changed by somebody.")
        notes = found["metadata"].setdefault("annotations", {})
        notes.update(body["metadata"].get("annotations") or {})
        for key in [key for key, value in notes.items() if value is None]:
            del notes[key]
        found["spec"].update(body.get("spec") or {})
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        return copy.deepcopy(found)

    @property
    def step(self) -> str:
        notes = self.objects["StatefulSet", "pg"]["metadata"].get("annotations") or {}
        entry = parse(notes.get(ANNOTATION))
        return entry.step if entry else ""

    def act(self, name: str) -> None:
        if self.kills == name:
            raise Killed(name)
        if name in self.fails:
            raise KubernetesError(f"{name} failed.")
        self.done.append(name)


class FakeActions:
    """As ``Actions``, in that world."""

    def __init__(self, cluster: World, *_more: Any) -> None:
        self.world = cluster

    def is_exclusive(self) -> bool:
        return False

    def look(self, _run: str) -> dict[str, list[str]]:
        self.world.act("look")
        return {
            "there": ["yes"],
            "inside": ["yes"],
            "user": ["999"],
            "group": ["999"],
            "beside": ["yes"],
        }

    def prove(self, _entry: Any) -> str:
        self.world.act("prove")
        return "it can be done"

    def volume(self) -> tuple[str, str]:
        return "volume", self.world.policy

    def retain(self, _name: str, policy: str) -> None:
        self.world.policy = "Retain"
        self.world.act(f"retain {policy}")

    def stop(self) -> None:
        self.world.act("stop")

    def lay_out(self, _entry: Any) -> str:
        self.world.act("lay out")
        return "laid out"

    def recover(self, _entry: Any) -> dict[str, Any]:
        self.world.act("recover")
        return {"lsn": "0/1", "timeline": 2, "proven": ["It is whole."]}

    def clear_jobs(self) -> None:
        pass

    def would_stop(self) -> None:
        self.world.act("would stop")

    def require_stopped(self) -> None:
        self.world.act("require stopped")
        if self.world.starts_by_itself and self.world.where == "new":
            raise KubernetesError("It has been started again meanwhile.")

    def require_volume(self, entry: Any) -> None:
        if entry.volume and entry.volume != self.world.volume:
            raise KubernetesError("The claim is on another volume.")

    def swap(self, _entry: Any) -> None:
        self.world.where = "between"
        self.world.act("swap")
        self.world.where = "new"

    def start(self) -> None:
        self.world.act("start" if self.world.where == "new" else "start old")

    def move_back(self, _entry: Any) -> None:
        self.world.act("move back")
        self.world.where = "old"

    def remove(self, _entry: Any) -> None:
        self.world.act("remove")

    def release(self, entry: Any) -> None:
        self.world.act("release")
        self.world.policy = entry.policy or self.world.policy


#: what each step does, by the name of its last action
LAST = dict(zip(STEPS, ("prove", "stop", "lay out", "recover", "swap", "start")))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(run, "Actions", FakeActions)
    monkeypatch.setattr(lease, "RENEW", 3600)
    return World()


def asked(**more: Any) -> dict[str, Any]:
    pod = {
        "image": "holdfast:1", "image_pull_policy": None, "image_pull_secrets": [], "variables": {}, "variables_from": [], "secrets": {}, "claims": {},
        "nfs": [], "read_only": [], "resources": {},
    }  # fmt: skip
    return {
        "stateful_set": "pg", "container": "", "recovery_target": {"time": "2026-11-21T02:59:00+01:00"}, "backup_id": "latest", "keep_archiving": False,
        "settings": {}, "accept_unsigned": False, "repository": {"type": "s3", "bucket": "b"}, "pod": pod, "server_name": "shop", "login_user": None,
        "login_host": None, "login_unix_socket": None, "connect_params": {},
        "force": True, "confirm": ["shop/pg"], "on_managed": "refuse", "argocd_namespace": "argocd", "timeout": "1min", "deadline": "1h",
        "amcheck": "quick", "check_time": "5min", **more,
    }  # fmt: skip


def recovery(world: World, check: bool = False, **more: Any) -> run.Recovery:
    params = asked(**more)
    return run.Recovery(world, request_of(params), Serving(params, []), check, lambda step: None, [])  # type: ignore[arg-type]


def test_it_goes_through_and_a_second_run_does_nothing(world: World) -> None:
    done = recovery(world).recovered()
    assert done.changed and done.step == "done" and world.where == "new"
    assert world.done == [
        "would stop",
        "look",
        "prove",
        "retain Delete",
        "stop",
        "lay out",
        "recover",
        "require stopped",
        "swap",
        "require stopped",
        "start",
    ]
    assert done.recovery["timeline"] == 2 and "It is whole." in done.proof.proven and done.kept
    world.done.clear()
    again = recovery(world).recovered()
    assert not again.changed and not again.plan and again.recovery["lsn"] == "0/1" and world.done == []
    with pytest.raises(KubernetesError, match="state: confirmed"):
        recovery(world, recovery_target={"latest": True}).recovered()
    done = recovery(world).confirmed()
    assert done.changed and world.step == "" and world.done == ["remove", "release"]
    assert not recovery(world).confirmed().changed and not recovery(world).rolled_back().changed


def test_a_plan_does_nothing_and_says_what_agrees(world: World) -> None:
    done = recovery(world, check=True, force=False, confirm=[]).recovered()
    assert done.changed and world.done == ["would stop"] and world.step == ""
    world.done.clear()
    assert done.plan[-1] == "do all this only when it is agreed to: force: true, confirm: [shop/pg]"
    with pytest.raises(BadOption, match="force: true and confirm: "):
        recovery(world, force=False).recovered()
    with pytest.raises(BadOption):
        recovery(world, confirm=["pg"]).recovered()
    assert world.done == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_taken_back_by_itself(world: World, step: str) -> None:
    world.fails = {LAST[step]}
    with pytest.raises(run.TakenBack, match=f"{LAST[step]} failed") as caught:
        recovery(world).recovered()
    assert world.where == "old" and world.step == ""
    touched = step != steps.PROVING
    assert ("the old data serves again" in str(caught.value)) == touched and ("start old" in world.done) == touched
    assert ("move back" in world.done) == (step in (steps.SWAPPING, steps.STARTING))
    assert ("Nothing was touched" in str(caught.value)) == (not touched)


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_is_gone_on_with(world: World, step: str) -> None:
    world.kills = LAST[step]
    with pytest.raises(Killed):
        recovery(world).recovered()
    assert world.step == step
    world.kills = ""
    with pytest.raises(KubernetesError, match="Another recovery of shop/pg"):
        recovery(world, recovery_target={"latest": True}).recovered()
    with pytest.raises(KubernetesError, match="is not done"):
        recovery(world).confirmed()
    done = recovery(world, force=False, confirm=[]).recovered()
    assert "go on with the recovery" in done.plan[0] and done.step == "done" and world.where == "new"
    assert world.done.count("stop") <= 2


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_can_be_taken_back(world: World, step: str) -> None:
    world.kills = LAST[step]
    with pytest.raises(Killed):
        recovery(world).recovered()
    world.kills = ""
    done = recovery(world, force=False, confirm=[]).rolled_back()
    assert done.changed and world.where == "old" and world.step == ""
    assert step == steps.PROVING or world.done.count("start old") == 1


def test_killed_before_the_policy_is_changed_and_after(world: World) -> None:
    """Found: after a kill between the two, Retain was taken for what the volume had before."""
    world.kills = "retain Delete"
    with pytest.raises(Killed):
        recovery(world).recovered()
    world.kills = ""
    recovery(world).recovered()
    assert world.policy == "Retain"
    recovery(world).confirmed()
    assert world.policy == "Delete"


def test_what_somebody_scales_to_0_serves_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: with no pod wanted none was missing, and so it was ready. What was stopped before is started; what is stopped meanwhile is an error."""
    seen: list[Any] = []

    class Start:
        plan: list[str] = []

        def __init__(self, *_more: Any) -> None:
            found = world.objects["StatefulSet", "pg"]
            seen.append((found["metadata"].get("annotations") or {}).get(actions.REPLICAS))
            found["spec"]["replicas"] = 1

        def run(self) -> Any:
            return self

    monkeypatch.setattr(actions, "Start", Start)
    monkeypatch.setattr(actions, "wait_for", lambda *_more, **_most: None)
    request = request_of(asked())
    real = actions.Actions(world, run._find(world, request), request, lambda step: None, [])  # type: ignore[arg-type]
    world.objects["StatefulSet", "pg"]["spec"]["replicas"] = 0
    real.start()
    assert seen == ["1"]

    def scaled(*_more: Any, **_most: Any) -> None:
        world.objects["StatefulSet", "pg"]["spec"]["replicas"] = 0

    monkeypatch.setattr(actions, "wait_for", scaled)
    with pytest.raises(KubernetesError, match="was scaled to 0 meanwhile by somebody: no pod of it serves"):
        real.start()


def test_what_is_written_and_whose_answer_is_lost_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: sent again it was a conflict, and what this run had written itself was said to be another run's."""
    real = World.patch

    def patch(self: World, kind: str, name: str, body: Manifest, **more: Any) -> Manifest:
        found = real(self, kind, name, body, **more)
        if kind == "StatefulSet" and lost:
            lost.pop()
            raise Conflict("It was changed.")
        return found

    monkeypatch.setattr(World, "patch", patch)
    lost = [True]
    done = recovery(world)
    assert done.recovered().step == "done" and not lost
    lost.append(True)
    assert recovery(world).confirmed().changed and world.step == "" and not lost
    journal = Journal(world, "pg")  # type: ignore[arg-type]
    journal.write(Entry("a", steps.DONE, "d", "t", "b", "mine"))
    lost.append(True)
    journal.write(None)
    assert world.step == "" and not lost


def test_killed_while_the_old_data_is_removed_it_is_not_brought_back(world: World) -> None:
    """Found: what was gone by half took the place of what serves, and that was removed then."""
    recovery(world).recovered()
    world.kills = "remove"
    with pytest.raises(Killed):
        recovery(world).confirmed()
    world.kills = ""
    assert world.step == steps.CLEARING
    for what in ("recovered", "rolled_back"):
        with pytest.raises(KubernetesError, match="Run state: confirmed again"):
            getattr(recovery(world), what)()
    assert world.where == "new"
    assert recovery(world).confirmed().changed and world.step == ""


@pytest.mark.parametrize(
    "error",
    [Unreachable("The API server does not answer."), NotLoggedIn("The token has expired."), OutOfSight("It goes on.")],
)
def test_what_cannot_be_seen_is_not_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch, error: KubernetesError
) -> None:
    """The Job goes on, and the next run follows it."""

    def lost(_self: Any, _entry: Any) -> str:
        raise error

    with monkeypatch.context() as away:
        away.setattr(FakeActions, "lay_out", lost)
        with pytest.raises(KubernetesError, match="stands at: laying out") as caught:
            recovery(world).recovered()
    assert str(error) in str(caught.value) and not isinstance(caught.value, run.TakenBack)
    assert world.step == steps.LAYING_OUT and "start old" not in world.done
    assert recovery(world).recovered().step == steps.DONE


@pytest.mark.parametrize("action", ["stop", "move back", "start old"])
def test_a_way_back_that_fails_is_gone_on_with(world: World, action: str) -> None:
    recovery(world).recovered()
    world.done.clear()
    world.fails = {action}
    with pytest.raises(KubernetesError, match=f"{action} failed"):
        recovery(world).rolled_back()
    assert world.step == steps.GOING_BACK
    world.fails = set()
    with pytest.raises(run.TakenBack, match="has been taken back now"):
        recovery(world).recovered()
    assert world.where == "old" and world.step == "" and world.done[-2:] == ["start old", "release"]


@pytest.mark.parametrize("action", ["remove", "release"])
def test_what_costs_space_alone_keeps_no_server_down(world: World, action: str) -> None:
    world.fails = {"recover", action}
    with pytest.raises(run.TakenBack):
        recovery(world).recovered()
    assert world.step == "" and "start old" in world.done


def test_both_ways_fail_and_it_is_said(world: World) -> None:
    world.fails = {"start", "move back"}
    with pytest.raises(KubernetesError, match="the way back failed too: move back failed") as caught:
        recovery(world).recovered()
    assert not isinstance(caught.value, run.TakenBack) and "/old" in str(caught.value)
    assert world.step == steps.GOING_BACK


def test_taking_a_finished_one_back_has_to_be_agreed_to(world: World) -> None:
    recovery(world).recovered()
    with pytest.raises(BadOption, match="takes away what was written"):
        recovery(world, force=False).rolled_back()
    assert world.where == "new" and recovery(world).rolled_back().changed and world.where == "old"


def test_of_two_runs_one_leaves_it_alone(world: World) -> None:
    first, second = recovery(world), recovery(world)
    first.recovered()
    with pytest.raises(KubernetesError, match="Another run was at work"):
        second.recovered()
    third = recovery(world)
    third.rolled_back()
    assert world.where == "old"


def test_whoever_lost_it_takes_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run took over while this one was silent for too long: this one stops where it is."""

    def taken(_self: Any, _entry: Any) -> str:
        notes = world.objects["StatefulSet", "pg"]["metadata"]["annotations"]
        notes[ANNOTATION] = notes[ANNOTATION].replace('"run": "', '"run": "another')
        return "laid out"

    monkeypatch.setattr(FakeActions, "lay_out", taken)
    with pytest.raises(KubernetesError, match="Another run has taken the recovery"):
        recovery(world).recovered()
    assert "start old" not in world.done and "recover" not in world.done


@pytest.mark.parametrize("step", [*STEPS, steps.DONE])
def test_a_stateful_set_that_is_applied_anew_loses_no_recovery(world: World, step: str) -> None:
    """Found: rolled_back said that there was nothing to do, and what was recovered went on serving."""
    world.kills = LAST.get(step, "")
    with contextlib.suppress(Killed):
        recovery(world).recovered()
    world.kills = ""
    world.apply_anew()
    with pytest.raises(KubernetesError, match="Nothing was done"):
        recovery(world, recovery_target={"latest": True}).recovered()
    back = recovery(world).rolled_back()
    assert back.changed and world.where == "old" and world.step == ""
    assert not recovery(world).rolled_back().changed
    assert recovery(world).recovered().step == steps.DONE


def test_a_claim_on_another_volume_has_not_the_old_data(world: World) -> None:
    """Found: confirmed gave the volume from before the policy Delete, which went with that, as another claim's was there by then."""
    recovery(world).recovered()
    world.done.clear()
    world.volume = "another"
    for what in ("recovered", "rolled_back", "confirmed"):
        with pytest.raises(KubernetesError, match="on another volume"):
            getattr(recovery(world), what)()
    assert world.done == [] and world.step == steps.DONE and world.policy == "Retain"


def test_a_restore_of_snapshots_in_place_is_ended_first(world: World) -> None:
    world.objects["StatefulSet", "pg"]["metadata"]["annotations"] = {SWAP: "{}"}
    with pytest.raises(KubernetesError, match="pvc_snapshot with state: confirmed"):
        recovery(world).recovered()
    assert world.done == []


def test_a_server_that_starts_while_the_data_is_exchanged(world: World) -> None:
    world.starts_by_itself = True
    with pytest.raises(run.TakenBack, match="started again meanwhile"):
        recovery(world).recovered()
    assert world.where == "old" and world.done[-4:] == ["move back", "remove", "start old", "release"]


def test_what_was_moved_back_is_not_looked_for_again(world: World) -> None:
    """Killed after the hidden directory was removed: the next run finds none, and that is as it should be."""
    recovery(world).recovered()
    world.kills = "start old"
    with pytest.raises(Killed):
        recovery(world).rolled_back()
    world.done.clear()
    world.kills = ""
    recovery(world).rolled_back()
    assert world.where == "old" and "move back" not in world.done and world.step == ""


def test_a_lease_that_others_change_too_is_kept(world: World) -> None:
    """Found: the first conflict ended its renewal, and twenty seconds later another run could take it."""
    with lease.Lease(world, "pg") as held:  # type: ignore[arg-type]
        name = lease.name_of_lease("pg")
        world.patch(lease.KIND, name, {"metadata": {"annotations": {"somebody": "was here"}}})
        assert held._keep({"renewTime": "now"})
        world.patch(lease.KIND, name, {"metadata": {}, "spec": {"holderIdentity": "another"}})
        assert not held._keep({"renewTime": "later"})
    assert world.objects[lease.KIND, name]["spec"]["holderIdentity"] == "another"


def test_whose_process_is_gone_is_told_where_it_is_counted_alone() -> None:
    """Found: of two machines of one name (runner, localhost) each took the other's Lease at once, as its process was not there."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = {**myself("test"), "pid": ended.pid}
    for who, gone in ((here, True), ({**here, "boot_id": "elsewhere"}, False), (myself("test"), False), ({}, False)):
        found = {"metadata": {"annotations": {lease.PROCESS: json.dumps(who)}}}
        assert lease.is_of_a_dead_process(found) == gone
    assert not lease.is_of_a_dead_process({"metadata": {}})


@pytest.mark.parametrize("hidden", ["/data/pg", "/data/.holdfast/", "/data/.holdfast/../pg", ".holdfast/one"])
def test_a_directory_that_is_not_ours_is_not_removed(world: World, hidden: str) -> None:
    recovery(world).recovered()
    notes = world.objects["StatefulSet", "pg"]["metadata"]["annotations"]
    notes[ANNOTATION] = json.dumps({**json.loads(notes[ANNOTATION]), "hidden": hidden})
    with pytest.raises(KubernetesError, match="somebody changed it"):
        recovery(world)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": "elsewhere"}', '{"id": 1}'])
def test_an_annotation_that_says_nothing_is_an_error(world: World, text: str) -> None:
    world.objects["StatefulSet", "pg"]["metadata"]["annotations"] = {ANNOTATION: text}
    with pytest.raises(KubernetesError, match="says nothing that is known here"):
        recovery(world)


@pytest.mark.parametrize("step", STEPS)
def test_the_table_of_ways_back(step: str) -> None:
    way = steps.way_back(step)
    assert (steps.MOVE_BACK in way) == (step in (steps.SWAPPING, steps.STARTING))
    assert not way or way[-1] == steps.RELEASE and steps.START in way
    assert steps.to_do(step)[0] == step and steps.to_do(step)[-1] == steps.DONE
