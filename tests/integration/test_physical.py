# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole servers copied by pg_basebackup, from primaries and standbys, in full and incremental, into directories and buckets;
and what happens when a copy is disturbed. A restored server is compared with the original by pg_dump of both."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import fault
from lab.answers import ok, refused
from lab.compare import Snapshot, assert_same, snapshot
from lab.harddata import HOSTILE, SHOP, HardData
from lab.playbooks import ModuleResult, run_module, start_module
from lab.restored import Restored
from lab.servers import Server
from lab.stores import S3Server
from lab.waiting import pids, wait_until

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

SECRET = "a pass phrase: with 'everything' \\ in it"
AES256 = {"method": "aes256", "passphrase": SECRET}
SLOW = 2 * 1024 * 1024  # bytes per second, so that "half-way" is easy to meet
# What an unlogged table held is gone after a crash, and after a physical copy.
UNLOGGED = [
    "rows of Order Data.baskets",
    "rows of public.by_number",
    "rows of public.by_number_1",
    "sequence *unlogged*",
]
FILL = """
CREATE TABLE items AS SELECT n, md5(n::text) AS name FROM generate_series(1, 20000) n;
CREATE TABLE noise AS
SELECT n, (SELECT string_agg(sha256((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 300) AS m) AS bytes
FROM generate_series(1, 300) AS n;
"""

needs_mount = pytest.mark.skipif(not fault.can_mount(), reason="a small file system needs mount")


def arguments(server: Server, repository: Any, **options: Any) -> dict[str, Any]:
    where = repository if isinstance(repository, dict) else {"path": str(repository)}
    return {
        **server.client_options(),
        "repository": where,
        "engine": "pg_basebackup",
        **options,
    }


def back_up(server: Server, repository: Any, **options: Any) -> dict[str, Any]:
    made = ok(run_module("pg_backup", arguments(server, repository, **options)))
    assert made["changed"]
    record: dict[str, Any] = made["backup"]
    assert record["verified_at"] and record["start_lsn"] and record["stop_lsn"]
    return record


def restore(server: Server, repository: Any, new: Restored, check: bool = False, **options: Any) -> ModuleResult:
    where = repository if isinstance(repository, dict) else {"path": str(repository)}
    given = {
        "repository": where,
        "bin_dir": str(server.bindir),
        "data_directory": str(new.data),
        "owner": server.directory.owner(),
        "settings": new.settings,
        **options,
    }
    return run_module("pg_recover", given, check=check)


# These repositories have no archive: a backup's own end is what can be reached, and has to be asked for.
ITS_END = {"recovery_target": {"immediate": True}}


def facts(repository: Any) -> dict[str, Any]:
    where = repository if isinstance(repository, dict) else {"path": str(repository)}
    found: dict[str, Any] = ok(run_module("backup_facts", {"repository": where}))["ansible_facts"]["holdfast_backups"]
    return found


def beside(server: Server, name: str, tablespaces: dict[str, Path] | None = None) -> tuple[Restored, dict[str, str]]:
    """A place for a restored server, and places for its tablespaces."""
    moved = {space: server.directory / f"{name} of {space}" for space in tablespaces or {}}
    return Restored(server, name, tuple(moved.values())), {space: str(path) for space, path in moved.items()}


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> dict[str, Any]:
    name = s3.make_bucket(f"test-{abs(hash(request.node.nodeid)) % 10**9}")
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key}
    where = {"type": "s3", "bucket": name, "endpoint_url": s3.endpoint_url, "prefix": "one two/ü"}
    return {**where, **keys, "ca_file": str(s3.ca_file), "part_size": 5 * 1024 * 1024}


class Facts(dict[str, Snapshot]):
    """Of servers that nobody changes, each read once."""

    def __call__(self, hard: HardData) -> Snapshot:
        name = repr(hard.server)
        if name not in self:
            self[name] = snapshot(hard.server)
        return self[name]


@pytest.fixture(scope="module")
def originals() -> Facts:
    return Facts()


