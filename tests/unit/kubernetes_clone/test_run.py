# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a clone that fails, or is killed, and then can be neither gone on with nor told from what is somebody else's.

Members: each step × it fails, the run is killed; another moment asked for early and late; other names; objects of somebody else, of another clone;
what is lost from sight; data on claims; a Secret that is missing; a server that somebody keeps.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError, Unreachable
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.owned import Applied
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone import run
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.request import clone_request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import lease, steps
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import CLONE, parse
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving

Manifest = dict[str, Any]
DOES = {
    steps.LAYING_OUT: "lay out",
    steps.RECOVERING: "recover",
    steps.SWAPPING: "swap",
    steps.CLEARING: "remove",
    steps.STARTING: "start",
}


class Killed(BaseException):
    """Nothing after it runs."""


class World:
    """A namespace with a server ``pg``."""

    namespace = "shop"

    def __init__(self) -> None:
        secret = {"secretKeyRef": {"name": "pg", "key": "p"}}
        container = {
            "name": "pg",
            "image": "postgres:17",
            "env": [{"name": "PGDATA", "value": "/data/pg"}, {"name": "PGPASSWORD", "valueFrom": secret}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        pod = {"containers": [container], "securityContext": {"runAsUser": 26}}
        spec = {
            "replicas": 1,
            "serviceName": "pg",
            "selector": {"matchLabels": {"app": "pg"}},
            "template": {"metadata": {"labels": {"app": "pg"}}, "spec": pod},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
        }
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.put({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "pg"}, "spec": spec})
        self.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg"}, "data": {}})
        self.put(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pg"}, "spec": {"selector": {"app": "pg"}}}
        )
        self.put({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-pg-0"}, "spec": {}})
        self.done: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.kills = ""
        self.cleared = 0
        self.before = copy.deepcopy(self.objects)

    def put(self, manifest: Manifest) -> Manifest:
        manifest["metadata"].setdefault("namespace", "shop")
        manifest["metadata"].setdefault("resourceVersion", "1")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return manifest

    def get(self, kind: str, name: str, _namespace: str | None = None) -> Manifest | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    def list(self, kind: str, *_more: Any, **_most: Any) -> list[Manifest]:
        return [copy.deepcopy(one) for (each, _name), one in self.objects.items() if each == kind]

    def kind(self, name: str) -> Any:
        raise AssertionError(name)

    def create(self, manifest: Manifest, dry_run: bool = False) -> Manifest:
        return manifest if dry_run else copy.deepcopy(self.put(copy.deepcopy(manifest)))

    def apply(self, manifest: Manifest, dry_run: bool = False, force: bool = False) -> Applied:
        if not dry_run:
            self.act(f"make {manifest['kind']}")
            self.put(copy.deepcopy(manifest))
        return Applied(manifest, {}, {})

    def patch(self, kind: str, name: str, body: Manifest, *_more: Any, **_most: Any) -> Manifest:
        found = self.objects[kind, name]
        for part in ("annotations", "labels"):
            notes = found["metadata"].setdefault(part, {})
            notes.update((body.get("metadata") or {}).get(part) or {})
        found.setdefault("spec", {}).update(body.get("spec") or {})
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        return copy.deepcopy(found)

    @property
    def step(self) -> str:
        found = self.objects.get(("StatefulSet", "again"), {"metadata": {}})
        entry = parse((found["metadata"].get("annotations") or {}).get(CLONE), CLONE)
        return entry.step if entry else ""

    def act(self, name: str) -> None:
        if self.kills == name:
            raise Killed(name)
        if name in self.fails:
            raise self.fails[name]
        self.done.append(name)

    def untouched(self) -> bool:
        return all(self.objects[name] == one for name, one in self.before.items())


class FakeActions:
    """As ``Actions``, in that world."""

    def __init__(self, cluster: World, *_more: Any) -> None:
        self.world = cluster

    def lay_out(self, _entry: Any) -> str:
        self.world.act("lay out")
        return "laid out"

    def recover(self, _entry: Any) -> dict[str, Any]:
        self.world.act("recover")
        return {"lsn": "0/1", "timeline": 2, "proven": ["It is whole."], "isolated": ["archive_mode: off"]}

    def clear_jobs(self) -> None:
        self.world.cleared += 1

    def require_stopped(self) -> None:
        pass

    def swap(self, _entry: Any) -> None:
        self.world.act("swap")

    def remove(self, _entry: Any) -> None:
        self.world.act("remove")

    def start(self) -> None:
        self.world.act("start")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(run, "Actions", FakeActions)
    monkeypatch.setattr(lease, "RENEW", 3600)
    return World()


def asked(**more: Any) -> dict[str, Any]:
    pod = {
        "image": "holdfast:1", "image_pull_policy": None, "image_pull_secrets": [], "variables": {}, "variables_from": [], "secrets": {}, "claims": {},
        "nfs": [], "read_only": [], "resources": {}, "run_as_user": None, "fs_group": None,
    }  # fmt: skip
    return {
        "stateful_set": "pg", "name": "again", "namespace": None, "container": "", "keep_containers": [], "names": {}, "secrets": "own",
        "storage_class": None, "size": None, "data": "backup", "recovery_target": {"time": "2026-11-21T02:59:00+01:00"}, "backup_id": "latest",
        "settings": {}, "accept_unsigned": False, "repository": {"type": "s3", "bucket": "b"}, "pod": pod, "server_name": "shop", "login_user": None,
        "login_host": None, "login_unix_socket": None, "connect_params": {}, "timeout": "1min", "deadline": "1h", **more,
    }  # fmt: skip


def clone(world: World, check: bool = False, **more: Any) -> run.Clone:
    params = asked(**more)
    return run.Clone(world, world, clone_request_of(params), Serving(params, []), check, lambda step: None, [])  # type: ignore[arg-type]


def test_it_goes_through_and_a_second_run_does_nothing(world: World) -> None:
    plan = clone(world, check=True).present()
    assert plan.changed and world.done == [] and world.untouched() and not world.step
    done = clone(world).present()
    assert done.step == "done" and done.recovery["timeline"] == 2 and done.isolated == ["archive_mode: off"]
    assert world.done == [
        "make Secret", "make PersistentVolumeClaim", "make Service", "lay out", "recover", "swap", "remove", "start",
    ]  # fmt: skip
    assert ("PersistentVolumeClaim", "data-again-0") in world.objects and world.untouched()
    made = world.objects["StatefulSet", "again"]
    assert made["spec"]["replicas"] == 0 and made["metadata"]["annotations"]["holdfast.postgres/replicas"] == "1"
    world.done.clear()
    again = clone(world).present()
    assert not again.changed and not again.plan and world.done == [] and again.recovery["lsn"] == "0/1"
    with pytest.raises(KubernetesError, match=r"delete .* -l holdfast.postgres/clone=again"):
        clone(world, recovery_target={"latest": True}).present()


@pytest.mark.parametrize("step", list(DOES))
def test_a_run_that_is_killed_is_gone_on_with(world: World, step: str) -> None:
    world.kills = DOES[step]
    with pytest.raises(Killed):
        clone(world).present()
    assert world.step == step
    world.kills = ""
    done = clone(world).present()
    assert step in done.plan[0] and done.step == "done" and world.done.count("lay out") == 1 and world.untouched()


@pytest.mark.parametrize("what", ["make Secret", "make Service"])
def test_killed_while_its_objects_are_made(world: World, what: str) -> None:
    world.kills = what
    with pytest.raises(Killed):
        clone(world).present()
    assert world.step == steps.MAKING
    world.kills = ""
    assert clone(world).present().step == "done" and world.done.count("make Secret") == 1


@pytest.mark.parametrize("step", list(DOES))
def test_what_fails_says_how_it_is_gone_on_with_and_removed(world: World, step: str) -> None:
    world.fails = {DOES[step]: KubernetesError("It is broken.")}
    with pytest.raises(KubernetesError, match="It is broken") as caught:
        clone(world).present()
    assert ("serves nobody" in str(caught.value)) == (step != steps.STARTING)
    for said in ("Nothing was changed in shop/pg", "The same task goes on", "-l holdfast.postgres/clone=again"):
        assert said in str(caught.value)
    # What recovered by half is laid out anew.
    assert world.step == (steps.LAYING_OUT if step == steps.RECOVERING else step)
    world.fails = {}
    assert clone(world).present().step == "done" and world.untouched()


def test_one_that_is_not_apart_is_never_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: it was looked at when it was down as done already, and the next run said that all was well."""

    def start(self: FakeActions) -> None:
        for name, labels in (("pg-0", {}), ("again-0", {"holdfast.postgres/clone": "again"})):
            self.world.put({"kind": "Pod", "metadata": {"name": name, "labels": {"tier": "db", **labels}}, "spec": {}})
        self.world.put({"kind": "Service", "metadata": {"name": "late"}, "spec": {"selector": {"tier": "db"}}})
        self.world.objects["StatefulSet", "again"]["spec"]["replicas"] = 1

    monkeypatch.setattr(FakeActions, "start", start)
    for _run in range(2):
        with pytest.raises(KubernetesError, match="The Service late leads to the clone and to pg-0.*scaled to 0"):
            clone(world).present()
        assert world.step == steps.STARTING and world.objects["StatefulSet", "again"]["spec"]["replicas"] == 0
        world.objects.pop(("Service", "late"))


def test_the_data_of_a_clone_whose_stateful_set_is_gone(world: World) -> None:
    """Found: the next run laid a backup out in the claim that was still there, and removed what had been written to it."""
    clone(world).present()
    del world.objects["StatefulSet", "again"]
    world.done.clear()
    for check in (True, False):
        with pytest.raises(KubernetesError, match="its data is still on PersistentVolumeClaim shop/data-again-0"):
            clone(world, check=check).present()
    assert not world.done
    assert clone(world, data="claims", recovery_target=None).present().step == "done"
    assert world.done == ["recover", "start"]


def test_another_moment_as_long_as_there_is_no_data(world: World) -> None:
    world.fails = {"lay out": KubernetesError("There is no such backup.")}
    with pytest.raises(KubernetesError):
        clone(world).present()
    world.fails = {"swap": KubernetesError("It is broken.")}
    with pytest.raises(KubernetesError, match="Another clone shop/again"):
        clone(world, recovery_target={"latest": True}, names={"Secret/pg": "other"}).present()
    with pytest.raises(KubernetesError, match="It is broken"):
        clone(world, recovery_target={"latest": True}).present()
    assert world.done.count("lay out") == 1
    with pytest.raises(KubernetesError, match="stands at: swapping"):
        clone(world, recovery_target={"immediate": True}).present()


def test_what_failed_first_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: where its Jobs could not be ended either, that alone was told."""

    def lost(_self: FakeActions) -> None:
        raise KubernetesError("The API server does not answer.")

    monkeypatch.setattr(FakeActions, "clear_jobs", lost)
    world.fails = {"recover": KubernetesError("It is broken.")}
    with pytest.raises(
        KubernetesError, match="It is broken. Then: The API server does not answer.*stands at: recovering"
    ):
        clone(world).present()


def test_what_is_lost_from_sight_goes_on(world: World) -> None:
    world.fails = {"recover": Unreachable("The API server does not answer.")}
    with pytest.raises(KubernetesError, match="stands at: recovering"):
        clone(world).present()
    assert world.step == steps.RECOVERING


@pytest.mark.parametrize("labels", [{}, {"holdfast.postgres/clone": "again"}])
def test_what_is_somebody_elses_is_refused_before_anything_is_made(world: World, labels: dict[str, str]) -> None:
    """Also of a clone of that name that is of another server."""
    world.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "again", "labels": labels}, "spec": {}})
    for check in (True, False):
        with pytest.raises(KubernetesError, match="Service shop/again. Nothing was made"):
            clone(world, check=check).present()
    assert ("Secret", "again") not in world.objects and not world.done


