# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input and bad days: each gives one clear error, and loses nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from lab import fault
from lab.answers import refused, warned
from lab.compare import assert_same, snapshot
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server, installation
from lab.waiting import wait_until

SECRET = "a secret phrase of this test, ü"
SLOW = 200_000  # bytes per second: a backup of the database below takes half a minute, so "half-way" is easy to meet
HALF_WAY = 300_000
FILL = """
CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 500) AS n;
CREATE TABLE noise AS
SELECT n, (SELECT string_agg(sha256((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 300) AS m) AS bytes
FROM generate_series(1, 300) AS n;
CREATE ROLE reader LOGIN PASSWORD 'pass of it';
GRANT SELECT ON items, items_id_seq TO reader;
"""

needs_mount = pytest.mark.skipif(not fault.can_mount(), reason="a small or read-only file system needs mount")


@pytest.fixture(scope="module")
def shop(server_factory: Callable[..., Server]) -> Server:
    """A server with the database shop: few rows, and three megabytes that cannot be compressed."""
    server = server_factory(16)
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL, "shop")
    return server


@pytest.fixture(scope="module")
def kept(shop: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a backup that nobody harms."""
    path = tmp_path_factory.mktemp("kept")
    made(shop, path, exclude_tables=["noise"])
    return path


@pytest.fixture
def copied(kept: Path, repository: Path) -> Path:
    """A repository with a backup to be harmed."""
    shutil.copytree(kept, repository, dirs_exist_ok=True)
    return repository


@pytest.fixture
def slow(shop: Server) -> Iterator[fault.Proxy]:
    with fault.Proxy(shop.port, SLOW) as proxy:
        yield proxy


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """An empty directory whose path leaves room for the name of gpg-agent's socket, which pytest's do not."""
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as path:
        yield Path(path)


def arguments(server: Server, repository: Path, **options: Any) -> dict[str, Any]:
    chosen = {"databases": ["shop"], "compression": "gzip", "compression_level": 1}
    return {
        **server.client_options(),
        "repository": {"path": str(repository)},
        **chosen,
        **options,
    }


def back_up(server: Server, repository: Path, **options: Any) -> ModuleResult:
    return run_module("pg_backup", arguments(server, repository, **options))


def made(server: Server, repository: Path, **options: Any) -> dict[str, Any]:
    done = back_up(server, repository, **options)
    assert done.changed and not done.failed, done.msg
    record: dict[str, Any] = done.result["backup"]
    return record


def restore(server: Server, repository: Path, check: bool = False, **options: Any) -> ModuleResult:
    chosen = {"databases": ["shop"], "force": True, "confirm": ["shop"]}
    login = {**server.client_options()}
    return run_module(
        "pg_restore", {**login, "repository": {"path": str(repository)}, **chosen, **options}, check=check
    )


def facts(repository: Path, **options: Any) -> dict[str, Any]:
    done = run_module("backup_facts", {"repository": {"path": str(repository)}, **options})
    assert not done.failed, done.msg
    found: dict[str, Any] = done.result["ansible_facts"]["holdfast_backups"]
    return found


def nothing_left(repository: Path) -> None:
    """Neither a backup, nor anything that looks like one, nor a lock."""
    files = [path.name for path in repository.rglob("*") if path.is_file() and path.name != ".guard"]
    assert files == []
    found = facts(repository)
    assert (found["count"], found["leftovers"], found["lock"]) == (0, [], None)


def begin(
    running: list[RunningModule], slow: fault.Proxy, shop: Server, repository: Path, **options: Any
) -> RunningModule:
    """A backup over a slow line, which is half-way when this returns."""
    module = start_module("pg_backup", arguments(shop, repository, login_port=slow.port, **options))
    running.append(module)
    slow.wait_for(HALF_WAY)
    return module


# The server and the way to it


def test_a_wrong_password(shop: Server, repository: Path) -> None:
    done = back_up(shop, repository, login_password="not the password")
    refused(done, "127.0.0.1", str(shop.port), "password authentication failed", "login_password")
    assert "not the password" not in done.stdout + done.stderr
    nothing_left(repository)


def test_a_host_that_refuses(shop: Server, repository: Path) -> None:
    with fault.refusing_port() as port:
        refused(back_up(shop, repository, login_port=port), str(port), "refused", "Is the server running there")
    nothing_left(repository)


def test_a_host_that_never_answers(shop: Server, repository: Path) -> None:
    took = []
    for server in (
        fault.refusing_port,
        fault.silent_server,
    ):  # the first one tells what this machine needs for all else
        began = time.monotonic()
        with server() as port:
            done = back_up(shop, repository, login_port=port, connect_params={"connect_timeout": 2})
        took.append(time.monotonic() - began)
    refused(done, str(port), "timeout")
    assert took[1] < 8 + 2 * took[0]
    nothing_left(repository)


def test_a_database_that_does_not_exist(shop: Server, repository: Path) -> None:
    refused(back_up(shop, repository, databases=["shop", "shoop"]), "shoop", "shop")
    refused(back_up(shop, repository, login_db="nowhere"), "nowhere", "does not exist")
    nothing_left(repository)


def test_a_role_that_may_not_read_a_table(shop: Server, repository: Path) -> None:
    done = back_up(shop, repository, login_user="reader", login_password="pass of it")
    refused(done, "'reader'", "noise", "'shop'", "pg_read_all_data")
    nothing_left(repository)
    # What it may read, it can back up.
    made(shop, repository, login_user="reader", login_password="pass of it", exclude_tables=["noise"], globals=False)


@pytest.mark.parametrize("major", [16, 18])
def test_pg_dump_older_than_the_server(
    request: pytest.FixtureRequest, shop: Server, repository: Path, major: int
) -> None:
    old = installation(15)
    if old is None:
        pytest.skip("PostgreSQL 15 is not installed here")
    server: Server = shop if major == 16 else request.getfixturevalue("pg18")
    done = back_up(server, repository, databases=["postgres"], bin_dir=str(old.bindir))
    refused(done, f"pg_dump {old.version}".split()[0], "15.", f"PostgreSQL {major}", f"postgresql-client-{major}")
    nothing_left(repository)


def test_no_client_tools(shop: Server, repository: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    refused(back_up(shop, repository, bin_dir=str(empty)), str(empty), "No pg_dump", "postgresql-client-16", "bin_dir")
    nothing_left(repository)


def test_the_server_stops_half_way(
    shop: Server, slow: fault.Proxy, repository: Path, running: list[RunningModule]
) -> None:
    module = begin(running, slow, shop, repository)
    shop.stop("immediate")
    try:
        done = module.result(30)
    finally:
        shop.start()
    refused(done, "'shop'", "No backup was made")
    nothing_left(repository)


# The repository


def test_a_repository_that_is_missing(shop: Server, tmp_path: Path) -> None:
    missing = tmp_path / "not mounted"
    refused(back_up(shop, missing), str(missing), "does not exist", "mount")
    refused(restore(shop, missing), str(missing), "does not exist")
    refused(run_module("backup_facts", {"repository": {"path": str(missing)}}), str(missing), "does not exist")
    assert not missing.exists()


@pytest.mark.skipif(os.geteuid() == 0 and not fault.can_mount(), reason="root needs mount for a read-only directory")
def test_a_repository_that_is_read_only(shop: Server, repository: Path) -> None:
    kept = made(shop, repository)
    with fault.read_only(repository):
        refused(back_up(shop, repository), str(repository), "read-only" if os.geteuid() == 0 else "cannot be written")
        assert facts(repository)["newest"] == kept["id"]
        # On a bad day the only copy may be read-only: one can still restore from it.
        done = restore(shop, repository, target_db="from_read_only")
        shop.psql("DROP DATABASE IF EXISTS from_read_only;")
        assert done.changed and not done.failed, done.msg
        assert "could not be remembered" in warned(done)


@needs_mount
def test_a_repository_that_gets_full(shop: Server, repository: Path) -> None:
    with fault.small_filesystem(repository, "2m"):
        kept = made(shop, repository, databases=["postgres"])
        refused(back_up(shop, repository), str(repository), "full", "Nothing that was there before is lost")
        found = facts(repository)
        assert (found["newest"], found["count"], found["leftovers"], found["lock"]) == (kept["id"], 1, [], None)
        assert not list(repository.rglob(".unfinished-*"))


def test_a_repository_that_disappears_half_way(
    shop: Server, slow: fault.Proxy, repository: Path, running: list[RunningModule]
) -> None:
    module = begin(running, slow, shop, repository)
    repository.rename(repository.with_name("gone"))
    slow.bytes_per_second = None
    refused(module.result(30), str(repository), "disappeared")
    assert not repository.exists()
    assert facts(repository.with_name("gone"))["count"] == 0


# Programs that die


def test_pg_dump_killed_half_way(shop: Server, repository: Path, tmp_path: Path) -> None:
    programs = fault.dying_program(shop.bindir, "pg_dump", tmp_path, HALF_WAY)
    refused(back_up(shop, repository, bin_dir=str(programs)), "'shop'", "pg_dump was killed by SIGKILL", "No backup")
    nothing_left(repository)


def test_we_are_killed_half_way(
    shop: Server, slow: fault.Proxy, repository: Path, running: list[RunningModule], tmp_path: Path
) -> None:
    module = begin(running, slow, shop, repository)
    module.process.send_signal(signal.SIGKILL)  # to it alone, as the kernel does; its children are on their own
    module.process.wait()
    found = facts(repository)
    assert found["count"] == 0
    assert len(found["leftovers"]) == 1
    assert found["lock"]["dead"] and found["lock"]["pid"] == module.process.pid
    assert not list(repository.rglob("manifest.json"))
    slow.cut()

    done = back_up(shop, repository)
    assert done.changed and not done.failed, done.msg
    assert f"process {module.process.pid}" in warned(done)
    assert any("interrupted run" in step and found["leftovers"][0] in step for step in done.result["plan"])
    after = facts(repository)
    assert (after["count"], after["leftovers"], after["lock"]) == (1, [], None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: str(number.name))
def test_we_are_told_to_stop(
    shop: Server, slow: fault.Proxy, repository: Path, running: list[RunningModule], number: signal.Signals
) -> None:
    module = begin(running, slow, shop, repository)
    module.process.send_signal(number)
    refused(module.result(15), number.name)
    nothing_left(repository)


def test_a_backup_that_was_killed_leaves_no_password_behind(
    shop: Server, slow: fault.Proxy, repository: Path, running: list[RunningModule], short_directory: Path
) -> None:
    temporary = short_directory
    env = {"TMPDIR": str(temporary)}
    module = start_module("pg_backup", arguments(shop, repository, login_port=slow.port), env=env)
    running.append(module)
    slow.wait_for(HALF_WAY)
    module.kill()
    assert list(temporary.rglob("pgpass"))  # there is something to clean up
    done = run_module("pg_backup", arguments(shop, repository, databases=["postgres"]), env=env)
    assert not done.failed, done.msg
    assert not list(temporary.rglob("pgpass"))


# Two at once


def test_two_backups_at_once(shop: Server, slow: fault.Proxy, repository: Path, running: list[RunningModule]) -> None:
    first = begin(running, slow, shop, repository)
    refused(back_up(shop, repository), "Another run", f"process {first.process.pid}", "lock_wait")
    assert not facts(repository)["lock"]["dead"]
    # Another server's backups are another matter.
    assert not back_up(shop, repository, server_name="other", databases=["postgres"]).failed

    second = start_module("pg_backup", arguments(shop, repository, lock_wait=60))
    third = start_module("pg_backup", arguments(shop, repository, lock_wait=60, max_age="1h"))
    running += [second, third]
    slow.bytes_per_second = None
    ended = [module.result(60) for module in (first, second, third)]
    assert not any(done.failed for done in ended), [done.msg for done in ended]
    assert not ended[2].changed  # it waited, and found that another had just made what it wanted
    assert facts(repository)["count"] == 2


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]", b"{}"])
def test_a_lock_that_cannot_be_read(shop: Server, repository: Path, content: bytes) -> None:
    (repository / "main").mkdir()
    path = repository / "main" / "lock.json"
    path.write_bytes(content)
    # Somebody wrote it just now, whoever that is; without a sign of life for three minutes it is nobody's.
    refused(back_up(shop, repository, databases=["postgres"]), "somebody unknown", "lock_wait")
    moment = time.time() - 200
    os.utime(path, (moment, moment))
    assert facts(repository)["lock"]["dead"]
    done = back_up(shop, repository, databases=["postgres"])
    assert not done.failed, done.msg
    assert "lock" in warned(done)


# Damage


@pytest.mark.parametrize("damage", [fault.flip_byte, fault.truncate, os.unlink], ids=["flip", "truncate", "missing"])
@pytest.mark.parametrize("role", ["database", "globals"])
def test_a_damaged_artifact_is_refused_before_anything_is_touched(
    shop: Server, copied: Path, damage: Callable[[Path], None], role: str
) -> None:
    record = newest(copied)
    key = next(artifact["key"] for artifact in record["artifacts"] if artifact["role"] == role)
    damage(copied / "main" / record["id"] / key)
    before = snapshot(shop, ["shop"])
    refused(restore(shop, copied), key)
    refused(restore(shop, copied, check=True), key)
    assert_same(before, snapshot(shop, ["shop"]))
    assert shop.databases() == ["postgres", "shop"]


def manifest(repository: Path) -> Path:
    """Of the only backup in a repository."""
    (path,) = repository.glob("main/*/manifest.json")
    return path


def newest(repository: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(manifest(repository).read_text())
    return record


def rewrite(repository: Path, **changes: Any) -> None:
    manifest(repository).write_text(json.dumps({**newest(repository), **changes}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged"),
        (b"not JSON", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[]", "damaged"),
        (b"{}", "damaged"),
        (b'{"format": "1", "artifacts": {}}', "damaged"),
        ({"format": 99}, "Update the collection"),
        ({"server": []}, "damaged"),
        ({"artifacts": [1]}, "damaged"),
        ({"artifacts": None}, "damaged"),
        ({"stopped_at": 5}, "damaged"),
        ({"stopped_at": "2026-11-21T00:00:00"}, "damaged"),
        ({"started_at": "yesterday"}, "damaged"),
        ({"id": "20200101T000000Z-000000"}, "moved"),
        ({"server": {"name": "other"}}, "other"),
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_used(shop: Server, copied: Path, content: Any, words: str) -> None:
    path, own = manifest(copied), newest(copied)["id"]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        rewrite(copied, **content)
    found = facts(copied, expected_every="1d")
    assert found["count"] == 0
    assert found["leftovers"] == []  # a damaged manifest may be mended by hand: it is nobody's to remove
    assert len(found["problems"]) == 1 and words in found["problems"][0]
    assert own in found["problems"][0]
    refused(restore(shop, copied), words)
    # A new backup is made all the same, with a warning, and the rules of retention do not touch the damaged one.
    done = back_up(shop, copied, exclude_tables=["noise"], max_age="1d", retention={"keep_last": 1})
    assert done.changed and not done.failed, done.msg
    assert words in warned(done)
    assert path.exists()


def test_backups_of_another_server(pg18: Server, copied: Path) -> None:
    options = {"databases": ["postgres"], "bin_dir": str(pg18.bindir)}
    refused(back_up(pg18, copied, **options), "another server", "server_name", "accept_new_server")
    planned = run_module("pg_backup", arguments(pg18, copied, **options), check=True)
    assert not planned.failed and planned.result["consent"] == {"accept_new_server": True}, planned.msg
    made(pg18, copied, **options, accept_new_server=True)


def test_a_wrong_passphrase(shop: Server, repository: Path) -> None:
    made(shop, repository, exclude_tables=["noise"], encryption={"method": "aes256", "passphrase": SECRET})
    before = snapshot(shop, ["shop"])
    refused(restore(shop, repository, encryption={"passphrase": "another one"}), "passphrase")
    refused(restore(shop, repository), "passphrase")
    assert_same(before, snapshot(shop, ["shop"]))


def test_a_clock_that_was_set_back(shop: Server, copied: Path) -> None:
    rewrite(copied, stopped_at="2999-01-01T00:00:00Z", started_at="2999-01-01T00:00:00Z")
    done = back_up(shop, copied, exclude_tables=["noise"], max_age="1d", retention={"keep_last": 1})
    assert done.changed and not done.failed, done.msg
    assert "from the future" in warned(done)
    left = {entry["id"] for entry in facts(copied)["backups"]}
    assert done.result["backup"]["id"] in left  # however old it looks beside the other one
    shutil.rmtree(copied / "main" / done.result["backup"]["id"])
    assert facts(copied, expected_every="1d")["overdue"] is True  # what says it is of 2999 says nothing of last night


def test_backups_of_one_database_take_no_place_of_another_ones(shop: Server, repository: Path) -> None:
    light = {"exclude_tables": ["noise"], "retention": {"keep_last": 1, "pins": ["gone"]}}
    first = made(shop, repository, **light)["id"]
    done = back_up(shop, repository, **{**light, "databases": ["postgres"]})
    assert not done.failed and done.result["pruned"] == [], done.msg
    assert "'gone'" in warned(done)
    second = made(shop, repository, **light)["id"]
    left = [entry["id"] for entry in facts(repository)["backups"]]
    assert sorted(left) == sorted([done.result["backup"]["id"], second]) and first not in left
    pruned = run_module("backup_prune", {"repository": {"path": str(repository)}, "retention": {"keep_last": 1}})
    assert not pruned.changed and not pruned.failed, pruned.msg


# Restoring


def test_a_restore_onto_a_database_in_use(shop: Server, kept: Path) -> None:
    shop.psql("CREATE DATABASE busy;")
    shop.psql("CREATE TABLE mine (n int);", "busy")
    chosen: dict[str, Any] = {"target_db": "busy", "confirm": ["busy"]}
    try:
        with closing(shop.connect("busy")) as connection:
            refused(restore(shop, kept, **chosen), "'busy' is in use", "terminate_sessions", "Nothing was touched")
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM mine")  # its session has not noticed
            done = restore(shop, kept, **chosen, terminate_sessions=True)
            assert done.changed and not done.failed, done.msg
            assert connection.closed or shop.query("SELECT 1 FROM pg_stat_activity WHERE datname = 'busy'") == []
        assert shop.query("SELECT count(*) FROM items", "busy") == [(500,)]
    finally:
        shop.psql("DROP DATABASE IF EXISTS busy WITH (FORCE);")


@needs_mount
def test_a_scratch_directory_too_small_for_the_restore(shop: Server, repository: Path, tmp_path: Path) -> None:
    made(shop, repository)
    before = snapshot(shop, ["shop"])
    with fault.small_filesystem(tmp_path / "scratch", "1m") as scratch:
        done = restore(shop, repository, jobs=2, scratch_dir=str(scratch))
        refused(done, str(scratch), "scratch_dir", "as it was")
    assert_same(before, snapshot(shop, ["shop"]))
    assert shop.databases() == ["postgres", "shop"]


def test_a_restore_that_is_told_to_stop(
    shop: Server, repository: Path, tmp_path: Path, running: list[RunningModule]
) -> None:
    dump = tmp_path / "shop.sql"
    dump.write_text("CREATE TABLE half (n int);\nSELECT pg_sleep(60);\n")
    before = snapshot(shop, ["shop"])
    login = {**shop.client_options()}
    options = {"source": str(dump), "databases": ["shop"], "force": True, "confirm": ["shop"]}
    module = start_module("pg_restore", {**login, **options, "state_dir": str(tmp_path / "state")})
    running.append(module)
    wait_until(lambda: bool(shop.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")))
    module.process.send_signal(signal.SIGTERM)
    refused(module.result(15), "SIGTERM")
    assert_same(before, snapshot(shop, ["shop"]))
    assert shop.databases() == ["postgres", "shop"]


def test_a_restore_that_is_killed(
    shop: Server, kept: Path, tmp_path: Path, short_directory: Path, running: list[RunningModule]
) -> None:
    """Nothing cleans up after SIGKILL but the next run: the unfinished database and what was unpacked."""
    dump = tmp_path / "shop.sql"
    dump.write_text("CREATE TABLE half (n int);\nSELECT pg_sleep(60);\n")
    before = snapshot(shop, ["shop"])
    login = {**shop.client_options(), "scratch_dir": str(short_directory)}
    options = {"source": str(dump), "databases": ["shop"], "force": True, "confirm": ["shop"]}
    module = start_module("pg_restore", {**login, **options, "state_dir": str(tmp_path / "state")})
    running.append(module)
    wait_until(lambda: bool(shop.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")))
    (unfinished,) = set(shop.databases()) - {"postgres", "shop"}
    # A restore that is still going on is nobody's to clean up.
    meanwhile = restore(shop, kept, target_db="meanwhile", scratch_dir=str(short_directory))
    assert not meanwhile.failed, meanwhile.msg
    assert unfinished in shop.databases()
    shop.psql("DROP DATABASE meanwhile;")

    module.kill()
    assert_same(before, snapshot(shop, ["shop"]))
    assert unfinished in shop.databases() and list(short_directory.glob("holdfast-*"))
    again: dict[str, Any] = {"target_db": "again", "scratch_dir": str(short_directory)}
    planned = restore(shop, kept, check=True, **again)
    done = restore(shop, kept, **again)
    shop.psql("DROP DATABASE again;")
    assert not done.failed, done.msg
    assert f"drop {unfinished!r}, which an interrupted restore left" in done.result["plan"]
    assert planned.result["plan"] == done.result["plan"]
    assert shop.databases() == ["postgres", "shop"]
    assert not list(short_directory.iterdir())
    assert_same(before, snapshot(shop, ["shop"]))


def test_a_temporary_directory_with_a_long_name(shop: Server, repository: Path, tmp_path: Path) -> None:
    """gpg's agent listens on a socket, whose path may have 107 bytes."""
    long = tmp_path / ("n" * 100)
    long.mkdir()
    light = {"exclude_tables": ["noise"], "encryption": {"method": "aes256", "passphrase": SECRET}}
    done = run_module("pg_backup", arguments(shop, repository, **light), env={"TMPDIR": str(long)})
    assert not done.failed, done.msg


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs": 2, "format": "custom"}, ["jobs", "custom", "directory"]),
        ({"jobs": 2, "format": "plain"}, ["jobs", "plain", "directory"]),
        ({"jobs": 0}, ["jobs"]),
        ({"schema_only": True, "data_only": True}, ["schema_only", "data_only"]),
        ({"role_passwords": True, "globals": False}, ["role_passwords", "globals"]),
        ({"retention": {"keep_last": 3, "count": 5}}, ["retention", "keep_last", "count"]),
        ({"retention": {"count": 0}}, ["retention.count"]),
        ({"retention": {"keep_within": "soon"}}, ["retention.keep_within", "soon", "36h"]),
        ({"max_age": "a day"}, ["max_age", "a day", "36h"]),
        ({"max_age": "0d"}, ["max_age"]),
        ({"max_age": "-1d"}, ["max_age"]),
        ({"compression": "gzip", "compression_level": 99}, ["compression_level", "99"]),
        ({"compression": "none", "compression_level": 3}, ["compression_level"]),
        ({"encryption": {"method": "aes256"}}, ["passphrase"]),
        ({"encryption": {"method": "aes256", "passphrase": ""}}, ["passphrase"]),
        ({"encryption": {"method": "aes256", "passphrase_file": "/no/such/file"}}, ["/no/such/file"]),
        ({"encryption": {"method": "pgp"}}, ["recipients"]),
        ({"id": "../../etc"}, ["id", "../../etc"]),
        ({"server_name": "a/b"}, ["server_name", "a/b"]),
        ({"state": "absent"}, ["id"]),
        ({"login_unix_socket": "/tmp"}, ["login_unix_socket", "login_host"]),
    ],
    ids=str,
)
def test_options_of_a_backup_that_make_no_sense(
    shop: Server, repository: Path, options: dict[str, Any], words: list[str]
) -> None:
    refused(back_up(shop, repository, **options), *words)
    assert not list(repository.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"confirm": []}, ["force", "confirm"]),
        ({"force": False, "confirm": []}, ["force", "'shop'", "not empty", "target_db"]),
        ({"confirm": ["shop2"]}, ["confirm", "'shop'", "would be replaced"]),
        ({"schema_only": True, "data_only": True}, ["schema_only", "data_only"]),
        ({"sections": ["data"], "data_only": True}, ["sections", "data_only"]),
        ({"disable_triggers": True}, ["disable_triggers", "data_only"]),
        ({"databases": [], "target_db": "x"}, ["target_db", "exactly one"]),
        ({"databases": ["shoop"]}, ["shoop", "only shop"]),
        ({"backup_id": "20200101T000000Z-000000"}, ["20200101T000000Z-000000", "backup_facts"]),
        ({"backup_id": "../main"}, ["backup_id", "../main"]),
        ({"jobs": 0}, ["jobs"]),
        ({"tables": ["nothing_like_this"]}, ["nothing_like_this"]),
        ({"scratch_dir": "/no/such/directory"}, ["/no/such/directory"]),
        ({"source": "/tmp"}, ["repository", "source"]),
    ],
    ids=str,
)
def test_options_of_a_restore_that_make_no_sense(
    shop: Server, kept: Path, options: dict[str, Any], words: list[str]
) -> None:
    refused(restore(shop, kept, **options), *words)
    assert shop.databases() == ["postgres", "shop"]
    assert shop.query("SELECT count(*) FROM items", "shop") == [(500,)]


