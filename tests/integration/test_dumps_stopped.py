# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that is stopped, or whose server is: what was there serves, what remains is named, and the next run goes on.

The kind (3.7, 3.9, "Stopping"): whoever stops a restore at 3 a.m. reads one sentence, and acts on it. Members: a signal at any moment of a
restore in place, under its own name after the old one moved aside, of a new one, of parts, of another tool's dump; the server stopped
(fast, immediate) or crashed meanwhile. Each message is compared with the server afterwards. Found: not a word of what remains; an old
database that took no connections any more; one that kept its makeshift name, "as it was".
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server

OLD, NEW = 80, 50  # rows of the live one, and of the backup

# While somebody called hold is connected, rows that come in wait.
FILL = """
CREATE FUNCTION waits() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = 'hold') LOOP
    PERFORM pg_catalog.pg_sleep(0.05); PERFORM pg_catalog.pg_stat_clear_snapshot();
  END LOOP;
  RETURN true;
END $$;
CREATE TABLE orders (id int PRIMARY KEY, words text);
INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 50) AS n;
CREATE TABLE last (n int CHECK (public.waits()));
INSERT INTO last VALUES (1);
"""
ASIDE = "CREATE TABLE mine (of text CHECK (of = current_database())); INSERT INTO mine VALUES ('shop');"
IN_PLACE: dict[str, Any] = {"force": True, "confirm": ["shop"]}
WAYS = ("in place", "aside", "new", "parts", "source")
COMMON = ("in place", "aside")


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(16)


@contextmanager
def held(server: Server) -> Iterator[None]:
    """Whoever loads rows waits."""
    with closing(psycopg2.connect(server.dsn(), application_name="hold")):
        yield


def given(server: Server, path: Path, way: str) -> dict[str, Any]:
    """A live database shop, a backup of it with fewer rows, and the options of a restore."""
    server.wipe()
    server.psql("CREATE DATABASE shop;")
    server.psql(FILL + (ASIDE if way == "aside" else ""), "shop")
    base = {**server.login(), "bin_dir": str(server.bindir), "databases": ["shop"]}
    if way == "source":
        source = path / "shop.sql"
        source.write_bytes(server.run("pg_dump", db="shop"))
        chosen = {"source": str(source), "state_dir": str(path / "state"), **IN_PLACE}
    else:
        where = {"repository": {"path": str(path / "repository")}}
        (path / "repository").mkdir(exist_ok=True)
        done = run_module("pg_backup", {**base, **where, "globals": False})
        assert done.changed and not done.failed, done.msg
        chosen = {**where, **IN_PLACE}
    scratch = path / "scratch"
    scratch.mkdir(exist_ok=True)
    chosen = {**base, **chosen, "analyze": False, "scratch_dir": str(scratch)}
    if way == "new":
        server.psql("DROP DATABASE shop;")
        return chosen
    server.psql("INSERT INTO orders SELECT n, 'since' FROM generate_series(51, 80) AS n;", "shop")
    if way == "parts":
        chosen["tables"] = ["orders", "last"]
    return chosen


def is_true(server: Server, done: ModuleResult, options: dict[str, Any]) -> str:
    """Compare what was said with what is there. Returns how it ended: old, new, gone or moved."""
    msg, there = done.msg, server.databases()
    beside = [name for name in there if "_restoring_" in name]
    before = [name for name in there if "_before_" in name]
    for name in (*beside, *before):
        assert repr(name) in msg, (msg, there)
    for name in os.listdir(options["scratch_dir"]):
        assert name in msg, (msg, name)
    for name in re.findall(r"'(shop_(?:restoring|before)_\w+)'", msg):
        assert name in there, (msg, there)
    if "Nothing was touched." in msg:
        assert not beside and not before, (msg, there)
        return "untouched"
    if "shop" not in there:
        assert ("There is no database 'shop'" in msg) is not bool(before), (msg, there)
        assert not before or f"is called {before[0]!r} now" in msg, msg
        return "moved" if before else "gone"
    assert not before or f"is called {before[0]!r} now" in msg or "complete and checked" in msg, msg
    assert "There is no database 'shop'" not in msg, msg
    if "'shop', half made" in msg or "half made, is the database 'shop'" in msg:
        return "half"
    rows = server.query("SELECT count(*) FROM orders", "shop")[0][0]
    if rows == NEW:
        assert "complete and checked" in msg or "all of it" in msg, msg
        return "new"
    assert rows == OLD and ("'shop' is as it was" in msg or "was not touched" in msg or "nothing of it" in msg), msg
    return "old"


