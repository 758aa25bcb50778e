# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL without touching the server's image: a Deployment receives it from a StatefulSet's server into a claim, and ships it into S3. Set up, proven and
taken down by the role `archive`, under exactly the rights that the table writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.receiving import NAME, archive, bucket, rules, steps, variables
from lab.kubernetes.runs import by_hand, changes, claim, rules as rights, schedule
from lab.stores import S3Server


def test_wal_is_received_and_shipped_by_a_deployment(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Callable[..., Path],
    image: str,
    store: S3Server,
) -> None:
    """The plan is the run, the repeat changes nothing; no secret is where pods are read; taken down, neither slot nor Deployment is left, and the
    claim is."""
    server = postgres()
    namespace.apply(claim("wal"))
    repository = bucket(store, namespace)
    given = variables(server, service_account(rules()), image, repository)
    planned = archive(given, "--check", "--diff")
    assert steps(planned) and not namespace.find("apps/v1", "Deployment", NAME)
    assert f"Deployment {namespace.name}/{NAME}" in planned.stdout and "splitlines" not in planned.stderr
    done = archive(given, "-vvv")
    assert steps(done) == steps(planned) and repository["secret_key"] not in done.stdout + done.stderr
    made = namespace.get("apps/v1", "Deployment", NAME)
    template = made["spec"]["template"]["spec"]
    assert [one["name"] for one in template["containers"]] == ["archive", "ship"]
    assert made["spec"]["strategy"]["type"] == "Recreate" and template["automountServiceAccountToken"] is False
    assert repository["secret_key"] not in json.dumps(made)
    assert server.sql("select active from pg_replication_slots where slot_name = 'holdfast_shop'") == [(True,)]
    client = store.client()
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=repository["bucket"])["Contents"]]
    assert any(key.startswith("shop/_wal/0") for key in keys) and any(key.endswith("manifest.json") for key in keys)
    again = archive(given, prove=False)
    assert steps(again) == [] and not again.changed, again.changed

    gone = archive(given, state="absent")
    assert steps(gone) and not server.sql("select 1 from pg_replication_slots")
    assert not namespace.find("apps/v1", "Deployment", NAME) and not namespace.find("v1", "Secret", NAME)
    assert namespace.find("v1", "PersistentVolumeClaim", "wal")
    assert not archive(given, "--check", state="absent").changed


@pytest.mark.extended
def test_the_archive_is_audited_by_a_cron_job(
    postgres: Callable[..., Postgres],
    namespace: Namespace,
    service_account: Callable[..., Path],
    image: str,
    store: S3Server,
) -> None:
    """Out of the store, with no right and no claim."""
    server = postgres()
    namespace.apply(claim("wal"))
    repository = bucket(store, namespace)
    assert steps(archive(variables(server, service_account(rules()), image, repository)))
    name = "audit"
    writer, runner = (service_account(rights(job, schedules=[name])) for job in ("schedule", "run_by_hand"))
    told = {
        "holdfast_login_host": server.service,
        "holdfast_login_user": "postgres",
        "holdfast_repository": repository,
        "holdfast_wal_directory": "/wal",
        "holdfast_audit_canary": False,
        "holdfast_config_dir": "/home/holdfast/servers",
    }
    given = {"name": name, "playbook": "holdfast.postgres.audit", "cron": "0 0 1 1 *", "pod": {"claims": {}}}
    assert changes(schedule(writer, namespace, image, told, **given))
    ran = by_hand(runner, namespace, name)
    assert not ran.failed and "read" in ran.result["run"]["line"], ran.msg or ran.result
