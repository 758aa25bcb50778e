# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines with a repository of their own, through the modules: from nothing to archiving, backups, retention, and any moment."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from lab.playbooks import CHECKOUT, ModuleResult, run_module
from lab.restored import Restored
from lab.servers import Server
from lab.stores import S3Server

BARMAN = Path(CHECKOUT) / ".work" / "barman" / "bin" / "barman-cloud-backup"
DEFAULTS = {name: option.get("default") for name, option in STORE.items()}
NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


@pytest.fixture(scope="module")
def store(s3: S3Server) -> S3Server:
    s3.make_bucket("engines")
    return s3


def run(name: str, given: dict[str, Any], **options: Any) -> ModuleResult:
    done = run_module(name, given, **options)
    assert not done.failed, done.msg
    return done


def options_of(server: Server, engine: str, repository: dict[str, Any]) -> dict[str, Any]:
    config = server.server_directory("config")
    config.chmod(0o755)
    given = {
        **server.client_options(),
        "server_name": "db1",
        "engine": engine,
        "repository": repository,
        "config_dir": str(config),
    }
    if engine == "barman_cloud":
        if not os.access(BARMAN, os.X_OK):
            pytest.skip("barman-cloud is not installed (tests/tools/install_barman.sh)")
        given["engine_program"] = str(BARMAN)
    elif shutil.which("pgbackrest") is None:
        pytest.skip("pgbackrest is not installed")
    return given


@pytest.mark.extended
@pytest.mark.parametrize("engine", ["pgbackrest", "barman_cloud"])
def test_from_nothing_to_any_moment(server_factory: Callable[..., Server], store: S3Server, engine: str) -> None:
    server = server_factory(15)
    repository = {
        "type": "s3",
        "bucket": "engines",
        "prefix": engine,
        "endpoint_url": store.endpoint_url,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "ca_file": str(store.ca_file),
        "region": "us-east-1",
    }
    given = options_of(server, engine, repository)
    planned = run("wal_archive", given, check=True)
    assert planned.changed
    assert server.query("SHOW archive_command") == [("(disabled)",)]
    first = run("wal_archive", given)
    assert first.result["restart_required"]
    assert planned.result["plan"] == first.result["plan"]
    assert run("wal_archive", given).result["plan"] == []
    server.restart()
    assert not run("wal_archive", given).changed
    assert run("wal_archive", {**given, "state": "verified"}).result["canary"]["bytes"] == 16 * 1024 * 1024

    server.query(f"CREATE TABLESPACE fast LOCATION '{server.server_directory('fast')}'")
    server.query("CREATE TABLE t TABLESPACE fast AS SELECT generate_series(1, 1000) AS n")
    assert run("pg_backup", given, check=True).changed
    full = run("pg_backup", given).result["backup"]
    assert (full["engine"], full["kind"]) == (engine, "full")
    again = run("pg_backup", {**given, "max_age": "1h"})
    assert not again.changed
    assert again.result["backup"]["id"] == full["id"]
    if engine == "pgbackrest":
        second = run("pg_backup", {**given, "kind": "incremental"}).result["backup"]
        assert (second["kind"], second["parent"]) == ("incremental", full["id"])

    server.query("INSERT INTO t SELECT generate_series(1001, 2000)")
    time.sleep(1.1)
    moment = server.query(NOW)[0][0]
    time.sleep(1.1)
    server.query("DROP TABLE t")
    run("wal_archive", {**given, "state": "verified"})

    facts = run("backup_facts", {**given, "archiving": True}).result["ansible_facts"]["holdfast_backups"]
    assert full["id"] in [backup["id"] for backup in facts["backups"]]
    assert [window["timeline"] for window in facts["wal"]["windows"]] == [1]
    assert facts["leftovers"] == []
    assert facts["archiver"]["failing"] is False

    with Restored(server, "moment") as restored:
        pitr = {name: value for name, value in given.items() if not name.startswith("login_")}
        pitr.update(
            data_directory=str(restored.data),
            owner=server.owner,
            recovery_target={"time": moment},
            settings=restored.settings,
            tablespace_locations={"fast": str(server.directory / "fast of the moment")},
        )
        plan = run("pg_recover", pitr, check=True).result["plan"]
        assert not restored.data.exists()
        done = run("pg_recover", pitr)
        assert done.result["plan"] == plan
        assert restored.query("SELECT count(*), max(n) FROM t") == [(2000, 2000)]
        assert restored.query("SHOW archive_mode") == [("off",)]
        assert not run("pg_recover", pitr).changed

    # Retention is ours, and carried out by the engine: the old full backup goes, with what needs it.
    newest = run("pg_backup", {**given, "retention": {"keep_last": 1}})
    assert full["id"] in [entry["id"] for entry in newest.result["pruned"]]
    left = run("backup_facts", given).result["ansible_facts"]["holdfast_backups"]["backups"]
    assert [backup["id"] for backup in left] == [newest.result["backup"]["id"]]

    # So it is without a backup (CASES 2.21, "nothing to delete" whatever there is), where the engine was set up, and nowhere else.
    pruning = {name: value for name, value in given.items() if name != "kind"} | {"retention": {"keep_last": 1}}
    assert not run("backup_prune", pruning).changed
    last = run("pg_backup", given).result["backup"]["id"]
    planned = run("backup_prune", pruning, check=True)
    assert (
        planned.changed and len(run("backup_facts", given).result["ansible_facts"]["holdfast_backups"]["backups"]) == 2
    )
    strangers = [({"config_dir": str(server.directory / "elsewhere")}, "not configured on this host")]
    if engine == "pgbackrest":
        strangers.append(
            ({"repository": {**repository, "bucket": "engine"}}, "is none that pgbackrest is configured for")
        )
    for changed, words in strangers:
        refused = run_module("backup_prune", {**pruning, **changed})
        assert refused.failed and words in refused.msg, refused.msg
    done = run("backup_prune", pruning)
    assert done.result["plan"] == planned.result["plan"]
    assert [entry["id"] for entry in done.result["pruned"]] == [newest.result["backup"]["id"]]
    left = run("backup_facts", given).result["ansible_facts"]["holdfast_backups"]["backups"]
    assert [backup["id"] for backup in left] == [last]


