# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a store with nothing else: base backups of pg_basebackup, and WAL that was received and shipped there. Any moment comes back from it, on
each timeline; what is expected comes from the server itself. What the store lacks is a plan's error, before anything is touched."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.manifests import IN_A_POD
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.scripts import SERVER
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from lab.answers import ok, refused, warned
from lab.playbooks import collections_path, run_module
from lab.records import lay
from lab.restored import Restored
from lab.servers import Server, clean_environment
from lab.stores import S3Server
from lab.waiting import wait_until

Options = dict[str, Any]
DEFAULTS = {name: option.get("default") for name, option in STORE.items()}
WATCHING = "ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.watching"
NUMBERS = itertools.count(1)
SECRET = {"encryption": {"method": "aes256", "passphrase": "it's a \\ secret"}}
CONTENT = "SELECT count(*), md5(string_agg(n::text, ',' ORDER BY n)) FROM t"


class Site:
    """A server whose WAL is received on this host, shipped into a bucket, and gone from here then."""

    def __init__(self, server: Server, s3: S3Server, **more: Any) -> None:
        self.server, self.s3, self.more = server, s3, more
        self.bucket = s3.make_bucket(f"wal-{next(NUMBERS)}")
        self.root = server.server_directory("received")
        self.wal = self.root / "shop" / "_wal"
        tls = {"ca_file": str(s3.ca_file)} if s3.certificate else {}
        keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "region": s3.region, **tls}
        self.repository: Options = {"type": "s3", "bucket": self.bucket, "endpoint_url": s3.endpoint_url, **keys}
        self.common: Options = {"server_name": "shop", "repository": self.repository, **more}
        config = server.server_directory("config")
        config.chmod(0o755)
        receives = {"repository": {"path": str(self.root)}, "streaming": True, "config_dir": str(config)}
        self.receives: Options = {**server.client_options(), "server_name": "shop", **receives}

    def ship(self, **more: Any) -> Options:
        return ok(run_module("wal_ship", {**self.common, "wal_directory": str(self.root), "keep": 1, **more}))

    def backup(self) -> None:
        given = {**self.server.client_options(), **self.common, "engine": "pg_basebackup"}
        ok(run_module("pg_backup", given))

    def recover(self, new: Restored, check: bool = False, **target: Any) -> Any:
        given = {
            "data_directory": str(new.data),
            "owner": self.server.owner,
            "settings": new.settings,
            "bin_dir": str(self.server.bindir),
        }
        return run_module("pg_recover", {**self.common, **given, "recovery_target": target}, check=check)

    @contextmanager
    def receiver(self) -> Iterator[None]:
        """pg_receivewal, as its service would run it."""
        receiver = ok(run_module("wal_archive", self.receives))["receiver"]
        before = [] if os.geteuid() else ["runuser", "-u", receiver["user"], "--"]
        with subprocess.Popen([*before, *receiver["command"]], cwd="/", start_new_session=True) as process:
            try:
                wait_until(lambda: self.server.query("SELECT 1 FROM pg_replication_slots WHERE active"), timeout=30)
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)

    def write(self, rows: range) -> tuple[Any, str]:
        """Rows, each segment closed behind them. Returns what the table holds, and a position at which it holds that."""
        self.server.psql(f"INSERT INTO t SELECT n FROM generate_series({rows.start}, {rows.stop - 1}) n")
        held = self.server.query(CONTENT)[0]
        lsn = self.server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
        self.server.psql("SELECT pg_switch_wal()")
        return held, lsn

    def received(self) -> None:
        """Wait until the receiver has come to the segment that is being written."""
        name = self.server.query("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]
        wait_until(lambda: any(path.name.startswith(name) for path in self.wal.iterdir()), timeout=60)


@pytest.fixture
def site(server_factory: Callable[..., Server], s3_plain: S3Server) -> Iterator[Site]:
    server = server_factory(15, initdb=("--wal-segsize=1",))
    yield Site(server, s3_plain, **SECRET)
    server.remove()


def test_any_moment_from_a_store(site: Site) -> None:
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        moments = [site.write(range(number * 10, number * 10 + 10)) for number in range(6)]
        server.psql("INSERT INTO t VALUES (-1)")  # begins the next segment
        site.received()
        assert site.ship()["shipped"] >= 6
        assert len([path for path in site.wal.iterdir() if len(path.name) == 24]) == 1, (
            "what is in the store is not kept here"
        )
    server.kill()
    shutil.rmtree(site.root)
    expected, lsn = random.Random(20261126).choice(moments)
    with Restored(server, "again") as new:
        planned = site.recover(new, check=True, lsn=lsn)
        assert any("fetch" in step and site.bucket in step for step in ok(planned)["plan"])
        ok(site.recover(new, lsn=lsn, inclusive=False))
        assert new.query(CONTENT)[0] == expected
        assert (
            not (new.data / "holdfast_wal").exists()
            and "restore_command" not in (new.data / "postgresql.auto.conf").read_text()
        )
    audit = ok(run_module("wal_audit", site.common))
    assert not [finding for finding in audit["findings"] if finding["level"] != "fine"], audit["findings"]
    facts = ok(run_module("backup_facts", site.common))["ansible_facts"]["holdfast_backups"]
    assert facts["wal"]["windows"][0]["stretches"] and site.bucket in facts["wal"]["archive"]


def test_laid_out_for_who_starts_it(site: Site) -> None:
    """`prepare`: nothing is started here, and nothing claimed to be proven; who starts the server, as a pod of its own image would, has it recover by a
    plain cp. A second run changes nothing, until it was started: then it is refused. WAL that is only here cannot be prepared for elsewhere."""
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        expected, lsn = site.write(range(10))
        site.write(range(10, 30))
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        site.ship()
    with Restored(server, "again") as new:
        given = {
            **site.common, "data_directory": str(new.data), "owner": server.owner, "settings": new.settings,
            "bin_dir": str(server.bindir), "recovery_target": {"lsn": lsn, "inclusive": False}, "prepare": True,
        }  # fmt: skip
        planned = run_module("pg_recover", given, check=True)
        assert not new.data.exists() and any("whoever starts it" in step for step in ok(planned)["plan"])
        done = ok(run_module("pg_recover", given))
        assert done["plan"] == ok(planned)["plan"] and not done["proof"]["proven"] and done["proof"]["unproven"]
        assert new.pid is None and (new.data / "recovery.signal").exists()
        assert not ok(run_module("pg_recover", given))["changed"]
        new.start()
        wait_until(lambda: new.query("SELECT NOT pg_is_in_recovery()") == [(True,)])
        assert new.query(CONTENT)[0] == expected
        new.stop()
        refused(run_module("pg_recover", given), "force")
    local = {"path": str(site.root)}
    ok(
        run_module(
            "pg_backup",
            {**server.client_options(), "server_name": "shop", "repository": local, "engine": "pg_basebackup"},
        )
    )
    with Restored(server, "never") as new:
        given = {
            "server_name": "shop",
            "repository": local,
            "data_directory": str(new.data),
            "owner": server.owner,
            "prepare": True,
        }
        refused(run_module("pg_recover", given), "prepare", "store that WAL is shipped to")


def pod(server: Server, data: Path, shared: Path, target: Options) -> tuple[int, Options, int]:
    """The two containers of a recovery in a cluster, without one: the script of the server's own image, whose programs are not in PATH, and ours that
    watches. Returns its exit code and its message, and the script's exit code."""
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    told = {"PGDATA": str(data), "SHARED": str(shared), "PATH": "/usr/bin:/bin"}
    arguments = [part for name, value in IN_A_POD.items() for part in ("-c", f"{name}={value}")]
    before = [] if os.geteuid() else ["runuser", "-u", server.owner, "--"]
    image = [*before, "env", *(f"{name}={value}" for name, value in told.items()), "sh", "-c", SERVER, "sh", *arguments]
    message = shared.with_suffix(".json")
    ours = {
        **clean_environment(), "PGDATA": str(data), "SHARED": str(shared), "SUPERUSERS": f"nobody {server.superuser}", "TARGET": json.dumps(target),
        "MESSAGE": str(message), "PYTHONPATH": str(collections_path()),
    }  # fmt: skip
    with subprocess.Popen(image, cwd="/", stdout=subprocess.DEVNULL) as running:
        try:
            watch = subprocess.run(
                [sys.executable, "-m", WATCHING], env=ours, cwd="/", stdout=subprocess.DEVNULL, timeout=60, check=False
            )
        finally:
            (shared / "stop").touch()
            running.wait(30)
    for path in data.rglob("*"):  # in a pod both are one user
        shutil.chown(path, server.owner)
    return watch.returncode, json.loads(message.read_text()), running.returncode


@pytest.mark.extended
def test_recovered_in_private_by_another_image(site: Site) -> None:
    """Kind: a recovery in a pod that ends well, and did not get there. Members: it did, by position, and to the archive's end; a library that is missing; a
    target that is not reached, as its WAL was lost meanwhile. Nothing that steered it is left behind."""
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        expected, lsn = site.write(range(10))
        last, _lsn = site.write(range(10, 30))
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        site.ship()
    system_id = server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    for number, (target, held, settings, wrong) in enumerate(
        [
            ({"lsn": lsn, "inclusive": False}, expected, {}, ""),
            ({}, last, {}, ""),
            ({"lsn": lsn}, None, {"shared_preload_libraries": "of_nobody"}, "of_nobody"),
            ({"lsn": lsn}, None, {}, "before configured recovery target was reached"),
        ]
    ):
        with Restored(server, f"again{number}") as new:
            given = {
                **site.common, "data_directory": str(new.data), "owner": server.owner, "settings": {**new.settings, **settings}, "in_place": True,
                "bin_dir": str(server.bindir), "recovery_target": target, "prepare": True,
            }  # fmt: skip
            ok(run_module("pg_recover", given))
            if wrong.startswith("before"):
                for path in (new.data / "holdfast_wal").iterdir():
                    path.unlink()
            code, said, ended = pod(server, new.data, site.root.parent / f"shared{number}", target)
            if wrong:
                assert code == 1 and ended != 0 and wrong in said["error"], said
                continue
            assert (code, ended) == (0, 0), said
            assert (
                said["system_id"] == system_id
                and said["timeline"] == 2
                and any("files of their" in one for one in said["proven"])
            ), said
            auto = (new.data / "postgresql.auto.conf").read_text()
            assert "recovery_target" not in auto and "restore_command" not in auto and "listen_addresses" not in auto
            assert not (new.data / "holdfast_wal").exists() and not (new.data / "recovery.signal").exists()
            new.start()
            assert new.query(CONTENT)[0] == held


def snapshot_of(site: Site, shelf: Shelf, name: str) -> Path:
    """What a volume snapshot in backup mode has, and its record. Returns where the files are, as a claim that was restored would have them."""
    server, copy = site.server, site.root.parent / name
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backup_start('x', true)::text")
        (start,) = cursor.fetchone()
        subprocess.run(["cp", "-a", str(server.data), str(copy)], check=True)
        cursor.execute("SELECT lsn::text, labelfile FROM pg_backup_stop(false)")
        (stop, label) = cursor.fetchone()
    (copy / "postmaster.pid").unlink()
    now = datetime.datetime.now(datetime.timezone.utc)
    system_id = server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    record = lay(shelf, name, now, kind="full", engine="volume_snapshot", system=system_id, data=label.encode())
    shelf.write(
        replace(
            record,
            start_lsn=start,
            stop_lsn=stop,
            consistency={"mode": "backup_mode", "self_contained": False, "reached_at": record.stopped_at},
            server={**record.server, "version": "15", "version_num": 150000, "wal_segment_size": 1 << 20},
            artifacts=[replace(record.artifacts[0], role="backup_label")],
        )
    )
    for path, text in ((copy / "backup_label", label), (copy / "recovery.signal", "")):
        path.write_text(text)
        shutil.chown(path, server.owner)
    return copy


def test_a_volume_snapshot_is_a_base(server_factory: Callable[..., Server], s3_plain: S3Server) -> None:
    """One in backup mode is chosen among all, where that is asked for; passed over with a sentence where nothing can lay it out; and recovers from where its
    claim was restored, once, and only as it was: without backup_label, with another one's, or started since, it would be silently corrupt."""
    site = Site(server_factory(15, initdb=("--wal-segsize=1",)), s3_plain)
    server, shelf = site.server, Shelf(open_repository({**DEFAULTS, **site.repository}), "shop")
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        site.write(range(5))
        copy = snapshot_of(site, shelf, "snap")
        expected, lsn = site.write(range(10, 20))
        site.write(range(30, 60))
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        site.ship()
    target = {"lsn": lsn, "inclusive": False}
    with Restored(server, "again") as new:
        beside = ok(site.recover(new, check=True, **target))
        assert beside["backup"]["engine"] == "pg_basebackup"
        given: Options = {
            **site.common, "data_directory": str(new.data), "owner": server.owner, "settings": new.settings,
            "bin_dir": str(server.bindir), "recovery_target": target, "prepare": True,
        }  # fmt: skip
        assert "snap would be a nearer base" in warned(run_module("pg_recover", given, check=True))
        chosen = {**given, "snapshots": "choose"}
        planned = ok(run_module("pg_recover", chosen, check=True))
        assert planned["backup"]["id"] == "snap" and any("into new claims" in step for step in planned["plan"])
        refused(run_module("pg_recover", chosen), "is for a plan", "awaits_recovery")
        refused(run_module("pg_recover", {**given, "backup_id": "snap"}), "in its cluster alone")
        laid_out = {**given, "snapshots": "laid_out", "backup_id": "snap"}
        refused(run_module("pg_recover", {**given, "snapshots": "laid_out"}), "which snapshot lies there")
        refused(run_module("pg_recover", {**laid_out, "prepare": False}), "prepare: true")
        refused(run_module("pg_recover", laid_out), "has no server in it")
        copy.rename(new.data)
        label = (new.data / "backup_label").read_text()
        (new.data / "backup_label").write_text(label.replace("START WAL LOCATION: 0", "START WAL LOCATION: 1"))
        refused(run_module("pg_recover", laid_out), "of another backup", "silently corrupt")
        (new.data / "backup_label").write_text(label)
        planned = ok(run_module("pg_recover", laid_out, check=True))
        done = ok(run_module("pg_recover", laid_out))
        assert done["plan"] == planned["plan"] and not done["recovery"]["kept"]
        assert not ok(run_module("pg_recover", laid_out))["changed"]
        new.start()
        wait_until(lambda: new.query("SELECT NOT pg_is_in_recovery()") == [(True,)])
        assert new.query(CONTENT)[0] == expected
        assert new.query("SHOW archive_mode") == [("off",)] and new.query("SHOW listen_addresses") == [("localhost",)]
        new.stop()
        refused(run_module("pg_recover", laid_out), "was started since")
    server.remove()


@pytest.mark.extended
def test_over_a_switch_of_timelines(site: Site) -> None:
    """The server is promoted, as a standby is: the receiver goes on over the switch, histories are shipped before the segments of their timeline,
    and moments of both lives come back."""
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        old, old_lsn = site.write(range(10))
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        server.psql("SELECT pg_promote()")
        wait_until(lambda: server.query("SELECT NOT pg_is_in_recovery()") == [(True,)])
        new_rows, new_lsn = site.write(range(100, 120))
        server.psql("INSERT INTO t VALUES (-1)")
        wait_until(lambda: server.query("SELECT 1 FROM pg_replication_slots WHERE active"), timeout=60)
        site.received()
        site.ship()
    server.kill()
    shutil.rmtree(site.root)
    for name, expected, target in (
        ("before", old, {"lsn": old_lsn, "inclusive": False, "timeline": "2"}),
        ("after", new_rows, {"lsn": new_lsn, "inclusive": False, "timeline": "2"}),
    ):
        with Restored(server, name) as new:
            ok(site.recover(new, **target))
            assert new.query(CONTENT)[0] == expected
    audit = ok(run_module("wal_audit", site.common))
    assert not [finding for finding in audit["findings"] if finding["level"] == "error"], audit["findings"]


@pytest.mark.extended
def test_what_the_store_lacks_is_a_plans_error(site: Site) -> None:
    """A segment that is gone, one that is damaged, and a passphrase that is missing: said before anything is touched, and by the audit."""
    server, client = site.server, site.s3.client()
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        moments = [site.write(range(number * 10, number * 10 + 10)) for number in range(5)]
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        site.ship()
    listed = client.list_objects_v2(Bucket=site.bucket, Prefix="shop/_wal/0")["Contents"]
    key = listed[-3]["Key"]
    whole = client.get_object(Bucket=site.bucket, Key=key)["Body"].read()
    lsn = moments[-1][1]
    with Restored(server, "again") as new:
        client.put_object(Bucket=site.bucket, Key=key, Body=whole[: len(whole) // 2])
        for check in (True, False):
            refused(site.recover(new, check=check, lsn=lsn), key, "damaged")
        client.delete_object(Bucket=site.bucket, Key=key)
        refused(site.recover(new, lsn=lsn), key.rpartition("/")[2][:24])
        assert not new.data.exists()
        refused(run_module("wal_audit", {**site.common, "strict": True}), key.rpartition("/")[2][:24])
        client.put_object(Bucket=site.bucket, Key=key, Body=whole)
        plain = {name: value for name, value in site.common.items() if name != "encryption"}
        given = {**plain, "data_directory": str(new.data), "owner": server.owner, "recovery_target": {"lsn": lsn}}
        refused(run_module("pg_recover", given), "encryption", "is missing")
        ok(site.recover(new, lsn=lsn, inclusive=False))
        assert new.query(CONTENT)[0] == moments[-1][0]


@pytest.mark.extended
def test_removal_facts_and_a_dropped_slot(site: Site) -> None:
    """WAL that no kept backup needs goes from the store too; who looks sees how far shipping is; and where the slot was dropped and the server
    has removed what was not received, a new base backup is asked for, instead of a receiver that fails for ever."""
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        for number in range(3):
            site.write(range(number))
        site.backup()
        site.write(range(50, 60))
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        looked = {**site.common, "wal_directory": str(site.root)}
        site.ship()
        store = ok(run_module("backup_facts", looked))["ansible_facts"]["holdfast_backups"]["shipping"]["stores"][0]
        assert store["waiting"] == 0 and store["error"] is None and store["last_segment"]
        site.write(range(60, 70))
        server.psql("INSERT INTO t VALUES (-2)")
        site.received()
        broken = {**site.repository, "bucket": "nobody-made-it"}
        done = run_module("wal_ship", {**site.common, "repository": broken, "wal_directory": str(site.root)})
        assert done.failed
        shipping = ok(run_module("backup_facts", looked))["ansible_facts"]["holdfast_backups"]
        assert shipping["shipping"]["stores"][0]["error"] and any(
            "WAL is not shipped" in text for text in shipping["problems"]
        )
        site.ship()
    removed = ok(run_module("wal_audit", {**site.common, "remove": True}))
    assert removed["removed_count"] >= 2
    assert not [
        finding for finding in ok(run_module("wal_audit", {**site.common}))["findings"] if finding["level"] == "error"
    ]
    wait_until(lambda: not server.query("SELECT 1 FROM pg_replication_slots WHERE active"), timeout=60)
    server.psql("SELECT pg_drop_replication_slot('holdfast_shop')")
    refused(run_module("wal_archive", {**site.receives, "state": "verified"}), "take a new base backup")
    for number in range(6):
        site.write(range(number))
        server.psql("CHECKPOINT")
    done = run_module("wal_archive", site.receives)
    refused(done, "zstd --rm", "take a new base backup at once")


@pytest.mark.extended
def test_a_standby_from_a_store(site: Site) -> None:
    """The primary has no longer what the backup needs: it is fetched from the store before the standby starts, and nothing of that stays."""
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    with site.receiver():
        site.backup()
        for number in range(5):
            site.write(range(number))
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        site.ship()
        wait_until(lambda: server.query("SELECT restart_lsn > '0/4000000' OR true FROM pg_replication_slots"))
        for _number in range(3):
            server.psql("CHECKPOINT; INSERT INTO t VALUES (-1); SELECT pg_switch_wal()")
        server.psql("INSERT INTO t VALUES (-1)")
        site.received()
        site.ship()
    with Restored(server, "standby") as new:
        link = {
            "primary_host": server.host,
            "primary_port": server.port,
            "primary_user": "postgres",
            "primary_password": server.password,
        }
        given = {
            **site.common,
            **link,
            "data_directory": str(new.data),
            "owner": server.owner,
            "settings": new.settings,
        }
        given |= {
            "source": "backup",
            "bin_dir": str(server.bindir),
            "config_dir": str(server.server_directory("standby config")),
            "login_user": "postgres",
        }
        given |= {"login_password": server.password, "login_host": new.host, "login_port": new.port}
        (server.directory / "standby config").chmod(0o755)
        planned = run_module("pg_standby", given, check=True)
        ok(run_module("pg_standby", given))
        assert new.query("SELECT pg_is_in_recovery()") == [(True,)]
        fetches = any("which the primary no longer has" in step for step in ok(planned)["plan"])
        assert fetches, ok(planned)["plan"]
        assert not (new.data / "holdfast_wal").exists()
        assert not ok(run_module("pg_standby", given))["changed"]


@pytest.mark.extended
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is full is made by root")
def test_the_receivers_disk_is_full(site: Site) -> None:
    """While nobody ships, the receiver's disk fills. It stops, its slot keeps the WAL, and what it could not make whole would keep it from going
    on for ever ("has … bytes, should be 0 or …"). Shipping makes room, on the very disk that is full, and has it go on: nothing is lost."""
    server = site.server
    server.psql("CREATE TABLE t (n int)")
    user = server._user
    options = f"size=6600k,uid={user.pw_uid},gid={user.pw_gid},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(site.root)], check=True)
    try:
        site.backup()
        with site.receiver():
            for number in range(10):
                expected, lsn = site.write(range(number * 10, number * 10 + 10))
            wait_until(lambda: not server.query("SELECT 1 FROM pg_replication_slots WHERE active"), timeout=60)
            wait_until(
                lambda: [path for path in site.wal.glob("*.partial") if path.stat().st_size not in (0, 1 << 20)],
                timeout=60,
            )
            refused(
                run_module("wal_archive", {**site.receives, "state": "verified"}), "the disk was full when it was made"
            )
            server.psql("INSERT INTO t VALUES (-1)")
            name = server.query("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]

            def shipped() -> bool:
                site.ship()
                return any(path.name.startswith(name) for path in site.wal.iterdir())

            wait_until(shipped, timeout=120, every=1)
            site.ship()
        server.kill()
        with Restored(server, "again") as new:
            ok(site.recover(new, lsn=lsn, inclusive=False))
            assert new.query(CONTENT)[0] == expected
    finally:
        subprocess.run(["umount", "-l", str(site.root)], check=True)