def test_on_claims_that_are_there(world: World) -> None:
    with pytest.raises(KubernetesError, match="There is no claim data-again-0"):
        clone(world, data="claims", recovery_target=None).present()
    plan = clone(world, check=True, data="claims", recovery_target=None)
    assert plan.present().changed and plan.claims == {"data-pg-0": "data-again-0"}
    claim = world.put(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-again-0"}, "spec": {}}
    )
    volumes = [{"name": "x", "persistentVolumeClaim": {"claimName": "data-again-0"}}]
    world.put({"kind": "Pod", "metadata": {"name": "web"}, "spec": {"volumes": volumes}})
    with pytest.raises(KubernetesError, match="The pod web has the claim data-again-0"):
        clone(world, data="claims", recovery_target=None).present()
    del world.objects["Pod", "web"]
    done = clone(world, data="claims", recovery_target=None).present()
    assert done.step == "done" and world.done == ["make Secret", "make Service", "recover", "start"]
    assert claim["metadata"]["labels"] == {"holdfast.postgres/clone": "again"}
    assert not clone(world, data="claims", recovery_target=None).present().changed


def test_the_servers_own_claim_is_none_of_the_clones(world: World) -> None:
    """Found: with the server stopped, its own data was recovered, and cut off from its archive."""
    spec = world.objects["StatefulSet", "pg"]["spec"]
    spec["template"]["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "kept"}}]
    del spec["volumeClaimTemplates"]
    world.put({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": {}})
    names = {"PersistentVolumeClaim/kept": "kept"}
    with pytest.raises(BadOption, match="the server's own claim"):
        clone(world, data="claims", recovery_target=None, names=names)


def test_what_cannot_be_cloned(world: World) -> None:
    with pytest.raises(BadOption, match="is the server itself"):
        clone(world, name="pg")
    with pytest.raises(BadOption, match="secrets"):
        del world.objects["Secret", "pg"]
        clone(world, secrets="shared")
    with pytest.raises(BadOption, match="repository"):
        clone(world, repository=None)
    world.objects["StatefulSet", "pg"]["metadata"]["ownerReferences"] = [{"kind": "X", "name": "x", "controller": True}]
    with pytest.raises(KubernetesError, match="kept by X x"):
        clone(world)
    del world.objects["StatefulSet", "pg"]
    with pytest.raises(KubernetesError, match="kind everything"):
        clone(world)


def test_a_pod_that_starts_as_root_has_to_say_whose_the_data_is(world: World) -> None:
    world.objects["StatefulSet", "pg"]["spec"]["template"]["spec"].pop("securityContext")
    with pytest.raises(BadOption, match="run_as_user"):
        clone(world)
    assert clone(world, pod={**asked()["pod"], "run_as_user": 999}).present().step == "done"
