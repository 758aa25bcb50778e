# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first hour, on a Debian that has just been installed: PostgreSQL as packaged, peer authentication, systemd, a person with sudo.

The collection comes from the built tarball, by ssh, and all that is typed is ``-b``. Found here: SQL was done as root, whom PostgreSQL does
not know; what was written as root could not be written by the next backup as postgres.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from collections.abc import Iterator

import pytest
from lab.hosts import Host, fresh_host, why_not
from lab.playbooks import PlaybookResult

REPOSITORY = "/var/backups/postgres"
DATA = "/var/lib/postgresql/15/main"
VARIABLES = {
    "holdfast_repository": {"path": REPOSITORY},
    "holdfast_setup_install_packages": True,
    "holdfast_setup_archiving": True,
    "holdfast_archive_restart": True,
}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host that was set up by one command, with a database."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with fresh_host() as fresh:
        fresh.sql("CREATE DATABASE shop")
        fresh.sql("CREATE TABLE orders AS SELECT id FROM generate_series(1, 1000) id", "shop")
        ok(fresh.play("setup", VARIABLES))
        yield fresh


def ok(run: PlaybookResult) -> PlaybookResult:
    assert run.returncode == 0, run.stdout + run.stderr
    return run


def message(run: PlaybookResult) -> str:
    assert run.failed, run.stdout
    return str(run.failed[0].result["msg"])


def strangers(host: Host) -> str:
    """Files of the repository that its owner does not own."""
    return host.run(f"find {REPOSITORY} -not -user postgres").stdout


def test_one_command_and_there_is_a_proven_backup(host: Host) -> None:
    """Setup made the directory the owner's, archived, backed up, and proved it; a second run changes nothing."""
    assert ok(host.play("setup", VARIABLES)).changed == []
    assert ok(host.play("audit", VARIABLES)).of("holdfast.postgres.wal_archive")[0]["canary"]["backup"]
    assert not strangers(host)


def test_a_database_is_backed_up_and_comes_back(host: Host) -> None:
    ok(host.play("backup", VARIABLES))
    wanted = {"holdfast_restore_databases": ["shop"], "holdfast_restore_target_db": "shop_yesterday"}
    ok(host.play("restore", {**VARIABLES, **wanted}))
    assert host.sql("SELECT count(*) FROM orders", "shop_yesterday") == "1000"
    assert not strangers(host)


def test_as_root_itself_and_as_nobody_in_particular(host: Host) -> None:
    """Who logs in as root needs no -b; who may not read the repository is told what to type."""
    ok(host.play("backup", VARIABLES, user="root", become=False))
    assert not strangers(host)
    assert "holdfast_become_user" in message(host.play("backup", VARIABLES, become=False))
    # the words of PostgreSQL are not the last ones
    said = message(host.play("restore_point", {"holdfast_restore_point_name": "x", "holdfast_become_user": "root"}))
    assert 'role "root" does not exist' in said and "holdfast_become_user" in said
    assert "no such user" in message(host.play("backup", {**VARIABLES, "holdfast_become_user": "nobody_here"}))


@pytest.mark.extended
def test_the_whole_server_comes_back(host: Host) -> None:
    """recover as root: files as the owner, and the next backup goes on where it was."""
    ok(host.play("backup", {**VARIABLES, "holdfast_engine": "pg_basebackup"}))
    consent = {
        "holdfast_data_directory": DATA,
        "holdfast_recover_force": True,
        "holdfast_recover_confirm": [DATA],
        "holdfast_recover_stop_server": True,
    }
    host.sql("DROP TABLE orders", "shop")
    target = {"holdfast_data_directory": DATA, "holdfast_recovery_target": {"immediate": True}}
    # The plan comes before anything is agreed to, and with it the very line.
    looked = ok(host.play("recover", {**VARIABLES, **target}, "--check", "--diff"))
    (plan,) = looked.of("holdfast.postgres.pg_recover")
    assert "holdfast_recover_force: true" in plan["plan"][-1] and "its last checkpoint" in plan["plan"][-2]
    words = shlex.split(plan["to_confirm"])
    assert words[:3] == ["ansible-playbook", "holdfast.postgres.recover", "-b"] and "--check" not in words
    said = json.loads(words[-1])
    (confirmed,) = said.pop("holdfast_recover_confirm")
    assert confirmed.endswith(DATA) and not confirmed.startswith("/")
    assert said == {"holdfast_recover_force": True, "holdfast_recover_stop_server": True}
    assert host.sql("SELECT to_regclass('orders')", "shop") == ""
    ok(host.play("recover", {**VARIABLES, **consent, **target}))
    assert host.sql("SELECT count(*) FROM orders", "shop") == "1000"
    ok(host.play("backup", VARIABLES))
    assert not strangers(host)


