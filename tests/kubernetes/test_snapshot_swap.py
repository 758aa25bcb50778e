# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot in the place of what a StatefulSet has, and the way back: no row and no volume is lost, whatever fails, and whenever it is killed.

The kinds: a claim that takes its volume along (reclaim policy Delete, whenScaled: Delete: bitnami#18276), a restored server that does not serve, a run that
was killed half-way, somebody who scales it up again in the middle, claims that others use. Each run has exactly the rights of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok, refused, warned
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import Postgres
from lab.playbooks import ModuleResult, run_module, start_module
from lab.waiting import wait_until

Object = dict[str, Any]
JOURNAL = "holdfast.postgres/swap"
OWN, RESTORED = "data-pg-0", "data-again"


@dataclass
class Site:
    """A server, and one snapshot of it, since which it lost a table and got another."""

    namespace: Namespace
    server: Postgres
    kubeconfig: Path
    repository: Path
    state: Path

    @property
    def where(self) -> str:
        return f"{self.namespace.name}/{self.server.name}"

    def options(self, **more: Any) -> Object:
        return {
            "kubernetes": {"kubeconfig": str(self.kubeconfig), "namespace": self.namespace.name},
            "repository": {"path": str(self.repository)},
            "state_dir": str(self.state),
            "server_name": "shop",
            "stateful_set": self.server.name,
            "timeout": "60s",
            **more,
        }

    def restore(self, check: bool = False, **more: Any) -> ModuleResult:
        return run_module("pvc_snapshot", self.restoring(**more), check=check, diff=True)

    def restoring(self, **more: Any) -> Object:
        given = {"backup_id": "before", "new_claims": {OWN: RESTORED}, "in_place": True}
        return self.options(state="restored", **{**given, "force": True, "confirm": [self.where], **more})

    def run(self, state: str, check: bool = False, **more: Any) -> ModuleResult:
        return run_module("pvc_snapshot", self.options(state=state, **more), check=check, diff=True)

    def claim(self, name: str) -> Object | None:
        return self.namespace.find("v1", "PersistentVolumeClaim", name)

    def volume_of(self, name: str) -> str:
        there = self.claim(name)
        assert there is not None, f"there is no claim {name}"
        return str(there["spec"]["volumeName"])

    def policy(self, volume: str) -> str | None:
        found = self.namespace.api.kind("v1", "PersistentVolume").get().to_dict()["items"]
        return next(
            (one["spec"]["persistentVolumeReclaimPolicy"] for one in found if one["metadata"]["name"] == volume), None
        )

    def set(self) -> Object:
        return self.namespace.get("apps/v1", "StatefulSet", self.server.name)

    def journal(self) -> str | None:
        notes = self.set()["metadata"].get("annotations") or {}
        found: str | None = notes.get(JOURNAL)
        return found

    def has(self) -> str:
        """Which life the server is in."""
        self.server.ready()
        ((old,),) = self.server.sql("select count(*) from pg_class where relname = 'lost'")
        ((new,),) = self.server.sql("select count(*) from pg_class where relname = 'since'")
        return f"{'snapshot' if old else ''}{'since' if new else ''}"


@pytest.fixture(scope="module")
def site(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster.lab_or_skip("a driver whose snapshots are of one moment")
    namespace, directory = cluster.api.create_namespace(), tmp_path_factory.mktemp("swap")
    try:
        server = Postgres(namespace, "pg")
        names = {"server": ["pg", "none"], "claims": [OWN], "new_claims": [RESTORED]}
        rights = [rights_of(job, **names) for job in ("snapshot", "snapshot_restore", "snapshot_swap")]
        kubeconfig = namespace.service_account(
            [rule.manifest() for one in rights for rule in one.rules],
            directory,
            cluster_rules=[rule.manifest() for one in rights for rule in one.cluster],
        )
        made = Site(namespace, server, kubeconfig, directory, directory / "state")
        server.ready()
        server.sql("create table lost as select n from generate_series(1, 1000) n")
        login: Object = server.login
        ok(made.run("present", backup_id="before", **login))
        server.sql("drop table lost; create table since (n int)")
        yield made
    finally:
        namespace.remove()


@pytest.fixture(autouse=True)
def as_before(site: Site) -> Iterator[None]:
    """Each test finds the server on its own volume, and no claim that was restored."""
    yield
    ok(site.run("rolled_back"))
    assert site.has() == "since"
    site.namespace.delete("v1", "PersistentVolumeClaim", RESTORED)
    wait_until(lambda: site.claim(RESTORED) is None, 30)


def test_in_place_and_back(site: Site) -> None:
    """Planned, consented to, done; and the old volume back."""
    old = site.volume_of(OWN)
    labels = site.claim(OWN)["metadata"]["labels"]  # type: ignore[index]
    given = {**site.restoring(), "force": False, "confirm": []}
    looked = ok(run_module("pvc_snapshot", given, check=True))
    assert looked["consent"] == {"force": True, "confirm": [site.where]} and site.claim(RESTORED) is None
    done = site.restore()
    assert ok(done)["plan"] == looked["plan"][:-1] and ok(done)["kept"] == {OWN: old}
    assert "archive_mode is off" in warned(done) and old in str(ok(done)["proof"]["unproven"])
    assert site.has() == "snapshot" and site.server.sql("select count(*), sum(n) from lost") == [(1000, 500500)]
    assert (
        site.claim(RESTORED) is None and site.policy(old) == "Retain" and site.policy(site.volume_of(OWN)) == "Retain"
    )
    assert site.claim(OWN)["metadata"]["labels"] == labels  # type: ignore[index]
    ok(site.run("rolled_back"))
    assert site.has() == "since" and site.volume_of(OWN) == old and site.policy(old) == "Delete"
    assert site.claim(RESTORED) and site.journal() is None
    refused(site.restore(check=True), "a server has run on it")


@pytest.mark.extended
def test_what_does_not_serve_gives_the_old_volume_back(site: Site) -> None:
    """A setting that PostgreSQL does not take; the same would be WAL that is missing, a libc that is another one, a probe that is never content."""
    old = site.volume_of(OWN)
    failed = site.restore(settings={"max_connections": "many"}, timeout="25s")
    assert failed.failed and "have their names back" in failed.msg, failed.msg
    assert failed.result["rolled_back"]
    assert site.has() == "since" and site.volume_of(OWN) == old and site.policy(old) == "Delete"
    assert site.claim(RESTORED) and site.journal() is None


@pytest.mark.extended
def test_killed_half_way_it_is_gone_on_with_or_taken_back(site: Site) -> None:
    """Killed while the server is at 0: the same run goes on, and says so; another one takes it back."""
    old = site.volume_of(OWN)
    killed = start_module("pvc_snapshot", site.restoring())
    wait_until(lambda: site.set()["spec"]["replicas"] == 0, 60)
    killed.kill()
    assert site.journal() and site.policy(old) == "Retain"
    refused(site.run("confirmed", confirm=[site.where]), "was killed while restoring it")
    resumed = site.restore()
    assert "go on with" in ok(resumed)["plan"][0] and "goes on" in warned(resumed) and site.has() == "snapshot"
    killed = start_module("pvc_snapshot", site.options(state="rolled_back"))
    wait_until(lambda: site.claim(OWN) is None or site.set()["spec"]["replicas"] == 0, 60)
    killed.kill()
    back = site.run("rolled_back")
    assert "takes back what is left" in warned(back) and site.has() == "since" and site.volume_of(OWN) == old


@pytest.mark.extended
def test_what_could_not_end_well_is_refused_before_anything(site: Site) -> None:
    """whenScaled: Delete, several pods, somebody who scales it up again, claims that another pod uses, another StatefulSet's claims."""
    kind = ("apps/v1", "StatefulSet", "pg")

    def changed(change: Object, back: Object, *said: str) -> None:
        site.namespace.patch(*kind, change)
        try:
            refused(site.restore(check=True), *said)
            refused(site.restore(), *said)
        finally:
            site.namespace.patch(*kind, back)

    delete = {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}
    changed(delete, {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain"}}}, "whenScaled: Delete")
    argo = {"argocd.argoproj.io/tracking-id": "shop:apps/StatefulSet:shop/pg"}
    none = dict.fromkeys(argo)
    changed({"metadata": {"annotations": argo}}, {"metadata": {"annotations": none}}, "would come back", "Argo CD")
    recovery = {"holdfast.postgres/recovery": "{}"}
    changed(
        {"metadata": {"annotations": recovery}}, {"metadata": {"annotations": dict.fromkeys(recovery)}}, "k8s_recover"
    )
    refused(site.restore(force=False), "stateful_set", "force: true")
    user = pod_with(OWN)
    site.namespace.apply(user)
    site.namespace.wait("v1", "Pod", "user", lambda it: it["status"].get("phase") == "Running", 60)
    refused(site.restore(check=True), "user uses the claims too")
    site.namespace.delete("v1", "Pod", "user", grace=0)
    wait_until(lambda: site.namespace.find("v1", "Pod", "user") is None, 60)
    site.namespace.apply(pod_with(OWN, "true"))  # a claim that a pod which has ended names cannot be deleted either
    site.namespace.wait("v1", "Pod", "user", lambda it: it["status"].get("phase") == "Succeeded", 60)
    refused(site.restore(check=True), "user has ended")
    site.namespace.delete("v1", "Pod", "user", grace=0)
    wait_until(lambda: site.namespace.find("v1", "Pod", "user") is None, 60)
    refused(site.restore(stateful_set="none"), "There is no StatefulSet none")
    assert site.claim(RESTORED) is None and site.journal() is None and site.set()["spec"]["replicas"] == 1


@pytest.mark.extended
def test_what_was_noted_is_gone(site: Site) -> None:
    """With the StatefulSet, which was deleted and applied anew (helm upgrade --force): it is not said that there is nothing to take back."""
    ok(site.restore())
    noted = site.journal()
    site.namespace.patch("apps/v1", "StatefulSet", "pg", {"metadata": {"annotations": {JOURNAL: None}}})
    try:
        for state in ("rolled_back", "confirmed"):
            refused(site.run(state, check=True, confirm=[site.where]), "deleted and applied anew")
            refused(site.run(state, confirm=[site.where]), "deleted and applied anew")
    finally:
        site.namespace.patch("apps/v1", "StatefulSet", "pg", {"metadata": {"annotations": {JOURNAL: noted}}})


def pod_with(claim: str, *command: str) -> Object:
    container = {
        "name": "c",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command or ("sleep", "600")),
    }
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    mounted = {**container, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    spec = {"containers": [mounted], "volumes": volumes, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": spec}


@pytest.mark.extended
def test_confirmed(site: Site) -> None:
    """Only then the old volume goes, by the policy that it had; what the server has now is its own from there on."""
    old = site.volume_of(OWN)
    planned = ok(site.restore(check=True))
    assert ok(site.restore())["plan"] == planned["plan"]
    again = ok(site.restore())
    assert not again["changed"] and again["kept"] == {OWN: old}
    refused(site.run("confirmed"), "confirm", "only copy")
    planned = ok(site.run("confirmed", check=True))
    assert planned["consent"] == {"confirm": [site.where]} and site.policy(old) == "Retain"
    ok(site.run("confirmed", confirm=[site.where]))
    wait_until(lambda: site.policy(old) is None, 60)
    assert site.has() == "snapshot" and site.journal() is None and site.policy(site.volume_of(OWN)) == "Delete"
    assert not ok(site.run("rolled_back"))["changed"] and not ok(site.run("confirmed"))["changed"]
    site.server.sql("drop table lost; create table since (n int)")
