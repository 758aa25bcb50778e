# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Cluster, and the store that it names, as they are read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg import cluster as cnpg
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.barman_store import SecretRef, store_of
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.cluster import CnpgCluster, cluster_of
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

S3 = {
    "destinationPath": "s3://backups/shops/eu/",
    "endpointURL": "http://minio:9000",
    "s3Credentials": {"accessKeyId": {"name": "s3", "key": "id"}, "secretAccessKey": {"name": "s3", "key": "key"}},
}


def read(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> CnpgCluster:
    meta = {"name": "shop", "namespace": "shops", "uid": "u", **metadata}
    return cluster_of({"kind": "Cluster", "metadata": meta, "spec": spec or {}, "status": status or {}})


def test_one_that_serves() -> None:
    found = read(
        {
            "instances": 3,
            "backup": {"barmanObjectStore": S3, "target": "primary", "volumeSnapshot": {"className": "c"}},
        },
        {
            "phase": cnpg.HEALTHY,
            "readyInstances": 3,
            "currentPrimary": "shop-2",
            "targetPrimary": "shop-2",
            "image": "ghcr.io/cloudnative-pg/postgresql:17.2-bookworm",
            "systemID": "742",
            "timelineID": 4,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "ClusterIsReady"},
                {"type": "ContinuousArchiving", "status": "False", "message": "no  such\nbucket"},
            ],
        },
    )
    assert found.healthy and (found.primary, found.instances, found.ready_instances) == ("shop-2", 3, 3)
    assert (found.major_version, found.system_id, found.timeline) == (17, "742", 4)
    assert not found.is_true("ContinuousArchiving") and not found.is_true("Initialized")
    assert found.conditions["ContinuousArchiving"].message == "no such bucket"
    assert found.methods == ("barman_object_store", "volume_snapshot") and found.backup_target == "primary"
    assert found.store is not None and str(found.store) == "s3://backups/shops/eu/shop"


def test_one_that_nobody_has_looked_at_yet() -> None:
    """Every field of a status may be missing."""
    found = read()
    assert not found.healthy and found.primary is None and found.store is None and found.methods == ()
    assert found.backup_target == "prefer-standby" and found.major_version is None and found.archiver is None


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("localhost/cnpg-postgres:15", 15),
        ("registry:5000/postgresql:16.4-7@sha256:0123", 16),
        ("registry:5000/postgresql@sha256:0123", None),
        ("registry:5000/postgresql", None),
        ("postgresql:latest", None),
    ],
)
def test_the_major_version_by_the_tag(image: str, major: int | None) -> None:
    assert read({"imageName": image}).major_version == major


def test_plugins() -> None:
    """One that is off counts for nothing; one that the operator has not found has no version."""
    parameters = {"barmanObjectName": "store", "serverName": "shop-2"}
    spec = {
        "plugins": [
            {"name": "other", "enabled": False, "isWALArchiver": True},
            {"name": cnpg.BARMAN_PLUGIN, "isWALArchiver": True, "parameters": parameters},
        ]
    }
    (plugin,) = read(spec).plugins
    assert plugin.version is None and plugin.parameters == parameters and read(spec).archiver == plugin
    assert read(spec).methods == ("plugin",)
    status = {"pluginStatus": [{"name": cnpg.BARMAN_PLUGIN, "version": "0.14.0"}]}
    assert read(spec, status).plugins[0].version == "0.14.0"


@pytest.mark.parametrize(
    ("annotations", "hibernated", "fenced"),
    [
        (None, False, ()),
        ({"cnpg.io/hibernation": "on", "cnpg.io/fencedInstances": '["*"]'}, True, ("*",)),
        ({"cnpg.io/hibernation": "off", "cnpg.io/fencedInstances": '["shop-1","shop-2"]'}, False, ("shop-1", "shop-2")),
        ({"cnpg.io/fencedInstances": "shop-1"}, False, ()),
    ],
)
def test_what_stands_in_annotations(annotations: Any, hibernated: bool, fenced: tuple[str, ...]) -> None:
    found = read(annotations=annotations)
    assert (found.hibernated, found.fenced) == (hibernated, fenced)


