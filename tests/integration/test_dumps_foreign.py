# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps that decide too much: which database is written, what is run, which file is taken; and dumps that are not whole.

The kinds (rows 1.1, 1.5, 1.6, 1.7, 1.8, 2.3, 2.27): other people's input decides; damage that looks like success; what is recognised by
a name, a time or a language. Whatever is refused left everything as it was, and says a way out.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from lab.answers import ok
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server, installation

FILL = """
CREATE TABLE orders (id int PRIMARY KEY, words text);
INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, {rows}) AS n;
CREATE TABLE days (day int, words text) PARTITION BY RANGE (day);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (10);
CREATE TABLE days_2 PARTITION OF days DEFAULT;
INSERT INTO days SELECT n, 'x' FROM generate_series(1, 20) AS n;
COMMENT ON TABLE orders IS 'a comment that is long enough to hold other words in its place';
"""


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(15)


@pytest.fixture
def shop(server: Server) -> Iterator[Server]:
    """A live database shop with 80 orders, of which dumps have 50."""
    server.wipe()
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL.format(rows=80), "shop")
    yield server
    server.wipe()


@pytest.fixture(scope="module")
def dumps(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dumps of a database shop with 50 orders, settings, a comment and less for PUBLIC."""
    path = tmp_path_factory.mktemp("dumps")
    server.wipe()
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL.format(rows=50), "shop")
    server.psql(
        "ALTER DATABASE shop CONNECTION LIMIT 7; ALTER DATABASE shop SET work_mem = '7MB'; COMMENT ON DATABASE shop IS 'ours'; "
        "REVOKE CONNECT ON DATABASE shop FROM PUBLIC;"
    )
    for name, arguments in (
        ("plain.sql", ()),
        ("inserts.sql", ("--inserts",)),
        ("create.sql", ("--create", "--clean", "--if-exists")),
        ("shop.dump", ("--format=custom",)),
        ("stored.dump", ("--format=custom", "--compress=0")),
        ("shop.tar", ("--format=tar",)),
    ):
        (path / name).write_bytes(server.run("pg_dump", *arguments, db="shop"))
    server.run("pg_dump", "--format=directory", f"--file={path / 'shop.dir'}", db="shop")
    return path


def restore(server: Server, source: Path, check: bool = False, **options: Any) -> ModuleResult:
    given = {
        **server.client_options(),
        "state_dir": str(source.parent / "state"),
        "source": str(source),
    }
    return run_module("pg_restore", {**given, **options}, check=check)


def state(server: Server) -> list[Any]:
    """Databases, roles and settings of the server, and the live rows."""
    found: list[Any] = [server.databases(), server.query("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")]
    found.append(server.query("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"))
    if "shop" in found[0]:
        found.append(server.query("SELECT count(*), min(words), max(words) FROM orders", "shop"))
    return found


def refused(server: Server, source: Path, words: str, **options: Any) -> str:
    """Refused in check mode and in the real run, with the same words, and nothing was touched."""
    before = state(server)
    planned = restore(server, source, check=True, **options)
    done = restore(server, source, **options)
    assert planned.failed and done.failed, done.result
    assert planned.msg == done.msg and words in done.msg, done.msg
    assert "exception" not in done.result
    assert state(server) == before
    return done.msg


def orders(server: Server, database: str) -> int:
    return int(server.query("SELECT count(*) FROM orders", database)[0][0])


def with_line(dumps: Path, path: Path, line: str) -> Path:
    """The plain dump with a line in the middle of it."""
    text = (dumps / "plain.sql").read_text()
    spot = text.index("COPY public.orders")
    path.write_text(text[:spot] + line + "\n" + text[spot:])
    return path


# Row 1.1: the script decides which database is written, or runs programs.


def test_a_dump_by_create_and_clean_leaves_the_live_database_alone(shop: Server, dumps: Path) -> None:
    """Before: live shop dropped and made anew, shop_copy empty, ok."""
    done = restore(shop, dumps / "create.sql", databases=["shop_copy"])
    assert done.changed and not done.failed, done.msg
    assert (orders(shop, "shop"), orders(shop, "shop_copy")) == (80, 50)
    assert shop.query("SHOW work_mem", "shop_copy") == [("7MB",)] and shop.query("SHOW work_mem", "shop") != [("7MB",)]
    assert shop.query("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'shop_copy'") == [
        ("ours",)
    ]
    assert shop.query("SELECT datconnlimit FROM pg_database WHERE datname = 'shop_copy'") == [(7,)]
    assert shop.query("SELECT has_database_privilege('pg_read_all_data', 'shop_copy', 'CONNECT')") == [(False,)]
    assert done.result["restored"][0]["tables_checked"] == 2


def test_the_same_dump_in_place(shop: Server, dumps: Path) -> None:
    """Before: shop empty, ok."""
    done = restore(shop, dumps / "create.sql", databases=["shop"], force=True, confirm=["shop"])
    assert done.changed and not done.failed, done.msg
    assert orders(shop, "shop") == 50 and shop.query("SHOW work_mem", "shop") == [("7MB",)]
    assert "create.sql" in str(done.result["plan"]) and "'shop'" in done.result["restored"][0]["from"]


REACHING = {
    "\\! touch {mark}": "psql itself",
    "SELECT 1 \\g |touch {mark}": "psql itself",
    "\\o |touch {mark}": "psql itself",
    "\\connect postgres": "connects to the database 'postgres'",
    "\\c shop": "connects to the database 'shop'",
    "DROP DATABASE shop;": "drops the database 'shop'" ,
    "CREATE ROLE intruder SUPERUSER;": "role",
    "ALTER ROLE postgres PASSWORD 'x';": "role",
    "ALTER SYSTEM SET archive_command = 'touch {mark}';": "configuration",
    "COPY (SELECT 1) TO PROGRAM 'touch {mark}';": "program",
    "COPY (SELECT 1) TO '{mark}';": "file",
    "SELECT pg_reload_conf();": "pg_reload_conf",
    "ALTER DATABASE shop SET work_mem = '1MB'; ALTER DATABASE postgres SET work_mem = '1MB';": "'postgres'",
    "BEGIN;": "never commits",
}  # fmt: skip


COMMON = ("\\! touch {mark}", "\\connect postgres", "DROP DATABASE shop;", "CREATE ROLE intruder SUPERUSER;", "BEGIN;")


@pytest.mark.parametrize(
    "line", [line if line in COMMON else pytest.param(line, marks=pytest.mark.extended) for line in REACHING]
)
def test_what_reaches_beyond_its_database_is_refused(shop: Server, dumps: Path, tmp_path: Path, line: str) -> None:
    mark = tmp_path / "mark"
    path = with_line(dumps, tmp_path / "dump.sql", line.format(mark=mark))
    words = "is refused" if line == "DROP DATABASE shop;" else REACHING[line]
    if line == "DROP DATABASE shop;":  # it speaks of one database, which is another one's name here: it is left out
        done = restore(shop, path, databases=["copy"])
        assert not done.failed and orders(shop, "shop") == 80 and orders(shop, "copy") == 50, done.msg
        return
    assert "Nothing was touched" in refused(shop, path, words, databases=["copy"])
    assert not mark.exists()


def test_what_only_looks_like_a_command_comes_along(shop: Server, tmp_path: Path) -> None:
    rows = [
        "\\\\! touch /nowhere",
        "DROP DATABASE shop;",
        "\\\\connect postgres",
        "-- PostgreSQL database dump complete",
    ]
    path = tmp_path / "dump.sql"
    data = "\n".join(rows)
    path.write_text(
        f"CREATE TABLE public.t (words text);\nCOPY public.t FROM stdin;\n{data}\n\\.\nCOMMENT ON TABLE public.t IS '\n\\! id\n';\n"
    )
    done = restore(shop, path, databases=["copy"])
    assert done.changed and not done.failed, done.msg
    assert {row[0] for row in shop.query("SELECT words FROM t", "copy")} == {row.replace("\\\\", "\\") for row in rows}
    assert "another tool" in str(done.result["warnings"])


def test_an_archive_s_entries_are_read_too(shop: Server, dumps: Path, tmp_path: Path) -> None:
    """A patched archive: a comment's statement is another one, of the same length."""
    data = (dumps / "stored.dump").read_bytes()
    start = data.index(b"COMMENT ON TABLE public.orders")
    end = data.index(b";", start)
    path = tmp_path / "patched.dump"
    path.write_bytes(data[:start] + b"ALTER SYSTEM SET work_mem = '1MB'".ljust(end - start) + data[end:])
    refused(shop, path, "configuration", databases=["copy"])


def test_rows_are_never_run_as_statements(shop: Server, dumps: Path, tmp_path: Path) -> None:
    """A COPY that fails, where errors are allowed: psql would go on with its rows."""
    path = tmp_path / "dump.sql"
    path.write_text(
        "SELECT 1/0;\nCOPY missing FROM stdin;\nALTER SYSTEM SET work_mem = '1MB';\n\\.\nCREATE TABLE t(n int);\n"
    )
    done = restore(shop, path, databases=["copy"], allow_errors=["22012", "42P01", "42601"])
    assert not shop.query("SELECT 1 FROM pg_file_settings WHERE name = 'work_mem'"), done.result
    assert "copy" not in shop.databases() or not done.failed


@pytest.fixture
def wrapped(server: Server, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """The client programs, with another psql: a shell script that may run the real one as $PSQL."""

    def make(script: str) -> Path:
        directory = Path("/tmp") / f"lab-wrapped-{os.getpid()}-{tmp_path.name}"
        directory.mkdir(mode=0o755, exist_ok=True)
        for program in server.bindir.iterdir():
            if program.name != "psql" and not (directory / program.name).exists():
                (directory / program.name).symlink_to(program)
        (directory / "psql").write_text(f"#!/bin/sh\nPSQL={server.bindir}/psql\n{script}\n")
        (directory / "psql").chmod(0o755)
        made.append(directory)
        return directory

    made: list[Path] = []
    yield make
    for directory in made:
        shutil.rmtree(directory, ignore_errors=True)


def test_a_psql_that_cannot_be_restricted_runs_no_script(
    shop: Server, dumps: Path, wrapped: Callable[[str], Path]
) -> None:
    programs = wrapped('case "$1" in --help=commands) echo old;; *) exec $PSQL "$@";; esac')
    words = refused(shop, dumps / "plain.sql", "has no \\restrict", databases=["copy"], bin_dir=str(programs))
    assert "15.14" in words and "bin_dir" in words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_psql_is_not_root(shop: Server, dumps: Path, wrapped: Callable[[str], Path], tmp_path: Path) -> None:
    log = Path("/tmp") / f"lab-uid-{os.getpid()}"
    log.write_text("")
    log.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IWOTH)
    try:
        programs = wrapped(f'id -u >> {log}; exec $PSQL "$@"')
        done = restore(shop, dumps / "plain.sql", databases=["copy"], bin_dir=str(programs))
        assert not done.failed, done.msg
        uids = log.read_text().split()
        assert uids[-1] != "0" and "warnings" not in done.result, (uids, done.result)
    finally:
        log.unlink()


# Row 1.5: names and times choose data.


def test_the_dump_is_the_one_that_is_named(shop: Server, dumps: Path, tmp_path: Path) -> None:
    """Before: shop_eu's data as shop; copied without times, the oldest."""
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(dumps / "plain.sql", folder / "shop-20261120.sql")
    (folder / "shop-20261119.sql").write_text("CREATE TABLE old (n int);\n")
    (folder / "shop_eu-latest.sql").write_text("CREATE TABLE eu (n int);\n")
    os.utime(folder / "shop-20261120.sql", (1, 1))
    options: dict[str, Any] = {"databases": ["shop"], "force": True, "confirm": ["shop"]}
    planned = restore(shop, folder, check=True, **options)
    assert "shop-20261120.sql" in str(planned.result["plan"]), planned.msg or planned.result
    done = restore(shop, folder, **options)
    assert done.changed and orders(shop, "shop") == 50, done.msg
    assert "shop-20261120.sql" in done.result["restored"][0]["from"]
    shutil.copy(dumps / "shop.dump", folder / "other-latest.dump")
    refused(shop, folder, "is a dump of the database 'shop', and not of 'other'", databases=["other"])
    (folder / "own").mkdir()
    shutil.copy(dumps / "plain.sql", folder / "own" / "own_2026-11-20_02h00m.Friday.sql")
    nested = restore(shop, folder, check=True, databases=["own"])
    assert "own_2026-11-20_02h00m.Friday.sql" in nested.result["plan"][-1], nested.msg
    (folder / "both.sql").write_text("SELECT 1;")
    (folder / "both.dump").write_text("SELECT 1;")
    refused(shop, folder, "do not say which is the newest", databases=["both"])
    refused(shop, folder, "There is 'shop_eu-latest.sql'", databases=["shop_"])
    refused(shop, dumps / "shop.dump", "and not of 'orders'", databases=["orders"], target_db="new")


# Row 1.6: a source is known by its content.


def test_another_dump_at_the_same_path_is_another_one(shop: Server, dumps: Path, tmp_path: Path) -> None:
    path = tmp_path / "nightly.sql"
    shutil.copy(dumps / "plain.sql", path)
    assert restore(shop, path, databases=["copy"]).changed
    moved = tmp_path / "moved.sql"
    shutil.copy(path, moved)
    assert not ok(restore(shop, moved, databases=["copy"]))["changed"], "the same dump, elsewhere"
    path.write_text(path.read_text().replace("order 1\n", "other 1\n"))
    again = restore(shop, path, databases=["copy"], force=True, confirm=["copy"])
    assert again.changed and shop.query("SELECT words FROM orders WHERE id = 1", "copy") == [("other 1",)], again.msg


# Row 1.7: damage.


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("plain.sql", lambda data: data[: data.index(b"order 30")], "cut off"),
        ("plain.sql", lambda data: data[: data.index(b"-- PostgreSQL database dump complete")], "last line"),
        ("plain.sql", lambda data: data[data.index(b"CREATE TABLE public.days") :], "beginning is missing"),
        ("plain.sql", lambda data: data.replace(b"order 30", b"\0" * 8), "zero bytes"),
        ("plain.sql", lambda data: data + data, "several dumps"),
        ("plain.sql", lambda data: data.decode().encode("utf-16"), "UTF-16"),
        ("inserts.sql", lambda data: data[: data.index(b"order 30")], "cut off"),
        ("shop.dump", lambda data: data.replace(b"\n", b"\r\n"), ""),
        ("stored.dump", lambda data: data.replace(b"\n", b"\r\n"), ""),
        ("shop.dump", lambda data: data[: len(data) * 2 // 3], ""),
        ("stored.dump", lambda data: data[: data.index(b"order 30")], ""),
        ("shop.tar", lambda data: data[: data.index(b"order 30")], ""),
        ("shop.dump", lambda data: data[:100], "header is damaged"),
    ],
)
def test_damage_is_seen_before_anything_is_touched(
    shop: Server, dumps: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(change((dumps / name).read_bytes()))
    refused(shop, path, words, databases=["copy"])


def test_a_directory_without_one_of_its_files(shop: Server, dumps: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.dir"
    shutil.copytree(dumps / "shop.dir", path)
    next(path.glob("*.dat.gz")).unlink()
    refused(shop, path, "cannot be read to its end", databases=["copy"])


def test_a_dump_that_is_still_being_written(shop: Server, dumps: Path, tmp_path: Path) -> None:
    """What was judged is not what would be restored."""
    path = tmp_path / "dump.sql"
    text = (dumps / "plain.sql").read_text()
    path.write_text(text.replace("COPY public.orders", "SELECT pg_sleep(2);\nCOPY public.orders"))
    before = state(shop)
    from lab.playbooks import start_module

    given = {
        **shop.client_options(),
        "state_dir": str(tmp_path / "state"),
        "source": str(path),
        "databases": ["copy"],
    }
    running = start_module("pg_restore", given)
    while not shop.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND pid <> pg_backend_pid()"):
        assert running.process.poll() is None, running.result()
    with path.open("a") as stream:
        stream.write("-- more\n")
    done = running.result()
    assert done.failed and "has changed while it was read" in done.msg, done.result
    assert state(shop) == before


@pytest.mark.parametrize("packer", ["xz", "bzip2"])
def test_other_packers(shop: Server, dumps: Path, tmp_path: Path, packer: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(
        subprocess.run([packer, "-c", str(dumps / "shop.dump")], check=True, stdout=subprocess.PIPE).stdout
    )
    done = restore(shop, path, databases=["copy"])
    assert not done.failed and orders(shop, "copy") == 50, done.msg
    path.write_bytes(path.read_bytes()[:-30])
    refused(shop, path, "", databases=["another"])


# Row 1.8: errors are known by what no language changes.


def test_a_notice_that_looks_like_an_error_does_no_harm(shop: Server, tmp_path: Path) -> None:
    """Before: a good restore failed."""
    notice = "DO $$ BEGIN RAISE NOTICE 'import error: none'; RAISE WARNING 'pg_restore: error: none'; RAISE INFO 'error: none'; END $$;"
    path = tmp_path / "dump.sql"
    path.write_text(f"CREATE TABLE t (n int);\n{notice}\n")
    for allowed in ([], ["nothing"]):
        done = restore(shop, path, databases=["copy"], allow_errors=allowed)
        assert done.changed and not done.failed, done.msg
        shop.psql("DROP DATABASE copy;")


@pytest.fixture(scope="module")
def german(server_factory: Callable[..., Server], request: pytest.FixtureRequest) -> Server:
    """A server that speaks German, to whoever may not choose another language."""
    locales = Path(tempfile.mkdtemp(prefix="lab-locales-", dir="/tmp"))
    request.addfinalizer(lambda: shutil.rmtree(locales))
    locales.chmod(0o755)  # the server's user reads it
    built = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", str(locales / "de_DE.UTF-8")], check=False, capture_output=True
    )
    if not (locales / "de_DE.UTF-8").exists() or not Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo").exists():
        pytest.skip(f"no German here: {built.stderr!r}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(locales))
        german = server_factory(15, settings={"lc_messages": "de_DE.UTF-8"})
    with pytest.raises(psycopg2.Error) as caught:
        german.query("SELECT 1/0")
    if "Division durch Null" not in str(caught.value):
        pytest.skip("the server does not speak German")
    return german


def test_errors_in_german(german: Server, tmp_path: Path) -> None:
    """Before: failing statements of a cluster's script were not seen, ok."""
    german.wipe()
    german.psql("CREATE ROLE maker LOGIN CREATEDB PASSWORD 'secret';")
    script = tmp_path / "dump.sql"
    script.write_text("CREATE TABLE t (n int);\nSELECT 1/0;\nCREATE TABLE u (n int);\n")
    done = restore(german, script, databases=["copy"], allow_errors=["42P01"])
    assert done.failed and "22012" in done.msg and "copy" not in german.databases(), done.result
    done = restore(german, script, databases=["copy"], allow_errors=["22012"])
    assert not done.failed and len(done.result["restored"][0]["allowed_errors"]) == 1, done.msg
    german.psql("DROP DATABASE copy;")
    whole = tmp_path / "all.sql"
    text = german.run("pg_dumpall").decode()
    whole.write_text(text.replace("CREATE ROLE maker;", "CREATE ROLE maker;\nCREATE ROLE maker2 IN ROLE nobody;"))
    german.psql("DROP ROLE maker;")
    done = restore(german, whole)
    assert done.failed and "42704" in done.msg, done.result


# Rows 2.3 and section 4: pg_dumpall, with and without --clean, and who is logged in.


@pytest.mark.parametrize("arguments", [(), ("--clean", "--if-exists")], ids=["pg_dumpall", "as Immich does"])
def test_a_whole_cluster_and_nobody_is_locked_out(
    server_factory: Callable[..., Server], shop: Server, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shop.psql(
        "CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'old'; ALTER DATABASE shop OWNER TO app;"
    )
    script = shop.run("pg_dumpall", *arguments)
    mine = shop.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")[0][0]
    path = tmp_path / "all.sql"
    path.write_bytes(script.replace(mine.encode(), b"another"))
    with Server(15) as target:
        target.psql("CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'new';")
        before = target.query("SELECT rolname, rolpassword FROM pg_authid WHERE rolsuper ORDER BY 1")
        done = restore(target, path)
        assert done.changed and not done.failed, done.msg
        assert target.query("SELECT rolname, rolpassword FROM pg_authid WHERE rolsuper ORDER BY 1") == before
        assert orders(target, "shop") == 80
        assert target.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'") == [("app",)]
        assert target.query("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'app'") == [(True,)]
        assert "superuser_passwords" in str(done.result["warnings"])
        chosen = restore(target, path, databases=["shop"])
        assert chosen.failed and "whole cluster" in chosen.msg


# Row 2.27: versions.


@pytest.fixture(scope="module")
def of_18(server_factory: Callable[..., Server], server: Server, dumps: Path) -> Path:
    newer = installation(18)
    if newer is None:
        pytest.skip("PostgreSQL 18 is not installed here")
    server.wipe()
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL.format(rows=50), "shop")
    for name, form in (("new.dump", "custom"), ("new.sql", "plain")):
        path = dumps / name
        subprocess.run(
            [str(newer.bindir / "pg_dump"), f"--format={form}", f"--file={path}", server.dsn("shop")],
            check=True, env={**os.environ, **server.environment("shop")},
        )  # fmt: skip
    return dumps


@pytest.mark.parametrize("name", ["new.dump", "new.sql"])
def test_a_dump_by_a_newer_pg_dump(shop: Server, of_18: Path, name: str) -> None:
    """Before: it failed on transaction_timeout, or named what is needed wrongly."""
    newer = installation(18)
    assert newer is not None
    if name == "new.dump":
        words = refused(shop, of_18 / name, "made by pg_dump 17", databases=["copy"])
        assert "postgresql-client-17" in words
    programs = str(newer.bindir) if name == "new.dump" else str(shop.bindir)
    done = restore(shop, of_18 / name, databases=["copy"], bin_dir=programs)
    assert done.changed and not done.failed, done.msg
    assert orders(shop, "copy") == 50


# Section 4: tablespaces that are not there.


def test_without_tablespaces(shop: Server, tmp_path: Path) -> None:
    directory = shop.server_directory("fast")
    shop.psql(f"CREATE TABLESPACE fast LOCATION '{directory}';")
    shop.psql("ALTER TABLE orders SET TABLESPACE fast;", "shop")
    for name, form in (("a.sql", "plain"), ("a.dump", "custom")):
        (tmp_path / name).write_bytes(shop.run("pg_dump", f"--format={form}", db="shop"))
    shop.psql("ALTER TABLE orders SET TABLESPACE pg_default;", "shop")
    shop.psql("DROP TABLESPACE fast;")
    for name in ("a.sql", "a.dump"):
        failed = restore(shop, tmp_path / name, databases=["copy"])
        assert failed.failed and "no_tablespaces" in failed.msg and "copy" not in shop.databases(), failed.msg
        done = restore(shop, tmp_path / name, databases=["copy"], no_tablespaces=True)
        assert not done.failed and orders(shop, "copy") == 80, done.msg
        shop.psql("DROP DATABASE copy;")


# What providers and habits put into dumps


def test_what_is_missing_on_the_host_is_told_before(shop: Server, tmp_path: Path) -> None:
    """Kind: dumps of managed servers (Supabase, Aiven, Cloud SQL, RDS) make extensions that other hosts lack. Found: after all the work."""
    script = shop.run("pg_dump", db="shop").replace(
        b"SET client_encoding",
        b"CREATE EXTENSION IF NOT EXISTS supabase_vault WITH SCHEMA public;\nCOMMENT ON EXTENSION \"supabase_vault\" IS 'x';\nSET client_encoding",
        1,
    )
    source = tmp_path / "dump.sql"
    source.write_bytes(script)
    words = refused(shop, source, "makes the extensions supabase_vault", databases=["shop_copy"])
    assert "allow_errors: ['extension \"supabase_vault\"']" in words
    done = restore(shop, source, databases=["shop_copy"], allow_errors=['extension "supabase_vault"'])
    assert done.changed and not done.failed, done.msg
    assert orders(shop, "shop_copy") == 80 and len(done.result["restored"][0]["allowed_errors"]) == 2


def test_habits_of_other_tools(shop: Server, dumps: Path, tmp_path: Path) -> None:
    """Kind: a good dump with a little more: a byte order mark, Supabase's RESET ALL at its end, a wrapper's harmless commands to psql,
    ``\\connect`` in other spellings, a comment of the database of 10 KB, settings of 6 KB. Found: refused, a syntax error."""
    text = (dumps / "create.sql").read_text()
    text = text.replace("IS 'ours'", f"IS '{'ours ' * 2000}'").replace(
        "SET work_mem TO '7MB'",
        f"SET work_mem TO '7MB';\nALTER DATABASE shop SET search_path TO \"{'x' * 60}\", public, {', '.join(['y' * 50] * 100)}",
    )
    text = text.replace("\\connect shop", "\\set ON_ERROR_STOP on\n\\timing off\n\\echo go\n\\connect shop - - - ;")
    source = tmp_path / "dump.sql"
    source.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"RESET ALL;\n")
    done = restore(shop, source, databases=["shop_copy"])
    assert done.changed and not done.failed, done.msg
    assert (orders(shop, "shop"), orders(shop, "shop_copy")) == (80, 50)
    asked = "SELECT length(shobj_description(oid, 'pg_database')), datconnlimit FROM pg_database WHERE datname = 'shop_copy'"
    assert shop.query(asked) == [(10000, 7)] and shop.query("SHOW work_mem", "shop_copy") == [("7MB",)]
    assert len(shop.query("SHOW search_path", "shop_copy")[0][0]) > 5000


def test_a_database_in_several_files(shop: Server, tmp_path: Path) -> None:
    """Kind: one database in several files (Supabase's roles.sql, schema.sql and data.sql; definitions and rows apart; pg_dump's sections).
    Found: the rows alone failed after all the work, roles alone named no way out, and the three in one file were "several dumps"."""
    parts = {
        "roles.sql": b'ALTER ROLE "postgres" SET "statement_timeout" TO \'3s\';\nRESET ALL;\n',
        "schema.sql": shop.run("pg_dump", "--schema-only", "--quote-all-identifiers", db="shop"),
        "data.sql": shop.run("pg_dump", "--data-only", "--quote-all-identifiers", db="shop"),
        "data.dump": shop.run("pg_dump", "--data-only", "--format=custom", db="shop"),
    }
    for section in ("pre-data", "data", "post-data"):
        parts[section] = shop.run("pg_dump", f"--section={section}", db="shop")
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    assert "cat schema.sql data.sql" in refused(
        shop, tmp_path / "roles.sql", "makes or changes a role", databases=["shop_copy"]
    )
    for name in ("data.sql", "data.dump"):
        words = refused(shop, tmp_path / name, "a dump of rows alone", databases=["shop_copy"])
        assert "cat schema.sql data.sql" in words

    def bare(name: str) -> bytes:
        """As Supabase's command line writes them: no comments, and everything reset at the end."""
        text = b"".join(
            line for line in parts[name].splitlines(True) if not line.startswith((b"--", b"\\")) or line == b"\\.\n"
        )
        return text.replace(b'CREATE TABLE "', b'CREATE TABLE IF NOT EXISTS "') + b"\nRESET ALL;\n"

    whole = tmp_path / "whole.sql"
    for text in (
        parts["schema.sql"] + parts["data.sql"],
        parts["pre-data"] + parts["data"] + parts["post-data"],
        bare("schema.sql") + b"SET session_replication_role = replica;\n" + bare("data.sql"),
    ):
        whole.write_bytes(text)
        done = restore(shop, whole, databases=["shop_copy"])
        assert done.changed, done.msg
        assert (orders(shop, "shop"), orders(shop, "shop_copy")) == (80, 80)
        assert {row["rows"] for row in done.result["restored"][0].get("tables", [])} <= {80, 20}
        shop.psql("DROP DATABASE shop_copy;")


def test_a_script_as_servers_before_10_3_wrote_it(shop: Server, dumps: Path, tmp_path: Path) -> None:
    """Kind: programs of another age (the text is made of a dump of today). Found: no rows were compared, as tables' schema is said once; and
    not a word of what PUBLIC could do in the schema public before 15."""
    text = (dumps / "plain.sql").read_text().replace("public.", "")
    text = text.replace(
        "SELECT pg_catalog.set_config('search_path', '', false);", "SET search_path = public, pg_catalog;"
    )
    text = re.sub(r"(database|pg_dump) version .*", r"\1 version 9.6.24", text)
    text = text.replace("SET row_security = off;", "SET row_security = off;\nSET default_with_oids = false;")
    source = tmp_path / "old.sql"
    source.write_text(text)
    planned = restore(shop, source, check=True, databases=["shop_copy"])
    done = restore(shop, source, databases=["shop_copy"])
    assert done.changed, done.msg
    assert done.result["restored"][0]["tables_checked"] == 2 and orders(shop, "shop_copy") == 50
    for result in (planned.result, done.result):
        assert "GRANT CREATE ON SCHEMA public" in str(result["warnings"]), result["warnings"]


def test_a_file_that_was_split(shop: Server, dumps: Path, tmp_path: Path) -> None:
    data = (dumps / "shop.dump").read_bytes()
    (tmp_path / "shop.dump.aa").write_bytes(data[: len(data) // 2])
    (tmp_path / "shop.dump.ab").write_bytes(data[len(data) // 2 :])
    refused(shop, tmp_path / "shop.dump.aa", "shop.dump.ab is beside it", databases=["shop_copy"])


def damaged_directory(dumps: Path, path: Path, damage: str) -> Path:
    """A copy of the dump in directory format, damaged."""
    shutil.copytree(dumps / "shop.dir", path)
    toc = path / "toc.dat"
    data = max((file for file in path.iterdir() if file.name != "toc.dat"), key=lambda file: file.stat().st_size)
    content = data.read_bytes()
    if damage == "no toc.dat":
        toc.unlink()
    elif damage.startswith("toc.dat "):
        whole = toc.read_bytes()
        if damage == "toc.dat of another dump":
            toc.write_bytes(whole.replace(data.name.partition(".")[0].encode(), b"9999"))
        else:
            toc.write_bytes(whole[: int(len(whole) * float(damage.split()[1]))])
    elif damage == "rows cut":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "rows empty":
        data.write_bytes(b"")
    elif damage == "rows of another program":
        data.write_bytes(b"\x28\xb5\x2f\xfd" + content)
    elif damage == "rows cut, not compressed":
        plain = gzip.decompress(content)
        data.unlink()
        data.with_suffix("").write_bytes(plain[: len(plain) // 2])
    elif damage == "rows are a link to nowhere":
        data.unlink()
        data.symlink_to("/nonexistent")
    return path


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no toc.dat", "its toc.dat"),
        ("toc.dat 0", "header is damaged"),
        ("toc.dat 0.1", "cannot be read to its end"),
        ("toc.dat 0.5", "cannot be read to its end"),
        ("toc.dat 0.99", "cannot be read to its end"),
        ("toc.dat of another dump", "cannot be read to its end"),
        ("rows cut", "cannot be read to its end"),
        ("rows empty", ""),
        ("rows of another program", "Use another dump"),
        ("rows cut, not compressed", ""),
        ("rows are a link to nowhere", "cannot be read to its end"),
    ],
)
def test_a_damaged_directory(shop: Server, dumps: Path, tmp_path: Path, damage: str, words: str) -> None:
    """Kind: damage of the directory format, file by file: each ends in seconds, in words, and nothing is touched."""
    path = damaged_directory(dumps, tmp_path / "shop.dir", damage)
    began = time.monotonic()
    refused(shop, path, words, databases=["shop"], force=True, confirm=["shop"])
    assert time.monotonic() - began < 30


def test_dumps_of_parts_and_with_clean(shop: Server, tmp_path: Path) -> None:
    """Kind: a plain dump that is not the whole of a database, or expects an old one. Members: ``--clean`` alone; ``--table`` of a table
    in a schema of its own. Found: failed at the first DROP; "schema does not exist"."""
    shop.psql("CREATE SCHEMA sales; CREATE TABLE sales.orders AS SELECT generate_series(1, 7) AS n;", "shop")
    for name, arguments, count in (("clean", ["--clean"], 80), ("part", ["--table=sales.orders"], None)):
        source = tmp_path / f"{name}.sql"
        source.write_bytes(shop.run("pg_dump", *arguments, db="shop"))
        done = restore(shop, source, databases=[f"shop_{name}"])
        assert done.changed and not done.failed, done.msg
        assert shop.query("SELECT count(*) FROM sales.orders", f"shop_{name}") == [(7,)]
        assert count is None or orders(shop, f"shop_{name}") == count
    assert "'sales'" in str(done.result["warnings"])
