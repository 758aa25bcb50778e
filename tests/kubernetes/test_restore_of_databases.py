# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook kubernetes_restore, kind databases, on a real cluster under exactly the rights of the table: applications stopped around it, and started
again to the same counts whatever happened; dumps that others left on a claim.

The guides scale by hand, restore by `kubectl cp` and `psql -f` (which exits with 0 after errors), and scale back from memory; with a newest dump that
is cut off, or a `latest.sql` that leads nowhere, the database is gone by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.kubernetes.api import Namespace
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.runs import access, claim, rules
from lab.playbooks import CHECKOUT, PlaybookResult, environment, run_module, run_playbook
from lab.waiting import wait_until

Account = Callable[..., Path]
SAME = "select count(*), md5(string_agg(m, ',' order by g)) from t"


def web(namespace: Namespace, replicas: int = 2) -> None:
    labels = {"app": "web"}
    container = {
        "name": "c",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", "trap 'exit 0' TERM; sleep infinity & wait"],
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})


def counts(namespace: Namespace) -> int:
    return int(namespace.get("apps/v1", "Deployment", "web")["spec"]["replicas"])


def given(service_account: Account, namespace: Namespace, image: str, claims: list[str]) -> dict[str, Any]:
    """What the user says, with the rights for it."""
    names = {"deployments": ["web"], "stateful_sets": [], "cron_jobs": []}
    account = service_account(
        [
            *rules("info", server=["pg"], claims=["data-pg-0", *claims], config_maps=[]),
            *rules("job", claims=claims),
            *rules("applications", **names),
        ]
    )
    return {
        "holdfast_kubernetes": access(account, namespace),
        "holdfast_kubernetes_restore_kind": "databases",
        "holdfast_kubernetes_restore_stateful_set": "pg",
        "holdfast_kubernetes_restore_applications": [{"name": "web"}],
        "holdfast_kubernetes_restore_pod": {"image": image, "image_pull_policy": "IfNotPresent", "deadline": "10min"},
        "holdfast_restore_databases": ["shop"],
    }


def restore(variables: dict[str, Any], *arguments: str) -> PlaybookResult:
    return run_playbook(CHECKOUT / "playbooks" / "kubernetes_restore.yml", variables, *arguments, inventory="shop,")


def refused(run: PlaybookResult) -> str:
    assert run.returncode, run.stdout
    return str(run.failed[-1].result.get("msg"))


def stopped(run: PlaybookResult) -> list[list[str]]:
    """What was done to applications, by task."""
    return [result.get("plan") or [] for result in run.of("holdfast.postgres.k8s_apps")]


def filled(server: Postgres) -> Any:
    server.sql("create database shop")
    server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g", "shop")
    return server.sql(SAME, "shop")


