# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with stores, as users run them: a directory here and a bucket elsewhere, each with a retention of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lab.playbooks import CHECKOUT, PlaybookResult, run_playbook
from lab.servers import Server
from lab.stores import AzureServer, S3Server


def play(name: str, given: dict[str, Any], *options: str) -> PlaybookResult:
    run = run_playbook(CHECKOUT / "playbooks" / f"{name}.yml", given, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    return run


def three_times(name: str, given: dict[str, Any]) -> PlaybookResult:
    """Check mode, the run, and the repeat. Returns the run."""
    planned = play(name, given, "--check", "--diff")
    done = play(name, given)
    assert done.changed
    assert [task.task for task in planned.changed] == [task.task for task in done.changed]
    assert not play(name, given).changed
    return done


@pytest.mark.extended
def test_setup_backup_disaster_and_restore_with_two_tiers(
    pg16: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if S3Server.missing():
        pytest.skip(str(S3Server.missing()))
    pg16.wipe()
    pg16.query("CREATE DATABASE app")
    pg16.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i", "app")
    with S3Server() as s3:
        bucket = {"type": "s3", "bucket": "elsewhere", "prefix": "prod", "endpoint_url": s3.endpoint_url}
        keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "ca_file": str(s3.ca_file)}
        given = {
            **{f"holdfast_{key}": value for key, value in pg16.login().items()},
            "holdfast_bin_dir": str(pg16.bindir),
            "holdfast_backup_databases": ["app"],
            "holdfast_backup_max_age": "1h",
            "holdfast_repositories": [
                {"name": "here", "path": str(tmp_path / "here"), "retention": {"keep_within": "7d"}},
                {"name": "elsewhere", **bucket, **keys, "retention": {"keep_last": 1}},
            ],
        }
        settings = {
            "versioning": True,
            "default_encryption": "AES256",
            "abort_uploads": "7d",
            "expire_old_versions": "7d",
        }
        ready = three_times(
            "setup", {**given, "holdfast_setup_bucket": settings, "holdfast_setup_policy_file": "~/policy.json"}
        )
        assert s3.secret_key not in ready.stdout
        # On the controller ~ is whose HOME it is, whatever the play's user.
        assert json.loads((tmp_path / "policy.json").read_text())["Statement"]
        play("check", {**given, "holdfast_check_retention": "30d"})

        three_times("backup", given)
        again = play("backup", {**given, "holdfast_backup_max_age": ""}).of("holdfast.postgres.pg_backup")[0]
        assert {tier["name"]: len(tier["pruned"]) for tier in again["tiers"]} == {"here": 0, "elsewhere": 1}
        unneeded = play("prune", given)
        assert unneeded.changed == [], unneeded.stdout

        pg16.query("DROP DATABASE app")
        wanted = {key: value for key, value in given.items() if key != "holdfast_backup_databases"}
        three_times("restore", {**wanted, "holdfast_restore_databases": ["app"], "holdfast_restore_tier": "elsewhere"})
        assert pg16.query("SELECT count(*) FROM t", "app") == [(1000,)]

        (tmp_path / "third").mkdir()
        copied = {"holdfast_copy_source": {**bucket, **keys}, "holdfast_copy_target": {"path": str(tmp_path / "third")}}
        three_times("copy", copied)


def test_rotate_credentials(tmp_path: Path) -> None:
    if AzureServer.missing():
        pytest.skip(str(AzureServer.missing()))
    with AzureServer() as azure:
        azure.make_container("tokens")
        where = {"type": "azure", "account": azure.account, "container": "tokens", "endpoint_url": azure.endpoint_url}
        repository = {**where, "account_key": azure.account_key, "ca_file": str(azure.ca_file)}
        path = str(tmp_path / "token")
        given = {"holdfast_rotate_credentials_repository": repository, "holdfast_rotate_credentials_path": path}
        play("rotate_credentials", given)
        longer = {"holdfast_rotate_credentials_valid_for": "365d", "holdfast_rotate_credentials_renew_before": "100d"}
        done = three_times("rotate_credentials", {**given, **longer})
        assert "former one" in done.stdout and azure.account_key not in done.stdout
