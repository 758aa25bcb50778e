# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a clone that is not the server of that moment, or that the server that it comes from notices.

Members: beside, in the same namespace, with what selects too much (a Service by what it is alone, a disruption budget), an archive_mode that stands in the
arguments, an enabled subscription, a container beside; in another namespace; of a volume snapshot; names that are taken; each step in which the run is
killed; a moment that cannot be reached, then one that can. Under exactly the rights of the table. What is there is asked of the servers by psycopg2
and pg_dump, and of the cluster by its endpoints; whether the server was touched, by its pod, its StatefulSet and its data.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.receiving import bucket
from lab.kubernetes.runs import access
from lab.playbooks import CHECKOUT, run_module, run_playbook, start_module
from lab.stores import S3Server
from lab.waiting import wait_until

NOTE = "holdfast.postgres/clone-run"
CONTENT = "select count(*), md5(string_agg(m, ',' order by g)) from t"
SIDECAR = {"name": "beside", "image": POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}


def sidecar(objects: list[dict[str, Any]]) -> None:
    """A container that reads a Secret of its own, which is not there for the clone."""
    secret = {"secretRef": {"name": "of-the-sidecar", "optional": True}}
    objects[-1]["spec"]["template"]["spec"]["containers"].append({**SIDECAR, "envFrom": [secret]})


