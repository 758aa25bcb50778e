# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standbys of real servers: made, checked, promoted, and brought back after they went their own way."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from lab.answers import ok
from lab.playbooks import run_module, run_playbook, start_module
from lab.servers import Server
from lab.standbys import SETTINGS, Pair
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

REPLICATOR = "repl'i: \\cator"


def rows(server: Server) -> int:
    return int(server.query("SELECT count(*) FROM t")[0][0])


def arrived(server: Server, count: int) -> bool:
    return wait_until(lambda: rows(server) == count)


@pytest.fixture(params=(15, 18), ids=lambda major: f"pg{major}")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with Pair.made(request.getfixturevalue("server_factory"), request.param) as made:
        yield made


def test_a_standby_of_a_running_primary(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    place = primary.server_directory("space")
    primary.psql("CREATE ROLE replicator REPLICATION LOGIN PASSWORD :'secret'", variables={"secret": REPLICATOR})
    primary.psql(f"CREATE TABLESPACE far LOCATION '{place}'")
    primary.psql("CREATE TABLE u TABLESPACE far AS SELECT 7 AS n")
    more = {
        "replication_user": "replicator",
        "replication_password": REPLICATOR,
        "tablespace_locations": {"far": str(primary.directory / "space of the standby")},
    }
    planned = ok(pair.follow(check=True, **more))
    assert planned["changed"] and not standby.data.exists() and not pair.config.exists()
    assert not primary.query("SELECT 1 FROM pg_replication_slots")
    done = ok(pair.follow(**more))
    assert done["plan"] == planned["plan"] and done["standby"]["state"] == "streaming"
    primary.psql("INSERT INTO t VALUES (2); INSERT INTO u VALUES (8)")
    assert arrived(standby, 2) and standby.query("SELECT sum(n) FROM u") == [(15,)]
    assert standby.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'far'") == [
        (str(primary.directory / "space of the standby"),)
    ]
    assert primary.query(
        "SELECT s.slot_name, s.active, r.usename, r.state FROM pg_replication_slots s JOIN pg_stat_replication r"
        " ON r.pid = s.active_pid"
    ) == [("to_standby", True, "replicator", "streaming")]

    passfile = pair.config / "to_standby.primary.pgpass"
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600 and passfile.owner() == standby.data.owner()
    secrets = [REPLICATOR.encode(), b"repl''i", primary.password.encode()]
    said = str(planned) + str(done)
    assert all(secret.decode() not in said for secret in secrets)
    for path in standby.data.rglob("*.*"):
        if path.is_file() and path.stat().st_size < 100_000:
            assert not any(secret in path.read_bytes() for secret in secrets), path

    again = ok(pair.follow(**more))
    assert not again["changed"] and again["plan"] == []
    tuned = {**more, "settings": {"port": str(standby.port), "work_mem": "7MB"}}
    assert ok(pair.follow(check=True, **tuned))["standby"]["settings"] == ["work_mem"]
    assert ok(pair.follow(**tuned))["changed"] and not ok(pair.follow(**tuned))["changed"]
    assert wait_until(lambda: standby.query("SHOW work_mem") == [("7MB",)])
    slower = {**tuned, "settings": {**tuned["settings"], "max_connections": "70"}}
    assert ok(pair.follow(**slower))["standby"]["restart_required"]

    standby.stop()
    assert ok(pair.follow(**slower))["plan"] == [f"start it as {standby.data.owner()}, and wait until it streams"]
    assert standby.query("SHOW max_connections") == [("70",)]


