# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups in object stores: through every store and back, and the bad days of stores. The servers are real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab.compare import assert_same
from lab.harddata import HardData
from lab.playbooks import run_module
from lab.servers import Server
from lab.stores import AzureServer, GcsServer, S3Server

Wipe = Callable[[object], Server]
Options = dict[str, Any]
SECRET = "a pass phrase: with 'everything' \\ in it"
PREFIX = "back ups/ü/one"


def s3_options(server: S3Server, bucket: str, **options: Any) -> Options:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    where = {"type": "s3", "bucket": bucket, "endpoint_url": server.endpoint_url, "prefix": PREFIX}
    return {**where, **keys, "ca_file": str(server.ca_file), "part_size": 5 * 1024 * 1024, **options}


def azure_options(server: AzureServer, container: str, **options: Any) -> Options:
    where = {"type": "azure", "account": server.account, "container": container, "endpoint_url": server.endpoint_url}
    return {
        **where,
        "account_key": server.account_key,
        "ca_file": str(server.ca_file),
        "prefix": PREFIX,
        "part_size": 5 * 1024 * 1024,
        **options,
    }


def gcs_options(server: GcsServer, bucket: str, **options: Any) -> Options:
    return {"type": "gcs", "bucket": bucket, "endpoint_url": server.endpoint_url, "prefix": PREFIX, **options}


@pytest.fixture
def store(request: pytest.FixtureRequest, kind: str) -> Options:
    """A store of a kind, with an empty bucket."""
    server = request.getfixturevalue(kind)
    name = f"test-{abs(hash(request.node.nodeid)) % 10**9}"
    if kind == "s3":
        return s3_options(server, server.make_bucket(name))
    if kind == "azure":
        return azure_options(server, server.make_container(name))
    return gcs_options(server, server.make_bucket(name))


def module(name: str, arguments: Options, check: bool = False) -> Options:
    done = run_module(name, arguments, check=check)
    assert not done.failed, done.msg
    result: Options = done.result
    return result


def facts(repository: Options, **options: Any) -> Options:
    found: Options = module("backup_facts", {"repository": repository, **options})["ansible_facts"]["holdfast_backups"]
    return found


#: Each store, each way; the other pairs are for the night, as a store never knows what it keeps.
@pytest.mark.parametrize(
    ("kind", "encrypted"),
    [
        pytest.param("s3", True, id="s3-encrypted"),
        pytest.param("azure", False, id="azure-clear"),
        pytest.param("gcs", False, id="gcs-clear"),
        pytest.param("s3", False, id="s3-clear", marks=pytest.mark.extended),
        pytest.param("azure", True, id="azure-encrypted", marks=pytest.mark.extended),
        pytest.param("gcs", True, id="gcs-encrypted", marks=pytest.mark.extended),
    ],
)
def test_the_hard_data_through_every_store(hard16: HardData, wiped: Wipe, store: Options, encrypted: bool) -> None:
    secret = {"encryption": {"method": "aes256", "passphrase": SECRET}} if encrypted else {}
    given = {**hard16.server.client_options(), "repository": store, **secret, "role_passwords": True}
    given |= {"max_age": "1h"} if encrypted else {"format": "directory", "jobs": 2, "max_age": "1h"}
    planned = module("pg_backup", given, check=True)
    assert facts(store)["count"] == 0
    made = module("pg_backup", given)
    assert planned["changed"] and made["changed"] and made["backup"]["verified_at"]
    assert not module("pg_backup", given)["changed"]
    found = facts(store)
    assert (found["count"], found["lock"], found["leftovers"]) == (1, None, [])
    assert store["type"] in str(made["tiers"][0]["repository"]) or store["type"] == "gcs"

    target = wiped(16)
    moved = {name: str(target.server_directory(f"{name} {store['type']} {encrypted}")) for name in hard16.tablespaces}
    wanted = {**target.client_options(), "repository": store, "tablespace_locations": moved}
    wanted |= {"encryption": {"passphrase": SECRET}} if encrypted else {"jobs": 2}
    assert module("pg_restore", wanted, check=True)["changed"]
    assert module("pg_restore", wanted)["changed"]
    assert_same(hard16.server, target)
    assert not module("pg_restore", wanted)["changed"]
