# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of whole servers: recovered beside the live one, which it does not touch; where it came to is proven by positions and by a row."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from lab.answers import ok
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.recoveries import SETTINGS, Archived
from lab.servers import Server
from lab.stores import S3Server
from lab.waiting import wait_until

SMALL = ("--wal-segsize=1",)
MARKER = {"database": "shop", "sql": "SELECT max(at) FROM heartbeat"}


class Site(Archived):
    """A server that archives, with a heartbeat, and drills of its backups."""

    @property
    def scratch(self) -> Path:
        return self.server.server_directory("scratch")

    @property
    def drilled(self) -> dict[str, Any]:
        common = {"owner": self.server.owner, "scratch_dir": str(self.scratch), "low_priority": False}
        return {**self.options, **common, "engine": "pg_basebackup"}

    def drill(self, check: bool = False, **more: Any) -> ModuleResult:
        return run_module("pg_drill", {**self.drilled, **more}, check=check)

    def beat(self) -> None:
        self.server.psql("INSERT INTO heartbeat VALUES (clock_timestamp())", "shop")

    def nothing_left(self) -> None:
        assert not list(self.scratch.iterdir())


@pytest.fixture(scope="module")
def site(server_factory: Callable[..., Server]) -> Site:
    """With a database that is read-only and takes nobody, and what could reach out: jobs, a foreign server, event triggers, a tablespace."""
    server = server_factory(15, settings={**SETTINGS, "shared_preload_libraries": "pg_cron"}, initdb=SMALL)
    space = server.server_directory("space")
    server.psql("CREATE EXTENSION pg_cron; CREATE TABLE jobs (at timestamptz)")
    server.psql("SELECT cron.schedule('* * * * *', 'INSERT INTO jobs SELECT now()')")
    server.psql(f"CREATE TABLESPACE space LOCATION '{space}'")
    server.psql("CREATE DATABASE shop")
    server.psql('CREATE DATABASE "it is ""shut""" CONNECTION LIMIT 0')
    for setting in ("default_transaction_read_only = on", "statement_timeout = 1"):
        server.psql(f'ALTER DATABASE "it is ""shut""" SET {setting}')
    server.psql(
        "CREATE TABLE heartbeat (at timestamptz); INSERT INTO heartbeat VALUES (now());"
        "CREATE TABLE orders (id int PRIMARY KEY) TABLESPACE space; INSERT INTO orders SELECT generate_series(1, 1000);"
        "CREATE EXTENSION postgres_fdw; CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '10.0.0.1');"
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL here'; END $$;"
        "CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no()",
        "shop",
    )
    made = Site.of(server)
    assert isinstance(made, Site)
    server.query("SELECT pg_sleep(1.1)")  # the end of a backup is told in whole seconds, rounded up
    made.beat()
    made.archive()
    return made


def test_a_server_passes_and_reaches_nothing(site: Site) -> None:
    """The kind: a drill of a whole server on the host of the live one. Members: its tablespace, jobs, foreign server, event trigger, archive; a marker,
    which proves what was replayed; a plan before it. What is there of the live server is as it was."""
    before = {path: path.stat().st_mtime_ns for path in (site.server.directory / "space").rglob("*")}
    archived = sorted(path.name for path in site.repository.rglob("*"))
    planned = ok(site.drill(check=True))
    assert "segments of WAL" in str(planned["plan"]) and "bytes" in str(planned["plan"])
    done = ok(site.drill(marker=MARKER, rto="1h", rpo="1h"))
    found = done["evidence"]
    assert (done["verdict"], found["reasons"]) == ("pass", []), found["reasons"]
    work = ("restore", "replay", "start", "checks", "checksums")
    overhead = done["elapsed"] - sum(phase["seconds"] for phase in found["phases"] if phase["name"] in work)
    assert overhead < 10, found["phases"]  # 3 on a quiet machine
    checks = {row["name"]: row for row in found["checks"]}
    assert {"position", "write", "marker", "rows", "libraries", "pg_amcheck"} <= set(checks)
    assert found["target"]["commit_time"] and found["measured"]["rpo_seconds"] < 3600
    shut = found["isolation"]
    assert (
        "no_ddl in shop" in shut["event triggers switched off"]
        and "elsewhere in shop" in shut["foreign servers led nowhere"]
    )
    assert "shared_preload_libraries" in shut and shut["archive_mode"]
    if os.geteuid() == 0:
        assert "namespace" in shut["network"]
    assert {path: path.stat().st_mtime_ns for path in (site.server.directory / "space").rglob("*")} == before
    left = {path.name for path in site.repository.rglob("*")} - set(archived)
    assert all(name in ("_drills", "_readers", "lock.json") or name.startswith("000001-") for name in left), left
    site.nothing_left()