def goes_on(server: Server, options: dict[str, Any]) -> None:
    """The next run ends well, and nothing remains."""
    done = run_module("pg_restore", {**options, "terminate_sessions": True})
    assert not done.failed and done.changed, done.msg
    assert [name for name in server.databases() if "_restoring_" in name] == []
    assert server.query("SELECT count(*) FROM orders", "shop") == [(NEW,)]


def loads(server: Server, module: RunningModule) -> None:
    """Wait until rows wait."""
    while not server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        assert module.process.poll() is None, module.result().stdout
        time.sleep(0.02)


def answers(server: Server) -> None:
    """Wait until a server is back."""
    end = time.monotonic() + 60
    while True:
        try:
            server.query("SELECT 1")
            return
        except psycopg2.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[] if way in COMMON else [pytest.mark.extended]) for way in WAYS]
)
def test_stopped_while_it_loads(server: Server, tmp_path: Path, running: list[RunningModule], way: str) -> None:
    options = given(server, tmp_path, way)
    with held(server):
        module = start_module("pg_restore", options)
        running.append(module)
        loads(server, module)
        module.process.send_signal(signal.SIGTERM)
        done = module.result(30)
    assert done.failed and done.result["stopped_by"] == "SIGTERM", done.stderr
    assert is_true(server, done, options) == ("gone" if way == "new" else "old"), done.msg
    assert done.changed is False, done.result
    goes_on(server, options)


@pytest.mark.extended
@pytest.mark.parametrize("way", WAYS)
def test_stopped_at_any_moment(server: Server, tmp_path: Path, running: list[RunningModule], way: str) -> None:
    """Moments are spread over a whole run's time. What is said is true at each of them."""
    options = given(server, tmp_path, way)
    began = time.monotonic()
    goes_on(server, options)
    took, ended = time.monotonic() - began, []
    for part in range(1, 17):
        options = given(server, tmp_path, way)
        module = start_module("pg_restore", options)
        running.append(module)
        time.sleep(took * part / 16)
        module.process.send_signal(signal.SIGTERM)
        done = module.result(30)
        if not done.failed:
            ended.append("done")
            continue
        ended.append(is_true(server, done, options))
        goes_on(server, options)
    print(way, ended)


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("aside", "crash"),
        pytest.param("in place", "crash", marks=pytest.mark.extended),
        pytest.param("new", "immediate", marks=pytest.mark.extended),
        pytest.param("in place", "fast", marks=pytest.mark.extended),
        pytest.param("in place", "immediate", marks=pytest.mark.extended),
        pytest.param("aside", "fast", marks=pytest.mark.extended),
        pytest.param("aside", "immediate", marks=pytest.mark.extended),
        pytest.param("parts", "immediate", marks=pytest.mark.extended),
        pytest.param("source", "crash", marks=pytest.mark.extended),
    ],
)
def test_the_server_is_stopped(server_factory: Callable[..., Server], tmp_path: Path, way: str, how: str) -> None:
    """crash: one process of the server is killed, and all sessions end; it is back in a moment. The others: it stays down."""
    own = server_factory(16, settings={"restart_after_crash": "on"})
    options = given(own, tmp_path, way)
    with held(own):
        module = start_module("pg_restore", options)
        loads(own, module)
        if how == "crash":
            ((pid,),) = own.query("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' LIMIT 1")
            os.kill(pid, signal.SIGKILL)
        else:
            own.stop(how)
    done = module.result(60)
    assert done.failed and "could not be restored" in done.msg, done.msg or done.stderr
    assert not re.search(r"psycopg2|Traceback|InterfaceError|unforeseen", done.msg), done.msg
    if how != "crash":
        own.start()
    answers(own)
    ended = is_true(own, done, options)
    if how == "crash":
        assert ended == "old", done.msg
    else:
        assert ended == {"new": "half", "aside": "half"}.get(way, "old"), done.msg
    goes_on(own, options)
