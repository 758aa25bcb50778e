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
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import Postgres
from lab.playbooks import CHECKOUT, PlaybookResult, run_module, run_playbook
from lab.stores import AzureServer, S3Server
from lab.waiting import wait_until

Account = Callable[..., Path]
NAME = "holdfast-backup-shop"


def rules(job: str, without: str = "", **names: list[str]) -> list[dict[str, Any]]:
    """What the table gives a job."""
    return [rule.manifest() for rule in rights_of(job, **names).rules if rule.resource != without]


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def bucket(store: S3Server, namespace: Namespace) -> dict[str, Any]:
    return {
        "type": "s3",
        "bucket": store.make_bucket(namespace.name),
        "region": store.region,
        "endpoint_url": store.endpoint_url,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
    }


def or_skip_azure() -> AzureServer:
    reason = AzureServer.missing()
    if reason:
        pytest.skip(reason)
    return AzureServer()


def access(kubeconfig: Path, namespace: Namespace) -> dict[str, Any]:
    return {"kubeconfig": str(kubeconfig), "namespace": namespace.name}


def schedule(
    kubeconfig: Path, namespace: Namespace, image: str, variables: dict[str, Any], *arguments: str, **more: Any
) -> PlaybookResult:
    """The playbook schedule, as people run it."""
    pod = {
        "image": image,
        "image_pull_policy": "IfNotPresent",
        "claims": {"backups": "/backups"},
        "variables_from": [{"variable": "holdfast_login_password", "secret": "pg", "key": "password"}],
        "deadline": "10min",
    }
    given = {
        "manager": "kubernetes",
        "pod": pod,
        "cron": "* * * * *",
        "time_zone": "Europe/Berlin",
        "variables": variables,
        **more,
    }
    asked = {
        "holdfast_kubernetes": access(kubeconfig, namespace),
        **{f"holdfast_schedule_{name}": value for name, value in given.items()},
    }
    return run_playbook(CHECKOUT / "playbooks" / "schedule.yml", asked, *arguments, inventory="shop,")


def changes(run: PlaybookResult) -> list[str]:
    """What each schedule's task did, or would do."""
    assert run.returncode == 0, run.stdout + run.stderr
    (result,) = run.of("holdfast.postgres.k8s_cron_job")
    return [step for item in result["results"] for step in item["plan"]]


def by_hand(kubeconfig: Path, namespace: Namespace) -> Any:
    return run_module(
        "k8s_job", {"kubernetes": access(kubeconfig, namespace), "from_cron_job": NAME, "deadline": "10min"}
    )


def finished(namespace: Namespace) -> list[dict[str, Any]]:
    return [
        one
        for one in namespace.list("batch/v1", "Job")
        if any(item["type"] == "Complete" for item in (one.get("status") or {}).get("conditions") or [])
    ]


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
    writer = service_account(rules("schedule", schedules=[NAME, "former"]))
    assert changes(schedule(writer, namespace, image, variables, name="former", state="suspended"))
    planned = changes(schedule(writer, namespace, image, variables, "--check", "--diff"))
    assert not namespace.find("batch/v1", "CronJob", NAME)
    done = schedule(writer, namespace, image, variables, "-vvv")
    assert changes(done) == planned and bucket["secret_key"] not in done.stdout + done.stderr
    assert any("former name" in step for step in planned) and not namespace.find("batch/v1", "CronJob", "former")
    assert changes(schedule(writer, namespace, image, variables)) == []
    made = namespace.get("batch/v1", "CronJob", NAME)
    assert bucket["secret_key"] not in json.dumps(made) and not namespace.list(
        "rbac.authorization.k8s.io/v1", "Role", "app.kubernetes.io/managed-by=holdfast"
    )
    assert namespace.get("v1", "Secret", NAME)["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]

    (job, *_more) = wait_until(lambda: finished(namespace), 300)
    assert changes(schedule(writer, namespace, image, variables, state="suspended")) == [
        f"change the CronJob {namespace.name}/{NAME}"
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
        and job["metadata"]["name"].startswith(NAME)
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
        "variables_from": [{"variable": "holdfast_login_password", "secret": "pg", "key": "password"}],
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
    writer = service_account(rules("schedule", schedules=[NAME]))
    changes(schedule(writer, namespace, image, variables, cron="0 0 1 1 *"))
    runner, looker = service_account(rules("run_by_hand", schedules=[NAME])), service_account(rules("status"))
    server.sql("alter role postgres password 'another one'")
    failed = by_hand(runner, namespace)
    assert failed.failed and "password" in failed.msg, failed.result
    looked = run_module(
        "backup_facts", {"repository": bucket, "server_name": "shop", "kubernetes": access(looker, namespace)}
    )
    facts = looked.result["ansible_facts"]["holdfast_backups"]
    assert any(NAME in problem and "password" in problem for problem in facts["problems"]), facts["problems"]
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg"}, "stringData": {"password": "another one"}}
    )
    done = by_hand(runner, namespace)
    assert not done.failed and done.result["run"]["status"] == "ok", done.msg
    status = {"repository": bucket, "server_name": "shop", "kubernetes": access(looker, namespace)}
    seen = run_module("backup_status", status).result
    (told,) = [one for one in seen["schedules"] if one["name"] == NAME]
    assert told["failed"] is None and told["next_run"] and seen["status"] == "ok", seen["lines"]


def test_what_is_another_ones_stays(namespace: Namespace, service_account: Account, image: str) -> None:
    """A CronJob of somebody's own under our name, another server's, a field that somebody else manages: refused by name, unchanged."""
    writer = service_account(rules("schedule", schedules=[NAME, "theirs"]))
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    namespace.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "theirs"}, "spec": spec})
    options = {"kubernetes": access(writer, namespace), "name": "theirs", "image": image, "server_name": "shop"}
    for state in ("present", "absent"):
        refused = run_module("k8s_cron_job", {**options, "state": state})
        assert refused.failed and "not one of this collection" in refused.msg
    mine = {**options, "name": NAME}
    assert not run_module("k8s_cron_job", mine).failed
    other = run_module("k8s_cron_job", {**mine, "server_name": "other"})
    assert other.failed and "shop" in other.msg
    namespace.patch("batch/v1", "CronJob", NAME, {"spec": {"suspend": True}})
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
