# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules on a real cluster: from a CronJob's own run to a backup in two tiers and a restored database, each step under exactly the rights that
the table of rights writes; and what a schedule that does not run looks like to who asks how the backups stand.

The AKS guide has two CronJobs, two reads, and deletes its far backups by hand; a CronJob that is suspended, or whose runs fail, is quiet there.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.runs import PASSWORD, SCHEDULE, access, by_hand, changes, claim, finished, rules, schedule
from lab.playbooks import CHECKOUT, run_module, run_playbook
from lab.stores import AzureServer
from lab.waiting import wait_until

Account = Callable[..., Path]


def or_skip_azure(**options: Any) -> AzureServer:
    reason = AzureServer.missing()
    if reason:
        pytest.skip(reason)
    return AzureServer(**options)


def test_from_a_cron_jobs_own_run_to_a_restored_database(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """One read, two tiers: near in a claim, far in S3. The plan is the run, the repeat changes nothing, no secret is printed or readable where
    pods are; the run needs no right at all; the renamed schedule goes, and in the end nothing of it is left."""
    server = postgres()
    server.sql("create database shop")
    server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g", "shop")
    namespace.apply(claim("backups"))
    far = {**bucket, "name": "far", "retention": {"keep_within": "30d"}}
    variables = {
        "holdfast_login_host": server.service,
        "holdfast_login_user": "postgres",
        "holdfast_repositories": [{"name": "near", "path": "/backups", "retention": {"keep_within": "7d"}}, far],
    }
    writer = service_account(rules("schedule", schedules=[SCHEDULE, "former"]))
    assert changes(schedule(writer, namespace, image, variables, name="former", state="suspended"))
    planned = changes(schedule(writer, namespace, image, variables, "--check", "--diff"))
    assert not namespace.find("batch/v1", "CronJob", SCHEDULE)
    done = schedule(writer, namespace, image, variables, "-vvv")
    assert changes(done) == planned and bucket["secret_key"] not in done.stdout + done.stderr
    assert any("former name" in step for step in planned) and not namespace.find("batch/v1", "CronJob", "former")
    assert changes(schedule(writer, namespace, image, variables)) == []
    made = namespace.get("batch/v1", "CronJob", SCHEDULE)
    assert bucket["secret_key"] not in json.dumps(made) and not namespace.list(
        "rbac.authorization.k8s.io/v1", "Role", "app.kubernetes.io/managed-by=holdfast"
    )
    assert namespace.get("v1", "Secret", SCHEDULE)["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]

    (job, *_more) = wait_until(lambda: finished(namespace), 300)
    assert changes(schedule(writer, namespace, image, variables, state="suspended")) == [
        f"change the CronJob {namespace.name}/{SCHEDULE}"
    ]
    looker = service_account(rules("status"))
    looked = run_module(
        "backup_facts",
        {"repository": bucket, "server_name": "shop", "kubernetes": access(looker, namespace)},
    )
    assert not looked.failed, looked.msg
    facts = looked.result["ansible_facts"]["holdfast_backups"]
    (told,) = facts["schedules"]
    assert told["idle"] == "it is suspended" and told["failed"] is None
    backup = facts["backups"][0]
    assert (
        backup["verified_at"]
        and [one["name"] for one in backup["databases"]]
        and job["metadata"]["name"].startswith(SCHEDULE)
    )

    # Both tiers have the same backup: the near one is restored by a Job that mounts the claim, the far one from this machine.
    runner = service_account(rules("job", claims=["backups"]))
    restore = {
        "kubernetes": access(runner, namespace),
        "name": "restore",
        "image": image,
        "image_pull_policy": "IfNotPresent",
        "playbook": "holdfast.postgres.restore",
        "server_name": "shop",
        "claims": {"backups": "/backups"},
        "variables_from": [PASSWORD],
        "variables": {
            **variables,
            "holdfast_restore_databases": ["shop"],
            "holdfast_restore_target_db": "near",
            "holdfast_restore_tier": "near",
            "holdfast_restore_backup_id": backup["id"],
        },
    }
    restored = run_module("k8s_job", restore)
    assert not restored.failed, restored.msg
    same = "select count(*), md5(string_agg(m, ',' order by g)) from t"
    assert server.sql(same, "near") == server.sql(same, "shop")
    assert changes(schedule(writer, namespace, image, variables, state="absent"))
    for kind in ("Secret", "ServiceAccount"):
        wait_until(
            lambda kind=kind: (
                not namespace.list("v1", kind, "app.kubernetes.io/managed-by=holdfast,holdfast.postgres/schedule")
            ),
            60,
        )
    assert changes(schedule(writer, namespace, image, variables, state="absent")) == []


def test_a_run_that_failed_is_told_of_and_why(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """The password of the server is rotated in its Secret: the run by hand that fails names it, facts tell of it, and the next run has the new
    one without a change of the schedule."""
    server = postgres()
    namespace.apply(claim("backups"))
    variables = {
        "holdfast_login_host": server.service,
        "holdfast_login_user": "postgres",
        "holdfast_repository": bucket,
    }
    writer = service_account(rules("schedule", schedules=[SCHEDULE]))
    changes(schedule(writer, namespace, image, variables, cron="0 0 1 1 *"))
    runner, looker = service_account(rules("run_by_hand", schedules=[SCHEDULE])), service_account(rules("status"))
    server.sql("alter role postgres password 'another one'")
    failed = by_hand(runner, namespace)
    assert failed.failed and "password" in failed.msg, failed.result
    looked = run_module(
        "backup_facts", {"repository": bucket, "server_name": "shop", "kubernetes": access(looker, namespace)}
    )
    facts = looked.result["ansible_facts"]["holdfast_backups"]
    assert any(SCHEDULE in problem and "password" in problem for problem in facts["problems"]), facts["problems"]
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg"}, "stringData": {"password": "another one"}}
    )
    done = by_hand(runner, namespace)
    assert not done.failed and done.result["run"]["status"] == "ok", done.msg
    status = {"repository": bucket, "server_name": "shop", "kubernetes": access(looker, namespace)}
    seen = run_module("backup_status", status).result
    (told,) = [one for one in seen["schedules"] if one["name"] == SCHEDULE]
    assert told["failed"] is None and told["next_run"] and seen["status"] == "ok", seen["lines"]


def test_what_is_another_ones_stays(namespace: Namespace, service_account: Account, image: str) -> None:
    """A CronJob of somebody's own under our name, another server's, a field that somebody else manages: refused by name, unchanged."""
    writer = service_account(rules("schedule", schedules=[SCHEDULE, "theirs"]))
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    namespace.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "theirs"}, "spec": spec})
    options = {"kubernetes": access(writer, namespace), "name": "theirs", "image": image, "server_name": "shop"}
    for state in ("present", "absent"):
        refused = run_module("k8s_cron_job", {**options, "state": state})
        assert refused.failed and "not one of this collection" in refused.msg
    mine = {**options, "name": SCHEDULE}
    assert not run_module("k8s_cron_job", mine).failed
    other = run_module("k8s_cron_job", {**mine, "server_name": "other"})
    assert other.failed and "shop" in other.msg
    namespace.patch("batch/v1", "CronJob", SCHEDULE, {"spec": {"suspend": True}})
    conflict = run_module("k8s_cron_job", mine)
    assert conflict.failed and "suspend" in conflict.msg, conflict.result
    assert run_module("k8s_cron_job", {**mine, "force": True}).changed
    wrong = run_module("k8s_cron_job", {**mine, "time_zone": "Mars/Phobos"}, check=True)
    assert wrong.failed and "Mars/Phobos" in wrong.msg


