# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a replica that was made anew and follows nobody, or for which the primary's data was taken.

Members: data that is broken, and data that is lost; the primary itself, a Service that leads to a replica; nobody agreed; the old data back; each step in
which the run is killed. Under exactly the rights of the table. Who follows whom is asked of the primary by psycopg2, what the replica holds in its own pod,
and whether the primary was touched, by its pod and its claim.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import MOUNT, Postgres
from lab.kubernetes.runs import access
from lab.playbooks import CHECKOUT, ModuleResult, run_module, run_playbook, start_module
from lab.waiting import wait_until

DATA = f"{MOUNT}/pgdata"
NOTE = "holdfast.postgres/replica-1"
CONTENT = "select count(*), md5(string_agg(g::text, ',' order by g)) from t"
#: as charts make replicas: by the pod's number, of the one before all
FIRST = """
set -eu
n=${HOSTNAME##*-}
if [ "$n" != 0 ] && [ ! -e "$PGDATA/PG_VERSION" ]; then
    export PGPASSWORD="$POSTGRES_PASSWORD"
    way="host=pg-0.pg-headless user=postgres application_name=$HOSTNAME"
    psql -XAtc "select pg_create_physical_replication_slot('slot_$n', true)" -d "$way dbname=postgres" || true
    pg_basebackup -d "$way password=$PGPASSWORD" -D "$PGDATA" -R -S "slot_$n" -X stream -c fast
fi
"""


def by_ordinal(objects: list[dict[str, Any]]) -> None:
    container = objects[-1]["spec"]["template"]["spec"]["containers"][0]
    container["command"][2] = FIRST + container["command"][2]


class Pair:
    """A primary, and one that follows it by a slot."""

    def __init__(self, namespace: Namespace, directory: Path, image: str) -> None:
        self.namespace, self.image = namespace, image
        self.server = Postgres(namespace, "pg", by_ordinal, replicas=2)
        selector = {"statefulset.kubernetes.io/pod-name": "pg-0"}
        namespace.apply(
            *(
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": name},
                    "spec": {"selector": which, "ports": [{"name": "pg", "port": 5432}]},
                }
                for name, which in (
                    ("primary", selector),
                    ("replica", {**selector, "statefulset.kubernetes.io/pod-name": "pg-1"}),
                )
            )
        )
        self.server.ready()
        self.primary("create table t as select g from generate_series(1, 2000) g")
        self.volume = namespace.get("v1", "PersistentVolumeClaim", "data-pg-1")["spec"]["volumeName"]
        allowed = rights_of(
            "server_restore", server=["pg"], config_maps=[], claims=["data-pg-0", "data-pg-1"], leases=["holdfast-recovery-pg"], volumes=[self.volume]
        )  # fmt: skip
        self.account = namespace.service_account(
            [rule.manifest() for one in (allowed, rights_of("replica_restore", pods=["pg-1"])) for rule in one.rules],
            directory,
            cluster_rules=[rule.manifest() for rule in allowed.cluster],
        )

    def address(self, name: str) -> str:
        return str(self.namespace.get("v1", "Service", name)["spec"]["clusterIP"])

    def primary(self, text: str) -> list[tuple[Any, ...]]:
        import psycopg2

        connection = psycopg2.connect(
            host=self.address("primary"), user="postgres", password=self.server.password, dbname="postgres", connect_timeout=10
        )  # fmt: skip
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "kubernetes": access(self.account, self.namespace),
            "stateful_set": "pg",
            "ordinal": 1,
            "login_host": self.address("primary"),
            "login_user": "postgres",
            "login_password": self.server.password,
            "pod": {"image": self.image, "image_pull_policy": "IfNotPresent"},
            "force": True,
            "confirm": [f"{self.namespace}/pg-1"],
            "timeout": "60s",
            "deadline": "5min",
            **more,
        }

    def run(self, **more: Any) -> ModuleResult:
        return run_module("k8s_replica", self.options(**more))

    def replica(self, *command: str) -> str:
        return self.namespace.execute("pg-1", *command).stdout.strip()

    def damage(self, lost: bool = False) -> None:
        """As a disk does it. Its own program does not come up with that."""
        what = f"rm -rf {DATA}" if lost else f"touch {DATA}/mark; rm -rf {DATA}/base {DATA}/global"
        self.namespace.execute("pg-1", "sh", "-c", f"{what}; kill 1")
        if not lost:
            self.namespace.wait("v1", "Pod", "pg-1", lambda it: not it["status"]["containerStatuses"][0]["ready"], 60)

    def follows(self) -> bool:
        found = self.primary("select application_name, state from pg_stat_replication where state = 'streaming'")
        slots = self.primary("select slot_name, active from pg_replication_slots")
        return found == [("pg-1", "streaming")] and slots == [("slot_1", True)]

    def untouched(self) -> tuple[Any, ...]:
        claim = self.namespace.get("v1", "PersistentVolumeClaim", "data-pg-0")
        pod = self.namespace.get("v1", "Pod", "pg-0")
        return (
            pod["metadata"]["uid"],
            [one["restartCount"] for one in pod["status"]["containerStatuses"]],
            claim["metadata"]["uid"],
            claim["spec"]["volumeName"],
            self.primary(CONTENT),
        )

    @property
    def step(self) -> str:
        notes = self.namespace.get("apps/v1", "StatefulSet", "pg")["metadata"].get("annotations") or {}
        return str(json.loads(notes[NOTE])["step"]) if NOTE in notes else ""

    def hidden(self) -> str:
        return self.replica("sh", "-c", f"ls -d {MOUNT}/.holdfast/*/old/mark 2>/dev/null; true")

    def as_good_as_new(self) -> None:
        """It follows, holds what the primary has, and nothing is left of us."""
        self.server.ready()
        wait_until(self.follows, 60)
        confirmed = self.run(state="confirmed")
        assert not confirmed.failed, confirmed.msg
        found = self.namespace.get("apps/v1", "StatefulSet", "pg")
        assert found["spec"]["replicas"] == 2
        notes = found["metadata"].get("annotations") or {}
        assert not [one for one in notes if one.startswith("holdfast.postgres/")]
        assert self.replica("sh", "-c", f"ls -A {MOUNT} | grep -c holdfast; true") == "0"


