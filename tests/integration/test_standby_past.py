# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a standby follows, and whom it can: by what the servers say and hold, not by numbers and names that others can have.

The kinds: equal timelines taken for one past (CASES 1.44, 1.55), a proof by a name that others can have (1.45), consent for one
directory and another one moved (1.50), streaming taken for following (1.51), settings compared as text (2.39), and what is found out
only after the whole copy (2.43).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.restored import Restored
from lab.servers import Server
from lab.standbys import Pair
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # servers are made anew for each


@contextmanager
def more_standbys(pair: Pair, *names: str) -> Iterator[list[Restored]]:
    with ExitStack() as stack:
        made = [Restored(pair.primary, name) for name in names]
        for server in made:
            stack.callback(server.remove)
        yield made


def follow(pair: Pair, primary: Server, standby: Server, **more: Any) -> Any:
    return run_module("pg_standby", pair.options(primary, standby, **more))


def rows(server: Server) -> int:
    return int(server.query("SELECT count(*) FROM t")[0][0])


def test_equal_timelines_are_not_one_past(pair: Pair) -> None:
    """Two standbys were promoted to timeline 2, each wrote. Before: the third, that follows one, was given the other without force,
    said "streaming", and had rows that its primary never had."""
    primary, first = pair.primary, pair.standby
    with more_standbys(pair, "second", "third") as (second, third):
        for server in (first, second, third):
            ok(follow(pair, primary, server))
        primary.stop()
        for server in (first, second):
            ok(run_module("pg_standby", {**server.login(), "state": "promoted", "bin_dir": str(primary.bindir)}))
        assert ok(follow(pair, first, third))["standby"]["method"] == "follow"  # its past is the same: nobody is asked
        first.psql("INSERT INTO t SELECT generate_series(1, 10)")
        second.psql("INSERT INTO t SELECT generate_series(1, 500)")
        assert wait_until(lambda: rows(third) == 11)
        refused = follow(pair, second, third)
        assert refused.failed and "each wrote its own" in refused.msg and "force: true" in refused.msg
        third.stop()
        refused = follow(pair, second, third)
        assert refused.failed and "each wrote its own" in refused.msg
        assert ok(follow(pair, first, third))["standby"]["state"] == "streaming" and rows(third) == 11
        consent = {"force": True, "confirm": [str(third.data)], "stop_server": True}
        done = ok(follow(pair, second, third, **consent))
        assert done["standby"]["method"] == "copy" and rows(third) == 501  # pg_rewind knows numbers only


def test_a_living_upstream_is_left_only_with_force(pair: Pair) -> None:
    """Its past is the same, and it could perhaps never go back."""
    primary, first = pair.primary, pair.standby
    with more_standbys(pair, "second") as (second,):
        ok(follow(pair, primary, first))
        ok(follow(pair, primary, second))
        refused = follow(pair, first, second)
        assert refused.failed and "is not whom the standby" in refused.msg and "force: true" in refused.msg
        moved = ok(follow(pair, first, second, force=True, confirm=[str(second.data)]))
        assert moved["standby"]["method"] == "follow"
        assert f"'to_second' on 127.0.0.1:{primary.port}" in str(moved["warnings"])  # its slot there holds WAL
        assert second.query("SELECT sender_port FROM pg_stat_wal_receiver") == [(first.port,)]
        assert not ok(follow(pair, first, second))["changed"]


def test_another_one_by_its_name(pair: Pair) -> None:
    """Before: ok, "streaming", by the row of the other one; its own receiver was dead."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    standby.stop()
    login = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password} application_name=to_standby"
    folder = primary.server_directory("received")
    other = subprocess.Popen([primary.program("pg_receivewal"), "-D", folder, "-d", login], stderr=subprocess.DEVNULL)
    try:
        named = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'to_standby'"
        assert wait_until(lambda: primary.query(named) == [(1,)])
        refused = pair.follow()
        assert refused.failed and "by the application_name 'to_standby'" in refused.msg
    finally:
        other.terminate()
        other.wait()
    assert wait_until(lambda: primary.query(named) == [(0,)])
    assert ok(pair.follow())["standby"]["state"] == "streaming"
    with more_standbys(pair, "second") as (second,):
        refused = follow(pair, primary, second, slot_name="to_standby")
        assert "used by another standby" in refused.msg and not second.data.exists()
        own = ok(follow(pair, primary, second, slot_name=None))["standby"]["slot_name"]
        third = ok(run_module("pg_standby", pair.options(primary, second, slot_name=None), check=True))
        assert not third["changed"] and third["standby"]["slot_name"] == own != "to_standby"


def test_a_tablespace_of_somebody_else_stays(pair: Pair) -> None:
    """The map is forgotten when a standby beside its primary is rebuilt. Before: the running primary's tablespace was moved away, and
    both used one directory."""
    primary, standby = pair.primary, pair.standby
    theirs, ours = primary.server_directory("space"), primary.directory / "space of the standby"
    primary.psql(f"CREATE TABLESPACE far LOCATION '{theirs}'")
    primary.psql("CREATE TABLE u TABLESPACE far AS SELECT 7 AS n")
    refused = pair.follow()
    assert refused.failed and f"is used by the server that runs in {primary.data}" in refused.msg
    ok(pair.follow(tablespace_locations={"far": str(ours)}))
    standby.stop()
    (standby.data / "standby.signal").unlink()
    standby.start()
    standby.psql("INSERT INTO t VALUES (1000)")
    consent = {"force": True, "confirm": [str(standby.data)], "stop_server": True}
    refused = pair.follow(tablespace_locations={"far": str(theirs)}, **consent)
    assert refused.failed and "is used by the server" in refused.msg
    precious = primary.server_directory("precious")
    (precious / "file").write_text("x")
    refused = pair.follow(tablespace_locations={"far": str(precious)}, **consent)
    assert refused.failed and "which alone is replaced" in refused.msg
    done = ok(pair.follow(**consent))  # its own place is the default
    assert done["standby"]["method"] == "copy" and rows(standby) == 1 and list(theirs.iterdir())
    assert str(ours) in str(standby.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace"))
    assert primary.query("SELECT n FROM u") == standby.query("SELECT n FROM u") == [(7,)]


def test_what_steers_a_recovery_is_neutralised(pair: Pair) -> None:
    """Left in the primary's postgresql.conf by a recovery of long ago. Before: "streaming", and a second later a primary of its own."""
    primary, standby = pair.primary, pair.standby
    with (primary.data / "postgresql.conf").open("a") as stream:
        stream.write("recovery_target_time = '2001-01-01 00:00:00+00'\nrecovery_target_action = promote\n")
        stream.write("recovery_min_apply_delay = '1h'\n")
    primary.restart()
    done = ok(pair.follow())
    primary.psql("INSERT INTO t VALUES (2)")
    assert wait_until(lambda: rows(standby) == 2) and standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    assert any("neutralise what would steer" in step for step in done["plan"]) and not ok(pair.follow())["changed"]
    standby.psql("SELECT pg_wal_replay_pause()")
    standby.stop()
    hour = {"settings": {"port": str(standby.port), "archive_timeout": "60min"}}
    ok(pair.follow(**hour))
    same = {"settings": {"port": str(standby.port), "archive_timeout": "1h"}}
    assert not ok(pair.follow(**same))["changed"]