def test_a_token_is_rotated_in_a_secret(namespace: Namespace, service_account: Account) -> None:
    """By the role, three times: the plan, the run, the repeat. The former token stays beside, other keys stay, and none is printed."""
    with or_skip_azure() as azure:
        azure.make_container("tokens")
        account = service_account(rules("rotation", secrets=["azure"]))
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)
        former = azure.sas("tokens", "rwdlc", soon)
        content = {"sas-token": former, "storage-account": azure.account}
        namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "azure"}, "stringData": content})
        where = {
            "type": "azure", "account": azure.account, "account_key": azure.account_key, "container": "tokens",
            "endpoint_url": azure.endpoint_url, **({"ca_file": str(azure.ca_file)} if azure.certificate else {}),
        }  # fmt: skip
        given = {
            "holdfast_rotate_credentials_repository": where,
            "holdfast_rotate_credentials_secret": {"name": "azure"},
            "holdfast_kubernetes": access(account, namespace),
        }

        def rotate(*arguments: str) -> tuple[bool, str]:
            run = run_playbook(CHECKOUT / "playbooks" / "rotate_credentials.yml", given, *arguments)
            assert run.returncode == 0, run.stdout
            (result,) = run.of("holdfast.postgres.azure_sas")
            return result["changed"], run.stdout + json.dumps(result)

        def token(key: str = "sas-token") -> str:
            return base64.b64decode(namespace.get("v1", "Secret", "azure")["data"][key]).decode()

        assert rotate("--check")[0] and token() == former
        changed, printed = rotate("-vvv")
        assert changed and token() != former == token("sas-token.former") and token("storage-account") == azure.account
        assert token() not in printed and former not in printed
        assert not rotate()[0]


