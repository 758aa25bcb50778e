# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A moment after a volume snapshot, in the place of what a StatefulSet has: its claims restored, the WAL fetched by a Job, the StatefulSet's own image
recovers; and the old volume back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok, refused
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import MOUNT, USER, Postgres
from lab.kubernetes.receiving import NAME, archive, bucket, steps, variables
from lab.kubernetes.runs import claim
from lab.playbooks import run_module
from lab.stores import S3Server
from lab.waiting import wait_until

CONTENT = "select count(*), md5(string_agg(n::text, ',' order by n)) from t"
DATA = f"{MOUNT}/pgdata"


@pytest.mark.extended
def test_a_snapshot_and_the_wal_since(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Callable[..., Path],
    image: str,
    store: S3Server,
    tmp_path: Path,
) -> None:
    server = postgres()
    namespace.apply(claim("wal"))
    repository = bucket(store, namespace)
    names = {"server": ["pg"], "claims": ["data-pg-0"], "new_claims": ["data-again"]}
    rights = [
        rights_of("deployment", deployments=[NAME]),
        rights_of("job", claims=["wal", "data-again"]),
        *(rights_of(job, **names) for job in ("snapshot", "snapshot_restore", "snapshot_swap")),
    ]
    account = service_account(
        [rule.manifest() for one in rights for rule in one.rules],
        cluster_rules=[rule.manifest() for one in rights for rule in one.cluster],
    )
    server.sql("create table t as select n from generate_series(1, 1000) n")
    steps(archive(variables(server, account, image, repository)))
    where = {"kubeconfig": str(account), "namespace": namespace.name}
    common: dict[str, Any] = {
        "kubernetes": where, "repository": repository, "server_name": "shop", "state_dir": str(tmp_path), "timeout": "90s",
    }  # fmt: skip
    login = {"login_host": server.host, "login_user": "postgres", "login_password": server.password}
    made = ok(run_module("pvc_snapshot", {**common, **login, "stateful_set": "pg", "consistency": "backup_mode"}))
    assert any("is in the repository" in said for said in made["proof"]["proven"])
    server.sql("insert into t select n from generate_series(5000, 5999) n")
    (expected,) = server.sql(CONTENT)
    ((lsn,),) = server.sql("select pg_current_wal_insert_lsn()::text")
    server.sql("drop table t")
    ((last,),) = server.sql("select pg_walfile_name(pg_current_wal_lsn())")
    server.sql("select pg_switch_wal()")
    client = store.client()
    wait_until(
        lambda: client.list_objects_v2(Bucket=repository["bucket"], Prefix=f"shop/_wal/{last}").get("Contents"), 90
    )

    restoring = {
        **common, "state": "restored", "backup_id": made["backup"]["id"], "new_claims": {"data-pg-0": "data-again"}, "awaits_recovery": True,
    }  # fmt: skip
    laid_in = ok(run_module("pvc_snapshot", restoring))
    assert "does not start there" in str(laid_in["proof"]["unproven"])
    target = {"lsn": lsn, "inclusive": False}
    job = {
        "kubernetes": where, "name": "recover-shop", "image": image, "image_pull_policy": "IfNotPresent", "playbook": "holdfast.postgres.recover",
        "server_name": "shop", "claims": {"data-again": MOUNT}, "run_as_user": USER, "fs_group": USER,
        "variables": {
            "holdfast_repository": repository, "holdfast_data_directory": DATA, "holdfast_recovery_target": target,
            "holdfast_recover_backup_id": made["backup"]["id"], "holdfast_recover_snapshots": "laid_out", "holdfast_recover_prepare": True,
            "holdfast_recover_in_place": True, "holdfast_config_dir": "/home/holdfast/servers",
        },
    }  # fmt: skip
    ok(run_module("k8s_job", job))
    old = namespace.get("v1", "PersistentVolumeClaim", "data-pg-0")["spec"]["volumeName"]
    in_place = {**restoring, "stateful_set": "pg", "in_place": True, "force": True, "confirm": [f"{namespace.name}/pg"]}
    ok(run_module("pvc_snapshot", in_place))
    wait_until(lambda: server.sql("select not pg_is_in_recovery()") == [(True,)], 60)
    assert server.sql(CONTENT) == [expected]
    assert server.sql("show archive_mode") == [("off",)]
    back = {**common, "stateful_set": "pg", "state": "rolled_back"}
    ok(run_module("pvc_snapshot", back))
    assert namespace.get("v1", "PersistentVolumeClaim", "data-pg-0")["spec"]["volumeName"] == old
    assert server.sql("select count(*) from pg_class where relname = 't'") == [(0,)]
    # Its recovery has begun: what is there is no snapshot any more.
    refused(run_module("k8s_job", {**job, "name": "recover-again"}), "was started since")