# Version, store, options
FORMS = {
    "15-directory-gzip-aes256": (15, "directory", {"compression": "gzip", "encryption": AES256}),
    "15-s3-zstd at the server": (15, "s3", {"compression": "zstd", "compression_at": "server"}),
    "16-s3-zstd-aes256": (16, "s3", {"compression": "zstd", "encryption": AES256}),
    "16-directory-gzip at the server": (16, "directory", {"compression": "gzip", "compression_at": "server"}),
    "18-directory-none": (18, "directory", {"compression": "none"}),
    "18-s3-lz4": (18, "s3", {"compression": "lz4"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_hard_data(request: pytest.FixtureRequest, originals: Facts, tmp_path: Path, form: str) -> None:
    major, store, options = FORMS[form]
    hard: HardData = request.getfixturevalue(f"hard{major}")
    repository: Any = request.getfixturevalue("bucket") if store == "s3" else tmp_path
    given = arguments(hard.server, repository, max_age="1h", **options)
    planned = ok(run_module("pg_backup", given, check=True))
    assert planned["changed"] and facts(repository)["count"] == 0
    made = ok(run_module("pg_backup", given))
    assert made["changed"] and made["backup"]["kind"] == "full" and made["backup"]["warnings"] == []
    assert not ok(run_module("pg_backup", given))["changed"]
    encrypted = "encryption" in options
    assert all(artifact["key"].endswith(".gpg") == encrypted for artifact in made["backup"]["artifacts"])

    new, moved = beside(hard.server, "copy", dict(hard.tablespaces))
    wanted = {
        "tablespace_locations": moved,
        **ITS_END,
        **({"encryption": {"passphrase": SECRET}} if encrypted else {}),
    }
    with new:
        assert ok(restore(hard.server, repository, new, check=True, **wanted))["changed"]
        assert not new.data.exists()
        done = ok(restore(hard.server, repository, new, **wanted))
        assert done["changed"] and done["recovery"]["state"] == "promoted"
        assert not ok(restore(hard.server, repository, new, **wanted))["changed"]
        databases = [SHOP, HOSTILE] if store == "s3" else None  # the other form of this version is compared whole
        assert_same(originals(hard), snapshot(new, databases), databases, ignore=UNLOGGED)
        located = new.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1")
        assert [row[0] for row in located] == sorted(moved.values())
        assert hard.server.pid


# By hand


def paste(folder: Path, server: Server, environment: dict[str, str]) -> str:
    """A person's terminal, as the server's user: bash reads line after line, and goes on after an error."""
    done = subprocess.run(
        ["bash"],
        input=(folder / "RESTORE.txt").read_text(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**server.environment(), **environment},
        check=False,
        **server._identity(),
    )
    return done.stdout


@pytest.mark.parametrize("major", [15, 18])
def test_restore_txt_pasted_into_bash(server_factory: Callable[..., Server], major: int) -> None:
    server = server_factory(major)
    space = server.server_directory("a space")
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'")
    server.psql(FILL + "ALTER TABLE items SET TABLESPACE away")
    repository = server.server_directory("repository")
    secret = server.directory / "passphrase"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    options = {"encryption": {"method": "aes256", "passphrase_file": str(secret)}} if major == 18 else {}
    record = back_up(server, repository, **options)
    folder = repository / "main" / record["id"]
    for path in (secret, repository, *repository.rglob("*")):
        shutil.chown(path, server.directory.owner())
    new, moved = beside(server, "by hand", {"away": space})
    environment = {
        "PGDATA": str(new.data),
        "PASSPHRASE_FILE": str(secret),
        "GNUPGHOME": str(server.server_directory("g")),
    }

    # The old server still stands: nothing is unpacked over its tablespace.
    before = sorted((path, path.stat().st_mtime_ns) for path in space.rglob("*"))
    assert "is not empty" in paste(folder, server, environment)
    assert sorted((path, path.stat().st_mtime_ns) for path in space.rglob("*")) == before
    shutil.rmtree(new.data, ignore_errors=True)

    expected = snapshot(server)
    server.stop()
    space.rename(server.directory / "lost")
    said = paste(folder, server, environment)
    with (new.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"port = {new.port}\n")
    with new:
        new.start()
        assert_same(expected, new, ignore=UNLOGGED)
        assert new.query("SHOW archive_mode") == [("off",)]
    assert said == ""


# From a standby


def standby_of(primary: Server, name: str) -> Restored:
    """Made by hand."""
    standby = Restored(primary, name)
    primary._as_server(
        "pg_basebackup", "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", "-d", primary.dsn()
    )
    with (standby.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"port = {standby.port}\n")
    standby.start()
    return standby


@pytest.fixture(scope="module")
def shop(server_factory: Callable[..., Server]) -> Server:
    """Some rows, and some megabytes that cannot be compressed."""
    server = server_factory(16, settings={"full_page_writes": "on"})  # what a copy of a standby needs
    server.psql(FILL)
    return server


def test_a_standby(shop: Server, tmp_path: Path) -> None:
    with standby_of(shop, "standby") as standby:
        record = back_up(standby, tmp_path)
        assert record["server"]["in_recovery"] is True
        with Restored(shop, "from the standby") as new:
            assert ok(restore(shop, tmp_path, new, **ITS_END))["recovery"]["state"] == "promoted"
            assert not (new.data / "standby.signal").exists()
            assert_same(shop, new)
        # It follows its primary as before, and the new one did not.
        assert standby.query("SELECT status FROM pg_stat_wal_receiver") == [("streaming",)]


def test_a_standby_that_is_promoted_meanwhile(shop: Server, tmp_path: Path) -> None:
    with standby_of(shop, "promoted") as standby:
        running = start_module("pg_backup", arguments(standby, tmp_path, max_rate=SLOW, compression="none"))
        half_way(tmp_path)
        standby.query("SELECT pg_promote()")
        refused(running.result(60), "standby was promoted", "again", "No backup was made")
        assert facts(tmp_path)["count"] == 0
        assert back_up(standby, tmp_path)["server"]["timeline"] == 2


def half_way(repository: Path, size: int = 2_000_000) -> None:
    """Return when so much of a backup lies in the repository, under whatever name."""
    wait_until(lambda: sum(path.stat().st_size for path in repository.rglob("*") if path.is_file()) > size)


# Incremental


def test_a_chain_of_three(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    server = server_factory(18)
    space = server.server_directory("space")
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'")
    server.psql(FILL)
    given = {"kind": "incremental", "retention": {"keep_last": 1}}
    refused(run_module("pg_backup", arguments(server, tmp_path, **given)), "summarize_wal", "full backup")
    server.psql("ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();")

    first = back_up(server, tmp_path, **given)
    assert (first["kind"], first["parent"]) == ("full", None) and "no full one before" in first["warnings"][0]
    server.psql(
        "CREATE TABLE later TABLESPACE away AS SELECT n FROM generate_series(1, 1000) n; DELETE FROM items WHERE n < 9"
    )
    second = back_up(server, tmp_path, **given)
    server.psql("INSERT INTO later VALUES (0); DROP TABLE noise; VACUUM items")
    third = back_up(server, tmp_path, **given)
    assert [second["parent"], third["parent"]] == [first["id"], second["id"]]
    assert third["kind"] == "incremental" and third["size"] < first["size"] / 2
    # The last one is kept, and so is what it needs.
    assert sorted(found["id"] for found in facts(tmp_path)["backups"]) == [first["id"], second["id"], third["id"]]

    new, moved = beside(server, "of three", {"away": space})
    with new:
        assert (
            ok(restore(server, tmp_path, new, tablespace_locations=moved, **ITS_END))["recovery"]["backup"]
            == third["id"]
        )
        assert_same(server, new)
    text = (tmp_path / "main" / third["id"] / "RESTORE.txt").read_text()
    assert second["id"] in text and "pg_combinebackup" in text

    # Without the one in the middle the last one is worth nothing, and the first one is what there is.
    shutil.rmtree(tmp_path / "main" / second["id"])
    new, moved = beside(server, "without", {"away": space})
    with new:
        refused(restore(server, tmp_path, new, backup_id=third["id"], **ITS_END), third["id"], second["id"])
        assert not new.data.exists()
        with_first = ok(restore(server, tmp_path, new, tablespace_locations=moved, **ITS_END))
        assert with_first["recovery"]["backup"] == first["id"] and third["id"] in str(with_first.get("warnings"))
        assert new.query("SELECT count(*) FROM noise") == [(300,)]
    # And the next one is made upon what is whole.
    assert back_up(server, tmp_path, **given)["parent"] == first["id"]


def test_a_full_one_where_the_server_cannot_tell_what_has_changed(
    server_factory: Callable[..., Server], tmp_path: Path
) -> None:
    """Incrementals failed night after night where a full one was promised (CASES 2.37): after a gap in the WAL summaries (summarize_wal
    was off for a while, or they were removed), and after a failover."""
    server = server_factory(18, settings={"summarize_wal": "on"})
    given = {"kind": "incremental"}
    first = back_up(server, tmp_path, **given)
    server.psql("CREATE TABLE one AS SELECT generate_series(1, 1000) n; CHECKPOINT")
    upon = back_up(server, tmp_path, **given)
    assert upon["parent"] == first["id"]
    server.psql("CREATE TABLE two (); CHECKPOINT")
    state = "SELECT summarized_lsn > %s::pg_lsn FROM pg_get_wal_summarizer_state()"
    wait_until(lambda: server.query(state, values=[upon["stop_lsn"]])[0][0])
    for path in (server.data / "pg_wal" / "summaries").glob("*.summary"):
        path.unlink()
    planned = ok(run_module("pg_backup", arguments(server, tmp_path, **given), check=True))
    again = back_up(server, tmp_path, **given)
    assert (again["kind"], again["parent"]) == ("full", None) and "no summary of its WAL" in str(again["warnings"])
    assert "in full" in str(planned["plan"])

    with standby_of(server, "after a failover") as standby:
        standby.query("SELECT pg_promote()")
        after = back_up(standby, tmp_path, **given)
        assert (after["kind"], after["parent"]) == ("full", None) and "was promoted since" in str(after["warnings"])


@pytest.mark.extended
def test_a_full_one_where_another_passphrase_opens_what_is_there(
    server_factory: Callable[..., Server], tmp_path: Path
) -> None:
    """Found: after a rotation of the passphrase each incremental backup failed; one that was plain upon an encrypted one, or the other way
    round, was made, and could not be restored with and without a passphrase."""
    server = server_factory(18, settings={"summarize_wal": "on"})
    for passphrase, kind in (
        ("former", "full"),
        ("former", "incremental"),
        ("new", "full"),
        ("", "full"),
        ("new", "incremental"),  # upon its own, two before
    ):
        secret = {"method": "aes256", "passphrase": passphrase} if passphrase else {}
        given = {"kind": "incremental", "encryption": secret}
        assert back_up(server, tmp_path, **given)["kind"] == kind, passphrase


# How


def test_a_compression_that_the_server_has_not(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    server = server_factory(18)
    done = run_module("pg_backup", arguments(server, tmp_path, compression="lz4", compression_at="server"), timeout=60)
    if done.failed:  # as the one of PyPI is built
        refused(done, "does not support compression with LZ4", "compression_at: client")
    assert facts(tmp_path)["count"] == (0 if done.failed else 1) and facts(tmp_path)["leftovers"] == []


def test_max_rate(shop: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    record = back_up(shop, tmp_path, max_rate=16 * 1024 * 1024, compression="none")
    assert time.monotonic() - began > record["size"] / (16 * 1024 * 1024) * 0.8


def test_pg_restore_names_the_module_for_whole_servers(shop: Server, tmp_path: Path) -> None:
    """Both modules read the same repository: each says which backup is the other's, by id and by ``latest``."""
    record = back_up(shop, tmp_path)
    given = {**shop.client_options(), "repository": {"path": str(tmp_path)}}
    for chosen in ({"backup_id": record["id"]}, {}):
        refused = run_module("pg_restore", {**given, **chosen}, check=True)
        assert refused.failed and "pg_recover (playbook recover)" in refused.msg and "whole server" in refused.msg


def test_what_is_refused(shop: Server, tmp_path: Path) -> None:
    for options, words in (
        ({"kind": "incremental"}, ["PostgreSQL 17", "kind: full"]),
        ({"kind": "differential"}, ["kind", "differential"]),
        ({"max_rate": 1000}, ["max_rate", "32768"]),
        ({"compression_at": "server", "compression": "none"}, ["compression_at"]),
        ({"databases": ["postgres"]}, ["databases", "pg_dump"]),
    ):
        refused(run_module("pg_backup", arguments(shop, tmp_path, **options)), *words)
    shop.psql("CREATE ROLE nobody LOGIN PASSWORD 'x y'")
    login = {"login_user": "nobody", "login_password": "x y"}
    refused(run_module("pg_backup", arguments(shop, tmp_path, **login)), "REPLICATION", "nobody")
    shop.psql("DROP ROLE nobody")
    assert list(tmp_path.rglob("*.tar*")) == []


def test_a_corrupted_page(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    server = server_factory(16, initdb=("--data-checksums",))
    server.psql(FILL + "CHECKPOINT;")
    path = server.data / server.query("SELECT pg_relation_filepath('items')")[0][0]
    server.stop()
    fault.flip_byte(path, 8192 * 3 + 4000)
    server.start()
    refused(run_module("pg_backup", arguments(server, tmp_path)), "checksum", "No backup was made")
    assert facts(tmp_path)["count"] == 0 and facts(tmp_path)["leftovers"] == []


def test_without_its_wal_it_needs_an_archive(server_factory: Callable[..., Server]) -> None:
    server = server_factory(15, settings={"archive_mode": "on"})
    server.psql(FILL)
    repository = server.server_directory("repository")
    given = arguments(server, repository, include_wal=False)
    refused(run_module("pg_backup", given, check=True), "include_wal", "not set up")
    refused(run_module("pg_backup", given), "include_wal", "not set up")
    archive = {**server.client_options(), "repository": {"path": str(repository)}}
    ok(run_module("wal_archive", archive))
    record = back_up(server, repository, include_wal=False)
    ok(run_module("wal_archive", {**archive, "state": "verified"}))
    with Restored(server, "with the archive") as new:
        assert ok(restore(server, repository, new))["recovery"]["backup"] == record["id"]
        assert_same(server, new)
    server.psql("ALTER SYSTEM SET archive_command = 'false'; SELECT pg_reload_conf()")
    server.psql("CREATE TABLE more (); SELECT pg_switch_wal()")
    wait_until(lambda: server.query("SELECT failed_count > 0 FROM pg_stat_archiver")[0][0])
    refused(run_module("pg_backup", given), "include_wal", "does not keep its WAL")
    shutil.rmtree(repository / "main" / "_wal")
    with Restored(server, "alone") as new:
        refused(restore(server, repository, new), "no WAL archive is with it", "immediate")
        refused(restore(server, repository, new, **ITS_END), record["id"], "archive")
        assert not new.data.exists()


# Disturbed


def test_killed_half_way(shop: Server, tmp_path: Path) -> None:
    given = arguments(shop, tmp_path, max_rate=SLOW, compression="none")
    kept = back_up(shop, tmp_path)
    running = start_module("pg_backup", given)
    half_way(tmp_path, kept["size"] + 2_000_000)
    os.kill(running.process.pid, signal.SIGKILL)  # the module alone: what it started has to find out
    running.process.wait()
    wait_until(lambda: not pids("pg_basebackup", "holdfast.postgres", str(shop.port)))
    found = facts(tmp_path)
    assert [backup["id"] for backup in found["backups"]] == [kept["id"]] and len(found["leftovers"]) == 1
    assert shop.query("SELECT count(*) FROM pg_replication_slots") == [(0,)]
    again = ok(run_module("pg_backup", arguments(shop, tmp_path)))
    assert found["leftovers"][0] in str(again["plan"])
    assert facts(tmp_path)["leftovers"] == [] and facts(tmp_path)["count"] == 2


def test_pg_basebackup_is_killed(shop: Server, tmp_path: Path) -> None:
    running = start_module("pg_backup", arguments(shop, tmp_path, max_rate=SLOW, compression="none"))
    half_way(tmp_path)
    for pid in pids("pg_basebackup", "label=holdfast.postgres", str(shop.port)):
        os.kill(pid, signal.SIGKILL)
    refused(running.result(60), "pg_basebackup was killed by SIGKILL", "No backup was made")
    assert facts(tmp_path)["leftovers"] == [] and facts(tmp_path)["count"] == 0


def test_the_server_stops(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    server = server_factory(16)
    server.psql(FILL)
    running = start_module("pg_backup", arguments(server, tmp_path, max_rate=SLOW, compression="none"))
    half_way(tmp_path)
    server.stop("immediate")
    refused(running.result(60), "No backup was made")
    assert facts(tmp_path)["leftovers"] == [] and facts(tmp_path)["count"] == 0


@needs_mount
def test_a_full_disk(shop: Server, tmp_path: Path) -> None:
    with fault.small_filesystem(tmp_path / "small", "12m") as repository:
        refused(run_module("pg_backup", arguments(shop, repository, compression="none"), timeout=60), "No space left")
        assert facts(repository)["leftovers"] == [] and facts(repository)["count"] == 0
        assert not pids("pg_basebackup", str(shop.port))


def test_a_bucket_that_is_gone_half_way(shop: Server) -> None:
    reason = S3Server.missing()
    if reason:
        pytest.skip(reason)
    with S3Server() as store:
        where = {"type": "s3", "bucket": store.make_bucket("gone"), "endpoint_url": store.endpoint_url}
        keys = {"access_key": store.access_key, "secret_key": store.secret_key, "ca_file": str(store.ca_file)}
        running = start_module(
            "pg_backup",
            arguments(shop, {**where, **keys, "part_size": 5 * 1024 * 1024}, max_rate=SLOW, compression="none"),
        )
        wait_until(lambda: pids("pg_basebackup", "label=holdfast.postgres", str(shop.port)))
        time.sleep(1)
    refused(running.result(150))
    assert not pids("pg_basebackup", str(shop.port))
