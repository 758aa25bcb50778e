# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standbys, and receivers of WAL, on Debians that have just been installed: what the packages made is found, and systemd runs it.

Found here: a role with REPLICATION alone may not see the sizes of tablespaces, which was an unforeseen error; the data directory was asked for,
though the host tells it; that it is another server came only after all else had been agreed to; check mode failed without python3-apt.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest
from lab.hosts import Host, fresh_host, why_not
from lab.playbooks import PlaybookResult

pytestmark = pytest.mark.extended
DATA = "/var/lib/postgresql/15/main"
UNIT = "postgresql@15-main"


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A primary that lets a role replicate, as the manual of PostgreSQL has it, and another host with the server that its packages made."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with fresh_host(name="db1") as primary, fresh_host(name="db2") as other:
        other.run(
            "pg_dropcluster --stop 15 main && pg_createcluster 15 main --start"
        )  # of one image, all would be one server
        primary.sql("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'of the replicator'")
        primary.sql("CREATE DATABASE shop")
        primary.sql("CREATE TABLE orders AS SELECT id FROM generate_series(1, 1000) id", "shop")
        primary.run(
            "cd /etc/postgresql/15/main && echo \"listen_addresses = '*'\" > conf.d/net.conf"
            " && echo 'host all,replication replicator samenet scram-sha-256' >> pg_hba.conf && systemctl restart "
            + UNIT
        )
        yield primary, other


def ok(run: PlaybookResult) -> PlaybookResult:
    assert run.returncode == 0, run.stdout + run.stderr
    return run


def message(run: PlaybookResult) -> str:
    assert run.failed, run.stdout
    return str(run.failed[0].result["msg"])


def orders(host: Host) -> str:
    return host.sql("SELECT count(*) FROM orders", "shop")


def test_a_standby_by_three_variables(hosts: tuple[Host, Host]) -> None:
    """Kind: one refusal after the other. Three variables say whom it follows; directory, owner, configuration, unit and the standby's own socket
    are found, and the plan says all that is to be agreed to, as the line to paste."""
    primary, host = hosts
    wanted = {
        "holdfast_primary_host": primary.address,
        "holdfast_primary_user": "replicator",
        "holdfast_primary_password": "of the replicator",
    }
    assert "holdfast_setup_install_packages: true" in message(host.play("standby", wanted))
    wanted["holdfast_setup_install_packages"] = True
    planned = ok(host.play("standby", wanted, "--check", "--diff"))
    assert "python3-psycopg2" in planned.stdout and "can be seen once they are" in planned.stdout
    # Without a plan, all is asked for at once.
    said = message(host.play("standby", wanted))
    for name in ("standby_force", "standby_confirm", "standby_stop_server", "accept_new_server"):
        assert f"holdfast_{name}: " in said
    plan = ok(host.play("standby", wanted, "--check", "--diff")).of("holdfast.postgres.pg_standby")[0]
    assert any(f"by the service {UNIT}" in step for step in plan["plan"])
    agreed = json.loads(shlex.split(plan["to_confirm"])[-1])
    assert set(agreed) == {
        "holdfast_standby_force",
        "holdfast_standby_confirm",
        "holdfast_standby_stop_server",
        "holdfast_accept_new_server",
    }
    ok(host.play("standby", {**wanted, **agreed}))
    assert orders(host) == "1000" and host.sql("SELECT pg_is_in_recovery()") == "t"
    assert ok(host.play("standby", wanted)).changed == []
    # It is the unit's, and so it is after the host has booted.
    assert host.run(f"systemctl is-active {UNIT}").stdout.strip() == "active"
    host.run(f"systemctl restart {UNIT}")
    ok(host.play("standby", {"holdfast_standby_state": "verified"}))
    assert not host.run(f"find {DATA} -not -user postgres").stdout
    primary.run(f"systemctl stop {UNIT}")
    ok(host.play("promote", wanted))
    host.sql("INSERT INTO orders VALUES (1001)", "shop")
    assert orders(host) == "1001"


def test_a_receiver_is_run_by_systemd(hosts: tuple[Host, Host]) -> None:
    """Kind: a unit that was only written. It receives as the owner of the server, is started again when it dies, and what it received leads
    to the last row; an unfinished segment too. When it is ended, nothing of it is left."""
    host, _other = hosts
    given = {
        "holdfast_repository": {"path": "/var/backups/postgres"},
        "holdfast_setup_install_packages": True,
        "holdfast_setup_archiving": True,
        "holdfast_archive_streaming": True,
        "holdfast_archive_restart": True,
        "holdfast_server_name": "db1",
    }
    unit = "holdfast-receive-db1"
    ok(host.play("setup", given))
    assert host.play("setup", given).changed == []
    assert host.run(f"ps -o user= -p $(systemctl show -P MainPID {unit})").stdout.strip() == "postgres"
    host.run(f"systemctl kill --signal KILL {unit}")
    host.run(
        f"until [ $(systemctl show -P NRestarts {unit}) -gt 0 ] && systemctl is-active -q {unit}; do sleep 0.2; done",
        timeout=30,
    )
    segment = host.sql("SELECT pg_walfile_name(pg_switch_wal())")
    host.run(f"until [ -e /var/backups/postgres/db1/_wal/{segment}* ]; do sleep 0.2; done", timeout=30)
    host.sql("INSERT INTO orders VALUES (1001)", "shop")
    host.sql("SELECT pg_sleep(0.5)")
    host.run(f"systemctl stop {UNIT}; systemctl stop {unit}")
    back = {"holdfast_data_directory": DATA, "holdfast_recover_force": True, "holdfast_recover_confirm": [DATA]}
    ok(host.play("recover", {**given, **back}))
    assert orders(host) == "1001"
    ok(host.play("archive", {**given, "holdfast_archive_state": "absent"}))
    assert not host.run(
        f"ls /etc/systemd/system/{unit}.service; systemctl is-active {unit} | grep -x active", check=False
    ).stdout.count("\nactive")
