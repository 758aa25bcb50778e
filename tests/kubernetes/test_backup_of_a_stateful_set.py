# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook kubernetes_backup on a real cluster, under exactly the rights of the table: from the name of a StatefulSet to a backup that restores.

The guides name Service, Secret and key by hand, and a chart that names them otherwise fails at night; replication is refused by the image's usual
pg_hba.conf, and nobody says which line is missing, or in which object that file is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import MOUNT, USER, Postgres
from lab.kubernetes.runs import PASSWORD, access, by_hand, changes, claim, rules, schedule
from lab.playbooks import CHECKOUT, PlaybookResult, run_module, run_playbook

Account = Callable[..., Path]
SAME = "select count(*), md5(string_agg(m, ',' order by g)) from t"
REPLICATION = "host replication all all scram-sha-256"


def given(kubeconfig: Path, namespace: Namespace, image: str, repository: dict[str, Any]) -> dict[str, Any]:
    return {
        "holdfast_kubernetes": access(kubeconfig, namespace),
        "holdfast_kubernetes_backup_stateful_set": "pg",
        "holdfast_kubernetes_backup_pod": {"image": image, "image_pull_policy": "IfNotPresent", "deadline": "10min"},
        "holdfast_repository": repository,
    }


def back_up(variables: dict[str, Any], *arguments: str) -> PlaybookResult:
    return run_playbook(CHECKOUT / "playbooks" / "kubernetes_backup.yml", variables, *arguments, inventory="shop,")


def done(run: PlaybookResult) -> tuple[bool, str]:
    """Whether it changed anything, and the last thing that it said."""
    assert run.returncode == 0, run.stdout + run.stderr
    (result,) = run.of("holdfast.postgres.k8s_job")
    return result["changed"], str(run.of("ansible.builtin.debug")[-1]["msg"])


def looking(names: list[str]) -> list[dict[str, Any]]:
    """What who runs the playbook needs: to look at the server, and to run a Job."""
    return [
        *rules("info", server=["pg", "plain"], claims=["data-pg-0", "data-plain-0", *names], config_maps=["rules"]),
        *rules("job", claims=names),
    ]


def test_from_the_name_of_a_stateful_set_to_a_restored_database(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """Service, Secret and key are found; the plan makes nothing; the second run within max_age makes no backup, and its plan says so before."""
    server = postgres()
    server.sql("create database shop")
    server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g", "shop")
    variables = {
        **given(service_account(looking([])), namespace, image, bucket),
        "holdfast_backup_max_age": "20h",
        "holdfast_backup_databases": ["shop"],
    }
    changed, said = done(back_up(variables, "--check", "--diff"))
    assert changed and "holdfast-backup-shop" in said and "leave it to the Job" in said, said
    assert not namespace.list("batch/v1", "Job")
    run = back_up(variables, "-vvv")
    changed, said = done(run)
    assert changed and "verified" in said, said
    assert server.password not in run.stdout and bucket["secret_key"] not in run.stdout
    login = server.login
    where = {**login, "repository": bucket, "server_name": "shop", "databases": ["shop"], "target_db": "again"}
    restored = run_module("pg_restore", where)
    assert not restored.failed and server.sql(SAME, "again") == server.sql(SAME, "shop"), restored.msg
    changed, said = done(back_up(variables, "--check"))
    assert not changed and "makes no backup" in said, said
    changed, said = done(back_up(variables))
    assert not changed and "Nothing to do" in said, said


def mounted_rules(objects: list[dict[str, Any]]) -> None:
    """pg_hba.conf out of a ConfigMap, without a line for replication, as charts have it."""
    pod = objects[-1]["spec"]["template"]["spec"]
    pod["volumes"] = [*pod.get("volumes", []), {"name": "rules", "configMap": {"name": "rules"}}]
    (container,) = pod["containers"]
    container["args"] += ["-c", "hba_file=/etc/postgresql/pg_hba.conf"]
    container["volumeMounts"].append({"name": "rules", "mountPath": "/etc/postgresql"})
    data = {"pg_hba.conf": "local all all trust\nhost all all all scram-sha-256\n"}
    objects.insert(0, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}, "data": data})


