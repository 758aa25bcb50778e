# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promotions that must not be, and where one landed.

The kinds: what is unknown is more than any limit (CASES 1.47); who is alive is looked at, not an option or a setting (1.46); a
promotion that leaves no primary that one can rely on is not ok (1.54).
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import ModuleResult, run_module
from lab.restored import Restored
from lab.standbys import Pair, part_from_primary
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # servers are made anew for each


def test_an_unknown_lag_is_more_than_any_limit(pair: Pair) -> None:
    """A standby that was cut off and restarted has forgotten what it received and replayed last. Before: both counted as no lag, and it
    was promoted by max_lag_bytes: 0 with 5,000 rows lost."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    part_from_primary(pair)
    primary.psql("INSERT INTO t SELECT generate_series(1, 5000)")
    limits = {"max_lag_bytes": 0, "max_lag_seconds": 1}
    primary.kill()  # nobody sees it shut down in order
    for check in (True, False):
        refused = pair.ask("promoted", check=check, primary=False, **limits)
        assert "lags by an unknown number of bytes" in refused.msg and "accept_unknown_lag" in refused.msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    checked = pair.ask("verified", primary=False, max_lag_bytes=10**12)
    assert checked.failed and "unknown" in checked.msg
    assert ok(pair.ask("promoted", primary=False, **limits, accept_unknown_lag=True))["changed"]


def test_a_primary_that_was_shut_down_in_order_left_nothing_behind(pair: Pair) -> None:
    """The last record tells: after a crash it is another one, and the same limits refuse."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    primary.psql("INSERT INTO t SELECT generate_series(1, 100)")
    primary.stop()
    standby.restart()
    limits = {"max_lag_bytes": 0, "max_lag_seconds": 1, "bin_dir": str(primary.bindir)}
    planned = ok(pair.ask("promoted", check=True, primary=False, **limits))
    done = ok(pair.ask("promoted", primary=False, **limits))
    assert done["standby"]["lag_bytes"] == 0 and done["plan"] == planned["plan"]
    assert standby.query("SELECT count(*) FROM t") == [(101,)]


@pytest.mark.parametrize("how", ("hostaddr", "several", "dead_option", "no_host"))
def test_a_receiver_that_streams_is_a_living_primary(pair: Pair, how: str) -> None:
    """Before: with a dead address in the option, or only hostaddr= in primary_conninfo, it was promoted without force: two primaries."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    login = f"port={primary.port} user=postgres password={primary.password}"
    conninfo = {
        "hostaddr": f"hostaddr=127.0.0.1 {login}",
        "several": f"host=127.0.0.2,127.0.0.1 {login}",
        "no_host": f"host={primary.socket_directory} {login}",
        "dead_option": None,
    }[how]
    if conninfo:
        before = standby.query("SELECT pid FROM pg_stat_wal_receiver")
        standby.psql(
            "ALTER SYSTEM SET primary_conninfo = '" + conninfo.replace("'", "''") + "'; SELECT pg_reload_conf()"
        )
        assert wait_until(
            lambda: standby.query("SELECT pid FROM pg_stat_wal_receiver WHERE status = 'streaming'") not in ([], before)
        )
    more = {"primary_host": "192.0.2.1", "primary_port": 5999} if how == "dead_option" else {}
    refused = pair.ask("promoted", primary=False, **more)
    assert refused.failed and "split brain" in refused.msg and "receiver is connected to it" in refused.msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    named = refused.msg.split("confirm: [")[1].split("]")[0]
    wrong = pair.ask("promoted", primary=False, force=True, confirm=["192.0.2.1:5999"], **more)
    assert "split brain" in wrong.msg
    assert ok(pair.ask("promoted", check=True, primary=False, force=True, confirm=[named], **more))["changed"]


def promoted(pair: Pair, **more: Any) -> ModuleResult:
    return pair.ask("promoted", primary=False, **more)


def test_archiving_fails_on_the_new_host(pair: Pair) -> None:
    """Before: ok, and nothing was archived. Now an error that says that it is a primary, also of the second run; and where archiving
    works, the history and the transaction are followed into the archive."""
    primary, standby = pair.primary, pair.standby
    archive = primary.server_directory("archive")
    command = f"test -d {archive}/up && cp %p {archive}/up/%f"
    primary.psql(f"ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET archive_command = '{command}'")
    primary.restart()
    ok(pair.follow())
    primary.stop()
    failed = promoted(pair)
    assert failed.failed and "is a primary" in failed.msg and "Archiving fails" in failed.msg
    assert failed.result["changed"] and standby.query("SELECT pg_is_in_recovery()") == [(False,)]
    again = promoted(pair)
    assert again.failed and "primary already" in again.msg and not again.result["changed"]
    (archive / "up").mkdir()
    shutil.chown(archive / "up", standby.data.owner())
    standby.psql("SELECT pg_switch_wal()")
    assert wait_until((archive / "up/00000002.history").exists)
    assert not ok(promoted(pair))["changed"]


def test_the_history_arrives_in_the_archive(pair: Pair) -> None:
    primary = pair.primary
    archive = primary.server_directory("archive")
    primary.psql(f"ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'")
    primary.restart()
    ok(pair.follow())
    primary.stop()
    done = ok(promoted(pair))
    assert "A transaction was written." in done["proof"]["proven"] and (archive / "00000002.history").exists()
    assert any("00000002.history and 000000020" in line for line in done["proof"]["proven"])
    assert len(list(archive.glob("00000002????????????????"))) == 1
    assert not ok(promoted(pair))["changed"]


def test_commits_would_wait_for_standbys_that_are_not_there(pair: Pair) -> None:
    """Before: ok, and each write hung for ever."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    primary.stop()
    standby.psql(
        "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (elsewhere, \"El se\")'; SELECT pg_reload_conf()"
    )
    refused = promoted(pair)
    assert refused.failed and "0 of the 1 standbys" in refused.msg and "synchronous_standbys: removed" in refused.msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    planned = ok(pair.ask("promoted", check=True, primary=False, synchronous_standbys="removed"))
    done = ok(promoted(pair, synchronous_standbys="removed"))
    assert done["plan"] == planned["plan"] and "take synchronous_standby_names out" in str(done["plan"])
    standby.psql("SET statement_timeout = '5s'; INSERT INTO t VALUES (2)")
    standby.psql("ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()")
    assert "Every write waits" in promoted(pair).msg