@pytest.mark.extended
def test_encrypted_to_any_moment() -> None:
    """aes256 and WAL by a shell command do not go together: that is refused with the way out, and the way out works from nothing on."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with fresh_host() as host:
        host.run(
            "install -d -m 0755 /etc/holdfast && install -m 0600 -o postgres /dev/null /etc/holdfast/passphrase"
            " && echo s3cret > /etc/holdfast/passphrase"
        )
        encrypted = {
            **VARIABLES,
            "holdfast_encryption": {"method": "aes256", "passphrase_file": "/etc/holdfast/passphrase"},
        }
        assert "holdfast_engine: pgbackrest" in message(host.play("setup", encrypted))
        ok(host.play("setup", {**encrypted, "holdfast_engine": "pgbackrest"}))
        assert host.play("setup", {**encrypted, "holdfast_engine": "pgbackrest"}).changed == []
        assert not strangers(host)


ELSEWHERE = "/var/lib/pgsql/15/data"
AS_RED_HATS = f"""
set -e
pg_dropcluster --stop 15 main
ln -s /usr/lib/postgresql/15 /usr/pgsql-15
install -d -m 0700 -o postgres -g postgres /var/lib/pgsql /var/lib/pgsql/15 {ELSEWHERE}
runuser -u postgres -- /usr/pgsql-15/bin/initdb -A peer -D {ELSEWHERE}
cat > /etc/systemd/system/postgresql-15.service <<'END'
[Unit]
Description=PostgreSQL 15 database server
[Service]
Type=notify
User=postgres
Group=postgres
Environment=PGDATA={ELSEWHERE}/
ExecStart=/usr/pgsql-15/bin/postgres -D ${{PGDATA}}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
KillSignal=SIGINT
TimeoutSec=0
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl disable --now postgresql
systemctl enable --now postgresql-15
"""


@pytest.mark.extended
def test_a_server_that_is_laid_out_as_red_hats_are() -> None:
    """Kind: one distribution's layout taken for all. The packages of Red Hat's family cannot be had here; their paths and their unit can: the
    data directory has its configuration in it, nothing is in /etc/postgresql, and the unit has the version in its name."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with fresh_host() as host:
        host.run(AS_RED_HATS)
        host.sql("CREATE DATABASE shop")
        host.sql("CREATE TABLE orders AS SELECT id FROM generate_series(1, 1000) id", "shop")
        given = {**VARIABLES, "holdfast_setup_packages": ["python3-psycopg2", "zstd", "lz4", "gnupg"]}
        ok(host.play("setup", given))
        assert host.play("setup", given).changed == []
        ok(host.play("restore_point", {"holdfast_restore_point_name": "before", "holdfast_server_name": host.name}))
        host.sql("DROP TABLE orders", "shop")
        back = {
            "holdfast_data_directory": ELSEWHERE,
            "holdfast_recovery_target": {"name": "before"},
            "holdfast_recover_force": True,
            "holdfast_recover_confirm": [ELSEWHERE],
            "holdfast_recover_stop_server": True,
        }
        ok(host.play("recover", {**given, **back}))
        assert host.sql("SELECT count(*) FROM orders", "shop") == "1000"
        assert host.run("systemctl is-active postgresql-15").stdout.strip() == "active"
        ok(host.play("setup", given))
        assert not strangers(host)


@pytest.mark.extended
def test_a_stores_library_that_the_distribution_has_not(host: Host) -> None:
    """Kind: externally-managed-environment. An environment of our own is made, and the modules take its Python without being told."""
    key = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YWJj;BlobEndpoint=http://127.0.0.1:1/a;"
    azure = {"type": "azure", "container": "c", "connection_string": key}
    run = host.play("setup", {"holdfast_repository": azure, "holdfast_setup_install_packages": True})
    assert "Nothing answers there" in message(run), run.stdout
    assert run.failed[0].result["interpreter"] == "/usr/local/lib/holdfast/venv/bin/python"
    again = host.play("setup", {"holdfast_repository": azure, "holdfast_setup_install_packages": True})
    assert again.changed == []


