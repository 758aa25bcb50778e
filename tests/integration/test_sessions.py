# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom we talk to, and how our own sessions are: poolers, timeouts, service files, event triggers at login."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from lab.playbooks import ModuleResult, run_module
from lab.pooler import PROGRAM, pgbouncer
from lab.servers import Server
from lab.waiting import wait_until

pooler_is_here = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed here")


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(16)


@pytest.fixture
def shop(server: Server) -> Iterator[Server]:
    server.psql("CREATE DATABASE shop;")
    server.psql("CREATE TABLE t AS SELECT n FROM generate_series(1, 7) AS n;", "shop")
    yield server
    server.wipe()


def back_up(server: Server, repository: Path, **options: Any) -> ModuleResult:
    chosen = {"repository": {"path": str(repository)}, "databases": ["shop"], "globals": False}
    return run_module("pg_backup", {**server.client_options(), **chosen, **options})


def restore(server: Server, repository: Path, **options: Any) -> ModuleResult:
    chosen = {"repository": {"path": str(repository)}, "databases": ["shop"]}
    return run_module("pg_restore", {**server.client_options(), **chosen, **options})


@pooler_is_here
@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("transaction", {}),
        ("transaction", {"server_round_robin": 1, "min_pool_size": 3}),
        ("transaction", {"default_pool_size": 1}),
        ("statement", {}),
    ],
    ids=["last used", "round robin", "one session", "by statement"],
)
def test_a_pooler_is_refused_by_name(shop: Server, tmp_path: Path, mode: str, settings: dict[str, Any]) -> None:
    """Kind: not knowing whom one talks to (1.31). Members tried: transaction mode (last used session first, round robin, a pool of one),
    statement mode, and below session mode and a pooler that refuses startup options. Found: a backup through one was ok and left
    pg_dump's empty search_path behind; a restore failed after all of its work."""
    assert not back_up(shop, tmp_path).failed
    with pgbouncer(shop, mode, **settings) as login:
        for done in (
            back_up(shop, tmp_path, **login),
            restore(shop, tmp_path, target_db="other", **login),
            restore(shop, tmp_path, target_db="other", **{**login, "login_db": "shop"}),
        ):
            assert done.failed and "pooler" in done.msg and str(login["login_port"]) in done.msg, done.msg
        assert shop.databases() == ["postgres", "shop"]
        # Nothing of ours stays on the sessions that the application gets next.
        last = "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"

        def left() -> list[str]:
            found = (query for (query,) in shop.query(last))
            return [query for query in found if not query.startswith(("SELECT pg_backend_pid()", "ROLLBACK"))]

        assert wait_until(lambda: not left(), timeout=10)  # a session that has just ended is shown for a moment


@pooler_is_here
@pytest.mark.extended
def test_a_pool_of_whole_sessions_will_do(shop: Server, tmp_path: Path) -> None:
    with pgbouncer(shop, "session") as login:
        assert not back_up(shop, tmp_path, **login).failed
        done = restore(shop, tmp_path, target_db="other", **login)
        assert done.changed and not done.failed, done.msg
        done = restore(shop, tmp_path, force=True, confirm=["shop"], terminate_sessions=True, **login)
        assert done.changed and not done.failed, done.msg
    assert shop.query("SELECT count(*) FROM t", "other") == [(7,)]


@pooler_is_here
def test_a_pooler_that_takes_no_options(shop: Server, tmp_path: Path) -> None:
    assert not back_up(shop, tmp_path).failed
    with pgbouncer(shop, "session", ignore_startup_parameters="extra_float_digits") as login:
        done = restore(shop, tmp_path, target_db="other", **login)
        assert done.failed and "pooler" in done.msg