# Secrets


def test_secrets_are_in_no_process_list_no_output_and_no_open_file(
    shop: Server, slow: fault.Proxy, repository: Path, short_directory: Path, running: list[RunningModule]
) -> None:
    temporary = short_directory
    secrets = (shop.password.encode(), SECRET.encode())
    encryption = {"method": "aes256", "passphrase": SECRET}
    slow.bytes_per_second = 1_500_000  # so that there is time to look
    module = start_module(
        "pg_backup",
        arguments(shop, repository, login_port=slow.port, encryption=encryption),
        env={"TMPDIR": str(temporary)},
    )
    running.append(module)
    programs: set[str] = set()
    while module.process.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes()
                environment = (process / "environ").read_bytes() if os.stat(process).st_uid == os.getuid() else b""
                programs.add(os.path.basename(words.split(b"\0")[0].decode(errors="replace")))
                assert not any(secret in words for secret in secrets), words
                if int(process.name) != os.getpid():
                    assert not any(secret in environment for secret in secrets)
        for path in temporary.rglob("*"):
            # (gpg keeps files of its own there that others could read, if they could enter the directory.)
            with suppress(OSError):
                mode = path.stat().st_mode
                holds = path.is_file() and any(secret in path.read_bytes() for secret in secrets)
                if holds or path.parent == temporary:
                    assert not mode & 0o077, f"{path} {mode:o}"
        time.sleep(0.02)
    assert {"pg_dump", "gpg"} <= programs, programs  # we did look while they ran
    done = module.result()
    assert not done.failed, done.msg
    assert list(temporary.iterdir()) == []
    for secret in secrets:
        assert secret.decode() not in done.stdout + done.stderr
    for path in repository.rglob("*"):
        assert not path.stat().st_mode & 0o077, path
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets), path


