# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that Patroni manages, by a real Patroni with a real etcd: what we change goes through it, and what we cannot is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.patroni import MISSING, PASSWORD, Member, cluster_of, wait_for
from lab.playbooks import run_module

pytestmark = [
    pytest.mark.extended,  # apart from `make test`, which is to stay short
    pytest.mark.skipif(
        bool(MISSING), reason=f"{', '.join(MISSING)} not installed (tests/tools/install_patroni.sh does it for root)"
    ),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[Member]]:
    """A leader and a replica."""
    with cluster_of(("one", "two")) as members:
        yield members


def directory(member: Member, name: str) -> Path:
    path = member.root / name
    path.mkdir(mode=0o700, exist_ok=True)
    shutil.chown(path, member.data.owner())
    return path


def test_archiving_goes_through_its_configuration(cluster: list[Member]) -> None:
    leader, replica = cluster
    options = {**leader.login(), "repository": {"path": str(directory(leader, "backups"))}}
    assert "patroni.url" in run_module("wal_archive", options).msg
    wrong = {**options, "patroni": {"url": leader.url, "username": "rest", "password": "wrong"}}
    refused = run_module("wal_archive", wrong).msg
    assert "patroni.username" in refused and PASSWORD not in refused
    options["patroni"] = leader.rest_options
    # What somebody set past it would go before Patroni's own.
    leader.query("ALTER SYSTEM SET archive_timeout = '7min'")
    planned = ok(run_module("wal_archive", options, check=True))
    assert planned["changed"] and "archive_mode" not in leader.says("config").get("postgresql", {}).get(
        "parameters", {}
    )
    done = ok(run_module("wal_archive", options))
    assert done["plan"] == planned["plan"] and done["restart_required"] and "archive_mode" in done["waiting"]
    parameters = leader.says("config")["postgresql"]["parameters"]
    assert parameters["archive_mode"] == "on" and parameters["archive_timeout"] == "1min"
    assert "archive" not in (leader.data / "postgresql.auto.conf").read_text()
    assert not ok(run_module("wal_archive", options))["changed"]
    leader.control("restart", "lab", "--force")
    wait_for(lambda: leader.query("SHOW archive_mode") == [("on",)], "the leader did not restart")
    wait_for(lambda: replica.query("SHOW archive_command")[0][0] == done["archive_command"], "the replica lacks it")
    wait_for(lambda: leader.query("SELECT pg_is_in_recovery()") == [(False,)], "no leader")
    assert ok(run_module("wal_archive", {**options, "state": "verified"}))["canary"]["segment"]
    assert not ok(run_module("wal_archive", options))["changed"]


def test_another_cluster_is_never_written_to(cluster: list[Member], server_factory: Callable[..., Any]) -> None:
    """Kind: writing to whoever answers. A patroni.url of a cluster on the same host that is not this server's: another system identifier,
    or a Patroni that answers for a server that its members do not know. Nothing is changed in either."""
    leader, _replica = cluster
    other = server_factory(15)
    (other.data / "patroni.dynamic.json").write_text("{}")
    shutil.chown(other.data / "patroni.dynamic.json", other.data.owner())
    before = leader.says("config")
    options = {**other.client_options(), "repository": {"path": str(directory(leader, "others"))}}
    for state in ("present", "absent", "verified"):
        refused = run_module("wal_archive", {**options, "patroni": leader.rest_options, "state": state}).msg
        assert "another cluster's" in refused and "patroni.url" in refused
    assert leader.says("config") == before
    assert "archive_command" not in (other.data / "postgresql.auto.conf").read_text()


