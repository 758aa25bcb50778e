# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a Cluster of CloudNativePG that is stopped, and whose last rows are in no archive (CloudNativePG#10341).

Members: hibernated, fenced; without a login; twice. On the real operator, under exactly the rights of the table. What is in the store is asked
of the store itself by boto3, what runs by the pods, the rows by psycopg2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes import receiving
from lab.kubernetes.api import Namespace
from lab.kubernetes.cloudnative_pg import API, Cnpg, archiving
from lab.playbooks import ModuleResult, run_module
from lab.stores import S3Server


class Shop:
    def __init__(self, namespace: Namespace, directory: Path, store: S3Server) -> None:
        self.namespace, self.store = namespace, store
        self.bucket = receiving.bucket(store, namespace)
        namespace.apply(*archiving("shop", self.bucket, enableSuperuserAccess=True))
        self.server = Cnpg(namespace, "shop")
        self.server.ready()
        allowed = rights_of("cnpg_cluster", clusters=["shop"], object_stores=[], secrets=["shop-s3"])
        self.account = namespace.service_account([rule.manifest() for rule in allowed.rules], directory)
        login = self.server.login
        self.server.sql("create role closer login password 'closer'")
        self.server.sql("grant execute on function pg_create_restore_point(text), pg_switch_wal() to closer")
        self.server.sql("create table t (n int)")
        self.login = {"login_host": login["login_host"], "login_user": "closer", "login_password": "closer"}

    def run(self, state: str, check: bool = False, login: bool = True, **more: Any) -> ModuleResult:
        options = {
            "kubernetes": {"kubeconfig": str(self.account), "namespace": self.namespace.name},
            "cluster": "shop",
            "state": state,
            "timeout": "3min",
            "wal_timeout": "60s",
            **(self.login if login else {}),
            **more,
        }
        return run_module("cnpg_cluster", options, check=check)

    @property
    def segments(self) -> set[str]:
        """Those that the store has."""
        listed = self.store.client().list_objects_v2(Bucket=self.bucket["bucket"])
        names = (one["Key"].rpartition("/")[2].partition(".")[0] for one in listed.get("Contents", ()))
        return {name for name in names if len(name) == 24}

    @property
    def pods(self) -> dict[str, bool]:
        """The pods of instances, and whether each is ready."""
        found = self.namespace.list("v1", "Pod", "cnpg.io/podRole=instance")
        return {
            pod["metadata"]["name"]: any(
                one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or ()
            )
            for pod in found
        }

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.namespace.get(API, "Cluster", "shop")["metadata"].get("annotations") or {})


@pytest.fixture(scope="module")
def shop(
    cluster: Any, cnpg_archiving: None, store: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    namespace = cluster.api.create_namespace()
    try:
        yield Shop(namespace, tmp_path_factory.mktemp("cnpg"), store)
    finally:
        Cnpg(namespace, "shop").delete()
        namespace.remove()


@pytest.mark.extended
def test_hibernated_with_its_last_row_in_the_store_and_awake_again(shop: Shop) -> None:
    """The row lies in a segment that nothing would have ended; check mode ends none; a second run changes nothing."""
    shop.server.sql("insert into t values (1)")
    ((last,),) = shop.server.sql("select pg_walfile_name(pg_current_wal_insert_lsn())")
    plan = shop.run("hibernated", check=True)
    assert plan.changed and "end the open segment" in plan.result["plan"][0] and plan.result["segment"] is None, (
        plan.msg
    )
    assert last not in shop.segments and "cnpg.io/hibernation" not in shop.annotations
    refused = shop.run("hibernated", login=False)
    assert refused.failed and "No login is given" in refused.msg and "force: true" in refused.msg
    assert shop.pods == {"shop-1": True}
    done = shop.run("hibernated")
    assert done.changed and not done.failed, done.msg
    assert done.result["segment"] >= last and {last, done.result["segment"]} <= shop.segments
    assert shop.pods == {} and "shop-1" in done.result["proof"]["proven"][-1]
    again = shop.run("hibernated", login=False)
    assert not again.failed and not again.changed and again.result["plan"] == [], again.msg
    awake = shop.run("running", login=False)
    assert awake.changed and not awake.failed, awake.msg
    assert shop.pods == {"shop-1": True} and shop.server.sql("select n from t") == [(1,)]
    assert not shop.run("running", login=False).changed


@pytest.mark.extended
def test_fenced_and_let_go(shop: Shop) -> None:
    refused = shop.run("fenced", instances=["other-1"])
    assert refused.failed and "shop-1" in refused.msg
    shop.server.sql("insert into t values (2)")
    ((last,),) = shop.server.sql("select pg_walfile_name(pg_current_wal_insert_lsn())")
    done = shop.run("fenced", instances=["shop-1"])
    assert done.changed and not done.failed, done.msg
    assert last in shop.segments and shop.pods == {"shop-1": False}
    assert shop.annotations["cnpg.io/fencedInstances"] == '["shop-1"]'
    assert not shop.run("fenced", instances=["shop-1"], login=False).changed
    free = shop.run("unfenced", login=False)
    assert free.changed and not free.failed, free.msg
    assert "cnpg.io/fencedInstances" not in shop.annotations and shop.pods == {"shop-1": True}
    assert (2,) in shop.server.sql("select n from t") and not shop.run("unfenced", login=False).changed