def test_what_cannot_be_is_told_before_the_copy(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    refused = pair.follow(service="holdfast-no-such-unit")
    assert refused.failed and "holdfast-no-such-unit" in refused.msg and not standby.data.exists()
    assert not primary.query("SELECT 1 FROM pg_replication_slots")
    primary.psql("ALTER SYSTEM SET max_wal_senders = 1")
    primary.restart()
    login = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password}"
    folder = primary.server_directory("received")
    other = subprocess.Popen([primary.program("pg_receivewal"), "-D", folder, "-d", login], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: primary.query("SELECT count(*) FROM pg_stat_replication") == [(1,)])
        assert "max_wal_senders (1) are taken" in pair.follow().msg
    finally:
        other.terminate()
        other.wait()


def test_a_rebuilt_standby_that_does_not_start(pair: Pair) -> None:
    """The old one runs again, and no slot of ours is left for nobody."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    primary.psql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
    standby.stop()
    (standby.data / "standby.signal").unlink()
    standby.start()
    standby.psql("INSERT INTO t VALUES (1000)")
    primary.psql("SELECT pg_drop_replication_slot('to_standby')")
    consent = {"force": True, "confirm": [str(standby.data)], "stop_server": True}
    failed = pair.follow(settings={"port": str(standby.port), "shared_buffers": "1000TB"}, **consent)
    assert failed.failed and "could not be started" in failed.msg and "runs again" in failed.msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(False,)] and rows(standby) == 2
    assert wait_until(lambda: not primary.query("SELECT 1 FROM pg_replication_slots"))


@pytest.mark.parametrize("rewind", (True, False), ids=("rewind", "copy"))
def test_its_own_configuration_stays(pair: Pair, rewind: bool) -> None:
    """Before: pg_rewind left the other server's conf.d and server.key; a copy took all of its configuration, unsaid (CASES 1.56)."""
    primary, standby = pair.primary, pair.standby
    for server, text in ((primary, "'theirs'"), (standby, "'ours'")):
        if server is standby:
            ok(pair.follow())
        folder = server.data / "conf.d"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        (folder / f"{text[1:-1]}.conf").write_text(f"cluster_name = {text}\n")
        (server.data / "server.key").write_text(text)
        (server.data / f"{text[1:-1]}.crt").write_text(text)
        for path in (folder, *folder.iterdir(), server.data / "server.key", server.data / f"{text[1:-1]}.crt"):
            shutil.chown(path, primary.data.owner(), primary.data.group())
        if server is primary:
            with (server.data / "postgresql.conf").open("a") as stream:
                stream.write("include_dir = 'conf.d'\n")
            primary.restart()
    (standby.data / "theirs.crt").unlink()
    standby.restart()
    agreed = {"force": True, "confirm": [f"127.0.0.1:{primary.port}"]}
    ok(pair.ask("promoted", **agreed))
    standby.psql("INSERT INTO t SELECT generate_series(100, 199)")
    consent = {"force": True, "confirm": [str(standby.data)], "stop_server": True}
    # The primary comes past the fork on another timeline, so that there is a way back.
    third = {"rewind": rewind, **consent}
    primary.psql("INSERT INTO t VALUES (2)")
    planned = ok(pair.follow(check=True, **third))
    done = ok(pair.follow(**third))
    # The name aside has the second in it.
    plans = [[re.sub(r"\d{8}T\d{6}Z", "", step) for step in run["plan"]] for run in (planned, done)]
    assert plans[0] == plans[1] and any("keep the configuration" in step for step in done["plan"])
    assert done["standby"]["method"] == ("rewind" if rewind else "copy") and rows(standby) == 2
    assert sorted(path.name for path in (standby.data / "conf.d").iterdir()) == ["ours.conf"]
    assert (standby.data / "server.key").read_text() == "'ours'" and not (standby.data / "theirs.crt").exists()
    assert (
        standby.query("SHOW cluster_name") == [("ours",)]
        and not (standby.data.parent / "standby.holdfast-own").exists()
    )
    assert not ok(pair.follow())["changed"]
