# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every pair of a layout and a consistency that is called right, on a real driver: snapshotted under pgbench, restored, started, and compared; on one
whose snapshots are of one moment, and on one that copies files. (What is called wrong, and refused: test_pvc_snapshot.)"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok, refused
from lab.kubernetes.copies import copying
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.snapshots import ARCHIVING, Shop, on_claims, restore, restorer, start
from lab.waiting import wait_until

pytestmark = pytest.mark.extended
Object = dict[str, Any]
SUMS = ", ".join(
    f"(select sum({column}) from pgbench_{table})"
    for table, column in (
        ("accounts", "abalance"),
        ("tellers", "tbalance"),
        ("branches", "bbalance"),
        ("history", "delta"),
    )
)


class Bench:
    """pgbench at work on a server; what it commits moves the same amount in four tables."""

    def __init__(self, server: Postgres, *space: str) -> None:
        self._server = server
        self._run("-i", "-q", "-s", "1", *space)
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        where = ["-h", self._server.host, "-U", "postgres", *arguments, "postgres"]
        return ["pgbench", *where], {"PGPASSWORD": self._server.password, "PATH": "/usr/bin:/bin"}

    def _run(self, *arguments: str) -> None:
        command, environment = self._command(*arguments)
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def __enter__(self) -> Bench:
        command, environment = self._command("-n", "-c", "3", "-T", "300")
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.committed() > 100, 60)
        return self

    def committed(self) -> int:
        ((count,),) = self._server.sql("select count(*) from pgbench_history")
        return int(count)

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def layouts(server: Postgres) -> dict[str, str]:
    """Where each claim that holds the server is mounted."""
    template = server.namespace.get("apps/v1", "StatefulSet", server.name)["spec"]["template"]["spec"]
    mounts = {one["name"]: one["mountPath"] for one in template["containers"][0]["volumeMounts"]}
    return {f"{name}-{server.name}-0": path for name, path in mounts.items() if name != "archive"}


def on_class(name: str, *claims: str) -> Callable[[list[Object]], None]:
    more = on_claims(*claims)

    def change(objects: list[Object]) -> None:
        more(objects)
        top = next(one for one in objects if one["kind"] == "StatefulSet")
        for template in top["spec"]["volumeClaimTemplates"]:
            template["spec"] = {**template["spec"], "storageClassName": name}

    return change


@pytest.fixture
def site(cluster: Any, namespace: Any, tmp_path: Path) -> Callable[..., Shop]:
    cluster.lab_or_skip("a driver whose snapshots are of one moment")

    def make(*claims: str, storage: str | None = None) -> Shop:
        change = on_class(storage, *claims) if storage else on_claims(*claims)
        server = Postgres(namespace, "pg", change, settings=ARCHIVING if "archive" in claims else {}).ready()
        if "space" in claims:
            namespace.execute("pg-0", "mkdir", "-m", "0700", "/space/ts")
            server.sql("create tablespace space location '/space/ts'")
        rights = rights_of("snapshot", server=["pg"], claims=list(layouts(server)))
        kubeconfig = namespace.service_account(
            [rule.manifest() for rule in rights.rules],
            tmp_path,
            cluster_rules=[rule.manifest() for rule in rights.cluster],
        )
        exclude = {"pg": ["archive-pg-0"]} if "archive" in claims else {}
        return Shop(namespace, server, server, kubeconfig, tmp_path, exclude)

    return make


def brought_back(shop: Shop, repository: Path, mode: str) -> None:
    """Snapshot under load, restore, start, compare."""
    server, mounts = shop.plain, layouts(shop.plain)
    bench = Bench(server, *(["--tablespace=space"] if "/space" in mounts.values() else []))
    with bench:
        if mode != "stopped":
            least = bench.committed()
            made = ok(shop.run(repository, server, consistency=mode))
            most = bench.committed()
    if mode == "stopped":
        least = most = bench.committed()
        scale(server, 0)
        made = ok(shop.run(repository, stateful_set="pg", exclude_claims=shop.exclude.get("pg", [])))
        scale(server, 1)
    assert made["backup"]["consistency"]["mode"] == mode
    names = {name: f"again-{number}" for number, name in enumerate(mounts)}
    options: Object = {"backup_id": made["backup"]["id"], "new_claims": names}
    if mode == "backup_mode":
        options["settings"] = {"restore_command": "cp /archive/%f %p"}
    ok(restore(shop, restorer(shop, *names.values()), repository, **options))
    volumes = {mounts[name]: new for name, new in names.items()}
    ask = start(shop, "again", volumes, archive="archive-pg-0" if mode == "backup_mode" else None)
    wait_until(lambda: ask("select pg_is_in_recovery()") == "f", 60)
    sums = ask(f"select {SUMS}").split("|")
    assert len(set(sums)) == 1, sums
    assert (
        least <= int(ask("select count(*) from pgbench_history")) <= (most if mode != "backup_mode" else most + 10**9)
    )
    assert ask("select count(*) from pgbench_accounts") == "100000"
    ask("create extension if not exists amcheck")
    ask("select bt_index_check(c.oid, true) from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'btree'")
    shop.namespace.delete("v1", "Pod", "again", grace=0)


def scale(server: Postgres, count: int) -> None:
    server.namespace.patch("apps/v1", "StatefulSet", server.name, {"spec": {"replicas": count}})
    if count:
        server.ready()
    else:
        wait_until(lambda: server.namespace.find("v1", "Pod", server.pod) is None, 60)


@pytest.mark.parametrize("mode", ["none", "checkpoint", "stopped"])
def test_one_claim(site: Callable[..., Shop], tmp_path: Path, mode: str) -> None:
    brought_back(site(), tmp_path, mode)


def test_one_claim_in_backup_mode(site: Callable[..., Shop], tmp_path: Path) -> None:
    brought_back(site("archive"), tmp_path, "backup_mode")


@pytest.mark.parametrize("mode", ["backup_mode", "stopped"])
def test_several_claims(site: Callable[..., Shop], tmp_path: Path, mode: str) -> None:
    brought_back(site("space", "archive"), tmp_path, mode)


@pytest.fixture
def copies(cluster: Any, namespace: Any) -> Iterator[str]:
    with copying(cluster.api, cluster.lab_or_skip("a second driver").directory) as name:
        yield name
        namespace.delete("apps/v1", "StatefulSet", "pg", grace=0)
        wait_until(lambda: not namespace.list("v1", "Pod"), 60)
        for version, kind in (("snapshot.storage.k8s.io/v1", "VolumeSnapshot"), ("v1", "PersistentVolumeClaim")):
            for one in namespace.list(version, kind):
                namespace.delete(version, kind, one["metadata"]["name"])
        wait_until(lambda: not namespace.list("v1", "PersistentVolumeClaim"), 60)


@pytest.mark.parametrize("mode", ["backup_mode", "stopped"])
def test_a_driver_that_copies(site: Callable[..., Shop], copies: str, tmp_path: Path, mode: str) -> None:
    """While pgbench writes, file after file is copied. What would be made otherwise is refused, once it is said what the driver does."""
    shop = site("archive", storage=copies)
    for wrong in ("none", "checkpoint"):
        refused(shop.run(tmp_path, shop.plain, consistency=wrong, atomic=False), "copies files")
    brought_back(shop, tmp_path, mode)