@pytest.mark.parametrize(
    ("replica", "is_one"),
    [
        ({}, False),
        ({"enabled": True, "source": "a"}, True),
        ({"enabled": False, "source": "a"}, False),
        ({"primary": "paris", "source": "a"}, True),
        ({"primary": "shop", "source": "a"}, False),
        ({"self": "berlin", "primary": "berlin", "source": "a"}, False),
    ],
)
def test_a_replica_cluster(replica: dict[str, Any], is_one: bool) -> None:
    assert read({"replica": replica}).is_replica is is_one


@pytest.mark.parametrize(
    ("configuration", "options", "secrets"),
    [
        (
            S3,
            {"type": "s3", "bucket": "backups", "prefix": "shops/eu", "endpoint_url": "http://minio:9000"},
            {"access_key": SecretRef("s3", "id"), "secret_key": SecretRef("s3", "key")},
        ),
        (
            {"destinationPath": "s3://backups", "s3Credentials": {"inheritFromIAMRole": True, "region": {"name": "r", "key": "k"}}},
            {"type": "s3", "bucket": "backups", "prefix": ""},
            {"region": SecretRef("r", "k")},
        ),
        (
            {"destinationPath": "s3://b/p", "endpointURL": "https://s3", "endpointCA": {"name": "ca", "key": "ca.crt"}},
            {"type": "s3", "bucket": "b", "prefix": "p", "endpoint_url": "https://s3"},
            {"ca_file": SecretRef("ca", "ca.crt")},
        ),
        (
            {
                "destinationPath": "https://acc.blob.core.windows.net/box/a/b",
                "azureCredentials": {"storageAccount": {"name": "z", "key": "a"}, "storageSasToken": {"name": "z", "key": "s"}},
            },
            {"type": "azure", "account": "acc", "container": "box", "prefix": "a/b"},
            {"account": SecretRef("z", "a"), "sas_token": SecretRef("z", "s")},
        ),
        (
            {
                "destinationPath": "http://10.0.0.1:10000/devstoreaccount1/box/p",
                "azureCredentials": {"connectionString": {"name": "z", "key": "c"}},
            },
            {
                "type": "azure", "account": "devstoreaccount1", "container": "box", "prefix": "p",
                "endpoint_url": "http://10.0.0.1:10000/devstoreaccount1",
            },
            {"connection_string": SecretRef("z", "c")},
        ),
        (
            {"destinationPath": "gs://b/p/q", "googleCredentials": {"applicationCredentials": {"name": "g", "key": "json"}}},
            {"type": "gcs", "bucket": "b", "prefix": "p/q"},
            {"credentials_file": SecretRef("g", "json")},
        ),
        ({"destinationPath": "gs://b", "googleCredentials": {"gkeEnvironment": True}}, {"type": "gcs", "bucket": "b", "prefix": ""}, {}),
    ],
)  # fmt: skip
def test_a_store_as_our_repository(
    configuration: dict[str, Any], options: dict[str, Any], secrets: dict[str, SecretRef]
) -> None:
    """Every provider, each kind of credentials."""
    store = store_of(configuration, "shop")
    assert (dict(store.options), dict(store.secrets)) == (options, secrets)
    assert store.server_name == "shop"


@pytest.mark.parametrize(
    "path", ["", "backups", "ftp://b/p", "s3://", "https://acc.blob.core.windows.net", "/srv/backups"]
)
def test_a_path_that_is_no_store(path: str) -> None:
    with pytest.raises(BadOption, match="destinationPath"):
        store_of({"destinationPath": path}, "shop")


def test_whose_files_would_lie_in_one_place() -> None:
    """By bucket, path, endpoint and server name; the Cluster's own name counts only where no other is given."""
    mine = store_of(S3, "shop")
    assert mine.is_same(store_of({**S3, "destinationPath": "s3://backups/shops/eu"}, "other", "shop"))
    assert mine.is_same(store_of({**S3, "serverName": "shop"}, "other"))
    assert mine.is_same(store_of({**S3, "endpointURL": f"{S3['endpointURL']}/"}, "shop"))
    for other in (
        store_of(S3, "other"),
        store_of({**S3, "destinationPath": "s3://backups/shops/us"}, "shop"),
        store_of({**S3, "endpointURL": "http://elsewhere"}, "shop"),
    ):
        assert not mine.is_same(other)