@pytest.mark.extended
def test_a_schedule_is_run_by_systemd(host: Host) -> None:
    """Kind: a schedule that was only written. It is run once by its unit when that is asked for; its timer fires and makes a backup as the
    server's owner, on a host whose Ansible is too old; what fails starts the unit that tells somebody; one that is renamed is not there twice;
    and what is ended is gone."""
    host.run("DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ansible-core")
    assert "core 2.14" in host.run("/usr/bin/ansible-playbook --version | head -1").stdout
    host.write("/etc/systemd/system/tell@.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/touch /run/told-%i\n")
    given = {
        "holdfast_server_name": "db1",
        "holdfast_schedule_variables": {"holdfast_repository": {"path": REPOSITORY}},
        "holdfast_schedule_on_failure": "tell@%n.service",
        "holdfast_schedule_random_delay": "0",
    }
    unit = "holdfast-backup-db1"
    ok(host.play("schedule", given))
    assert host.play("schedule", given).changed == []
    assert backups(host, "db1") == 0
    once = {**given, "holdfast_schedule_prove": "run"}
    ok(host.play("schedule", once))
    assert backups(host, "db1") == 1 and not strangers(host)
    assert host.run(f"systemctl show -P Result {unit}.service").stdout.strip() == "success"
    assert host.play("schedule", once).changed == [] and backups(host, "db1") == 1
    ok(host.play("schedule", {**given, "holdfast_schedule_calendar": "*:*:0/5"}))
    host.run(f"until [ $(ls -d {REPOSITORY}/db1/2* | wc -l) -gt 1 ]; do sleep 0.5; done", timeout=90)
    host.run(
        f"systemctl stop {unit}.timer; while systemctl is-active -q {unit}.service; do sleep 0.5; done", check=False
    )
    ok(host.play("schedule", given))
    # somebody is told
    host.run(f"mv {REPOSITORY} {REPOSITORY}.gone")
    try:
        assert host.run(f"systemctl start {unit}.service", check=False).returncode != 0
        host.run(f"until [ -e /run/told-{unit}.service ]; do sleep 0.2; done", timeout=20)
    finally:
        host.run(f"mv {REPOSITORY}.gone {REPOSITORY}")
    # another name, and all else as it was
    ok(host.play("schedule", {**given, "holdfast_schedule_name": "nightly"}))
    timers = host.run(
        "systemctl list-timers --all --no-legend --no-pager | grep -oE 'nightly.timer|holdfast-[a-z0-9-]+.timer'"
    )
    assert timers.stdout.split() == ["nightly.timer"]
    assert host.run("cd /etc/holdfast/schedules; ls").stdout.split() == ["nightly.json", "nightly.sh"]
    ok(host.play("schedule", {**given, "holdfast_schedule_name": "nightly", "holdfast_schedule_state": "absent"}))
    assert not host.run(
        "ls /etc/holdfast/schedules /etc/systemd/system/*.timer 2>/dev/null | grep nightly", check=False
    ).stdout


@pytest.mark.extended
def test_a_job_over_ssh_is_cancelled(host: Host) -> None:
    """Kind: nobody hears the result any more, and the work goes on. By a real sshd, with become: the controller is killed while pg_dump waits
    for a lock; the module on the host ends by itself, and what it had begun is no backup."""
    before = backups(host, host.name)
    lock = "BEGIN; LOCK TABLE orders; SELECT pg_sleep(900)"
    host.run(f"nohup psql -d shop -c '{lock}' > /dev/null 2>&1 &", "postgres")
    seen: list[str] = []
    working = "pgrep -u postgres -x 'python3.*'"
    watcher = threading.Thread(
        target=lambda: seen.append(host.run(f"until {working}; do sleep 0.5; done", timeout=80).stdout)
    )
    watcher.start()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            host.play("backup", {**VARIABLES, "holdfast_backup_lock_wait_timeout": "1h"}, timeout=80)
        watcher.join()
        assert seen, "the backup had not begun"
        host.run(f"while {working}; do sleep 0.5; done", timeout=30)
    finally:
        host.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'LOCK TABLE' AND pid <> pg_backend_pid()"
        )
    assert backups(host, host.name) == before
    ok(host.play("backup", VARIABLES))
    assert backups(host, host.name) == before + 1


def backups(host: Host, server: str) -> int:
    """How many there are."""
    return int(host.run(f"find {REPOSITORY}/{server} -name manifest.json 2>/dev/null | wc -l").stdout)
