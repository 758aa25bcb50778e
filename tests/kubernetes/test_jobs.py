# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_job on a real cluster, under a ServiceAccount with exactly the rights of the table of rights: a backup is run, followed, found again,
and restored; and what keeps a run from its end is told at once, each by one clear error.

Guides back up by `kubectl exec … pg_dump > file`, whose stream is cut without a word; here the run is a pod's own, and its result is read back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.runs import OF_JOB, Runner, evict, log_of, pods, rules
from lab.playbooks import start_module
from lab.waiting import wait_until

Account = Callable[..., Path]


def test_a_backup_is_run_found_again_and_restored(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """Check mode is the run; the result is the run's own, proven by its record; the second run changes nothing and runs nothing; the
    backup restores into another database, compared by other means."""
    server = postgres()
    server.sql("create database shop")
    server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g", "shop")
    runner = Runner(service_account(rules("job", claims=[])), namespace, image, server, bucket)
    # From a Secret of the user's, mounted: root's, and readable by the pod's group.
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "passphrase"}, "stringData": {"it": "x" * 20}}
    )
    encrypted = {"holdfast_encryption": {"method": "aes256", "passphrase_file": "/run/passphrase/it"}}
    runner.more = {"secrets": {"passphrase": "/run/passphrase"}, "variables": encrypted}
    planned = ok(runner.run(check=True))
    assert planned["changed"] and not namespace.list("batch/v1", "Job") and not pods(namespace, planned["job"])
    done = ok(runner.run(repository=bucket))
    assert done["plan"] == planned["plan"][:-1] and done["job"] == planned["job"]
    run = done["run"]
    assert run["status"] == "ok" and run["key"] and "verified" in run["line"], run
    (task,) = [one for one in done["record"]["tasks"] if one["action"] == "holdfast.postgres.pg_backup"]
    backup = task["result"]["backup"]["id"]
    assert task["result"]["backup"]["encryption"]["method"] == "aes256"
    (pod,) = pods(namespace, done["job"])
    assert server.password not in json.dumps(pod) + json.dumps(
        namespace.get("batch/v1", "Job", done["job"])
    ) + namespace.logs(run["pod"])
    again = ok(runner.run())
    assert not again["changed"] and again["run"] == run and len(pods(namespace, done["job"])) == 1
    assert not ok(runner.run(check=True))["changed"]
    # Its Secret goes with it.
    assert [one for one in namespace.list("v1", "Secret") if one["metadata"]["name"].startswith(done["job"])]

    restore = runner.run(
        name="restore",
        playbook="holdfast.postgres.restore",
        variables={
            "holdfast_restore_databases": ["shop"],
            "holdfast_restore_target_db": "shop_again",
            "holdfast_restore_backup_id": backup,
        },
    )
    assert ok(restore)["run"]["status"] == "ok"
    same = "select count(*), md5(string_agg(m, ',' order by g)) from t"
    assert server.sql(same, "shop_again") == server.sql(same, "shop")
    gone = ok(runner.run(state="absent"))
    assert gone["changed"] and not ok(runner.run(state="absent"))["changed"]
    wait_until(
        lambda: not [one for one in namespace.list("v1", "Secret") if one["metadata"]["name"].startswith(done["job"])],
        60,
    )


# Bad days


def failing(runner: Runner, **more: Any) -> str:
    result = runner.run(**more)
    assert result.failed, result.result
    return result.msg


@pytest.fixture
def idle(namespace: Namespace, service_account: Account, image: str) -> Runner:
    """Without a server: these runs do not come so far."""
    return Runner(service_account(rules("job", claims=["backups", "lost"])), namespace, image, None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": "localhost/nowhere:1", "image_pull_policy": "Never"}, "localhost/nowhere:1"),
        ({"secrets": {"lost": "/run/lost"}}, "lost"),
        ({"variables_from": [{"variable": "holdfast_login_password", "secret": "there", "key": "renamed"}]}, "renamed"),
        ({"claims": {"lost": "/backups"}}, "There is no claim lost"),
        ({"service_account": "nobody"}, "nobody"),
    ],
    ids=["image", "secret", "key", "claim", "account"],
)
def test_what_keeps_a_run_from_starting_is_told_at_once(
    idle: Runner, namespace: Namespace, change: dict[str, Any], told: str
) -> None:
    """By the object's name, in seconds, and not at the deadline; nothing is begun where that can be seen before."""
    namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there"}, "stringData": {"a": "b"}})
    began = time.monotonic()
    message = failing(idle, **change)
    assert told in message and time.monotonic() - began < 60, message
    assert bool(namespace.list("batch/v1", "Job")) == ("claims" not in change)