def test_in_place_with_the_applications_stopped_around_it(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """The plan touches nothing; what is there is replaced by what the backup has; the applications have their counts again."""
    web(namespace)
    server = postgres()
    kept = filled(server)
    login = server.login
    made = run_module("pg_backup", {**login, "repository": bucket, "server_name": "shop", "databases": ["shop"]})
    assert not made.failed, made.msg
    server.sql("delete from t where g % 2 = 0", "shop")
    variables = {
        **given(service_account, namespace, image, []),
        "holdfast_repository": bucket,
        "holdfast_restore_force": True,
        "holdfast_restore_confirm": ["shop"],
    }
    planned = restore(variables, "--check", "--diff")
    assert planned.returncode == 0, planned.stdout
    said = planned.of("ansible.builtin.debug")[-1]["msg"]
    assert "stop Deployment" in said and "start the applications again" in said, said
    assert not namespace.list("batch/v1", "Job") and counts(namespace) == 2
    done = restore(variables, "-vvv")
    assert done.returncode == 0, done.stdout
    assert server.sql(SAME, "shop") == kept and counts(namespace) == 2
    assert [len(steps) for steps in stopped(done)] == [1, 1] and server.password not in done.stdout


@pytest.mark.extended
def test_what_goes_wrong_leaves_the_old_database_and_the_applications(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
) -> None:
    """Not agreed to: known before anything is stopped. A session that is none of the applications'; the image that is not there: the applications are
    started again, and what was there serves. Under another name, nothing is agreed to, and nothing needs to be stopped."""
    web(namespace)
    server = postgres()
    filled(server)
    login = server.login
    made = run_module("pg_backup", {**login, "repository": bucket, "server_name": "shop", "databases": ["shop"]})
    assert not made.failed, made.msg
    server.sql("insert into t select 5001, 'after the backup'", "shop")
    now = server.sql(SAME, "shop")
    variables = {**given(service_account, namespace, image, []), "holdfast_repository": bucket}
    run = restore(variables)
    told = refused(run)
    assert '"holdfast_restore_confirm": ["shop"]' in told and "no application was stopped" in told, told
    assert not stopped(run)
    agreed = {**variables, "holdfast_restore_force": True, "holdfast_restore_confirm": ["shop"]}
    preview = restore({**agreed, "holdfast_kubernetes_restore_preview": True}, "--check")
    assert preview.returncode == 0 and "shop" in preview.of("ansible.builtin.debug")[0]["msg"], preview.stdout
    with contextlib.closing(server.connect("shop")):
        run = restore(agreed)
        assert "in use" in refused(run) and [len(steps) for steps in stopped(run)] == [1, 1]
    assert server.sql(SAME, "shop") == now and counts(namespace) == 2
    run = restore({**variables, "holdfast_restore_target_db": "beside", "holdfast_kubernetes_restore_applications": ""})
    assert run.returncode == 0 and not [one for one in stopped(run) if one], run.stdout
    assert server.sql(SAME, "shop") == now and server.sql("select count(*) from t", "beside") == [(5000,)]


def dumps_volume(objects: list[dict[str, Any]]) -> None:
    """The claim that somebody else's backups are on, where the test can fill it."""
    pod = objects[-1]["spec"]["template"]["spec"]
    pod["volumes"] = [*pod.get("volumes", []), {"name": "dumps", "persistentVolumeClaim": {"claimName": "dumps"}}]
    pod["containers"][0]["volumeMounts"].append({"name": "dumps", "mountPath": "/dumps"})


_LEFT = """set -e
cd /dumps; mkdir -p Database/last Database/daily Database/weekly; cd Database
pg_dump -U postgres -Z1 shop > last/shop-20261125-010000.sql.gz
psql -qU postgres -d shop -c "insert into t select 5001, 'newer'"
pg_dump -U postgres -Z1 shop > last/shop-20261126-010000.sql.gz
ln last/shop-20261126-010000.sql.gz daily/shop-20261126.sql.gz
ln last/shop-20261125-010000.sql.gz weekly/shop-202648.sql.gz
ln -s shop-20261126-010000.sql.gz last/shop-latest.sql.gz
head -c 3000 last/shop-20261126-010000.sql.gz > last/cut-20261126-010000.sql.gz
ln -s daily/shop-20261127.sql latest.sql
"""


@pytest.mark.extended
def test_files_that_others_left_on_a_claim(
    postgres: Callable[..., Postgres], namespace: Namespace, service_account: Account, image: str
) -> None:
    """postgres-backup-local's layout, mounted read-only: by `latest`, by name, by date. A link that leads nowhere, a dump that a failed job left, a file and
    a claim that are not there: one error each, before an application is stopped."""
    namespace.apply(claim("dumps"))
    web(namespace)
    server = postgres(change=dumps_volume)
    older = filled(server)
    done = namespace.execute(server.pod, "bash", "-c", _LEFT)
    assert done.status == 0, done.stderr
    newer = server.sql(SAME, "shop")
    variables = given(service_account, namespace, image, ["dumps", "lost"])
    pod = {**variables["holdfast_kubernetes_restore_pod"], "claims": {"dumps": "/mnt"}, "read_only": ["/mnt"]}
    where = "/mnt/Database"
    variables["holdfast_kubernetes_restore_pod"] = pod
    for source, more, words in (
        (f"{where}/latest.sql", {}, "is a link to daily/shop-20261127.sql"),
        (where, {"databases": ["cut"]}, "cut off"),
        (f"{where}/daily/shop-20261124.sql.gz", {}, "has shop-20261126.sql.gz"),
    ):
        given_now = {**variables, "holdfast_restore_source": source, "holdfast_restore_target_db": "beside"}
        run = restore({**given_now, **{f"holdfast_restore_{name}": value for name, value in more.items()}})
        told = refused(run)
        assert words in told and not stopped(run), told
    lost = {**variables, "holdfast_kubernetes_restore_pod": {**pod, "claims": {"lost": "/mnt"}}}
    run = restore({**lost, "holdfast_restore_source": where})
    assert "no claim lost" in refused(run) and not stopped(run)
    for source, more, content in (
        (where, {}, newer),
        (f"{where}/weekly/shop-202648.sql.gz", {}, older),
        (f"{where}/last", {"source_choice": "newest"}, newer),
    ):
        name = f"beside{len(server.sql('select 1 from pg_database'))}"
        told_now = {"source": source, "target_db": name, **more}
        run = restore({**variables, **{f"holdfast_restore_{key}": value for key, value in told_now.items()}})
        assert run.returncode == 0, run.stdout
        assert server.sql(SAME, name) == content and counts(namespace) == 2
    untouched = namespace.execute(
        server.pod, "bash", "-c", "find /dumps/Database -newer /dumps/Database/latest.sql -type f"
    )
    assert untouched.stdout == ""


@pytest.mark.extended
def test_a_controller_that_is_killed_while_the_applications_are_stopped(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Account,
    image: str,
    bucket: dict[str, Any],
    tmp_path: Path,
) -> None:
    """The same run once more follows the Job that goes on, or does what is left, and starts them to the counts that they had."""
    web(namespace)
    server = postgres()
    kept = filled(server)
    login = server.login
    made = run_module("pg_backup", {**login, "repository": bucket, "server_name": "shop", "databases": ["shop"]})
    assert not made.failed, made.msg
    server.sql("delete from t", "shop")
    variables = {
        **given(service_account, namespace, image, []),
        "holdfast_repository": bucket,
        "holdfast_restore_force": True,
        "holdfast_restore_confirm": ["shop"],
    }
    told = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
    (tmp_path / "variables.json").write_text(json.dumps(told))
    program, playbook = Path(sys.executable).parent / "ansible-playbook", CHECKOUT / "playbooks/kubernetes_restore.yml"
    command = [str(program), str(playbook), "-i", "shop,", "-e", f"@{tmp_path / 'variables.json'}"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    running = subprocess.Popen(
        command, env=environment(scratch, program.parent), cwd=scratch, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: counts(namespace) == 0, 180)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert counts(namespace) == 0
    done = restore(variables)
    assert done.returncode == 0, done.stdout
    assert server.sql(SAME, "shop") == kept and counts(namespace) == 2
