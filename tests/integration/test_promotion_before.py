# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a promotion would replay, end or lose that nobody asked for: told before it, in check mode too.

The kinds: what was held back on purpose is let go (a paused replay, a delay); what others do with the standby ends (a base backup, the consumers
of logical slots); a right that is missing is found out when the old primary is down already; a new primary that nobody may follow.
"""

from __future__ import annotations

import subprocess

import pytest
from lab.answers import ok
from lab.playbooks import run_module
from lab.standbys import Pair
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # servers are made anew for each


def test_what_was_held_back_on_purpose(pair: Pair) -> None:
    """Before: promoted without a word, with all that the replay was paused for."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow(settings={"port": str(standby.port), "recovery_min_apply_delay": "1h"}))
    before = standby.query("SELECT pg_last_wal_replay_lsn()")
    primary.psql("DELETE FROM t")
    primary.psql("SELECT pg_switch_wal()")
    behind = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
    assert wait_until(lambda: standby.query(behind) == [(True,)]) and standby.query("SELECT n FROM t") == [(1,)]
    primary.kill()
    standby.psql("SELECT pg_wal_replay_pause()")
    for check in (True, False):
        refused = pair.ask("promoted", check=check, primary=False)
        assert refused.failed and "its replay was paused" in refused.msg and "bytes more" in refused.msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    assert standby.query("SELECT pg_last_wal_replay_lsn()") >= before
    standby.psql("SELECT pg_wal_replay_resume()")
    planned = ok(pair.ask("promoted", check=True, primary=False))
    assert "replays 1h later than its primary" in str(planned["warnings"])
    done = ok(pair.ask("promoted", primary=False))
    assert "a mistake of that time too" in str(done["warnings"]) and standby.query("SELECT n FROM t") == []


def test_what_others_do_with_it(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    feedback = {"hot_standby_feedback": "on", "sync_replication_slots": "on"}
    ok(pair.follow(settings={"port": str(standby.port), **feedback}))
    primary.psql("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')")
    primary.psql("SELECT pg_create_logical_replication_slot('kept', 'pgoutput', failover => true)")
    synced = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'kept' AND synced AND NOT temporary"

    def is_synced() -> bool:
        primary.psql("SELECT pg_log_standby_snapshot()")
        return standby.query(synced) == [(1,)]

    assert wait_until(is_synced, 40), standby.query("SELECT * FROM pg_replication_slots")
    login = f"host=127.0.0.1 port={standby.port} user=postgres password={primary.password}"
    folder = primary.server_directory("copied")
    argv = [primary.program("pg_basebackup"), "-D", folder, "-d", login, "--max-rate=32", "--checkpoint=fast"]
    copying = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: standby.query("SELECT count(*) FROM pg_stat_progress_basebackup") == [(1,)])
        agreed = {"force": True, "confirm": [f"127.0.0.1:{primary.port}"]}
        said = str(ok(pair.ask("promoted", check=True, **agreed))["warnings"])
        assert "1 base backup is being taken" in said and "are lost with it: cdc." in said
    finally:
        copying.terminate()
        copying.wait()
    done = ok(pair.ask("promoted", **agreed))
    assert standby.query("SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical'") == [("kept",)]
    assert "lets anybody replicate from another host" in str(done["proof"]["unproven"])


def test_rights_and_read_only(pair: Pair) -> None:
    """A role without the right is told in check mode; a server that is read-only by default is written to all the same."""
    primary, standby = pair.primary, pair.standby
    primary.psql("CREATE ROLE op LOGIN PASSWORD 'op' IN ROLE pg_monitor")
    ok(pair.follow())
    primary.stop()
    login = {**standby.login(), "login_user": "op", "login_password": "op", "state": "promoted"}
    refused = run_module("pg_standby", login, check=True)
    assert refused.failed and "GRANT EXECUTE ON FUNCTION pg_promote" in refused.msg
    mark = standby.data / "postgresql-auto-failover-standby.conf"
    mark.write_text("# its keeper would undo it\n")
    assert "pg_autoctl perform promotion" in pair.ask("promoted", primary=False).msg
    mark.unlink()
    standby.psql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
    done = ok(pair.ask("promoted", primary=False))
    assert "A transaction was written." in done["proof"]["proven"]
    assert "default_transaction_read_only is on" in str(done["proof"]["unproven"])
