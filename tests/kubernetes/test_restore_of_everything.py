# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The full recovery of the chart guide on a real cluster: the namespace is gone, and from a store alone comes all of it again, objects, data and pods, into
another namespace, under exactly the rights of the table.

The guide applies yaml with uids and addresses of the old cluster, lets an empty server start, and pipes dumps into it by exec; what fails in the middle is
begun anew by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.runs import access, rules
from lab.playbooks import CHECKOUT, run_module, run_playbook
from lab.stores import S3Server

SAME = "select count(*), md5(string_agg(m, ',' order by g)) from t"
NAMES: dict[str, list[str]] = {
    "server": ["pg"], "accounts": ["default"], "roles": [], "bindings": [], "secrets": ["pg"], "config_maps": [], "claims": ["data-pg-0"],
    "services": ["pg", "pg-headless"], "network_policies": [], "budgets": [], "cron_jobs": [], "autoscalers": [],
}  # fmt: skip


@pytest.mark.extended
def test_everything_after_the_namespace_is_gone(
    cluster: Any, namespace: Namespace, tmp_path: Path, image: str, store: S3Server, bucket: dict[str, Any]
) -> None:
    """The first run finds no data, and starts nothing; the second goes on; the third has nothing to do. A server that is there and is another one
    is not taken for it."""
    gone = cluster.api.create_namespace()
    encryption = {"method": "aes256", "passphrase": "a long passphrase of the tests"}
    try:
        server = Postgres(gone, "pg").ready()
        server.sql("create table t as select g, md5(g::text) as m from generate_series(1, 5000) g")
        kept = server.sql(SAME)
        capturing = gone.service_account([rule.manifest() for rule in rights_of("capture", **NAMES).rules], tmp_path)
        where = {"repository": bucket, "server_name": "shop", "encryption": encryption}
        captured = run_module(
            "k8s_capture",
            {
                **where,
                "kubernetes": access(capturing, gone),
                "stateful_set": "pg",
                "state_dir": str(tmp_path / "state"),
            },
        )
        assert not captured.failed, captured.msg
        login = server.login
        made = run_module("pg_backup", {**where, **login, "engine": "pg_basebackup"})
        assert not made.failed, made.msg
        password = server.password
    finally:
        gone.remove()
    rights = rights_of("capture_restore", **NAMES, namespaces=[namespace.name])
    account = namespace.service_account(
        [
            *(rule.manifest() for rule in rights.rules),
            *rules("info", server=["pg", "other"], claims=["data-pg-0", "data-other-0"], config_maps=[]),
            *rules("job", claims=["data-pg-0"]),
        ],
        tmp_path,
    )
    variables = {
        "holdfast_kubernetes": access(account, namespace),
        "holdfast_kubernetes_restore_kind": "everything",
        "holdfast_kubernetes_restore_stateful_set": "pg",
        "holdfast_kubernetes_restore_pod": {"image": image, "image_pull_policy": "IfNotPresent", "deadline": "10min"},
        "holdfast_repository": bucket,
        "holdfast_encryption": encryption,
        "holdfast_engine": "pg_basebackup",
        "holdfast_recovery_target": {"immediate": True},
    }

    def restore(*arguments: str, **more: Any) -> Any:
        given = {**variables, **more}
        return run_playbook(CHECKOUT / "playbooks" / "kubernetes_restore.yml", given, *arguments, inventory="shop,")

    planned = restore("--check", "--diff")
    assert planned.returncode == 0, planned.stdout
    assert not namespace.find("apps/v1", "StatefulSet", "pg")
    # The data cannot be had: the objects are there, and nothing started an empty server.
    failed = restore(holdfast_recover_backup_id="20200101T000000Z-000000")
    assert failed.returncode and "20200101T000000Z-000000" in failed.failed[-1].result["msg"], failed.stdout
    assert namespace.get("apps/v1", "StatefulSet", "pg")["spec"]["replicas"] == 0
    assert not namespace.find("v1", "Pod", "pg-0")
    done = restore()
    assert done.returncode == 0, done.stdout
    again = Postgres.there(namespace, "pg", password)
    assert again.ready().sql(SAME) == kept
    unchanged = restore()
    assert unchanged.returncode == 0 and not unchanged.changed, [one.task for one in unchanged.changed]
    assert again.sql(SAME) == kept
    Postgres(namespace, "other").ready()
    other = restore(holdfast_kubernetes_restore_stateful_set="other")
    assert other.returncode and "not the server whose backups" in other.failed[-1].result["msg"], other.stdout