class Shop:
    """A server with a backup in a store, taken when its table held `kept`; it went on since."""

    def __init__(self, namespace: Namespace, directory: Path, image: str, store: S3Server) -> None:
        self.namespace, self.image, self.directory = namespace, image, directory
        self.server = Postgres(
            namespace, "pg", sidecar, settings={"archive_mode": "on", "archive_command": "true", "wal_level": "logical"}
        ).ready()
        labels = {"app.kubernetes.io/name": "postgresql"}
        namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "any"},
                "spec": {"selector": labels, "ports": [{"name": "pg", "port": 5432}]},
            },
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "pg"},
                "spec": {"maxUnavailable": 0, "selector": {"matchLabels": labels}},
            },
        )
        self.server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g")
        self.server.sql(
            "create subscription s connection 'host=nowhere.invalid' publication p with (connect = false, slot_name = 's')"
        )
        self.server.sql("alter subscription s enable")
        self.kept = self.server.sql(CONTENT)
        self.repository = bucket(store, namespace)
        self.where = {"repository": self.repository, "server_name": "shop"}
        made = run_module("pg_backup", {**self.where, **self.server.login, "engine": "pg_basebackup"})
        assert not made.failed, made.msg
        self.server.sql("delete from t where g > 10")

    def account(self, target: Namespace, name: str, secrets: bool = True) -> Path:
        """Who may read the server here, and make the clone there."""
        source = rights_of(
            "clone_source", server=["pg"], config_maps=[], secrets=["pg"] if secrets else [], accounts=["default"], claims=["data-pg-0"]
        )  # fmt: skip
        services = {"pg": name, "pg-headless": f"{name}-headless", "any": "any" if name == "pg" else f"any-{name}"}
        clone = rights_of(
            "clone", clone=[name], services=list(services.values()), config_maps=[], secrets=[name, "pg"], accounts=[],
            claims=[f"data-{name}-0"], network_policies=[], leases=[f"holdfast-recovery-{name}"],
        )  # fmt: skip
        here = [rule.manifest() for rule in source.rules]
        there = [rule.manifest() for rule in clone.rules]
        cluster = [rule.manifest() for rule in clone.cluster]
        if target is self.namespace:
            return target.service_account([*here, *there], self.directory, cluster_rules=cluster)
        path = target.service_account(there, self.directory, cluster_rules=cluster)
        self._lend(target, path, here)
        return path

    def _lend(self, target: Namespace, path: Path, rules: list[dict[str, Any]]) -> None:
        """Rights in the server's namespace for an account of another one."""
        (account,) = [one for one in target.list("v1", "ServiceAccount") if one["metadata"]["name"] != "default"]
        name = account["metadata"]["name"]
        rbac = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": target.name}
        self.namespace.apply(
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": f"lent-{target}"}, "rules": rules},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"lent-{target}"},
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": f"lent-{target}"},
                "subjects": [subject],
            },
        )

    def options(self, account: Path, **more: Any) -> dict[str, Any]:
        return {
            **self.where,
            "kubernetes": access(account, self.namespace),
            "stateful_set": "pg",
            "name": "again",
            "recovery_target": {"immediate": True},
            "pod": {"image": self.image, "image_pull_policy": "IfNotPresent"},
            "timeout": "60s",
            "deadline": "5min",
            **more,
        }

    def of_clone(self, name: str = "again", namespace: Namespace | None = None) -> Postgres:
        return Postgres.there(namespace or self.namespace, name, self.server.password)

    def fingerprint(self) -> dict[str, Any]:
        """All by which it would be seen that somebody touched the server."""
        get = self.namespace.get
        found = get("apps/v1", "StatefulSet", "pg")
        claim = get("v1", "PersistentVolumeClaim", self.server.claim)
        address = get("v1", "Pod", "pg-0")["status"]["podIP"]
        command = ["pg_dump", "-h", self.server.host, "-U", "postgres", "-d", "postgres"]
        dump = subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "PGPASSWORD": self.server.password}
        ).stdout
        kept = b"\n".join(line for line in dump.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict")))
        return {
            "pod": get("v1", "Pod", "pg-0")["metadata"]["uid"],
            "stateful_set": (found["metadata"]["generation"], found["spec"], found["metadata"].get("annotations")),
            "claim": (claim["metadata"]["uid"], claim["spec"]["volumeName"], claim["metadata"].get("labels")),
            "secret": get("v1", "Secret", "pg")["data"],
            "leads": {name: self.addresses(name) == [address] for name in ("pg", "pg-headless", "any")},
            "budget": get("policy/v1", "PodDisruptionBudget", "pg")["status"]["expectedPods"],
            "dump": hashlib.sha256(kept).hexdigest(),
        }

    def addresses(self, service: str) -> list[str]:
        found = self.namespace.list("discovery.k8s.io/v1", "EndpointSlice", f"kubernetes.io/service-name={service}")
        return [one for each in found for end in each["endpoints"] or () for one in end["addresses"]]

    def step(self, name: str = "again") -> str:
        found = self.namespace.find("apps/v1", "StatefulSet", name) or {"metadata": {}}
        notes = found["metadata"].get("annotations") or {}
        return str(json.loads(notes[NOTE])["step"]) if NOTE in notes else ""

    def remove(self, name: str = "again") -> None:
        """As `next_steps` has it."""
        gone = [
            ("apps/v1", "StatefulSet"), ("v1", "Service"), ("v1", "Secret"), ("v1", "PersistentVolumeClaim"),
        ]  # fmt: skip
        for version, kind in gone:
            for one in self.namespace.list(version, kind, f"holdfast.postgres/clone={name}"):
                self.namespace.delete(version, kind, one["metadata"]["name"], 0 if kind == "Pod" else None)
        wait_until(
            lambda: (
                not self.namespace.find("v1", "Pod", f"{name}-0")
                and not self.namespace.find("v1", "PersistentVolumeClaim", f"data-{name}-0")
            ),
            60,
        )


@pytest.fixture(scope="module")
def shop(cluster: Any, image: str, store: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    namespace = cluster.api.create_namespace()
    yield Shop(namespace, tmp_path_factory.mktemp("shop"), image, store)
    namespace.remove()


def test_beside_and_the_server_is_as_it_was(shop: Shop) -> None:
    """The names are taken, then a plan, then the clone, then again."""
    before, options = shop.fingerprint(), shop.options(shop.account(shop.namespace, "again"))
    taken = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "again"}}
    shop.namespace.apply(taken)
    refused = run_module("k8s_clone", options, check=True)
    assert refused.failed and "Secret" in refused.msg and "Nothing was made" in refused.msg, refused.msg
    shop.namespace.delete("v1", "Secret", "again")
    wait_until(lambda: not shop.namespace.find("v1", "Secret", "again"), 10)
    plan = run_module("k8s_clone", options, check=True)
    assert plan.changed and any("app.kubernetes.io/instance=again" in one for one in plan.result["plan"]), plan.msg
    assert not shop.namespace.find("apps/v1", "StatefulSet", "again")
    done = ok(run_module("k8s_clone", options))
    assert done["step"] == "done" and done["recovery"]["lsn"]
    clone = shop.of_clone()
    assert clone.sql(CONTENT) == shop.kept
    assert clone.sql("show archive_mode") == [("off",)]
    assert clone.sql("select subenabled from pg_subscription") == [(False,)]
    assert clone.sql("select count(*) from pg_replication_slots") == [(0,)]
    assert any("subscription 's'" in one for one in done["isolated"])
    address = shop.namespace.get("v1", "Pod", "again-0")["status"]["podIP"]
    for name in ("again", "again-headless", "any-again"):
        assert shop.addresses(name) == [address], name
    pod = shop.namespace.get("v1", "Pod", "again-0")["spec"]
    assert [one["name"] for one in pod["containers"]] == ["postgres"]
    assert any("lead to the clone alone" in one for one in done["proof"]["proven"])
    clone.sql("drop table t")
    assert shop.fingerprint() == before
    uid = shop.namespace.get("v1", "Pod", "again-0")["metadata"]["uid"]
    again = run_module("k8s_clone", options)
    assert not again.failed and not again.changed and not again.result["plan"], again.msg
    assert shop.namespace.get("v1", "Pod", "again-0")["metadata"]["uid"] == uid
    other = run_module("k8s_clone", {**options, "recovery_target": {"latest": True}})
    assert other.failed and "holdfast.postgres/clone=again" in other.msg
    shop.remove()


