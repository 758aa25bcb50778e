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
from lab.answers import ok
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.receiving import NAME, PLAYBOOKS, archive, bucket, steps, variables
from lab.kubernetes.runs import claim
from lab.playbooks import PlaybookResult, run_module, run_playbook
from lab.stores import S3Server
from lab.waiting import wait_until

CONTENT = "select count(*), md5(string_agg(n::text, ',' order by n)) from t"


def application() -> dict[str, Any]:
    container = {"name": "c", "image": POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    template = {
        "metadata": {"labels": {"app": "app"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "app"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": spec}


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
    namespace.apply(claim("wal"), application())
    repository = bucket(store, namespace)
    names = {"server": ["pg"], "claims": ["data-pg-0"], "new_claims": ["data-again"]}
    rights = [
        rights_of("deployment", deployments=[NAME]),
        rights_of("job", claims=["wal", "data-again"]),
        rights_of("applications", deployments=["app"], stateful_sets=[], cron_jobs=[]),
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
    login = server.login
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

    restoring: dict[str, Any] = {
        "holdfast_kubernetes": where, "holdfast_repository": repository, "holdfast_server_name": "shop",
        "holdfast_recovery_target": {"lsn": lsn, "inclusive": False}, "holdfast_kubernetes_restore_kind": "snapshot",
        "holdfast_kubernetes_restore_stateful_set": "pg", "holdfast_kubernetes_restore_backup_id": made["backup"]["id"],
        "holdfast_kubernetes_restore_new_claims": {"data-pg-0": "data-again"}, "holdfast_kubernetes_restore_in_place": True,
        "holdfast_kubernetes_restore_pod": {"image": image, "image_pull_policy": "IfNotPresent"},
        "holdfast_kubernetes_restore_applications": [{"name": "app"}], "holdfast_kubernetes_restore_timeout": "90s",
    }  # fmt: skip
    agreed = {
        "holdfast_kubernetes_restore_force": True,
        "holdfast_kubernetes_restore_confirm": [f"{namespace.name}/pg"],
    }
    asked = run(restoring)
    assert asked.returncode and "Nothing was done" in asked.stdout and server.sql("select 1") == [(1,)]
    old = namespace.get("v1", "PersistentVolumeClaim", "data-pg-0")["spec"]["volumeName"]
    done = run({**restoring, **agreed})
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: server.sql("select not pg_is_in_recovery()") == [(True,)], 60)
    assert server.sql(CONTENT) == [expected]
    assert server.sql("show archive_mode") == [("off",)] and server.sql("show listen_addresses") == [("*",)]
    assert namespace.get("apps/v1", "Deployment", "app")["spec"]["replicas"] == 1
    again = run({**restoring, **agreed})
    assert again.returncode == 0 and "Nothing to do" in again.stdout, again.stdout
    back = run({**restoring, **agreed, "holdfast_kubernetes_restore_state": "rolled_back"})
    assert back.returncode == 0, back.stdout + back.stderr
    assert namespace.get("v1", "PersistentVolumeClaim", "data-pg-0")["spec"]["volumeName"] == old
    assert server.sql("select count(*) from pg_class where relname = 't'") == [(0,)]
    # Its recovery has begun: what is there is no snapshot any more.
    later = run({**restoring, **agreed})
    assert later.returncode and "a server has run on it" in later.stdout, later.stdout


def run(given: dict[str, Any]) -> PlaybookResult:
    """The playbook, as people run it."""
    return run_playbook(PLAYBOOKS / "kubernetes_restore.yml", given, inventory="shop,")