def test_a_standby_without_its_files_at_hand(pair: Pair) -> None:
    """What cannot be read is unknown."""
    ok(pair.follow())
    pair.primary.stop()
    elsewhere = run_module(
        "pg_standby",
        {**pair.standby.login(), "state": "promoted", "max_lag_bytes": 0, "bin_dir": "/nowhere"},
        check=True,
    )
    assert elsewhere.failed and "unknown number of bytes" in elsewhere.msg


def test_the_primary_behind_the_upstream(pair: Pair) -> None:
    """In a cascade the standby that is followed answers, and is no primary: the one behind it was not looked for, and went on beside the one that was
    promoted, once the upstream was confirmed. Killed, stopped in the middle, and where the upstream cannot be asked."""
    primary, middle = pair.primary, pair.standby
    ok(pair.follow())
    with Restored(primary, "lower") as lower:
        ok(run_module("pg_standby", pair.options(middle, lower)))
        ask = {**lower.login(), "state": "promoted"}
        names = [f"127.0.0.1:{server.port}" for server in (primary, middle)]
        refused = run_module("pg_standby", ask)
        assert refused.failed and all(name in refused.msg for name in names), refused.msg
        assert "a standby as well" in refused.msg and "The primary behind it is alive" in refused.msg
        for check in (True, False):
            refused = run_module("pg_standby", {**ask, "force": True, "confirm": names[1:]}, check=check)
            assert refused.failed and f"confirm: [{names[0]}]" in refused.msg, refused.msg
        assert ok(run_module("pg_standby", {**ask, "force": True, "confirm": names}, check=True))["changed"]
        primary.kill()
        assert wait_until(lambda: middle.query("SELECT 1 FROM pg_stat_wal_receiver") == [])
        refused = run_module("pg_standby", ask)
        assert "No primary was seen behind it" in refused.msg and f"confirm: [{names[1]}]" in refused.msg, refused.msg
        planned = ok(run_module("pg_standby", {**ask, "force": True, "confirm": names[1:]}, check=True))
        assert f"{names[0]}, which {names[1]} follows, does not answer" in str(planned["warnings"])
        middle.stop()
        assert wait_until(lambda: lower.query("SELECT 1 FROM pg_stat_wal_receiver") == [])
        done = ok(run_module("pg_standby", {**ask, "accept_unknown_lag": True}))
        assert "nobody has looked for the primary behind it" in str(done["warnings"])
        assert lower.query("SELECT pg_is_in_recovery()") == [(False,)]