def test_what_cannot_be_is_refused(pair: Pair, server_factory: Callable[..., Server]) -> None:
    primary, standby = pair.primary, pair.standby
    itself = pair.options(primary, primary)
    assert "is the server in" in run_module("pg_standby", itself).msg
    primary.psql("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    assert "REPLICATION" in pair.follow(primary_user="weak", primary_password="weak").msg
    standby.data.mkdir(mode=0o700)
    (standby.data / "precious").write_text("data")
    assert "holds files, and no server" in pair.follow().msg
    (standby.data / "precious").unlink()
    standby.data.rmdir()
    ok(pair.follow())
    other = server_factory(primary.major, settings=SETTINGS)
    try:
        answer = run_module("pg_standby", pair.options(primary, other))
        assert "to_data" not in [row[0] for row in primary.query("SELECT slot_name FROM pg_replication_slots")]
        assert "another server" in answer.msg and "force: true" in answer.msg
        consent = {"force": True, "confirm": [str(other.data)], "stop_server": True}
        assert "accept_new_server" in run_module("pg_standby", pair.options(primary, other, **consent)).msg
        taken = pair.options(primary, other, slot_name="to_standby", **consent, accept_new_server=True)
        other.stop()
        assert "used by another standby" in run_module("pg_standby", taken).msg
    finally:
        other.remove()


def test_somebody_stays_the_primary(pair: Pair) -> None:
    """Whoever mixes the two up would have two standbys."""
    ok(pair.follow())
    assert "is itself a standby" in pair.rejoin(**consent(pair)).msg
    pair.primary.stop()
    assert "Promote that one first" in pair.rejoin(**consent(pair)).msg


def test_it_is_checked(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    assert "Cannot connect" in pair.ask("verified").msg
    ok(pair.follow())
    primary.psql("INSERT INTO t VALUES (2)")
    assert arrived(standby, 2)
    seen: dict[str, Any] = {}

    def level() -> bool:
        seen.update(ok(pair.ask("verified"))["standby"])
        return bool(seen["lag_bytes"] == 0)

    assert wait_until(level) and seen["lag_seconds"] == 0
    assert seen["receiver"]["status"] == "streaming" and seen["timeline"] == 1
    assert seen["slot"]["name"] == "to_standby" and seen["slot"]["active"] and seen["slot"]["wal_status"] == "reserved"
    assert ok(pair.ask("verified", primary=False, max_lag_bytes=1000))["standby"]["receiver"]["port"] == primary.port

    standby.psql("SELECT pg_wal_replay_pause()")
    assert wait_until(lambda: standby.query("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    primary.psql("INSERT INTO t SELECT generate_series(1, 10000)")
    time.sleep(1.1)
    late = pair.ask("verified", max_lag_bytes=1000, max_lag_seconds=1).msg
    assert "is paused" in late and "bytes, and 1000 are allowed" in late and "seconds, and 1 are allowed" in late
    standby.psql("SELECT pg_wal_replay_resume()")
    assert arrived(standby, 10002)

    primary.psql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
    primary.stop()
    assert wait_until(lambda: pair.ask("verified", primary=False).failed)
    assert "there is no WAL receiver" in pair.ask("verified", primary=False).msg
    assert "no standby" in run_module("pg_standby", {"state": "verified", **_started(primary).login()}).msg


def _started(server: Server) -> Server:
    server.start()
    return server


def test_failover_and_the_old_primary_comes_back_as_it_is(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    refused = pair.ask("promoted", primary=False)
    assert f"The primary at 127.0.0.1:{primary.port} is alive" in refused.msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    primary.psql("INSERT INTO t VALUES (2)")
    primary.stop()
    planned = ok(pair.ask("promoted", check=True, max_lag_bytes=0))
    assert planned["changed"] and standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    done = ok(pair.ask("promoted", max_lag_bytes=0))
    assert done["changed"] and done["standby"]["timeline"] == 2 and done["plan"] == planned["plan"]
    again = ok(pair.ask("promoted"))
    assert not again["changed"] and again["standby"]["timeline"] == 2
    standby.psql("INSERT INTO t VALUES (3)")
    # It was stopped before the new timeline began, so nothing of it is lost, and no consent is asked.
    back = ok(pair.rejoin())
    assert back["standby"]["method"] == "follow" and back["changed"]
    assert arrived(primary, 3) and primary.query("SELECT pg_is_in_recovery()") == [(True,)]
    assert not ok(pair.rejoin())["changed"]


def part_ways(pair: Pair) -> None:
    """Both are primaries, and both were written to."""
    ok(pair.follow())
    agreed = {"force": True, "confirm": [f"127.0.0.1:{pair.primary.port}"]}
    assert ok(pair.ask("promoted", **agreed))["changed"]
    pair.primary.psql("INSERT INTO t SELECT generate_series(100, 199)")
    pair.standby.psql("INSERT INTO t VALUES (3)")


def consent(pair: Pair) -> dict[str, Any]:
    return {"force": True, "confirm": [str(pair.primary.data)], "stop_server": True}


@pytest.mark.parametrize("crashed", (False, True), ids=("stopped", "crashed"))
def test_a_server_that_went_its_own_way_is_rewound(pair: Pair, crashed: bool) -> None:
    primary, standby = pair.primary, pair.standby
    part_ways(pair)
    assert rows(primary) == 101
    if crashed:
        primary.kill()
    refused = pair.rejoin()
    assert "bytes of WAL are only here" in refused.msg and "force: true" in refused.msg
    if not crashed:
        assert "stop_server" in pair.rejoin(force=True, confirm=[str(primary.data)]).msg
    hba = (primary.data / "pg_hba.conf").read_text() + "# mine\n"
    (primary.data / "pg_hba.conf").write_text(hba)
    planned = ok(pair.rejoin(check=True, **consent(pair)))
    looked = ok(pair.rejoin(check=True))  # the plan comes before anything is agreed to, and says what it waits for
    assert looked["plan"][:-1] == planned["plan"] and "consent" not in planned
    assert {"stop_server": True, **looked["consent"]} == consent(pair) and (
        "stop_server" in looked["consent"]
    ) != crashed
    assert (primary.pid is None) == crashed
    done = ok(pair.rejoin(**consent(pair)))
    assert done["standby"]["method"] == "rewind" and done["plan"] == planned["plan"]
    assert done["standby"]["state"] == "streaming" and (primary.data / "pg_hba.conf").read_text() == hba
    standby.psql("INSERT INTO t VALUES (4)")
    assert arrived(primary, 3) and primary.query("SELECT sum(n) FROM t") == [(8,)]
    assert primary.query("SELECT pg_is_in_recovery(), current_setting('port')") == [(True, str(primary.port))]
    assert not ok(pair.rejoin())["changed"]


def test_a_server_that_cannot_be_rewound_is_copied_anew(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    part_ways(pair)
    done = ok(pair.rejoin(rewind=False, **consent(pair)))
    assert done["standby"]["method"] == "copy" and rows(primary) == 2
    kept = Path(done["standby"]["kept"][0])
    assert kept.name.startswith("data.before-") and (kept / "PG_VERSION").exists()
    assert primary.query("SELECT pg_is_in_recovery()") == [(True,)]
    # Two of one timeline: nothing says where they parted.
    primary.stop()
    os.unlink(primary.data / "standby.signal")
    primary.start()
    primary.psql("INSERT INTO t VALUES (1000)")
    assert "nothing tells where they parted" in pair.rejoin().msg
    assert ok(pair.rejoin(**consent(pair)))["standby"]["method"] == "copy"
    assert rows(primary) == rows(standby)


def test_a_standby_from_a_backup_and_its_archive(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    repository = {"path": str(primary.server_directory("repository"))}
    common = {"repository": repository, "bin_dir": str(primary.bindir), **primary.login()}
    primary.psql("ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET wal_keep_size = 0")
    primary.restart()
    assert ok(run_module("wal_archive", common))["changed"]
    ok(run_module("wal_archive", {**common, "state": "verified"}))
    backup = ok(run_module("pg_backup", {**common, "engine": "pg_basebackup"}))["backup"]["id"]
    for number in range(4):
        primary.psql(f"INSERT INTO t VALUES ({number}); SELECT pg_switch_wal(); CHECKPOINT")
    ok(run_module("wal_archive", {**common, "state": "verified"}))
    primary.psql("CHECKPOINT")
    made = {"source": "backup", "repository": repository}
    planned = ok(pair.follow(check=True, **made))
    assert any(f"restore the backup {backup}" in step for step in planned["plan"]) and not standby.data.exists()
    done = ok(pair.follow(**made))
    assert done["standby"]["method"] == "backup" and done["plan"] == planned["plan"]
    assert arrived(standby, 5) and not ok(pair.follow(**made))["changed"]
    assert "cp " in standby.query("SHOW restore_command")[0][0]


def test_what_cannot_be_rewound_any_more_is_copied(pair: Pair) -> None:
    """The WAL back to the fork is gone, which only pg_rewind finds out."""
    primary, standby = pair.primary, pair.standby
    primary.psql("ALTER SYSTEM SET wal_keep_size = 0; SELECT pg_reload_conf()")
    part_ways(pair)
    standby.psql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    primary.stop()
    _started(primary).psql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    for number in range(6):
        primary.psql(f"INSERT INTO t VALUES ({number}); SELECT pg_switch_wal(); CHECKPOINT")
    done = ok(pair.rejoin(**consent(pair)))
    assert done["standby"]["method"] == "copy" and "is copied instead" in str(done["warnings"])
    assert rows(primary) == rows(standby) == 2 and Path(done["standby"]["kept"][0]).is_dir()


def test_a_standby_that_lost_its_wal(pair: Pair) -> None:
    """It was away for too long: the slot gave the WAL up, as it was told to."""
    primary, standby = pair.primary, pair.standby
    primary.psql(
        "ALTER SYSTEM SET wal_keep_size = 0; ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'; SELECT pg_reload_conf()"
    )
    ok(pair.follow())
    standby.stop()
    for number in range(6):
        primary.psql(f"INSERT INTO t VALUES ({number}); SELECT pg_switch_wal(); CHECKPOINT")
    assert primary.query("SELECT wal_status FROM pg_replication_slots") == [("lost",)]
    refused = pair.follow().msg
    assert "the primary no longer has the WAL from" in refused and "force: true" in refused
    done = ok(pair.follow(force=True, confirm=[str(standby.data)]))
    assert done["standby"]["method"] == "copy" and any("drop the replication slot" in step for step in done["plan"])
    assert arrived(standby, 7)
    assert primary.query("SELECT wal_status, active FROM pg_replication_slots") == [("reserved", True)]


def test_a_copy_that_was_killed_is_begun_anew(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    staged = standby.data.with_name("standby.holdfast-restore")
    running = start_module("pg_standby", pair.options(primary, standby, max_rate=1000))
    assert wait_until((staged / "base").is_dir)
    running.kill()
    assert not standby.data.exists() and staged.exists()
    assert wait_until(lambda: primary.query("SELECT 1 FROM pg_stat_replication") == [])
    done = ok(pair.follow())
    assert any("which an interrupted run left" in step for step in done["plan"]) and not staged.exists()
    # Told to stop, it cleans up by itself, slot included.
    primary.psql("INSERT INTO t VALUES (2)")
    assert arrived(standby, 2)
    standby.stop()
    primary.psql("SELECT pg_drop_replication_slot('to_standby')")
    other = pair.options(primary, standby, max_rate=1000, data_directory=str(standby.data) + " 2", slot_name="other")
    running = start_module("pg_standby", other)
    second = Path(other["data_directory"] + ".holdfast-restore")
    assert wait_until((second / "base").is_dir)
    running.process.terminate()
    assert "was stopped by SIGTERM" in running.result().msg
    assert not second.exists() and wait_until(lambda: not primary.query("SELECT 1 FROM pg_replication_slots"))


def test_the_configuration_lies_elsewhere(pair: Pair) -> None:
    """As Debian has it: no copy of the primary has a configuration."""
    primary, standby = pair.primary, pair.standby
    primary.stop()
    own = {}
    for server in (primary, standby):
        place = primary.server_directory(f"etc of {server.data.name}")
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
            shutil.copy(primary.data / name, place / name)
            shutil.chown(place / name, primary.data.owner())
        own[server.port] = place / "postgresql.conf"
        with own[server.port].open("a") as stream:
            stream.write(f"data_directory = '{server.data}'\nhba_file = '{place}/pg_hba.conf'\n")
            stream.write(f"ident_file = '{place}/pg_ident.conf'\nport = {server.port}\n")
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (primary.data / name).unlink()
    instance = Instance(str(primary.data), str(primary.bindir), primary.data.owner(), str(own[primary.port]))
    instance.start(str(primary.log))
    assert "pg_createcluster" in pair.follow(settings={}).msg
    assert ok(pair.follow(settings={}, config_file=str(own[standby.port])))["standby"]["state"] == "streaming"
    # From now on the server itself tells where it is.
    assert not ok(pair.follow(settings={}))["changed"]
    agreed = {"force": True, "confirm": [f"127.0.0.1:{primary.port}"]}
    ok(pair.ask("promoted", **agreed))
    primary.psql("INSERT INTO t SELECT generate_series(100, 199)")
    primary.kill()  # pg_rewind starts it by itself, to end what the crash left, by the configuration that names its directory
    back = ok(pair.rejoin(settings={}, **consent(pair)))
    assert back["standby"]["method"] == "rewind" and rows(primary) == 1
    assert primary.query("SHOW config_file") == [(str(own[primary.port]),)]


def test_a_password_is_changed(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    primary.psql("CREATE ROLE replicator REPLICATION LOGIN PASSWORD 'old'")
    ok(pair.follow(replication_user="replicator", replication_password="old"))
    primary.psql("ALTER ROLE replicator PASSWORD 'new'; SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    assert wait_until(lambda: "password authentication failed" in (standby.data / "holdfast-start.log").read_text())
    refused = pair.follow(replication_user="replicator", replication_password="old").msg
    assert "does not let" in refused and "password authentication failed" in refused
    done = ok(pair.follow(replication_user="replicator", replication_password="new"))
    assert done["standby"]["state"] == "streaming" and len(done["plan"]) == 1
    primary.psql("INSERT INTO t VALUES (2)")
    assert arrived(standby, 2)


def test_playbooks(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    own = ("settings", "slot_name")
    variables = {
        f"holdfast_standby_{name}" if name in own else f"holdfast_{name}": value
        for name, value in {**pair.options(primary, standby), **standby.login()}.items()
    }
    first = run_playbook("holdfast.postgres.standby", variables)
    assert first.returncode == 0 and first.of("holdfast.postgres.pg_standby")[0]["changed"], first.stdout
    again = run_playbook("holdfast.postgres.standby", variables)
    assert again.returncode == 0 and not again.changed, again.stdout
    checked = run_playbook("holdfast.postgres.standby", {**variables, "holdfast_standby_state": "verified"})
    assert checked.returncode == 0 and "behind" in checked.stdout, checked.stdout
    assert "split brain" in run_playbook("holdfast.postgres.promote", variables).stdout
    primary.stop()
    promoted = run_playbook("holdfast.postgres.promote", variables)
    assert promoted.returncode == 0 and "A primary, on timeline 2" in promoted.stdout, promoted.stdout
    assert primary.password not in first.stdout + checked.stdout + promoted.stdout
