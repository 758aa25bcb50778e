# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that are moved from one bucket into another and encrypted anew on the way come back there: a dump in directory format, an incremental chain.
(One artifact, in directories: test_backup_encryption. Kills, damage, pins: unit/backup/test_rekey.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.restored import Restored
from lab.servers import Server
from lab.stores import S3Server

pytestmark = pytest.mark.extended

FORMER = {"method": "aes256", "passphrase": "of last year"}
NEW = {"method": "aes256", "passphrase": "of this year"}
ROWS = "SELECT count(*), sum(hashtext(t::text)) FROM t"


def test_a_folder_and_a_chain_move_between_buckets(server_factory: Callable[..., Server], s3: S3Server) -> None:
    server = server_factory(18, settings={"summarize_wal": "on"})
    server.psql("CREATE DATABASE shop")
    server.psql(
        "CREATE TABLE t AS SELECT n, repeat('x', n % 90) AS x FROM generate_series(1, 20000) AS n; CREATE TABLE u (n int)",
        "shop",
    )
    source, target = (
        {
            "type": "s3", "bucket": s3.make_bucket(name), "endpoint_url": s3.endpoint_url, "ca_file": str(s3.ca_file),
            "access_key": s3.access_key, "secret_key": s3.secret_key,
        }
        for name in ("former", "newer")
    )  # fmt: skip
    given = {**server.client_options(), "repository": source, "server_name": "db1", "encryption": FORMER}

    def made(**more: Any) -> str:
        return str(ok(run_module("pg_backup", {**given, **more}))["backup"]["id"])

    dump = made(databases=["shop"], format="directory", jobs=2)
    full = made(engine="pg_basebackup")
    server.psql("INSERT INTO t SELECT n, 'late' FROM generate_series(1, 500) AS n", "shop")
    server.query("CHECKPOINT")
    second = made(engine="pg_basebackup", kind="incremental")
    rows = server.query(ROWS, "shop")
    wanted = {
        "source": source,
        "target": target,
        "encryption": FORMER,
        "target_encryption": NEW,
        "server_name": "db1",
        "delete_source": True,
    }
    planned = ok(run_module("backup_copy", wanted, check=True))
    done = ok(run_module("backup_copy", wanted))
    assert done["plan"] == planned["plan"] and not ok(run_module("backup_copy", wanted))["changed"]

    def listed(repository: dict[str, Any]) -> dict[str, Any]:
        found = ok(run_module("backup_facts", {"repository": repository, "server_name": "db1"}))["ansible_facts"][
            "holdfast_backups"
        ]
        return {entry["id"]: entry for entry in found["backups"]}

    assert not listed(source)
    there = listed(target)
    assert set(there) == {dump, full, second} and there[second]["parent"] == full
    assert len([item for item in there[dump]["artifacts"] if item.get("database") == "shop"]) > 2
    restored = {
        **server.client_options(),
        "repository": target,
        "server_name": "db1",
        "backup_id": dump,
        "databases": ["shop"],
        "target_db": "back",
    }
    assert run_module("pg_restore", {**restored, "encryption": FORMER}).failed
    ok(run_module("pg_restore", {**restored, "encryption": NEW}))
    assert server.query("SELECT count(*) FROM t", "back") == [(20000,)]
    with Restored(server, "clone") as clone:
        ok(
            run_module(
                "pg_recover",
                {
                    "repository": target, "server_name": "db1", "encryption": NEW, "backup_id": second, "bin_dir": str(server.bindir),
                    "data_directory": str(clone.data), "owner": server.owner, "recovery_target": {"immediate": True}, "settings": clone.settings,
                },
            )
        )  # fmt: skip
        assert clone.query(ROWS, "shop") == rows