@pytest.mark.extended
@pytest.mark.parametrize("engine", ["pgbackrest", "barman_cloud"])
def test_what_is_being_restored_is_not_deleted(
    server_factory: Callable[..., Server], store: S3Server, engine: str, tmp_path: Path
) -> None:
    """Who recovers from a repository that an engine keeps left no note there, and a retention, or a deletion by name, took the backup away
    meanwhile. Now the note lies beside, while the backup is laid out and its WAL read; it counts as long as its run lives."""
    server = server_factory(15)
    s3 = {
        "type": "s3",
        "bucket": "engines",
        "prefix": f"{engine}-read",
        "endpoint_url": store.endpoint_url,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "ca_file": str(store.ca_file),
        "region": "us-east-1",
    }
    directory = server.server_directory("kept")
    repository = s3 if engine == "barman_cloud" else {"path": str(directory)}
    given = options_of(server, engine, repository)
    run("wal_archive", given)
    server.restart()
    first = run("pg_backup", given).result["backup"]["id"]
    shelf = Shelf(open_repository({**DEFAULTS, **repository}), "db1")
    keep = {**given, "retention": {"keep_last": 1}}
    with Reading(shelf, [first], "a test", [], lambda name: True):
        second = run("pg_backup", keep).result
        assert second["pruned"] == [] and "is being read" in str(second["warnings"])
        done = run_module("pg_backup", {**given, "state": "absent", "backup_id": first})
        assert done.failed and "is being read" in done.msg
    assert first in [entry["id"] for entry in run("pg_backup", keep).result["pruned"]]

    # And a recovery leaves one: seen by the program that lays the backup out.
    seen, program = tmp_path / "seen", tmp_path / "pgbackrest"
    tmp_path.chmod(0o777)
    if engine != "pgbackrest":
        return
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *restore*) cat {directory}/db1/_readers/*.json > {seen} 2>&1;; esac\nexec pgbackrest "$@"\n'
    )
    program.chmod(0o755)
    for path in list(tmp_path.parents)[:3]:
        path.chmod(path.stat().st_mode | 0o055)
    with Restored(server, "clone") as restored:
        pitr = {name: value for name, value in given.items() if not name.startswith("login_")}
        run("pg_recover", {
            **pitr, "engine_program": str(program), "data_directory": str(restored.data), "owner": server.owner,
            "recovery_target": {"immediate": True}, "settings": restored.settings,
        })  # fmt: skip
    newest = run("backup_facts", given).result["ansible_facts"]["holdfast_backups"]["backups"][-1]["id"]
    assert json.loads(seen.read_text())["ids"] == [newest]
    assert not list(directory.glob("db1/_readers/*.json"))


def test_a_pgbackrest_that_somebody_else_set_up_is_looked_into(server_factory: Callable[..., Server]) -> None:
    server = server_factory(15)
    path = server.server_directory("repository")
    given = options_of(server, "pgbackrest", {"path": str(path)})
    run("wal_archive", given)
    server.restart()
    made = run("pg_backup", given).result["backup"]
    (configuration,) = server.server_directory("config").rglob("pgbackrest.conf")
    before = {str(file): file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    looked = {"engine": "pgbackrest", "engine_config": str(configuration), "server_name": "db1"}
    facts = run("backup_facts", looked).result["ansible_facts"]["holdfast_backups"]
    assert [backup["id"] for backup in facts["backups"]] == [made["id"]]
    assert facts["wal"]["windows"][0]["stretches"][0]["missing"] is None
    assert {str(file): file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()} == before


def test_what_an_engine_cannot_do_is_refused_by_name(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    server = server_factory(15)
    given = options_of(server, "pgbackrest", {"path": str(tmp_path)})
    for more, words in (
        ({"databases": ["shop"]}, "databases"),
        ({"backup_id": "mine"}, "backup_id"),
        ({"include_wal": False}, "include_wal"),
        ({"encryption": {"method": "pgp", "recipients": ["a@b"]}}, "encryption"),
    ):
        done = run_module("pg_backup", {**given, **more})
        assert done.failed
        assert done.msg.startswith(words), done.msg