@pytest.mark.extended
def test_the_guides_two_tiers_and_what_looks_after_them(
    postgres: Callable[..., Postgres], cluster: Any, namespace: Namespace, service_account: Account, image: str
) -> None:
    """The AKS guide's: a claim for 7 days, Azure for 30 by a SAS token that lies in a Secret; one read of the server. Prune, check and verify are
    schedules as well. The token expires: the run says so and the near tier has its backup all the same; rotated by the role into the Secret, the
    next run has it, and nothing of the schedule was changed."""
    lab = cluster.lab_or_skip("Azurite where pods reach it")
    server = postgres()
    server.sql("create table t as select generate_series(1, 5000) g")
    namespace.apply(claim("backups"))
    with or_skip_azure(tls=False, address=lab.host_address) as azure:
        container = azure.make_container("postgresql-backups")
        now = datetime.datetime.now(datetime.timezone.utc)
        stale = azure.sas(container, "rwdlc", now - datetime.timedelta(minutes=1))
        secret = {"sas-token": stale, "storage-account": azure.account, "container-name": container}
        namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "azure"}, "stringData": secret})
        where = {"type": "azure", "account": azure.account, "container": container, "endpoint_url": azure.endpoint_url}
        near = {"name": "near", "path": "/backups", "retention": {"keep_within": "7d"}}
        far = {**where, "name": "far", "sas_token_file": "/run/azure/sas-token", "retention": {"keep_within": "30d"}}
        variables = {
            "holdfast_login_host": server.service,
            "holdfast_login_user": "postgres",
            "holdfast_repositories": [near, far],
        }
        names = [SCHEDULE, "prune", "check", "verify"]
        schedules = [
            {"name": name, "playbook": f"holdfast.postgres.{playbook}", "cron": "0 0 1 1 *"}
            for name, playbook in zip(names, ("backup", "prune", "check", "verify"), strict=True)
        ]
        writer, runner = (service_account(rules(job, schedules=names)) for job in ("schedule", "run_by_hand"))
        given = {"pod": {"secrets": {"azure": "/run/azure"}}, "schedules": schedules}
        assert changes(schedule(writer, namespace, image, variables, **given))

        failed = by_hand(runner, namespace)
        assert failed.failed and "far" in failed.msg, failed.result
        rotation = {
            "holdfast_rotate_credentials_repository": {**where, "account_key": azure.account_key},
            "holdfast_rotate_credentials_secret": {"name": "azure"},
            "holdfast_kubernetes": access(service_account(rules("rotation", secrets=["azure"])), namespace),
        }
        rotated = run_playbook(CHECKOUT / "playbooks" / "rotate_credentials.yml", rotation)
        assert rotated.returncode == 0, rotated.stdout
        assert changes(schedule(writer, namespace, image, variables, **given)) == []

        reads = "select coalesce(sum(seq_scan), 0) from pg_stat_user_tables where relname = 't'"
        before = server.sql(reads)[0][0]
        for name in names:
            done = by_hand(runner, namespace, name)
            assert not done.failed and done.result["run"]["status"] == "ok", (name, done.msg)
        assert server.sql(reads)[0][0] - before <= 2, "each tier was read for"
        known = {**where, "account_key": azure.account_key}
        facts = run_module("backup_facts", {"repository": known, "server_name": "shop"}).result["ansible_facts"]
        assert facts["holdfast_backups"]["backups"][-1]["verified_at"]