def test_what_is_wrong_is_told(site: Site, tmp_path: Path) -> None:
    """The kind: a backup that cannot be recovered. Members: a marker from before the backup (replayed WAL that nobody can show), an artifact with one
    byte flipped, an artifact that is missing, a segment that is missing. Each names the file or the step."""
    old = {"database": "shop", "sql": "SELECT min(at) FROM heartbeat"}
    done = site.drill(marker=old, amcheck="none")
    assert done.failed and "'marker'" in done.msg and "before the backup's end" in done.msg, done.msg
    mine = Site(site.server, tmp_path / "copy")
    shutil.copytree(site.repository, mine.repository)
    base = next(path for path in mine.repository.rglob("base.tar*"))
    whole = base.read_bytes()
    base.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    done = mine.drill(amcheck="none")
    assert done.failed and base.name in done.msg and "'restore'" in done.msg, done.msg
    base.unlink()
    done = mine.drill(amcheck="none")
    assert done.failed and base.name in done.msg and "'plan'" in done.msg, done.msg
    base.write_bytes(whole)
    segments = sorted(
        path for path in (mine.repository / "main" / "_wal").iterdir() if len(path.name.split(".")[0]) == 24
    )
    segments[-2].unlink()
    done = mine.drill(amcheck="none")
    assert done.failed and segments[-2].name.split(".")[0] in done.msg and "'plan'" in done.msg, done.msg
    assert [path.name.split(".")[1] for path in sorted((mine.repository / "main" / "_drills").glob("*.json"))][-3:] == [
        "fail"
    ] * 3
    site.nothing_left()


def test_killed_while_it_recovers(site: Site, running: list[RunningModule]) -> None:
    """A drill that is killed outright, twice, while it reads a backup that it holds against retention; the next one passes."""
    for number in range(2):
        module = start_module("pg_drill", {**site.drilled, "amcheck": "none"})
        running.append(module)
        wait_until(lambda: list((site.repository / "main" / "_readers").glob("*.json")), 120)
        wait_until(lambda: list(site.scratch.glob("holdfast-drill-main/data*")), 120)
        module.kill()
        # What the second one found at first was the first one's: it may have been killed while it cleared that up.
        assert number or list(site.scratch.glob("holdfast-drill-main"))
    assert ok(site.drill(amcheck="none"))["verdict"] == "pass"
    site.nothing_left()