def test_no_password_hash_in_a_backup_that_is_not_encrypted(shop: Server, repository: Path) -> None:
    made(shop, repository, compression="none", compression_level=None, exclude_tables=["noise"])
    stored = b"".join(path.read_bytes() for path in repository.rglob("*") if path.is_file())
    assert b"CREATE ROLE reader" in stored
    assert b"SCRAM-SHA-256$" not in stored


# Many


def test_ten_thousand_backups(shop: Server, repository: Path) -> None:
    record = made(shop, repository, databases=["postgres"])
    written = newest(repository)
    for number in range(9_999):
        own = f"old-{number:05}"
        day = f"20{number // 400:02}-{number % 12 + 1:02}-{number % 28 + 1:02}T00:00:00Z"
        folder = repository / "main" / own
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps({**written, "id": own, "stopped_at": day}))
    began = time.monotonic()
    module = start_module("backup_facts", {"repository": {"path": str(repository)}, "limit": 100}, fresh=True)
    peak = Peak(module.process.pid)
    found = module.result().result["ansible_facts"]["holdfast_backups"]
    assert time.monotonic() - began < 30  # 3 on a machine that does nothing else
    assert (found["count"], len(found["backups"]), found["newest"]) == (10_000, 100, record["id"])
    assert found["total_size"] == 10_000 * record["size"]
    assert found["problems"] == found["leftovers"] == []
    assert peak.megabytes() < 150


class Peak(threading.Thread):
    """The most memory that a process had at any time."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._most = 0
        self.start()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                found = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
                if not found:  # it has ended
                    return
                self._most = int(found.group(1))
                time.sleep(0.05)

    def megabytes(self) -> float:
        self.join(5)
        assert self._most
        return self._most / 1024