@pytest.fixture(scope="module")
def pair(cluster: Any, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    namespace = cluster.api.create_namespace()
    yield Pair(namespace, tmp_path_factory.mktemp("pair"), image)
    namespace.remove()


def test_what_is_broken_is_made_anew_and_follows(pair: Pair) -> None:
    wait_until(pair.follows, 60)
    pair.damage()
    before = pair.untouched()
    pair.primary("insert into t select generate_series(5000, 6000)")
    before = pair.untouched()
    for more, said in (
        ({"ordinal": 0, "confirm": [f"{pair.namespace}/pg-0"]}, "pg-0 is the primary, by its own word"),
        ({"force": False}, "force: true and confirm"),
        ({"login_host": None}, "login_host"),
    ):
        refused = pair.run(**more)
        assert refused.failed and said in refused.msg, refused.msg
    plan = run_module("k8s_replica", pair.options(force=False, confirm=[]), check=True)
    assert plan.changed and plan.result["consent"] == {"force": True, "confirm": [f"{pair.namespace}/pg-1"]}, plan.msg
    assert pair.step == ""
    done = pair.run()
    assert not done.failed, done.msg
    assert done.result["step"] == "done" and done.result["recovery"]["slot"] == "slot_1"
    assert any("The primary streams to pg-1" in one for one in done.result["proof"]["proven"])
    assert pair.follows() and pair.untouched() == before
    assert pair.replica("psql", "-XAtc", f"select pg_is_in_recovery(); {CONTENT}", "-U", "postgres").split("\n") == [
        "t",
        "|".join(str(one) for one in before[-1][0]),
    ]
    assert pair.hidden()
    again = pair.run()
    assert not again.failed and not again.changed, again.msg
    pair.as_good_as_new()
    assert not ok(pair.run(state="confirmed"))["changed"] and pair.untouched() == before


@pytest.mark.extended
def test_lost_data_and_a_service_that_leads_to_the_replica(pair: Pair) -> None:
    """What the chart made anew by itself is no reason to refuse."""
    leads = pair.run(login_host=pair.address("replica"))
    assert leads.failed and "is a standby" in leads.msg, leads.msg
    pair.namespace.execute("pg-1", "sh", "-c", f"rm -f {DATA}/postgresql.auto.conf")
    before = pair.untouched()
    done = pair.run()
    assert not done.failed, done.msg
    assert any("How it followed was not known" in one for one in done.result["proof"]["unproven"])
    assert pair.primary("select state from pg_stat_replication") == [("streaming",)] and pair.untouched() == before
    back = pair.run(state="rolled_back")
    assert not back.failed and back.changed, back.msg
    assert pair.step == "" and not ok(pair.run(state="rolled_back"))["changed"]
    pair.damage()
    assert not pair.run().failed
    pair.primary("select pg_drop_replication_slot('slot_1')")
    assert not pair.run(state="confirmed").failed


@pytest.mark.extended
@pytest.mark.parametrize("step", ["proving", "stopping", "laying out", "swapping", "starting"])
@pytest.mark.parametrize("goes", ["on", "back"])
def test_a_run_that_is_killed(pair: Pair, step: str, goes: str) -> None:
    before = pair.untouched()
    running = start_module("k8s_replica", pair.options())
    wait_until(lambda: pair.step == step, 120, every=0.05)
    running.kill()
    assert pair.step == step
    done = pair.run() if goes == "on" else pair.run(state="rolled_back")
    assert not done.failed, done.msg
    assert step in done.result["plan"][0] and pair.untouched() == before
    pair.server.ready()
    if goes == "on":
        assert pair.run(state="confirmed").changed
    assert pair.step == "" and pair.namespace.get("apps/v1", "StatefulSet", "pg")["spec"]["replicas"] == 2


@pytest.mark.extended
def test_by_the_playbook(pair: Pair) -> None:
    given = {
        "holdfast_kubernetes": access(pair.account, pair.namespace),
        "holdfast_kubernetes_restore_kind": "replica",
        "holdfast_kubernetes_restore_stateful_set": "pg",
        "holdfast_kubernetes_restore_ordinal": 1,
        "holdfast_kubernetes_restore_pod": {"image": pair.image, "image_pull_policy": "IfNotPresent"},
        "holdfast_kubernetes_restore_force": True,
        "holdfast_kubernetes_restore_confirm": [f"{pair.namespace}/pg-1"],
        "holdfast_login_host": pair.address("primary"),
        "holdfast_login_user": "postgres",
        "holdfast_login_password": pair.server.password,
    }
    done = run_playbook(CHECKOUT / "playbooks" / "kubernetes_restore.yml", given, inventory="shop,")
    assert done.returncode == 0 and done.changed, done.stdout + done.stderr
    assert not pair.run(state="confirmed").failed
