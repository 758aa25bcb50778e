# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL streamed into a directory by pg_receivewal: set up without a restart, proven, and restored to the last row of a server
that died, which only the unfinished segment has."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok, refused
from lab.playbooks import run_module, run_playbook
from lab.restored import Restored
from lab.servers import Server

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def running(server: Server, receiver: dict[str, Any]) -> Iterator[None]:
    """The command, as its service would run it."""
    before = [] if os.geteuid() else ["runuser", "-u", receiver["user"], "--"]
    with subprocess.Popen([*before, *receiver["command"]], cwd="/", start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not server.query("SELECT active FROM pg_replication_slots WHERE active"):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.parametrize(("major", "compression"), [(15, None), (18, "gzip")])
def test_a_receiver(server_factory: Callable[..., Server], major: int, compression: str | None) -> None:
    server = server_factory(major)
    repository = {"path": str(server.server_directory("repository"))}
    common = {"bin_dir": str(server.bindir), "repository": repository, "server_name": "Shop"}
    config = server.server_directory("config")
    config.chmod(0o755)
    given = {**server.login(), **common, "config_dir": str(config), "streaming": True}
    given |= {"compression": compression} if compression else {}

    planned = run_module("wal_archive", given, check=True)
    assert planned.changed and not server.query("SELECT 1 FROM pg_replication_slots")
    made = run_module("wal_archive", given)
    assert made.changed and ok(made)["plan"] == ok(planned)["plan"] and not ok(made)["restart_required"]
    assert not ok(run_module("wal_archive", given))["changed"]
    refused(run_module("wal_archive", {**given, "state": "verified"}), "nobody reads from it")
    receiver = ok(made)["receiver"]
    assert receiver["slot"] == "holdfast_shop"
    assert server.password not in " ".join(receiver["command"])

    with running(server, receiver):
        canary = ok(run_module("wal_archive", {**given, "state": "verified"}))["canary"]
        assert canary["bytes"] == 16 * 1024 * 1024
        refused(run_module("wal_archive", {**given, "state": "absent"}), "still runs")
        ok(run_module("pg_backup", {**server.login(), **common, "engine": "pg_basebackup"}))
        server.psql("CREATE TABLE late AS SELECT n FROM generate_series(1, 1000) n; SELECT pg_switch_wal();")
        ok(run_module("wal_archive", {**given, "state": "verified"}))
        server.psql("INSERT INTO late SELECT n FROM generate_series(1001, 1500) n;")
        last = server.query("SELECT pg_current_wal_flush_lsn()")[0][0]
        deadline = time.monotonic() + 60
        while server.query("SELECT flush_lsn < %s FROM pg_stat_replication", values=[last]) != [(False,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.kill()

    with Restored(server, "again") as new:
        done = run_module(
            "pg_recover",
            {
                **common,
                "data_directory": str(new.data),
                "owner": server.owner,
                "recovery_target": {"latest": True},
                "settings": new.settings,
            },
        )
        ok(done)
        # What is compressed can be read once it is finished.
        expected = 1000 if compression else 1500
        assert new.query("SELECT count(*) FROM late") == [(expected,)]
    audit = ok(run_module("wal_audit", {"repository": repository, "server_name": "Shop"}))
    assert {finding["code"]: finding["level"] for finding in audit["findings"]} == {
        "partial": "fine",
        "contiguous": "fine",
    }

    server.start()
    gone = run_module("wal_archive", {**given, "state": "absent"})
    assert gone.changed and not server.query("SELECT 1 FROM pg_replication_slots")
    assert not ok(run_module("wal_archive", {**given, "state": "absent"}))["changed"]


@pytest.mark.extended
def test_after_a_recovery_in_place(server_factory: Callable[..., Server]) -> None:
    """pg_receivewal goes on where its directory ends: past the moment that the server was brought back to it received nothing ever again, and setup
    said ok [barman#218, barman#281]. The whole segment in which the server left its old life is past it, too."""
    server = server_factory(15, initdb=("--wal-segsize=1",))
    repository = {"path": str(server.server_directory("repository"))}
    config = server.server_directory("config")
    config.chmod(0o755)
    common = {"bin_dir": str(server.bindir), "repository": repository}
    given = {**server.login(), **common, "config_dir": str(config), "streaming": True}
    receiver = ok(run_module("wal_archive", given))["receiver"]
    with running(server, receiver):
        ok(run_module("pg_backup", {**server.login(), **common, "engine": "pg_basebackup"}))
        server.psql("CREATE TABLE t (n int)")
        lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
        for _number in range(3):
            server.psql("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
        ok(run_module("wal_archive", {**given, "state": "verified"}))
    consent = {"force": True, "confirm": [str(server.data)], "stop_server": True}
    target = {"recovery_target": {"lsn": lsn, "inclusive": False}}
    ok(run_module("pg_recover", {**common, **target, **consent, "data_directory": str(server.data)}))
    for check in (True, False):
        done = run_module("wal_archive", given, check=check)
        refused(done, "on where")
        assert "zstd --rm" in done.msg and "which this server left at" in done.msg
    wal = Path(repository["path"]) / "main" / "_wal"
    names = done.msg.partition("out of the way (")[2].partition(")")[0].split(", ")
    assert "…" not in names
    before = {name: (wal / name).read_bytes() for name in names}
    planned = run_module("wal_archive", {**given, "set_aside": True}, check=True)
    assert planned.changed and {name: (wal / name).read_bytes() for name in names} == before
    done = run_module("wal_archive", {**given, "set_aside": True})
    assert ok(done)["plan"] == ok(planned)["plan"] and all(name in done.result["plan"][0] for name in names)
    for name, content in before.items():
        if name.endswith(".partial"):
            assert (wal / f".left.{name}").read_bytes() == content
        else:
            assert (
                subprocess.run(["zstd", "-dcq", str(wal / f"{name}.zst")], check=True, capture_output=True).stdout
                == content
            )
        assert not (wal / name).exists()
    assert not ok(run_module("wal_archive", {**given, "set_aside": True}))["changed"]
    receiver = ok(run_module("wal_archive", given))["receiver"]
    with running(server, receiver):
        server.psql("INSERT INTO t VALUES (2)")
        ok(run_module("wal_archive", {**given, "state": "verified"}))
    with Restored(server, "again") as new:
        wanted = {**common, "data_directory": str(new.data), "owner": server.owner, "settings": new.settings}
        ok(run_module("pg_recover", {**wanted, "recovery_target": {"timeline": "2"}}))
        assert new.query("SELECT count(*) FROM t") == [(1,)]
        again = {"force": True, "confirm": [str(new.data)], "stop_server": True}
        ok(run_module("pg_recover", {**wanted, **again, "recovery_target": {"timeline": "1"}}))
        assert new.query("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.extended
def test_a_recovery_in_place_that_is_taken_back(server_factory: Callable[..., Server]) -> None:
    """The old data serves again, on the timeline that was left: what it goes on with is received, though the directory ends with the other life, and the
    server has removed the segments that were set aside before. That they are in the archive is looked at; where one is not, it is refused."""
    server = server_factory(15, initdb=("--wal-segsize=1",))
    repository = {"path": str(server.server_directory("repository"))}
    config = server.server_directory("config")
    config.chmod(0o755)
    common = {"bin_dir": str(server.bindir), "repository": repository}
    given = {**server.login(), **common, "config_dir": str(config), "streaming": True, "set_aside": True}

    def receive(*statements: str) -> None:
        with running(server, ok(run_module("wal_archive", given))["receiver"]):
            for sql in statements:
                server.psql(sql)
            ok(run_module("wal_archive", {**given, "state": "verified"}))

    with running(server, ok(run_module("wal_archive", given))["receiver"]):
        ok(run_module("pg_backup", {**server.login(), **common, "engine": "pg_basebackup"}))
    server.psql("CREATE TABLE t (n int)")
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    receive(*["INSERT INTO t VALUES (1); SELECT pg_switch_wal()"] * 3, "CHECKPOINT")
    server.stop()
    kept = server.data.with_name("kept")
    subprocess.run(["cp", "-a", str(server.data), str(kept)], check=True)
    consent = {"force": True, "confirm": [str(server.data)]}
    target = {"recovery_target": {"lsn": lsn, "inclusive": False}}
    ok(run_module("pg_recover", {**common, **target, **consent, "data_directory": str(server.data)}))
    receive("INSERT INTO t VALUES (2); SELECT pg_switch_wal()")
    server.stop()
    subprocess.run(["rm", "-rf", str(server.data)], check=True)
    kept.rename(server.data)
    server.start()
    wal = Path(repository["path"]) / "main" / "_wal"
    packed = min(wal.glob("00000001*.zst"))
    packed.rename(wal / "away")
    refused(run_module("wal_archive", given), "nobody has it")
    (wal / "away").rename(packed)
    receive("INSERT INTO t VALUES (3); SELECT pg_switch_wal()")
    audit = ok(run_module("wal_audit", {"repository": repository, "server_name": "main"}))
    assert not [one for one in audit["findings"] if one["code"] == "gap"], audit["findings"]
    with Restored(server, "again") as new:
        wanted = {**common, "data_directory": str(new.data), "owner": server.owner, "settings": new.settings}
        ok(run_module("pg_recover", {**wanted, "recovery_target": {"timeline": "1"}}))
        assert new.query("SELECT n FROM t ORDER BY n") == [(1,), (1,), (1,), (3,)]


def test_what_it_cannot_do(wiped: Callable[[Server | int], Server]) -> None:
    server = wiped(15)
    config = server.directory / "no config"
    given = {
        **server.client_options(),
        "repository": {"path": "/tmp"},
        "streaming": True,
        "config_dir": str(config),
    }
    refused(run_module("wal_archive", {**given, "compression": "zstd"}), "not known to pg_receivewal")
    refused(run_module("wal_archive", {**given, "engine": "pgbackrest"}), "not known to pgbackrest")
    refused(run_module("wal_archive", {**given, "archive_command": "cp %p /x/%f"}), "means nothing with streaming")
    assert not config.exists(), "refused is untouched"


def test_a_store_that_is_away_keeps_no_wal_out(wiped: Callable[[Server | int], Server]) -> None:
    """WAL comes into a directory first. A receiver that was begun anew (its server restarted, its pod evicted) asked the store what it has, and so
    received nothing while that was away, and the server's disk filled."""
    server = wiped(15)
    away = {"type": "s3", "bucket": "b", "endpoint_url": "http://127.0.0.1:1", "access_key": "a", "secret_key": "s"}
    config = server.server_directory("config")
    config.chmod(0o755)
    given = {
        **server.login(),
        "bin_dir": str(server.bindir),
        "engine": "pg_basebackup",
        "repository": {**away, "region": "us-east-1"},
        "wal_directory": str(server.server_directory("wal")),
        "config_dir": str(config),
        "streaming": True,
    }
    assert ok(run_module("wal_archive", given))["receiver"]["command"]
    assert not ok(run_module("wal_archive", given))["changed"]
    ok(run_module("wal_archive", {**given, "state": "absent"}))
    assert not server.query("SELECT 1 FROM pg_replication_slots")


def variables_of(server: Server, units: Path) -> dict[str, Any]:
    """What the playbook archive is told, with units in a directory of the test's."""
    return {f"holdfast_{name}": value for name, value in server.login().items()} | {
        "holdfast_bin_dir": str(server.bindir),
        "holdfast_repository": {"path": str(server.server_directory("streamed"))},
        # Of its own: the server is shared with tests whose server_name is this one's.
        "holdfast_config_dir": str(server.server_directory("config of the playbook")),
        "holdfast_server_name": "it's here",
        "holdfast_archive_streaming": True,
        "holdfast_archive_unit_dir": str(units),
        "holdfast_archive_unit": "receive",
        "holdfast_archive_unit_start": False,
        "holdfast_archive_prove": False,
    }


def test_the_service_of_a_playbook(wiped: Callable[[Server | int], Server], tmp_path: Path) -> None:
    server = wiped(15)
    variables = variables_of(server, tmp_path)
    playbook = CHECKOUT / "playbooks" / "archive.yml"
    assert run_playbook(playbook, variables).returncode
    variables["holdfast_server_name"] = "shop"
    first = run_playbook(playbook, variables)
    assert first.returncode == 0, first.stdout
    unit = (tmp_path / "receive.service").read_text()
    assert "ExecStart=" in unit and "--slot=holdfast_shop" in unit and server.password not in unit
    second = run_playbook(playbook, variables)
    assert "changed=0" in second.stdout, second.stdout
    third = run_playbook(playbook, {**variables, "holdfast_archive_state": "absent"})
    assert third.returncode == 0 and not list(tmp_path.iterdir()), third.stdout


@pytest.mark.extended
def test_whose_the_service_is(wiped: Callable[[Server | int], Server], tmp_path: Path) -> None:
    """A unit of the name that is somebody's own, another server's (by its name, by its system identifier), or masked was overwritten, or taken
    away, unasked. Refused is untouched: no slot is made or dropped."""
    server = wiped(15)
    variables = {**variables_of(server, tmp_path), "holdfast_server_name": "shop"}
    playbook = CHECKOUT / "playbooks" / "archive.yml"
    first = run_playbook(playbook, variables)
    assert first.returncode == 0, first.stdout
    # Ours is brought up to date, and --diff shows how.
    changed = run_playbook(playbook, {**variables, "holdfast_archive_compression": "gzip"}, "--diff")
    assert changed.returncode == 0 and "+ExecStart=" in changed.stdout and "gzip" in changed.stdout, changed.stdout
    written = (tmp_path / "receive.service").read_text()
    slots = "SELECT slot_name FROM pg_replication_slots"

    def refuses(text: str, *parts: str, **more: Any) -> None:
        (tmp_path / "receive.service").write_text(text)
        before = server.query(slots)
        for given in ({}, {"holdfast_archive_state": "absent"}):
            run = run_playbook(playbook, {**variables, **more, **given})
            assert run.returncode and all(part in run.stdout for part in parts), run.stdout
            assert (tmp_path / "receive.service").read_text() == text and server.query(slots) == before

    refuses("[Service]\nExecStart=/usr/local/bin/mine\n", "receive.service", "holdfast_archive_unit")
    refuses(written.replace("X-Holdfast-Server=shop", "X-Holdfast-Server=other"), "the server other", "another one")
    refuses(re.sub("(?m)^X-Holdfast-System=.*$", "X-Holdfast-System=1", written), "system identifier 1", "another one")
    (tmp_path / "receive.service").unlink()
    (tmp_path / "receive.service").symlink_to("/dev/null")  # systemctl mask
    run = run_playbook(playbook, variables)
    assert run.returncode and "holdfast_archive_unit" in run.stdout and (tmp_path / "receive.service").is_symlink(), (
        run.stdout
    )
    (tmp_path / "receive.service").unlink()
    (tmp_path / "receive.service").write_text(written)