@pytest.mark.extended
def test_replication_that_is_refused_names_the_line_and_where_it_belongs(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """Out of a ConfigMap; in PGDATA, on its claim."""
    variables = {
        **given(service_account(looking([])), namespace, image, bucket),
        "holdfast_engine": "pg_basebackup",
    }
    server = postgres(change=mounted_rules)
    refused = back_up(variables)
    told = refused.failed[-1].result["msg"]
    assert refused.returncode and "host replication postgres " in told and "ConfigMap rules (pg_hba.conf)" in told, told
    rules_now = namespace.get("v1", "ConfigMap", "rules")["data"]["pg_hba.conf"] + REPLICATION + "\n"
    namespace.patch("v1", "ConfigMap", "rules", {"data": {"pg_hba.conf": rules_now}})
    namespace.delete("v1", "Pod", server.pod, grace=1)
    server.ready()
    assert done(back_up(variables))[0]
    postgres("plain", replication=False)
    plain = {"holdfast_kubernetes_backup_stateful_set": "plain", "holdfast_server_name": "plain"}
    told = back_up({**variables, **plain}).failed[-1].result["msg"]
    assert "on the claim data-plain-0 (pgdata/pg_hba.conf in the volume)" in told, told


@pytest.mark.extended
def test_a_base_backup_by_a_job_and_by_a_cron_job_starts_beside(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """Over the Service alone, the claim of the server is mounted by nobody; each is laid out into a new claim, and the image of PostgreSQL starts it."""
    server = postgres()
    server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g")
    variables = {**given(service_account(looking([])), namespace, image, bucket), "holdfast_engine": "pg_basebackup"}
    assert done(back_up(variables))[0]
    kept = server.sql(SAME)
    server.sql("insert into t select g, 'more' from generate_series(5001, 6000) g")
    told = {
        "holdfast_login_host": server.service,
        "holdfast_login_user": "postgres",
        "holdfast_repository": bucket,
        "holdfast_engine": "pg_basebackup",
        "holdfast_config_dir": "/home/holdfast/servers",
    }
    name = "holdfast-backup-shop"
    writer, runner = (service_account(rules(job, schedules=[name])) for job in ("schedule", "run_by_hand"))
    pod = {"variables_from": [PASSWORD], "claims": {}}
    assert changes(schedule(writer, namespace, image, told, cron="0 0 1 1 *", pod=pod))
    ran = by_hand(runner, namespace)
    assert not ran.failed and ran.result["run"]["status"] == "ok", ran.msg
    found = run_module("backup_facts", {"repository": bucket, "server_name": "shop"}).result["ansible_facts"]
    (first, second) = found["holdfast_backups"]["backups"]
    for number, (backup, content) in enumerate(((first, kept), (second, server.sql(SAME)))):
        beside = f"again{number}"
        namespace.apply(claim(f"data-{beside}-0"))
        laid_out = run_module(
            "k8s_job",
            {
                "kubernetes": access(service_account(rules("job", claims=[f"data-{beside}-0"])), namespace),
                "name": f"prepare-{beside}",
                "image": image,
                "image_pull_policy": "IfNotPresent",
                "playbook": "holdfast.postgres.recover",
                "server_name": "shop",
                "claims": {f"data-{beside}-0": MOUNT},
                "run_as_user": USER,
                "fs_group": USER,
                "variables": {
                    "holdfast_repository": bucket,
                    "holdfast_recover_backup_id": backup["id"],
                    "holdfast_data_directory": f"{MOUNT}/pgdata",
                    "holdfast_recovery_target": {"immediate": True},
                    "holdfast_recover_prepare": True,
                    "holdfast_config_dir": "/home/holdfast/servers",
                },
            },
        )
        assert not laid_out.failed, laid_out.msg
        again = Postgres(namespace, beside)
        again.password = server.password
        assert again.ready().sql(SAME) == content
