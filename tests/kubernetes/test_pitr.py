# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A StatefulSet's server, brought back beside the old one to moments by chance, out of a store alone: on the server's side there is nothing but the
image of PostgreSQL. A Job of ours lays the backup out into a new claim, with the WAL that it needs; a pod of the server's own image recovers it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import MOUNT, USER, Postgres
from lab.kubernetes.receiving import NAME, archive, bucket, steps, variables
from lab.kubernetes.runs import claim
from lab.playbooks import run_module
from lab.stores import S3Server
from lab.waiting import wait_until

CONTENT = "select count(*), md5(string_agg(n::text, ',' order by n)) from t"


def written(server: Postgres, number: int) -> tuple[Any, dict[str, Any]]:
    """Rows of one moment: what the table holds, and a target at which it holds that."""
    server.sql(f"insert into t select n from generate_series({number * 100}, {number * 100 + 60 + number}) n")
    ((kept,), lsn) = (server.sql(CONTENT), server.sql("select pg_current_wal_insert_lsn()::text")[0][0])
    targets: list[dict[str, Any]] = [
        {"lsn": lsn, "inclusive": False},
        {"time": server.sql("select clock_timestamp()::text")[0][0].replace(" ", "T")},
    ]
    server.sql(f"select pg_create_restore_point('moment {number}')")
    targets.append({"name": f"moment {number}"})
    return kept, targets[number % len(targets)]


def prepare(
    kubeconfig: Path, namespace: Namespace, image: str, repository: dict[str, Any], name: str, target: dict[str, Any]
) -> dict[str, Any]:
    """The Job that lays a server out into the claim of a StatefulSet `name`, which is yet to be made."""
    return {
        "kubernetes": {"kubeconfig": str(kubeconfig), "namespace": namespace.name},
        "name": f"prepare-{name}",
        "image": image,
        "image_pull_policy": "IfNotPresent",
        "playbook": "holdfast.postgres.recover",
        "server_name": "shop",
        "claims": {f"data-{name}-0": MOUNT},
        "run_as_user": USER,
        "fs_group": USER,
        "variables": {
            "holdfast_repository": repository,
            "holdfast_data_directory": f"{MOUNT}/pgdata",
            "holdfast_recovery_target": target,
            "holdfast_recover_prepare": True,
            "holdfast_config_dir": "/home/holdfast/servers",
        },
    }


@pytest.mark.extended
def test_five_moments_from_a_store(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Callable[..., Path],
    image: str,
    store: S3Server,
) -> None:
    server = postgres()
    namespace.apply(claim("wal"))
    repository = bucket(store, namespace)
    rights = (
        rights_of("deployment", deployments=[NAME]),
        rights_of("job", claims=["wal", *(f"data-again{n}-0" for n in range(5))]),
    )
    account = service_account([rule.manifest() for one in rights for rule in one.rules])
    server.sql("create table t (n int)")
    steps(archive(variables(server, account, image, repository)))
    chance = random.Random(f"{namespace.name}")
    moments = []
    for number in range(12):
        moments.append(written(server, number))
        if chance.random() < 0.4:
            server.sql("select pg_switch_wal()")
    last = server.sql("select pg_walfile_name(pg_current_wal_lsn())")[0][0]
    server.sql("select pg_switch_wal()")
    client = store.client()

    def shipped() -> bool:
        found = client.list_objects_v2(Bucket=repository["bucket"], Prefix=f"shop/_wal/{last}")
        return bool(found.get("Contents"))

    wait_until(shipped, 90)
    server.sql("drop table t")
    for number, (kept, target) in enumerate(chance.sample(moments, 5)):
        name = f"again{number}"
        namespace.apply(claim(f"data-{name}-0"))
        given = prepare(account, namespace, image, repository, name, target)
        done = run_module("k8s_job", given)
        assert not done.failed, (target, done.msg)
        beside = Postgres(namespace, name)
        beside.password = server.password  # roles and their passwords are in the backup
        beside.ready()
        wait_until(lambda beside=beside: beside.sql("select not pg_is_in_recovery()") == [(True,)], 60)
        assert beside.sql(CONTENT) == [kept], target
        ((command,),) = beside.sql("select setting from pg_settings where name = 'restore_command'")
        assert command.startswith("cp ") and beside.sql("show archive_mode") == [("off",)]
        namespace.delete("apps/v1", "StatefulSet", name, grace=1)
    assert server.sql("select 1") == [(1,)]
