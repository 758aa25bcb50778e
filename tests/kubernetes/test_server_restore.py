# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a server that is brought back in its own volume, and serves neither what was asked for nor what it had.

Members: to a moment, and back again; with the volume mounted at PGDATA itself; each step that fails, and the old data serves; each step in which the
run is killed, and the next goes on; nobody agreed; two at once. Under exactly the rights of the table. What the server holds is asked of itself by psycopg2,
and whether it was touched by the pod's uid.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import MOUNT, Postgres
from lab.kubernetes.receiving import NAME, archive, bucket, steps, variables
from lab.kubernetes.runs import claim
from lab.playbooks import CHECKOUT, ModuleResult, run_module, run_playbook, start_module
from lab.stores import S3Server
from lab.waiting import wait_until

NOTE = "holdfast.postgres/recovery"
CONTENT = "select count(*), md5(string_agg(n::text, ',' order by n)) from t"


class Shop:
    """A server with its WAL in a store, and three moments in it: `early` and `late` (targets, with what the table held), then the table is gone."""

    def __init__(self, namespace: Namespace, directory: Path, image: str, store: S3Server, **options: Any) -> None:
        self.namespace, self.image = namespace, image
        self.server = Postgres(namespace, **options).ready()
        wait_until(self.server.reachable, 60)  # a node learns of a Service's address a moment after its pod is ready
        namespace.apply(claim("wal"))
        self.repository = bucket(store, namespace)
        self.volume = namespace.get("v1", "PersistentVolumeClaim", self.server.claim)["spec"]["volumeName"]
        allowed = rights_of(
            "server_restore",
            server=["pg"],
            config_maps=[],
            claims=[self.server.claim],
            leases=["holdfast-recovery-pg"],
            volumes=[self.volume],
        )
        self.account = namespace.service_account(
            [rule.manifest() for rule in allowed.rules],
            directory,
            cluster_rules=[rule.manifest() for rule in allowed.cluster],
        )
        setup = (rights_of("deployment", deployments=[NAME]), rights_of("job", claims=["wal"]))
        installer = namespace.service_account([rule.manifest() for one in setup for rule in one.rules], directory)
        self.server.sql("create table t (n int)")
        steps(archive(variables(self.server, installer, image, self.repository)))
        self.early, self.late = self._moment(1), self._moment(2)
        self.server.sql("drop table t")
        last = self.server.sql("select pg_walfile_name(pg_switch_wal())")[0][0]
        self._client = store.client()
        wait_until(lambda: self.stored(last), 90)

    def stored(self, segment: str) -> bool:
        """Whether the store has it."""
        found = self._client.list_objects_v2(Bucket=self.repository["bucket"], Prefix=f"shop/_wal/{segment}")
        return bool(found.get("Contents"))

    def _moment(self, number: int) -> tuple[dict[str, Any], Any]:
        self.server.sql(f"insert into t select n from generate_series({number * 100}, {number * 150}) n")
        ((kept,), ((lsn,),)) = (self.server.sql(CONTENT), self.server.sql("select pg_current_wal_insert_lsn()::text"))
        self.server.sql("create table if not exists after (n int); insert into after values (1)")
        # Of the life that all tests come back to: once a receiver goes on after a recovery, the archive knows others.
        return {"lsn": lsn, "inclusive": False, "timeline": "1"}, kept

    def receives(self, on: bool) -> None:
        """Let what receives its WAL work, or not."""
        self.namespace.patch("apps/v1", "Deployment", NAME, {"spec": {"replicas": int(on)}})
        if not on:
            for pod in self.receivers():
                self.namespace.delete("v1", "Pod", pod["metadata"]["name"], grace=5)
            wait_until(lambda: not self.receivers(), 180)

    def receivers(self) -> list[dict[str, Any]]:
        """The pods of what receives its WAL; one that sets up, and has ended, is not among them."""
        return list(self.namespace.list("v1", "Pod", f"holdfast.postgres/deployment={NAME}"))

    def archived(self) -> int:
        """Begin its receiver anew, and wait until what is written now is in the store. Returns the timeline of that."""
        self.receives(False)
        self.receives(True)
        wait_until(lambda: self.server.sql("select 1 from pg_replication_slots where active"), 180, 1)
        self.server.sql("create table if not exists after (n int); insert into after values (1)")
        last = str(self.server.sql("select pg_walfile_name(pg_switch_wal())")[0][0])
        wait_until(lambda: self.stored(last), 180, 1)
        return int(last[:8], 16)

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "kubernetes": {"kubeconfig": str(self.account), "namespace": self.namespace.name},
            "stateful_set": "pg",
            "server_name": "shop",
            "repository": self.repository,
            "recovery_target": self.early[0],
            "pod": {"image": self.image, "image_pull_policy": "IfNotPresent", **more.pop("pod", {})},
            "force": True,
            "confirm": [f"{self.namespace}/pg"],
            "timeout": "60s",
            "deadline": "5min",
            **more,
        }

    def run(self, **more: Any) -> ModuleResult:
        return run_module("k8s_recover", self.options(**more))

    @property
    def holds(self) -> Any:
        """What the table holds; None: there is none."""
        there = self.server.sql("select to_regclass('t') is not null")[0][0]
        return self.server.sql(CONTENT)[0] if there else None

    @property
    def uid(self) -> str:
        return str(self.namespace.get("v1", "Pod", self.server.pod)["metadata"]["uid"])

    @property
    def step(self) -> str:
        notes = self.namespace.get("apps/v1", "StatefulSet", "pg")["metadata"].get("annotations") or {}
        return str(json.loads(notes[NOTE])["step"]) if NOTE in notes else ""

    @property
    def policy(self) -> str:
        return str(self.namespace.api.core.read_persistent_volume(self.volume).spec.persistent_volume_reclaim_policy)

    def hidden(self) -> str:
        """What lies in the volume beside the data."""
        return self.namespace.execute(
            self.server.pod, "sh", "-c", f"ls -d {MOUNT}/.holdfast/* 2>/dev/null; true"
        ).stdout.strip()

    def as_it_was(self) -> None:
        """The dropped table is still dropped, nothing is left of us, and it serves."""
        self.server.ready()
        assert self.holds is None and self.step == "" and self.policy == "Delete" and self.hidden() == ""
        notes = self.namespace.get("apps/v1", "StatefulSet", "pg")["metadata"].get("annotations") or {}
        assert not [one for one in notes if one.startswith("holdfast.postgres/")]