def test_every_member_is_to_archive_before_it_is_called_proven(cluster: list[Member]) -> None:
    """Kind: one member proven, all promised. The replica still waits for its restart: a switchover would end archiving. And its slots are
    Patroni's: streaming is refused, as a slot of ours is dropped at the next restart."""
    leader, replica = cluster
    options = {
        **leader.login(),
        "repository": {"path": str(directory(leader, "backups"))},
        "patroni": leader.rest_options,
    }
    leader.control("edit-config", "lab", "--force", "-s", "postgresql.parameters.max_prepared_transactions=7")
    wait_for(lambda: replica.query("SELECT count(*) FROM pg_settings WHERE pending_restart") == [(1,)], "no change")
    leader.control("restart", "lab", "one", "--force")
    wait_for(lambda: leader.query("SELECT pg_is_in_recovery()") == [(False,)], "no leader")
    wait_for(lambda: "two" in str([m for m in leader.says("cluster")["members"] if m.get("pending_restart")]), "unseen")
    # Patroni answers before its server takes connections again.
    wait_for(lambda: not run_module("wal_archive", options, check=True).failed, "the leader does not come back")
    said = ok(run_module("wal_archive", options))
    assert said["members"] == ["two"] and said["restart_required"] and said["patroni"]
    proven = run_module("wal_archive", {**options, "state": "verified"})
    # A replica with less than its leader stands, and Patroni may have restarted it by itself meanwhile: then nothing waits any more.
    assert "two" in proven.msg or not any(member.get("pending_restart") for member in leader.says("cluster")["members"])
    # On the replica's own host the files are prepared, and nothing is asked of it that only a leader can do.
    wait_for(lambda: replica.query("SELECT 1"), "the replica does not come back")
    own = {**options, **replica.login(), "patroni": replica.rest_options}
    assert not ok(run_module("wal_archive", own))["changed"]
    leader.control("restart", "lab", "two", "--force")
    wait_for(lambda: run_module("wal_archive", options).result.get("restart_required") is False, "it waits for ever")
    wait_for(lambda: not run_module("wal_archive", {**own, "state": "verified"}).failed, "the replica is not proven")
    assert "streaming: false" in run_module("wal_archive", {**options, "streaming": True}).msg


def test_its_standbys_are_its_own(cluster: list[Member]) -> None:
    leader, replica = cluster
    options = {
        "data_directory": str(replica.data),
        "primary_host": "127.0.0.1",
        "primary_port": leader.port,
        "primary_user": "postgres",
        "primary_password": PASSWORD,
        "bin_dir": str(leader.bindir),
    }
    wait_for(lambda: replica.query("SELECT 1"), "the replica does not come back")
    assert "patronictl reinit" in run_module("pg_standby", options).msg
    assert "patronictl switchover" in run_module("pg_standby", {**replica.login(), "state": "promoted"}).msg
    seen = {**options, **replica.login(), "state": "verified"}
    wait_for(lambda: not run_module("pg_standby", seen).failed, "the replica does not follow")
    assert ok(run_module("pg_standby", seen))["standby"]["receiver"]["status"] == "streaming"


def test_a_cluster_goes_back_to_a_moment(cluster: list[Member]) -> None:
    """Pause, restore on the leader, make the replica anew, resume."""
    leader, replica = cluster
    place = {"repository": {"path": str(directory(leader, "backups"))}}
    leader.query("CREATE TABLE precious AS SELECT generate_series(1, 100) AS n")
    ok(run_module("pg_backup", {**leader.login(), **place, "engine": "pg_basebackup"}))
    leader.query("INSERT INTO precious VALUES (101)")
    ok(run_module("pg_restore_point", {**leader.login(), "name": "before the mistake"}))
    leader.query("DROP TABLE precious")
    ok(run_module("wal_archive", {**leader.login(), **place, "patroni": leader.rest_options, "state": "verified"}))
    options = {
        **place,
        "bin_dir": str(leader.bindir),
        "data_directory": str(leader.data),
        "recovery_target": {"name": "before the mistake"},
        "force": True,
        "confirm": [str(leader.data)],
        "stop_server": True,
        "keep_archiving": True,
    }
    refused = run_module("pg_recover", options).msg
    assert "patronictl pause" in refused and "patronictl resume" in refused
    assert "precious" not in str(leader.query("SELECT relname FROM pg_class")) and leader.says()["state"] == "running"
    leader.control("pause", "lab", "--wait")
    wait_for(lambda: not run_module("pg_recover", options, check=True).failed, "Patroni's pause is not seen")
    done = ok(run_module("pg_recover", options))
    assert done["recovery"]["state"] == "promoted"
    assert leader.query("SELECT count(*), max(n) FROM precious") == [(101, 101)]
    wait_for(
        lambda: leader.says("leader")["state"] == "running", "Patroni does not see the restored server as its leader"
    )
    leader.control("reinit", "lab", "two", "--force", "--wait")
    leader.control("resume", "lab", "--wait")
    wait_for(lambda: replica.query("SELECT count(*), pg_is_in_recovery() FROM precious") == [(101, True)], "no replica")
    leader.query("INSERT INTO precious VALUES (102)")
    wait_for(lambda: replica.query("SELECT max(n) FROM precious") == [(102,)], "the replica does not follow")
    assert leader.query("SELECT pg_is_in_recovery(), current_setting('archive_mode')") == [(False, "on")]
