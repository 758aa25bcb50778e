# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that a standby is to follow: which one it is, what it lacks, and what of it would suffer.

The kinds: one answer for another server's (a list of hosts, of which a standby is the first to answer; CASES 2.41); what would keep a standby
from following found out after the copy (a password that its owner cannot read, a service file, a setting that is too small, an archive with
somebody else's timeline); a primary that suffers from a change of the standby (commits that wait for a name).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.restored import Restored
from lab.servers import Server
from lab.standbys import Pair
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # servers are made anew for each


def test_of_several_hosts_the_primary(pair: Pair) -> None:
    """The first to answer is a standby. Before: its answers were taken for the primary's, the slot was made on it, and the copy followed it."""
    primary, standby = pair.primary, pair.standby
    sockets = primary.server_directory("sockets")
    beside = {"port": str(primary.port), "listen_addresses": "127.0.0.2", "unix_socket_directories": str(sockets)}
    ok(pair.follow(settings=beside))
    standby.host, standby.port = "127.0.0.2", primary.port
    second = Restored(primary, "second")
    try:
        options = pair.options(primary, second, primary_host="127.0.0.2,127.0.0.1")
        planned = ok(run_module("pg_standby", options, check=True))
        done = ok(run_module("pg_standby", options))
        assert planned["plan"] == done["plan"] and "127.0.0.1" in str(done["plan"])
        assert primary.query("SELECT count(*) FROM pg_replication_slots WHERE active") == [(2,)]
        assert standby.query("SELECT count(*) FROM pg_replication_slots") == [(0,)]
        assert "target_session_attrs=primary" in second.query("SHOW primary_conninfo")[0][0]
        assert second.query("SELECT sender_host FROM pg_stat_wal_receiver") == [("127.0.0.1",)]
        assert not ok(run_module("pg_standby", options))["changed"]
        # To cascade from whoever answers first is said by libpq's own word.
        cascade = {**options, "connect_params": {"target_session_attrs": "standby"}}
        refused = run_module("pg_standby", cascade)
        assert refused.failed and "is not whom the standby" in refused.msg
    finally:
        second.remove()


def test_what_keeps_it_from_following_is_told_before_the_copy(pair: Pair, server_factory: Any) -> None:
    primary, standby = pair.primary, pair.standby
    refused = pair.follow(connect_params={"service": "main"})
    assert refused.failed and "service" in refused.msg and "its own home" in refused.msg
    if os.geteuid() == 0:
        pair.config.mkdir(mode=0o700)  # root's own, such as of a vault
        refused = pair.follow()
        assert refused.failed and "cannot be entered by" in refused.msg and not standby.data.exists()
        shutil.rmtree(pair.config)
    assert primary.query("SELECT 1 FROM pg_replication_slots") == []
    small = server_factory(18, settings={"wal_level": "minimal", "max_wal_senders": "0"})
    try:
        refused = run_module("pg_standby", pair.options(small, standby))
        assert refused.failed and "wal_level = minimal" in refused.msg
    finally:
        small.remove()


def test_less_than_the_primary_has(pair: Pair) -> None:
    """A standby stops replaying when its primary has more connections than it. Before: "paused (pg_wal_replay_resume() goes on)", which shuts it
    down; stopped and started again, it did not come up, or waited until the timeout."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow(settings={"port": str(standby.port), "max_connections": "50"}))
    primary.psql("ALTER SYSTEM SET max_connections = 60")
    primary.restart()
    assert wait_until(lambda: standby.query("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    said = pair.ask("verified").msg
    assert "less than the primary of max_connections" in said and "would shut it down" in said
    assert "too small" in pair.ask("verified", primary=False).msg
    standby.stop()
    refused = pair.follow(settings={"port": str(standby.port), "max_connections": "50"})
    assert refused.failed and "max_connections: 50" in refused.msg and "which has 60" in refused.msg
    assert standby.pid is None
    done = ok(pair.follow(settings={"port": str(standby.port), "max_connections": "60"}))
    assert done["standby"]["state"] == "streaming"


def test_commits_wait_for_it_by_a_name(pair: Pair) -> None:
    """Before: the standby took another application_name, ok, and every commit on the primary hung."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow(slot_name="db2"))
    primary.psql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (db2, db3)'; SELECT pg_reload_conf()")
    refused = pair.follow(slot_name="other")
    assert refused.failed and "slot_name: db2" in refused.msg
    primary.psql("SET statement_timeout = '5s'; INSERT INTO t VALUES (2)")
    assert not ok(pair.follow(slot_name="db2"))["changed"]
    primary.psql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (db2, other)'; SELECT pg_reload_conf()")
    assert ok(pair.follow(slot_name="other"))["standby"]["state"] == "streaming"
    # The standby's host has another C library: told as long as it is so.
    primary.psql("UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'postgres'")
    assert wait_until(lambda: standby.query("SELECT 1 FROM pg_database WHERE datcollversion = '0.1'") != [])
    assert "another version of the collation" in str(ok(pair.follow(slot_name="other"))["warnings"])
    standby.stop()
    (standby.data / "recovery.conf").write_text("standby_mode = on\n")  # of a tool from before 12
    done = ok(pair.follow(slot_name="other"))
    assert "recovery.conf" in str(done["plan"]) and (standby.data / "recovery.conf.old").exists()


def archived(server: Server, pair: Pair) -> dict[str, Any]:
    repository = {"path": str(server.server_directory("repository"))}
    common = {"repository": repository, "bin_dir": str(server.bindir), **server.login()}
    server.psql("ALTER SYSTEM SET archive_mode = on")
    server.restart()
    ok(run_module("wal_archive", common))
    return common


def test_an_archive_with_somebody_elses_timeline(pair: Pair) -> None:
    """A clone archived into it. Before: copied, and did not start: the standby asked for the newer timeline."""
    primary, standby = pair.primary, pair.standby
    common = archived(primary, pair)
    ok(run_module("wal_archive", {**common, "state": "verified"}))
    made = {"repository": common["repository"]}
    history = next(primary.directory.glob("repository/*/_wal")) / "00000002.history.zst"
    packed = subprocess.run(
        ["zstd", "-c"], input=b"1\t0/1000000\tno recovery target specified\n", capture_output=True, check=True
    )
    history.write_bytes(packed.stdout)
    shutil.chown(history, primary.data.owner())
    refused = pair.follow(**made)
    assert refused.failed and "00000002.history" in refused.msg and not standby.data.exists()
    history.unlink()
    assert ok(pair.follow(**made))["standby"]["state"] == "streaming"


def test_a_backup_of_a_way_that_was_left(pair: Pair) -> None:
    """The old primary went on after a failover, and was backed up last. Before: its backup was taken, as the newest, and the standby of it could
    not follow."""
    primary, standby = pair.primary, pair.standby
    common = archived(primary, pair)
    ok(run_module("wal_archive", {**common, "state": "verified"}))
    good = ok(run_module("pg_backup", {**common, "engine": "pg_basebackup"}))["backup"]["id"]
    ok(pair.follow())
    ok(pair.ask("promoted", force=True, confirm=[f"127.0.0.1:{primary.port}"]))
    primary.psql("INSERT INTO t SELECT generate_series(1, 100)")
    other = ok(run_module("pg_backup", {**common, "engine": "pg_basebackup"}))["backup"]["id"]
    second = Restored(primary, "second")
    try:
        options = pair.options(standby, second, source="backup", repository=common["repository"], slot_name="second")
        planned = ok(run_module("pg_standby", options, check=True))
        assert good in str(planned["plan"]) and other in str(planned["warnings"])
        assert "no backup" in run_module("pg_standby", {**options, "backup_id": other}).msg.lower()
    finally:
        second.remove()
