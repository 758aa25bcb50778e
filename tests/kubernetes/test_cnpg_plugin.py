# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cnpg_backup on a Cluster that archives by plugin-barman-cloud, as all will from CloudNativePG 1.31 on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.kubernetes import barman_plugin as plugin, receiving
from lab.kubernetes.cloudnative_pg import API, Cnpg, has_archived
from lab.playbooks import run_module
from lab.stores import S3Server

pytestmark = pytest.mark.extended


def test_a_backup_by_the_plugin_and_what_is_refused(
    cluster: Any, barman_plugin: None, namespace: Any, store: S3Server, tmp_path: Path
) -> None:
    """Seen in the store as any other; a status that stays empty is not looked at; an ObjectStore that somebody deleted is refused."""
    bucket = receiving.bucket(store, namespace)
    namespace.apply(*plugin.archiving("shop", bucket, enableSuperuserAccess=True))
    cnpg = Cnpg(namespace, "shop")
    rights = rights_of("cnpg_backup", clusters=["shop"], object_stores=["shop-store"], secrets=["shop-s3"])
    kubeconfig = namespace.service_account(
        [rule.manifest() for rule in rights.rules], tmp_path, cluster_rules=[rule.manifest() for rule in rights.cluster]
    )
    try:
        cnpg.ready()
        namespace.wait(API, "Cluster", "shop", has_archived, 90)
        given = {
            "kubernetes": {"kubeconfig": str(kubeconfig), "namespace": namespace.name},
            "cluster": "shop",
            "deadline": "2min",
            "wal_timeout": "60s",
            **cnpg.login,
        }
        made = run_module("cnpg_backup", given, diff=True)
        assert not made.failed, made.msg
        listed = store.client().list_objects_v2(Bucket=bucket["bucket"], Prefix="cnpg/shop/")
        keys = [item["Key"] for item in listed["Contents"]]
        assert f"cnpg/shop/base/{made.result['backup']['id']}/backup.info" in keys
        assert [key for key in keys if f"/{made.result['restore_point']['segment']}" in key]
        assert "by plugin" in made.result["plan"][0] and not made.result.get("warnings")
        assert not (namespace.get(API, "Cluster", "shop")["status"]).get("lastSuccessfulBackup")
        again = run_module("cnpg_backup", {**given, "max_age": "1h"})
        assert not again.failed and not again.changed, again.msg
        assert (
            "spec.backup.barmanObjectStore is not set"
            in run_module("cnpg_backup", {**given, "method": "barman_object_store"}).msg
        )
        namespace.delete(plugin.API, "ObjectStore", "shop-store")
        gone = run_module("cnpg_backup", given)
        assert gone.failed and "The ObjectStore shop-store" in gone.msg, gone.result
    finally:
        cnpg.delete()