@pytest.mark.extended
def test_a_server_that_is_kept(site: Site) -> None:
    """It runs on, where only its owner and root reach it, and the next drill takes it away."""
    done = ok(site.drill(keep=True, amcheck="none"))
    kept = done["server"]
    assert done["evidence"]["teardown"]["kept"]
    with (
        closing(
            psycopg2.connect(
                host=kept["login_unix_socket"], port=kept["login_port"], user=kept["login_user"], dbname="shop"
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM orders")
        assert cursor.fetchone() == (1000,)
    assert ok(site.drill(amcheck="none"))["verdict"] == "pass"
    assert not os.path.exists(kept["login_unix_socket"])
    site.nothing_left()


def random_targets(site: Site, count: int) -> None:
    """Each is drawn by the module, and has exactly the transactions that pg_waldump says."""
    moments = set()
    for _number in range(count):
        found = ok(site.drill(target="random", amcheck="none"))["evidence"]
        assert found["verdict"] == "pass", found["reasons"]
        exact = next(row for row in found["checks"] if row["name"] == "exact")
        assert exact["ok"] and found["measured"]["rpo_seconds"] is None
        moments.add(found["target"]["asked"])
    assert len(moments) == count


def test_a_moment_by_chance(site: Site) -> None:
    for _number in range(3):
        site.beat()
    site.archive()
    random_targets(site, 1)


@pytest.mark.extended
def test_more_moments_by_chance(site: Site) -> None:
    """HOLDFAST_TARGETS says how many; a hundred take a quarter of an hour."""
    for _number in range(30):
        site.beat()
    site.archive()
    random_targets(site, int(os.environ.get("HOLDFAST_TARGETS", "5")))


def test_a_library_that_is_not_here(site: Site) -> None:
    """A function fails when it is called, and not before: the library and its extension are named. So are collations of another version, a
    database's own too. (Moments by chance come before: one of them could be that of the change.)"""
    change = "UPDATE pg_proc SET probin = '$libdir/{}' WHERE proname = 'postgres_fdw_handler'"
    site.server.psql(change.format("gone_with_the_host"), "shop")
    site.server.psql("UPDATE pg_collation SET collversion = '0.1' WHERE collname = 'en-x-icu'", "shop")
    site.server.psql("UPDATE pg_database SET datcollversion = '0.2' WHERE datname = 'shop'")
    site.archive()
    done = site.drill(amcheck="none")
    site.server.psql(change.format("postgres_fdw"), "shop")
    site.server.psql("UPDATE pg_database SET datcollversion = NULL WHERE datname = 'shop'")
    site.archive()
    notes = " ".join(done.result["evidence"]["notes"])
    assert "The collation en-x-icu of 'shop' was of version 0.1" in notes and "version 0.2 of its collation" in notes
    assert done.failed and "gone_with_the_host is not on this host (of the extension postgres_fdw)" in done.msg, (
        done.msg
    )


@pytest.mark.extended
def test_from_a_store_in_turn(site: Site, s3: S3Server, tmp_path: Path) -> None:
    """Two tiers, each in its turn, out of a directory and out of a bucket; each has a chain of its own, which object lock holds."""
    bucket = "drills"
    s3.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    tls = {"ca_file": str(s3.ca_file)} if s3.certificate else {}
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "region": s3.region, **tls}
    store = {"name": "s3", "type": "s3", "bucket": bucket, "endpoint_url": s3.endpoint_url, **keys}
    store.update(object_lock="governance", object_lock_for="1d")
    tiers = [{"name": "disk", "path": str(tmp_path)}, store]
    secret = {"encryption": {"method": "aes256", "passphrase": "it's a secret"}}
    given = {**site.server.client_options(), "repositories": tiers, "engine": "pg_basebackup", **secret}
    ok(run_module("pg_backup", given))
    wanted = {**site.drilled, "repositories": tiers, "tier": "rotate", "amcheck": "none", **secret}
    del wanted["repository"]
    drilled = [ok(run_module("pg_drill", wanted))["evidence"] for _number in range(3)]
    assert [one["backup"]["tier"] for one in drilled] == ["disk", "s3", "disk"]
    assert [one["verdict"] for one in drilled] == ["pass"] * 3
    there = {item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket, Prefix="main/_drills/")["Contents"]}
    kept = s3.client().head_object(Bucket=bucket, Key=f"main/_drills/{drilled[1]['id']}.json")
    assert kept["ObjectLockMode"] == "GOVERNANCE" and f"main/_drills/{drilled[1]['id']}.md" in there


@pytest.mark.extended
@pytest.mark.skipif(shutil.which("pgbackrest") is None, reason="pgbackrest is not installed")
def test_by_pgbackrest(server_factory: Callable[..., Server], s3: S3Server) -> None:
    """Out of a bucket; evidence lies beside its backups, and facts have it."""
    server = server_factory(15)
    bucket = s3.make_bucket("drills-pgbackrest")
    tls = {"ca_file": str(s3.ca_file)} if s3.certificate else {}
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "region": s3.region, **tls}
    store = {"type": "s3", "bucket": bucket, "endpoint_url": s3.endpoint_url, **keys}
    config = server.server_directory("config")
    config.chmod(0o755)
    given = {**server.client_options(), "server_name": "db1", "engine": "pgbackrest", "repository": store}
    given["config_dir"] = str(config)
    ok(run_module("wal_archive", given))
    server.restart()
    server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    backup = ok(run_module("pg_backup", given))["backup"]["id"]
    server.psql("INSERT INTO t SELECT generate_series(1001, 1500)")
    ok(run_module("wal_archive", {**given, "state": "verified"}))
    wanted = {name: value for name, value in given.items() if not name.startswith("login_")}
    wanted.update(
        owner=server.owner, scratch_dir=str(server.server_directory("scratch")), low_priority=False, amcheck="none"
    )
    asked = {"name": "all rows", "database": "postgres", "sql": "SELECT count(*) FROM t", "expect": 1500}
    found = ok(run_module("pg_drill", {**wanted, "assertions": [asked]}))["evidence"]
    assert (found["verdict"], found["backup"]["id"], found["backup"]["engine"]) == ("pass", backup, "pgbackrest")
    facts = ok(run_module("backup_facts", given))["ansible_facts"]["holdfast_backups"]
    assert facts["backups"][-1]["drill_verdict"] == "pass"