@pytest.mark.parametrize("where", ["DATABASE shop", "ROLE postgres"])
def test_timeouts_of_others_end_nothing(shop: Server, tmp_path: Path, where: str) -> None:
    """Kind: what a DBA sets against idlers and slow queries ends our own work (2.1). Members: statement, lock, idle in transaction,
    idle session and transaction timeouts, of server, database, role, and read-only by default. Found: misleading errors of half-way."""
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    # Slower than a millisecond in any case: a row trigger of a CHECK that sleeps while it is restored.
    shop.psql("CREATE FUNCTION slow(int) RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(0.05) IS NOT NULL';", "shop")
    shop.psql("ALTER TABLE t ADD CHECK (slow(n));", "shop")
    with shop.connect() as connection, connection.cursor() as cursor:
        for name in names:
            # Until a session of ours is known to be one, it may be idle for as long as a loaded machine takes.
            cursor.execute(f"ALTER {where} SET {name} = '{'500ms' if name == 'idle_session_timeout' else '20ms'}'")
        cursor.execute(f"ALTER {where} SET default_transaction_read_only = on")
    try:
        done = back_up(shop, tmp_path)
        assert not done.failed, done.msg
        done = restore(shop, tmp_path, target_db="other")
        assert not done.failed, done.msg
        done = restore(shop, tmp_path, force=True, confirm=["shop"])
        assert not done.failed, done.msg
    finally:
        import psycopg2

        again = psycopg2.connect(
            shop.dsn() + "?options=-c%20default_transaction_read_only%3Doff%20-c%20statement_timeout%3D0"
        )
        again.autocommit = True
        with again.cursor() as cursor:
            cursor.execute("ALTER ROLE postgres RESET ALL")
        again.close()


@pytest.mark.parametrize("by", ["connect_params", "environment"])
def test_a_service_file_says_where(shop: Server, tmp_path: Path, by: str) -> None:
    """Kind: a default of ours beats what the user's own file says (2.25). Members: port, ssl mode, host; by option and by PGSERVICE."""
    file = tmp_path / "service.conf"
    login = shop.login()
    file.write_text(
        f"[night]\nhost={login['login_host']}\nport={login['login_port']}\nuser={login['login_user']}\nsslmode=disable\n"
        f"password={login['login_password']}\n[off]\nhost=127.0.0.1\nport=9\n"
    )
    env = {"PGSERVICEFILE": str(file)}
    (tmp_path / "r").mkdir()

    def ask(service: str) -> ModuleResult:
        options: dict[str, Any] = {
            "repository": {"path": str(tmp_path / "r")},
            "databases": ["shop"],
            "bin_dir": str(shop.bindir),
        }
        if by == "connect_params":
            return run_module("pg_backup", {**options, "connect_params": {"service": service}}, env=env)
        return run_module("pg_backup", options, env={**env, "PGSERVICE": service})

    done = ask("night")
    assert done.changed and not done.failed, done.msg
    done = ask("off")
    assert done.failed and "the service 'off'" in done.msg and "local socket" not in done.msg


def test_a_trigger_at_login_hears_nothing_of_us(
    server_factory: Callable[..., Server], wiped: Callable[[Server | int], Server], tmp_path: Path
) -> None:
    """Kind: our own looking changes what is looked at (2.8): an audit row at each login made the rows differ, always."""
    pg18 = wiped(18)
    pg18.psql("CREATE DATABASE shop;")
    pg18.psql(
        "CREATE TABLE logins (who text); CREATE TABLE t (n int);"
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.logins VALUES (session_user); END';"
        "CREATE EVENT TRIGGER noted ON login EXECUTE FUNCTION note(); ALTER EVENT TRIGGER noted ENABLE ALWAYS;",
        "shop",
    )
    assert not back_up(pg18, tmp_path).failed
    for again in (False, True):
        done = restore(pg18, tmp_path, target_db="other", force=True, confirm=["other"])
        assert not done.failed and done.changed is not again, done.msg
    env = {"PGOPTIONS": "-c event_triggers=off"}
    assert pg18.run("psql", "-Atc", "SELECT count(*) FROM logins", db="other", env=env) == b"0\n"


def test_statements_that_begin_while_others_connect(pg15: Server, tmp_path: Path) -> None:
    """Kind: a way to wait that the whole process shares, taken away while one thread connects. A backup of many databases does both at
    once; a statement in another thread then failed by "wait callback not available", now and then."""
    address = Address(
        {"login_db": "postgres", **dict.fromkeys(("login_host", "login_unix_socket")), **pg15.login()}, str(tmp_path)
    )
    until, failed, asked = time.monotonic() + 2, list[BaseException](), [0]

    def ask() -> None:
        try:
            with contextlib.closing(address.connect()) as connection:
                while time.monotonic() < until and not failed:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
                    asked[0] += 1
        except Exception as exc:
            failed.append(exc)

    def connect() -> None:
        try:
            while time.monotonic() < until and not failed:
                address.connect().close()
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work) for work in (ask, ask, ask, connect, connect)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and asked[0] > 100