@pytest.mark.extended
def test_in_another_namespace_with_the_secrets_that_are_there(shop: Shop, namespace: Namespace) -> None:
    before = shop.fingerprint()
    account = shop.account(namespace, "pg", secrets=False)
    login = {"login_user": "postgres", "login_password": shop.server.password}
    options = shop.options(account, name="pg", namespace=namespace.name, secrets="shared")
    lacking = run_module("k8s_clone", options)
    assert lacking.failed and "the Secrets pg" in lacking.msg and "secrets: own" in lacking.msg, lacking.msg
    namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg"}, "stringData": {"password": "x"}})
    done = ok(run_module("k8s_clone", options))
    clone = shop.of_clone("pg", namespace)
    assert clone.sql(CONTENT) == shop.kept and done["step"] == "done"
    assert clone.sql("show listen_addresses") == [("*",)], login
    assert shop.fingerprint() == before
    assert not ok(run_module("k8s_clone", options))["changed"]


@pytest.mark.extended
def test_a_moment_that_cannot_be_reached_and_then_one_that_can(shop: Shop) -> None:
    before, account = shop.fingerprint(), shop.account(shop.namespace, "again")
    failed = run_module("k8s_clone", shop.options(account, recovery_target={"lsn": "FF/0"}))
    assert failed.failed and "Nothing was changed in" in failed.msg and "kubectl" in failed.msg, failed.msg
    assert not shop.namespace.find("v1", "Pod", "again-0") and shop.step() == "laying out"
    settings = {"shared_preload_libraries": "of_nobody"}
    failed = run_module("k8s_clone", shop.options(account, settings=settings))
    assert failed.failed and "of_nobody" in failed.msg, failed.msg
    assert not shop.namespace.find("v1", "Pod", "again-0") and shop.step() == "laying out"
    ok(run_module("k8s_clone", shop.options(account)))
    assert shop.of_clone().sql(CONTENT) == shop.kept and shop.fingerprint() == before
    shop.remove()