@pytest.fixture(scope="module")
def shop(cluster: Any, image: str, store: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    namespace = cluster.api.create_namespace()
    yield Shop(namespace, tmp_path_factory.mktemp("shop"), image, store)
    namespace.remove()


def test_to_a_moment_and_back(shop: Shop) -> None:
    uid = shop.uid
    plan = run_module("k8s_recover", shop.options(force=False, confirm=[]), check=True)
    assert plan.changed and plan.result["consent"] == {"force": True, "confirm": [f"{shop.namespace}/pg"]}, plan.msg
    refused = shop.run(force=False)
    assert refused.failed and "force: true and confirm" in refused.msg
    assert shop.uid == uid and shop.step == ""
    done = shop.run(**shop.server.login)
    shop.receives(False)
    assert not done.failed, done.msg
    assert shop.holds == shop.early[1] and shop.policy == "Retain" and shop.hidden()
    assert done.result["step"] == "done" and done.result["recovery"]["timeline"] == 2
    proven = " ".join(done.result["proof"]["proven"])
    for part in (
        "was in the archive before it was",
        "Every database takes connections",
        "No corruption is in",
        "the recovered server answers, on timeline 2",
    ):
        assert part in proven, done.result["proof"]
    assert [
        shop.server.sql(f"show {name}")[0][0] for name in ("restore_command", "recovery_target_lsn", "archive_mode")
    ] == ["", "", "off"]
    uid = shop.uid
    again = shop.run()
    assert not again.failed and not again.changed and shop.uid == uid, again.msg
    back = shop.run(state="rolled_back")
    assert not back.failed and back.changed, back.msg
    shop.as_it_was()
    assert not ok(shop.run(state="rolled_back"))["changed"]


@pytest.mark.extended
def test_confirmed_the_old_data_is_gone(shop: Shop) -> None:
    """And the next recovery goes further, over the timeline that the first one made."""
    shop.as_it_was()
    assert not shop.run(recovery_target=shop.late[0]).failed
    assert shop.holds == shop.late[1]
    confirmed = shop.run(state="confirmed")
    assert confirmed.changed and shop.hidden() == "" and shop.policy == "Delete" and shop.step == "", confirmed.msg
    shop.server.sql("drop table t")


@pytest.mark.extended
@pytest.mark.parametrize(
    "more, said, touched",
    [
        ({"recovery_target": {"lsn": "FF/0"}}, "Nothing was touched", False),
        ({"settings": {"shared_preload_libraries": "of_nobody"}}, "of_nobody", True),
        ({"settings": {"port": "6000"}, "timeout": "20s"}, "0 of 1 pods are ready", True),
    ],
    ids=["proving", "recovering", "starting"],
)
def test_what_fails_is_taken_back(shop: Shop, more: dict[str, Any], said: str, touched: bool) -> None:
    uid = shop.uid
    done = shop.run(**more)
    assert done.failed and done.result["taken_back"] and said in done.msg, done.msg
    assert ("the old data serves again" in done.msg) == touched and (shop.uid != uid) == touched
    shop.as_it_was()


@pytest.mark.extended
def test_a_pod_that_is_evicted_while_it_lays_out_is_taken_back(shop: Shop) -> None:
    done: list[ModuleResult] = []
    thread = threading.Thread(target=lambda: done.append(shop.run()))
    thread.start()

    def pod() -> Any:
        found = shop.namespace.list("v1", "Pod", "holdfast.postgres/task=holdfast-recover-pg")
        return found and (found[0].get("status") or {}).get("phase") == "Running" and found[0]

    name = wait_until(pod, 120)["metadata"]["name"]
    shop.namespace.delete("v1", "Pod", name, grace=0)
    thread.join()
    assert done[0].failed and done[0].result["taken_back"] and "the old data serves again" in done[0].msg, done[0].msg
    shop.as_it_was()


@pytest.mark.extended
@pytest.mark.parametrize("step", ["proving", "stopping", "laying out", "recovering", "swapping", "starting"])
@pytest.mark.parametrize("goes", ["on", "back"])
def test_a_run_that_is_killed(shop: Shop, step: str, goes: str) -> None:
    running = start_module("k8s_recover", shop.options())
    wait_until(lambda: shop.step == step, 120, every=0.05)
    running.kill()
    assert shop.step == step
    done = shop.run() if goes == "on" else shop.run(state="rolled_back")
    assert not done.failed, done.msg
    if goes == "on":
        assert step in done.result["plan"][0] and shop.holds == shop.early[1]
        assert not shop.run(state="rolled_back").failed
    shop.as_it_was()


@pytest.mark.extended
def test_two_at_once(shop: Shop) -> None:
    running = start_module("k8s_recover", shop.options())
    wait_until(lambda: shop.step == "laying out", 120, every=0.05)
    second = shop.run(state="rolled_back")
    assert second.failed and "Another run is at work" in second.msg
    assert not running.result().failed and shop.holds == shop.early[1]
    assert not shop.run(state="rolled_back").failed
    shop.as_it_was()


@pytest.mark.extended
def test_a_stateful_set_that_is_deleted_and_applied_anew(shop: Shop) -> None:
    """As helm upgrade --force does: what was noted on it is gone, and the Lease still knows."""
    assert not shop.run().failed
    kind = ("apps/v1", "StatefulSet", "pg")
    found, uid = shop.namespace.get(*kind), shop.uid
    shop.namespace.delete(*kind)
    wait_until(lambda: shop.namespace.find("v1", "Pod", shop.server.pod) is None, 60)
    shop.namespace.apply(
        {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": "pg"}, "spec": dict(found["spec"])}
    )
    shop.server.ready()
    assert shop.step == "" and shop.uid != uid and shop.holds == shop.early[1]
    other = shop.run(recovery_target=shop.late[0])
    assert other.failed and "is kept in" in other.msg, other.msg
    back = shop.run(state="rolled_back")
    assert not back.failed and back.changed, back.msg
    shop.as_it_was()


@pytest.mark.extended
def test_the_playbook_stops_applications_around_it(shop: Shop, tmp_path: Path) -> None:
    allowed = (
        rights_of(
            "server_restore",
            server=["pg"],
            config_maps=[],
            claims=[shop.server.claim],
            leases=["holdfast-recovery-pg"],
            volumes=[shop.volume],
        ),
        rights_of("applications", deployments=["web"], stateful_sets=[], cron_jobs=[]),
    )
    account = shop.namespace.service_account(
        [rule.manifest() for one in allowed for rule in one.rules],
        tmp_path,
        cluster_rules=[rule.manifest() for one in allowed for rule in one.cluster],
    )
    labels = {"app": "web"}
    shop.namespace.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{"name": "web", "image": "localhost/pause:1"}],
                    },
                },
            },
        }
    )
    given = {
        "holdfast_kubernetes": {"kubeconfig": str(account), "namespace": shop.namespace.name},
        "holdfast_kubernetes_restore_kind": "server",
        "holdfast_kubernetes_restore_stateful_set": "pg",
        "holdfast_kubernetes_restore_pod": {"image": shop.image, "image_pull_policy": "IfNotPresent"},
        "holdfast_kubernetes_restore_applications": [{"name": "web"}],
        "holdfast_repository": shop.repository,
        "holdfast_recovery_target": shop.early[0],
        "holdfast_kubernetes_restore_timeout": "20s",
    }
    agreed = {
        "holdfast_kubernetes_restore_force": True,
        "holdfast_kubernetes_restore_confirm": [f"{shop.namespace}/pg"],
    }

    def play(**more: Any) -> Any:
        return run_playbook(CHECKOUT / "playbooks" / "kubernetes_restore.yml", {**given, **more}, inventory="shop,")

    def count() -> int:
        return int(shop.namespace.get("apps/v1", "Deployment", "web")["spec"]["replicas"])

    refused = play()
    assert refused.returncode and "holdfast_kubernetes_restore_force" in refused.stdout and count() == 1
    failed = play(**agreed, holdfast_kubernetes_restore_settings={"port": 6000})
    assert failed.returncode and "the old data serves again" in failed.stdout and count() == 1, failed.stdout
    shop.as_it_was()
    done = play(**agreed)
    assert done.returncode == 0 and shop.holds == shop.early[1] and count() == 1, done.stdout + done.stderr
    stops = [result["plan"] for result in done.of("holdfast.postgres.k8s_apps")]
    assert stops == [
        [f"stop Deployment {shop.namespace}/web (1 pod)"],
        [f"start Deployment {shop.namespace}/web (1 pod)"],
    ]
    assert not play(**agreed).changed
    back = play(**agreed, holdfast_kubernetes_restore_state="rolled_back")
    assert back.returncode == 0, back.stdout
    shop.as_it_was()