def test_a_pod_that_fits_nowhere_and_a_quota(idle: Runner, namespace: Namespace) -> None:
    """What may pass is given its time, and told of meanwhile; a quota is told at once. The Job stays until it is mended."""
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small"},
            "spec": {"hard": {"count/pods": "0"}},
        }
    )
    wait_until(lambda: (namespace.get("v1", "ResourceQuota", "small").get("status") or {}).get("hard"), 30)
    message = failing(idle)
    assert "quota" in message and "state: absent" in message, message
    assert ok(idle.run(state="absent"))["changed"]


def test_a_run_that_needs_more_than_it_gets(idle: Runner, namespace: Namespace) -> None:
    """Killed for its memory, and at its deadline: neither says a word itself."""
    message = failing(idle, resources={"limits": {"memory": "24Mi"}})
    assert "memory" in message, message
    assert "deadline" in failing(idle, name="late", deadline="1s", resources={"requests": {"cpu": "1m"}})


def test_rights_that_are_missing_are_named(namespace: Namespace, service_account: Account, image: str) -> None:
    """In check mode as in the run, with the line to add; nothing is begun by either."""
    runner = Runner(service_account(rules("job", without="secrets", claims=[])), namespace, image, None)
    for check in (True, False):
        result = runner.run(check=check)
        assert result.failed and "- {apiGroups: [" in result.msg and "secrets" in result.msg, result.msg
    assert not pods(namespace, "") and not namespace.list("batch/v1", "Job")


def test_suspended_released_and_two_at_once(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """A run that waits for its release; then two controllers at once, one of them killed half-way: one Job, one backup, and who asks next
    finds it."""
    server = postgres()
    runner = Runner(service_account(rules("job", claims=[])), namespace, image, server, bucket)
    made = ok(runner.run(state="suspended"))
    assert made["changed"] and not ok(runner.run(state="suspended"))["changed"] and not pods(namespace, made["job"])
    assert not ok(runner.run())["changed"]  # it waits for its release
    killed = start_module("k8s_job", runner.options(state="released"), fresh=True)
    wait_until(lambda: pods(namespace, made["job"]), 60)
    killed.kill()
    others = [start_module("k8s_job", runner.options()) for _number in range(2)]
    results = [ok(other.result()) for other in others]
    assert [result["run"]["status"] for result in results] == ["ok", "ok"]
    assert {result["job"] for result in results} == {made["job"]} and len(pods(namespace, made["job"])) == 1
    assert not any(result["changed"] for result in results)


def test_evicted_in_the_middle_of_a_backup(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """A drained node: the pod clears up and lets the lock go, the next pod makes the backup, and who follows sees one run."""
    server = postgres()
    server.sql("create table t as select g, repeat(md5(g::text), 20) as m from generate_series(1, 9000) g")
    runner = Runner(service_account(rules("job", claims=[])), namespace, image, server, bucket)
    slow = {"holdfast_backup_compression": "none", "holdfast_repository": {**bucket, "bandwidth_limit": 1024 * 1024}}
    running = start_module("k8s_job", runner.options(variables=slow), fresh=True)
    (pod,) = wait_until(
        lambda: [one for one in namespace.list("v1", "Pod", OF_JOB) if "Back up the server" in log_of(namespace, one)],
        120,
    )
    name = pod["metadata"]["name"]
    wait_until(lambda: keys_of(bucket, "lock.json"), 60)
    evict(namespace, name)
    done = ok(running.result(timeout=400))
    assert done["run"]["status"] == "ok" and done["run"]["pod"] != name


def keys_of(bucket: dict[str, Any], end: str) -> list[str]:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=bucket["endpoint_url"], region_name=bucket["region"],
        aws_access_key_id=bucket["access_key"], aws_secret_access_key=bucket["secret_key"],
    )  # fmt: skip
    found = client.list_objects_v2(Bucket=bucket["bucket"]).get("Contents") or []
    return [one["Key"] for one in found if one["Key"].endswith(end)]