@pytest.mark.extended
@pytest.mark.parametrize("step", ["making", "laying out", "recovering", "swapping", "clearing", "starting"])
def test_a_run_that_is_killed_is_gone_on_with(shop: Shop, step: str) -> None:
    before, options = shop.fingerprint(), shop.options(shop.account(shop.namespace, "again"))
    running = start_module("k8s_clone", options)
    wait_until(lambda: shop.step() == step, 120, every=0.05)
    running.kill()
    assert shop.step() == step
    done = ok(run_module("k8s_clone", options))
    assert step in done["plan"][0] and done["step"] == "done"
    assert shop.of_clone().sql(CONTENT) == shop.kept and shop.fingerprint() == before
    assert not ok(run_module("k8s_clone", options))["changed"]
    shop.remove()


@pytest.mark.extended
def test_of_a_volume_snapshot_by_the_playbook(shop: Shop, cluster: Any) -> None:
    """As it is, crash-consistent: the claim is restored under the clone's name, and the server's own image starts it in private."""
    snapshot = [
        rights_of(job, server=["pg"], claims=["data-pg-0"], new_claims=["data-again-0"])
        for job in ("snapshot", "snapshot_restore")
    ]
    taker = shop.namespace.service_account(
        [rule.manifest() for one in snapshot for rule in one.rules],
        shop.directory,
        cluster_rules=[rule.manifest() for one in snapshot for rule in one.cluster],
    )
    made = ok(
        run_module(
            "pvc_snapshot",
            {
                **shop.where,
                **shop.server.login,
                "kubernetes": access(taker, shop.namespace),
                "stateful_set": "pg",
                "state_dir": str(shop.directory),
                "timeout": "90s",
            },
        )
    )
    held = shop.server.sql(CONTENT)
    before = shop.fingerprint()
    clone = rights_of(
        "clone", clone=["again"], services=["again", "again-headless", "any-again"], config_maps=[], secrets=["again"], accounts=[],
        claims=["data-again-0"], network_policies=[], leases=["holdfast-recovery-again"],
    )  # fmt: skip
    source = rights_of(
        "clone_source", server=["pg"], config_maps=[], secrets=["pg"], accounts=["default"], claims=["data-pg-0"]
    )
    rights = [source, clone, snapshot[1]]
    account = shop.namespace.service_account(
        [rule.manifest() for one in rights for rule in one.rules],
        shop.directory,
        cluster_rules=[rule.manifest() for one in rights for rule in one.cluster],
    )
    given = {
        "holdfast_kubernetes": access(account, shop.namespace),
        "holdfast_repository": shop.repository,
        "holdfast_server_name": "shop",
        "holdfast_kubernetes_restore_kind": "clone",
        "holdfast_kubernetes_restore_stateful_set": "pg",
        "holdfast_kubernetes_restore_backup_id": made["backup"]["id"],
        "holdfast_kubernetes_restore_clone": {"name": "again", "source": "snapshot"},
        "holdfast_kubernetes_restore_pod": {"image": shop.image, "image_pull_policy": "IfNotPresent"},
        "holdfast_kubernetes_restore_timeout": "90s",
    }

    def play(*arguments: str) -> Any:
        return run_playbook(CHECKOUT / "playbooks" / "kubernetes_restore.yml", given, *arguments, inventory="shop,")

    plan = play("--check")
    assert plan.returncode == 0, plan.stdout
    assert not shop.namespace.find("v1", "PersistentVolumeClaim", "data-again-0")
    done = play()
    assert done.returncode == 0, done.stdout + done.stderr
    again = shop.of_clone()
    assert again.sql(CONTENT) == held and again.sql("show archive_mode") == [("off",)]
    assert again.sql("select subenabled from pg_subscription") == [(False,)]
    assert shop.fingerprint() == before
    second = play()
    assert second.returncode == 0 and not second.changed, second.stdout
    shop.remove()