@pytest.mark.extended
def test_what_receives_its_wal_goes_on(shop: Shop) -> None:
    """By itself, on the new timeline, and on the old one when that is taken back, with what is in its way set aside: nothing received is lost."""
    shop.as_it_was()
    shop.receives(True)
    shop.archived()
    lived = int(shop.server.sql("select timeline_id from pg_control_checkpoint()")[0][0])
    done = shop.run()
    assert not done.failed, done.msg
    assert shop.archived() == done.result["recovery"]["timeline"] > lived
    back = shop.run(state="rolled_back")
    assert not back.failed, back.msg
    assert shop.archived() == lived
    audit = run_module("wal_audit", {"repository": shop.repository, "server_name": "shop"})
    assert not [one for one in audit.result["findings"] if one["code"] == "gap" and one["level"] != "fine"], (
        audit.result
    )
    shop.receives(False)
    shop.as_it_was()


@pytest.mark.extended
def test_with_the_volume_mounted_at_pgdata_itself(
    namespace: Namespace, image: str, store: S3Server, tmp_path: Path, postgres: Callable[..., Postgres]
) -> None:
    """As seed 001's chart has it."""
    shop = Shop(namespace, tmp_path, image, store, pgdata="root")
    done = shop.run()
    assert not done.failed and shop.holds == shop.early[1], done.msg
    assert not shop.run(state="rolled_back").failed
    shop.as_it_was()
